package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/pipeline/reference"
	"penstock.dev/penstock/internal/domain/serviceconnection"
)

// unknownUses lists the connections and secure files that steps of a plan name
// and that the project does not have, as errors of the file. A name with a macro
// that only the job can expand is looked at when the job starts.
func (s *Service) unknownUses(ctx context.Context, r *Run, plan *pipeline.Plan) ([]pipeline.Diagnostic, error) {
	var list []pipeline.Diagnostic
	seen := map[string]bool{}
	for i := range plan.Stages {
		st := &plan.Stages[i]
		for k := range st.Jobs {
			job := &st.Jobs[k]
			known := knownVariables(r, plan.Variables, st.Variables, job.Variables)
			for _, step := range allSteps(job) {
				for _, u := range reference.UsesOf(step) {
					for _, name := range u.Expand(known.lookup) {
						key := string(u.Kind) + "/" + strings.ToLower(name)
						if strings.Contains(name, "$(") || step.Disabled || seen[key] || s.StubConnections && u.Kind == reference.ServiceConnection {
							continue
						}
						err := s.findUse(ctx, r.ProjectID, u.Kind, name)
						if err != nil && !fault.Is(err, fault.NotFound) {
							return nil, err
						}
						if err != nil {
							seen[key] = true
							list = append(list, diagnosticOf(err, step, fmt.Sprintf("stage %s › job %s › step %s, input %s", st.Name, job.Name, step.Task, u.Input)))
						}
					}
				}
			}
		}
	}
	return list, nil
}

func diagnosticOf(err error, step *pipeline.Step, where string) pipeline.Diagnostic {
	d := pipeline.Diagnostic{Severity: pipeline.Error, Code: fault.CodeOf(err), Message: err.Error(), Location: step.Origin.Location, Chain: step.Origin.Chain, Where: where}
	var e *fault.Error
	if errors.As(err, &e) {
		d.Expected, d.Found, d.Do = e.Expected, e.Found, e.Do
	}
	return d
}

func (s *Service) findUse(ctx context.Context, projectID string, kind reference.Kind, name string) error {
	var err error
	if kind == reference.SecureFile {
		_, err = s.SecureFiles.Find(ctx, projectID, name)
	} else {
		_, err = s.Connections.Find(ctx, projectID, name)
	}
	return err
}

// allSteps are those of a job, or of all hooks of a deployment job.
func allSteps(j *pipeline.Job) []*pipeline.Step {
	var list []*pipeline.Step
	for i := range j.Steps {
		list = append(list, &j.Steps[i])
	}
	if j.Deployment == nil {
		return list
	}
	for h := range j.Deployment.Hooks {
		for i := range j.Deployment.Hooks[h].Steps {
			list = append(list, &j.Deployment.Hooks[h].Steps[i])
		}
	}
	return list
}

// knownVariables are those whose values are known before any job starts.
func knownVariables(r *Run, lists ...[]pipeline.Variable) variables {
	known := variables{}
	for name, value := range predefined(r) {
		known.set(name, value)
	}
	for _, list := range lists {
		for _, v := range list {
			if v.Name != "" && !strings.HasPrefix(v.Value, "$[") {
				known.set(v.Name, v.Value)
			}
		}
	}
	for name, value := range r.Variables {
		known.set(name, value)
	}
	return known
}

// connect puts into the message of a job the connections and secure files that
// its steps name, and no others. Of a task that the catalogue does not know, an
// input names one if it is its name.
func (s *Service) connect(ctx context.Context, r *Run, j *Job, m *JobMessage) error {
	ctx = identity.With(ctx, identity.System())
	user := fmt.Sprintf("job %s of run %s", j.Name, r.ID)
	set := variables{}
	for _, v := range m.Variables {
		set.set(v.Name, v.Value)
	}
	for _, alias := range slices.Sorted(maps.Keys(m.Containers)) {
		c := m.Containers[alias]
		if c.Endpoint == "" {
			continue
		}
		if err := s.mustGive(ctx, r.ProjectID, j.ID, user, reference.ServiceConnection, pipeline.ExpandMacros(c.Endpoint, set.lookup), m); err != nil {
			return fmt.Errorf("%s:%d: container %s: %w", c.Origin.File, c.Origin.Line, alias, err)
		}
	}
	taken := map[string]bool{}
	for i := range m.Steps {
		step := &m.Steps[i]
		if step.Disabled {
			continue
		}
		uses, mustBe := reference.UsesOf(step), true
		if !reference.Known(step) && !strings.HasPrefix(step.Task, "Penstock") {
			uses, mustBe = guesses(step), false
		}
		for _, u := range uses {
			for _, name := range u.Expand(set.lookup) {
				key := string(u.Kind) + "/" + strings.ToLower(name)
				if taken[key] {
					continue
				}
				taken[key] = true
				give := s.give
				if mustBe {
					give = s.mustGive
				}
				err := give(ctx, r.ProjectID, j.ID, user, u.Kind, name, m)
				if fault.Is(err, fault.NotFound) && !mustBe {
					continue
				}
				if err != nil {
					return fmt.Errorf("%s:%d: step %s, input %s: %w", step.Origin.File, step.Origin.Line, step.Task, u.Input, err)
				}
			}
		}
	}
	return nil
}

