package run

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/domain/agentpool"
	"penstock.dev/penstock/internal/domain/deployment"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/securefile"
	"penstock.dev/penstock/internal/domain/serviceconnection"
)

// JobMessage is everything an agent needs to run one job. It holds secrets, so
// it goes to the agent that holds the lease and is stored nowhere.
type JobMessage struct {
	JobID                  string                `json:"jobId"`
	Fence                  int                   `json:"fence"`
	RunID                  string                `json:"runId"`
	Project                string                `json:"project"`
	ProjectURL             string                `json:"projectUrl"` // base of the REST routes
	ServerURL              string                `json:"serverUrl"`
	AccessToken            string                `json:"accessToken"`
	Stage                  string                `json:"stage"`
	Phase                  string                `json:"phase"`
	Name                   string                `json:"name"`
	DisplayName            string                `json:"displayName"`
	Attempt                int                   `json:"attempt"`
	TimeoutInMinutes       int                   `json:"timeoutInMinutes"`
	CancelTimeoutInMinutes int                   `json:"cancelTimeoutInMinutes"`
	WorkspaceClean         string                `json:"workspaceClean"`
	Steps                  []pipeline.Step       `json:"steps"`
	Variables              []Variable            `json:"variables"`
	Repositories           map[string]Repository `json:"repositories"` // by alias
	Resources              []Resource            `json:"resources"`
	Hook                   string                `json:"hook,omitempty"`
	Environment            string                `json:"environment,omitempty"`
	VM                     string                `json:"vm,omitempty"` // name, in jobs on a VM
	VMAddress              string                `json:"vmAddress,omitempty"`
	Application            string                `json:"application,omitempty"` // whose slot is being deployed to
	Slot                   string                `json:"slot,omitempty"`
	PipelineID             string                `json:"pipelineId"`
	// Connections and SecureFiles are those that the steps name, and no others.
	Connections []serviceconnection.Opened `json:"connections,omitempty"`
	SecureFiles []securefile.Grant         `json:"secureFiles,omitempty"`
	// Container is the one that steps run in, Services say which containers stand
	// beside it under which names; all are found in Containers, by alias.
	Container  string                                `json:"container,omitempty"`
	Services   map[string]string                     `json:"services,omitempty"`
	Containers map[string]pipeline.ContainerResource `json:"containers,omitempty"`
}

// Variable is one variable of a job.
type Variable struct {
	Name     string `json:"name"`
	Value    string `json:"value"`
	Secret   bool   `json:"secret,omitempty"`
	ReadOnly bool   `json:"readonly,omitempty"`
}

// containers tells the job of those that it or a step of it names. An image that
// stands in the job itself is one under its own name.
func (m *JobMessage) containers(container *pipeline.Container, services map[string]string, declared []pipeline.ContainerResource) {
	m.Containers = map[string]pipeline.ContainerResource{}
	note := func(alias string) string {
		for _, c := range declared {
			if strings.EqualFold(c.Alias, alias) {
				if c.Image == "" && c.Registry != "" {
					c.Image = c.Registry + ".azurecr.io/" + c.Repository
				}
				m.Containers[c.Alias] = c
				return c.Alias
			}
		}
		return alias
	}
	if c := container; c != nil {
		if m.Container = note(c.Alias); c.Image != "" {
			m.Container = note(c.Image) // an expression may have named an alias
			if _, known := m.Containers[m.Container]; !known {
				m.Containers[m.Container] = pipeline.ContainerResource{Alias: m.Container, Image: c.Image, Options: c.Options, Env: c.Env}
			}
		}
	}
	for name, alias := range services {
		if m.Services == nil {
			m.Services = map[string]string{}
		}
		target := note(alias)
		if _, known := m.Containers[target]; !known { // an image
			m.Containers[target] = pipeline.ContainerResource{Alias: target, Image: target}
		}
		m.Services[name] = target
	}
	m.Steps = slices.Clone(m.Steps)
	for i := range m.Steps {
		if m.Steps[i].Target != "" {
			m.Steps[i].Target = note(m.Steps[i].Target)
		}
	}
}

