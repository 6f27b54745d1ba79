package pullrequest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"penstock.dev/penstock/internal/base/broadcast"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/outbox"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/audit"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/repos"
	"penstock.dev/penstock/internal/domain/run"
)

// TopicRefresh lets a pull request look at its branches again; payload: its id.
const TopicRefresh = "pullrequest.refresh"

// Service holds the use cases of pull requests and policies.
type Service struct {
	PullRequests store.Table[PullRequest]
	Policies     store.Table[Policy]
	Tx           store.Runner
	Audit        *audit.Service
	Clock        store.Clock
	Repos        *repos.Service
	Runs         *run.Service
	Hub          *broadcast.Hub
}

// Create opens a pull request.
func (s *Service) Create(ctx context.Context, r *repos.Repository, title, description, source, target string) (*PullRequest, error) {
	by := identity.From(ctx)
	source, target = repos.FullBranch(source), repos.FullBranch(target)
	if target == "" {
		target = r.DefaultBranch
	}
	for _, ref := range []string{source, target} {
		if err := repos.CheckRef(ref); err != nil {
			return nil, err
		}
		if _, err := s.Repos.History.Resolve(ctx, r.ID, ref); err != nil {
			return nil, err
		}
	}
	if source == target {
		return nil, fault.New(fault.Invalid, "same-branch", "source and target are the same branch").Got("%s", source)
	}
	if strings.TrimSpace(title) == "" {
		return nil, fault.New(fault.Invalid, "no-title", "a pull request needs a title")
	}
	if old, err := store.First(ctx, s.PullRequests, store.Where("repo_id", r.ID).And("source", source).And("target", target).And("status", string(Active))); err != nil || old != nil {
		if err == nil {
			err = fault.New(fault.Conflict, "already-exists", "pull request !%d already proposes that", old.Num).Try("penstock pr show %d", old.Num)
		}
		return nil, err
	}
	pr := &PullRequest{ProjectID: r.ProjectID, RepoID: r.ID, Title: title, Description: description, Source: source, Target: target, Status: Active,
		CreatedBy: by.ID, CreatedName: by.Name, LastPusher: by.ID, Votes: map[string]Vote{}, Builds: map[string]Build{}, MergeStatus: "queued", Created: s.Clock.Now()}
	err := s.Tx.InTx(ctx, func(ctx context.Context) error {
		n, err := s.Tx.Next(ctx, "pullrequest")
		if err != nil {
			return err
		}
		pr.Num, pr.ID = n, strconv.Itoa(n)
		if err := s.PullRequests.Insert(ctx, pr); err != nil {
			return err
		}
		if err := s.Audit.Record(ctx, by.Name, "pr.create", "pull request "+pr.ID, title); err != nil {
			return err
		}
		return s.Tx.Emit(ctx, outbox.New(TopicRefresh, pr.ID, pr.ID))
	})
	return pr, err
}

// Find returns a pull request of a project by number.
func (s *Service) Find(ctx context.Context, projectID, id string) (*PullRequest, error) {
	pr, err := s.PullRequests.Get(ctx, strings.TrimPrefix(id, "!"))
	if err != nil || pr.ProjectID != projectID {
		return nil, fault.New(fault.NotFound, "not-found", "no pull request %s", id).Try("penstock pr list")
	}
	return pr, nil
}

// PoliciesFor lists the policies that hold for a branch.
func (s *Service) PoliciesFor(ctx context.Context, r *repos.Repository, branch string) ([]*Policy, error) {
	all, err := s.Policies.Find(ctx, store.Where("project_id", r.ProjectID).By("num"))
	if err != nil {
		return nil, err
	}
	var list []*Policy
	for _, p := range all {
		if p.Covers(r, branch) {
			list = append(list, p)
		}
	}
	return list, nil
}

// Refuses implements repos.Protection: a branch with a required policy takes no
// direct push once it exists.
func (s *Service) Refuses(ctx context.Context, r *repos.Repository, ref string) error {
	if r.Refs[ref] == "" {
		return nil
	}
	list, err := s.PoliciesFor(ctx, r, ref)
	if err != nil {
		return err
	}
	for _, p := range list {
		if !p.Optional {
			return fault.New(fault.Denied, "branch-protected", "%s takes changes by pull request only (policy %s)", repos.Short(ref), p.Type).
				Try("push another branch, then: penstock pr create")
		}
	}
	return nil
}

