// Package application holds what is released: applications, their slots, the
// role of each slot, and the swap that exchanges roles and moves traffic.
package application

import (
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/state"
	"penstock.dev/penstock/internal/base/store"
)

// The roles of a slot.
const (
	Production = "production"
	Staging    = "staging"
	Previous   = "previous"
	Idle       = "idle"
)

// Application is what people reach under a name.
type Application struct {
	store.Revision
	ID         string    `col:"id" json:"id"`
	ProjectID  string    `col:"project_id" json:"projectId"`
	Key        string    `col:"key" json:"key"` // project id / name
	Name       string    `json:"name"`
	Spec       Spec      `json:"spec"`
	Slots      []Slot    `json:"slots"`
	Generation uint64    `json:"generation"` // of its last change of traffic
	SwapID     string    `json:"swapId"`     // the swap under way, "" = none
	LastSwap   string    `json:"lastSwap"`   // the last one that was published
	Created    time.Time `json:"created"`
}

// Slot is a group of VMs able to run a whole release.
type Slot struct {
	Name       string    `json:"name"`
	VMs        []string  `json:"vms"`
	Addresses  []string  `json:"addresses"` // of the VMs, in the same order
	Front      string    `json:"front"`     // the gateway address that DNS gives out for it
	Role       string    `json:"role"`
	Release    *Release  `json:"release"`   // nil: nothing, or a deployment that did not succeed
	Deploying  string    `json:"deploying"` // run and job that deploy to it now
	KeptUntil  time.Time `json:"keptUntil"` // previous: when it becomes idle
	DeployedAt time.Time `json:"deployedAt"`
	Drained    []string  `json:"drained"` // VMs taken out of the gateway
}

// Release is what runs on a slot.
type Release struct {
	Number   string    `json:"number"` // of the CI run, or of the run itself
	RunID    string    `json:"runId"`  // that deployed it
	Artifact string    `json:"artifact"`
	Commit   string    `json:"commit"`
	By       string    `json:"by"`
	Time     time.Time `json:"time"`
}

// SwapState is the state of a swap.
type SwapState string

// The states of a swap. Published means: users are on the new side.
const (
	SwapPreparing SwapState = "preparing"
	SwapPublished SwapState = "published"
	SwapDrained   SwapState = "drained"
	SwapFailed    SwapState = "failed"
)

// SwapMoves is the table of legal moves. There is none from published to
// failed: after publication the way back is another swap.
var SwapMoves = state.Moves[SwapState]{
	SwapPreparing: {SwapPublished, SwapFailed},
	SwapPublished: {SwapDrained},
	SwapDrained:   {},
	SwapFailed:    {},
}

// Swap is one exchange of roles.
type Swap struct {
	store.Revision
	ID          string         `col:"id" json:"id"`
	AppID       string         `col:"app_id" json:"appId"`
	Generation  uint64         `json:"generation"`
	State       SwapState      `col:"state" json:"state"`
	Rollback    bool           `json:"rollback"`
	NewSlot     string         `json:"newSlot"` // production after it
	OldSlot     string         `json:"oldSlot"` // "" = there was no production
	NewRelease  string         `json:"newRelease"`
	OldRelease  string         `json:"oldRelease"`
	By          string         `json:"by"`
	RunID       string         `col:"run_id" json:"runId"` // of the run that swapped, "" = by hand
	Key         string         `json:"key"`                // run, job and attempt: a retry attaches
	Before      []RoleOf       `json:"before"`             // roles to go back to
	Journal     []JournalEntry `json:"journal"`
	Started     time.Time      `col:"started" json:"started"`
	PublishedAt time.Time      `json:"publishedAt"`
	DrainedAt   time.Time      `json:"drainedAt"`
	Moved       time.Duration  `json:"moved"` // from publication to the confirmation of every plane
	Cut         int            `json:"cut"`
	Cause       string         `json:"cause"`
}

// RoleOf is a slot's role at some time.
type RoleOf struct {
	Slot string `json:"slot"`
	Role string `json:"role"`
}

// JournalEntry is one line of what a swap did.
type JournalEntry struct {
	Time time.Time `json:"time"`
	OK   bool      `json:"ok"`
	What string    `json:"what"` // probe, warm, prepare, publish, drain
	Text string    `json:"text"`
}

// Slot returns the slot of that name, or nil.
func (a *Application) Slot(name string) *Slot {
	for i := range a.Slots {
		if a.Slots[i].Name == name {
			return &a.Slots[i]
		}
	}
	return nil
}

// WithRole returns the slot that plays a role, or nil.
func (a *Application) WithRole(role string) *Slot {
	for i := range a.Slots {
		if a.Slots[i].Role == role {
			return &a.Slots[i]
		}
	}
	return nil
}

// Pool is a slot's name in the gateway.
func (a *Application) Pool(slot string) string { return a.Name + "/" + slot }

