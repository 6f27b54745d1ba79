package editor

import (
	"bytes"
	"context"
	"path"
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

// Project is what the editor knows besides the file at hand. Source gives files
// as they are being edited; Roots are the pipelines that a file is part of;
// Files names all that may call others.
type Project struct {
	Source pipeline.Source
	Roots  func(d *Document) []pipeline.Input
	Files  func() []FileID
}

// open reads another file, or returns nil.
func (p *Project) open(ctx context.Context, repository, name string) *Document {
	text, err := p.Source.ReadFile(ctx, repository, name)
	if err != nil {
		return nil
	}
	return Read(repository, name, text)
}

// callers opens the files that may call a template: those that have its name.
func (p *Project) callers(ctx context.Context, t *Document) []*Document {
	var out []*Document
	for _, f := range p.Files() {
		text, err := p.Source.ReadFile(ctx, f.Repository, f.Path)
		if err == nil && bytes.Contains(text, []byte(path.Base(t.Path))) {
			out = append(out, Read(f.Repository, f.Path, text))
		}
	}
	return out
}

// target is the file that a template reference in a document names: from the
// top with /, else beside the document; in another repository from its top.
func target(d *Document, ref string) (repository, name string, ok bool) {
	text := strings.ReplaceAll(strings.TrimSpace(ref), `\`, "/")
	repository = d.Repository
	rooted := strings.HasPrefix(text, "/")
	if i := strings.LastIndexByte(text, '@'); i >= 0 {
		alias := text[i+1:]
		text = text[:i]
		if !strings.EqualFold(alias, repository) {
			repository, rooted = alias, true
		}
	}
	if text == "" || strings.Contains(text, "${{") {
		return "", "", false
	}
	if !rooted {
		text = path.Join(path.Dir(d.Path), text)
	}
	return repository, strings.TrimPrefix(path.Clean("/"+text), "/"), true
}

// call is a template call written in a document.
type call struct {
	ref  *syntax.Node // the value of `template`
	args *syntax.Node // the value of `parameters`, or nil
}

// calls lists the template calls of a document.
func (d *Document) calls() []call {
	var out []call
	walk(d.root, func(n *syntax.Node) {
		if ref := n.Get("template"); ref != nil && ref.Kind == syntax.Scalar && ref.Text != "" {
			out = append(out, call{ref: ref, args: n.Get("parameters")})
		}
	})
	return out
}

func walk(n *syntax.Node, each func(*syntax.Node)) {
	if n == nil {
		return
	}
	each(n)
	for _, item := range n.Items {
		walk(item, each)
	}
	for _, p := range n.Pairs {
		walk(p.Value, each)
	}
}

// declaration is a declared parameter.
type declaration struct {
	name *syntax.Node // where the name stands
	kind string
	node *syntax.Node // of the list form: the whole entry
}

// Parameters lists the declared parameters of a document.
func (d *Document) parameters() []declaration {
	var out []declaration
	if d.root == nil {
		return nil
	}
	n := d.root.Get("parameters")
	if n == nil {
		return nil
	}
	for _, item := range n.Items {
		name := item.Get("name")
		if name == nil || name.Kind != syntax.Scalar {
			continue
		}
		decl := declaration{name: name, kind: "string", node: item}
		if kind := item.Get("type"); kind != nil && kind.Text != "" {
			decl.kind = kind.Text
		}
		out = append(out, decl)
	}
	for _, p := range n.Pairs {
		out = append(out, declaration{name: p.Key, kind: "object"})
	}
	return out
}

func (d *Document) parameter(name string) (declaration, bool) {
	for _, p := range d.parameters() {
		if strings.EqualFold(p.name.Text, name) {
			return p, true
		}
	}
	return declaration{}, false
}

// variables lists where a document defines variables, by name.
func (d *Document) variables() []*syntax.Node {
	var out []*syntax.Node
	walk(d.root, func(n *syntax.Node) {
		block := n.Get("variables")
		if block == nil {
			return
		}
		out = append(out, definitions(block)...)
	})
	return out
}

func definitions(block *syntax.Node) []*syntax.Node {
	var out []*syntax.Node
	for _, p := range block.Pairs {
		if directive(p.Key.Text) {
			out = append(out, definitions(p.Value)...)
		} else {
			out = append(out, p.Key)
		}
	}
	for _, item := range block.Items {
		if name := item.Get("name"); name != nil && name.Kind == syntax.Scalar {
			out = append(out, name)
		} else if len(item.Pairs) > 0 && directive(item.Pairs[0].Key.Text) {
			out = append(out, definitions(item.Pairs[0].Value)...)
		}
	}
	return out
}

// family is a document with every file of the pipelines that it is part of.
func (p *Project) family(ctx context.Context, d *Document) []*Document {
	out := []*Document{d}
	seen := map[string]bool{d.Repository + "\x00" + d.Path: true}
	for _, in := range p.Roots(d) {
		if root := p.open(ctx, "self", in.File); root != nil {
			out = p.include(ctx, root, seen, out, 0)
		}
	}
	return out
}

func (p *Project) include(ctx context.Context, d *Document, seen map[string]bool, out []*Document, depth int) []*Document {
	key := d.Repository + "\x00" + d.Path
	if !seen[key] {
		out = append(out, d)
	} else if depth > 0 {
		return out
	}
	seen[key] = true
	for _, c := range d.calls() {
		repository, name, ok := target(d, c.ref.Text)
		if !ok || seen[repository+"\x00"+name] || len(out) > 100 {
			continue
		}
		if next := p.open(ctx, repository, name); next != nil {
			out = p.include(ctx, next, seen, out, depth+1)
		}
	}
	return out
}
