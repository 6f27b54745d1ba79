package agent

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"penstock.dev/penstock/internal/base/mask"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/run"
)

// Local is what a run on a person's own machine adds to an agent. The zero value
// adds nothing.
type Local struct {
	// Sources is a folder that stands for the checkout of self as it is: nothing
	// is fetched, reset or cleaned there. "" = every job gets a copy.
	Sources string
	// Own gives every job a work folder of its own, as every job has a machine of
	// its own on the service: what another job left is not seen. That of a job that
	// went well is removed at its end, unless Keep.
	Own, Keep bool
	// Kept says that the work folder is that of an earlier run, sources included,
	// and stays as it is.
	Kept bool
	// Objects is where a repository is on this machine, by its URL; "" = it is not
	// here. A checkout then reads its objects there. nil = none is.
	Objects func(url string) string
	// Skip says why a step is left out of this run: what it needs is not here; "" =
	// it is not. nil = none is.
	Skip func(*pipeline.Step) string
	// Break decides what becomes of a step at which somebody may want to look:
	// before it runs, and when it has failed. nil = nobody looks.
	Break func(ctx context.Context, at *run.Stop) run.Decision
	// Record hears of each step before it runs. nil = nobody listens.
	Record func(run.RecordedStep)
	// Replay gives a step the variables that it had in an earlier run.
	Replay *run.RecordedStep
}

// leftOut says why the step does not run here, whatever its condition says; "" =
// nothing keeps it from running.
func (s *step) leftOut() string {
	if s.machine.Local.Skip != nil {
		if why := s.machine.Local.Skip(&s.spec); why != "" {
			return why
		}
	}
	if name := s.stub(); name != "" {
		return "service connection " + name + " is a stub in this run, so what the step does cannot be done here"
	}
	return ""
}

// maxSaid is how much of a step's log is kept for whoever looks, in bytes.
const maxSaid = 64 << 10

// observed runs the attempts of a step, with whoever looks at it.
func (s *step) observed(ctx context.Context) run.Result {
	local := s.machine.Local
	s.replay(local.Replay)
	if local.Record != nil {
		local.Record(s.recorded())
	}
	if local.Break == nil {
		return s.attempts(ctx)
	}
	if local.Break(ctx, s.stop(false)) == run.Abort {
		s.abort()
		return run.Canceled
	}
	for {
		result := s.attempts(ctx)
		if result != run.Failed || ctx.Err() != nil {
			return result
		}
		switch local.Break(ctx, s.stop(true)) {
		case run.Abort:
			s.abort()
			return result
		case run.Continue:
			return result
		}
		s.mu.Lock()
		s.report.Errors, s.report.Warnings = nil, nil // those of an attempt that somebody has repaired
		s.first = s.report.Attempt
		s.mu.Unlock()
	}
}

func (s *step) stop(failed bool) *run.Stop {
	s.mu.Lock()
	errors, said := slices.Clone(s.report.Errors), s.said
	s.mu.Unlock()
	dir, _ := s.Lookup("System.DefaultWorkingDirectory")
	if d := s.input("workingDirectory"); d != "" {
		if filepath.IsAbs(d) {
			dir = d
		} else {
			dir = filepath.Join(dir, d)
		}
	}
	return &run.Stop{Stage: s.m.Stage, Job: run.EventJob(s.m.Phase, s.m.Name), Step: s.spec.Name, Title: s.title(s.spec), Failed: failed, Errors: s.maskAll(errors), Dir: dir,
		Env: append(s.environment(s.spec.Env), s.privateEnvironment()...), Script: s.masker.Line(s.input("script")), Log: said, Variables: s.shown(), Mask: s.masker.Stream()}
}

// input is an input of the step as its task would see it.
func (s *step) input(name string) string {
	for key, value := range s.spec.Inputs {
		if strings.EqualFold(key, name) {
			return strings.TrimSpace(pipeline.ExpandMacros(value, s.lookupOrOS))
		}
	}
	return ""
}

// shown are the variables as they may be shown.
func (s *step) shown() []run.Variable {
	s.job.mu.Lock()
	defer s.job.mu.Unlock()
	list := make([]run.Variable, 0, len(s.vars))
	for _, v := range s.vars {
		if v.Secret {
			v.Value = mask.Text
		}
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b run.Variable) int {
		return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
	})
	return list
}

func (s *step) recorded() run.RecordedStep {
	r := run.RecordedStep{Stage: s.m.Stage, Job: run.EventJob(s.m.Phase, s.m.Name), Order: s.order, Name: s.spec.Name, Ref: s.ref, Hook: s.m.Hook, Title: s.title(s.spec), Task: s.spec.Task + "@" + s.spec.Version,
		Inputs: s.maskValues(s.spec.Inputs), Env: s.maskValues(s.spec.Env), Work: s.machine.Work, Variables: map[string]string{}}
	for _, v := range s.shown() {
		if v.Secret {
			r.SecretNames = append(r.SecretNames, v.Name)
			continue
		}
		r.Variables[v.Name] = s.masker.Line(v.Value)
	}
	return r
}

func (s *step) maskValues(m map[string]string) map[string]string {
	m = maps.Clone(m)
	for name, value := range m {
		m[name] = s.masker.Line(value)
	}
	return m
}

// replay gives the step the variables of an earlier run. What speaks of this
// agent and its folders stays; other values that name a folder of the earlier
// run name the same folder of this one.
func (s *step) replay(r *run.RecordedStep) {
	if r == nil || s.spec.Task == pipeline.TaskCheckout {
		return
	}
	own := s.folders()
	for name, value := range r.Variables {
		if _, folder := own[name]; folder || strings.HasPrefix(strings.ToLower(name), "system.") {
			continue
		}
		if r.Work != "" && r.Work != s.machine.Work {
			value = strings.ReplaceAll(value, r.Work, s.machine.Work)
		}
		s.job.mu.Lock()
		old, known := s.vars[strings.ToLower(name)]
		if !known || !old.Secret && old.Value != value {
			s.vars[strings.ToLower(name)] = run.Variable{Name: name, Value: value, ReadOnly: old.ReadOnly}
			delete(s.written, strings.ToLower(name)) // what was recorded is whole
		}
		s.job.mu.Unlock()
	}
	for _, name := range r.SecretNames {
		if _, known := s.Lookup(name); !known {
			s.job.mu.Lock()
			s.vars[strings.ToLower(name)] = run.Variable{Name: name, Secret: true}
			s.job.mu.Unlock()
			s.Issue("warning", "secret "+name+" came from an earlier step and was not recorded; it is empty here")
		}
	}
}

// sources points the variables of the sources at the folder that stands for the
// checkout.
func (j *job) sources() {
	if j.machine.Local.Sources == "" {
		return
	}
	for _, name := range []string{"Build.SourcesDirectory", "Build.Repository.LocalPath", "System.DefaultWorkingDirectory"} {
		j.vars[strings.ToLower(name)] = run.Variable{Name: name, Value: j.machine.Local.Sources, ReadOnly: true}
	}
}

// given says that the repository of a step is there already.
func (s *step) given() bool {
	local := s.machine.Local
	if s.spec.Task != pipeline.TaskCheckout {
		return false
	}
	alias := s.input("repository")
	return local.Kept || local.Sources != "" && (alias == "" || strings.EqualFold(alias, "self"))
}
