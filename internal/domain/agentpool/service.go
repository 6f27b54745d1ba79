package agentpool

import (
	"context"
	"strconv"
	"sync"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/base/telemetry"
	"penstock.dev/penstock/internal/domain/audit"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/pipeline"
)

// Service holds the use cases of pools and agents.
type Service struct {
	Pools    store.Table[Pool]
	Agents   store.Table[Agent]
	Requests store.Table[Request]
	Tx       store.Runner
	Audit    *audit.Service
	Identity *identity.Service
	Clock    store.Clock
	LeaseTTL time.Duration // how long a renewal holds
	// LostAfter is how long an agent may be silent, while this server listens,
	// before a job that it has accepted counts as lost; at least LeaseTTL.
	LostAfter time.Duration

	mu       sync.Mutex
	wake     chan struct{}
	presence presence
}

// EnsurePool returns the pool of that name, making it if missing.
func (s *Service) EnsurePool(ctx context.Context, name string) (*Pool, error) {
	p, err := store.First(ctx, s.Pools, store.Where("key", lower(name)))
	if err != nil || p != nil {
		return p, err
	}
	if err := identity.CheckName("pool", name); err != nil {
		return nil, err
	}
	err = s.Tx.InTx(ctx, func(ctx context.Context) error {
		n, err := s.Tx.Next(ctx, "pool")
		if err != nil {
			return err
		}
		p = &Pool{ID: strconv.Itoa(n), Num: n, Key: lower(name), Name: name}
		return s.Pools.Insert(ctx, p)
	})
	return p, err
}

// FindPool returns a pool by name; fault.NotFound with the names there are.
func (s *Service) FindPool(ctx context.Context, name string) (*Pool, error) {
	p, err := store.First(ctx, s.Pools, store.Where("key", lower(name)))
	if err == nil && p == nil {
		err = fault.New(fault.NotFound, "pool-not-found", "no agent pool %s", name).Try("penstock pool list")
	}
	return p, err
}

// Registration is what an agent says of itself when it joins.
type Registration struct {
	Name         string
	Version      string
	Capabilities map[string]string
	Jobs         int
	VM           string // set by the server from the join token, never by the agent
	Scope        string // what the name is unique in: pool or environment id
	PoolID       string
}

// Register makes an agent, or lets one of the same name come back with a new
// key. The key is returned once.
func (s *Service) Register(ctx context.Context, r Registration) (a *Agent, key string, err error) {
	if err := identity.CheckName("agent", r.Name); err != nil {
		return nil, "", err
	}
	err = s.Tx.InTx(ctx, func(ctx context.Context) error {
		unique := r.Scope + "/" + lower(r.Name)
		if a, err = store.First(ctx, s.Agents, store.Where("key", unique)); err != nil {
			return err
		}
		if a == nil {
			n, err := s.Tx.Next(ctx, "agent")
			if err != nil {
				return err
			}
			a = &Agent{ID: strconv.Itoa(n), Num: n, Key: unique, Created: s.Clock.Now()}
		} else if err := s.revokeKeys(ctx, a.ID); err != nil {
			return err
		}
		a.PoolID, a.Name, a.VM, a.Version, a.Capabilities, a.Jobs = r.PoolID, r.Name, r.VM, r.Version, r.Capabilities, max(r.Jobs, 1)
		if a.Rev() == 0 {
			err = s.Agents.Insert(ctx, a)
		} else {
			err = s.Agents.Save(ctx, a)
		}
		if err != nil {
			return err
		}
		if key, _, err = s.Identity.IssueToken(ctx, identity.Token{Kind: identity.AgentToken, OwnerID: a.ID, Name: a.Name}); err != nil {
			return err
		}
		return s.Audit.Record(ctx, identity.From(ctx).Name, "agent.register", "agent "+a.Name, "")
	})
	return a, key, err
}

func (s *Service) revokeKeys(ctx context.Context, agentID string) error {
	keys, err := s.Identity.Tokens.Find(ctx, store.Where("owner_id", agentID).And("kind", string(identity.AgentToken)))
	if err != nil {
		return err
	}
	for _, k := range keys {
		if err := s.Identity.Tokens.Delete(ctx, k.ID); err != nil {
			return err
		}
	}
	return nil
}

