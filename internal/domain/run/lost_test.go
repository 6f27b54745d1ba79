package run

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock.dev/penstock/internal/base/broadcast"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/memstore"
	"penstock.dev/penstock/internal/domain/agentpool"
	"penstock.dev/penstock/internal/domain/identity"
)

// hall is a run with one job that agent 7 holds under fence 1.
type hall struct {
	*Service
	now time.Time
}

func newHall(t *testing.T, accepted bool) *hall {
	t.Helper()
	h := &hall{now: time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return h.now }
	tx := &memstore.Runner{}
	logs, err := memstore.OpenLogs(filepath.Join(t.TempDir(), "logs"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = logs.Close() })
	h.Service = &Service{Store: Store{Runs: memstore.NewTable[Run](tx, "run"), Jobs: memstore.NewTable[Job](tx, "job")}, Tx: tx, Hub: &broadcast.Hub{}, Clock: clock, Logs: logs,
		Identity: identity.NewService(identity.Store{Tokens: memstore.NewTable[identity.Token](tx, "token")}, tx, nil, clock),
		Pools:    &agentpool.Service{Requests: memstore.NewTable[agentpool.Request](tx, "job request"), Tx: tx, Clock: clock, LeaseTTL: 30 * time.Second, LostAfter: 5 * time.Minute}}
	ctx := t.Context()
	if err := h.Jobs.Insert(ctx, &Job{ID: "j", RunID: "1", State: InProgress, AgentName: "seven", Started: h.now,
		Steps: []Step{{Order: 1, State: Pending}, {Order: 2, State: Pending}}}); err != nil {
		t.Fatal(err)
	}
	if err := h.Pools.Requests.Insert(ctx, &agentpool.Request{ID: "j", RunID: "1", PoolID: "p", AgentID: "7", State: agentpool.Assigned, Fence: 1, Accepted: accepted,
		Lease: h.now.Add(30 * time.Second)}); err != nil {
		t.Fatal(err)
	}
	return h
}

