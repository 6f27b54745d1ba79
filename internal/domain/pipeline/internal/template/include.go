package template

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline/internal/expression"
	"penstock.dev/penstock/internal/domain/pipeline/internal/grammar"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

var callShape = grammar.Call.Shape()

// noteResources makes the resources visible to expressions and their
// repositories to template references.
func (x *Expander) noteResources(n *syntax.Node, s *scope) {
	repositories := aliased(n.Get("repositories"), "repository")
	for _, p := range repositories {
		r := repositoryOf(p.Value.(object).n, p.Key)
		x.names[strings.ToLower(p.Key)] = r
		if x.opt.Declare != nil {
			x.opt.Declare(r.alias, r.kind, r.name, r.ref)
		}
	}
	if !slices.ContainsFunc(repositories, func(p expression.Pair) bool { return strings.EqualFold(p.Key, "self") }) {
		repositories = append(repositories, expression.Pair{Key: "self", Value: x.self()})
	}
	pairs := []expression.Pair{{Key: "repositories", Value: expression.NewMap(repositories...)}}
	for _, kind := range [][2]string{{"containers", "container"}, {"pipelines", "pipeline"}, {"builds", "build"}, {"packages", "package"}} {
		pairs = append(pairs, expression.Pair{Key: kind[0], Value: expression.NewMap(aliased(n.Get(kind[0]), kind[1])...)})
	}
	s.resources = expression.NewMap(pairs...)
	s.environ = nil
}

// aliased lists the entries of one kind of resource by their aliases.
func aliased(n *syntax.Node, key string) []expression.Pair {
	var out []expression.Pair
	for _, item := range list(n) {
		if alias := item.Get(key); alias != nil && alias.Kind == syntax.Scalar {
			out = append(out, expression.Pair{Key: alias.Text, Value: valueOf(item)})
		}
	}
	return out
}

// self is the pipeline's own repository, as far as the variables of the run say.
func (x *Expander) self() expression.Value {
	var pairs []expression.Pair
	for _, p := range [][2]string{{"name", "Build.Repository.Name"}, {"ref", "Build.SourceBranch"}, {"version", "Build.SourceVersion"}, {"id", "Build.Repository.ID"}, {"url", "Build.Repository.Uri"}} {
		for name, value := range x.opt.Variables {
			if strings.EqualFold(name, p[1]) {
				pairs = append(pairs, expression.Pair{Key: p[0], Value: value})
			}
		}
	}
	return expression.NewMap(pairs...)
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
	if old := f.Root.Get("phases"); body == nil && key == "jobs" && old != nil {
		key, body = "phases", old
	}
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
	call := &syntax.Call{Pos: item.Pos, Outer: s.call, Depth: 1}
	if s.call != nil {
		call.Depth = s.call.Depth + 1
	}
	if call.Depth > MaxCalls {
		x.halt(ref, "template-depth", "templates are nested too deeply; does one call itself?", "at most 100 levels")
		return nil, nil
	}
	f := x.find(ref, s.file)
	if f == nil || f.Root == nil {
		return nil, nil
	}
	if f.Root.Kind != syntax.Mapping {
		x.report.Error(f.Root, "expected-mapping", "a template is a mapping").Want("parameters and steps, jobs, stages or variables").Got("%s", syntax.Describe(f.Root))
		return nil, nil
	}
	params := x.bindCall(x.declarations(f), fields, f, s)
	return f, &scope{file: f, call: call, params: params, vars: s.vars, resources: s.resources}
}