// AddPolicy adds a policy.
func (s *Service) AddPolicy(ctx context.Context, p *Policy) error {
	p.Branch = repos.FullBranch(p.Branch)
	if err := repos.CheckRef(p.Branch); err != nil {
		return err
	}
	switch p.Type {
	case MinimumReviewers:
		if p.Settings.Reviewers < 1 || p.Settings.Reviewers > 10 {
			return fault.New(fault.Invalid, "reviewer-count", "a policy asks for 1 to 10 reviewers").Got("%d", p.Settings.Reviewers)
		}
	case BuildValidation:
		found, err := s.Runs.FindPipeline(ctx, p.ProjectID, p.Settings.PipelineID)
		if err != nil {
			return err
		}
		p.Settings.PipelineID, p.Settings.Pipeline = found.ID, found.Name
	default:
		return fault.New(fault.Invalid, "unknown-policy", "no policy type %q", p.Type).Want("minimumReviewers or buildValidation")
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		n, err := s.Tx.Next(ctx, "policy")
		if err != nil {
			return err
		}
		p.Num, p.ID, p.Created = n, strconv.Itoa(n), s.Clock.Now()
		if err := s.Policies.Insert(ctx, p); err != nil {
			return err
		}
		return s.Audit.Record(ctx, identity.From(ctx).Name, "policy.create", "policy "+p.ID, string(p.Type)+" "+p.Branch)
	})
}

// PushChanged refreshes the pull requests whose branches a push moved: a
// handler of repos.TopicPushed.
func (s *Service) PushChanged(ctx context.Context, pushID string) error {
	push, err := s.Repos.Pushes.Get(ctx, pushID)
	if err != nil {
		return err
	}
	open, err := s.PullRequests.Find(ctx, store.Where("repo_id", push.RepoID).And("status", string(Active)))
	if err != nil {
		return err
	}
	for _, pr := range open {
		for _, u := range push.Updates {
			if u.Ref != pr.Source && u.Ref != pr.Target {
				continue
			}
			if err := s.refresh(ctx, pr.ID, push.PusherID); err != nil {
				return err
			}
			break
		}
	}
	return nil
}

// Refresh makes the merge of the branches as they are now, and queues the
// validations of a merge that is new: the handler of TopicRefresh.
func (s *Service) Refresh(ctx context.Context, id string) error { return s.refresh(ctx, id, "") }

func (s *Service) refresh(ctx context.Context, id, pusher string) error {
	pr, err := s.PullRequests.Get(ctx, id)
	if err != nil || pr.Status != Active {
		return err
	}
	r, err := s.Repos.Repositories.Get(ctx, pr.RepoID)
	if err != nil {
		return err
	}
	source, err := s.Repos.History.Resolve(ctx, r.ID, pr.Source)
	if err != nil {
		return nil // the branch is gone; the pull request waits for it
	}
	target, err := s.Repos.History.Resolve(ctx, r.ID, pr.Target)
	if err != nil {
		return err
	}
	if source != pr.SourceCommit || target != pr.TargetCommit {
		if pr, err = s.newMerge(ctx, pr.ID, r, source, target, pusher); err != nil {
			return err
		}
	}
	if pr.MergeStatus != "succeeded" || pr.Draft {
		return nil
	}
	return s.validate(ctx, pr, r)
}

func (s *Service) newMerge(ctx context.Context, id string, r *repos.Repository, source, target, pusher string) (*PullRequest, error) {
	pr, err := s.PullRequests.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	merged, conflict := s.Repos.Git.Merge(ctx, r.ID, repos.MergeRequest{Target: target, Source: source,
		Message: fmt.Sprintf("Merge pull request %d from %s into %s", pr.Num, repos.Short(pr.Source), repos.Short(pr.Target)), Author: "Penstock", Email: "penstock@localhost"})
	if conflict != nil && fault.CodeOf(conflict) != "merge-conflict" {
		return nil, conflict
	}
	if conflict == nil {
		if err := s.Repos.Git.UpdateRef(ctx, r.ID, fmt.Sprintf("refs/pull/%d/merge", pr.Num), merged, ""); err != nil {
			return nil, err
		}
	}
	policies, err := s.PoliciesFor(ctx, r, pr.Target)
	if err != nil {
		return nil, err
	}
	return pr, s.Tx.InTx(ctx, func(ctx context.Context) error {
		if pr, err = s.PullRequests.Get(ctx, id); err != nil {
			return err
		}
		if source != pr.SourceCommit {
			pr.Iteration++
			if pusher != "" {
				pr.LastPusher = pusher
			}
			for _, p := range policies {
				if p.Type == MinimumReviewers && p.Settings.ResetOnSourcePush {
					pr.Votes = map[string]Vote{}
				}
			}
		}
		pr.SourceCommit, pr.TargetCommit, pr.MergeCommit, pr.MergeStatus, pr.Conflicts = source, target, merged, "succeeded", ""
		if conflict != nil {
			pr.MergeStatus = "conflicts"
			var e *fault.Error
			if errors.As(conflict, &e) {
				pr.Conflicts = e.Found
			}
		}
		return s.save(ctx, pr)
	})
}

