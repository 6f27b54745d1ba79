package environment

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/outbox"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/audit"
	"penstock.dev/penstock/internal/domain/identity"
)

// TopicAdvance is the outbox topic that lets a run look again at what it waits
// for; its key and payload are the run's id.
const TopicAdvance = "run.advance"

// Service holds the use cases of environments.
type Service struct {
	Environments store.Table[Environment]
	VMs          store.Table[VM]
	Checks       store.Table[Check]
	Approvals    store.Table[Approval]
	Locks        store.Table[Lock]
	Deployments  store.Table[Deployment]
	Tx           store.Runner
	Audit        *audit.Service
	Identity     *identity.Service
	Clock        store.Clock
	OnePerson    bool // whoever answers is everybody: a run on a laptop
}

func (s *Service) wake(ctx context.Context, runID string) error {
	return s.Tx.Emit(ctx, outbox.New(TopicAdvance, runID, runID))
}

// Create makes an environment; one of that name is returned as it is.
func (s *Service) Create(ctx context.Context, projectID, name, description string) (*Environment, error) {
	if err := identity.CheckTitle("environment", name); err != nil {
		return nil, err
	}
	if e, err := s.find(ctx, projectID, name); err != nil || e != nil {
		return e, err
	}
	e := &Environment{ProjectID: projectID, Key: projectID + "/" + strings.ToLower(name), Name: name, Description: description, Created: s.Clock.Now()}
	return e, s.Tx.InTx(ctx, func(ctx context.Context) error {
		n, err := s.Tx.Next(ctx, "environment")
		if err != nil {
			return err
		}
		e.Num, e.ID = n, strconv.Itoa(n)
		if err := s.Environments.Insert(ctx, e); err != nil {
			return err
		}
		return s.Audit.Record(ctx, identity.From(ctx).Name, "environment.create", "environment "+name, "")
	})
}

func (s *Service) find(ctx context.Context, projectID, name string) (*Environment, error) {
	return store.First(ctx, s.Environments, store.Where("key", projectID+"/"+strings.ToLower(name)))
}

// Find returns an environment of a project by name or id.
func (s *Service) Find(ctx context.Context, projectID, nameOrID string) (*Environment, error) {
	e, err := s.find(ctx, projectID, nameOrID)
	if err != nil || e != nil {
		return e, err
	}
	e, err = s.Environments.Get(ctx, nameOrID)
	if err != nil || e.ProjectID != projectID {
		return nil, fault.New(fault.NotFound, "environment-not-found",
			"environment %s could not be found", nameOrID).
			Try("make it first: penstock env create %s", nameOrID)
	}
	return e, nil
}

// AddCheck adds a check to an environment.
func (s *Service) AddCheck(ctx context.Context, e *Environment, c *Check) error {
	switch c.Type {
	case ApprovalCheck, BranchControlCheck:
	case ExclusiveLockCheck:
	case BusinessHoursCheck:
		if _, err := time.LoadLocation(c.Settings.Zone); err != nil {
			return fault.New(fault.Invalid, "unknown-zone", "no time zone %q", c.Settings.Zone)
		}
	default:
		return fault.New(fault.Invalid, "unknown-check", "no check type %q", c.Type).Want("approval, exclusiveLock, branchControl or businessHours")
	}
	if c.Type == ApprovalCheck && len(c.Settings.Approvers) == 0 {
		return fault.New(fault.Invalid, "no-approvers", "an approval needs at least one approver")
	}
	if c.Timeout == 0 {
		c.Timeout = 30 * 24 * time.Hour
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		n, err := s.Tx.Next(ctx, "check")
		if err != nil {
			return err
		}
		c.Num, c.ID, c.EnvironmentID, c.Created = n, strconv.Itoa(n), e.ID, s.Clock.Now()
		if err := s.Checks.Insert(ctx, c); err != nil {
			return err
		}
		return s.Audit.Record(ctx, identity.From(ctx).Name, "check.add", "environment "+e.Name, string(c.Type))
	})
}

// RemoveCheck removes a check.
func (s *Service) RemoveCheck(ctx context.Context, e *Environment, id string) error {
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		c, err := s.Checks.Get(ctx, id)
		if err != nil || c.EnvironmentID != e.ID {
			return fault.New(fault.NotFound, "not-found", "environment %s has no check %s", e.Name, id)
		}
		if err := s.Checks.Delete(ctx, id); err != nil {
			return err
		}
		return s.Audit.Record(ctx, identity.From(ctx).Name, "check.remove", "environment "+e.Name, string(c.Type))
	})
}

