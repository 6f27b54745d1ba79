package run

import (
	"context"
	"errors"
	"fmt"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/base/outbox"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/base/telemetry"
	"penstock.dev/penstock/internal/domain/application"
	"penstock.dev/penstock/internal/domain/deployment"
	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/pipeline"
)

// pinKey is under which name a deployment holds a slot.
func pinKey(p *Phase) string { return p.ID }

// PinDeployment resolves the targets of a deployment job: the handler of
// TopicPin. What can never succeed ends the job with its cause; what is only
// busy is tried again by the outbox.
func (s *Service) PinDeployment(ctx context.Context, phaseID string) error {
	ctx, span := telemetry.Start(ctx, "deployment.AdvanceRollout", "phase", phaseID)
	defer span.End()
	p, err := s.Phases.Get(ctx, phaseID)
	if err != nil || p.State != InProgress || !p.Pinning {
		return err
	}
	d, err := s.Load(ctx, p.RunID)
	if err != nil {
		return err
	}
	job := d.Plan.Stage(p.Stage).Job(p.Name)
	spec := job.Deployment
	var env *environment.Environment // none: the deployment is nobody's history
	if spec.Environment.Name != "" {
		env, err = s.Environments.Find(ctx, d.Run.ProjectID, spec.Environment.Name)
	}
	var rollout deployment.Rollout
	if err == nil {
		rollout, err = s.pin(ctx, d.Run, p, env, spec)
	}
	busy := fault.CodeOf(err) == "swap-running" || fault.CodeOf(err) == "deployment-running" || fault.CodeOf(err) == "no-free-slot"
	if err != nil && (busy || fault.Is(err, fault.Unavailable)) && !d.Run.CancelRequested {
		return err
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		fresh, getErr := s.Phases.Get(ctx, phaseID)
		if getErr != nil || fresh.State != InProgress || !fresh.Pinning {
			return getErr
		}
		fresh.Pinning = false
		if err != nil {
			fresh.State, fresh.Result, fresh.Cause, fresh.Finished = Completed, tolerated(job, Failed), describe(err), s.Clock.Now()
		} else {
			fresh.Rollout = &rollout
			if env != nil {
				if err := s.openHistory(ctx, d.Run, fresh, env); err != nil {
					return err
				}
			}
		}
		if err := s.Phases.Save(ctx, fresh); err != nil {
			return err
		}
		return s.Tx.Emit(ctx, outbox.New(TopicAdvance, p.RunID, p.RunID))
	})
}

func (s *Service) pin(ctx context.Context, r *Run, p *Phase, env *environment.Environment, spec *pipeline.Deployment) (deployment.Rollout, error) {
	var targets []deployment.Target
	var app, slot string
	if env != nil && (spec.Environment.ResourceType != "" || spec.Environment.ResourceName != "" || spec.Strategy == pipeline.Rolling) {
		var err error
		if targets, app, slot, err = s.Applications.Pin(ctx, r.ProjectID, env, spec.Environment, pinKey(p)); err != nil {
			return deployment.Rollout{}, err
		}
	}
	rollout, err := deployment.Begin(spec, targets)
	rollout.Application, rollout.Slot = app, slot
	if err != nil && slot != "" {
		_ = s.Applications.Settle(ctx, r.ProjectID, app, slot, pinKey(p), nil)
	}
	return rollout, err
}

// describe puts what an error knows into one line for a run's page.
func describe(err error) string {
	text := err.Error()
	var e *fault.Error
	if errors.As(err, &e) {
		if e.Found != "" {
			text += "; found " + e.Found
		}
		if e.Do != "" {
			text += "; " + e.Do
		}
	}
	return text
}

func (s *Service) openHistory(ctx context.Context, r *Run, p *Phase, env *environment.Environment) error {
	h := &environment.Deployment{ID: historyID(p), EnvironmentID: env.ID, RunID: r.ID, RunNumber: r.Number, Pipeline: r.Pipeline,
		Stage: p.Stage, Job: p.Name, Attempt: p.Attempt, Commit: r.Commit, Requester: r.RequestedBy, Started: s.Clock.Now()}
	if p.Rollout.Slot != "" {
		h.Slot = p.Rollout.Application + "/" + p.Rollout.Slot
	}
	for _, batch := range p.Rollout.Batches {
		for _, t := range batch {
			if t.Name != "" {
				h.Resources = append(h.Resources, t.Name)
			}
		}
	}
	return s.Environments.Deployments.Insert(ctx, h)
}

