package template

import (
	"maps"
	"path"
	"slices"
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/expression"
	"penstock.dev/penstock/internal/domain/pipeline/internal/grammar"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

var callShape = grammar.Call.Shape()

// noteResources makes the resources visible to expressions and their
// repositories to template references.
func (x *Expander) noteResources(n *syntax.Node, s *scope) {
	repositories := []expression.Pair{}
	containers := []expression.Pair{}
	for _, item := range list(n.Get("repositories")) {
		if alias := item.Get("repository"); alias != nil {
			x.names[strings.ToLower(alias.Text)] = alias.Text
			repositories = append(repositories, expression.Pair{Key: alias.Text, Value: valueOf(item)})
		}
	}
	for _, item := range list(n.Get("containers")) {
		if alias := item.Get("container"); alias != nil {
			containers = append(containers, expression.Pair{Key: alias.Text, Value: valueOf(item)})
		}
	}
	s.resources = expression.NewMap(
		expression.Pair{Key: "repositories", Value: expression.NewMap(repositories...)},
		expression.Pair{Key: "containers", Value: expression.NewMap(containers...)})
	s.environ = nil
}

func list(n *syntax.Node) []*syntax.Node {
	if n == nil {
		return nil
	}
	return n.Items
}

// include replaces a template call in a list by the template's list.
func (x *Expander) include(item *syntax.Node, at slot, s *scope) []*syntax.Node {
	f, inner := x.call(item, s)
	if f == nil {
		return nil
	}
	key := at.key()
	body := f.Root.Get(key)
	if body == nil {
		x.wrongKind(item, f, key)
		return nil
	}
	x.checkTemplateKeys(f, key)
	if at == slotVariables && body.Kind == syntax.Mapping {
		return variableItems(x.mapping(body, slotVariables, inner))
	}
	out := x.value(body, at, inner)
	if out.Kind != syntax.Sequence {
		if !out.Bad && !out.IsEmpty() {
			x.report.Error(out, "expected-sequence", "`%s` is a sequence", key).Got("%s", syntax.Describe(out))
		}
		return nil
	}
	return out.Items
}

// variableItems turns `a: b` into the list form.
func variableItems(n *syntax.Node) []*syntax.Node {
	if n.Kind == syntax.Sequence {
		return n.Items
	}
	out := make([]*syntax.Node, len(n.Pairs))
	for i, p := range n.Pairs {
		key := func(text string) *syntax.Node { return &syntax.Node{Text: text, Pos: p.Key.Pos, Call: p.Key.Call} }
		out[i] = &syntax.Node{Kind: syntax.Mapping, Pos: p.Key.Pos, Call: p.Key.Call, Bad: p.Key.Bad, Pairs: []syntax.Pair{
			{Key: key("name"), Value: p.Key}, {Key: key("value"), Value: p.Value},
		}}
	}
	return out
}

func (x *Expander) checkTemplateKeys(f *syntax.File, key string) {
	syntax.ReadFields(x.report, f.Root, grammar.TemplateFile(key).Shape())
}

func (x *Expander) wrongKind(item *syntax.Node, f *syntax.File, key string) {
	p := x.report.Error(item.Get("template"), "template-kind", "%s is not a template of %s", f.Name(), key).Want("a file with `%s:`", key)
	for _, other := range []string{"steps", "jobs", "stages", "variables", "extends"} {
		if f.Root.Get(other) != nil {
			p.Got("a file with `%s:`", other)
			return
		}
	}
}

// call reads the called file and binds the arguments. It returns nil after a
// report.
func (x *Expander) call(item *syntax.Node, s *scope) (*syntax.File, *scope) {
	fields, ok := syntax.ReadFields(x.report, item, callShape)
	ref := fields.Get("template")
	if !ok || ref == nil || ref.Bad || x.halted {
		return nil, nil
	}
	if ref.Kind != syntax.Scalar || strings.TrimSpace(ref.Text) == "" {
		x.report.Error(ref, "template-path", "a template call names a file").Want("path.yml or path.yml@alias").Got("%s", syntax.Describe(ref))
		return nil, nil
	}
	call := &syntax.Call{Pos: item.Pos, Outer: item.Call, Depth: 1}
	if item.Call != nil {
		call.Depth = item.Call.Depth + 1
	}
	if call.Depth > MaxCalls {
		x.halt(ref, "template-depth", "templates are nested too deeply; does one call itself?", "at most 100 levels")
		return nil, nil
	}
	repository, file, ok := x.resolve(ref)
	if !ok {
		return nil, nil
	}
	f := x.load(repository, file, ref)
	if f == nil || f.Root == nil {
		return nil, nil
	}
	if f.Root.Kind != syntax.Mapping {
		x.report.Error(f.Root, "expected-mapping", "a template is a mapping").Want("parameters and steps, jobs, stages or variables").Got("%s", syntax.Describe(f.Root))
		return nil, nil
	}
	params := x.bindCall(x.declarations(f), fields, f, s)
	return f, &scope{call: call, params: params, vars: s.vars, resources: s.resources}
}

// resolve splits a reference into repository and path. A path without / at its
// front is relative to the file it is written in.
func (x *Expander) resolve(ref *syntax.Node) (repository, file string, ok bool) {
	text := strings.ReplaceAll(strings.TrimSpace(ref.Text), `\`, "/")
	repository = "self"
	if ref.File != nil {
		repository = ref.File.Repository
	}
	rooted := strings.HasPrefix(text, "/")
	if i := strings.LastIndexByte(text, '@'); i >= 0 {
		alias := text[i+1:]
		text = text[:i]
		if !strings.EqualFold(alias, repository) {
			rooted = true // a path in another repository begins at its top
		}
		declared, known := x.names[strings.ToLower(alias)]
		switch repository = declared; {
		case strings.EqualFold(alias, "self"):
			repository = "self"
		case !known:
			x.unknownRepository(ref, alias)
			return "", "", false
		}
	}
	if !rooted && ref.File != nil {
		text = path.Join(path.Dir(ref.File.Path), text)
	}
	file = strings.TrimPrefix(path.Clean("/"+strings.TrimPrefix(text, "/")), "/")
	if clean := path.Clean(strings.TrimPrefix(text, "/")); clean == ".." || strings.HasPrefix(clean, "../") || file == "" {
		x.report.Error(ref, "template-path", "the path leaves the repository").Got("%s", ref.Text)
		return "", "", false
	}
	return repository, file, true
}

func (x *Expander) unknownRepository(ref *syntax.Node, alias string) {
	names := append([]string{"self"}, slices.Sorted(maps.Values(x.names))...)
	p := x.report.Error(ref, "unknown-repository", "no repository resource has the alias %s", alias).Got("%s", alias)
	if near := syntax.Nearest(alias, names); near != "" {
		p.Try("write @%s", near)
	} else {
		p.Try("add it under resources: repositories:")
	}
}
