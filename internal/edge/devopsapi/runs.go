package devopsapi

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/agentpool"
	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/run"
)

const ourRun = "{project}/_apis/penstock/runs/{run}"

var runRoutes = []Route{
	{"penstock", "runs", "", "GET", ourRun, identity.ProjectView, (*call).getRun, nil, smallJSON},
	{"penstock", "runs", "", "POST", ourRun + "/rerun", identity.RunQueue, (*call).rerun, nil, smallJSON},
	{"penstock", "runs", "", "GET", ourRun + "/why", identity.ProjectView, (*call).why, nil, smallJSON},
	{"penstock", "runs", "", "GET", ourRun + "/plan", identity.ProjectView, (*call).getPlan, nil, smallJSON},
	{"penstock", "tests", "", "GET", ourRun + "/tests", identity.ProjectView, (*call).listTests, nil, smallJSON},
	{"penstock", "tests", "", "POST", ourRun + "/tests", identity.ArtifactWrite, (*call).publishTests, nil, largeJSON},
	{"penstock", "coverage", "", "GET", ourRun + "/coverage", identity.ProjectView, (*call).listCoverage, nil, smallJSON},
	{"penstock", "coverage", "", "POST", ourRun + "/coverage", identity.ArtifactWrite, (*call).publishCoverage, nil, largeJSON},
	{"penstock", "attachments", "", "GET", ourRun + "/attachments", identity.ProjectView, (*call).listAllAttachments, nil, smallJSON},
	{"penstock", "attachments", "", "PUT", ourRun + "/attachments/{type}/{name}", identity.ArtifactWrite, (*call).putAttachment, nil, stream},
}

// detail is a run with everything below it. Sealed values stay behind.
type detail struct {
	Run    *run.Run     `json:"run"`
	Stages []*run.Stage `json:"stages"`
	Phases []*run.Phase `json:"phases"`
	Jobs   []*run.Job   `json:"jobs"`
}

func (c *call) getRun() (any, error) {
	d, err := c.load()
	if err != nil {
		return nil, err
	}
	return detailOf(d), nil
}

func (c *call) load() (*run.Detail, error) {
	r, err := c.build()
	if err != nil {
		return nil, err
	}
	return c.Runs.Load(c.ctx(), r.ID)
}

func detailOf(d *run.Detail) detail {
	out := detail{Run: d.Run, Stages: d.Stages, Phases: d.Phases, Jobs: []*run.Job{}}
	if out.Stages == nil {
		out.Stages = []*run.Stage{}
	}
	if out.Phases == nil {
		out.Phases = []*run.Phase{}
	}
	out.Jobs = append(out.Jobs, d.Jobs...)
	return out
}

func (c *call) getPlan() (any, error) {
	d, err := c.load()
	if err != nil {
		return nil, err
	}
	if d.Plan == nil {
		return nil, fault.New(fault.NotFound, "no-plan", "run %s has no plan: its file has errors", d.Run.ID)
	}
	return d.Plan, nil
}

func (c *call) rerun() (any, error) {
	var in struct{ Stage string }
	if c.r.ContentLength != 0 {
		if err := c.read(&in); err != nil {
			return nil, err
		}
	}
	r, err := c.build()
	if err != nil {
		return nil, err
	}
	return c.Runs.Rerun(c.ctx(), r.ID, in.Stage)
}

// own refuses a job that writes to another run than its own.
func (c *call) own(r *run.Run) error {
	if c.subject.Kind == identity.JobKind && c.subject.Run != r.ID {
		return fault.New(fault.Denied, "other-run", "a job may write to its own run only").Want("run %s", c.subject.Run).Got("run %s", r.ID)
	}
	return nil
}

func (c *call) writer() string {
	if c.subject.Kind == identity.JobKind {
		return c.subject.ID
	}
	return ""
}

// waiting is one thing a run waits for.
type waiting struct {
	What   string    `json:"what"`  // approval, check, agent, dependency
	Stage  string    `json:"stage"` // where
	Job    string    `json:"job,omitempty"`
	Reason string    `json:"reason"`
	Who    string    `json:"who,omitempty"` // who can act
	Until  time.Time `json:"until,omitzero"`
	Stuck  bool      `json:"stuck"` // nothing will come by itself
	Yours  bool      `json:"yours"` // the caller can act
}

