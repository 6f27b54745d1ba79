package webui

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/pullrequest"
	"penstock.dev/penstock/internal/domain/repos"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/edge/webui/diffview"
	"penstock.dev/penstock/internal/edge/webui/pages"
)

func (c *call) findRepo() (*repos.Repository, error) {
	return c.s.Repos.Find(c.ctx(), c.project.ID, c.r.PathValue("repo"))
}

func (c *call) repositories() ([]*repos.Repository, error) {
	list, err := c.s.Repos.Repositories.Find(c.ctx(), store.Where("project_id", c.project.ID))
	slices.SortFunc(list, func(a, b *repos.Repository) int { return compareFold(a.Name, b.Name) })
	return list, err
}

func pullList(c *call) error {
	v := pages.PullListView{Filter: c.r.FormValue("show"), Write: c.can(identity.CodeWrite)}
	q := store.Where("project_id", c.project.ID)
	if c.r.PathValue("repo") != "" {
		r, err := c.findRepo()
		if err != nil {
			return err
		}
		v.Repo = r
		q = q.And("repo_id", r.ID)
	}
	status := pullrequest.Active
	if v.Filter == "completed" || v.Filter == "abandoned" {
		status = pullrequest.Status(v.Filter)
	} else {
		v.Filter = ""
	}
	list, err := c.s.PullRequests.PullRequests.Find(c.ctx(), q.And("status", string(status)).Latest("num").Top(200))
	if err != nil {
		return err
	}
	names := map[string]*repos.Repository{}
	if v.Repos, err = c.repositories(); err != nil {
		return err
	}
	for _, r := range v.Repos {
		names[r.ID] = r
	}
	taken := map[string]bool{}
	for _, pr := range list {
		r := names[pr.RepoID]
		if r == nil {
			continue
		}
		taken[pr.Source] = true
		row := pages.PullRow{Pull: pr, Repo: r.Name, Mark: pages.PullMark(pr)}
		if pr.Status == pullrequest.Active {
			row.Mark = c.pullState(pr, r)
		}
		c.listen("pr/" + pr.ID)
		v.Rows = append(v.Rows, row)
	}
	if len(c.frame.Keys) > 30 {
		c.frame.Keys = c.frame.Keys[:30]
	}
	if v.Repo != nil {
		v.Offer = c.offers(v.Repo, taken)
	}
	return c.page("pulls", "Pull requests", pages.PullList(c.frame, v))
}

