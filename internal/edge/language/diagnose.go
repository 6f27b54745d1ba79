package language

import (
	"context"
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/pipeline/editor"
)

// publish checks what is open and sends every file's findings that changed.
func (s *server) publish(ctx context.Context) {
	s.turn.Lock()
	defer s.turn.Unlock()
	if !s.refresh(ctx) {
		return
	}
	found := s.findings()
	s.mu.Lock()
	for uri := range s.shown {
		if _, ok := found[uri]; !ok {
			found[uri] = []lspDiagnostic{}
		}
	}
	var send []publishParams
	for _, uri := range slices.Sorted(maps.Keys(found)) {
		text, err := json.Marshal(found[uri])
		if err == nil && s.shown[uri] != string(text) {
			s.shown[uri] = string(text)
			send = append(send, publishParams{URI: uri, Diagnostics: found[uri]})
		}
	}
	s.mu.Unlock()
	for _, p := range send {
		if err := s.rpc.Notify(ctx, "textDocument/publishDiagnostics", p); err != nil {
			return // the editor is gone
		}
	}
}

// refresh compiles every open file whose last result is out of date. A file
// that another one includes is compiled as well: it may stop to be included.
// false means that something changed meanwhile: another check comes.
func (s *server) refresh(ctx context.Context) bool {
	s.mu.Lock()
	var stale []*document
	for path, d := range s.docs {
		if c, ok := s.checks[path]; !ok || c.stale {
			stale = append(stale, d)
		}
	}
	workspace, edits := s.opt.Workspace, s.edits
	s.mu.Unlock()
	for _, d := range stale {
		place, err := s.place(ctx, d.path)
		if err != nil {
			continue
		}
		id := place.own(d.path)
		result, err := s.project(place).Check(ctx, editor.Read(id.Repository, id.Path, d.text), workspace.Input(id.Path))
		if err != nil {
			continue
		}
		s.mu.Lock()
		current := s.edits == edits
		if current {
			s.checks[d.path] = check{place: place, result: result}
		}
		s.mu.Unlock()
		if !current {
			return false
		}
	}
	return ctx.Err() == nil
}

// place is the checkout of a file.
func (s *server) place(ctx context.Context, path string) (*checkout, error) {
	folder := filepath.Dir(path)
	s.mu.Lock()
	c, workspace, folders := s.places[folder], s.opt.Workspace, s.folders
	s.mu.Unlock()
	if c != nil {
		return c, nil
	}
	c, err := workspace.checkout(ctx, path, folders, s.overlay)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.places[folder]; other != nil {
		c.disk.Close()
		return other, nil
	}
	s.places[folder] = c
	return c, nil
}

func (s *server) overlay(path string) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.docs[path]; d != nil {
		return d.text, true
	}
	return nil, false
}

// roots are the open files that no other open file includes. With a lock held.
func (s *server) roots() []string {
	included := map[string]bool{}
	for root, c := range s.checks {
		for _, id := range c.result.Read {
			if path := c.place.path(id); path != root {
				included[path] = true
			}
		}
	}
	var out []string
	for root := range s.checks {
		if !included[root] {
			out = append(out, root)
		}
	}
	if len(out) == 0 { // they include each other
		out = slices.Collect(maps.Keys(s.checks))
	}
	slices.Sort(out)
	return out
}

// findings collects what is to be shown, by URI.
func (s *server) findings() map[string][]lspDiagnostic {
	s.mu.Lock()
	roots := s.roots()
	checks := maps.Clone(s.checks)
	s.mu.Unlock()
	out := map[string][]lspDiagnostic{}
	seen := map[string]bool{}
	for _, root := range roots {
		c := checks[root]
		for _, id := range c.result.Read {
			path := c.place.path(id)
			uri := s.uri(path)
			if out[uri] == nil {
				out[uri] = []lspDiagnostic{}
			}
			for _, d := range c.result.Diagnostics[id] {
				if key := uri + d.String() + d.Message; !seen[key] {
					seen[key] = true
					out[uri] = append(out[uri], s.diagnostic(c.place, d))
				}
			}
		}
	}
	return out
}

// uri is how the client calls a file.
func (s *server) uri(path string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.docs[path]; d != nil {
		return d.uri
	}
	return uriOf(path)
}

func (s *server) diagnostic(place *checkout, d pipeline.Diagnostic) lspDiagnostic {
	out := lspDiagnostic{Severity: 1, Code: d.Code, Source: "penstock", Range: s.rangeIn(d.Snippet, d.Line, d.Column, d.Length)}
	if d.Severity == pipeline.Warning {
		out.Severity = 2
	}
	lines := []string{d.Message}
	for _, more := range [][2]string{{"expected", d.Expected}, {"found", d.Found}, {"do", d.Do}} {
		if more[1] != "" {
			lines = append(lines, more[0]+": "+more[1])
		}
	}
	out.Message = strings.Join(lines, "\n")
	for _, at := range d.Chain {
		name, alias, foreign := strings.Cut(at.File, "@")
		id := editor.FileID{Repository: "self", Path: name}
		if foreign {
			id.Repository = alias
		}
		where := lspRange{Start: lspPosition{at.Line - 1, at.Column - 1}, End: lspPosition{at.Line - 1, at.Column - 1}}
		out.Related = append(out.Related, lspRelated{Location: lspLocation{URI: s.uri(place.path(id)), Range: where}, Message: "included here"})
	}
	return out
}

// rangeIn is a stretch of a line whose text is known.
func (s *server) rangeIn(line string, number, column, length int) lspRange {
	at := func(column int) lspPosition {
		return lspPosition{Line: max(0, number-1), Character: character(line, max(1, column), s.utf32)}
	}
	return lspRange{Start: at(column), End: at(column + max(0, length))}
}