// Approver resolves a name as people write it: ada, Release Managers, or
// [shop]\Release Managers.
func (s *Service) Approver(ctx context.Context, projectID, name string) (Approver, error) {
	if s.OnePerson {
		return Approver{Name: name}, nil
	}
	name = strings.TrimSpace(name)
	short := name
	if _, rest, ok := strings.Cut(name, `\`); ok {
		short = rest
	}
	if g, err := s.Identity.GroupByName(ctx, projectID, short); err == nil {
		return Approver{ID: g.ID, Name: name, Group: true}, nil
	} else if !fault.Is(err, fault.NotFound) {
		return Approver{}, err
	}
	u, err := s.Identity.UserByName(ctx, short)
	if err != nil {
		return Approver{}, fault.New(fault.NotFound, "approver-not-found", "no user or group %s", name).Try("penstock user list")
	}
	return Approver{ID: u.ID, Name: u.Name}, nil
}

// Ask stores an approval and sets its timer. It runs in the transaction of ctx.
func (s *Service) Ask(ctx context.Context, a *Approval, timeout time.Duration) error {
	a.Status, a.Created = Pending, s.Clock.Now()
	if timeout > 0 {
		a.Expires = a.Created.Add(timeout)
		if err := s.Tx.Emit(ctx, outbox.New(TopicAdvance, a.RunID, a.RunID).At(a.Expires)); err != nil {
			return err
		}
	}
	return s.Approvals.Insert(ctx, a)
}

// Decide records a person's answer.
func (s *Service) Decide(ctx context.Context, approvalID string, decision ApprovalStatus, comment string) (*Approval, error) {
	by := identity.From(ctx)
	if decision != Approved && decision != Rejected {
		return nil, fault.New(fault.Invalid, "unknown-decision", "no decision %q", decision).Want("approved or rejected")
	}
	var a *Approval
	err := s.Tx.InTx(ctx, func(ctx context.Context) error {
		var err error
		if a, err = s.Approvals.Get(ctx, approvalID); err != nil {
			return err
		}
		if a.Status != Pending {
			return s.tooLate(a)
		}
		as, err := s.mayDecide(ctx, a, by)
		if err != nil {
			return err
		}
		a.vote(Vote{UserID: by.ID, Name: by.Name, For: as, Decision: decision, Comment: comment, Time: s.Clock.Now()})
		if a.Status != Pending {
			a.Ended = s.Clock.Now()
		}
		if err := s.Approvals.Save(ctx, a); err != nil {
			return err
		}
		if err := s.Audit.Record(ctx, by.Name, "approval."+string(decision), "run "+a.RunID+" stage "+a.Stage, comment); err != nil {
			return err
		}
		return s.wake(ctx, a.RunID)
	})
	return a, err
}

func (s *Service) tooLate(a *Approval) error {
	who := string(a.Status)
	if n := len(a.Votes); n > 0 {
		v := a.Votes[n-1]
		who = fmt.Sprintf("%s %s this %s before you", v.Name, v.Decision, s.Clock.Now().Sub(v.Time).Round(time.Second))
	}
	return fault.New(fault.Conflict, "already-decided", "%s. Nothing changed", who).Try("penstock run show %s", a.RunID)
}

// vote applies an answer: one rejection ends it, enough approvals complete it.
func (a *Approval) vote(v Vote) {
	a.Votes = append(a.Votes, v)
	if v.Decision == Rejected {
		a.Status = Rejected
		return
	}
	given := map[string]bool{}
	for _, vote := range a.Votes {
		given[vote.For] = true
	}
	if len(given) >= a.Needed() {
		a.Status = Approved
	}
}

// mayDecide returns as whom a person answers.
func (s *Service) mayDecide(ctx context.Context, a *Approval, by identity.Subject) (string, error) {
	if by.Kind != identity.UserKind {
		return "", fault.New(fault.Denied, "denied", "only a person can approve")
	}
	if s.OnePerson {
		return by.Name, nil
	}
	if !a.AllowSelf && by.ID == a.RequesterID {
		return "", fault.New(fault.Denied, "denied", "you may not approve your own run").
			Want("%s, who did not request the run", ApproverNames(a)).Got("%s", by.Name)
	}
	for _, v := range a.Votes {
		if v.UserID == by.ID {
			return "", fault.New(fault.Conflict, "already-decided", "you have answered already").Try("others must answer now: %s", ApproverNames(a))
		}
	}
	if len(a.Approvers) == 0 {
		return by.Name, nil
	}
	for _, p := range a.Approvers {
		ok, err := s.isOne(ctx, p, by.ID)
		if err != nil {
			return "", err
		}
		if ok && !slices.ContainsFunc(a.Votes, func(v Vote) bool { return v.For == p.Name }) {
			return p.Name, nil
		}
	}
	return "", fault.New(fault.Denied, "denied", "you are not an approver of this stage").Want("%s", ApproverNames(a)).Got("%s", by.Name).
		Try("ask one of them")
}

func (s *Service) isOne(ctx context.Context, p Approver, userID string) (bool, error) {
	if !p.Group {
		return p.ID == userID, nil
	}
	g, err := s.Identity.Groups.Get(ctx, p.ID)
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil && slices.Contains(g.Members, userID), err
}

// CanDecide reports whether the user could answer the approval now.
func (s *Service) CanDecide(ctx context.Context, a *Approval, by identity.Subject) bool {
	_, err := s.mayDecide(ctx, a, by)
	return err == nil && a.Status == Pending
}

// Inbox lists the pending approvals of the projects the subject sees, oldest
// first.
func (s *Service) Inbox(ctx context.Context, by identity.Subject) ([]*Approval, error) {
	pending, err := s.Approvals.Find(ctx, store.Where("status", string(Pending)).By("created"))
	if err != nil {
		return nil, err
	}
	var seen []*Approval
	for _, a := range pending {
		if identity.Can(by, identity.ProjectView, a.ProjectID) {
			seen = append(seen, a)
		}
	}
	return seen, nil
}

// OfRun lists the approvals of a run.
func (s *Service) OfRun(ctx context.Context, runID string) ([]*Approval, error) {
	return s.Approvals.Find(ctx, store.Where("run_id", runID).By("created"))
}

// JobVerdict is the verdict on the approval of a ManualValidation task.
func (s *Service) JobVerdict(ctx context.Context, jobID string) (*Approval, Verdict, error) {
	a, err := store.First(ctx, s.Approvals, store.Where("job_id", jobID))
	if err != nil || a == nil {
		return nil, Verdict{State: Wait}, err
	}
	v, err := s.settle(ctx, a)
	if a.Status == TimedOut {
		v = Verdict{State: Reject, Reason: v.Reason}
		if a.ResumeOnTimer {
			v.State = Pass
		}
	}
	return a, v, err
}

// CancelOf ends the pending approvals of a run that match; "" matches all.
func (s *Service) CancelOf(ctx context.Context, runID, stage, jobID string) error {
	all, err := s.OfRun(ctx, runID)
	if err != nil {
		return err
	}
	for _, a := range all {
		if a.Status != Pending || stage != "" && !strings.EqualFold(a.Stage, stage) || jobID != "" && a.JobID != jobID {
			continue
		}
		a.Status, a.Ended = Canceled, s.Clock.Now()
		if err := s.Approvals.Save(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// AddVM registers a VM of a project, or updates the one of that name.
func (s *Service) AddVM(ctx context.Context, v *VM) (*VM, error) {
	if err := identity.CheckName("VM", v.Name); err != nil {
		return nil, err
	}
	for _, t := range v.Tags {
		if len(t) > 256 {
			return nil, fault.New(fault.Invalid, "tag-too-long", "a tag has at most 256 characters")
		}
	}
	v.Key = v.ProjectID + "/" + strings.ToLower(v.Name)
	return v, s.Tx.InTx(ctx, func(ctx context.Context) error {
		old, err := store.First(ctx, s.VMs, store.Where("key", v.Key))
		if err != nil {
			return err
		}
		if old != nil {
			v.ID, v.Num = old.ID, old.Num
			v.SetRev(old.Rev())
			return s.VMs.Save(ctx, v)
		}
		if v.Num, err = s.Tx.Next(ctx, "vm"); err != nil {
			return err
		}
		v.ID = strconv.Itoa(v.Num)
		if err := s.VMs.Insert(ctx, v); err != nil {
			return err
		}
		return s.Audit.Record(ctx, identity.From(ctx).Name, "vm.add", "vm "+v.Name, strings.Join(v.Tags, ", "))
	})
}

// ChangeVM changes a stored VM; what others change at the same time stays.
func (s *Service) ChangeVM(ctx context.Context, id string, change func(v *VM)) (*VM, error) {
	var v *VM
	err := s.Tx.InTx(ctx, func(ctx context.Context) error {
		var err error
		if v, err = s.VMs.Get(ctx, id); err != nil {
			return err
		}
		change(v)
		return s.VMs.Save(ctx, v)
	})
	return v, err
}

// FindVM returns a VM of a project by name.
func (s *Service) FindVM(ctx context.Context, projectID, name string) (*VM, error) {
	v, err := store.First(ctx, s.VMs, store.Where("key", projectID+"/"+strings.ToLower(name)))
	if err == nil && v == nil {
		err = fault.New(fault.NotFound, "not-found", "no VM %s", name).Try("penstock vm list")
	}
	return v, err
}
