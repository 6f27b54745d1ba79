package run

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"penstock.dev/penstock/internal/base/broadcast"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/base/telemetry"
	"penstock.dev/penstock/internal/domain/agentpool"
	"penstock.dev/penstock/internal/domain/application"
	"penstock.dev/penstock/internal/domain/artifact"
	"penstock.dev/penstock/internal/domain/audit"
	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/project"
	"penstock.dev/penstock/internal/domain/repos"
	"penstock.dev/penstock/internal/domain/securefile"
	"penstock.dev/penstock/internal/domain/serviceconnection"
	"penstock.dev/penstock/internal/domain/variablegroup"
)

// Topics of the outbox.
const (
	TopicAdvance   = environment.TopicAdvance // payload: run id
	TopicCompleted = "run.completed"          // payload: run id
	TopicStage     = "run.stage"              // payload: run id; a stage of it succeeded, others go on
	TopicPin       = "deployment.pin"         // payload: phase id
	TopicServerJob = "job.serve"              // payload: job id
)

// Logs keeps the output of steps.
type Logs interface {
	// Append adds bytes at an offset and returns where the log ends now. Bytes
	// that are there already are passed over; a gap is fault.Conflict. Offset -1
	// means the end.
	Append(ctx context.Context, log string, offset int64, data []byte) (end int64, lines int, err error)
	// Lines returns lines from a 1-based number on, at most limit.
	Lines(ctx context.Context, log string, from, limit int) (lines []string, total int, err error)
}

// Store is what runs keep.
type Store struct {
	Pipelines store.Table[Pipeline]
	Runs      store.Table[Run]
	Plans     store.Table[Planned]
	Stages    store.Table[Stage]
	Phases    store.Table[Phase]
	Jobs      store.Table[Job]
}

// Service holds the use cases of pipelines and runs.
type Service struct {
	Store
	Tx             store.Runner
	Audit          *audit.Service
	Clock          store.Clock
	Identity       *identity.Service
	Projects       *project.Service
	Repos          *repos.Service
	Pools          *agentpool.Service
	Environments   *environment.Service
	Applications   *application.Service
	VariableGroups *variablegroup.Service
	Connections    *serviceconnection.Service
	SecureFiles    *securefile.Service
	Artifacts      *artifact.Service
	Logs           Logs
	Hub            *broadcast.Hub
	Address        Address
	Sealer         Sealer
	ServerTasks    map[string]ServerTask // by lower-case task name
	ImpliedTrigger bool                  // no `trigger:` means every branch
	serving        sync.Map              // jobs whose server task runs in this process
	// StubConnections lets a stub stand for a service connection that is not here.
	StubConnections bool
	OnePool         string // every job goes to this pool, whatever it asks for; "" = the one it asks for
}

// Address is how agents reach the server.
type Address struct {
	Organization string
	BaseURL      func() string // http://localhost:7420
}

// CreatePipeline makes a pipeline from a file of a repository.
func (s *Service) CreatePipeline(ctx context.Context, projectID, name string, r *repos.Repository, path string, variables map[string]string) (*Pipeline, error) {
	if err := identity.CheckTitle("pipeline", name); err != nil {
		return nil, err
	}
	path = strings.TrimLeft(path, "/")
	if path == "" {
		path = "azure-pipelines.yml"
	}
	p := &Pipeline{ProjectID: projectID, RepoID: r.ID, Key: projectID + "/" + strings.ToLower(name), Name: name, Path: path, Variables: variables, Created: s.Clock.Now()}
	if found, err := s.findPipeline(ctx, projectID, name); err != nil || found != nil {
		if err == nil {
			err = fault.New(fault.Conflict, "already-exists", "pipeline %s exists already", name)
		}
		return nil, err
	}
	return p, s.Tx.InTx(ctx, func(ctx context.Context) error {
		n, err := s.Tx.Next(ctx, "pipeline")
		if err != nil {
			return err
		}
		p.Num, p.ID = n, strconv.Itoa(n)
		if err := s.Pipelines.Insert(ctx, p); err != nil {
			return err
		}
		return s.Audit.Record(ctx, identity.From(ctx).Name, "pipeline.create", "pipeline "+name, path)
	})
}

func (s *Service) findPipeline(ctx context.Context, projectID, name string) (*Pipeline, error) {
	return store.First(ctx, s.Pipelines, store.Where("key", projectID+"/"+strings.ToLower(name)))
}