// offers are branches that differ from the default one and have no pull request.
func (c *call) offers(r *repos.Repository, taken map[string]bool) []string {
	var list []string
	for ref, commit := range r.Refs {
		name := repos.Short(ref)
		if name == ref || taken[ref] || ref == r.DefaultBranch || commit == r.Refs[r.DefaultBranch] || len(list) >= 5 || repos.FullBranch(name) != ref {
			continue
		}
		if ahead, err := c.s.Repos.History.Commits(c.ctx(), r.ID, r.Refs[r.DefaultBranch], commit, 1); err != nil || len(ahead) == 0 {
			continue
		}
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

func (c *call) pullState(pr *pullrequest.PullRequest, r *repos.Repository) pages.Mark {
	if pr.MergeStatus == "conflicts" {
		return pages.Mark{Icon: "bad", Tone: "bad", Label: "Conflicts"}
	}
	policies, err := c.s.PullRequests.PoliciesFor(c.ctx(), r, pr.Target)
	if err != nil {
		return pages.PullMark(pr)
	}
	open := pullrequest.Blocking(pullrequest.Evaluate(pr, policies))
	if len(open) == 0 {
		return pages.Mark{Icon: "ok", Tone: "ok", Label: "Ready to complete"}
	}
	m := pages.Mark{Icon: "wait", Tone: "wait", Label: "Waits for " + pages.Many(len(open), "policy")}
	if len(open) > 1 {
		m.Label = fmt.Sprintf("Waits for %d policies", len(open))
	}
	if slices.ContainsFunc(open, func(e pullrequest.Evaluation) bool { return e.State == "rejected" }) {
		m.Icon, m.Tone, m.Label = "bad", "bad", "A policy fails"
	}
	return m
}

func openPull(c *call) error {
	r, err := c.findRepo()
	if err != nil {
		return err
	}
	pr, err := c.s.PullRequests.Create(c.ctx(), r, c.r.PostFormValue("title"), c.r.PostFormValue("description"), c.r.PostFormValue("source"), c.r.PostFormValue("target"))
	if err != nil {
		return err
	}
	return c.done(pages.PullURL(c.frame, r.Name, pr.Num), "Opened pull request !"+pr.ID+".")
}

// findPull finds the pull request of the address in its repository.
func (c *call) findPull() (*pullrequest.PullRequest, *repos.Repository, error) {
	r, err := c.findRepo()
	if err != nil {
		return nil, nil, err
	}
	pr, err := c.s.PullRequests.Find(c.ctx(), c.project.ID, c.r.PathValue("n"))
	if err == nil && pr.RepoID != r.ID {
		err = fault.New(fault.NotFound, "not-found", "repository %s has no pull request %s", r.Name, c.r.PathValue("n"))
	}
	return pr, r, err
}

func toPull(c *call) error {
	pr, err := c.s.PullRequests.Find(c.ctx(), c.project.ID, c.r.PathValue("n"))
	if err != nil {
		return err
	}
	r, err := c.s.Repos.Find(c.ctx(), c.project.ID, pr.RepoID)
	if err != nil {
		return err
	}
	return c.redirect(pages.PullURL(c.frame, r.Name, pr.Num), http.StatusFound)
}

func pullPage(c *call) error    { return pull(c, "") }
func pullFiles(c *call) error   { return pull(c, "files") }
func pullCommits(c *call) error { return pull(c, "commits") }
func pullRuns(c *call) error    { return pull(c, "runs") }

func pull(c *call, tab string) error {
	pr, r, err := c.findPull()
	if err != nil {
		return err
	}
	c.listen("pr/" + pr.ID)
	v := &pages.PullView{Pull: pr, Repo: r, Tab: tab, Now: c.now, Mark: pages.PullMark(pr), Write: c.can(identity.CodeWrite)}
	v.Own, v.Voted = pr.Votes[c.subject.ID]
	policies, err := c.s.PullRequests.PoliciesFor(c.ctx(), r, pr.Target)
	if err != nil {
		return err
	}
	list := pullrequest.Evaluate(pr, policies)
	v.Blocking = len(pullrequest.Blocking(list))
	for _, e := range list {
		v.Checks = append(v.Checks, checkRow(pr, e))
	}
	v.Checks = append(v.Checks, mergeRow(pr, r))
	if pr.MergeStatus == "conflicts" {
		v.Blocking++
	}
	if err := c.fillPull(v); err != nil {
		return err
	}
	return c.page("pulls", fmt.Sprintf("!%d %s", pr.Num, pr.Title), pages.PullPage(c.frame, v))
}

// fillPull reads commits, files and runs. Before the first merge there is
// nothing to compare yet.
func (c *call) fillPull(v *pages.PullView) error {
	from, to := v.Pull.TargetCommit, v.Pull.SourceCommit
	if from != "" && to != "" {
		if commits, err := c.s.Repos.History.Commits(c.ctx(), v.Repo.ID, from, to, 200); err == nil {
			v.Commits = commits
		}
		if diff, err := c.s.Repos.History.Diff(c.ctx(), v.Repo.ID, from, to); err == nil {
			v.Files = diffview.Parse(diff)
		}
	}
	for _, f := range v.Files {
		v.Added += f.Added
		v.Removed += f.Removed
	}
	runs, err := c.s.Runs.Runs.Find(c.ctx(), store.Where("project_id", c.project.ID).And("branch", "refs/pull/"+v.Pull.ID+"/merge").Latest("num").Top(pageSize))
	if err != nil {
		return err
	}
	runs = slices.DeleteFunc(runs, func(r *run.Run) bool { return r.RepoID != v.Repo.ID })
	v.Runs, err = c.rows(runs)
	return err
}

func checkRow(pr *pullrequest.PullRequest, e pullrequest.Evaluation) pages.CheckRow {
	row := pages.CheckRow{Name: string(e.Policy.Type), Reason: e.Reason, RunID: e.RunID, Optional: e.Policy.Optional}
	switch e.State {
	case "approved":
		row.Mark = pages.Mark{Icon: "ok", Tone: "ok", Label: "Satisfied"}
	case "rejected":
		row.Mark = pages.Mark{Icon: "bad", Tone: "bad", Label: "Not satisfied"}
	default:
		row.Mark = pages.Mark{Icon: "wait", Tone: "wait", Label: "Waits"}
	}
	switch e.Policy.Type {
	case pullrequest.MinimumReviewers:
		row.Name = pages.Many(e.Policy.Settings.Reviewers, "approving vote")
	case pullrequest.BuildValidation:
		row.Name = "Build: " + e.Policy.Settings.Pipeline
		if e.Policy.Settings.DisplayName != "" {
			row.Name = e.Policy.Settings.DisplayName
		}
		row.Side = e.State
		b := pr.Builds[e.Policy.ID]
		switch {
		case b.RunID == "":
			row.Reason = "A run is queued as soon as the branches are merged."
		case b.MergeCommit != pr.MergeCommit:
			row.Reason = "Run " + b.RunNumber + " tested an older merge."
		default:
			row.Reason = "Run " + b.RunNumber + " of the merge " + pages.Short(b.MergeCommit) + "."
		}
		if pr.Status != pullrequest.Active && b.RunID != "" {
			row.Side, row.Reason = "", "Run "+b.RunNumber+" tested the last merge."
			row.Mark = pages.Mark{Icon: "ok", Tone: "ok", Label: "Succeeded"}
			if b.State != "succeeded" {
				row.Mark = pages.Mark{Icon: "todo", Tone: "off", Label: "Not succeeded"}
			}
		}
		if pr.Status == pullrequest.Active && e.State == "running" && b.RunID != "" {
			row.Mark = pages.Mark{Icon: "run", Tone: "run", Label: "Running"}
		}
	}
	return row
}

func mergeRow(pr *pullrequest.PullRequest, r *repos.Repository) pages.CheckRow {
	target := repos.Short(pr.Target)
	switch {
	case pr.Status == pullrequest.Completed:
		return pages.CheckRow{Name: "Merged", Mark: pages.Mark{Icon: "ok", Tone: "ok"}, Reason: "Commit " + pages.Short(pr.MergeCommit) + " on " + target + "."}
	case pr.MergeStatus == "conflicts":
		return pages.CheckRow{Name: "Conflicts", Mark: pages.Mark{Icon: "bad", Tone: "bad"}, Reason: pr.Conflicts + ". Merge " + target + " into your branch, resolve, and push."}
	case pr.MergeStatus == "succeeded":
		return pages.CheckRow{Name: "Merges cleanly", Mark: pages.Mark{Icon: "ok", Tone: "ok"}, Reason: "Tried on " + target + " at " + pages.Short(pr.TargetCommit) + "."}
	}
	return pages.CheckRow{Name: "Merge", Mark: pages.Mark{Icon: "run", Tone: "run"}, Reason: "Being tried on " + target + " of " + r.Name + "."}
}

func pullVote(c *call) error {
	pr, r, err := c.findPull()
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(c.r.PostFormValue("vote"))
	if err != nil {
		return fault.New(fault.Invalid, "unknown-vote", "no vote %q", c.r.PostFormValue("vote"))
	}
	if _, err := c.s.PullRequests.CastVote(c.ctx(), pr.ID, n); err != nil {
		return err
	}
	return c.done(pages.PullURL(c.frame, r.Name, pr.Num), "Your vote: "+pages.VoteWords[n].Label+".")
}

func pullComment(c *call) error {
	pr, r, err := c.findPull()
	if err != nil {
		return err
	}
	if pr, err = c.s.PullRequests.Comment(c.ctx(), pr.ID, c.r.PostFormValue("text")); err != nil {
		return err
	}
	return c.done(fmt.Sprintf("%s#comment-%d", pages.PullURL(c.frame, r.Name, pr.Num), len(pr.Comments)), "Commented.")
}

func pullComplete(c *call) error {
	pr, r, err := c.findPull()
	if err != nil {
		return err
	}
	if _, err := c.s.PullRequests.Complete(c.ctx(), pr.ID, c.r.PostFormValue("squash") != ""); err != nil {
		return err
	}
	return c.done(pages.PullURL(c.frame, r.Name, pr.Num), "Completed: merged into "+repos.Short(pr.Target)+".")
}

func pullAbandon(c *call) error {
	pr, r, err := c.findPull()
	if err != nil {
		return err
	}
	if _, err := c.s.PullRequests.Abandon(c.ctx(), pr.ID); err != nil {
		return err
	}
	return c.done(pages.PullURL(c.frame, r.Name, pr.Num), "Abandoned. The branch stays.")
}
