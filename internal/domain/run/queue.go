package run

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/outbox"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/base/telemetry"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/repos"
)

// QueueRequest asks for a run of a pipeline.
type QueueRequest struct {
	Pipeline    *Pipeline
	Branch      string // full ref; "" = the default branch
	Commit      string // "" = the branch's
	Parameters  map[string]any
	Variables   map[string]string
	Reason      Reason
	Dedup       string // the same value queues one run only; "" = always a new one
	By          identity.Subject
	Email       string // of By, where it is known
	Origin      Origin // of a repository that is not this server's
	PullRequest int
	PR          *PRInfo
	TriggeredBy *Run           // the completed run that starts this one
	Pinned      map[string]int // alias of a pipeline resource → run number
	Only        pipeline.Selection
	Strict      bool // refuse a file with errors instead of recording a failed run
}

// QueueRun compiles the pipeline at the commit and stores a run of it. A file
// with errors makes a run that has failed already and carries them, so that
// whoever pushed it sees them; with Strict it makes an error instead.
func (s *Service) QueueRun(ctx context.Context, q QueueRequest) (*Run, error) {
	r, err := s.newRun(ctx, q)
	if err != nil {
		return nil, err
	}
	if old, err := store.First(ctx, s.Runs, store.Where("dedup", r.Dedup)); err != nil || old != nil {
		return old, err
	}
	src, head, diags, err := s.sourceOf(ctx, q.Pipeline, r.Commit)
	if err != nil {
		return nil, err
	}
	if head != nil {
		if r.Resources, err = s.resolveResources(ctx, q, head); err != nil {
			return nil, err
		}
	}
	var plan *pipeline.Plan
	if head != nil && !hasErrors(diags) {
		in := pipeline.Input{File: q.Pipeline.Path, Parameters: q.Parameters, Variables: compileVariables(r, q.Pipeline)}
		_, span := telemetry.Start(ctx, "pipeline.Compile", "file", q.Pipeline.Path)
		plan, diags, err = pipeline.Compile(ctx, src, in)
		span.End()
		if err != nil {
			return nil, err
		}
	}
	if q.Strict && hasErrors(diags) {
		return nil, invalidPipeline(q.Pipeline, diags)
	}
	if plan != nil {
		if err := plan.Select(q.Only); err != nil {
			return nil, err
		}
		unknown, err := s.unknownUses(ctx, r, plan)
		if err != nil {
			return nil, err
		}
		diags = append(diags, keptValues(plan, q.Variables)...)
		if diags = append(diags, unknown...); len(unknown) > 0 {
			plan = nil
		}
		if q.Strict && plan == nil {
			return nil, invalidPipeline(q.Pipeline, diags)
		}
	}
	return r, s.insertRun(ctx, q, r, plan, diags)
}

// keptValues warns of variables that are given for a run and that the file sets:
// what the file sets stands.
func keptValues(plan *pipeline.Plan, given map[string]string) (list []pipeline.Diagnostic) {
	for _, v := range plan.Sets(given) {
		if Predefined(v.Name) {
			continue
		}
		list = append(list, pipeline.Diagnostic{Severity: pipeline.Warning, Code: "variable-stands", Location: pipeline.Location{File: v.Origin.File, Line: v.Origin.Line, Column: v.Origin.Column},
			Message: fmt.Sprintf("variable %s is set here, and the value given for the run does not change that", v.Name),
			Do:      "remove it from the file, or make it a parameter"})
	}
	return list
}

func hasErrors(diags []pipeline.Diagnostic) bool {
	return slices.ContainsFunc(diags, func(d pipeline.Diagnostic) bool { return d.Severity == pipeline.Error })
}

func compileVariables(r *Run, p *Pipeline) map[string]string {
	set, names := variables{}, map[string]string{}
	for _, list := range []map[string]string{p.Variables, predefined(r), r.Variables} {
		for name, value := range list {
			set.set(name, value)
			names[strings.ToLower(name)] = name
		}
	}
	delete(names, "build.buildnumber") // not known before the name is made
	v := make(map[string]string, len(names))
	for key, name := range names {
		v[name], _ = set.lookup(key)
	}
	return v
}

