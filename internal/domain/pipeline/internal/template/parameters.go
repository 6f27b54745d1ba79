package template

import (
	"fmt"
	"sort"
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/expression"
	"penstock.dev/penstock/internal/domain/pipeline/internal/grammar"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

// Parameter is a declared parameter of the root file with its value.
type Parameter struct {
	Name        string
	DisplayName string
	Type        string
	Values      []string
	Default     *syntax.Node // nil: none
	Value       *syntax.Node // nil: none given
	Node        *syntax.Node // the declaration
}

// declared are the parameters of one file. legacy is the mapping form, or none
// at all: both accept any argument.
type declared struct {
	list   []Parameter
	legacy bool
	none   bool // no `parameters` at all
}

// parameterSet is the `parameters` context of one file.
type parameterSet struct {
	list   []Parameter
	values map[string]expression.Value
	order  []string
	strict bool
	file   string
}

func (p *parameterSet) set(name string, v *syntax.Node) {
	key := strings.ToLower(name)
	if _, ok := p.values[key]; !ok {
		p.order = append(p.order, name)
	}
	p.values[key] = valueOf(v)
}

// Get finds a parameter.
func (p *parameterSet) Get(name string) (expression.Value, bool) {
	v, ok := p.values[strings.ToLower(name)]
	return v, ok
}

// Pairs lists the parameters in the order of their declaration.
func (p *parameterSet) Pairs() []expression.Pair {
	out := make([]expression.Pair, len(p.order))
	for i, name := range p.order {
		out[i] = expression.Pair{Key: name, Value: p.values[strings.ToLower(name)]}
	}
	return out
}

// Missing is the mistake of reading a parameter that was not declared.
func (p *parameterSet) Missing(name string) error {
	if !p.strict {
		return nil
	}
	e := &expression.Error{Code: "unknown-parameter", Message: fmt.Sprintf("%s has no parameter %s", p.file, name), Found: name}
	if e.Expected = strings.Join(p.order, ", "); e.Expected == "" {
		e.Expected = "no parameter: none is declared"
	}
	if near := syntax.Nearest(name, p.order); near != "" {
		e.Do = "write parameters." + near
	} else {
		e.Do = "declare it under parameters:"
	}
	return e
}

var parameterShape = grammar.Parameter.Shape()

// declarations reads the `parameters` of a file, once.
func (x *Expander) declarations(f *syntax.File) declared {
	if d, ok := x.decls[f]; ok {
		return d
	}
	var d declared
	switch n := f.Root.Get("parameters"); {
	case n == nil || n.IsEmpty():
		d.none = true
	case n.Kind == syntax.Mapping:
		d.legacy = true
		for _, p := range n.Pairs {
			d.list = append(d.list, Parameter{Name: p.Key.Text, Type: "legacyObject", Default: p.Value, Node: p.Key})
		}
	case n.Kind == syntax.Sequence:
		seen := map[string]bool{}
		for _, item := range n.Items {
			p, ok := x.declaration(item)
			if !ok {
				continue
			}
			if seen[strings.ToLower(p.Name)] {
				x.report.Error(item, "duplicate-parameter", "parameter %s is declared twice", p.Name)
				continue
			}
			seen[strings.ToLower(p.Name)] = true
			d.list = append(d.list, p)
		}
	default:
		x.report.Error(n, "expected-sequence", "`parameters` is a sequence").Got("%s", syntax.Describe(n))
	}
	x.decls[f] = d
	return d
}

func (x *Expander) declaration(item *syntax.Node) (p Parameter, ok bool) {
	f, ok := syntax.ReadFields(x.report, item, parameterShape)
	if !ok {
		return p, false
	}
	name := f.Get("name")
	if name == nil || name.Kind != syntax.Scalar || name.Text == "" {
		x.report.Error(item, "parameter-name", "a parameter needs a name").Want("name: …")
		return p, false
	}
	p = Parameter{Name: name.Text, Type: "string", Default: f.Get("default"), Node: item}
	if d := f.Get("displayName"); d != nil {
		p.DisplayName = d.Text
	}
	if t := f.Get("type"); t != nil && !t.IsEmpty() {
		canonical, known := canonicalType(t.Text)
		if !known {
			e := x.report.Error(t, "parameter-type-name", "`%s` is not a type of parameter", t.Text).Want("%s", strings.Join(grammar.ParameterTypes[:10], ", ")+", …").Got("%s", syntax.Describe(t))
			if near := syntax.Nearest(t.Text, grammar.ParameterTypes); near != "" {
				e.Try("write %s", near)
			}
			return p, false
		}
		p.Type = canonical
	}
	if v := f.Get("values"); v != nil && v.Kind == syntax.Sequence {
		for _, item := range v.Items {
			p.Values = append(p.Values, item.Text)
		}
	} else if v != nil && !v.IsEmpty() {
		x.report.Error(v, "expected-sequence", "`values` is a sequence").Got("%s", syntax.Describe(v))
	}
	if p.Default != nil && p.Default.Kind == syntax.Scalar && p.Default.Text == "" && len(p.Values) > 0 {
		p.Default = nil // `default:` without a value: the first of the values, as if it were not there
	}
	if p.Default != nil {
		converted, good := x.convert(p, p.Default, func(e *syntax.Problem) { e.At("default of parameter %s", p.Name) })
		if !good {
			converted = bad(p.Default, nil)
		}
		p.Default = converted
	}
	return p, true
}

// bindRoot gives the root parameters the values of the run.
func (x *Expander) bindRoot(d declared) *parameterSet {
	set := &parameterSet{values: map[string]expression.Value{}, strict: !x.opt.Head && !d.legacy, file: "the pipeline"}
	given := map[string]any{}
	for name, v := range x.opt.Values {
		given[strings.ToLower(name)] = v
	}
	for _, p := range d.list {
		v, ok := given[strings.ToLower(p.Name)]
		delete(given, strings.ToLower(p.Name))
		switch {
		case ok:
			p.Value, _ = x.convert(p, x.given(p, v), func(e *syntax.Problem) { e.At("value given for the run") })
		case p.Default != nil:
			p.Value = p.Default
		case len(p.Values) > 0 && p.Type != "stringList": // of several there is no first choice
			p.Value, _ = x.convert(p, &syntax.Node{Text: p.Values[0], Pos: p.Node.Pos}, func(*syntax.Problem) {})
		case !x.opt.Head:
			x.report.Error(p.Node, "parameter-required", "a value for the '%s' parameter must be provided", p.Name).Want("%s", wants(p.Type)).Try("give it for the run, as in --param %s=VALUE, or declare a default", p.Name)
		}
		set.set(p.Name, p.Value)
		set.list = append(set.list, p)
	}
	x.bindWebhooks(set, given)
	unknown := make([]string, 0, len(given))
	for name := range given {
		unknown = append(unknown, name)
	}
	sort.Strings(unknown)
	for _, name := range unknown {
		at := &syntax.Node{Pos: syntax.Pos{File: x.order[0], Line: 1, Column: 1}}
		x.report.Error(at, "unexpected-parameter", "unexpected parameter '%s'", name).Want("%s", strings.Join(set.order, ", ")).At("value given for the run")
	}
	return set
}

// given is a value for the run as a node. Who can only send text, as on a command
// line, writes the YAML of a list or mapping.
func (x *Expander) given(p Parameter, v any) *syntax.Node {
	n := fromAny(v, p.Node)
	structured := p.Type == "object" || p.Type == "stringList" || slotOfType(p.Type) != slotAny
	if text, ok := v.(string); ok && structured && strings.ContainsAny(text, "[{:\n-") {
		report := &syntax.Report{}
		f := syntax.Read(report, "self", "parameter "+p.Name, []byte(text))
		if f.Root != nil && f.Root.Kind != syntax.Scalar && !report.Failed() {
			return f.Root
		}
	}
	return n
}

// bindWebhooks makes the content of a call from outside readable under the alias
// of its resource; without such a call it is empty.
func (x *Expander) bindWebhooks(set *parameterSet, given map[string]any) {
	for _, item := range list(x.order[0].Root.Get("resources").Get("webhooks")) {
		alias := item.Get("webhook")
		if alias == nil || alias.Kind != syntax.Scalar {
			continue
		}
		if _, declared := set.Get(alias.Text); declared {
			continue
		}
		set.set(alias.Text, fromAny(given[strings.ToLower(alias.Text)], alias))
		delete(given, strings.ToLower(alias.Text))
	}
}

// bindCall gives a template's parameters the arguments of a call.
func (x *Expander) bindCall(d declared, call syntax.Fields, f *syntax.File, s *scope) *parameterSet {
	set := &parameterSet{values: map[string]expression.Value{}, strict: !d.legacy && !d.none && !x.opt.Head, file: "template " + f.Name()}
	args := call.Get("parameters")
	if args != nil && args.Kind != syntax.Mapping {
		if !args.IsEmpty() && !args.Bad {
			x.report.Error(args, "expected-mapping", "`parameters` of a call is a mapping").Got("%s", syntax.Describe(args))
		}
		args = nil
	}
	known := map[string]bool{}
	for _, p := range d.list {
		known[strings.ToLower(p.Name)] = true
		arg := args.Get(p.Name)
		switch {
		case arg != nil && arg.Bad:
			p.Value = arg
		case arg != nil:
			where := func(e *syntax.Problem) {
				e.At("call of %s, which declares it at %s:%d:%d", f.Name(), f.Name(), p.Node.Line, p.Node.Column)
			}
			p.Value, _ = x.convert(p, arg, where)
			p.Value = x.settle(p, f, s)
		case p.Default != nil:
			p.Value = p.Default
			p.Value = x.settle(p, f, s)
		default:
			x.report.Error(call.Key("template"), "parameter-required", "a value for the '%s' parameter must be provided", p.Name).
				Want("%s", wants(p.Type)).At("call of %s, which declares it at %s:%d:%d", f.Name(), f.Name(), p.Node.Line, p.Node.Column).
				Try("add it under parameters:")
		}
		set.set(p.Name, p.Value)
	}
	if args != nil {
		x.extraArguments(args, known, d, f, set)
	}
	return set
}

func (x *Expander) extraArguments(args *syntax.Node, known map[string]bool, d declared, f *syntax.File, set *parameterSet) {
	for _, p := range args.Pairs {
		if known[strings.ToLower(p.Key.Text)] || p.Key.Bad {
			continue
		}
		if d.legacy || d.none {
			set.set(p.Key.Text, p.Value)
			continue
		}
		e := x.report.Error(p.Key, "unexpected-parameter", "unexpected parameter '%s'", p.Key.Text).Got("%s", p.Key.Text)
		e.Want("%s", strings.Join(set.order, ", "))
		if len(set.order) == 0 {
			e.Want("no parameter: %s declares none", f.Name())
		}
		if near := syntax.Nearest(p.Key.Text, set.order); near != "" {
			e.Try("write %s", near)
		}
	}
}

// settle replaces the template calls in a list of steps, jobs or stages before
// the called template sees it, so that a template which refuses some steps sees
// all of them. Their paths are relative to the called template. A repository
// that only the called template declares is not known yet: such a call stays,
// for where the list is inserted.
func (x *Expander) settle(p Parameter, f *syntax.File, s *scope) *syntax.Node {
	at := slotOfType(p.Type)
	if at == slotAny || p.Value == nil || p.Value.Bad {
		return p.Value
	}
	inner := *s
	inner.file, inner.environ, inner.early = f, nil, true
	return longForm(x.adopt(p.Value, at, &inner), at)
}