func (s *Service) save(ctx context.Context, pr *PullRequest) error {
	s.Hub.Publish("pr/" + pr.ID)
	return s.PullRequests.Save(ctx, pr)
}

// validate queues the runs of the build policies for the current merge, once.
func (s *Service) validate(ctx context.Context, pr *PullRequest, r *repos.Repository) error {
	policies, err := s.PoliciesFor(ctx, r, pr.Target)
	if err != nil {
		return err
	}
	for _, p := range policies {
		if p.Type != BuildValidation || pr.Builds[p.ID].MergeCommit == pr.MergeCommit {
			continue
		}
		def, err := s.Runs.FindPipeline(ctx, p.ProjectID, p.Settings.PipelineID)
		if err != nil {
			return err
		}
		queued, err := s.Runs.QueueRun(ctx, run.QueueRequest{Pipeline: def, Branch: fmt.Sprintf("refs/pull/%d/merge", pr.Num), Commit: pr.MergeCommit,
			Reason: run.PullRequestReason, By: identity.Subject{Kind: identity.UserKind, ID: pr.CreatedBy, Name: pr.CreatedName}, PullRequest: pr.Num,
			PR:    &run.PRInfo{SourceBranch: pr.Source, TargetBranch: pr.Target, SourceCommit: pr.SourceCommit},
			Dedup: fmt.Sprintf("pr/%d/%s/%s", pr.Num, p.ID, pr.MergeCommit)})
		if err != nil {
			return err
		}
		if err := s.setBuild(ctx, pr.ID, p.ID, Build{RunID: queued.ID, RunNumber: queued.Number, MergeCommit: pr.MergeCommit, State: stateOf(queued)}); err != nil {
			return err
		}
	}
	return nil
}

func stateOf(r *run.Run) string {
	switch {
	case r.State != run.Completed:
		return "running"
	case r.Result == run.Succeeded || r.Result == run.SucceededWithIssues:
		return "succeeded"
	}
	return "failed"
}

func (s *Service) setBuild(ctx context.Context, prID, policyID string, b Build) error {
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		pr, err := s.PullRequests.Get(ctx, prID)
		if err != nil {
			return err
		}
		// A run of an older merge says nothing about this one.
		if old := pr.Builds[policyID]; old.MergeCommit == pr.MergeCommit && b.MergeCommit != pr.MergeCommit {
			return nil
		}
		if pr.Builds == nil {
			pr.Builds = map[string]Build{}
		}
		pr.Builds[policyID] = b
		return s.save(ctx, pr)
	})
}

// RunEnded notes the result of a validation: a handler of run.TopicCompleted.
func (s *Service) RunEnded(ctx context.Context, runID string) error {
	r, err := s.Runs.Runs.Get(ctx, runID)
	if err != nil || r.PullRequest == 0 {
		return err
	}
	pr, err := s.PullRequests.Get(ctx, strconv.Itoa(r.PullRequest))
	if err != nil {
		return err
	}
	for policyID, b := range pr.Builds {
		if b.RunID == runID {
			b.State = stateOf(r)
			return s.setBuild(ctx, pr.ID, policyID, b)
		}
	}
	return nil
}

// CastVote records a reviewer's vote.
func (s *Service) CastVote(ctx context.Context, id string, value int) (*PullRequest, error) {
	by := identity.From(ctx)
	switch value {
	case Approve, ApproveSuggestions, NoVote, WaitForAuthor, Reject:
	default:
		return nil, fault.New(fault.Invalid, "unknown-vote", "no vote %d", value).Want("10, 5, 0, -5 or -10")
	}
	var pr *PullRequest
	err := s.Tx.InTx(ctx, func(ctx context.Context) error {
		var err error
		if pr, err = s.PullRequests.Get(ctx, id); err != nil {
			return err
		}
		if pr.Status != Active {
			return fault.New(fault.Conflict, "pr-closed", "pull request !%d is %s", pr.Num, pr.Status)
		}
		if pr.Votes == nil {
			pr.Votes = map[string]Vote{}
		}
		pr.Votes[by.ID] = Vote{Name: by.Name, Value: value, Iteration: pr.Iteration, Time: s.Clock.Now()}
		if err := s.Audit.Record(ctx, by.Name, "pr.vote", "pull request "+id, strconv.Itoa(value)); err != nil {
			return err
		}
		return s.save(ctx, pr)
	})
	return pr, err
}

// Comment adds a remark.
func (s *Service) Comment(ctx context.Context, id, text string) (*PullRequest, error) {
	by := identity.From(ctx)
	if strings.TrimSpace(text) == "" || len(text) > 100_000 {
		return nil, fault.New(fault.Invalid, "comment-size", "a comment has 1 to 100000 characters")
	}
	var pr *PullRequest
	err := s.Tx.InTx(ctx, func(ctx context.Context) error {
		var err error
		if pr, err = s.PullRequests.Get(ctx, id); err != nil {
			return err
		}
		pr.Comments = append(pr.Comments, Comment{By: by.Name, Text: text, Time: s.Clock.Now()})
		return s.save(ctx, pr)
	})
	return pr, err
}

