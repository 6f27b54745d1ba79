package run

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/outbox"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/agentpool"
	"penstock.dev/penstock/internal/domain/identity"
)

// Cancel asks a run to end. What runs is interrupted, what has not begun is not
// begun, steps with always() still run.
func (s *Service) Cancel(ctx context.Context, id string) (*Run, error) {
	by := identity.From(ctx)
	var r *Run
	err := s.Tx.InTx(ctx, func(ctx context.Context) error {
		var err error
		if r, err = s.Runs.Get(ctx, id); err != nil {
			return err
		}
		if r.State == Completed {
			return fault.New(fault.Conflict, "run-ended", "run %s has ended already: %s", id, r.Result)
		}
		if r.CancelRequested {
			return nil
		}
		r.CancelRequested, r.CanceledBy, r.CanceledAt = true, by.Name, s.Clock.Now()
		if err := s.Runs.Save(ctx, r); err != nil {
			return err
		}
		if err := s.Audit.Record(ctx, by.Name, "run.cancel", "run "+id, r.Pipeline); err != nil {
			return err
		}
		return s.Tx.Emit(ctx, outbox.New(TopicAdvance, id, id))
	})
	if err == nil {
		s.Pools.Wake()
	}
	return r, err
}

// Rerun makes a further attempt of stages that have ended: of one by name with
// all of its jobs, or (stage "") of every stage that did not succeed, in which
// jobs that did stand. Stages that depend on them are tried again too.
func (s *Service) Rerun(ctx context.Context, id, stage string) (*Run, error) {
	by := identity.From(ctx)
	var r *Run
	err := s.Tx.InTx(ctx, func(ctx context.Context) error {
		d, err := s.Load(ctx, id)
		if err != nil {
			return err
		}
		r = d.Run
		if d.Plan == nil {
			return fault.New(fault.Conflict, "nothing-to-rerun", "run %s never began: its file has errors", id).Try("correct the file and push")
		}
		if r.State != Completed {
			return fault.New(fault.Conflict, "run-active", "run %s has not ended", id).Try("penstock run cancel %s", id)
		}
		g := d.latest()
		again := pickStages(g, stage)
		if len(again) == 0 {
			return fault.New(fault.Conflict, "nothing-to-rerun", "run %s has no such stage to run again", id).Want("a stage that did not succeed, or --stage NAME")
		}
		for _, st := range again {
			spec := d.Plan.Stage(st.Name)
			if err := s.Stages.Insert(ctx, newStage(id, *spec, st.Order, st.Attempt+1)); err != nil {
				return err
			}
			if stage == "" && !waits(st, again) {
				if err := s.keep(ctx, g, st); err != nil {
					return err
				}
			}
		}
		return s.reopen(ctx, r, by)
	})
	return r, err
}

// reopen lets a completed run go on: the one place where completed is left,
// because its new attempts are not.
func (s *Service) reopen(ctx context.Context, r *Run, by identity.Subject) error {
	r.State, r.Result, r.CancelRequested, r.CanceledBy, r.Cause = InProgress, "", false, "", ""
	if err := s.Runs.Save(ctx, r); err != nil {
		return err
	}
	if err := s.Audit.Record(ctx, by.Name, "run.rerun", "run "+r.ID, r.Pipeline); err != nil {
		return err
	}
	return s.Tx.Emit(ctx, outbox.New(TopicAdvance, r.ID, r.ID))
}

// keep takes over into the next attempt of a stage what need not be done again:
// jobs that went well and wait for none that did not, and legs that went well of
// a job that did not. What they published and set stays.
func (s *Service) keep(ctx context.Context, g *graph, st *Stage) error {
	for _, p := range g.phases {
		if p.Stage != st.Name || !g.stand(g.spec(p).DependsOn, p.Stage) {
			continue
		}
		if good(p.Result) {
			next := *p
			next.Revision, next.Attempt, next.Stands = store.Revision{}, st.Attempt+1, true
			next.ID = phaseID(g.run.ID, p.Stage, p.Name, next.Attempt)
			if err := s.Phases.Insert(ctx, &next); err != nil {
				return err
			}
		}
		for _, j := range g.jobsOf(p) {
			if !good(p.Result) && (!good(j.Result) || j.Hook != "") {
				continue
			}
			j.Until = st.Attempt + 1
			if err := s.Jobs.Save(ctx, j); err != nil {
				return err
			}
		}
	}
	return nil
}

// stand says whether jobs and all that they waited for went well.
func (g *graph) stand(names []string, stage string) bool {
	return !slices.ContainsFunc(names, func(name string) bool {
		p := g.phase(stage, name)
		return p != nil && (!good(p.Result) || !g.stand(g.spec(p).DependsOn, stage))
	})
}

func phaseID(run, stage, name string, attempt int) string {
	return fmt.Sprintf("%s/%s/%s/%d", run, stage, name, attempt)
}

