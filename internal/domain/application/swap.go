package application

import (
	"context"
	"fmt"
	"slices"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/base/outbox"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/base/telemetry"
	"penstock.dev/penstock/internal/domain/identity"
)

// SwapRequest asks for a swap, or for the way back.
type SwapRequest struct {
	ExpectRelease    string
	ExpectGeneration uint64 // rollback: refuse if something moved since; 0 = any
	RunID            string // of the job that asks, "" = by hand
	Key              string // run, job and attempt: the same key attaches to its swap
	OnlyThisRun      bool   // rollback: undo only what this run did
	DryRun           bool
}

// TopicExpire lets a slot that was kept for rollback become idle.
const TopicExpire = "slot.expire"

// ExpirePrevious gives up the warm slot of an application whose time is over.
func (s *Service) ExpirePrevious(ctx context.Context, appID string) error {
	s.traffic.Lock()
	defer s.traffic.Unlock()
	a, err := s.Apps.Get(ctx, appID)
	if err != nil {
		return err
	}
	kept := a.WithRole(Previous)
	if kept == nil || kept.KeptUntil.IsZero() || kept.KeptUntil.After(s.Clock.Now()) {
		return nil
	}
	kept.Role, kept.KeptUntil = Idle, time.Time{}
	return s.serve(ctx, a, "slot.expire", "slot "+kept.Name)
}

// TopicDrain follows a swap until the old side is empty.
const TopicDrain = "swap.drain"

// Swap exchanges staging and production and returns when users are on the new
// side. Before that, nothing has moved and an error leaves all as it was.
func (s *Service) Swap(ctx context.Context, projectID, app string, r SwapRequest) (*Swap, error) {
	ctx, span := telemetry.Start(ctx, "application.Swap", "application", app)
	defer span.End()
	s.traffic.Lock()
	defer s.traffic.Unlock()
	a, err := s.Find(ctx, projectID, app)
	if err != nil {
		return nil, err
	}
	if old, err := s.attach(ctx, a, r.Key); err != nil || old != nil {
		return old, err
	}
	roles, err := PlanSwap(a, r.ExpectRelease)
	if err != nil {
		return nil, err
	}
	return s.move(ctx, a, roles, &Swap{RunID: r.RunID, Key: r.Key}, r.DryRun)
}

// Rollback makes the warm previous release production again. It waits for no
// check, redeploys nothing, and does nothing where there is nothing to undo: it
// then returns the last swap, unchanged.
func (s *Service) Rollback(ctx context.Context, projectID, app string, r SwapRequest) (*Swap, error) {
	ctx, span := telemetry.Start(ctx, "application.Rollback", "application", app)
	defer span.End()
	s.traffic.Lock()
	defer s.traffic.Unlock()
	a, err := s.Find(ctx, projectID, app)
	if err != nil {
		return nil, err
	}
	last, err := s.last(ctx, a)
	if err != nil {
		return nil, err
	}
	if r.OnlyThisRun && (last == nil || last.RunID != r.RunID || last.Rollback) {
		return nil, nil
	}
	if r.ExpectGeneration != 0 && last != nil && last.Generation != r.ExpectGeneration {
		return nil, fault.New(fault.Conflict, "other-generation", "something moved since").Want("generation %d", r.ExpectGeneration).Got("generation %d", last.Generation)
	}
	roles, done, err := PlanRollback(a, last)
	if err != nil {
		return nil, err
	}
	if done {
		return last, nil
	}
	return s.move(ctx, a, roles, &Swap{RunID: r.RunID, Key: r.Key, Rollback: true}, r.DryRun)
}

func (s *Service) last(ctx context.Context, a *Application) (*Swap, error) {
	if a.LastSwap == "" {
		return nil, nil
	}
	return s.Swaps.Get(ctx, a.LastSwap)
}

func (s *Service) attach(ctx context.Context, a *Application, key string) (*Swap, error) {
	if key == "" || a.LastSwap == "" {
		return nil, nil
	}
	last, err := s.last(ctx, a)
	if err == nil && last.Key == key && !last.Rollback {
		return last, nil
	}
	return nil, err
}

// move takes a planned exchange through probe, preparation and publication.
func (s *Service) move(ctx context.Context, a *Application, roles []RoleOf, w *Swap, dry bool) (*Swap, error) {
	w.ID, w.AppID, w.State, w.Started, w.By, w.Before = id.New(), a.ID, SwapPreparing, s.Clock.Now(), identity.From(ctx).Name, a.roles()
	for _, r := range roles {
		if r.Role == Production {
			w.NewSlot = r.Slot
		}
	}
	if old := a.WithRole(Production); old != nil {
		w.OldSlot, w.OldRelease = old.Name, number(old.Release)
	}
	w.NewRelease = number(a.Slot(w.NewSlot).Release)
	if dry {
		w.State = SwapPreparing
		return w, s.examine(ctx, a, w)
	}
	if err := s.begin(ctx, a, w); err != nil {
		return nil, err
	}
	if err := s.examine(ctx, a, w); err != nil {
		return nil, s.giveUp(ctx, a, w, err)
	}
	a.setRoles(roles, s.Clock.Now())
	generation, err := s.prepare(ctx, a)
	if err != nil {
		return nil, s.giveUp(ctx, a, w, err)
	}
	w.note(s.Clock, true, "prepare", "every node holds generation %d, not yet in use", generation)
	if err := s.commit(ctx, a, w, generation); err != nil {
		return nil, s.giveUp(ctx, a, w, err)
	}
	return w, s.publish(ctx, a, w)
}

