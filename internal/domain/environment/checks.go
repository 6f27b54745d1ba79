package environment

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/base/telemetry"
	"penstock.dev/penstock/internal/domain/pipeline"
)

// Gate is a stage that wants to use environments.
type Gate struct {
	ProjectID    string
	RunID        string
	PipelineID   string
	Stage        string
	Attempt      int
	RequesterID  string
	Branches     []string // of every repository and pipeline resource, full refs
	Environments []*Environment
	LockBehavior string // of the stage, else of the pipeline
	StageLock    bool   // the stage itself writes lockBehavior
	Manual       bool   // somebody starts the stage; checks come after that
}

// Verdict is the answer of the checks to a gate.
type Verdict struct {
	State  VerdictState
	Reason string // for people: what it waits for, or why not
	Until  time.Time
}

// VerdictState is what may happen to the stage.
type VerdictState string

// The verdicts. Skip ends the stage as skipped (an approval that timed out),
// Supersede cancels it (a newer run wants the lock).
const (
	Pass      VerdictState = "pass"
	Wait      VerdictState = "wait"
	Reject    VerdictState = "reject"
	Skip      VerdictState = "skip"
	Supersede VerdictState = "supersede"
)

// rank orders verdicts: the worst of all checks counts.
var rank = []VerdictState{Pass, Wait, Skip, Supersede, Reject}

func worse(a, b Verdict) Verdict {
	if slices.Index(rank, b.State) > slices.Index(rank, a.State) {
		return b
	}
	return a
}

// PassChecks asks whether a stage may start, instantiating its checks at the
// first call. It runs in the transaction of ctx and is safe to repeat.
func (s *Service) PassChecks(ctx context.Context, g Gate) (Verdict, error) {
	ctx, span := telemetry.Start(ctx, "environment.PassChecks", "stage", g.Stage)
	defer span.End()
	verdict := Verdict{State: Pass}
	if g.Manual {
		if v, err := s.startVerdict(ctx, g); err != nil || v.State != Pass {
			return v, err
		}
	}
	var locks []string
	for _, env := range g.Environments {
		checks, err := s.Checks.Find(ctx, store.Where("environment_id", env.ID).By("num"))
		if err != nil {
			return verdict, err
		}
		for _, c := range checks {
			if c.Type == ExclusiveLockCheck {
				locks = append(locks, "environment/"+env.ID)
				continue
			}
			v, err := s.evaluate(ctx, g, env, c)
			if err != nil {
				return verdict, err
			}
			verdict = worse(verdict, v)
		}
	}
	if g.StageLock {
		locks = append(locks, "stage/"+g.PipelineID+"/"+strings.ToLower(g.Stage))
	}
	// The lock comes last, so that nobody holds it while waiting for a person; and
	// everybody takes several in the same order, so that no two wait for each other.
	slices.Sort(locks)
	for _, resource := range locks {
		if verdict.State != Pass {
			break
		}
		v, err := s.lock(ctx, g, resource)
		if err != nil {
			return verdict, err
		}
		verdict = worse(verdict, v)
	}
	return verdict, nil
}

func (s *Service) evaluate(ctx context.Context, g Gate, env *Environment, c *Check) (Verdict, error) {
	switch c.Type {
	case ApprovalCheck:
		return s.approvalVerdict(ctx, g, env, c)
	case BranchControlCheck:
		return branchVerdict(g, c.Settings.Branches), nil
	case BusinessHoursCheck:
		return hoursVerdict(c.Settings, s.Clock.Now()), nil
	}
	return Verdict{State: Reject, Reason: fmt.Sprintf("environment %s has a check of unknown type %s", env.Name, c.Type)}, nil
}

// manualStart is the CheckID of the question whether a stage with
// `trigger: manual` starts.
const manualStart = "manual-start"

// Starts reports whether a yes starts a stage by hand, and a no leaves it out.
func (a *Approval) Starts() bool { return a.CheckID == manualStart }

