package language

import (
	"context"
	"fmt"
	"slices"

	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/pipeline/editor"
)

// project is what the editor's questions about a checkout are answered from.
func (s *server) project(place *checkout) *editor.Project {
	return &editor.Project{
		Source: place,
		Files:  place.files,
		Roots: func(d *editor.Document) []pipeline.Input {
			path := place.path(editor.FileID{Repository: d.Repository, Path: d.Path})
			var out []pipeline.Input
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, root := range s.roots() {
				c := s.checks[root]
				if c.place.root == place.root && slices.ContainsFunc(c.result.Read, func(id editor.FileID) bool { return place.path(id) == path }) {
					out = append(out, s.opt.Workspace.Input(place.own(root).Path))
				}
			}
			if len(out) == 0 && d.Repository == "self" {
				out = append(out, s.opt.Workspace.Input(d.Path))
			}
			return out
		},
	}
}

// subject is an open file with its project: that of a pipeline which includes
// it, else its own.
type subject struct {
	*editor.Project
	doc   *editor.Document
	place *checkout
}

func (s *server) subject(ctx context.Context, uri string) (subject, bool) {
	path, ok := pathOf(uri)
	if !ok {
		return subject{}, false
	}
	s.mu.Lock()
	d := s.docs[path]
	var place *checkout
	var id editor.FileID
	for _, root := range s.roots() {
		c := s.checks[root]
		if i := slices.IndexFunc(c.result.Read, func(id editor.FileID) bool { return c.place.path(id) == path }); i >= 0 {
			place, id = c.place, c.result.Read[i]
			break
		}
	}
	s.mu.Unlock()
	if d == nil {
		return subject{}, false
	}
	if place == nil {
		var err error
		if place, err = s.place(ctx, path); err != nil {
			return subject{}, false
		}
		id = place.own(path)
	}
	return subject{Project: s.project(place), doc: editor.Read(id.Repository, id.Path, d.text), place: place}, true
}

// at is the place that a request means.
func (s *server) at(d *editor.Document, p lspPosition) editor.Place {
	return editor.Place{Line: p.Line + 1, Column: column(d.Line(p.Line+1), p.Character, s.utf32)}
}

func (s *server) hover(ctx context.Context, p positionParams) (any, error) {
	sub, ok := s.subject(ctx, p.TextDocument.URI)
	if !ok {
		return nil, nil
	}
	text := sub.Hover(ctx, sub.doc, s.at(sub.doc, p.Position))
	if text == "" {
		return nil, nil
	}
	return hoverResult{Contents: markup{Kind: "markdown", Value: text}}, nil
}

func (s *server) complete(ctx context.Context, p positionParams) (any, error) {
	sub, ok := s.subject(ctx, p.TextDocument.URI)
	if !ok {
		return nil, nil
	}
	at := s.at(sub.doc, p.Position)
	found := sub.Complete(ctx, sub.doc, at)
	out := completionList{Items: []completionItem{}}
	replaced := s.rangeIn(sub.doc.Line(at.Line), at.Line, found.From, at.Column-found.From)
	for i, item := range found.Items {
		c := completionItem{
			Label: item.Label, Kind: completionKinds[item.Kind], Detail: item.Detail, SortText: fmt.Sprintf("%04d", i),
			TextEdit: textEdit{Range: replaced, NewText: item.Insert},
		}
		if item.Doc != "" {
			c.Documentation = &markup{Kind: "markdown", Value: item.Doc}
		}
		if item.Deprecated {
			c.Tags = []int{1}
		}
		out.Items = append(out.Items, c)
	}
	return out, nil
}

func (s *server) definition(ctx context.Context, p positionParams) (any, error) {
	sub, ok := s.subject(ctx, p.TextDocument.URI)
	if !ok {
		return nil, nil
	}
	out := []lspLocation{}
	for _, span := range sub.Definition(ctx, sub.doc, s.at(sub.doc, p.Position)) {
		out = append(out, s.location(ctx, sub, span))
	}
	return out, nil
}

// location is a stretch of any file of the checkout.
func (s *server) location(ctx context.Context, sub subject, span editor.Span) lspLocation {
	id := editor.FileID{Repository: span.Repository, Path: span.Path}
	line := ""
	if text, err := sub.place.ReadFile(ctx, id.Repository, id.Path); err == nil {
		line = editor.Read(id.Repository, id.Path, text).Line(span.Line)
	}
	return lspLocation{URI: s.uri(sub.place.path(id)), Range: s.rangeIn(line, span.Line, span.Column, span.Length)}
}

func (s *server) prepareRename(ctx context.Context, p positionParams) (any, error) {
	sub, ok := s.subject(ctx, p.TextDocument.URI)
	if !ok {
		return nil, nil
	}
	span, name, ok := sub.Renames(ctx, sub.doc, s.at(sub.doc, p.Position))
	if !ok {
		return nil, nil
	}
	return prepareResult{Range: s.rangeIn(sub.doc.Line(span.Line), span.Line, span.Column, span.Length), Placeholder: name}, nil
}

func (s *server) rename(ctx context.Context, p positionParams) (any, error) {
	sub, ok := s.subject(ctx, p.TextDocument.URI)
	if !ok {
		return nil, nil
	}
	edits, err := sub.Rename(ctx, sub.doc, s.at(sub.doc, p.Position), p.NewName)
	if err != nil {
		return nil, err
	}
	out := workspaceEdit{Changes: map[string][]textEdit{}}
	for _, e := range edits {
		at := s.location(ctx, sub, e.Span)
		out.Changes[at.URI] = append(out.Changes[at.URI], textEdit{Range: at.Range, NewText: e.Text})
	}
	return out, nil
}

func (s *server) symbols(ctx context.Context, p documentParams) (any, error) {
	sub, ok := s.subject(ctx, p.TextDocument.URI)
	if !ok {
		return nil, nil
	}
	return s.symbolTree(sub.doc, sub.doc.Symbols()), nil
}

func (s *server) symbolTree(d *editor.Document, list []editor.Symbol) []documentSymbol {
	out := []documentSymbol{}
	for _, sym := range list {
		name := s.rangeIn(d.Line(sym.Line), sym.Line, sym.Column, sym.Length)
		last := d.Line(sym.EndLine)
		whole := lspRange{Start: name.Start, End: lspPosition{Line: sym.EndLine - 1, Character: character(last, len([]rune(last))+1, s.utf32)}}
		out = append(out, documentSymbol{Name: sym.Name, Detail: sym.Detail, Kind: symbolKinds[sym.Kind], Range: whole, SelectionRange: name, Children: s.symbolTree(d, sym.Inner)})
	}
	return out
}
