package agentpool

import (
	"context"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/store"
)

// Fate is what becomes of a job that was handed to an agent.
type Fate string

// The fates of a job.
const (
	Keep      Fate = "keep"      // it runs, or may come back
	Again     Fate = "again"     // the agent never had it: it is handed out again
	Abandoned Fate = "abandoned" // nobody can end it any more
)

// FateAtPoll decides about a job when the agent it was handed to asks for work.
// An agent names every job that it has accepted until the server has its end, so
// a job that it does not name is not running there.
func FateAtPoll(r *Request, named bool) Fate {
	switch {
	case r.State != Assigned || named:
		return Keep
	case r.Accepted || r.CancelRequested:
		return Abandoned
	}
	return Again
}

// Silence is what the server knows of an agent that does not report.
type Silence struct {
	Absent time.Duration // while the server listened
	Gone   bool          // it said goodbye, or was switched off
}

// FateInSilence decides about a job whose agent does not report. A lease that has
// run out does not end a job: the server may have been away itself, and the agent
// may come back with its fencing number until lostAfter is over.
func FateInSilence(r *Request, now time.Time, s Silence, ttl, lostAfter time.Duration) Fate {
	switch {
	case r.State != Assigned || r.Lease.After(now) || s.Absent <= ttl:
		return Keep
	case !r.Accepted && !r.CancelRequested:
		return Again
	case r.Accepted && !s.Gone && s.Absent <= max(lostAfter, ttl):
		return Keep
	}
	return Abandoned
}

// silence is what is known of an agent.
func (s *Service) silence(agentID string) Silence {
	absent := s.Absent(agentID)
	s.mu.Lock()
	defer s.mu.Unlock()
	return Silence{Absent: absent, Gone: s.presence.gone[agentID]}
}

// Given lists the jobs that an agent was handed and that have not ended.
func (s *Service) Given(ctx context.Context, agentID string) ([]*Request, error) {
	return s.Requests.Find(ctx, store.Where("agent_id", agentID).And("state", string(Assigned)))
}

// Silent lists the requests whose lease has run out, with what becomes of them;
// those that are kept are left out.
func (s *Service) Silent(ctx context.Context) (map[*Request]Fate, error) {
	now := s.Clock.Now()
	list, err := s.Requests.Find(ctx, store.Where("state", string(Assigned)).AndOp("lease", store.Lt, now))
	fates := map[*Request]Fate{}
	for _, r := range list {
		if f := FateInSilence(r, now, s.silence(r.AgentID), s.LeaseTTL, s.LostAfter); f != Keep {
			fates[r] = f
		}
	}
	return fates, err
}

// Renew extends a lease and tells whether the job is to be canceled. The first
// renewal accepts the job: the agent runs no step before it is answered, so a job
// without it can be handed out again.
func (s *Service) Renew(ctx context.Context, agentID, jobID string, fence int) (cancel bool, err error) {
	err = s.Tx.InTx(ctx, func(ctx context.Context) error {
		r, err := s.Hold(ctx, agentID, jobID, fence)
		if err != nil {
			return err
		}
		cancel = r.CancelRequested
		now := s.Clock.Now()
		if r.Accepted && r.Lease.Sub(now) > s.LeaseTTL*2/3 {
			return nil // long enough: nothing is written
		}
		r.Accepted, r.Lease = true, now.Add(s.LeaseTTL)
		return s.Requests.Save(ctx, r)
	})
	return cancel, err
}

// HandAgain gives a job that was not accepted to the same agent once more, under
// a new fencing number; nil: it is not there to be given any more.
func (s *Service) HandAgain(ctx context.Context, agentID, jobID string, fence int) (again *Request, err error) {
	err = s.Tx.InTx(ctx, func(ctx context.Context) error {
		r, err := s.Hold(ctx, agentID, jobID, fence)
		if err != nil || r.Accepted || r.CancelRequested {
			if fault.Is(err, fault.Conflict) {
				err = nil
			}
			return err
		}
		r.Fence, r.Lease = r.Fence+1, s.Clock.Now().Add(s.LeaseTTL)
		again = r
		return s.Requests.Save(ctx, r)
	})
	return again, err
}

// Requeue puts a job that was not accepted back into the queue; any agent that
// fits may have it. It runs in the transaction of ctx.
func (s *Service) Requeue(ctx context.Context, r *Request) error {
	if err := RequestMoves.Check("job request", r.State, Queued); err != nil {
		return err
	}
	if r.Accepted {
		return fault.New(fault.Conflict, "job-accepted", "the job was accepted by agent %s and may have run", r.AgentID)
	}
	r.State = Queued
	if r.PoolID != "" { // otherwise it is addressed to this agent
		r.AgentID = ""
	}
	return s.Requests.Save(ctx, r)
}
