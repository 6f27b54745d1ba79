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

// Groups gives every variable group of the plan its values. Given are sources of
// secrets that win over those of the local file.
func (r *Request) Groups(ctx context.Context, plan *pipeline.Plan, local *language.LocalFile, given map[string]language.SecretSource, env func(string) string) error {
	sources := maps.Clone(local.Secrets)
	if sources == nil {
		sources = map[string]language.SecretSource{}
	}
	maps.Copy(sources, given)
	var missing []string
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
			missing = append(missing, fmt.Sprintf("%s:%d:%d: variable group %s has no values", ref.Origin.File, ref.Origin.Line, ref.Origin.Column, ref.Name))
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
				return err
			}
			if !ok {
				missing = append(missing, fmt.Sprintf("%s:%d:%d: variable group %s has no value for %s", ref.Origin.File, ref.Origin.Line, ref.Origin.Column, ref.Name, name))
			}
			r.Secret[ref.Name][name] = value
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return fault.New(fault.Invalid, "secret-not-given", "%s", strings.Join(missing, "\n")).Want("values in penstock.local.yml; secrets from a file, an environment variable or a stub").
		Try("variableGroups: { NAME: { key: value, KEY: { secret: KEY } } } and secrets: { KEY: { env: KEY } }, or --secret KEY=FILE")
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
