package devopsapi

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/pullrequest"
	"penstock.dev/penstock/internal/domain/repos"
)

const (
	repoPullRequestsID = "9946fd70-0d40-406e-b686-b4744cbbcc37"
	pullRequestsID     = "a5d28130-9cd2-40fa-9f08-902e7daa9efb"
	onePullRequestID   = "01a46dea-7d46-4d40-bc84-319e7c260d99"
	reviewersID        = "4b6702c7-aa35-4b89-9c96-b9abf6d3e540"
	threadsID          = "ab6e2e5d-a0b7-4153-b64a-a4efe0d49449"
)

const repoPRs = "{project}/_apis/git/repositories/{repository}/pullRequests"

var pullRequestRoutes = []Route{
	{"git", "pullRequests", repoPullRequestsID, "GET", repoPRs, identity.ProjectView, (*call).listPullRequests, (*call).projectOfRepository, smallJSON},
	{"git", "pullRequests", repoPullRequestsID, "POST", repoPRs, identity.CodeWrite, (*call).createPullRequest, (*call).projectOfRepository, smallJSON},
	{"git", "pullRequests", repoPullRequestsID, "GET", repoPRs + "/{pullRequest}", identity.ProjectView, (*call).getPullRequest, (*call).projectOfRepository, smallJSON},
	{"git", "pullRequests", repoPullRequestsID, "PATCH", repoPRs + "/{pullRequest}", identity.CodeWrite, (*call).patchPullRequest, (*call).projectOfRepository, smallJSON},
	{"git", "pullRequests", pullRequestsID, "GET", "{project}/_apis/git/pullRequests", identity.ProjectView, (*call).listPullRequests, nil, smallJSON},
	{"git", "pullRequests", onePullRequestID, "GET", "{project}/_apis/git/pullRequests/{pullRequest}", identity.ProjectView, (*call).getPullRequest, (*call).projectOfPullRequest, smallJSON},
	{"git", "pullRequestReviewers", reviewersID, "GET", repoPRs + "/{pullRequest}/reviewers", identity.ProjectView, (*call).listReviewers, (*call).projectOfRepository, smallJSON},
	{"git", "pullRequestReviewers", reviewersID, "PUT", repoPRs + "/{pullRequest}/reviewers/{reviewer}", identity.CodeWrite, (*call).vote, (*call).projectOfRepository, smallJSON},
	{"git", "pullRequestThreads", threadsID, "GET", repoPRs + "/{pullRequest}/threads", identity.ProjectView, (*call).listThreads, (*call).projectOfRepository, smallJSON},
	{"git", "pullRequestThreads", threadsID, "POST", repoPRs + "/{pullRequest}/threads", identity.CodeWrite, (*call).createThread, (*call).projectOfRepository, smallJSON},
	{"penstock", "pullrequestdiff", "", "GET", "{project}/_apis/penstock/pullrequests/{pullRequest}/diff", identity.ProjectView, (*call).pullRequestDiff, nil, smallJSON},
}

func (c *call) projectOfPullRequest() (string, error) {
	pr, err := c.PullRequests.PullRequests.Get(c.ctx(), c.params["pullRequest"])
	if err != nil {
		return "", fault.New(fault.NotFound, "not-found", "no pull request %s", c.params["pullRequest"]).Try("penstock pr list")
	}
	return pr.ProjectID, nil
}

// pullRequest returns the pull request of the address; one of another
// repository is not there.
func (c *call) pullRequest() (*pullrequest.PullRequest, *repos.Repository, error) {
	pr, err := c.PullRequests.Find(c.ctx(), c.project.ID, c.params["pullRequest"])
	if err != nil {
		return nil, nil, err
	}
	r, err := c.Repos.Repositories.Get(c.ctx(), pr.RepoID)
	if err != nil {
		return nil, nil, err
	}
	if c.params["repository"] == "" {
		return pr, r, nil
	}
	named, err := c.repository()
	if err == nil && named.ID != pr.RepoID {
		err = fault.New(fault.NotFound, "not-found", "repository %s has no pull request %s", named.Name, c.params["pullRequest"])
	}
	return pr, r, err
}

type reviewerShape struct {
	person
	Vote       int  `json:"vote"`
	IsRequired bool `json:"isRequired"`
}

type commitRef struct {
	CommitID string `json:"commitId"`
}

