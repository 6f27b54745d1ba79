package devopsapi

import (
	"slices"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/run"
)

const approvalsID = "37794717-f36f-4d78-b2bf-4dc30d0cfbcd"

var approvalRoutes = []Route{
	{"approval", "approvals", approvalsID, "GET", "{project}/_apis/pipelines/approvals", identity.ProjectView, (*call).listApprovals, nil, smallJSON},
	{"approval", "approvals", approvalsID, "GET", "{project}/_apis/pipelines/approvals/{approval}", identity.ProjectView, (*call).getApproval, nil, smallJSON},
	{"approval", "approvals", approvalsID, "PATCH", "{project}/_apis/pipelines/approvals", identity.Approve, (*call).decide, nil, smallJSON},
	{"penstock", "approvals", "", "GET", "_apis/penstock/approvals", identity.SignedIn, (*call).inbox, nil, smallJSON},
	{"distributedtask", "events", "557624af-b29e-4c20-8ab0-0399d2204f3f", "POST", "{project}/_apis/distributedtask/hubs/{hub}/plans/{plan}/events", identity.ArtifactWrite, (*call).planEvent, nil, smallJSON},
}

type approvalStep struct {
	Approver person    `json:"assignedApprover"`
	Actual   *person   `json:"actualApprover,omitempty"`
	Status   string    `json:"status"`
	Comment  string    `json:"comment,omitempty"`
	Changed  time.Time `json:"lastModifiedOn,omitzero"`
	Order    int       `json:"order"`
}

type approvalShape struct {
	ID           string          `json:"id"`
	Status       string          `json:"status"`
	Created      time.Time       `json:"createdOn"`
	Changed      time.Time       `json:"lastModifiedOn"`
	Instructions string          `json:"instructions"`
	Minimum      int             `json:"minRequiredApprovers"`
	Order        string          `json:"executionOrder"`
	Steps        []approvalStep  `json:"steps"`
	Links        map[string]link `json:"_links"`

	// Ours: what it is about, for people.
	Project     string    `json:"project"`
	Run         string    `json:"run"`
	RunNumber   string    `json:"runNumber"`
	Pipeline    string    `json:"pipeline"`
	Stage       string    `json:"stage"`
	Environment string    `json:"environment,omitempty"`
	WaitsFor    string    `json:"waitsFor"`
	CanDecide   bool      `json:"canDecide"`
	Expires     time.Time `json:"expires,omitzero"`
	Requester   string    `json:"requester"`
}

func (c *call) approvalShape(a *environment.Approval) approvalShape {
	s := approvalShape{ID: a.ID, Status: string(a.Status), Created: a.Created, Changed: a.Created, Instructions: a.Instructions, Minimum: a.Needed(), Order: "anyOrder",
		Steps: []approvalStep{}, Run: a.RunID, Stage: a.Stage, Environment: a.Environment, WaitsFor: environment.ApproverNames(a), Expires: a.Expires,
		CanDecide: c.Environments.CanDecide(c.ctx(), a, c.subject)}
	if !a.Ended.IsZero() {
		s.Changed = a.Ended
	}
	if p, err := c.Projects.Find(c.ctx(), a.ProjectID); err == nil {
		s.Project = p.Name
	}
	if r, err := c.Runs.Runs.Get(c.ctx(), a.RunID); err == nil {
		s.RunNumber, s.Pipeline, s.Requester = r.Number, r.Pipeline, r.RequestedBy
	}
	for i, p := range a.Approvers {
		step := approvalStep{Approver: personOf(p.ID, p.Name), Status: string(environment.Pending), Order: i + 1}
		if at := slices.IndexFunc(a.Votes, func(v environment.Vote) bool { return v.For == p.Name }); at >= 0 {
			v := a.Votes[at]
			by := personOf(v.UserID, v.Name)
			step.Actual, step.Status, step.Comment, step.Changed = &by, string(v.Decision), v.Comment, v.Time
		} else if a.Status != environment.Pending {
			step.Status = "skipped"
		}
		s.Steps = append(s.Steps, step)
	}
	s.Links = map[string]link{"self": {c.base() + "/" + a.ProjectID + "/_apis/pipelines/approvals/" + a.ID}}
	return s
}