// startVerdict waits until somebody who may queue runs starts the stage. A no
// leaves it out, which is no failure. Who started it has started its further
// attempts: somebody asks for those, too.
func (s *Service) startVerdict(ctx context.Context, g Gate) (Verdict, error) {
	earlier, err := s.Approvals.Find(ctx, store.Where("run_id", g.RunID).And("status", string(Approved)))
	if err != nil {
		return Verdict{}, err
	}
	if slices.ContainsFunc(earlier, func(a *Approval) bool { return a.CheckID == manualStart && strings.EqualFold(a.Stage, g.Stage) }) {
		return Verdict{State: Pass}, nil
	}
	a, err := s.asked(ctx, g, &Approval{CheckID: manualStart, Minimum: 1, AllowSelf: true, Instructions: "Stage " + g.Stage + " is started by hand."}, 0)
	if err != nil {
		return Verdict{}, err
	}
	v, err := s.settle(ctx, a)
	switch v.State {
	case Wait:
		v.Reason = "start by " + ApproverNames(a)
	case Reject:
		v = Verdict{State: Skip, Reason: "left out by " + lastVoter(a)}
	}
	return v, err
}

func (s *Service) approvalVerdict(ctx context.Context, g Gate, env *Environment, c *Check) (Verdict, error) {
	a, err := s.asked(ctx, g, &Approval{CheckID: c.ID, Environment: env.Name, Approvers: c.Settings.Approvers, Minimum: c.Settings.Minimum,
		AllowSelf: c.Settings.AllowSelf, Instructions: c.Settings.Instructions}, c.Timeout)
	if err != nil {
		return Verdict{}, err
	}
	return s.settle(ctx, a)
}

// asked is the approval of a gate for a check. The first time it is made from
// what is given.
func (s *Service) asked(ctx context.Context, g Gate, a *Approval, timeout time.Duration) (*Approval, error) {
	all, err := s.Approvals.Find(ctx, store.Where("run_id", g.RunID).And("job_id", ""))
	if err != nil {
		return nil, err
	}
	for _, old := range all {
		if old.CheckID == a.CheckID && strings.EqualFold(old.Stage, g.Stage) && old.Attempt == g.Attempt {
			return old, nil
		}
	}
	a.ID, a.ProjectID, a.RunID, a.Stage, a.Attempt, a.RequesterID = id.New(), g.ProjectID, g.RunID, g.Stage, g.Attempt, g.RequesterID
	return a, s.Ask(ctx, a, timeout)
}

// settle ends an approval whose time is over and turns its status into a verdict.
func (s *Service) settle(ctx context.Context, a *Approval) (Verdict, error) {
	if a.Status == Pending && !a.Expires.IsZero() && !s.Clock.Now().Before(a.Expires) {
		a.Status, a.Ended = TimedOut, s.Clock.Now()
		if err := s.Approvals.Save(ctx, a); err != nil {
			return Verdict{}, err
		}
	}
	switch a.Status {
	case Approved:
		return Verdict{State: Pass}, nil
	case Rejected:
		return Verdict{State: Reject, Reason: "rejected by " + lastVoter(a)}, nil
	case TimedOut:
		return Verdict{State: Skip, Reason: "nobody approved in time"}, nil
	case Canceled:
		return Verdict{State: Skip, Reason: "the approval was canceled"}, nil
	}
	return Verdict{State: Wait, Reason: "approval by " + ApproverNames(a), Until: a.Expires}, nil
}

func lastVoter(a *Approval) string {
	if len(a.Votes) == 0 {
		return "nobody"
	}
	return a.Votes[len(a.Votes)-1].Name
}