func (s *Service) newRun(ctx context.Context, q QueueRequest) (*Run, error) {
	repo, err := s.Repos.Repositories.Get(ctx, q.Pipeline.RepoID)
	if err != nil {
		return nil, err
	}
	r := &Run{ProjectID: q.Pipeline.ProjectID, PipelineID: q.Pipeline.ID, Pipeline: q.Pipeline.Name, State: Pending, Reason: q.Reason, Dedup: q.Dedup,
		RepoID: repo.ID, Branch: repos.FullBranch(q.Branch), Commit: q.Commit, RequestedBy: q.By.Name, RequestedByID: q.By.ID,
		Parameters: q.Parameters, Variables: q.Variables, PullRequest: q.PullRequest, PR: q.PR, RequestedEmail: q.Email, Origin: q.Origin}
	if err := s.place(ctx, r, repo); err != nil {
		return nil, err
	}
	if r.Branch == "" {
		r.Branch = repo.DefaultBranch
	}
	if r.Commit == "" {
		if r.Commit, err = s.Repos.History.Resolve(ctx, repo.ID, r.Branch); err != nil {
			return nil, err
		}
	}
	if commits, err := s.Repos.History.Commits(ctx, repo.ID, "", r.Commit, 1); err == nil && len(commits) > 0 {
		r.Message, r.Author = commits[0].Subject(), commits[0].Author
	}
	if q.TriggeredBy != nil {
		r.TriggeredBy = q.TriggeredBy.ID
	}
	return r, nil
}

// place notes where the run takes place: variables that the file may read while
// it is expanded.
func (s *Service) place(ctx context.Context, r *Run, repo *repos.Repository) error {
	proj, err := s.Projects.Projects.Get(ctx, r.ProjectID)
	if err != nil {
		return err
	}
	r.Project, r.Collection = proj.Name, s.Address.BaseURL()+"/"+s.Address.Organization+"/"
	if r.Origin == (Origin{}) {
		r.Origin = Origin{Provider: "TfsGit", ID: repo.ID, Name: repo.Name, URL: r.Collection + proj.Name + "/_git/" + repo.Name}
	}
	return nil
}

// resolveResources picks the run of every pipeline resource: the one that
// triggered, the one asked for, or the latest that succeeded.
func (s *Service) resolveResources(ctx context.Context, q QueueRequest, head *pipeline.Plan) ([]Resource, error) {
	var list []Resource
	for _, res := range head.Resources.Pipelines {
		p, err := s.FindPipeline(ctx, q.Pipeline.ProjectID, res.Pipeline())
		if err != nil {
			return nil, fault.New(fault.NotFound, "pipeline-not-found", "pipeline resource %s names pipeline %s, which does not exist", res.Alias, res.Pipeline()).
				At("%s:%d:%d", res.Origin.File, res.Origin.Line, res.Origin.Column).Try("penstock pipeline list")
		}
		from, err := s.resourceRun(ctx, q, res, p)
		if err != nil {
			return nil, err
		}
		list = append(list, Resource{Alias: res.Alias, PipelineID: p.ID, Pipeline: p.Name, RunID: from.ID, Number: from.Number,
			Branch: from.Branch, Commit: from.Commit, Requester: from.RequestedBy, ProjectID: p.ProjectID})
	}
	return list, nil
}

func (s *Service) resourceRun(ctx context.Context, q QueueRequest, res pipeline.PipelineResource, p *Pipeline) (*Run, error) {
	if q.TriggeredBy != nil && q.TriggeredBy.PipelineID == p.ID {
		return q.TriggeredBy, nil
	}
	if n, ok := q.Pinned[res.Alias]; ok {
		r, err := s.FindRun(ctx, p.ProjectID, strconv.Itoa(n))
		if err == nil && r.PipelineID != p.ID {
			err = fault.New(fault.Invalid, "other-pipeline", "run %d is not one of %s", n, p.Name)
		}
		return r, err
	}
	runs, err := s.Runs.Find(ctx, store.Where("pipeline_id", p.ID).And("state", string(Completed)).Latest("num").Top(200))
	if err != nil {
		return nil, err
	}
	for _, r := range runs {
		if good(r.Result) && (res.Branch == "" || repos.FullBranch(res.Branch) == r.Branch) && (res.Version == "" || res.Version == r.Number) && r.hasTags(res.Tags) {
			return r, nil
		}
	}
	return nil, fault.New(fault.Conflict, "no-resource-run", "pipeline resource %s: %s has no run that could be used", res.Alias, p.Name).
		Want("a run that succeeded%s", withTags(res.Tags)).Try("penstock pipeline run %s", p.Name)
}

