// Package agentpool holds pools and agents, and hands jobs to them: a job goes
// to one agent at a time, under a lease that the agent renews and a fencing
// number that grows with every assignment.
package agentpool

import (
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/state"
	"penstock.dev/penstock/internal/base/store"
)

// Pool is a named set of agents.
type Pool struct {
	store.Revision
	ID   string `col:"id" json:"id"`
	Num  int    `col:"num" json:"num"`
	Key  string `col:"key" json:"key"` // lower-case name
	Name string `json:"name"`
}

// Agent is one worker. An agent of a VM takes only jobs addressed to it and
// belongs to no pool.
type Agent struct {
	store.Revision
	ID           string            `col:"id" json:"id"`
	Num          int               `col:"num" json:"num"`
	PoolID       string            `col:"pool_id" json:"poolId"`
	Key          string            `col:"key" json:"key"` // pool or environment id / lower-case name, unique
	Name         string            `json:"name"`
	VM           string            `json:"vm,omitempty"` // id of the VM resource it serves
	Capabilities map[string]string `json:"capabilities"`
	Version      string            `json:"version"`
	Disabled     bool              `json:"disabled"`
	Jobs         int               `json:"jobs"` // at a time
	Created      time.Time         `json:"created"`
}

// RequestState is the state of a job request.
type RequestState string

// The states of a request.
const (
	Queued    RequestState = "queued"
	Assigned  RequestState = "assigned"
	Completed RequestState = "completed"
)

// RequestMoves is the table of legal moves. An assigned request goes back into
// the queue only while its agent has not accepted it: no step has begun then. One
// that was accepted is completed as lost when its agent stays away, never handed
// to a second agent by itself: a step must not run twice unless a person asks.
var RequestMoves = state.Moves[RequestState]{
	Queued:    {Assigned, Completed},
	Assigned:  {Queued, Completed},
	Completed: {},
}

// Request asks for an agent for one job.
type Request struct {
	store.Revision
	ID              string       `col:"id" json:"id"` // the job's id
	RunID           string       `col:"run_id" json:"runId"`
	PoolID          string       `col:"pool_id" json:"poolId"`
	AgentID         string       `col:"agent_id" json:"agentId"` // the agent it must go to, or went to
	Demands         []string     `json:"demands"`
	State           RequestState `col:"state" json:"state"`
	Queued          time.Time    `col:"queued" json:"queued"`
	Fence           int          `json:"fence"`
	Lease           time.Time    `col:"lease" json:"lease"`
	CancelRequested bool         `json:"cancelRequested"`
	// Accepted says that the agent has the job and may run its steps.
	Accepted bool `json:"accepted,omitempty"`
	// Lost says that the job was ended because its agent was silent. The rest of
	// its log is still taken, its result is not.
	Lost bool `json:"lost,omitempty"`
}

// Fits reports whether an agent can take a request.
func Fits(r *Request, a *Agent, match func(demand string, capabilities map[string]string) bool) bool {
	if a.Disabled || r.AgentID != "" && r.AgentID != a.ID || r.AgentID == "" && r.PoolID != a.PoolID {
		return false
	}
	for _, d := range r.Demands {
		if !match(d, a.Capabilities) {
			return false
		}
	}
	return true
}

// Unmet lists what an agent lacks for a request, for people.
func Unmet(r *Request, a *Agent, match func(demand string, capabilities map[string]string) bool) []string {
	var lacking []string
	for _, d := range r.Demands {
		if !match(d, a.Capabilities) {
			lacking = append(lacking, d)
		}
	}
	return lacking
}

func lower(s string) string { return strings.ToLower(s) }
