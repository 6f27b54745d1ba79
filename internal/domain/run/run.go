// Package run holds pipelines and their runs: it decides which runs a push
// starts and carries each run through its stages, phases and jobs.
package run

import (
	"time"

	"penstock.dev/penstock/internal/base/state"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/deployment"
	"penstock.dev/penstock/internal/domain/pipeline"
)

// Pipeline is a definition: a YAML file of a repository under a name.
type Pipeline struct {
	store.Revision
	ID        string            `col:"id" json:"id"`
	Num       int               `col:"num" json:"num"`
	ProjectID string            `col:"project_id" json:"projectId"`
	RepoID    string            `col:"repo_id" json:"repoId"`
	Key       string            `col:"key" json:"key"` // project id / lower-case name
	Name      string            `json:"name"`
	Path      string            `json:"path"` // without a leading slash
	Variables map[string]string `json:"variables,omitempty"`
	// Groups are variable groups that its jobs have beside those that the file names,
	// which win.
	Groups []string `json:"groups,omitempty"`
	// Waiting holds, by branch, the newest push that a batching trigger keeps
	// back while a run of the branch is active.
	Waiting map[string]Waiting `json:"waiting,omitempty"`
	Created time.Time          `json:"created"`
}

// Waiting is a push kept back by `batch: true`.
type Waiting struct {
	PushID string `json:"pushId"`
	Commit string `json:"commit"`
	By     string `json:"by"`
	ByID   string `json:"byId"`
}

// State is the state of a run, stage, phase, job or step.
type State string

// The states, as in the API.
const (
	Pending    State = "pending"
	InProgress State = "inProgress"
	Completed  State = "completed"
)

// Moves is the table of legal moves; completed is the end. A skipped stage goes
// from pending to completed at once. Running something again makes a further
// attempt instead of a way back.
var Moves = state.Moves[State]{
	Pending:    {InProgress, Completed},
	InProgress: {Completed},
	Completed:  {},
}

// Result is the result of what has completed.
type Result string

// The results, as in the API.
const (
	Succeeded           Result = "succeeded"
	SucceededWithIssues Result = "succeededWithIssues"
	Failed              Result = "failed"
	Canceled            Result = "canceled"
	Skipped             Result = "skipped"
	Abandoned           Result = "abandoned"
)

// Reason is why a run started.
type Reason string

// The reasons, as in the API.
const (
	Manual            Reason = "manual"
	IndividualCI      Reason = "individualCI"
	BatchedCI         Reason = "batchedCI"
	PullRequestReason Reason = "pullRequest"
	ResourceTrigger   Reason = "resourceTrigger"
	Schedule          Reason = "schedule"
)

// Run is one execution of a pipeline.
type Run struct {
	store.Revision
	ID              string                `col:"id" json:"id"` // decimal number
	Num             int                   `col:"num" json:"num"`
	ProjectID       string                `col:"project_id" json:"projectId"`
	PipelineID      string                `col:"pipeline_id" json:"pipelineId"`
	Pipeline        string                `json:"pipeline"` // name
	Number          string                `json:"number"`   // Build.BuildNumber
	State           State                 `col:"state" json:"state"`
	Result          Result                `col:"result" json:"result"`
	Reason          Reason                `json:"reason"`
	Dedup           string                `col:"dedup" json:"dedup"` // what started it; unique
	RepoID          string                `json:"repoId"`
	Branch          string                `col:"branch" json:"branch"` // full ref
	Commit          string                `json:"commit"`
	Message         string                `json:"message"` // of the commit, first line
	Author          string                `json:"author,omitempty"`
	Origin          Origin                `json:"origin,omitzero"`      // of the repository
	Project         string                `json:"project,omitempty"`    // name
	Collection      string                `json:"collection,omitempty"` // URL of the organization when the run was queued, with a slash
	RequestedBy     string                `json:"requestedBy"`
	RequestedByID   string                `json:"requestedById"`
	RequestedEmail  string                `json:"requestedEmail,omitempty"` // of who asked, where it is known
	Parameters      map[string]any        `json:"parameters,omitempty"`
	Variables       map[string]string     `json:"variables,omitempty"` // at queue time
	PullRequest     int                   `json:"pullRequest,omitempty"`
	PR              *PRInfo               `json:"pr,omitempty"`
	TriggeredBy     string                `json:"triggeredBy,omitempty"` // run id
	Resources       []Resource            `json:"resources,omitempty"`
	Counters        map[string]int        `json:"counters,omitempty"` // values that counter() gave
	Tags            []string              `json:"tags,omitempty"`
	CancelRequested bool                  `json:"cancelRequested,omitempty"`
	CanceledBy      string                `json:"canceledBy,omitempty"`
	CanceledAt      time.Time             `json:"canceledAt"`
	Cause           string                `json:"cause,omitempty"` // why it failed, for people
	Diagnostics     []pipeline.Diagnostic `json:"diagnostics,omitempty"`
	Queued          time.Time             `col:"queued" json:"queued"`
	Started         time.Time             `json:"started"`
	Finished        time.Time             `json:"finished"`
}

// Origin is how a run's repository is known to those who work with it.
type Origin struct {
	Provider string `json:"provider"` // as in Build.Repository.Provider: GitHub, Bitbucket, TfsGit, Git
	ID       string `json:"id"`       // owner/name where the provider has owners
	Name     string `json:"name"`
	URL      string `json:"url"` // without credentials
}

