// Package reference lists what a plan uses besides its own repository, so that
// permission for all of it can be asked before the first job starts.
package reference

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/pipeline/internal/catalog"
)

// Kind is what a plan may use.
type Kind string

// The kinds.
const (
	Pool              Kind = "pool"
	Environment       Kind = "environment"
	VariableGroup     Kind = "variableGroup"
	Repository        Kind = "repository"
	Pipeline          Kind = "pipeline"
	ServiceConnection Kind = "serviceConnection"
	SecureFile        Kind = "secureFile"
)

// Reference is one use. Stage is "" for what the whole run uses. A Name with
// $(macros) or `$[ ]` is known only when its stage starts.
type Reference struct {
	Kind   Kind            `json:"kind"`
	Name   string          `json:"name"`
	Stage  string          `json:"stage,omitempty"`
	Origin pipeline.Origin `json:"origin"`
}

// Of lists the references of a plan, each once for a stage, in a fixed order.
func Of(p *pipeline.Plan) []Reference {
	c := &collector{seen: map[[3]string]bool{}}
	for _, r := range p.Resources.Repositories {
		c.add(Repository, cmp.Or(r.Name, r.Alias), "", r.Origin)
		c.add(ServiceConnection, r.Endpoint, "", r.Origin)
	}
	for _, r := range p.Resources.Pipelines {
		c.add(Pipeline, r.Pipeline(), "", r.Origin)
	}
	for _, r := range p.Resources.Containers {
		c.add(ServiceConnection, r.Endpoint, "", r.Origin)
		c.add(ServiceConnection, r.AzureSubscription, "", r.Origin)
	}
	for _, r := range p.Resources.Builds {
		c.add(ServiceConnection, r.Connection, "", r.Origin)
	}
	for _, r := range p.Resources.Packages {
		c.add(ServiceConnection, r.Connection, "", r.Origin)
	}
	for _, r := range p.Resources.Webhooks {
		c.add(ServiceConnection, r.Connection, "", r.Origin)
	}
	c.groups(p.Variables, "")
	for i := range p.Stages {
		c.stage(&p.Stages[i])
	}
	slices.SortStableFunc(c.list, func(a, b Reference) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)))
	})
	return c.list
}

type collector struct {
	list []Reference
	seen map[[3]string]bool
}

func (c *collector) add(kind Kind, name, stage string, at pipeline.Origin) {
	key := [3]string{string(kind), strings.ToLower(name), stage}
	if name == "" || c.seen[key] {
		return
	}
	c.seen[key] = true
	c.list = append(c.list, Reference{Kind: kind, Name: name, Stage: stage, Origin: at})
}

func (c *collector) groups(variables []pipeline.Variable, stage string) {
	for _, v := range variables {
		c.add(VariableGroup, v.Group, stage, v.Origin)
	}
}

func (c *collector) stage(s *pipeline.Stage) {
	c.groups(s.Variables, s.Name)
	for i := range s.Jobs {
		j := &s.Jobs[i]
		c.groups(j.Variables, s.Name)
		c.add(Pool, j.Pool.Name, s.Name, j.Origin)
		for _, name := range j.UsesPools {
			c.add(Pool, name, s.Name, j.Origin)
		}
		for _, name := range j.UsesRepositories {
			c.add(Repository, name, s.Name, j.Origin)
		}
		c.steps(j.Steps, s.Name)
		if j.Deployment == nil {
			continue
		}
		c.add(Environment, j.Deployment.Environment.Name, s.Name, j.Origin)
		for _, h := range j.Deployment.Hooks {
			if h.Pool != nil {
				c.add(Pool, h.Pool.Name, s.Name, h.Origin)
			}
			c.steps(h.Steps, s.Name)
		}
	}
}

// steps finds the inputs that name a connection or a secure file.
func (c *collector) steps(steps []pipeline.Step, stage string) {
	for i := range steps {
		for _, u := range UsesOf(&steps[i]) {
			for _, name := range u.Names {
				c.add(u.Kind, name, stage, steps[i].Origin)
			}
		}
	}
}

// Use is one input of a step that names service connections or secure files.
type Use struct {
	Kind  Kind
	Input string   // as the step writes it
	Names []string // as the step writes them; they may hold $(macros)
}

// Expand replaces the macros in the names; one may stand for several.
func (u Use) Expand(lookup func(string) (string, bool)) []string {
	var list []string
	for _, name := range u.Names {
		list = append(list, SplitNames(pipeline.ExpandMacros(name, lookup))...)
	}
	return list
}

// Known reports whether the catalogue tells which inputs of a step name
// something.
func Known(s *pipeline.Step) bool {
	_, ok := catalog.Lookup(s.Task, s.Version)
	return ok
}

// UsesOf lists the inputs of a step that name connections or secure files, in
// the order of the task's inputs. Only tasks of the catalogue say which do.
func UsesOf(s *pipeline.Step) []Use {
	t, ok := catalog.Lookup(s.Task, s.Version)
	if !ok {
		return nil
	}
	var uses []Use
	for _, in := range t.Inputs {
		kind := SecureFile
		if strings.HasPrefix(in.Type, "connectedService") {
			kind = ServiceConnection
		} else if !strings.EqualFold(in.Type, "secureFile") {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(s.Inputs)) {
			if !strings.EqualFold(name, in.Name) && !slices.ContainsFunc(in.Aliases, func(a string) bool { return strings.EqualFold(a, name) }) {
				continue
			}
			if names := SplitNames(s.Inputs[name]); len(names) > 0 {
				uses = append(uses, Use{kind, name, names})
			}
		}
	}
	return uses
}

// SplitNames reads the names of an input: several stand with commas between
// them.
func SplitNames(value string) []string {
	var names []string
	for name := range strings.SplitSeq(value, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}