// FindPipeline returns a pipeline of a project by name or id.
func (s *Service) FindPipeline(ctx context.Context, projectID, nameOrID string) (*Pipeline, error) {
	p, err := s.findPipeline(ctx, projectID, nameOrID)
	if err != nil || p != nil {
		return p, err
	}
	p, err = s.Pipelines.Get(ctx, nameOrID)
	if err != nil || p.ProjectID != projectID {
		return nil, fault.New(fault.NotFound, "not-found", "no pipeline %s", nameOrID).Try("penstock pipeline list")
	}
	return p, nil
}

// FindRun returns a run of a project by number.
func (s *Service) FindRun(ctx context.Context, projectID, id string) (*Run, error) {
	r, err := s.Runs.Get(ctx, id)
	if err != nil || r.ProjectID != projectID {
		return nil, fault.New(fault.NotFound, "not-found", "no run %s", id).Try("penstock run list --limit 5")
	}
	return r, nil
}

// Detail is a run with everything below it; stages and jobs of the latest
// attempts come last.
type Detail struct {
	Run    *Run
	Plan   *pipeline.Plan
	Stages []*Stage
	Phases []*Phase
	Jobs   []*Job
}

// Load returns a run with everything below it.
func (s *Service) Load(ctx context.Context, id string) (*Detail, error) {
	d := &Detail{}
	var err error
	if d.Run, err = s.Runs.Get(ctx, id); err != nil {
		return nil, err
	}
	planned, err := s.Plans.Get(ctx, id)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	if planned != nil {
		d.Plan = planned.Plan
	}
	if d.Stages, err = s.Stages.Find(ctx, store.Where("run_id", id)); err != nil {
		return nil, err
	}
	if d.Phases, err = s.Phases.Find(ctx, store.Where("run_id", id)); err != nil {
		return nil, err
	}
	if d.Jobs, err = s.Jobs.Find(ctx, store.Where("run_id", id)); err != nil {
		return nil, err
	}
	slices.SortStableFunc(d.Stages, func(a, b *Stage) int { return (a.Order-b.Order)*1000 + a.Attempt - b.Attempt })
	slices.SortStableFunc(d.Phases, func(a, b *Phase) int { return a.Order - b.Order })
	slices.SortStableFunc(d.Jobs, func(a, b *Job) int { return a.Order - b.Order })
	return d, nil
}

// latest drops earlier attempts.
func (d *Detail) latest() *graph {
	g := &graph{run: d.Run, plan: d.Plan, all: d}
	attempt := map[string]int{}
	for _, st := range d.Stages {
		attempt[st.Name] = max(attempt[st.Name], st.Attempt)
	}
	for _, st := range d.Stages {
		if st.Attempt == attempt[st.Name] {
			g.stages = append(g.stages, st)
		}
	}
	for _, p := range d.Phases {
		if p.Attempt == attempt[p.Stage] {
			g.phases = append(g.phases, p)
		}
	}
	for _, j := range d.Jobs {
		if j.Of(attempt[j.Stage]) {
			g.jobs = append(g.jobs, j)
		}
	}
	return g
}

// AdvanceRun loads a run, decides what follows, and saves it; effects leave
// after commit. It is safe to repeat at any time.
func (s *Service) AdvanceRun(ctx context.Context, id string) error {
	ctx, span := telemetry.Start(ctx, "run.AdvanceRun", "run", id)
	defer span.End()
	queued := false
	err := s.Tx.InTx(ctx, func(ctx context.Context) error {
		d, err := s.Load(ctx, id)
		if err != nil {
			return err
		}
		if d.Run.State == Completed || d.Plan == nil {
			return nil
		}
		g := d.latest()
		g.now, g.sealer = s.Clock.Now(), s.Sealer
		if g.groups, err = s.groupValues(ctx, d.Run.ProjectID, d.Plan); err != nil {
			return err
		}
		settings, err := s.settings(ctx, d.Run.PipelineID)
		if err != nil {
			return err
		}
		g.settings = settings.Variables
		var failed error
		g.next = s.numbers(ctx, &failed)
		for pass := 0; ; pass++ {
			g.dirty = map[any]bool{}
			verdicts, err := s.passChecks(ctx, g)
			if err != nil {
				return err
			}
			if g.advance(verdicts); failed != nil {
				return failed
			}
			if err := s.save(ctx, g); err != nil {
				return err
			}
			queued = queued || len(g.effects.queue) > 0
			if err := s.emit(ctx, g); err != nil {
				return err
			}
			// A stage that became ready in this pass has its checks asked in
			// the next.
			if next := g.ready(); !slices.ContainsFunc(next, func(st *Stage) bool { _, asked := verdicts[st.Name]; return !asked }) || pass > len(g.stages) {
				return nil
			}
			g.effects = effects{}
		}
	})
	if err != nil {
		return err
	}
	if queued {
		s.Pools.Wake()
	}
	s.Hub.Publish("run/"+id, "runs", "approvals")
	return nil
}