func number(r *Release) string {
	if r == nil {
		return ""
	}
	return r.Number
}

func (w *Swap) note(c store.Clock, ok bool, what, format string, args ...any) {
	w.Journal = append(w.Journal, JournalEntry{Time: c.Now(), OK: ok, What: what, Text: fmt.Sprintf(format, args...)})
}

func (s *Service) begin(ctx context.Context, a *Application, w *Swap) error {
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		if a.SwapID != "" {
			return fault.New(fault.Conflict, "swap-running", "another swap of %s is under way", a.Name).Try("penstock app show %s", a.Name)
		}
		a.SwapID = w.ID
		if err := s.Swaps.Insert(ctx, w); err != nil {
			return err
		}
		return s.Apps.Save(ctx, a)
	})
}

// examine probes the side that is to become production, and warms it.
func (s *Service) examine(ctx context.Context, a *Application, w *Swap) error {
	slot := a.Slot(w.NewSlot)
	health, err := s.Switch.Probe(ctx, a.Pool(slot.Name))
	if err != nil {
		return err
	}
	healthy, why := 0, ""
	for _, h := range health {
		if h.State == "healthy" {
			healthy++
			continue
		}
		why = fmt.Sprintf("%s: %s → %s", h.Backend, h.Address, h.Detail)
	}
	need, err := a.Spec.MinimumOf(len(slot.VMs))
	if err != nil {
		return err
	}
	if w.Rollback {
		need = 1 // in an emergency, one machine of the old release beats none
	}
	if healthy < need || healthy == 0 {
		return fault.New(fault.Unavailable, "not-healthy", "slot %s is not ready; production was not touched (generation %d)", slot.Name, a.Generation).
			Want("%d of %d VMs healthy", need, len(slot.VMs)).Got("%d healthy; %s", healthy, why).
			Try("penstock run logs of its deployment; then the same command again")
	}
	w.note(s.Clock, true, "probe", "%d of %d VMs of %s healthy", healthy, len(slot.VMs), slot.Name)
	if warm := a.Spec.Health.WarmUp; warm != nil && !w.Rollback {
		within := time.Duration(warm.Within)
		if within == 0 {
			within = time.Minute
		}
		p99, err := s.Switch.WarmUp(ctx, a.Pool(slot.Name), WarmUp{Paths: warm.Paths, Requests: warm.Requests, Host: a.Spec.Names[Production][0], Within: within})
		if err != nil {
			return err
		}
		if limit := time.Duration(warm.P99); limit > 0 && p99 > limit {
			return fault.New(fault.Unavailable, "too-slow", "slot %s is not fast enough yet; production was not touched", slot.Name).
				Want("99 %% of the warm-up requests within %s", limit).Got("%s", p99.Round(time.Millisecond))
		}
		w.note(s.Clock, true, "warm", "%d requests, p99 %s", warm.Requests, p99.Round(time.Millisecond))
	}
	return nil
}

func (s *Service) commit(ctx context.Context, a *Application, w *Swap, generation uint64) error {
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := SwapMoves.Check("swap", w.State, SwapPublished); err != nil {
			return err
		}
		w.State, w.Generation, w.PublishedAt = SwapPublished, generation, s.Clock.Now()
		a.Generation, a.SwapID, a.LastSwap = generation, "", w.ID
		if err := s.Swaps.Save(ctx, w); err != nil {
			return err
		}
		if err := s.Apps.Save(ctx, a); err != nil {
			return err
		}
		action := map[bool]string{false: "application.swap", true: "application.rollback"}[w.Rollback]
		if err := s.Audit.Record(ctx, w.By, action, "application "+a.Name, fmt.Sprintf("generation %d: production is %s (%s)", generation, w.NewSlot, w.NewRelease)); err != nil {
			return err
		}
		after := []outbox.Message{outbox.New(TopicPublish, "traffic", generation), outbox.New(TopicDrain, w.ID, w.ID), outbox.New(TopicChanged, a.ID, a.ID)}
		if kept := a.WithRole(Previous); kept != nil {
			after = append(after, outbox.New(TopicExpire, a.ID, a.ID).At(kept.KeptUntil))
		}
		return s.Tx.Emit(ctx, after...)
	})
}

// publish moves the traffic. It is repeated by the outbox until every plane
// has confirmed; a failure here is said, but the decision is committed.
func (s *Service) publish(ctx context.Context, a *Application, w *Swap) error {
	began := time.Now()
	err := s.Switch.Publish(ctx, w.Generation)
	w.Moved = time.Since(began)
	w.note(s.Clock, err == nil, "publish", "dns and gateway confirmed generation %d in %s", w.Generation, w.Moved.Round(10*time.Microsecond))
	s.changed.notify(a.ID)
	if saveErr := s.Swaps.Save(ctx, w); saveErr != nil && !fault.Is(saveErr, fault.Conflict) {
		return saveErr
	}
	return err
}

