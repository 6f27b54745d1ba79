package localrun

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/pipeline/reference"
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