type pullRequestShape struct {
	ID          int             `json:"pullRequestId"`
	ReviewID    int             `json:"codeReviewId"`
	Status      string          `json:"status"`
	Title       string          `json:"title"`
	Description string          `json:"description,omitempty"`
	IsDraft     bool            `json:"isDraft"`
	CreatedBy   person          `json:"createdBy"`
	Created     time.Time       `json:"creationDate"`
	Closed      time.Time       `json:"closedDate,omitzero"`
	ClosedBy    *person         `json:"closedBy,omitempty"`
	Source      string          `json:"sourceRefName"`
	Target      string          `json:"targetRefName"`
	MergeStatus string          `json:"mergeStatus"`
	Failure     string          `json:"mergeFailureMessage,omitempty"`
	LastSource  *commitRef      `json:"lastMergeSourceCommit,omitempty"`
	LastTarget  *commitRef      `json:"lastMergeTargetCommit,omitempty"`
	LastMerge   *commitRef      `json:"lastMergeCommit,omitempty"`
	Reviewers   []reviewerShape `json:"reviewers"`
	Repository  repositoryShape `json:"repository"`
	URL         string          `json:"url"`
	ArtifactID  string          `json:"artifactId"`
	Iterations  bool            `json:"supportsIterations"`
	Links       map[string]link `json:"_links"`
}

func refOf(commit string) *commitRef {
	if commit == "" {
		return nil
	}
	return &commitRef{commit}
}

func reviewers(pr *pullrequest.PullRequest) []reviewerShape {
	list := []reviewerShape{}
	for user, v := range pr.Votes {
		list = append(list, reviewerShape{person: personOf(user, v.Name), Vote: v.Value})
	}
	slices.SortFunc(list, func(a, b reviewerShape) int { return strings.Compare(a.DisplayName, b.DisplayName) })
	return list
}

func (c *call) pullRequestShape(pr *pullrequest.PullRequest, r *repos.Repository) pullRequestShape {
	repo := c.repositoryShape(r)
	self := repo.URL + "/pullRequests/" + pr.ID
	s := pullRequestShape{ID: pr.Num, ReviewID: pr.Num, Status: string(pr.Status), Title: pr.Title, Description: pr.Description, IsDraft: pr.Draft,
		CreatedBy: personOf(pr.CreatedBy, pr.CreatedName), Created: pr.Created, Closed: pr.Closed, Source: pr.Source, Target: pr.Target,
		MergeStatus: pr.MergeStatus, Failure: pr.Conflicts, LastSource: refOf(pr.SourceCommit), LastTarget: refOf(pr.TargetCommit), LastMerge: refOf(pr.MergeCommit),
		Reviewers: reviewers(pr), Repository: repo, URL: self, Iterations: true,
		ArtifactID: "vstfs:///Git/PullRequestId/" + url.PathEscape(pr.ProjectID+"/"+pr.RepoID+"/"+pr.ID),
		Links:      links(self, c.projectURL()+"/repos/"+url.PathEscape(r.Name)+"/pulls/"+pr.ID)}
	if pr.ClosedBy != "" {
		by := personOf("", pr.ClosedBy)
		s.ClosedBy = &by
	}
	return s
}

// statusFilter reads searchCriteria.status, which arrives as a word or a number.
func statusFilter(text string) (status string, all bool) {
	switch strings.ToLower(text) {
	case "", "active", "1":
		return string(pullrequest.Active), false
	case "abandoned", "2":
		return string(pullrequest.Abandoned), false
	case "completed", "3":
		return string(pullrequest.Completed), false
	}
	return "", true
}

func (c *call) listPullRequests() (any, error) {
	q := store.Where("project_id", c.project.ID).Latest("num")
	if name := cmp.Or(c.params["repository"], c.query("searchCriteria.repositoryId")); name != "" {
		r, err := c.Repos.Find(c.ctx(), c.project.ID, name)
		if err != nil {
			return nil, err
		}
		q = q.And("repo_id", r.ID)
	}
	if status, all := statusFilter(c.query("searchCriteria.status")); !all {
		q = q.And("status", status)
	}
	for column, name := range map[string]string{"source": "searchCriteria.sourceRefName", "target": "searchCriteria.targetRefName"} {
		if v := c.query(name); v != "" {
			q = q.And(column, repos.FullBranch(v))
		}
	}
	skip := c.skip()
	found, err := c.PullRequests.PullRequests.Find(c.ctx(), q.Top(skip+c.top(100)))
	if err != nil {
		return nil, err
	}
	out := []pullRequestShape{}
	for _, pr := range found[min(skip, len(found)):] {
		r, err := c.Repos.Repositories.Get(c.ctx(), pr.RepoID)
		if err != nil {
			return nil, err
		}
		out = append(out, c.pullRequestShape(pr, r))
	}
	return listOf(out), nil
}

func (c *call) getPullRequest() (any, error) {
	pr, r, err := c.pullRequest()
	if err != nil {
		return nil, err
	}
	return c.pullRequestShape(pr, r), nil
}

func (c *call) createPullRequest() (any, error) {
	var in struct{ SourceRefName, TargetRefName, Title, Description string }
	if err := c.read(&in); err != nil {
		return nil, err
	}
	r, err := c.repository()
	if err != nil {
		return nil, err
	}
	pr, err := c.PullRequests.Create(c.ctx(), r, in.Title, in.Description, in.SourceRefName, in.TargetRefName)
	if err != nil {
		return nil, err
	}
	return created{c.pullRequestShape(pr, r)}, nil
}