// listApprovals filters by state, approvalIds, and run (ours).
func (c *call) listApprovals() (any, error) {
	q := store.Where("project_id", c.project.ID).Latest("created")
	if r := c.query("run"); r != "" {
		q = q.And("run_id", r)
	}
	ids := strings.FieldsFunc(c.query("approvalIds"), func(r rune) bool { return r == ',' })
	if len(ids) > 0 {
		q = q.AndOp("id", store.In, ids)
	}
	if state := c.query("state"); state != "" && !strings.EqualFold(state, "all") {
		known := []environment.ApprovalStatus{environment.Pending, environment.Approved, environment.Rejected, environment.TimedOut, environment.Canceled}
		at := slices.IndexFunc(known, func(s environment.ApprovalStatus) bool { return strings.EqualFold(string(s), state) })
		if at < 0 {
			return nil, fault.New(fault.Invalid, "unknown-state", "no approval state %q", state).Want("pending, approved, rejected, timedOut, canceled or all")
		}
		q = q.And("status", string(known[at]))
	}
	found, err := c.Environments.Approvals.Find(c.ctx(), q.Top(c.top(100)))
	if err != nil {
		return nil, err
	}
	return mapped(found, c.approvalShape), nil
}

// approval returns an approval of the project of the address.
func (c *call) approval(id string) (*environment.Approval, error) {
	a, err := c.Environments.Approvals.Get(c.ctx(), id)
	if err != nil || a.ProjectID != c.project.ID {
		return nil, fault.New(fault.NotFound, "not-found", "no approval %s", id).Try("penstock approve lists those that wait")
	}
	return a, nil
}

func (c *call) getApproval() (any, error) {
	a, err := c.approval(c.params["approval"])
	if err != nil {
		return nil, err
	}
	return c.approvalShape(a), nil
}

func (c *call) decide() (any, error) {
	var in []struct{ ApprovalID, Status, Comment string }
	if err := c.read(&in); err != nil {
		return nil, err
	}
	if len(in) == 0 || len(in) > 100 {
		return nil, fault.New(fault.Invalid, "no-decision", "the body names no approval").Want(`[{"approvalId", "status": "approved" or "rejected", "comment"}]`)
	}
	for _, d := range in {
		if _, err := c.approval(d.ApprovalID); err != nil {
			return nil, err
		}
	}
	var out []approvalShape
	for _, d := range in {
		decision := environment.ApprovalStatus(strings.ToLower(d.Status))
		a, err := c.Environments.Decide(c.ctx(), d.ApprovalID, decision, d.Comment)
		if err != nil {
			return nil, err
		}
		out = append(out, c.approvalShape(a))
	}
	return listOf(out), nil
}

func (c *call) inbox() (any, error) {
	found, err := c.Environments.Inbox(c.ctx(), c.subject)
	if err != nil {
		return nil, err
	}
	return mapped(found, c.approvalShape), nil
}

// planEvent takes the event by which a service that a task called says that the
// task has ended. A job's token speaks for that job only.
func (c *call) planEvent() (any, error) {
	var in struct{ Name, TaskID, JobID, Result string }
	if err := c.read(&in); err != nil {
		return nil, err
	}
	if !strings.EqualFold(in.Name, "TaskCompleted") {
		return nil, fault.New(fault.Invalid, "unknown-event", "there is no event %q", in.Name).Want("TaskCompleted")
	}
	if c.subject.Kind == identity.JobKind && c.subject.ID != in.JobID {
		return nil, fault.New(fault.Denied, "denied", "the token is that of another job")
	}
	result, known := map[string]run.Result{"succeeded": run.Succeeded, "failed": run.Failed}[strings.ToLower(in.Result)]
	if !known {
		return nil, fault.New(fault.Invalid, "complete-result", "there is no result %q", in.Result).Want("succeeded or failed")
	}
	return nil, c.Runs.CompleteServerStep(c.ctx(), c.project.ID, in.JobID, in.TaskID, result)
}