// PRInfo is what a pull request run knows of its pull request.
type PRInfo struct {
	SourceBranch string `json:"sourceBranch"`
	TargetBranch string `json:"targetBranch"`
	SourceCommit string `json:"sourceCommit"`
}

// Resource is a pipeline resource as resolved when the run was queued.
type Resource struct {
	Alias      string `json:"alias"`
	PipelineID string `json:"pipelineId"`
	Pipeline   string `json:"pipeline"`
	RunID      string `json:"runId"`
	Number     string `json:"number"`
	Branch     string `json:"branch"`
	Commit     string `json:"commit"`
	Requester  string `json:"requester"`
	ProjectID  string `json:"projectId"`
}

// Planned is the compiled plan of a run.
type Planned struct {
	store.Revision
	ID   string         `col:"id" json:"id"` // the run's
	Plan *pipeline.Plan `json:"plan"`
}

// Stage is one attempt of a stage of a run.
type Stage struct {
	store.Revision
	ID          string    `col:"id" json:"id"` // run/stage/attempt
	RunID       string    `col:"run_id" json:"runId"`
	Name        string    `json:"name"`
	DisplayName string    `json:"displayName"`
	Order       int       `json:"order"`
	Attempt     int       `json:"attempt"`
	State       State     `json:"state"`
	Result      Result    `json:"result"`
	DependsOn   []string  `json:"dependsOn,omitempty"`
	Checking    bool      `json:"checking"`        // its checks have begun
	Waits       string    `json:"waits,omitempty"` // what the checks wait for
	Until       time.Time `json:"until"`           // how long they wait at most
	Cause       string    `json:"cause,omitempty"` // why it did not run
	Started     time.Time `json:"started"`
	Finished    time.Time `json:"finished"`
}

// Phase is one `job:` or `deployment:` of the file in one attempt of its stage;
// it becomes one or more jobs.
type Phase struct {
	store.Revision
	ID          string              `col:"id" json:"id"` // run/stage/phase/attempt
	RunID       string              `col:"run_id" json:"runId"`
	Stage       string              `json:"stage"`
	Name        string              `json:"name"`
	DisplayName string              `json:"displayName"`
	Order       int                 `json:"order"`
	Attempt     int                 `json:"attempt"`
	State       State               `json:"state"`
	Result      Result              `json:"result"`
	Pinning     bool                `json:"pinning,omitempty"` // a deployment that waits for its targets
	Stands      bool                `json:"stands,omitempty"`  // as an earlier attempt left it
	Rollout     *deployment.Rollout `json:"rollout,omitempty"`
	Spec        *pipeline.Job       `json:"spec,omitempty"` // with what only the run could compute; nil: as the plan has it
	Outputs     map[string]string   `json:"outputs,omitempty"`
	Cause       string              `json:"cause,omitempty"`
	Started     time.Time           `json:"started"`
	Finished    time.Time           `json:"finished"`
}

// Job is one execution on one agent, or on the server.
type Job struct {
	store.Revision
	ID              string            `col:"id" json:"id"`
	RunID           string            `col:"run_id" json:"runId"`
	Stage           string            `json:"stage"`
	Phase           string            `json:"phase"`
	Name            string            `json:"name"` // the phase's, or that of the matrix leg or hook
	DisplayName     string            `json:"displayName"`
	Order           int               `json:"order"`
	Attempt         int               `json:"attempt"`
	Until           int               `json:"until,omitempty"` // the last attempt it counts for, if that is a later one
	State           State             `col:"state" json:"state"`
	Result          Result            `json:"result"`
	Server          bool              `json:"server,omitempty"`
	PoolName        string            `json:"pool,omitempty"`
	Hook            string            `json:"hook,omitempty"`
	Increment       int               `json:"increment,omitempty"`
	Target          deployment.Target `json:"target,omitzero"`
	Leg             map[string]string `json:"leg,omitempty"`   // matrix variables
	Asked           bool              `json:"asked,omitempty"` // it is with the pool, or with the server
	AgentID         string            `json:"agentId,omitempty"`
	AgentName       string            `json:"agentName,omitempty"`
	Steps           []Step            `json:"steps"`
	Outputs         map[string]string `json:"outputs,omitempty"`
	CancelRequested bool              `json:"cancelRequested,omitempty"`
	Cause           string            `json:"cause,omitempty"` // ours: agent lost, no agent, …
	Queued          time.Time         `json:"queued"`
	Started         time.Time         `json:"started"`
	Finished        time.Time         `json:"finished"`
}

// Of says whether the job counts for an attempt of its stage.
func (j *Job) Of(attempt int) bool {
	return j.Attempt == attempt || j.Attempt < attempt && attempt <= j.Until
}

// Step is the record of one step of a job. Its log is <job id>/<order>.
type Step struct {
	Order       int       `json:"order"`
	Name        string    `json:"name,omitempty"`
	Ref         string    `json:"ref,omitempty"` // the name, or the one that the service would give it
	DisplayName string    `json:"displayName"`
	Task        string    `json:"task,omitempty"`
	State       State     `json:"state"`
	Result      Result    `json:"result"`
	Attempt     int       `json:"attempt,omitempty"`
	Started     time.Time `json:"started"`
	Finished    time.Time `json:"finished"`
	Lines       int       `json:"lines"`
	Errors      []string  `json:"errors,omitempty"`
	Warnings    []string  `json:"warnings,omitempty"`
	Percent     int       `json:"percent,omitempty"`
	Waits       bool      `json:"waits,omitempty"` // for an event from outside
}

// LogID is the name of a step's log.
func (j *Job) LogID(step int) string { return logID(j.ID, step) }