// ApproverNames lists who can answer, for people.
func ApproverNames(a *Approval) string {
	names := make([]string, 0, len(a.Approvers))
	for _, p := range a.Approvers {
		name := p.Name
		if _, short, ok := strings.Cut(name, `\`); ok {
			name = short
		}
		names = append(names, name)
	}
	switch {
	case len(names) == 0:
		return "anyone who may queue runs"
	case a.Minimum > 0 && a.Minimum < len(names):
		return fmt.Sprintf("%d of %s", a.Minimum, strings.Join(names, ", "))
	}
	return strings.Join(names, ", ")
}

func branchVerdict(g Gate, allowed []string) Verdict {
	for _, ref := range g.Branches {
		if !pipeline.MatchFilters(pipeline.Filters{Include: allowed}, ref) {
			return Verdict{State: Reject, Reason: fmt.Sprintf("branch control: %s is not one of %s", ref, strings.Join(allowed, ", "))}
		}
	}
	return Verdict{State: Pass}
}

func hoursVerdict(set Settings, now time.Time) Verdict {
	zone, err := time.LoadLocation(set.Zone)
	if err != nil {
		return Verdict{State: Reject, Reason: "business hours: no time zone " + set.Zone}
	}
	local := now.In(zone)
	hour := local.Format("15:04")
	if slices.Contains(set.Days, local.Format("Mon")) && hour >= set.From && hour < set.To {
		return Verdict{State: Pass}
	}
	return Verdict{State: Wait, Reason: fmt.Sprintf("business hours %s–%s %s", set.From, set.To, set.Zone), Until: opening(set, local)}
}

// opening is when the hours begin next; zero = on no day.
func opening(set Settings, local time.Time) time.Time {
	from, err := time.Parse("15:04", set.From)
	if err != nil {
		return time.Time{}
	}
	for day := range 8 {
		at := time.Date(local.Year(), local.Month(), local.Day()+day, from.Hour(), from.Minute(), 0, 0, local.Location())
		if at.After(local) && slices.Contains(set.Days, at.Format("Mon")) {
			return at
		}
	}
	return time.Time{}
}

// lock takes a place in the queue for a resource; the first place holds it.
func (s *Service) lock(ctx context.Context, g Gate, resource string) (Verdict, error) {
	queue, err := s.Locks.Find(ctx, store.Where("resource", resource).By("queued"))
	if err != nil {
		return Verdict{}, err
	}
	mine := fmt.Sprintf("%s/%s/%s/%d", resource, g.RunID, g.Stage, g.Attempt)
	at := slices.IndexFunc(queue, func(l *Lock) bool { return l.ID == mine })
	if at < 0 {
		behavior := g.LockBehavior
		if behavior == "" {
			behavior = "runLatest"
		}
		l := &Lock{ID: mine, Resource: resource, RunID: g.RunID, Pipeline: g.PipelineID, Branch: g.branch(), Stage: g.Stage, Attempt: g.Attempt, Behavior: behavior, Queued: s.Clock.Now()}
		if err := s.supersede(ctx, queue, l); err != nil {
			return Verdict{}, err
		}
		if err := s.Locks.Insert(ctx, l); err != nil {
			return Verdict{}, err
		}
		queue = append(queue, l)
		at = len(queue) - 1
	}
	if queue[at].Superseded {
		return Verdict{State: Supersede, Reason: "a newer run took its place in the queue"}, nil
	}
	if at == 0 {
		return Verdict{State: Pass}, nil
	}
	return Verdict{State: Wait, Reason: fmt.Sprintf("exclusive lock, held by run %s (stage %s)", queue[0].RunID, queue[0].Stage)}, nil
}

// branch is the one that the run itself is of.
func (g Gate) branch() string {
	if len(g.Branches) == 0 {
		return ""
	}
	return g.Branches[0]
}

// supersede lets only the latest run of a pipeline wait: the waiting stages of
// older runs are canceled, and so is the newcomer where a later run came before
// it. The holder is never interrupted, and a run does not compete with itself.
func (s *Service) supersede(ctx context.Context, queue []*Lock, newcomer *Lock) error {
	if newcomer.Behavior != "runLatest" {
		return nil
	}
	for i, l := range queue {
		if i == 0 || l.Superseded || !l.competes(newcomer) {
			continue
		}
		if later(l.RunID, newcomer.RunID) {
			newcomer.Superseded = true
			continue
		}
		l.Superseded = true
		if err := s.Locks.Save(ctx, l); err != nil {
			return err
		}
		if err := s.wake(ctx, l.RunID); err != nil {
			return err
		}
	}
	return nil
}

// competes says whether of two waiting stages only the one of the later run is to
// go on: those of one pipeline, and where a stage has a lock of its own, of one
// branch.
func (l *Lock) competes(other *Lock) bool {
	return l.Pipeline == other.Pipeline && l.RunID != other.RunID && (!strings.HasPrefix(l.Resource, "stage/") || l.Branch == other.Branch)
}

// later compares the numbers of runs.
func later(a, b string) bool {
	return len(a) > len(b) || len(a) == len(b) && a > b
}

// Release gives up every lock of a stage and wakes those who wait for them.
func (s *Service) Release(ctx context.Context, runID, stage string) error {
	held, err := s.Locks.Find(ctx, store.Where("run_id", runID))
	if err != nil {
		return err
	}
	for _, l := range held {
		if !strings.EqualFold(l.Stage, stage) {
			continue
		}
		if err := s.Locks.Delete(ctx, l.ID); err != nil {
			return err
		}
		waiting, err := s.Locks.Find(ctx, store.Where("resource", l.Resource))
		if err != nil {
			return err
		}
		for _, w := range waiting {
			if err := s.wake(ctx, w.RunID); err != nil {
				return err
			}
		}
	}
	return nil
}