func (s *Service) insertRun(ctx context.Context, q QueueRequest, r *Run, plan *pipeline.Plan, diags []pipeline.Diagnostic) error {
	err := s.Tx.InTx(ctx, func(ctx context.Context) error {
		n, err := s.Tx.Next(ctx, "run")
		if err != nil {
			return err
		}
		r.Num, r.ID, r.Queued, r.Diagnostics = n, strconv.Itoa(n), s.Clock.Now(), diags
		if r.Dedup == "" {
			r.Dedup = "run/" + r.ID
		}
		if r.Number, err = s.number(ctx, r, plan, q.Pipeline.Variables); err != nil {
			plan, r.Cause = nil, err.Error()
			r.Number = r.ID
		}
		if plan == nil {
			r.State, r.Result, r.Started, r.Finished = Completed, Failed, r.Queued, r.Queued
			if r.Cause == "" {
				r.Cause = "the pipeline file has errors"
			}
		}
		if err := s.Runs.Insert(ctx, r); err != nil {
			return err
		}
		if plan != nil {
			if err := s.insertGraph(ctx, r, plan); err != nil {
				return err
			}
			if err := s.Tx.Emit(ctx, outbox.New(TopicAdvance, r.ID, r.ID)); err != nil {
				return err
			}
		} else if err := s.Tx.Emit(ctx, outbox.New(TopicCompleted, r.ID, r.ID)); err != nil {
			return err
		}
		return s.Audit.Record(ctx, q.By.Name, "run.queue", "run "+r.ID, r.Pipeline+" "+r.Branch)
	})
	if fault.Is(err, fault.Conflict) && q.Dedup != "" {
		// Somebody queued the same run in the meantime.
		old, findErr := store.First(ctx, s.Runs, store.Where("dedup", q.Dedup))
		if findErr == nil && old != nil {
			*r = *old
			return nil
		}
	}
	s.Hub.Publish("runs")
	return err
}

func (s *Service) insertGraph(ctx context.Context, r *Run, plan *pipeline.Plan) error {
	if err := s.Plans.Insert(ctx, &Planned{ID: r.ID, Plan: plan}); err != nil {
		return err
	}
	for i, st := range plan.Stages {
		if err := s.Stages.Insert(ctx, newStage(r.ID, st, i, 1)); err != nil {
			return err
		}
	}
	return nil
}

func newStage(runID string, st pipeline.Stage, order, attempt int) *Stage {
	return &Stage{ID: fmt.Sprintf("%s/%s/%d", runID, st.Name, attempt), RunID: runID, Name: st.Name, DisplayName: st.DisplayName,
		Order: order, Attempt: attempt, State: Pending, DependsOn: st.DependsOn}
}

// number makes the number of a run from the variables that are known when it is
// queued: those of the settings, of the root of the file, and given ones. The
// counters among them are taken here.
func (s *Service) number(ctx context.Context, r *Run, plan *pipeline.Plan, settings map[string]string) (string, error) {
	if plan == nil {
		return r.ID, nil
	}
	groups, err := s.groupValues(ctx, r.ProjectID, plan)
	if err != nil {
		return "", err
	}
	var failed error
	next := s.numbers(ctx, &failed)
	g := &graph{run: r, plan: plan, settings: settings, groups: groups, next: next}
	known := g.stageVariables(nil)
	number, err := pipeline.FormatRunNumber(plan.NumberFormat, pipeline.NumberTokens{Now: r.Queued, Lookup: known.lookup, Rev: func(prefix string) int {
		return next("rev/"+r.PipelineID+"/"+prefix, 1)
	}})
	return number, cmp.Or(failed, err)
}

