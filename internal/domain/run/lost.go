package run

import (
	"context"
	"fmt"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/agentpool"
	"penstock.dev/penstock/internal/domain/pipeline"
)

// EndLostJobs decides about the jobs whose agents are silent, and ends those that
// wait in vain for one. It is called every second.
func (s *Service) EndLostJobs(ctx context.Context) error {
	s.Pools.Listen()
	if err := s.endStranded(ctx); err != nil {
		return err
	}
	silent, err := s.Pools.Silent(ctx)
	if err != nil {
		return err
	}
	for req, fate := range silent {
		if fate == agentpool.Again {
			err = s.requeue(ctx, req)
		} else {
			err = s.endAbandoned(ctx, req, fmt.Sprintf("agent %%s was lost: not heard of for %s", s.Pools.Absent(req.AgentID).Round(time.Second)))
		}
		if err != nil && !fault.Is(err, fault.Conflict) {
			return err
		}
	}
	return nil
}

// SettleJobs decides about the jobs that an agent was handed and does not name
// when it asks for work. It returns the one that is handed to it again, if any.
// names says whether the agent names a job; free, whether it can take one.
func (s *Service) SettleJobs(ctx context.Context, agentID string, names func(jobID string) bool, free bool) (*agentpool.Request, error) {
	given, err := s.Pools.Given(ctx, agentID)
	if err != nil {
		return nil, err
	}
	for _, req := range given {
		switch agentpool.FateAtPoll(req, names(req.ID)) {
		case agentpool.Abandoned:
			if err := s.endAbandoned(ctx, req, "agent %s was started again and knows nothing of the job any more"); err != nil && !fault.Is(err, fault.Conflict) {
				return nil, err
			}
		case agentpool.Again:
			if !free {
				continue
			}
			if again, err := s.Pools.HandAgain(ctx, agentID, req.ID, req.Fence); again != nil || err != nil {
				return again, err
			}
		}
	}
	return nil, nil
}

// requeue puts a job back that no agent has begun.
func (s *Service) requeue(ctx context.Context, req *agentpool.Request) error {
	err := s.Tx.InTx(ctx, func(ctx context.Context) error {
		fresh, err := s.Pools.Hold(ctx, req.AgentID, req.ID, req.Fence)
		if err != nil || fresh.Accepted {
			return err
		}
		if err := s.revokeJobTokens(ctx, req.ID); err != nil {
			return err
		}
		return s.Pools.Requeue(ctx, fresh)
	})
	if err == nil {
		s.Pools.Wake()
	}
	return err
}

// endAbandoned ends a job that its agent will not end; the cause has a place for
// the agent's name. A lease that was renewed since keeps the job.
func (s *Service) endAbandoned(ctx context.Context, req *agentpool.Request, cause string) error {
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		fresh, err := s.Pools.Hold(ctx, req.AgentID, req.ID, req.Fence)
		if err != nil || fresh.Lease.After(req.Lease) {
			return err
		}
		j, err := s.Jobs.Get(ctx, req.ID)
		if err != nil {
			return err
		}
		result, why := Failed, fmt.Sprintf(cause, j.AgentName)
		switch {
		case fresh.CancelRequested && !fresh.Accepted:
			result, why = Canceled, "" // it had not begun
		case fresh.CancelRequested:
			result = Canceled
		}
		fresh.Lost = true
		return s.endJob(ctx, req.ID, fresh, result, why, nil)
	})
}

// endStranded ends jobs addressed to a machine that is not there: the hooks
// that follow a failure soon, because nobody waits for them but the end of the
// run, any other job when its own time is over.
func (s *Service) endStranded(ctx context.Context) error {
	waiting, err := s.Pools.Addressed(ctx)
	if err != nil {
		return err
	}
	for _, req := range waiting {
		absent := s.Pools.Absent(req.AgentID)
		if absent <= s.Pools.LeaseTTL {
			continue
		}
		d, err := s.Load(ctx, req.RunID)
		if err != nil {
			return err
		}
		j, err := s.Jobs.Get(ctx, req.ID)
		if err != nil {
			return err
		}
		limit := time.Duration(d.spec(j).TimeoutInMinutes) * time.Minute
		after := j.Hook == pipeline.HookOnFailure || j.Hook == pipeline.HookOnSuccess
		if !after && (limit == 0 || s.Clock.Now().Sub(req.Queued) < limit) {
			continue
		}
		err = s.Tx.InTx(ctx, func(ctx context.Context) error {
			fresh, err := s.Pools.Requests.Get(ctx, req.ID)
			if err != nil || fresh.State != agentpool.Queued {
				return err
			}
			return s.endJob(ctx, j.ID, fresh, Failed, fmt.Sprintf("VM %s is not there: its agent has not been heard of for %s", j.Target.Name, absent.Round(time.Second)), nil)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