// Remove deletes an agent and its key.
func (s *Service) Remove(ctx context.Context, id string) error {
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		a, err := s.Agents.Get(ctx, id)
		if err != nil {
			return err
		}
		if err := s.revokeKeys(ctx, id); err != nil {
			return err
		}
		if err := s.Agents.Delete(ctx, id); err != nil {
			return err
		}
		return s.Audit.Record(ctx, identity.From(ctx).Name, "agent.remove", "agent "+a.Name, "")
	})
}

// Queue stores a request in the transaction of ctx. The caller wakes the agents
// after commit.
func (s *Service) Queue(ctx context.Context, r *Request) error {
	r.State, r.Queued = Queued, s.Clock.Now()
	return s.Requests.Insert(ctx, r)
}

// Wake lets every waiting agent look for work again.
func (s *Service) Wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wake != nil {
		close(s.wake)
		s.wake = nil
	}
}

// Woken returns a channel that closes at the next Wake.
func (s *Service) Woken() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wake == nil {
		s.wake = make(chan struct{})
	}
	return s.wake
}

// AssignJob hands the oldest fitting request to an agent; nil if there is none.
func (s *Service) AssignJob(ctx context.Context, agentID string) (*Request, error) {
	a, err := s.Agents.Get(ctx, agentID)
	if err != nil {
		return nil, err
	}
	// Looking costs nothing; only a find takes the writer.
	if found, err := s.pick(ctx, a); found == nil || err != nil {
		return nil, err
	}
	ctx, span := telemetry.Start(ctx, "agentpool.AssignJob", "agent", a.Name)
	defer span.End()
	var assigned *Request
	err = s.Tx.InTx(ctx, func(ctx context.Context) error {
		r, err := s.pick(ctx, a)
		if r == nil || err != nil {
			return err
		}
		if err := RequestMoves.Check("job request", r.State, Assigned); err != nil {
			return err
		}
		r.State, r.AgentID, r.Fence, r.Accepted, r.Lease = Assigned, a.ID, r.Fence+1, false, s.Clock.Now().Add(s.LeaseTTL)
		assigned = r
		return s.Requests.Save(ctx, r)
	})
	if err != nil {
		return nil, err
	}
	return assigned, nil
}

func (s *Service) pick(ctx context.Context, a *Agent) (*Request, error) {
	pinned, err := s.Requests.Find(ctx, store.Where("state", string(Queued)).And("agent_id", a.ID).By("queued").Top(1))
	if err != nil {
		return nil, err
	}
	open, err := s.Requests.Find(ctx, store.Where("state", string(Queued)).And("pool_id", a.PoolID).By("queued").Top(100))
	if err != nil {
		return nil, err
	}
	for _, r := range append(pinned, open...) {
		if Fits(r, a, pipeline.MatchDemand) {
			return r, nil
		}
	}
	return nil, nil
}

// Hold checks that an agent still holds a job under a fencing number. Anything
// an agent reports is refused without it.
func (s *Service) Hold(ctx context.Context, agentID, jobID string, fence int) (*Request, error) {
	r, err := s.Requests.Get(ctx, jobID)
	if err != nil {
		return nil, err
	}
	if r.State != Assigned || r.AgentID != agentID || r.Fence != fence {
		return r, fault.New(fault.Conflict, "lease-lost", "the job is not yours (any more)").
			Want("agent %s, fence %d, state assigned", r.AgentID, r.Fence).Got("agent %s, fence %d; the job is %s", agentID, fence, r.State)
	}
	return r, nil
}

// Finish ends a request in the transaction of ctx, whoever holds it.
func (s *Service) Finish(ctx context.Context, r *Request) error {
	if err := RequestMoves.Check("job request", r.State, Completed); err != nil {
		return err
	}
	r.State = Completed
	return s.Requests.Save(ctx, r)
}

// Cancel asks for the end of a job. It reports whether the request had not been
// assigned yet, in which case it has ended.
func (s *Service) Cancel(ctx context.Context, jobID string) (ended bool, err error) {
	r, err := s.Requests.Get(ctx, jobID)
	if err != nil {
		return false, err
	}
	switch r.State {
	case Queued:
		return true, s.Finish(ctx, r)
	case Completed:
		return true, nil
	}
	if r.CancelRequested {
		return false, nil
	}
	r.CancelRequested = true
	return false, s.Requests.Save(ctx, r)
}

// Addressed lists the queued requests that only one agent can take.
func (s *Service) Addressed(ctx context.Context) ([]*Request, error) {
	return s.Requests.Find(ctx, store.Where("state", string(Queued)).AndOp("agent_id", store.Ne, ""))
}