// QueueRunsForPush queues the runs that an accepted push starts: the handler of
// repos.TopicPushed. Repeating it queues nothing twice.
func (s *Service) QueueRunsForPush(ctx context.Context, pushID string) error {
	ctx, span := telemetry.Start(ctx, "run.QueueRunsForPush", "push", pushID)
	defer span.End()
	push, err := s.Repos.Pushes.Get(ctx, pushID)
	if err != nil {
		return err
	}
	pipelines, err := s.Pipelines.Find(ctx, store.Where("repo_id", push.RepoID).By("num"))
	if err != nil {
		return err
	}
	for _, u := range push.Updates {
		if u.New == repos.Zero || !strings.HasPrefix(u.Ref, "refs/heads/") && !strings.HasPrefix(u.Ref, "refs/tags/") {
			continue
		}
		if commits, err := s.Repos.History.Commits(ctx, push.RepoID, "", u.New, 1); err == nil && len(commits) > 0 && pipeline.SkipsCI(commits[0].Message) {
			continue
		}
		for _, p := range pipelines {
			if err := s.queueForUpdate(ctx, p, push, u); err != nil {
				return fmt.Errorf("pipeline %s: %w", p.Name, err)
			}
		}
	}
	return nil
}

func (s *Service) queueForUpdate(ctx context.Context, p *Pipeline, push *repos.Push, u repos.RefUpdate) error {
	_, head, diags, err := s.sourceOf(ctx, p, u.New)
	if fault.Is(err, fault.NotFound) || slices.ContainsFunc(diags, func(d pipeline.Diagnostic) bool { return d.Code == "file-not-found" }) {
		return nil // the branch does not have this pipeline's file
	}
	if err != nil {
		return err
	}
	batch, matches := false, true
	if head != nil {
		if head.Trigger.Implied && !s.ImpliedTrigger {
			return nil
		}
		changed, err := s.Repos.History.ChangedPaths(ctx, push.RepoID, u.Old, u.New)
		if err != nil {
			changed = nil // history was rewritten: every path may have changed
		}
		batch, matches = head.Trigger.Batch, head.Trigger.MatchPush(u.Ref, changed)
	}
	// The paths of a batch are those of all its pushes, and it is built as its last
	// one left it.
	if _, waits := p.Waiting[u.Ref]; !matches && (!batch || !waits) {
		return nil
	}
	by := identity.Subject{Kind: identity.UserKind, ID: push.PusherID, Name: push.Pusher}
	if batch {
		held, err := s.holdBack(ctx, p, u.Ref, Waiting{PushID: push.ID, Commit: u.New, By: by.Name, ByID: by.ID})
		if err != nil || held || !matches {
			return err
		}
	}
	_, err = s.QueueRun(ctx, QueueRequest{Pipeline: p, Branch: u.Ref, Commit: u.New, Reason: IndividualCI, By: by,
		Dedup: fmt.Sprintf("push/%s/%s/%s", push.ID, p.ID, u.Ref)})
	return err
}

// holdBack keeps a push of a batching trigger while a run of the branch is
// active.
func (s *Service) holdBack(ctx context.Context, p *Pipeline, branch string, w Waiting) (held bool, err error) {
	err = s.Tx.InTx(ctx, func(ctx context.Context) error {
		active, err := s.activeCI(ctx, p, branch, fmt.Sprintf("push/%s/%s/%s", w.PushID, p.ID, branch))
		if err != nil || !active {
			return err
		}
		held = true
		fresh, err := s.Pipelines.Get(ctx, p.ID)
		if err != nil {
			return err
		}
		if fresh.Waiting == nil {
			fresh.Waiting = map[string]Waiting{}
		}
		fresh.Waiting[branch] = w
		return s.Pipelines.Save(ctx, fresh)
	})
	return held, err
}

// activeCI says whether a run that a push started, but for one, goes on.
func (s *Service) activeCI(ctx context.Context, p *Pipeline, branch, but string) (bool, error) {
	active, err := s.Runs.Find(ctx, store.Where("pipeline_id", p.ID).And("branch", branch).AndOp("state", store.Ne, string(Completed)))
	return slices.ContainsFunc(active, func(r *Run) bool { return (r.Reason == IndividualCI || r.Reason == BatchedCI) && r.Dedup != but }), err
}

