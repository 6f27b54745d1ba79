package tasklib

import (
	"slices"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/pattern"
	"penstock.dev/penstock/internal/domain/pipeline/internal/catalog"
)

// Values are the inputs with which a part of a task is called, by the name that
// the task gives them, or as written where it knows none.
type Values map[string]string

// Get returns an input, ignoring case.
func (v Values) Get(name string) (string, bool) {
	if text, ok := v[name]; ok {
		return text, true
	}
	for n, text := range v {
		if strings.EqualFold(n, name) {
			return text, true
		}
	}
	return "", false
}

// Values merges the inputs of a step with the defaults. What the step calls by
// an alias, or with other letters' case, gets the task's own name; what the task
// does not know is passed on. White space around a value does not count. expand
// replaces macros, those of defaults as well.
func (d *Definition) Values(step map[string]string, expand func(string) string) Values {
	v := Values{}
	for _, in := range d.Inputs {
		v[in.Name] = strings.TrimSpace(in.Default)
	}
	for name, text := range step {
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		in := d.Input(name)
		if in == nil {
			v[name] = strings.TrimSpace(text)
			continue
		}
		// Both the name and an alias: the name counts.
		if _, both := Values(step).Get(in.Name); both && !strings.EqualFold(name, in.Name) {
			continue
		}
		v[in.Name] = strings.TrimSpace(text)
	}
	for name, text := range v {
		v[name] = expand(text)
	}
	return v
}

// Missing returns an error if the step leaves out an input that is required and
// counts with the values of the others. A value that is there and empty is the
// task's own business: it may only be empty in this run.
func (d *Definition) Missing(step map[string]string, values Values) error {
	t := d.asCatalog()
	given := func(in *catalog.Input) (string, bool) { return values.Get(in.Name) }
	for i := range t.Inputs {
		in := &t.Inputs[i]
		if !in.Required || strings.TrimSpace(in.Default) != "" || d.written(step, in.Name) || !t.Counts(in, given) {
			continue
		}
		e := fault.New(fault.Invalid, "input-missing", "Input required: %s", in.Name).Try("add %s under the inputs: of the step %s@%d", in.Name, d.Name, d.Version.Major)
		if len(in.Options) > 0 {
			e = e.Want("%s", strings.Join(in.Options, ", "))
		}
		return e
	}
	return nil
}

func (d *Definition) written(step map[string]string, name string) bool {
	for other := range step {
		if in := d.Input(strings.TrimSpace(other)); in != nil && in.Name == name {
			return true
		}
	}
	return false
}

// Visible reports whether an input counts with the values of the others.
func (d *Definition) Visible(name string, values Values) bool {
	t := d.asCatalog()
	in, ok := t.Input(name)
	return ok && t.Counts(in, func(in *catalog.Input) (string, bool) { return values.Get(in.Name) })
}

// asCatalog is the definition as the compiler's catalogue writes it, which knows
// how rules of visibility are read.
func (d *Definition) asCatalog() *catalog.Task {
	t := &catalog.Task{Name: d.Name, ID: d.ID, Version: d.Version.String()}
	for _, in := range d.Inputs {
		c := catalog.Input{Name: in.Name, Aliases: in.Aliases, Type: in.Type, Required: in.Required, Default: in.Default}
		for _, o := range in.Options {
			c.Options = append(c.Options, o.Value)
		}
		c.Visible = d.rules(&in)
		t.Inputs = append(t.Inputs, c)
	}
	return t
}

// rules are all that have to hold for an input to count: its own, that of its
// group, and those of the inputs that these speak of, because a choice that is
// not offered decides nothing.
func (d *Definition) rules(in *Input) []string {
	var list []string
	seen, open := map[string]bool{in.Name: true}, []*Input{in}
	for ; len(open) > 0; open = open[1:] {
		for _, rule := range []string{open[0].VisibleRule, open[0].GroupRule} {
			if rule == "" || slices.Contains(list, rule) {
				continue
			}
			list = append(list, rule)
			for _, m := range inputNames().FindAllStringSubmatch(rule, -1) {
				if other := d.Input(m[1]); other != nil && !seen[other.Name] {
					seen[other.Name], open = true, append(open, other)
				}
			}
		}
	}
	return list
}

// inputNames finds the inputs that a rule compares.
var inputNames = pattern.Lazy(`(?i)([a-z0-9_.-]+)\s*(?:[=!]|(?:not)?(?:contains|startswith|endswith|in)\b)`)

// InstanceName is how a step is called that has no name of its own: the format
// of the task with $(input) replaced. Macros of the values stay.
func (d *Definition) InstanceName(step map[string]string) string {
	values := d.Values(step, func(s string) string { return s })
	rest, name := d.InstanceNameFormat, strings.Builder{}
	for {
		head, tail, open := strings.Cut(rest, "$(")
		input, after, closed := strings.Cut(tail, ")")
		if !open || !closed {
			break
		}
		name.WriteString(head)
		if text, ok := values.Get(input); ok {
			line, _, _ := strings.Cut(text, "\n")
			name.WriteString(line)
		} else {
			name.WriteString("$(" + input + ")")
		}
		rest = after
	}
	name.WriteString(rest)
	if text := strings.TrimSpace(name.String()); text != "" {
		return text
	}
	return d.Title()
}