// guesses takes every short input of an unknown task for the name of something.
func guesses(step *pipeline.Step) []reference.Use {
	const longest = 300
	var uses []reference.Use
	for input, value := range step.Inputs {
		if names := reference.SplitNames(value); len(names) > 0 && len(value) <= longest && !strings.Contains(value, "\n") {
			uses = append(uses, reference.Use{Kind: reference.ServiceConnection, Input: input, Names: names}, reference.Use{Kind: reference.SecureFile, Input: input, Names: names})
		}
	}
	return uses
}

// mustGive is give for what is certainly meant: where the service says so, a stub
// stands for a connection that is not here.
func (s *Service) mustGive(ctx context.Context, projectID, jobID, user string, kind reference.Kind, name string, m *JobMessage) error {
	err := s.give(ctx, projectID, jobID, user, kind, name, m)
	if !s.StubConnections || kind != reference.ServiceConnection || !fault.Is(err, fault.NotFound) {
		return err
	}
	m.Connections = append(m.Connections, serviceconnection.Opened{ID: name, Name: name, Type: "stub", Scheme: "None", Stub: true})
	return nil
}

// give adds one connection or secure file to a message, once.
func (s *Service) give(ctx context.Context, projectID, jobID, user string, kind reference.Kind, name string, m *JobMessage) error {
	if kind == reference.SecureFile {
		f, err := s.SecureFiles.Find(ctx, projectID, name)
		if err != nil {
			return err
		}
		for _, g := range m.SecureFiles {
			if g.ID == f.ID {
				return nil
			}
		}
		g, err := s.SecureFiles.Grant(f, jobID)
		m.SecureFiles = append(m.SecureFiles, g)
		return err
	}
	c, err := s.Connections.Find(ctx, projectID, name)
	if err != nil {
		return err
	}
	for _, o := range m.Connections {
		if o.ID == c.ID {
			return nil
		}
	}
	o, err := s.Connections.Open(ctx, c, user)
	if err == nil {
		m.Connections = append(m.Connections, *o)
	}
	return err
}

// VaultUse says whether a job may read secrets of a vault: a step of its own
// names the vault, and the names it asks for (none: all) are among those of the
// step's filter. The job's token alone opens no vault.
func (s *Service) VaultUse(ctx context.Context, jobID, vault string, names []string) error {
	j, err := s.Jobs.Get(ctx, jobID)
	if err != nil {
		return err
	}
	d, err := s.Load(ctx, j.RunID)
	if err != nil {
		return err
	}
	m, err := s.message(ctx, d, j)
	if err != nil {
		return err
	}
	denied := fault.New(fault.Denied, "vault-not-named", "no step of this job names vault %s with these secrets", vault).
		Try("name the vault in the step, or by a variable that is set before the job starts: KeyVaultName, SecretsFilter")
	if j.State != InProgress {
		return denied
	}
	set := variables{}
	for _, v := range m.Variables {
		set.set(v.Name, v.Value)
	}
	for i := range m.Steps {
		if step := &m.Steps[i]; strings.EqualFold(step.Task, "AzureKeyVault") && !step.Disabled && vaultCovers(step, vault, names, set.lookup) {
			return nil
		}
	}
	return denied
}

func vaultCovers(step *pipeline.Step, vault string, names []string, lookup func(string) (string, bool)) bool {
	in := map[string]string{}
	for name, value := range step.Inputs {
		in[strings.ToLower(name)] = strings.TrimSpace(pipeline.ExpandMacros(value, lookup))
	}
	if !strings.EqualFold(in["keyvaultname"], vault) {
		return false
	}
	if in["secretsfilter"] == "" || in["secretsfilter"] == "*" {
		return true
	}
	allowed := map[string]bool{}
	for _, name := range reference.SplitNames(in["secretsfilter"]) {
		allowed[strings.ToLower(name)] = true
	}
	for _, name := range names {
		if !allowed[strings.ToLower(name)] {
			return false
		}
	}
	return len(names) > 0
}