// StartFollowers handles a completed run: the push its batch kept back, and the
// pipelines that name it as a triggering resource.
func (s *Service) StartFollowers(ctx context.Context, runID string) error {
	r, err := s.Runs.Get(ctx, runID)
	if err != nil {
		return err
	}
	p, err := s.Pipelines.Get(ctx, r.PipelineID)
	if err != nil {
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		return err
	}
	active, err := s.activeCI(ctx, p, r.Branch, "") // somebody's own run does not end the batch
	if err != nil {
		return err
	}
	if w, ok := p.Waiting[r.Branch]; ok && !active {
		_, err := s.QueueRun(ctx, QueueRequest{Pipeline: p, Branch: r.Branch, Commit: w.Commit, Reason: BatchedCI,
			By: identity.Subject{Kind: identity.UserKind, ID: w.ByID, Name: w.By}, Dedup: fmt.Sprintf("push/%s/%s/%s", w.PushID, p.ID, r.Branch)})
		if err != nil {
			return err
		}
		if err := s.Tx.InTx(ctx, func(ctx context.Context) error {
			fresh, err := s.Pipelines.Get(ctx, p.ID)
			if err != nil || fresh.Waiting[r.Branch] != w {
				return err
			}
			delete(fresh.Waiting, r.Branch)
			return s.Pipelines.Save(ctx, fresh)
		}); err != nil {
			return err
		}
	}
	return s.startTriggered(ctx, r, p)
}

// StartStageFollowers starts the pipelines that wait for stages of a run, which
// may go on and even fail: the handler of TopicStage.
func (s *Service) StartStageFollowers(ctx context.Context, runID string) error {
	r, err := s.Runs.Get(ctx, runID)
	if err != nil || r.State == Completed { // then StartFollowers does it
		return err
	}
	p, err := s.Pipelines.Get(ctx, r.PipelineID)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.startTriggered(ctx, r, p)
}

// starts says whether a run does what a trigger waits for.
func (r *Run) starts(t *pipeline.PipelineTrigger, stages []string) bool {
	return t != nil && (len(t.Stages) > 0 || good(r.Result)) && t.MatchCompletion(r.Branch, r.Tags, stages)
}

func good(r Result) bool { return r == Succeeded || r == SucceededWithIssues }

func (s *Service) startTriggered(ctx context.Context, r *Run, p *Pipeline) error {
	if r.Reason == PullRequestReason {
		return nil
	}
	all, err := s.Pipelines.Find(ctx, store.Where("project_id", r.ProjectID).By("num"))
	if err != nil {
		return err
	}
	stages, err := s.goodStages(ctx, r.ID)
	if err != nil {
		return err
	}
	for _, follower := range all {
		// A pipeline of the same repository runs at the same commit, another at
		// the head of its default branch.
		branch, commit := r.Branch, r.Commit
		if follower.RepoID != r.RepoID {
			repo, err := s.Repos.Repositories.Get(ctx, follower.RepoID)
			if err != nil {
				return err
			}
			branch, commit = repo.DefaultBranch, repo.Refs[repo.DefaultBranch]
		}
		if follower.ID == p.ID || commit == "" {
			continue
		}
		_, head, _, err := s.sourceOf(ctx, follower, commit)
		if head == nil || err != nil {
			continue
		}
		for _, res := range head.Resources.Pipelines {
			if !strings.EqualFold(res.Pipeline(), p.Name) || !r.starts(res.Trigger, stages) {
				continue
			}
			if _, err := s.QueueRun(ctx, QueueRequest{Pipeline: follower, Branch: branch, Commit: commit, Reason: ResourceTrigger, TriggeredBy: r,
				By:    identity.Subject{Kind: identity.UserKind, ID: r.RequestedByID, Name: r.RequestedBy},
				Dedup: fmt.Sprintf("resource/%s/%s", r.ID, follower.ID)}); err != nil {
				return err
			}
			break
		}
	}
	return nil
}
