package trigger

import (
	"slices"

	"penstock.dev/penstock/internal/domain/pipeline"
)

// Push is a branch at a new tip.
type Push struct {
	Ref     string
	Commit  string
	Changed []string // paths
	Message string   // of the tip
}

// Batch is what a pipeline with batch: true keeps for one branch: whether a run
// is in progress, and what was pushed since it began.
type Batch struct {
	Running bool
	Pending *Push
}

// Pushed takes a push in. start is the push to start a run with now, if any:
// without batch every push that matches, with batch only if no run is in
// progress. While one is, pushes are gathered into one.
func (b Batch) Pushed(t pipeline.Trigger, p Push) (next Batch, start *Push) {
	if pipeline.SkipsCI(p.Message) {
		return b, nil
	}
	if !t.Batch {
		if !t.MatchPush(p.Ref, p.Changed) {
			return b, nil
		}
		return Batch{Running: true}, &p
	}
	if b.Pending != nil {
		p.Changed = union(b.Pending.Changed, p.Changed)
	}
	b.Pending = &p
	if b.Running {
		return b, nil
	}
	return b.flush(t)
}

// Ended says that the run in progress has ended. start is what was pushed
// meanwhile, at its last commit, with the paths of all of it.
func (b Batch) Ended(t pipeline.Trigger) (next Batch, start *Push) {
	b.Running = false
	return b.flush(t)
}

// flush starts what is pending. The path filters see all of it together; what
// they do not let pass is forgotten.
func (b Batch) flush(t pipeline.Trigger) (Batch, *Push) {
	p := b.Pending
	if p == nil || !t.MatchPush(p.Ref, p.Changed) {
		return Batch{}, nil
	}
	return Batch{Running: true}, p
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// PullRequest is an open pull request at a new commit.
type PullRequest struct {
	Target  string // ref it goes into
	Draft   bool
	Changed []string // paths, of the whole pull request
}

// PullRequestUpdated reports whether a new commit of a pull request starts a
// run, and whether that cancels the runs of its older commits.
func PullRequestUpdated(t pipeline.Trigger, p PullRequest) (start, cancelOlder bool) {
	start = t.MatchPullRequest(p.Target, p.Changed) && (t.Drafts || !p.Draft)
	return start, start && t.AutoCancel
}
