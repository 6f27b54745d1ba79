package agent

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"penstock.dev/penstock/internal/agent/nodetask"
	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/pipeline/tasklib"
	"penstock.dev/penstock/internal/domain/run"
)

// Library finds tasks that are not built in; tasklib.Library is one of folders.
type Library interface {
	// Find returns the newest version that a name and a version of a step mean.
	Find(ctx context.Context, name, version string) (*tasklib.Task, error)
	// Near lists tasks, and others that are given, whose names look like one
	// that was not found.
	Near(name string, others ...string) []string
}

// packaged is what a step has instead of a built-in task.
type packaged struct {
	found *tasklib.Task
	err   error
}

// usePackage looks for a package where no built-in task answers for the step,
// and where the step names one version exactly: a built-in task stands for all
// of a major version. It is asked once, when the job begins: what the store
// holds may change.
func (s *step) usePackage(ctx context.Context) {
	t := task.Find(s.spec.Task)
	builtIn := t != nil && t.Has(s.spec.Version)
	if _, exact := tasklib.ParseVersion(s.spec.Version); builtIn && !exact || s.machine.Tasks == nil || s.spec.Disabled {
		return
	}
	found, err := s.machine.Tasks.Find(ctx, s.spec.Task, s.spec.Version)
	switch {
	case err == nil:
		s.packaged = &packaged{found: found}
		if s.spec.DisplayName == "" {
			s.spec.DisplayName = found.Definition.InstanceName(s.spec.Inputs)
		}
	case !builtIn && fault.CodeOf(err) != "task-not-found":
		s.packaged = &packaged{err: err} // it is there, and yet cannot be used
	}
}

// fromPackage returns the task of a step that has a package; nil for others.
func (s *step) fromPackage() (*task.Task, error) {
	p := s.packaged
	if p == nil || p.err != nil {
		return nil, errOf(p)
	}
	t := &task.Task{Name: p.found.Name, Run: s.packagePart(tasklib.Main)}
	if len(p.found.Definition.PreJob) > 0 {
		t.Before = s.packagePart(tasklib.PreJob)
	}
	if len(p.found.Definition.PostJob) > 0 {
		t.After = s.packagePart(tasklib.PostJob)
	}
	return t, nil
}

func errOf(p *packaged) error {
	if p == nil {
		return nil
	}
	return p.err
}

// packagePart runs one part of the step's package.
func (s *step) packagePart(part tasklib.Part) task.Func {
	return func(ctx context.Context, _ *task.Context) error {
		if part == tasklib.Main {
			s.checkDemands()
		}
		url, _ := s.Lookup("System.TeamFoundationCollectionUri")
		proxy := nodetask.ProxyOf(os.Getenv)
		s.addSecret(proxy.Password)
		c := &nodetask.Call{Host: s, Macro: s.lookupOrOS, Proxy: proxy, Task: s.packaged.found, Part: part, Inputs: s.spec.Inputs, Variables: s.snapshot(), TaskVariables: s.ownVariables(),
			Endpoints: append(s.endpoints(), nodetask.System(url, s.m.AccessToken)), SecureFiles: s.files(),
			Programs:    nodetask.Programs{Folder: s.machine.NodeFolder, ToolCache: s.machine.ToolCache, Path: os.Getenv("PATH")},
			DisplayName: s.report.DisplayName, InstanceID: s.instance(), InstanceName: s.ref, Warn: func(text string) { s.Issue("warning", text) }}
		return c.Run(ctx)
	}
}

// TaskError says why no step can use a task here; nil = it is built in, or the
// library has it.
func TaskError(ctx context.Context, library Library, name, version string) error {
	s := &step{job: &job{machine: Machine{Tasks: library}}, spec: pipeline.Step{Task: name, Version: version}}
	s.usePackage(ctx)
	_, err := s.task()
	return err
}

// checkDemands names what the task wants of a machine and this one does not have.
// On the service no agent would get the job; here the task may do without.
func (s *step) checkDemands() {
	demands := s.packaged.found.Definition.Demands
	if len(demands) == 0 {
		return
	}
	have := capabilities()
	have["Agent.Version"] = nodetask.AgentVersion
	for _, d := range demands {
		if !pipeline.MatchDemand(d, have) {
			s.Issue("warning", fmt.Sprintf("task %s demands %q, which this machine does not have; it may fail for that", s.packaged.found.Name, d))
		}
	}
}

// serverTasks need no agent, and no agent has them.
var serverTasks = []string{"ManualValidation", "Delay", "InvokeRESTAPI"}

// noTask says that a task is neither built in nor in a store.
func (s *step) noTask() error {
	for _, name := range serverTasks {
		if strings.EqualFold(name, s.spec.Task) {
			return fault.New(fault.Invalid, "task-not-found", "task %s runs in jobs with `pool: server` only", name).Try("move the step into a job of its own, with `pool: server`")
		}
	}
	e := fault.New(fault.NotFound, "task-not-found", "there is no task %s@%s", s.spec.Task, s.spec.Version)
	near := task.Near(s.spec.Task)
	if s.machine.Tasks != nil {
		near = s.machine.Tasks.Near(s.spec.Task, task.Names()...)
	}
	add := "add its package on the agent's machine: penstock task add PATH, ZIP or VSIX"
	if len(near) > 0 {
		return e.Try("did you mean %s? Otherwise %s", strings.Join(near, " or "), add)
	}
	return e.Try("%s. docs/compatibility.md lists what is built in", add)
}

// snapshot is the variables of the job as they are now.
func (j *job) snapshot() []run.Variable {
	j.mu.Lock()
	defer j.mu.Unlock()
	return sorted(j.vars)
}

// ownVariables are those that the task's parts share.
func (s *step) ownVariables() []run.Variable {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sorted(s.private)
}

func sorted(vars map[string]run.Variable) []run.Variable {
	list := make([]run.Variable, 0, len(vars))
	for _, v := range vars {
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b run.Variable) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// declares reports whether the step's package says that it sets an output
// variable of the name; it is then one without being called so.
func (s *step) declares(name string) bool {
	return s.packaged != nil && s.packaged.found != nil && s.packaged.found.Definition.Sets(name)
}