// listen lets the server listen for a while.
func (h *hall) listen(t *testing.T, d time.Duration) {
	t.Helper()
	for range int(d / time.Second) {
		h.now = h.now.Add(time.Second)
		if err := h.EndLostJobs(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func (h *hall) job(t *testing.T) (*Job, *agentpool.Request) {
	t.Helper()
	j, err := h.Jobs.Get(t.Context(), "j")
	if err != nil {
		t.Fatal(err)
	}
	r, err := h.Pools.Requests.Get(t.Context(), "j")
	if err != nil {
		t.Fatal(err)
	}
	return j, r
}

// A server that was away for hours gives agents the time to come back that it
// gives when it was there; what they then report counts.
func TestAgentComesBackAfterHours(t *testing.T) {
	h := newHall(t, true)
	h.listen(t, 10*time.Second)
	h.now = h.now.Add(9 * time.Hour) // the server is down
	h.listen(t, 4*time.Minute)
	if j, _ := h.job(t); j.State != InProgress {
		t.Fatalf("the job was ended: %s", j.Cause)
	}
	ctx := t.Context()
	if _, err := h.AppendLog(ctx, "7", "j", 1, 1, 0, []byte("one\n")); err != nil {
		t.Fatal(err)
	}
	ago := (3 * time.Hour).Milliseconds()
	if err := h.ReportSteps(ctx, "7", "j", 1, []StepReport{{Order: 1, State: InProgress, Age: ago}, {Order: 1, State: Completed, Result: Succeeded, Age: ago / 3}, {Order: 2, State: InProgress, Age: 1 << 62}}); err != nil {
		t.Fatal(err)
	}
	if err := h.CompleteJob(ctx, "7", "j", 1, JobReport{Result: Succeeded}); err != nil {
		t.Fatal(err)
	}
	j, _ := h.job(t)
	if j.Result != Succeeded || !j.Steps[0].Started.Equal(h.now.Add(-3*time.Hour)) || !j.Steps[0].Finished.Equal(h.now.Add(-time.Hour)) {
		t.Errorf("%s, step from %s to %s", j.Result, j.Steps[0].Started, j.Steps[0].Finished)
	}
	if !j.Steps[1].Started.Equal(j.Started) {
		t.Errorf("a step began %s before its job", j.Started.Sub(j.Steps[1].Started))
	}
}

// An agent that stays away loses its job, but not the log it had written; nothing
// else of it counts, and nobody else's log is taken.
func TestLostJobKeepsItsLog(t *testing.T) {
	h := newHall(t, true)
	h.listen(t, 4*time.Minute)
	if j, _ := h.job(t); j.State == Completed {
		t.Fatalf("ended early: %s", j.Cause)
	}
	h.listen(t, 2*time.Minute)
	j, _ := h.job(t)
	if j.State != Completed || j.Result != Failed || !strings.Contains(j.Cause, "agent seven was lost") {
		t.Fatalf("%s %s %q", j.State, j.Result, j.Cause)
	}
	ctx := t.Context()
	if end, err := h.AppendLog(ctx, "7", "j", 1, 1, 0, []byte("one\n")); err != nil || end != 4 {
		t.Errorf("%d %v", end, err)
	}
	for name, c := range map[string]struct {
		agent string
		fence int
	}{"another agent": {"8", 1}, "another fence": {"7", 2}} {
		if _, err := h.AppendLog(ctx, c.agent, "j", c.fence, 1, 4, []byte("two\n")); fault.CodeOf(err) != "lease-lost" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := h.ReportSteps(ctx, "7", "j", 1, []StepReport{{Order: 1, State: InProgress}}); fault.CodeOf(err) != "lease-lost" {
		t.Errorf("a state: %v", err)
	}
	if err := h.CompleteJob(ctx, "7", "j", 1, JobReport{Result: Succeeded}); err != nil {
		t.Errorf("an agent must be able to let go of it: %v", err)
	}
	if j, _ = h.job(t); j.Result != Failed {
		t.Errorf("the result was changed: %s", j.Result)
	}
}

// The log of a job that its agent has ended takes nothing more.
func TestEndedJobTakesNoLog(t *testing.T) {
	h := newHall(t, true)
	if err := h.CompleteJob(t.Context(), "7", "j", 1, JobReport{Result: Succeeded}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.AppendLog(t.Context(), "7", "j", 1, 1, 0, []byte("late\n")); fault.CodeOf(err) != "lease-lost" {
		t.Errorf("%v", err)
	}
}

func TestSettleJobs(t *testing.T) {
	ctx := t.Context()
	t.Run("not accepted: again", func(t *testing.T) {
		h := newHall(t, false)
		if again, err := h.SettleJobs(ctx, "7", func(string) bool { return false }, false); again != nil || err != nil {
			t.Fatalf("an agent that is busy gets %+v %v", again, err)
		}
		again, err := h.SettleJobs(ctx, "7", func(string) bool { return false }, true)
		if err != nil || again == nil || again.Fence != 2 {
			t.Fatalf("%+v %v", again, err)
		}
	})
	t.Run("not accepted, silent: back into the queue", func(t *testing.T) {
		h := newHall(t, false)
		h.listen(t, 2*time.Minute)
		if j, r := h.job(t); r.State != agentpool.Queued || r.AgentID != "" || j.State == Completed {
			t.Errorf("%s %s %s", r.State, r.AgentID, j.State)
		}
	})
	t.Run("accepted and forgotten: it ends, once", func(t *testing.T) {
		h := newHall(t, true)
		for range 2 {
			if again, err := h.SettleJobs(ctx, "7", func(string) bool { return false }, true); again != nil || err != nil {
				t.Fatalf("%+v %v", again, err)
			}
		}
		if j, _ := h.job(t); j.Result != Failed || !strings.Contains(j.Cause, "agent seven was started again") {
			t.Errorf("%s %q", j.Result, j.Cause)
		}
	})
	t.Run("named: it stays", func(t *testing.T) {
		h := newHall(t, true)
		if again, err := h.SettleJobs(ctx, "7", func(id string) bool { return id == "j" }, true); again != nil || err != nil {
			t.Fatalf("%+v %v", again, err)
		}
		if j, _ := h.job(t); j.State != InProgress {
			t.Errorf("%s", j.State)
		}
	})
	t.Run("broken and to be canceled: canceled", func(t *testing.T) {
		h := newHall(t, true)
		if _, err := h.Pools.Cancel(ctx, "j"); err != nil {
			t.Fatal(err)
		}
		if err := h.CompleteJob(ctx, "7", "j", 1, JobReport{Result: Failed, Broken: true, Cause: strings.Repeat("ä", maxCause)}); err != nil {
			t.Fatal(err)
		}
		if j, _ := h.job(t); j.Result != Canceled || len(j.Cause) > maxCause {
			t.Errorf("%s, a cause of %d bytes", j.Result, len(j.Cause))
		}
	})
}
