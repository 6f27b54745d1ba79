package pages

import (
	"slices"
	"strings"
	"time"

	"penstock.dev/penstock/internal/domain/agentpool"
	"penstock.dev/penstock/internal/domain/audit"
	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/pullrequest"
	"penstock.dev/penstock/internal/domain/repos"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/edge/webui/diffview"
)

// PullRow is a pull request in a list.
type PullRow struct {
	Pull     *pullrequest.PullRequest
	Repo     string
	Blocking int
	Mark     Mark
}

// PullListView is the list of pull requests.
type PullListView struct {
	Repo   *repos.Repository
	Filter string
	Rows   []PullRow
	Repos  []*repos.Repository
	Offer  []string // branches without a pull request, newest first
	Write  bool
}

// PullView is a pull request with all that its pages show.
type PullView struct {
	Pull     *pullrequest.PullRequest
	Repo     *repos.Repository
	Tab      string
	Now      time.Time
	Mark     Mark
	Checks   []CheckRow
	Blocking int
	Files    []*diffview.File
	Commits  []repos.Commit
	Runs     []RunRow
	Write    bool
	Own      pullrequest.Vote
	Voted    bool
	Added    int
	Removed  int
}

// CheckRow is a policy with how far it is satisfied.
type CheckRow struct {
	Mark     Mark
	Name     string
	Side     string
	Reason   string
	RunID    string
	Optional bool
}

// VoteWords are the votes as people read them.
var VoteWords = map[int]Mark{pullrequest.Approve: {"ok", "ok", "Approved"}, pullrequest.ApproveSuggestions: {"ok", "ok", "Approved with suggestions"},
	pullrequest.NoVote: {"todo", "off", "No vote"}, pullrequest.WaitForAuthor: {"warn", "warn", "Waits for author"}, pullrequest.Reject: {"bad", "bad", "Rejected"}}

// PullMark is how a pull request looks.
func PullMark(pr *pullrequest.PullRequest) Mark {
	switch pr.Status {
	case pullrequest.Completed:
		return Mark{"ok", "ok", "Completed"}
	case pullrequest.Abandoned:
		return Mark{"none", "off", "Abandoned"}
	}
	if pr.Draft {
		return Mark{"todo", "off", "Draft"}
	}
	return Mark{"branch", "run", "Active"}
}

// PullURL is the address of a pull request.
func PullURL(f *Frame, repo string, n int) string { return f.At("repos", repo, "pulls", Itoa(n)) }

// RepoView is a place in a repository.
type RepoView struct {
	Repo     *repos.Repository
	Ref      string // as in the address
	Commit   string
	Path     string
	Entries  []repos.TreeEntry
	Lines    []string
	Size     int
	Binary   bool
	Last     *repos.Commit
	Commits  []repos.Commit
	Branches []string
	Clone    string
	Files    []*diffview.File
	Title    string
	Now      time.Time
	More     string // address of older commits
}

// PipelineRow is a pipeline with its latest run.
type PipelineRow struct {
	Pipeline *run.Pipeline
	Repo     string
	Last     *RunRow
	Recent   []RunRow
}

// PipelineView is a pipeline's page.
type PipelineView struct {
	Pipeline   *run.Pipeline
	Repo       *repos.Repository
	Rows       []RunRow
	Branches   []string
	Parameters []pipeline.Parameter
	File       []string
	Problems   []pipeline.Diagnostic
	CanQueue   bool
	Now        time.Time
	Good, All  int
}

// InboxView is what waits for people, in all projects.
type InboxView struct {
	Filter string
	Rows   []*ApprovalView
	Yours  int
	Others int
	Now    time.Time
	Org    string
}

// EnvironmentView is an environment's page.
type EnvironmentView struct {
	Env       *environment.Environment
	Checks    []*environment.Check
	VMs       []VMRow
	History   []*environment.Deployment
	Bound     []string
	Approvals []*ApprovalView
	Locks     []*environment.Lock
	Now       time.Time
}

// VMRow is a machine with its agent.
type VMRow struct {
	VM     *environment.VM
	Online bool
	Seen   time.Time
	Slot   string // of an application, with its role
	Role   string
}

// PoolRow is a pool with its agents and what waits for them.
type PoolRow struct {
	Pool   *agentpool.Pool
	Agents []AgentRow
	Queued []QueueRow
	Online int
}

// AgentRow is an agent.
type AgentRow struct {
	Agent  *agentpool.Agent
	Online bool
	Seen   time.Time
	Busy   []QueueRow
	Mark   Mark
}

// QueueRow is a job that waits for an agent or is with one.
type QueueRow struct {
	Request *agentpool.Request
	Text    string // "" where the reader may not see the run
	URL     string
	Unmet   []string
}

// PoolsView lists the pools, or shows one.
type PoolsView struct {
	Pools   []PoolRow
	One     bool
	Machine []AgentRow // agents of VMs
	Now     time.Time
	URL     string
	Manage  bool
}

// AuditView is the audit list.
type AuditView struct {
	Rows                  []*audit.Record
	Actor, Action, Object string
	Older                 string
	Now                   time.Time
}

// MeView is the reader's own page.
type MeView struct {
	Subject identity.Subject
	Tokens  []*identity.Token
	Grants  []GrantRow
	Now     time.Time
}

// GrantRow is a role that is held.
type GrantRow struct{ Where, Role string }

// VotesOf lists the votes by name, so that they keep their places.
func VotesOf(pr *pullrequest.PullRequest) []pullrequest.Vote {
	list := make([]pullrequest.Vote, 0, len(pr.Votes))
	for _, v := range pr.Votes {
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b pullrequest.Vote) int { return strings.Compare(a.Name, b.Name) })
	return list
}