func (s *Service) passChecks(ctx context.Context, g *graph) (map[string]environment.Verdict, error) {
	verdicts := map[string]environment.Verdict{}
	for _, st := range g.ready() {
		gate := environment.Gate{ProjectID: g.run.ProjectID, RunID: g.run.ID, PipelineID: g.run.PipelineID, Stage: st.Name, Attempt: st.Attempt,
			RequesterID: g.run.RequestedByID, Branches: []string{g.run.Branch}, LockBehavior: g.plan.LockBehavior}
		for _, r := range g.run.Resources {
			gate.Branches = append(gate.Branches, r.Branch)
		}
		spec := g.plan.Stage(st.Name)
		gate.Manual = spec.Manual
		if spec.LockBehavior != "" {
			gate.LockBehavior, gate.StageLock = spec.LockBehavior, true
		}
		missing := ""
		for _, j := range spec.Jobs {
			if j.Deployment == nil || j.Deployment.Environment.Name == "" {
				continue
			}
			env, err := s.Environments.Find(ctx, g.run.ProjectID, j.Deployment.Environment.Name)
			if fault.Is(err, fault.NotFound) {
				missing = fmt.Sprintf("%s:%d:%d: environment %s could not be found; make it first: penstock env create %s",
					j.Origin.File, j.Origin.Line, j.Origin.Column, j.Deployment.Environment.Name, j.Deployment.Environment.Name)
				continue
			}
			if err != nil {
				return nil, err
			}
			if !slices.ContainsFunc(gate.Environments, func(e *environment.Environment) bool { return e.ID == env.ID }) {
				gate.Environments = append(gate.Environments, env)
			}
		}
		if missing != "" {
			verdicts[st.Name] = environment.Verdict{State: environment.Reject, Reason: missing}
			continue
		}
		if len(gate.Environments) == 0 && !gate.StageLock && !gate.Manual {
			verdicts[st.Name] = environment.Verdict{State: environment.Pass}
			continue
		}
		v, err := s.Environments.PassChecks(ctx, gate)
		if err != nil {
			return nil, err
		}
		verdicts[st.Name] = v
	}
	return verdicts, nil
}

// settings is the pipeline with what stands in no file. A run goes on when its
// pipeline has been deleted.
func (s *Service) settings(ctx context.Context, pipelineID string) (*Pipeline, error) {
	p, err := s.Pipelines.Get(ctx, pipelineID)
	if fault.Is(err, fault.NotFound) {
		return &Pipeline{}, nil
	}
	return p, err
}

// groupValues reads the variables of groups that conditions may use; secrets
// are not among them.
func (s *Service) groupValues(ctx context.Context, projectID string, plan *pipeline.Plan) (map[string]string, error) {
	values := map[string]string{}
	lists := [][]pipeline.Variable{plan.Variables}
	for _, st := range plan.Stages {
		lists = append(lists, st.Variables)
		for _, j := range st.Jobs {
			lists = append(lists, j.Variables)
		}
	}
	for _, list := range lists {
		for _, v := range list {
			if v.Group == "" {
				continue
			}
			g, err := s.VariableGroups.Find(ctx, projectID, v.Group)
			if err != nil {
				return nil, err
			}
			if g == nil {
				continue // said when a job needs it
			}
			for name, value := range g.Variables {
				values[v.Group+"\x00"+name] = value
			}
		}
	}
	return values, nil
}

func (s *Service) save(ctx context.Context, g *graph) error {
	if g.dirty[g.run] {
		if err := s.Runs.Save(ctx, g.run); err != nil {
			return err
		}
	}
	for _, x := range g.stages {
		if err := put(ctx, s.Stages, x, g.dirty[x]); err != nil {
			return err
		}
	}
	for _, x := range g.phases {
		if err := put(ctx, s.Phases, x, g.dirty[x]); err != nil {
			return err
		}
	}
	for _, x := range g.jobs {
		if err := put(ctx, s.Jobs, x, g.dirty[x]); err != nil {
			return err
		}
	}
	return nil
}

func put[T any](ctx context.Context, t store.Table[T], doc *T, dirty bool) error {
	switch {
	case !dirty:
		return nil
	case any(doc).(store.Document).Rev() == 0:
		return t.Insert(ctx, doc)
	}
	return t.Save(ctx, doc)
}