// find loads the file that a reference means: a path is relative to the file
// that is being expanded. A list that was given as an argument may hold
// references too; what those mean is decided where the list is inserted, and
// only a path that leads nowhere from there is read as its writer saw it.
func (x *Expander) find(ref *syntax.Node, from *syntax.File) *syntax.File {
	var places []place
	for _, base := range []*syntax.File{from, ref.File} {
		repository, paths, ok := x.resolve(ref, base)
		if !ok {
			return nil
		}
		for _, path := range paths {
			if p := (place{repository, path}); !slices.Contains(places, p) {
				places = append(places, p)
			}
		}
	}
	if len(places) == 0 {
		x.report.Error(ref, "template-path", "the path leaves the repository").Got("%s", ref.Text)
		return nil
	}
	for _, p := range places {
		if f, err := x.fetch(ref, p); err == nil || fault.CodeOf(err) == "repository-not-available" || !fault.Is(err, fault.NotFound) {
			if f == nil {
				break
			}
			return f
		}
	}
	return x.load(ref, places[0]) // the message names the likeliest place
}

// unknownYet reports a reference into a repository that nobody declared so far.
func (x *Expander) unknownYet(ref *syntax.Node) bool {
	i := strings.LastIndexByte(ref.Text, '@')
	if i < 0 || strings.EqualFold(ref.Text[i+1:], "self") {
		return false
	}
	_, known := x.names[strings.ToLower(ref.Text[i+1:])]
	return !known
}

// place is a file of a repository.
type place struct{ repository, path string }

// resolve splits a reference into a repository and the paths it may mean there,
// the likeliest first; none when they all leave the repository. A path without
// / at its front is relative to the file, with an alias to the repository's top.
func (x *Expander) resolve(ref *syntax.Node, from *syntax.File) (repository string, paths []string, ok bool) {
	text := strings.ReplaceAll(strings.TrimSpace(ref.Text), `\`, "/")
	repository, folder := "self", ""
	if from != nil {
		repository, folder = from.Repository, path.Dir(from.Path)
	}
	folders := []string{folder}
	if i := strings.LastIndexByte(text, '@'); i >= 0 {
		alias := text[i+1:]
		text = text[:i]
		same := strings.EqualFold(alias, repository)
		declared, known := x.names[strings.ToLower(alias)]
		switch repository = declared.alias; {
		case strings.EqualFold(alias, "self"):
			repository = "self"
		case !known:
			x.unknownRepository(ref, alias)
			return "", nil, false
		}
		if folders = []string{""}; same {
			folders = []string{folder, ""}
		}
	}
	if strings.HasPrefix(text, "/") {
		folders = []string{""}
	}
	for _, folder := range folders {
		if clean := path.Join(folder, text); clean != ".." && !strings.HasPrefix(clean, "../") && clean != "." {
			paths = append(paths, strings.TrimPrefix(clean, "/"))
		}
	}
	return repository, paths, true
}

// repository is what a repository resource says of itself.
type repository struct{ alias, kind, name, ref string }

func repositoryOf(item *syntax.Node, alias string) repository {
	text := func(key string) string {
		if n := item.Get(key); n != nil && n.Kind == syntax.Scalar {
			return n.Text
		}
		return ""
	}
	return repository{alias: alias, kind: text("type"), name: text("name"), ref: text("ref")}
}

// repositoryText tells a repository that is not at hand from others.
func (x *Expander) repositoryText(alias string) string {
	r := x.names[strings.ToLower(alias)]
	details := []string{cmp.Or(r.kind, "git")}
	for _, d := range []string{r.name, r.ref} {
		if d != "" {
			details = append(details, d)
		}
	}
	if r.ref != "" {
		details[len(details)-1] = "ref " + r.ref
	}
	return "repository alias " + alias + " (" + strings.Join(details, ", ") + ")"
}

func (x *Expander) unknownRepository(ref *syntax.Node, alias string) {
	names := []string{"self"}
	for _, key := range slices.Sorted(maps.Keys(x.names)) {
		names = append(names, x.names[key].alias)
	}
	p := x.report.Error(ref, "unknown-repository", "no repository resource has the alias %s", alias).Got("%s", alias)
	if near := syntax.Nearest(alias, names); near != "" {
		p.Try("write @%s", near)
	} else {
		p.Try("add it under resources: repositories:")
	}
}
