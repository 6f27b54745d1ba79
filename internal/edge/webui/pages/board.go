package pages

import (
	"time"

	"penstock.dev/penstock/internal/domain/application"
	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/project"
	"penstock.dev/penstock/internal/domain/routing"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/domain/trafficmanager"
)

// HomeView lists projects.
type HomeView struct {
	Projects []ProjectCard
	Admin    bool
}

// ProjectCard is a project with what is going on in it.
type ProjectCard struct {
	Project *project.Project
	Apps    int
	Running int
	Waiting int
	Last    *run.Run
}

// SlotView is a slot with what the data planes know of it.
type SlotView struct {
	Slot      application.Slot
	Mark      Mark // of its health or of what happens to it
	Healthy   int
	Machines  []routing.BackendHealth
	Rate      float64
	P50       float64
	P95       float64
	P99       float64
	Errors    float64 // share of requests
	InFlight  int64
	Upgraded  int64
	Oldest    time.Time
	Share     float64 // of all requests of the application
	Spark     []float64
	Approvers string
	Ahead     int    // commits ahead of production; -1 = not known
	Note      string // what a reader should know first
	Draining  bool
	Until     time.Time // the last cached DNS answer that names it
}

// Live reports whether users are on the slot.
func (s *SlotView) Live() bool { return s != nil && s.Slot.Role == application.Production }

// AppView is an application as pages show it.
type AppView struct {
	App        *application.Application
	Slots      []*SlotView
	Swap       *application.Swap // the last one that moved users, or the one under way
	History    []*application.Swap
	Rate       float64
	CanRelease bool
	NoSwap     string // why swapping is not possible now
	NoSwapDo   string
	NoBack     string
	NoBackDo   string
	NextSlot   string // that a swap makes production
	BackSlot   string // that a rollback makes production
	Cached     []trafficmanager.Cached
	Tab        string
	Now        time.Time
	Port       string
	Waits      *ApprovalView
	Releases   []ReleaseRow
	Dig        string
}

// ReleaseRow is a release an application has seen.
type ReleaseRow struct {
	Number, RunID, Slot, Role, By string
	From, To                      time.Time // in production; To is zero while it is
	Deployed                      time.Time
	Rollback                      bool
}

// Role returns the slot that plays a role, or nil.
func (a *AppView) Role(role string) *SlotView {
	for _, s := range a.Slots {
		if s.Slot.Role == role {
			return s
		}
	}
	return nil
}

// BoardView is what runs where.
type BoardView struct {
	Filter  string
	Apps    []*AppView
	Counts  [3]int // all, needing attention, moving
	Envs    []EnvRow
	Inbox   []*ApprovalView
	Moving  []RunRow
	Day     Day
	Empty   []string // the commands that bring the first application
	Recent  []RunRow
	CanEdit bool
}

// Day is the last 24 hours in numbers.
type Day struct {
	Swaps, Back, Cut, Runs, Good int
}

// EnvRow is an environment with what was deployed to it last.
type EnvRow struct {
	Env    *environment.Environment
	Last   *environment.Deployment
	Mark   Mark
	VMs    int
	Checks int
	Bound  string // application and role
}
