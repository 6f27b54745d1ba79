package localrun

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/pipeline/reference"
	"penstock.dev/penstock/internal/domain/serviceconnection"
	"penstock.dev/penstock/internal/edge/language"
)

// connections takes from the local file the connections and secure files that
// steps of the plan name. A name that only the job can know, from an output for
// one, is not looked for: all that the file has is there then.
func (r *Request) connections(ctx context.Context, plan *pipeline.Plan, local *language.LocalFile, sources map[string]language.SecretSource, env func(string) string, m *Missing) error {
	files := map[string]language.LocalSecureFile{}
	for name, f := range local.SecureFiles {
		files[strings.ToLower(name)] = f
	}
	known := map[string]bool{}
	for name := range local.Connections {
		known[strings.ToLower(name)] = true
	}
	seen := map[string]bool{}
	for _, ref := range r.named(plan) {
		low := strings.ToLower(ref.Name)
		if strings.Contains(ref.Name, "$(") || seen[string(ref.Kind)+low] {
			continue
		}
		seen[string(ref.Kind)+low] = true
		switch ref.Kind {
		case reference.ServiceConnection:
			if !known[low] {
				m.add("no-connection", at(ref.Reference, "there is no service connection %s", ref.Name))
				m.connections = append(m.connections, ref.Name)
			}
		case reference.SecureFile:
			if files[low].File == "" {
				m.add("no-secure-file", at(ref.Reference, "there is no secure file %s", ref.Name))
				m.files, m.written = append(m.files, ref.Name), append(m.written, ref.written...)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(local.Connections)) {
		spec, without, err := connection(ctx, name, local, sources, env)
		if err != nil {
			return err
		}
		if r.Connections = append(r.Connections, spec); seen[string(reference.ServiceConnection)+strings.ToLower(name)] {
			for _, entry := range without {
				m.add("secret-not-given", fmt.Sprintf("service connection %s has no value for %s", name, entry))
			}
		}
	}
	for name, f := range local.SecureFiles {
		content, err := os.ReadFile(local.Path(f.File))
		if err != nil {
			if !seen[string(reference.SecureFile)+strings.ToLower(name)] {
				continue // no step names it
			}
			return fault.New(fault.Invalid, "file-unreadable", "secure file %s cannot be read", name).At("%s", local.Path(f.File))
		}
		r.SecureFiles[name] = content
	}
	return nil
}

// connection is what the local file says of a connection, and which of its
// entries have no value.
func connection(ctx context.Context, name string, local *language.LocalFile, sources map[string]language.SecretSource, env func(string) string) (spec serviceconnection.Spec, missing []string, err error) {
	k := local.Connections[name]
	spec = serviceconnection.Spec{Name: name, Type: cmp.Or(k.Type, "stub"), URL: k.URL, Scheme: cmp.Or(k.Scheme, "None"), Stub: k.Stub,
		Parameters: map[string]string{}, Data: map[string]string{}}
	for _, part := range []struct {
		from map[string]language.GroupValue
		to   map[string]string
	}{{k.Parameters, spec.Parameters}, {k.Data, spec.Data}} {
		for _, entry := range slices.Sorted(maps.Keys(part.from)) {
			v := part.from[entry]
			if part.to[entry] = v.Text; v.Secret == "" || k.Stub {
				continue
			}
			value, ok, err := local.Value(ctx, sources[v.Secret], env)
			if err != nil {
				return spec, nil, err
			}
			if part.to[entry] = value; !ok {
				missing = append(missing, entry)
			}
		}
	}
	return spec, missing, nil
}

// named is what a step names, and how it is written.
type named struct {
	reference.Reference
	written []string
}

// named lists the connections and secure files that steps name, with the macros
// replaced whose values are known before a job starts.
func (r *Request) named(plan *pipeline.Plan) []named {
	var list []named
	for i := range plan.Stages {
		s := &plan.Stages[i]
		for k := range s.Jobs {
			j := &s.Jobs[k]
			for _, leg := range variablesOfLegs(j) {
				lookup := r.given(leg, plan.Variables, s.Variables, j.Variables)
				for step := range enabledSteps(j) {
					for _, u := range reference.UsesOf(step) {
						for _, name := range u.Expand(lookup) {
							list = append(list, named{reference.Reference{Kind: u.Kind, Name: name, Stage: s.Name, Origin: step.Origin}, u.Names})
						}
					}
				}
			}
		}
	}
	return list
}

// variablesOfLegs are the variables of each leg of a job; a job without legs has one.
func variablesOfLegs(j *pipeline.Job) []map[string]string {
	if j.Strategy == nil || len(j.Strategy.Matrix) == 0 {
		return []map[string]string{nil}
	}
	var legs []map[string]string
	for _, leg := range j.Strategy.Matrix {
		legs = append(legs, leg.Variables)
	}
	return legs
}

// enabledSteps yields the steps of a job that are not disabled.
func enabledSteps(j *pipeline.Job) func(yield func(*pipeline.Step) bool) {
	lists := [][]pipeline.Step{j.Steps}
	if j.Deployment != nil {
		for _, h := range j.Deployment.Hooks {
			lists = append(lists, h.Steps)
		}
	}
	return func(yield func(*pipeline.Step) bool) {
		for _, list := range lists {
			for n := range list {
				if s := &list[n]; !s.Disabled && !yield(s) {
					return
				}
			}
		}
	}
}

// given finds the values that variables have before a job starts, in the order of
// the job itself: the leg's win, then those of the lists, the last of which counts,
// then the person's.
func (r *Request) given(leg map[string]string, lists ...[]pipeline.Variable) func(name string) (string, bool) {
	known := map[string]string{}
	put := func(values map[string]string) {
		for name, value := range values {
			known[strings.ToLower(name)] = value
		}
	}
	put(r.Variables)
	for _, list := range lists {
		for _, v := range list {
			switch {
			case v.Group != "":
				put(r.Plain[v.Group]) // a name is said aloud: it cannot be a secret
			case strings.HasPrefix(v.Value, "$["):
				delete(known, strings.ToLower(v.Name)) // the job computes it
			default:
				known[strings.ToLower(v.Name)] = v.Value
			}
		}
	}
	put(leg)
	return func(name string) (string, bool) {
		value, ok := known[strings.ToLower(name)]
		return value, ok
	}
}
