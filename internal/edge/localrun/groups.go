package localrun

import (
	"cmp"
	"context"
	"encoding/json"
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

// Outside gives every variable group, service connection and secure file of the
// plan what the local file says of it. Given are sources of secrets that win
// over those of the local file. It returns what is missing.
func (r *Request) Outside(ctx context.Context, plan *pipeline.Plan, local *language.LocalFile, given map[string]language.SecretSource, env func(string) string) (*Missing, error) {
	sources := maps.Clone(local.Secrets)
	if sources == nil {
		sources = map[string]language.SecretSource{}
	}
	maps.Copy(sources, given)
	m := &Missing{}
	if err := r.settings(ctx, local, sources, given, env, m); err != nil {
		return nil, err
	}
	for _, ref := range reference.Of(plan) {
		if ref.Kind != reference.VariableGroup || r.Plain[ref.Name] != nil {
			continue
		}
		if _, own := local.Applications[ref.Name]; own { // the application keeps it
			continue
		}
		group, known := local.VariableGroups[ref.Name]
		if !known { // one that the file does not name holds the given secrets that are used
			group = usedSecrets(plan, sources)
			known = len(group) > 0
		}
		if !known {
			m.add("secret-not-given", at(ref, "variable group %s has no values", ref.Name))
			m.groups = append(m.groups, ref.Name)
			continue
		}
		r.Plain[ref.Name], r.Secret[ref.Name] = map[string]string{}, map[string]string{}
		for name, v := range group {
			if v.Secret == "" {
				r.Plain[ref.Name][name] = v.Text
				continue
			}
			value, ok, err := local.Value(ctx, sources[v.Secret], env)
			if err != nil {
				return nil, err
			}
			if !ok {
				m.add("secret-not-given", at(ref, "variable group %s has no value for %s", ref.Name, name))
			}
			r.Secret[ref.Name][name] = value
		}
	}
	r.pipelines(plan, local, m)
	return m, r.connections(ctx, plan, local, sources, env, m)
}

// settings are the secrets that flags give, and those that the local file has
// among its variables.
func (r *Request) settings(ctx context.Context, local *language.LocalFile, sources, given map[string]language.SecretSource, env func(string) string, m *Missing) error {
	named := map[string]string{}
	for name, v := range local.Variables {
		if v.Secret != "" {
			named[name] = v.Secret
		}
	}
	for name := range given {
		named[name] = name
	}
	r.Settings = map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		value, ok, err := local.Value(ctx, sources[named[name]], env)
		if err != nil {
			return err
		}
		switch _, flag := given[name]; {
		case ok:
			r.Settings[name] = value
		case flag:
			return fault.New(fault.Invalid, "secret-not-given", "--secret %s: the environment has no variable %s", name, name).Try("set it, or name a file: --secret %s=FILE", name)
		default:
			m.add("secret-not-given", fmt.Sprintf("variable %s has no value: there is no secret %s", name, named[name]))
		}
	}
	return nil
}

// usedSecrets are those that the plan mentions as variables.
func usedSecrets(plan *pipeline.Plan, sources map[string]language.SecretSource) map[string]language.GroupValue {
	text, err := json.Marshal(plan)
	if err != nil {
		return nil
	}
	low := strings.ToLower(string(text))
	group := map[string]language.GroupValue{}
	for name := range sources {
		n := strings.ToLower(name)
		if strings.Contains(low, "$("+n+")") || strings.Contains(low, "variables."+n) || strings.Contains(low, "variables['"+n+"']") {
			group[name] = language.GroupValue{Secret: name}
		}
	}
	return group
}

func at(ref reference.Reference, format string, args ...any) string {
	return fmt.Sprintf("%s:%d:%d: ", ref.Origin.File, ref.Origin.Line, ref.Origin.Column) + fmt.Sprintf(format, args...)
}

// connections takes from the local file the connections and secure files that
// steps of the plan name. A name with a macro is known when its job starts only:
// all that the file has is there then.
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
	for _, ref := range reference.Of(plan) {
		low := strings.ToLower(ref.Name)
		if ref.Stage == "" || strings.Contains(ref.Name, "$(") || seen[string(ref.Kind)+low] {
			continue
		}
		seen[string(ref.Kind)+low] = true
		switch ref.Kind {
		case reference.ServiceConnection:
			if !known[low] {
				m.add("no-connection", at(ref, "there is no service connection %s", ref.Name))
				m.connections = append(m.connections, ref.Name)
			}
		case reference.SecureFile:
			if files[low].File == "" {
				m.add("no-secure-file", at(ref, "there is no secure file %s", ref.Name))
				m.files = append(m.files, ref.Name)
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
