// Package reference lists what a plan uses besides its own repository, so that
// permission for all of it can be asked before the first job starts.
package reference

import (
	"cmp"
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
		c.add(Pipeline, r.Source, "", r.Origin)
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

// steps finds the inputs that name a connection or a secure file. Only tasks of
// the catalogue say which of their inputs do.
func (c *collector) steps(steps []pipeline.Step, stage string) {
	for i := range steps {
		s := &steps[i]
		t, ok := catalog.Lookup(s.Task, s.Version)
		if !ok {
			continue
		}
		for _, in := range t.Inputs {
			kind := SecureFile
			if strings.HasPrefix(in.Type, "connectedService") {
				kind = ServiceConnection
			} else if !strings.EqualFold(in.Type, "secureFile") {
				continue
			}
			for name, value := range s.Inputs {
				if strings.EqualFold(name, in.Name) || slices.ContainsFunc(in.Aliases, func(a string) bool { return strings.EqualFold(a, name) }) {
					c.add(kind, strings.TrimSpace(value), stage, s.Origin)
				}
			}
		}
	}
}