type whyShape struct {
	Run     *run.Run     `json:"run"`
	State   string       `json:"state"`
	Result  string       `json:"result,omitempty"`
	Cause   string       `json:"cause,omitempty"`
	Waits   []waiting    `json:"waits"`
	Agents  []agentState `json:"agents,omitempty"`
	Running []string     `json:"running,omitempty"`
}

type agentState struct {
	Name   string   `json:"name"`
	Status string   `json:"status"` // idle, busy, offline, disabled
	Lacks  []string `json:"lacks,omitempty"`
}

// why says what a run waits for, who can act, and until when.
func (c *call) why() (any, error) {
	d, err := c.load()
	if err != nil {
		return nil, err
	}
	w := whyShape{Run: d.Run, State: buildStatus(d.Run), Result: string(d.Run.Result), Cause: d.Run.Cause, Waits: []waiting{}}
	if d.Run.State == run.Completed {
		return w, nil
	}
	attempt := latestAttempts(d)
	approvals, err := c.Environments.OfRun(c.ctx(), d.Run.ID)
	if err != nil {
		return nil, err
	}
	for _, a := range approvals {
		if a.Status == environment.Pending {
			w.Waits = append(w.Waits, waiting{What: "approval", Stage: a.Stage, Reason: "approval by " + environment.ApproverNames(a), Who: environment.ApproverNames(a),
				Until: a.Expires, Stuck: true, Yours: c.Environments.CanDecide(c.ctx(), a, c.subject)})
		}
	}
	for _, st := range d.Stages {
		asked := slices.ContainsFunc(w.Waits, func(x waiting) bool { return x.Stage == st.Name })
		if st.Attempt == attempt[st.Name] && st.State == run.Pending && st.Waits != "" && !asked {
			w.Waits = append(w.Waits, waiting{What: "check", Stage: st.Name, Reason: st.Waits, Until: st.Until})
		}
	}
	for _, j := range d.Jobs {
		switch {
		case !j.Of(attempt[j.Stage]):
		case j.State == run.InProgress:
			w.Running = append(w.Running, j.Stage+"/"+j.Name)
		case j.State == run.Pending && j.Asked && !j.Server:
			wait, agents, err := c.whyNoAgent(j)
			if err != nil {
				return nil, err
			}
			if wait != nil {
				w.Waits, w.Agents = append(w.Waits, *wait), agents
			}
		}
	}
	return w, nil
}

// whyNoAgent says why a job has not been taken.
func (c *call) whyNoAgent(j *run.Job) (*waiting, []agentState, error) {
	req, err := c.Pools.Requests.Get(c.ctx(), j.ID)
	if err != nil || req.State != agentpool.Queued {
		return nil, nil, err
	}
	q := store.Where("pool_id", req.PoolID).By("num")
	if req.AgentID != "" {
		q = store.Where("id", req.AgentID)
	}
	agents, err := c.Pools.Agents.Find(c.ctx(), q)
	if err != nil {
		return nil, nil, err
	}
	wait := &waiting{What: "agent", Stage: j.Stage, Job: j.Name, Stuck: true, Who: "whoever runs the agents"}
	var states []agentState
	fit, free := 0, 0
	for _, a := range agents {
		_, online := c.Pools.LastSeen(a.ID)
		state := agentState{Name: a.Name, Status: "idle", Lacks: agentpool.Unmet(req, a, pipeline.MatchDemand)}
		held, err := c.Pools.Requests.Find(c.ctx(), store.Where("agent_id", a.ID).And("state", string(agentpool.Assigned)))
		switch {
		case err != nil:
			return nil, nil, err
		case a.Disabled:
			state.Status = "disabled"
		case !online:
			state.Status = "offline"
		case len(held) >= max(a.Jobs, 1):
			state.Status = "busy"
		}
		if agentpool.Fits(req, a, pipeline.MatchDemand) {
			fit++
			if online {
				free++
			}
		}
		states = append(states, state)
	}
	where := "pool " + cmp.Or(j.PoolName, "default")
	if req.AgentID != "" {
		where = "VM " + j.Target.Name
	}
	switch {
	case len(agents) == 0:
		wait.Reason = where + " has no agent"
	case fit == 0:
		wait.Reason = "no agent of " + where + " has " + strings.Join(req.Demands, ", ")
	case free == 0:
		wait.Reason = "every agent of " + where + " that could take it is offline"
	default:
		wait.Reason, wait.Stuck, wait.Who = "the agents of "+where+" are busy", false, ""
	}
	return wait, states, nil
}
