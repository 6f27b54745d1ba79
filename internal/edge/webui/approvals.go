package webui

import (
	"fmt"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/project"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/domain/testresult"
	"penstock.dev/penstock/internal/edge/webui/pages"
)

// card is an approval with the evidence that helps to decide.
func (c *call) card(a *environment.Approval, projects map[string]*project.Project) (*pages.ApprovalView, error) {
	r, err := c.s.Runs.Runs.Get(c.ctx(), a.RunID)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	v := c.approvalView(a, r)
	p := projects[a.ProjectID]
	if p == nil {
		if p, err = c.s.Projects.Projects.Get(c.ctx(), a.ProjectID); err != nil {
			return nil, err
		}
		projects[a.ProjectID] = p
	}
	v.Project = p.Name
	if r == nil || a.Status != environment.Pending {
		return v, nil
	}
	v.Commits = c.changesOf(r)
	if len(v.Commits) > 30 {
		v.Commits = v.Commits[:30]
	}
	if err := c.evidence(v, r); err != nil {
		return nil, err
	}
	apps, err := c.s.Applications.Of(c.ctx(), a.ProjectID)
	if err != nil {
		return nil, err
	}
	planned, err := c.s.Runs.Plans.Get(c.ctx(), r.ID)
	if err != nil || planned.Plan == nil {
		return v, nil
	}
	if spec := planned.Plan.Stage(a.Stage); spec != nil {
		for _, app := range apps {
			if ch, ok := changeOf(app, spec); ok {
				v.Changes = append(v.Changes, ch)
				v.Evidence = append(v.Evidence, pages.Mark{Icon: "back", Tone: "off", Label: "Roll back stays possible: " + backNote(ch)})
			}
		}
	}
	return v, nil
}

func backNote(ch pages.Change) string {
	if ch.FromRelease == "" {
		return "there is no release in production yet"
	}
	return ch.FromRelease + " stays warm on " + ch.From
}

func (c *call) evidence(v *pages.ApprovalView, r *run.Run) error {
	tests, err := c.s.Tests.Of(c.ctx(), r.ID)
	if err != nil {
		return err
	}
	counts := testresult.Total(tests)
	all, failed := counts.Total, counts.Failed
	switch {
	case all == 0:
		v.Evidence = append(v.Evidence, pages.Mark{Icon: "todo", Tone: "off", Label: "This run published no test results"})
	case failed > 0:
		v.Evidence = append(v.Evidence, pages.Mark{Icon: "warn", Tone: "warn", Label: fmt.Sprintf("%d of %d tests pass, %d failed", all-failed, all, failed)})
	default:
		v.Evidence = append(v.Evidence, pages.Mark{Icon: "ok", Tone: "ok", Label: fmt.Sprintf("All %d tests pass", all)})
	}
	stages, err := c.s.Runs.Stages.Find(c.ctx(), stageQuery(r.ID))
	if err != nil {
		return err
	}
	for _, st := range stages {
		if st.State == run.Completed && st.Result != run.Skipped {
			m := pages.StateMark(st.State, st.Result)
			m.Label = "Stage " + stageName(st) + ": " + m.Label
			v.Evidence = append(v.Evidence, m)
		}
	}
	return nil
}

// decide takes an answer. Who may answer is the domain's rule; that the reader
// sees the project at all is asked here, because the address names none.
func decide(c *call) error {
	a, err := c.s.Environments.Approvals.Get(c.ctx(), c.r.PathValue("id"))
	if err != nil || !identity.Can(c.subject, identity.ProjectView, a.ProjectID) {
		return fault.New(fault.NotFound, "not-found", "there is no approval %s, or you may not see it", c.r.PathValue("id"))
	}
	if err := identity.Check(c.subject, identity.Approve, a.ProjectID); err != nil {
		return err
	}
	after, err := c.s.Environments.Decide(c.ctx(), a.ID, environment.ApprovalStatus(c.r.PostFormValue("decision")), c.r.PostFormValue("comment"))
	if err != nil {
		return err
	}
	c.s.Hub.Publish("approvals", "run/"+a.RunID)
	text := "Approved. " + remaining(after)
	if after.Status == environment.Rejected {
		text = "Rejected. The stage ends as failed."
	}
	return c.done(c.back("/approvals"), text)
}

func remaining(a *environment.Approval) string {
	if a.Status == environment.Approved {
		return "The stage goes on."
	}
	return fmt.Sprintf("%d more must answer: %s.", max(1, a.Needed()-len(a.Votes)), environment.ApproverNames(a))
}