// BuildJob makes the message for a job that was assigned, and notes that it has
// begun. A job that cannot be built, because a variable group or a secret is
// missing, ends as failed with the cause and gives a nil message.
func (s *Service) BuildJob(ctx context.Context, req *agentpool.Request, agent *agentpool.Agent) (*JobMessage, error) {
	j, err := s.Jobs.Get(ctx, req.ID)
	if err != nil {
		return nil, err
	}
	d, err := s.Load(ctx, j.RunID)
	if err != nil {
		return nil, err
	}
	m, err := s.message(ctx, d, j)
	if err == nil {
		err = s.connect(ctx, d.Run, j, m)
	}
	if err != nil {
		cause := describe(err)
		return nil, s.Tx.InTx(ctx, func(ctx context.Context) error {
			return s.endJob(ctx, j.ID, req, Failed, cause, nil)
		})
	}
	m.Fence = req.Fence
	err = s.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := s.revokeJobTokens(ctx, j.ID); err != nil { // of a message that did not arrive
			return err
		}
		if m.AccessToken, err = s.jobToken(ctx, d.Run, j); err != nil {
			return err
		}
		fresh, err := s.Jobs.Get(ctx, j.ID)
		if err != nil {
			return err
		}
		if err := Moves.Check("job", fresh.State, InProgress); err != nil {
			return err
		}
		fresh.State, fresh.Started, fresh.AgentID, fresh.AgentName = InProgress, s.Clock.Now(), agent.ID, agent.Name
		return s.Jobs.Save(ctx, fresh)
	})
	s.Hub.Publish("run/"+j.RunID, "runs")
	return m, err
}

func (s *Service) jobToken(ctx context.Context, r *Run, j *Job) (string, error) {
	secret, _, err := s.Identity.IssueToken(ctx, identity.Token{Kind: identity.JobToken, OwnerID: j.ID, ProjectID: r.ProjectID, RunID: r.ID,
		Name: fmt.Sprintf("job %s of run %s", j.Name, r.ID), Expires: s.Clock.Now().Add(48 * time.Hour)})
	return secret, err
}

func (s *Service) message(ctx context.Context, d *Detail, j *Job) (*JobMessage, error) {
	g := d.latest()
	g.now, g.sealer = s.Clock.Now(), s.Sealer
	spec := d.spec(j)
	proj, err := s.Projects.Projects.Get(ctx, d.Run.ProjectID)
	if err != nil {
		return nil, err
	}
	base := s.Address.BaseURL()
	m := &JobMessage{JobID: j.ID, RunID: d.Run.ID, Project: proj.Name, ServerURL: base, PipelineID: d.Run.PipelineID,
		ProjectURL: base + "/" + s.Address.Organization + "/" + proj.Name, Stage: j.Stage, Phase: j.Phase, Name: j.Name,
		DisplayName: j.DisplayName, Attempt: j.Attempt, TimeoutInMinutes: spec.TimeoutInMinutes, CancelTimeoutInMinutes: spec.CancelTimeoutInMinutes,
		WorkspaceClean: spec.WorkspaceClean, Steps: spec.Steps, Resources: d.Run.Resources, Hook: j.Hook, VM: j.Target.Name}
	if spec.Deployment != nil {
		m.Steps, m.Environment = spec.Deployment.Hook(j.Hook).Steps, spec.Deployment.Environment.Name
		if p := g.phase(j.Stage, j.Phase); p != nil && p.Rollout != nil {
			m.Application, m.Slot = p.Rollout.Application, p.Rollout.Slot
		}
	}
	if j.Target.Resource != "" {
		vm, err := s.Environments.VMs.Get(ctx, j.Target.Resource)
		if err != nil {
			return nil, err
		}
		m.VMAddress = vm.Address
	}
	if m.Repositories, err = s.repositories(ctx, d, base+"/"+s.Address.Organization+"/"+proj.Name); err != nil {
		return nil, err
	}
	if m.Variables, err = s.jobVariables(ctx, g, j, spec, proj.Name, base); err != nil {
		return nil, err
	}
	container, services, err := spec.Containers(g.legContext(j, spec, m.Variables))
	if err != nil {
		return nil, err
	}
	m.containers(container, services, d.Plan.Resources.Containers)
	return m, g.broken
}

