// Package environment holds environments, their VMs, and the checks that a
// stage must pass before it may use them.
package environment

import (
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/state"
	"penstock.dev/penstock/internal/base/store"
)

// Environment is a named target of deployments.
type Environment struct {
	store.Revision
	ID          string    `col:"id" json:"id"`
	Num         int       `col:"num" json:"num"`
	ProjectID   string    `col:"project_id" json:"projectId"`
	Key         string    `col:"key" json:"key"` // project id / lower-case name
	Name        string    `json:"name"`
	Description string    `json:"description"`
	Created     time.Time `json:"created"`
}

// VM is a virtual machine resource. One that belongs to a slot of an
// application is reached through the environment bound to the slot's role, so
// its EnvironmentID is "".
type VM struct {
	store.Revision
	ID            string   `col:"id" json:"id"`
	Num           int      `col:"num" json:"num"`
	ProjectID     string   `col:"project_id" json:"projectId"`
	EnvironmentID string   `col:"environment_id" json:"environmentId"`
	Key           string   `col:"key" json:"key"` // project id / lower-case name
	Name          string   `json:"name"`
	Tags          []string `json:"tags"`
	Address       string   `json:"address"` // host that its services listen on
	AgentID       string   `json:"agentId"`
	Provider      string   `json:"provider"` // "" = registered by hand
	State         VMState  `json:"state"`
}

// VMState is whether a machine of a provider runs.
type VMState string

// The states of a VM.
const (
	VMRunning VMState = "running"
	VMStopped VMState = "stopped"
)

// HasTags reports whether the VM carries every tag, ignoring case.
func (v *VM) HasTags(tags []string) bool {
	for _, want := range tags {
		found := false
		for _, t := range v.Tags {
			found = found || strings.EqualFold(t, want)
		}
		if !found {
			return false
		}
	}
	return true
}

// CheckType names what a check looks at.
type CheckType string

// The checks.
const (
	ApprovalCheck      CheckType = "approval"
	ExclusiveLockCheck CheckType = "exclusiveLock"
	BranchControlCheck CheckType = "branchControl"
	BusinessHoursCheck CheckType = "businessHours"
)

// Check is one rule of an environment.
type Check struct {
	store.Revision
	ID            string        `col:"id" json:"id"`
	Num           int           `col:"num" json:"num"`
	EnvironmentID string        `col:"environment_id" json:"environmentId"`
	Type          CheckType     `json:"type"`
	Timeout       time.Duration `json:"timeout"`
	Settings      Settings      `json:"settings"`
	Created       time.Time     `json:"created"`
}

// Settings are those of every type; each uses its own.
type Settings struct {
	Approvers    []Approver `json:"approvers,omitempty"`
	Minimum      int        `json:"minimum,omitempty"` // approvals needed; 0 = all
	AllowSelf    bool       `json:"allowSelf,omitempty"`
	Instructions string     `json:"instructions,omitempty"`
	Branches     []string   `json:"branches,omitempty"` // full patterns
	Days         []string   `json:"days,omitempty"`     // Mon, Tue, …
	From         string     `json:"from,omitempty"`     // 08:00
	To           string     `json:"to,omitempty"`
	Zone         string     `json:"zone,omitempty"`
}

// Approver is a user, or a group any one member of which suffices.
type Approver struct {
	ID    string `json:"id"`
	Name  string `json:"name"` // ada, or [shop]\Release Managers
	Group bool   `json:"group,omitempty"`
}

// ApprovalStatus is the state of an approval.
type ApprovalStatus string

// The states of an approval.
const (
	Pending  ApprovalStatus = "pending"
	Approved ApprovalStatus = "approved"
	Rejected ApprovalStatus = "rejected"
	TimedOut ApprovalStatus = "timedOut"
	Canceled ApprovalStatus = "canceled"
)

// ApprovalMoves is the table of legal moves.
var ApprovalMoves = state.Moves[ApprovalStatus]{
	Pending:  {Approved, Rejected, TimedOut, Canceled},
	Approved: {}, Rejected: {}, TimedOut: {}, Canceled: {},
}

// Approval is one question put to people: by a check of a stage, or by a
// ManualValidation task (JobID set).
type Approval struct {
	store.Revision
	ID            string         `col:"id" json:"id"`
	ProjectID     string         `col:"project_id" json:"projectId"`
	RunID         string         `col:"run_id" json:"runId"`
	Stage         string         `json:"stage"`
	Attempt       int            `json:"attempt"`
	JobID         string         `col:"job_id" json:"jobId"`
	CheckID       string         `json:"checkId"`
	Environment   string         `json:"environment"` // name, "" for a task
	Approvers     []Approver     `json:"approvers"`   // empty: whoever may queue runs
	Minimum       int            `json:"minimum"`
	AllowSelf     bool           `json:"allowSelf"`
	RequesterID   string         `json:"requesterId"`
	Instructions  string         `json:"instructions"`
	ResumeOnTimer bool           `json:"resumeOnTimeout"` // a task's onTimeout: resume
	Status        ApprovalStatus `col:"status" json:"status"`
	Votes         []Vote         `json:"votes"`
	Created       time.Time      `col:"created" json:"created"`
	Expires       time.Time      `json:"expires"`
	Ended         time.Time      `json:"ended"`
}

// Vote is one person's answer.
type Vote struct {
	UserID   string         `json:"userId"`
	Name     string         `json:"name"`
	For      string         `json:"for"` // the approver's name: the person or a group
	Decision ApprovalStatus `json:"decision"`
	Comment  string         `json:"comment"`
	Time     time.Time      `json:"time"`
}

// Needed is how many approvals complete it.
func (a *Approval) Needed() int {
	if a.Minimum > 0 {
		return a.Minimum
	}
	return max(len(a.Approvers), 1)
}

// Lock is a stage's place in the queue for an exclusive resource.
type Lock struct {
	store.Revision
	ID         string    `col:"id" json:"id"`             // resource/run/stage/attempt
	Resource   string    `col:"resource" json:"resource"` // environment/<id> or stage/<pipeline>/<stage>
	RunID      string    `col:"run_id" json:"runId"`
	Pipeline   string    `json:"pipeline"`
	Branch     string    `json:"branch,omitempty"`
	Stage      string    `json:"stage"`
	Attempt    int       `json:"attempt"`
	Behavior   string    `json:"behavior"` // runLatest or sequential
	Superseded bool      `json:"superseded"`
	Queued     time.Time `col:"queued" json:"queued"`
}

// Deployment is one entry of an environment's history.
type Deployment struct {
	store.Revision
	ID            string    `col:"id" json:"id"`
	EnvironmentID string    `col:"environment_id" json:"environmentId"`
	RunID         string    `col:"run_id" json:"runId"`
	RunNumber     string    `json:"runNumber"`
	Pipeline      string    `json:"pipeline"`
	Stage         string    `json:"stage"`
	Job           string    `json:"job"`
	Attempt       int       `json:"attempt"`
	Slot          string    `json:"slot"` // application/slot, if one was pinned
	Resources     []string  `json:"resources"`
	Commit        string    `json:"commit"`
	Requester     string    `json:"requester"`
	Result        string    `json:"result"` // "" while it runs
	Started       time.Time `col:"started" json:"started"`
	Finished      time.Time `json:"finished"`
}