func (a *Application) roles() []RoleOf {
	var list []RoleOf
	for _, s := range a.Slots {
		list = append(list, RoleOf{s.Name, s.Role})
	}
	return list
}

// PlanSwap decides which roles follow when staging becomes production. It is
// pure. With two slots the old production is kept as previous; with more, a
// further slot becomes staging at once.
func PlanSwap(a *Application, expectRelease string) ([]RoleOf, error) {
	next := a.WithRole(Staging)
	if next == nil {
		return nil, fault.New(fault.Conflict, "no-staging", "application %s has nothing in staging", a.Name).
			Try("deploy a release to staging first: penstock pipeline run …")
	}
	if next.Deploying != "" {
		return nil, fault.New(fault.Conflict, "deployment-running", "a deployment to slot %s is running", next.Name).Got("%s", next.Deploying).
			Try("wait for it: penstock run watch %s", next.Deploying)
	}
	if next.Release == nil {
		return nil, fault.New(fault.Conflict, "no-release", "slot %s holds no complete release", next.Name).
			Try("deploy a release to staging first")
	}
	if expectRelease != "" && next.Release.Number != expectRelease {
		return nil, fault.New(fault.Conflict, "other-release", "staging does not run the expected release").
			Want("%s", expectRelease).Got("%s on slot %s", next.Release.Number, next.Name)
	}
	old := a.WithRole(Production)
	var roles []RoleOf
	staged := false
	for _, s := range a.Slots {
		r := RoleOf{s.Name, s.Role}
		switch {
		case s.Name == next.Name:
			r.Role = Production
		case old != nil && s.Name == old.Name:
			r.Role = Previous
		case !staged:
			// A third slot, idle or previous of before, is the new staging.
			r.Role, staged = Staging, true
		case s.Role == Previous:
			r.Role = Idle
		}
		roles = append(roles, r)
	}
	return roles, nil
}

// PlanRollback decides which roles follow when production goes back to
// previous. Done is true if the last move was a rollback already.
func PlanRollback(a *Application, last *Swap) (roles []RoleOf, done bool, err error) {
	if last != nil && last.Rollback {
		return nil, true, nil
	}
	back := a.WithRole(Previous)
	if last == nil || back == nil || back.Release == nil || last.OldSlot != back.Name {
		e := fault.New(fault.Conflict, "no-previous", "there is no warm release to go back to").
			Try("deploy an older release to staging, then swap; a third slot avoids this")
		if last != nil && last.OldSlot != "" {
			if s := a.Slot(last.OldSlot); s != nil && s.Release != nil {
				e = e.Got("slot %s was redeployed with %s; two slots keep previous only until the next deployment", s.Name, s.Release.Number)
			} else {
				e = e.Got("slot %s was redeployed; two slots keep previous only until the next deployment", last.OldSlot)
			}
		}
		return nil, false, e
	}
	now := a.WithRole(Production)
	for _, s := range a.Slots {
		r := RoleOf{s.Name, s.Role}
		switch {
		case s.Name == back.Name:
			r.Role = Production
		case now != nil && s.Name == now.Name:
			// As before the swap, unless another slot was deployed to meanwhile.
			r.Role = Staging
			if st := a.WithRole(Staging); st != nil && st.DeployedAt.After(last.PublishedAt) {
				r.Role = Idle
			}
		case s.Role == Staging && s.DeployedAt.Before(last.PublishedAt):
			r.Role = Idle
		}
		roles = append(roles, r)
	}
	return roles, false, nil
}

// PlanStaging decides which slot a deployment to a role goes to, and the roles
// that follow from it.
func PlanStaging(a *Application) (slot string, roles []RoleOf, err error) {
	target := a.WithRole(Staging)
	if target == nil {
		target = a.WithRole(Idle)
	}
	if target == nil && a.Spec.TakesPrevious() {
		target = a.WithRole(Previous)
	}
	if target == nil {
		return "", nil, fault.New(fault.Conflict, "no-free-slot", "application %s has no slot for staging", a.Name).
			Got("previous is kept for rollback (takePrevious: false)").Try("wait until keepPrevious has passed, or add a slot")
	}
	for _, s := range a.Slots {
		r := RoleOf{s.Name, s.Role}
		if s.Name == target.Name {
			r.Role = Staging
		}
		roles = append(roles, r)
	}
	return target.Name, roles, nil
}

func (a *Application) setRoles(roles []RoleOf, now time.Time) {
	for _, r := range roles {
		s := a.Slot(r.Slot)
		if r.Role == Previous && s.Role != Previous {
			s.KeptUntil = now.Add(time.Duration(a.Spec.Swap.KeepPrevious))
		}
		if r.Role != Previous {
			s.KeptUntil = time.Time{}
		}
		s.Role = r.Role
	}
}