// jobVariables resolves the variables of a job in the order of precedence: what
// comes later wins.
func (s *Service) jobVariables(ctx context.Context, g *graph, j *Job, spec *pipeline.Job, project, base string) ([]Variable, error) {
	set := &variableSet{index: map[string]int{}}
	settings, err := s.settings(ctx, g.run.PipelineID)
	if err != nil {
		return nil, err
	}
	for name, value := range settings.Variables {
		set.put(Variable{Name: name, Value: value})
	}
	for _, name := range settings.Groups {
		if err := s.addVariable(ctx, g, j, spec, set, pipeline.Variable{Group: name}); err != nil {
			return nil, err
		}
	}
	for name, value := range g.run.Variables {
		set.put(Variable{Name: name, Value: value, ReadOnly: true})
	}
	own, known := []map[string]string{predefined(g.run), s.jobPredefined(g, j, spec, project, base)}, variables{}
	if spec.Deployment != nil && spec.Deployment.Environment.Name != "" {
		if env, err := s.Environments.Find(ctx, g.run.ProjectID, spec.Deployment.Environment.Name); err == nil {
			own[1]["Environment.Id"] = env.ID
		}
	}
	known.add(own[0])
	known.add(own[1])
	own = append(own, g.run.replaced(known))
	fixed := func() { // expressions of variables see them, and no variable takes their place
		for i, list := range own {
			for name, value := range list {
				set.put(Variable{Name: name, Value: value, ReadOnly: i < 2})
			}
		}
	}
	fixed()
	stage := g.plan.Stage(j.Stage)
	for _, list := range [][]pipeline.Variable{g.plan.Variables, stage.Variables, spec.Variables} {
		for _, v := range list {
			if err := s.addVariable(ctx, g, j, spec, set, v); err != nil {
				return nil, err
			}
		}
	}
	for name, value := range j.Leg {
		set.put(Variable{Name: name, Value: value})
	}
	own[1]["Build.SourceVersionMessage"] = g.run.Message // steps know it, and nobody before them
	fixed()
	return set.list, nil
}

type variableSet struct {
	list  []Variable
	index map[string]int
}

func (v *variableSet) put(x Variable) {
	if at, ok := v.index[strings.ToLower(x.Name)]; ok {
		v.list[at] = x
		return
	}
	v.index[strings.ToLower(x.Name)] = len(v.list)
	v.list = append(v.list, x)
}

func (v *variableSet) lookup(name string) (string, bool) {
	at, ok := v.index[strings.ToLower(name)]
	if !ok {
		return "", false
	}
	return v.list[at].Value, true
}

func (s *Service) addVariable(ctx context.Context, g *graph, j *Job, spec *pipeline.Job, set *variableSet, v pipeline.Variable) error {
	if v.Group != "" {
		values, err := s.VariableGroups.Resolve(identity.With(ctx, identity.System()), g.run.ProjectID, v.Group)
		if err != nil {
			return err
		}
		for name, value := range values {
			set.put(Variable{Name: name, Value: value.Text, Secret: value.Secret})
		}
		return nil
	}
	x := Variable{Name: v.Name, Value: v.Value, ReadOnly: v.ReadOnly}
	if strings.HasPrefix(v.Value, "$[") {
		rc := g.jobContext(j.Stage, spec, pipeline.SlotJobVariable)
		rc.Variables = set.lookup
		var uncounted error
		rc.Counter = func(prefix string, seed int) int {
			n, err := s.counter(ctx, g.run, prefix, seed)
			uncounted = cmp.Or(uncounted, err)
			return n
		}
		var err error
		if x.Value, err = pipeline.EvaluateExpression(v.Value, rc); uncounted != nil {
			return uncounted
		}
		if err != nil {
			return fmt.Errorf("%s:%d:%d: variable %s: %w", v.Origin.File, v.Origin.Line, v.Origin.Column, v.Name, err)
		}
		// A value made from a secret is one.
		for _, other := range set.list {
			x.Secret = x.Secret || other.Secret && other.Value != "" && strings.Contains(x.Value, other.Value)
		}
		for _, secret := range g.opened {
			x.Secret = x.Secret || secret != "" && strings.Contains(x.Value, secret)
		}
	}
	set.put(x)
	return nil
}

// counter is evaluated once per run and prefix: another job, or a further
// attempt, sees the same number.
func (s *Service) counter(ctx context.Context, r *Run, prefix string, seed int) (int, error) {
	key := counterKey(r, prefix)
	var n int
	err := s.Tx.InTx(ctx, func(ctx context.Context) error {
		fresh, err := s.Runs.Get(ctx, r.ID)
		if err != nil {
			return err
		}
		if known, ok := fresh.Counters[key]; ok {
			n = known
			return nil
		}
		if n, err = s.Tx.NextFrom(ctx, key, seed); err != nil {
			return err
		}
		if fresh.Counters == nil {
			fresh.Counters = map[string]int{}
		}
		fresh.Counters[key] = n
		return s.Runs.Save(ctx, fresh)
	})
	return n, err
}