// pickStages are the stages to try again: the one of the name, or those that
// failed or were canceled, and whatever depends on them, directly or not.
func pickStages(g *graph, name string) []*Stage {
	var list []*Stage
	for range g.stages {
		for _, st := range g.stages {
			picked := name == "" && !good(st.Result) && st.Result != Skipped || name != "" && strings.EqualFold(st.Name, name)
			if (picked || waits(st, list)) && !slices.Contains(list, st) {
				list = append(list, st)
			}
		}
	}
	slices.SortStableFunc(list, func(a, b *Stage) int { return a.Order - b.Order })
	return list
}

// waits says whether a stage depends on one of a list.
func waits(st *Stage, list []*Stage) bool {
	return slices.ContainsFunc(list, func(other *Stage) bool {
		return slices.ContainsFunc(st.DependsOn, func(name string) bool { return strings.EqualFold(name, other.Name) })
	})
}

// numbers takes the next number of a key, the first time the given one. It belongs
// in a transaction, which has to be undone when failed is set.
func (s *Service) numbers(ctx context.Context, failed *error) func(key string, first int) int {
	return func(key string, first int) int {
		n, err := s.Tx.NextFrom(ctx, key, first)
		if err != nil {
			*failed = err
		}
		return n
	}
}

// emit turns effects into requests and outbox messages, in the transaction.
func (s *Service) emit(ctx context.Context, g *graph) error {
	for _, j := range g.effects.queue {
		if err := s.request(ctx, g, j); err != nil {
			return err
		}
	}
	for _, j := range g.effects.serve {
		if err := s.Tx.Emit(ctx, outbox.New(TopicServerJob, j.ID, j.ID)); err != nil {
			return err
		}
	}
	for _, j := range g.effects.cancel {
		if err := s.cancelJob(ctx, g.run.ID, j); err != nil {
			return err
		}
	}
	for _, at := range g.effects.again {
		if err := s.Tx.Emit(ctx, outbox.New(TopicAdvance, g.run.ID, g.run.ID).At(at)); err != nil {
			return err
		}
	}
	for _, p := range g.effects.pin {
		if err := s.Tx.Emit(ctx, outbox.New(TopicPin, p.ID, p.ID)); err != nil {
			return err
		}
	}
	for _, p := range g.effects.settled {
		if err := s.settleDeployment(ctx, g, p); err != nil {
			return err
		}
	}
	for _, st := range g.effects.ended {
		if err := s.Environments.Release(ctx, g.run.ID, st.Name); err != nil {
			return err
		}
		if err := s.Environments.CancelOf(ctx, g.run.ID, st.Name, ""); err != nil {
			return err
		}
		if !g.effects.done && good(st.Result) {
			if err := s.Tx.Emit(ctx, outbox.New(TopicStage, g.run.ID, g.run.ID)); err != nil {
				return err
			}
		}
	}
	if g.effects.done {
		return s.Tx.Emit(ctx, outbox.New(TopicCompleted, g.run.ID, g.run.ID))
	}
	return nil
}

// request asks the pool for an agent. A pool that does not exist fails the job
// with a cause instead of waiting for ever.
func (s *Service) request(ctx context.Context, g *graph, j *Job) error {
	r := &agentpool.Request{ID: j.ID, RunID: j.RunID, AgentID: j.Target.AgentID}
	spec := g.spec(g.phase(j.Stage, j.Phase))
	if r.AgentID == "" {
		name := j.PoolName
		if s.OnePool != "" {
			name = s.OnePool
		}
		if name == "" {
			name = "default" // vmImage and no pool at all
		}
		pool, err := s.Pools.FindPool(ctx, name)
		if fault.Is(err, fault.NotFound) {
			j.State, j.Result, j.Cause, j.Finished = Completed, Failed, fmt.Sprintf("there is no agent pool %s: penstock pool list", name), s.Clock.Now()
			if err := s.Jobs.Save(ctx, j); err != nil {
				return err
			}
			return s.Tx.Emit(ctx, outbox.New(TopicAdvance, j.RunID, j.RunID))
		}
		if err != nil {
			return err
		}
		r.PoolID = pool.ID
		if s.OnePool == "" { // what demands mean belongs to the pool that was asked for
			for _, demand := range spec.Pool.Demands {
				r.Demands = append(r.Demands, ofLeg(j.Leg, demand))
			}
		}
	}
	return s.Pools.Queue(ctx, r)
}

func (s *Service) cancelJob(ctx context.Context, runID string, j *Job) error {
	if j.Server {
		if err := s.Environments.CancelOf(ctx, runID, "", j.ID); err != nil {
			return err
		}
		return s.Tx.Emit(ctx, outbox.New(TopicServerJob, j.ID, j.ID))
	}
	ended, err := s.Pools.Cancel(ctx, j.ID)
	if err != nil || !ended {
		return err
	}
	j.State, j.Result, j.Finished = Completed, Canceled, s.Clock.Now()
	if err := s.Jobs.Save(ctx, j); err != nil {
		return err
	}
	return s.Tx.Emit(ctx, outbox.New(TopicAdvance, runID, runID))
}
