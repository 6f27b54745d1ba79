package run

import (
	"context"
	"fmt"
	"slices"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/outbox"
	"penstock.dev/penstock/internal/base/store"
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
			if stage == "" && !good(st.Result) {
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
// jobs that went well and wait for none that did not. What they published and
// set stays.
func (s *Service) keep(ctx context.Context, g *graph, st *Stage) error {
	for _, p := range g.phases {
		if p.Stage != st.Name || !g.stands(p) {
			continue
		}
		next := *p
		next.Revision, next.Attempt = store.Revision{}, st.Attempt+1
		next.ID = phaseID(g.run.ID, p.Stage, p.Name, next.Attempt)
		if err := s.Phases.Insert(ctx, &next); err != nil {
			return err
		}
		for _, j := range g.jobsOf(p) {
			j.Until = next.Attempt
			if err := s.Jobs.Save(ctx, j); err != nil {
				return err
			}
		}
	}
	return nil
}

// stands says whether a job and all that it waited for went well.
func (g *graph) stands(p *Phase) bool {
	return good(p.Result) && !slices.ContainsFunc(g.spec(p).DependsOn, func(name string) bool {
		before := g.phase(p.Stage, name)
		return before != nil && !g.stands(before)
	})
}

func phaseID(run, stage, name string, attempt int) string {
	return fmt.Sprintf("%s/%s/%s/%d", run, stage, name, attempt)
}

func pickStages(g *graph, name string) []*Stage {
	again := map[string]*Stage{}
	for _, st := range g.stages {
		if name == "" && !good(st.Result) || name != "" && st.Name == name {
			again[st.Name] = st
		}
	}
	for range g.stages { // whatever depends on them, directly or not
		for _, st := range g.stages {
			if slices.ContainsFunc(st.DependsOn, func(d string) bool { return again[d] != nil }) {
				again[st.Name] = st
			}
		}
	}
	var list []*Stage
	for _, st := range g.stages {
		if again[st.Name] != nil {
			list = append(list, st)
		}
	}
	return list
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