// jobPredefined are the predefined variables that differ from job to job.
func (s *Service) jobPredefined(g *graph, j *Job, spec *pipeline.Job, project, base string) map[string]string {
	collection := base + "/" + s.Address.Organization + "/"
	v := map[string]string{
		"System.TeamProject": project, "System.CollectionUri": collection, "System.TeamFoundationCollectionUri": collection,
		"System.TeamFoundationServerUri": collection, "System.TaskDefinitionsUri": collection,
		"System.StageName": j.Stage, "System.StageDisplayName": stageTitle(g, j.Stage), "System.StageAttempt": strconv.Itoa(j.Attempt),
		"System.PhaseName": j.Phase, "System.PhaseDisplayName": spec.DisplayName, "System.PhaseAttempt": strconv.Itoa(g.phaseAttempt(j)),
		"System.StageId": StageRecord(j.RunID, j.Stage, j.Attempt), "System.PhaseId": PhaseRecord(j.RunID, j.Stage, j.Phase, j.Attempt),
		"System.JobName": j.Instance(), "System.JobDisplayName": j.DisplayName, "System.JobAttempt": strconv.Itoa(g.jobAttempt(j)),
		"System.JobIdentifier": j.Identifier(), "System.JobId": j.ID,
		"System.JobTimeout": strconv.Itoa(spec.TimeoutInMinutes), "System.ParallelExecutionType": "None",
		"System.PlanId": id.From("plan", j.RunID), "System.TimelineId": id.From("timeline", j.RunID),
		"System.TotalJobsInPhase": "1", "System.JobPositionInPhase": "1", // also of a hook: none is a part of another
		"System.JobParallelismTag": "Private", "System.Culture": "en-US",
		"Agent.ReadOnlyVariables": "true",
	}
	if spec.Deployment == nil {
		v["System.JobPositionInPhase"] = strconv.Itoa(j.Order + 1)
		v["System.TotalJobsInPhase"] = strconv.Itoa(max(len(g.jobsOf(&Phase{Stage: j.Stage, Name: j.Phase, Attempt: j.Attempt})), 1))
		switch {
		case spec.Strategy != nil && spec.Strategy.Parallel > 1:
			v["System.ParallelExecutionType"] = "MultiMachine"
		case j.leg():
			v["System.ParallelExecutionType"] = "MultiConfiguration"
		}
		return v
	}
	v["Environment.Name"] = spec.Deployment.Environment.Name
	v["Strategy.Name"], v["Strategy.CycleName"] = spec.Deployment.Strategy, deployment.CycleName(j.Hook)
	if j.Target.Name != "" {
		v["Environment.ResourceName"], v["Environment.ResourceId"] = j.Target.Name, j.Target.Resource
	}
	if spec.Deployment.Strategy == pipeline.Canary {
		v["strategy.action"] = deployment.Action(j.Hook)
	}
	if j.Increment > 0 {
		v["strategy.increment"] = strconv.Itoa(j.Increment)
	}
	return v
}

// Instance is the job's name within its phase: that of its matrix leg, or its
// place where a leg has none that could be a job's. The only job of a phase has
// none; where a deployment deploys, it is the phase's.
func (j *Job) Instance() string {
	switch {
	case j.Hook == "deploy":
		return j.Phase
	case j.Hook == "" && !j.leg():
		return "__default"
	case j.Hook == "" && !pipeline.LegalName(j.Name):
		return "Job" + strconv.Itoa(j.Order+1)
	}
	return j.Name
}

// leg says whether the job is one of a matrix or a slice; a leg may be called like
// its job.
func (j *Job) leg() bool { return j.Leg != nil || j.Name != j.Phase }

// jobAttempt counts how often the job has been carried out, this time included.
func (g *graph) jobAttempt(j *Job) int {
	n := 1
	for _, other := range g.all.Jobs {
		if other.Stage == j.Stage && other.Phase == j.Phase && other.Name == j.Name && other.Attempt < j.Attempt {
			n++
		}
	}
	return n
}

// phaseAttempt counts the attempts of the stage without those in which the job
// stood as an earlier one had left it.
func (g *graph) phaseAttempt(j *Job) int {
	n := j.Attempt
	for _, p := range g.all.Phases {
		if p.Stage == j.Stage && p.Name == j.Phase && p.Attempt <= j.Attempt && p.Stands {
			n--
		}
	}
	return n
}

// Identifier names the job within its run; a stage that nobody wrote is left out.
func (j *Job) Identifier() string {
	return strings.TrimPrefix(j.Stage+"."+j.Phase+"."+j.Instance(), "__default.")
}

// StageRecord is the id of a stage's record in the timeline.
func StageRecord(runID, stage string, attempt int) string {
	return id.From("stage", fmt.Sprintf("%s/%s/%d", runID, stage, attempt))
}

// PhaseRecord is the id of a phase's record in the timeline.
func PhaseRecord(runID, stage, phase string, attempt int) string {
	return id.From("phase", runID, stage, phase, strconv.Itoa(attempt))
}

func stageTitle(g *graph, name string) string {
	if s := g.stage(name); s != nil {
		return s.DisplayName
	}
	return name
}