func (s *Service) giveUp(ctx context.Context, a *Application, w *Swap, cause error) error {
	ctx = context.WithoutCancel(ctx)
	err := s.Tx.InTx(ctx, func(ctx context.Context) error {
		fresh, err := s.Apps.Get(ctx, a.ID)
		if err != nil {
			return err
		}
		fresh.SwapID = ""
		w.State, w.Cause = SwapFailed, cause.Error()
		w.note(s.Clock, false, "aborted", "%s", cause)
		if err := s.Swaps.Save(ctx, w); err != nil {
			return err
		}
		return s.Apps.Save(ctx, fresh)
	})
	s.changed.notify(a.ID)
	if err != nil {
		return fmt.Errorf("%w (and the swap could not be closed: %w)", cause, err)
	}
	return cause
}

// DrainOld follows a published swap to its end: the old side's requests, then
// the DNS answers that still name it. It is the handler of TopicDrain.
func (s *Service) DrainOld(ctx context.Context, swapID string, cachedUntil func(name, target string) time.Time) error {
	w, err := s.Swaps.Get(ctx, swapID)
	if err != nil || w.State != SwapPublished {
		return err
	}
	a, err := s.Apps.Get(ctx, w.AppID)
	if err != nil {
		return err
	}
	cut := 0
	// A swap since then may have made the old side production again.
	if old := a.Slot(w.OldSlot); old != nil && old.Role != Production {
		deadline := time.Duration(a.Spec.Drain.Requests)
		if cut, err = s.Switch.Drain(ctx, a.Pool(old.Name), deadline); err != nil && ctx.Err() != nil {
			return err
		}
		if until := cachedUntil(a.Spec.Names[Production][0], a.Pool(old.Name)); until.After(s.Clock.Now()) {
			return s.Tx.Emit(ctx, outbox.New(TopicDrain, w.ID, w.ID).At(until))
		}
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		w, err := s.Swaps.Get(ctx, swapID)
		if err != nil || w.State != SwapPublished {
			return err
		}
		w.State, w.DrainedAt, w.Cut = SwapDrained, s.Clock.Now(), cut
		w.note(s.Clock, cut == 0, "drain", "%s drained, %d requests cut", w.OldSlot, cut)
		if err := s.Swaps.Save(ctx, w); err != nil {
			return err
		}
		s.changed.notify(w.AppID)
		return s.Tx.Emit(ctx, outbox.New(TopicChanged, w.AppID, w.AppID))
	})
}

// Recover closes swaps that a crash left in preparation: nothing had moved.
func (s *Service) Recover(ctx context.Context) error {
	open, err := s.Swaps.Find(ctx, store.Where("state", string(SwapPreparing)))
	if err != nil {
		return err
	}
	for _, w := range open {
		a, err := s.Apps.Get(ctx, w.AppID)
		if err != nil {
			return err
		}
		cause := fault.New(fault.Unavailable, "interrupted", "the server was stopped before anything moved")
		if err := s.giveUp(ctx, a, w, cause); fault.CodeOf(err) != "interrupted" {
			return err
		}
	}
	return nil
}

// AwaitDrained waits until a swap has drained, or ctx ends.
func (s *Service) AwaitDrained(ctx context.Context, swapID string) (*Swap, error) {
	for {
		w, err := s.Swaps.Get(ctx, swapID)
		if err != nil || w.State != SwapPublished {
			return w, err
		}
		changed := s.changed.next(w.AppID)
		timer := time.NewTimer(time.Second) // a change just before the line above is seen a second later
		select {
		case <-ctx.Done():
			timer.Stop()
			return w, nil
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// History lists the swaps of an application, latest first.
func (s *Service) History(ctx context.Context, appID string, limit int) ([]*Swap, error) {
	return s.Swaps.Find(ctx, store.Where("app_id", appID).Latest("started").Top(limit))
}

// SetDrained takes a VM out of the gateway, or puts it back.
func (s *Service) SetDrained(ctx context.Context, projectID, app, vm string, out bool) error {
	s.traffic.Lock()
	defer s.traffic.Unlock()
	a, err := s.Find(ctx, projectID, app)
	if err != nil {
		return err
	}
	for i := range a.Slots {
		slot := &a.Slots[i]
		if !slices.Contains(slot.VMs, vm) {
			continue
		}
		if slices.Contains(slot.Drained, vm) == out {
			return nil
		}
		if out {
			slot.Drained = append(slot.Drained, vm)
		} else {
			slot.Drained = slices.DeleteFunc(slot.Drained, func(d string) bool { return d == vm })
		}
		return s.serve(ctx, a, "vm.drain", fmt.Sprintf("%s out=%v", vm, out))
	}
	return fault.New(fault.NotFound, "not-found", "application %s has no VM %s", app, vm)
}