// Complete merges a pull request whose policies are satisfied.
func (s *Service) Complete(ctx context.Context, id string, squash bool) (*PullRequest, error) {
	by := identity.From(ctx)
	pr, err := s.PullRequests.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := Moves.Check("pull request", pr.Status, Completed); err != nil || pr.Status == Completed {
		return pr, err
	}
	r, err := s.Repos.Repositories.Get(ctx, pr.RepoID)
	if err != nil {
		return nil, err
	}
	if err := s.mayComplete(ctx, pr, r); err != nil {
		return nil, err
	}
	merged, err := s.Repos.Git.Merge(ctx, r.ID, repos.MergeRequest{Target: pr.TargetCommit, Source: pr.SourceCommit, Squash: squash,
		Message: fmt.Sprintf("Merged PR %d: %s\n\n%s", pr.Num, pr.Title, pr.Description), Author: by.Name, Email: by.Name + "@localhost"})
	if err != nil {
		return nil, err
	}
	// The ref moves only if the target is still where the checks saw it.
	if err := s.Repos.Git.UpdateRef(ctx, r.ID, pr.Target, merged, pr.TargetCommit); err != nil {
		return nil, err
	}
	err = s.Tx.InTx(ctx, func(ctx context.Context) error {
		if pr, err = s.PullRequests.Get(ctx, id); err != nil {
			return err
		}
		// What was validated is what was merged: the same trees, made again.
		for policy, b := range pr.Builds {
			if b.MergeCommit == pr.MergeCommit {
				b.MergeCommit = merged
				pr.Builds[policy] = b
			}
		}
		pr.Status, pr.MergeCommit, pr.Closed, pr.ClosedBy = Completed, merged, s.Clock.Now(), by.Name
		if err := s.Audit.Record(ctx, by.Name, "pr.complete", "pull request "+id, merged); err != nil {
			return err
		}
		if err := s.save(ctx, pr); err != nil {
			return err
		}
		return s.Repos.AcceptPush(ctx, r.ID, by, []repos.RefUpdate{{Ref: pr.Target, Old: pr.TargetCommit, New: merged}})
	})
	return pr, err
}

func (s *Service) mayComplete(ctx context.Context, pr *PullRequest, r *repos.Repository) error {
	for ref, seen := range map[string]string{pr.Source: pr.SourceCommit, pr.Target: pr.TargetCommit} {
		if now, err := s.Repos.History.Resolve(ctx, r.ID, ref); err != nil || now != seen {
			return fault.New(fault.Conflict, "pr-stale", "%s moved; the checks look at it now", repos.Short(ref)).Try("try again when they have passed: penstock pr checks %d", pr.Num)
		}
	}
	if pr.MergeStatus != "succeeded" {
		return fault.New(fault.Conflict, "merge-conflict", "the branches do not merge by themselves").Got("%s", pr.Conflicts).
			Try("merge %s into your branch, resolve, and push", repos.Short(pr.Target))
	}
	policies, err := s.PoliciesFor(ctx, r, pr.Target)
	if err != nil {
		return err
	}
	open := Blocking(Evaluate(pr, policies))
	if len(open) == 0 {
		return nil
	}
	var why []string
	for _, e := range open {
		name := string(e.Policy.Type)
		if e.Policy.Settings.Pipeline != "" {
			name = e.Policy.Settings.Pipeline
		}
		why = append(why, name+": "+e.Reason)
	}
	return fault.New(fault.Conflict, "policy-not-satisfied", "pull request !%d may not be completed yet", pr.Num).
		Want("every required policy of %s satisfied", repos.Short(pr.Target)).Got("%s", strings.Join(why, "; ")).Try("penstock pr checks %d", pr.Num)
}

// Abandon closes a pull request without merging.
func (s *Service) Abandon(ctx context.Context, id string) (*PullRequest, error) {
	by := identity.From(ctx)
	var pr *PullRequest
	err := s.Tx.InTx(ctx, func(ctx context.Context) error {
		var err error
		if pr, err = s.PullRequests.Get(ctx, id); err != nil {
			return err
		}
		if err := Moves.Check("pull request", pr.Status, Abandoned); err != nil {
			return err
		}
		pr.Status, pr.Closed, pr.ClosedBy = Abandoned, s.Clock.Now(), by.Name
		if err := s.Audit.Record(ctx, by.Name, "pr.abandon", "pull request "+id, ""); err != nil {
			return err
		}
		return s.save(ctx, pr)
	})
	return pr, err
}
