// Package pullrequest holds pull requests and the branch policies they must
// satisfy before they may be completed.
package pullrequest

import (
	"fmt"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/state"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/repos"
)

// Status is the state of a pull request.
type Status string

// The states of a pull request.
const (
	Active    Status = "active"
	Completed Status = "completed"
	Abandoned Status = "abandoned"
)

// Moves is the table of legal moves.
var Moves = state.Moves[Status]{Active: {Completed, Abandoned}, Abandoned: {Active}, Completed: {}}

// PullRequest proposes to merge one branch into another.
type PullRequest struct {
	store.Revision
	ID           string           `col:"id" json:"id"`
	Num          int              `col:"num" json:"num"`
	ProjectID    string           `col:"project_id" json:"projectId"`
	RepoID       string           `col:"repo_id" json:"repoId"`
	Title        string           `json:"title"`
	Description  string           `json:"description"`
	Source       string           `col:"source" json:"source"` // full ref
	Target       string           `col:"target" json:"target"`
	SourceCommit string           `json:"sourceCommit"`
	TargetCommit string           `json:"targetCommit"`
	MergeCommit  string           `json:"mergeCommit"` // of the merge that runs test; after completion, the real one
	MergeStatus  string           `json:"mergeStatus"` // succeeded, conflicts, queued
	Conflicts    string           `json:"conflicts,omitempty"`
	Status       Status           `col:"status" json:"status"`
	CreatedBy    string           `json:"createdBy"` // user id
	CreatedName  string           `json:"createdName"`
	LastPusher   string           `json:"lastPusher"`
	Iteration    int              `json:"iteration"`
	Votes        map[string]Vote  `json:"votes"`  // by user id
	Builds       map[string]Build `json:"builds"` // by policy id
	Comments     []Comment        `json:"comments,omitempty"`
	Created      time.Time        `col:"created" json:"created"`
	Closed       time.Time        `json:"closed"`
	ClosedBy     string           `json:"closedBy,omitempty"`
	Draft        bool             `json:"draft,omitempty"`
}

// The votes, as in the API.
const (
	Approve            = 10
	ApproveSuggestions = 5
	NoVote             = 0
	WaitForAuthor      = -5
	Reject             = -10
)

// Vote is one reviewer's.
type Vote struct {
	Name      string    `json:"name"`
	Value     int       `json:"value"`
	Iteration int       `json:"iteration"`
	Time      time.Time `json:"time"`
}

// Build is the state of one build validation.
type Build struct {
	RunID       string `json:"runId"`
	RunNumber   string `json:"runNumber"`
	MergeCommit string `json:"mergeCommit"`
	State       string `json:"state"` // queued, running, succeeded, failed
}

// Comment is one remark.
type Comment struct {
	By   string    `json:"by"`
	Text string    `json:"text"`
	Time time.Time `json:"time"`
}

// PolicyType names what a policy asks for.
type PolicyType string

// The policies. Their ids in the API are those of the service.
const (
	MinimumReviewers PolicyType = "minimumReviewers"
	BuildValidation  PolicyType = "buildValidation"
)

// Policy is one rule of a branch.
type Policy struct {
	store.Revision
	ID        string         `col:"id" json:"id"`
	Num       int            `col:"num" json:"num"`
	ProjectID string         `col:"project_id" json:"projectId"`
	RepoID    string         `col:"repo_id" json:"repoId"` // "" = every repository
	Branch    string         `json:"branch"`               // full ref
	Type      PolicyType     `json:"type"`
	Disabled  bool           `json:"disabled"`
	Optional  bool           `json:"optional"`
	Settings  PolicySettings `json:"settings"`
	Created   time.Time      `json:"created"`
}

// PolicySettings are those of every type; each uses its own.
type PolicySettings struct {
	Reviewers          int    `json:"reviewers,omitempty"`
	CreatorVoteCounts  bool   `json:"creatorVoteCounts,omitempty"`
	AllowDownvotes     bool   `json:"allowDownvotes,omitempty"`
	ResetOnSourcePush  bool   `json:"resetOnSourcePush,omitempty"`
	LastPusherVoteDead bool   `json:"blockLastPusherVote,omitempty"`
	PipelineID         string `json:"pipelineId,omitempty"`
	Pipeline           string `json:"pipeline,omitempty"`
	DisplayName        string `json:"displayName,omitempty"`
}

// Covers reports whether the policy applies to a branch of a repository.
func (p *Policy) Covers(r *repos.Repository, branch string) bool {
	return !p.Disabled && p.ProjectID == r.ProjectID && (p.RepoID == "" || p.RepoID == r.ID) && p.Branch == branch
}

// Evaluation is how far a policy is satisfied.
type Evaluation struct {
	Policy *Policy
	State  string // approved, rejected, queued, running
	Reason string // for people
	RunID  string
}

// Evaluate judges every policy; it is pure.
func Evaluate(pr *PullRequest, policies []*Policy) []Evaluation {
	var list []Evaluation
	for _, p := range policies {
		e := Evaluation{Policy: p}
		switch p.Type {
		case MinimumReviewers:
			e.State, e.Reason = reviewers(pr, p.Settings)
		case BuildValidation:
			b, ok := pr.Builds[p.ID]
			e.State, e.Reason, e.RunID = buildState(pr, b, ok), b.State, b.RunID
			if !ok {
				e.Reason = "not queued yet"
			}
		}
		list = append(list, e)
	}
	return list
}

func reviewers(pr *PullRequest, s PolicySettings) (state, reason string) {
	approvals, against := 0, []string{}
	for user, v := range pr.Votes {
		if v.Value < 0 && !s.AllowDownvotes {
			against = append(against, v.Name)
		}
		own := user == pr.CreatedBy && !s.CreatorVoteCounts
		pushed := user == pr.LastPusher && s.LastPusherVoteDead
		if v.Value >= ApproveSuggestions && !own && !pushed {
			approvals++
		}
	}
	switch {
	case len(against) > 0:
		return "rejected", strings.Join(against, ", ") + " voted against"
	case approvals >= s.Reviewers:
		return "approved", fmt.Sprintf("%d of %d approved", approvals, s.Reviewers)
	}
	return "running", fmt.Sprintf("waits for %d more of %d reviewers, other than %s", s.Reviewers-approvals, s.Reviewers, pr.CreatedName)
}

func buildState(pr *PullRequest, b Build, queued bool) string {
	switch {
	case !queued || b.MergeCommit != pr.MergeCommit:
		return "queued"
	case b.State == "succeeded":
		return "approved"
	case b.State == "failed":
		return "rejected"
	}
	return "running"
}

// Blocking lists the evaluations that stand in the way of completion.
func Blocking(list []Evaluation) []Evaluation {
	var open []Evaluation
	for _, e := range list {
		if e.State != "approved" && !e.Policy.Optional {
			open = append(open, e)
		}
	}
	return open
}