func historyID(p *Phase) string { return id.From("deployment", p.ID) }

// settleDeployment closes the history of an ended deployment and tells the
// application what its slot runs now.
func (s *Service) settleDeployment(ctx context.Context, g *graph, p *Phase) error {
	h, err := s.Environments.Deployments.Get(ctx, historyID(p))
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	result := fromPlan[p.Rollout.Result()] // a tolerated failure deployed nothing
	if h != nil {
		h.Result, h.Finished = string(result), s.Clock.Now()
		if err := s.Environments.Deployments.Save(ctx, h); err != nil {
			return err
		}
	}
	if p.Rollout.Slot == "" {
		return nil
	}
	var release *application.Release
	if good(result) {
		if release, err = s.releaseOf(ctx, g.run); err != nil {
			return err
		}
	}
	return s.Applications.Settle(ctx, g.run.ProjectID, p.Rollout.Application, p.Rollout.Slot, pinKey(p), release)
}

// releaseOf names what a run deployed: the run of its first pipeline resource,
// else the run itself, with the digest of its first artifact.
func (s *Service) releaseOf(ctx context.Context, r *Run) (*application.Release, error) {
	release := &application.Release{Number: r.Number, RunID: r.ID, Commit: r.Commit, By: r.RequestedBy, Time: s.Clock.Now()}
	from := r.ID
	if len(r.Resources) > 0 {
		release.Number, release.Commit, from = r.Resources[0].Number, r.Resources[0].Commit, r.Resources[0].RunID
	}
	artifacts, err := s.Artifacts.Of(ctx, from)
	if err != nil {
		return nil, err
	}
	if len(artifacts) > 0 {
		release.Artifact = artifacts[0].Digest
	}
	return release, nil
}

// ReleaseLeftovers frees slots held by deployments of runs that have ended, for
// instance because a run was deleted; it runs at start.
func (s *Service) ReleaseLeftovers(ctx context.Context) error {
	apps, err := s.Applications.Apps.Find(ctx, store.Query{})
	if err != nil {
		return err
	}
	for _, a := range apps {
		for _, slot := range a.Slots {
			if slot.Deploying == "" {
				continue
			}
			p, err := s.Phases.Get(ctx, slot.Deploying)
			if err == nil && p.State != Completed {
				continue
			}
			if err != nil && !fault.Is(err, fault.NotFound) {
				return err
			}
			if err := s.Applications.Settle(ctx, a.ProjectID, a.Name, slot.Name, slot.Deploying, nil); err != nil {
				return fmt.Errorf("application %s: %w", a.Name, err)
			}
		}
	}
	return nil
}

// advanceRollout starts the next hooks of a deployment.
func (g *graph) advanceRollout(p *Phase, spec *pipeline.Job) bool {
	if p.Rollout == nil {
		if g.stops(p.Started) {
			return g.endPhase(p, Canceled, "the run was canceled")
		}
		return false // its targets are being resolved
	}
	results := map[string]pipeline.Result{}
	for _, j := range g.jobsOf(p) {
		if j.State == Completed {
			results[j.Name] = planResult[j.Result]
		} else if j.Asked {
			g.cancelIfAsked(j)
		}
	}
	next, jobs := deployment.Advance(spec.Deployment, *p.Rollout, results, g.stops(p.Started))
	changed := len(jobs) > 0 || next.Done
	*p.Rollout = next
	if changed {
		g.dirty[p] = true
	}
	for _, h := range jobs {
		hook := spec.Deployment.Hook(h.Hook)
		pool := spec.Pool
		if hook.Pool != nil {
			pool = *hook.Pool
		}
		g.ask(g.addJob(p, newJob{name: h.Name, display: hookTitle(h), order: len(g.jobsOf(p)), steps: hook.Steps, pool: pool, hook: h}))
	}
	if next.Done {
		p.Outputs = g.phaseOutputs(p, g.jobsOf(p))
		return g.endPhase(p, fromPlan[next.Result()], "")
	}
	return changed
}

func hookTitle(h deployment.HookJob) string {
	title := h.Hook
	if h.Hook == pipeline.HookOnFailure || h.Hook == pipeline.HookOnSuccess {
		title = "on " + h.Hook
	}
	if h.Target.Name != "" {
		return title + " · " + h.Target.Name
	}
	if h.Increment > 0 {
		return fmt.Sprintf("%s · %d %%", title, h.Increment)
	}
	return title
}
