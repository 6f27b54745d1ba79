package agentpool

import (
	"testing"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/memstore"
)

func TestFateAtPoll(t *testing.T) {
	for name, c := range map[string]struct {
		r     Request
		named bool
		want  Fate
	}{
		"it runs":                          {Request{State: Assigned, Accepted: true}, true, Keep},
		"it was just handed out":           {Request{State: Assigned}, true, Keep},
		"it ended":                         {Request{State: Completed, Accepted: true}, false, Keep},
		"it waits":                         {Request{State: Queued}, false, Keep},
		"the answer got lost":              {Request{State: Assigned}, false, Again},
		"… and it was to be canceled":      {Request{State: Assigned, CancelRequested: true}, false, Abandoned},
		"the agent has forgotten its jobs": {Request{State: Assigned, Accepted: true}, false, Abandoned},
	} {
		if got := FateAtPoll(&c.r, c.named); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestFateInSilence(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	const ttl, lostAfter = 30 * time.Second, 5 * time.Minute
	over := now.Add(-time.Hour)
	for name, c := range map[string]struct {
		r    Request
		s    Silence
		want Fate
	}{
		"the lease holds":                   {Request{State: Assigned, Accepted: true, Lease: now.Add(time.Second)}, Silence{Absent: time.Hour}, Keep},
		"the server was away itself":        {Request{State: Assigned, Accepted: true, Lease: over}, Silence{Absent: time.Second}, Keep},
		"within the time to come back":      {Request{State: Assigned, Accepted: true, Lease: over}, Silence{Absent: lostAfter}, Keep},
		"silent for too long":               {Request{State: Assigned, Accepted: true, Lease: over}, Silence{Absent: lostAfter + 1}, Abandoned},
		"switched off":                      {Request{State: Assigned, Accepted: true, Lease: over}, Silence{Absent: ttl + 1, Gone: true}, Abandoned},
		"never accepted":                    {Request{State: Assigned, Lease: over}, Silence{Absent: ttl + 1}, Again},
		"never accepted, to be canceled":    {Request{State: Assigned, CancelRequested: true, Lease: over}, Silence{Absent: ttl + 1}, Abandoned},
		"never accepted, the server is new": {Request{State: Assigned, Lease: over}, Silence{Absent: ttl}, Keep},
		"it ended":                          {Request{State: Completed, Accepted: true, Lease: over}, Silence{Absent: time.Hour}, Keep},
	} {
		if got := FateInSilence(&c.r, now, c.s, ttl, lostAfter); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// clock is set by hand.
type clock struct{ now time.Time }

func (c *clock) tick(d time.Duration) { c.now = c.now.Add(d) }

func newService(c *clock) *Service {
	tx := &memstore.Runner{}
	return &Service{Agents: memstore.NewTable[Agent](tx, "agent"), Requests: memstore.NewTable[Request](tx, "job request"), Tx: tx,
		Clock: func() time.Time { return c.now }, LeaseTTL: 30 * time.Second, LostAfter: 5 * time.Minute}
}

// Time in which the server did not listen counts against nobody.
func TestAbsence(t *testing.T) {
	c := &clock{time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)}
	s := newService(c)
	listen := func(seconds int) {
		for range seconds {
			c.tick(time.Second)
			s.Listen()
		}
	}
	s.Listen()
	s.Saw("a")
	listen(20)
	if got := s.Absent("a"); got != 20*time.Second {
		t.Errorf("after 20 s: %s", got)
	}
	c.tick(8 * time.Hour) // the machine sleeps
	listen(7)
	if got := s.Absent("a"); got != 6*time.Second { // the first beat after the pause begins anew
		t.Errorf("7 s after a pause: %s", got)
	}
	c.now = c.now.Add(-time.Hour) // its clock is set
	listen(5)
	if got := s.Absent("a"); got > 5*time.Second || got < 0 {
		t.Errorf("after a clock was set: %s", got)
	}
	if got := s.Absent("never seen"); got > 5*time.Second || got < 0 {
		t.Errorf("an agent that was never seen: %s", got)
	}
	s.Gone("a")
	s.Waits("a") // a request that was open does not bring it back
	if !s.silence("a").Gone {
		t.Error("it has gone")
	}
	s.Saw("a")
	if s.silence("a").Gone {
		t.Error("it is back")
	}
}

// What an earlier process asked, or an earlier question, is not answered.
func TestAttend(t *testing.T) {
	s := newService(&clock{})
	for i, c := range []struct {
		session string
		number  int
		want    bool
	}{{"one", 1, true}, {"one", 1, true}, {"one", 3, true}, {"one", 2, false}, {"two", 1, true}, {"one", 4, false}, {"two", 2, true}, {"three", 1, true}, {"two", 9, false}, {"one", 9, false}} {
		if got := s.Attend("a", c.session, c.number); got != c.want {
			t.Errorf("%d: %s %d: %t", i, c.session, c.number, got)
		}
	}
	if !s.Attend("b", "one", 1) {
		t.Error("another agent has its own")
	}
}

// However a job is handed out and taken back, at most one fencing number is ever
// accepted.
func TestOneFenceIsAccepted(t *testing.T) {
	c := &clock{time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)}
	s := newService(c)
	ctx := t.Context()
	for _, id := range []string{"a", "b"} {
		if err := s.Agents.Insert(ctx, &Agent{ID: id, PoolID: "p", Key: id}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Queue(ctx, &Request{ID: "j", PoolID: "p"}); err != nil {
		t.Fatal(err)
	}
	first, err := s.AssignJob(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.HandAgain(ctx, "a", "j", first.Fence)
	if err != nil || second == nil || second.Fence != first.Fence+1 {
		t.Fatalf("%+v %v", second, err)
	}
	if again, err := s.HandAgain(ctx, "a", "j", first.Fence); again != nil || err != nil {
		t.Errorf("by an old number: %+v %v", again, err)
	}
	if _, err := s.Renew(ctx, "a", "j", first.Fence); fault.CodeOf(err) != "lease-lost" {
		t.Errorf("the first number is accepted: %v", err)
	}
	r, err := s.Requests.Get(ctx, "j")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Requeue(ctx, r); err != nil {
		t.Fatal(err)
	}
	third, err := s.AssignJob(ctx, "b")
	if err != nil || third == nil || third.Fence != second.Fence+1 {
		t.Fatalf("%+v %v", third, err)
	}
	if _, err := s.Renew(ctx, "a", "j", second.Fence); fault.CodeOf(err) != "lease-lost" {
		t.Errorf("the second number is accepted: %v", err)
	}
	if _, err := s.Renew(ctx, "b", "j", third.Fence); err != nil {
		t.Fatal(err)
	}
	if again, err := s.HandAgain(ctx, "b", "j", third.Fence); again != nil || err != nil {
		t.Errorf("an accepted job is handed out again: %+v %v", again, err)
	}
	if r, err = s.Requests.Get(ctx, "j"); err != nil {
		t.Fatal(err)
	}
	if err := s.Requeue(ctx, r); fault.CodeOf(err) != "job-accepted" {
		t.Errorf("an accepted job is queued again: %v", err)
	}
	rev := r.Rev()
	if _, err := s.Renew(ctx, "b", "j", third.Fence); err != nil {
		t.Fatal(err)
	}
	if r, _ = s.Requests.Get(ctx, "j"); r.Rev() != rev {
		t.Error("a lease that holds long enough is written again")
	}
}