func (c *call) patchPullRequest() (any, error) {
	var in struct {
		Status                string
		LastMergeSourceCommit commitRef
		CompletionOptions     struct {
			SquashMerge   bool
			MergeStrategy any
		}
	}
	if err := c.read(&in); err != nil {
		return nil, err
	}
	pr, r, err := c.pullRequest()
	if err != nil {
		return nil, err
	}
	switch strings.ToLower(in.Status) {
	case "completed":
		if seen := in.LastMergeSourceCommit.CommitID; seen != "" && seen != pr.SourceCommit {
			return nil, fault.New(fault.Conflict, "pr-stale", "the source branch moved since you looked").Want("%s", pr.SourceCommit).Got("%s", seen).Try("look at it again")
		}
		strategy := in.CompletionOptions.MergeStrategy
		squash := in.CompletionOptions.SquashMerge || strategy == "squash" || strategy == float64(2)
		pr, err = c.PullRequests.Complete(c.ctx(), pr.ID, squash)
	case "abandoned":
		pr, err = c.PullRequests.Abandon(c.ctx(), pr.ID)
	default:
		return nil, fault.New(fault.Invalid, "unknown-status", "a pull request's status cannot become %q", in.Status).Want("completed or abandoned")
	}
	if err != nil {
		return nil, err
	}
	return c.pullRequestShape(pr, r), nil
}

func (c *call) listReviewers() (any, error) {
	pr, _, err := c.pullRequest()
	if err != nil {
		return nil, err
	}
	return listOf(reviewers(pr)), nil
}

// vote records the caller's own vote; nobody votes for somebody else.
func (c *call) vote() (any, error) {
	var in struct{ Vote int }
	if err := c.read(&in); err != nil {
		return nil, err
	}
	pr, _, err := c.pullRequest()
	if err != nil {
		return nil, err
	}
	if who := c.params["reviewer"]; who != c.subject.ID && !strings.EqualFold(who, c.subject.Name) && !strings.EqualFold(who, "me") {
		return nil, fault.New(fault.Denied, "denied", "you can vote for yourself only").Want("%s", c.subject.ID).Got("%s", who)
	}
	if pr, err = c.PullRequests.CastVote(c.ctx(), pr.ID, in.Vote); err != nil {
		return nil, err
	}
	return reviewerShape{person: personOf(c.subject.ID, c.subject.Name), Vote: pr.Votes[c.subject.ID].Value}, nil
}

type commentShape struct {
	ID        int       `json:"id"`
	Parent    int       `json:"parentCommentId"`
	Author    person    `json:"author"`
	Content   string    `json:"content"`
	Published time.Time `json:"publishedDate"`
	Type      string    `json:"commentType"`
}

type threadShape struct {
	ID        int            `json:"id"`
	Published time.Time      `json:"publishedDate"`
	Updated   time.Time      `json:"lastUpdatedDate"`
	Status    string         `json:"status"`
	Comments  []commentShape `json:"comments"`
}

// A comment is a thread of one.
func threadShapeOf(i int, k pullrequest.Comment) threadShape {
	return threadShape{ID: i + 1, Published: k.Time, Updated: k.Time, Status: "active",
		Comments: []commentShape{{ID: 1, Author: personOf("", k.By), Content: k.Text, Published: k.Time, Type: "text"}}}
}

func (c *call) listThreads() (any, error) {
	pr, _, err := c.pullRequest()
	if err != nil {
		return nil, err
	}
	threads := []threadShape{}
	for i, k := range pr.Comments {
		threads = append(threads, threadShapeOf(i, k))
	}
	return listOf(threads), nil
}

func (c *call) createThread() (any, error) {
	var in struct {
		Comments []struct{ Content string }
	}
	if err := c.read(&in); err != nil {
		return nil, err
	}
	pr, _, err := c.pullRequest()
	if err != nil {
		return nil, err
	}
	if len(in.Comments) != 1 {
		return nil, fault.New(fault.Invalid, "one-comment", "a thread begins with one comment").Got("%d", len(in.Comments))
	}
	if pr, err = c.PullRequests.Comment(c.ctx(), pr.ID, in.Comments[0].Content); err != nil {
		return nil, err
	}
	last := len(pr.Comments) - 1
	return threadShapeOf(last, pr.Comments[last]), nil
}

func (c *call) pullRequestDiff() (any, error) {
	pr, r, err := c.pullRequest()
	if err != nil {
		return nil, err
	}
	from, to := pr.TargetCommit, pr.SourceCommit
	if to == "" {
		return nil, fault.New(fault.Unavailable, "not-merged-yet", "pull request !%d has not been looked at yet", pr.Num).Try("try again in a second")
	}
	text, err := c.Repos.History.Diff(c.ctx(), r.ID, from, to)
	if err != nil {
		return nil, err
	}
	return c.bytes("text/plain; charset=utf-8", []byte(text)), nil
}
