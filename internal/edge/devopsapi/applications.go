package devopsapi

import (
	"context"
	"slices"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/application"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/monitor"
	"penstock.dev/penstock/internal/domain/routing"
	"penstock.dev/penstock/internal/domain/trafficmanager"
)

const ourApps = "{project}/_apis/penstock/applications"

var applicationRoutes = []Route{
	{"penstock", "applications", "", "GET", ourApps, identity.ProjectView, (*call).listApplications, nil, smallJSON},
	{"penstock", "applications", "", "PUT", ourApps, identity.ProjectEdit, (*call).applyApplication, nil, smallJSON},
	{"penstock", "applications", "", "GET", ourApps + "/{application}", identity.ProjectView, (*call).getApplication, nil, smallJSON},
	{"penstock", "swaps", "", "GET", ourApps + "/{application}/swaps", identity.ProjectView, (*call).listSwaps, nil, smallJSON},
	{"penstock", "swaps", "", "POST", ourApps + "/{application}/swaps", identity.Release, (*call).swap, nil, smallJSON},
	{"penstock", "swaps", "", "GET", ourApps + "/{application}/swaps/{swap}", identity.ProjectView, (*call).getSwap, nil, smallJSON},
	{"penstock", "rollbacks", "", "POST", ourApps + "/{application}/rollbacks", identity.Release, (*call).rollback, nil, smallJSON},
	{"penstock", "drain", "", "PUT", ourApps + "/{application}/vms/{vm}/drain", identity.Release, (*call).drain, nil, smallJSON},
	{"penstock", "metrics", "", "GET", ourApps + "/{application}/metrics", identity.ProjectView, (*call).metrics, nil, smallJSON},
}

func (c *call) application() (*application.Application, error) {
	return c.Applications.Find(c.ctx(), c.project.ID, c.params["application"])
}

// applicationShape is an application with what the data planes know of it.
type applicationShape struct {
	Application *application.Application `json:"application"`
	Health      []routing.BackendHealth  `json:"health"`
	Stats       []routing.Stats          `json:"stats"`
	Rates       map[string]monitor.Point `json:"rates"` // by slot
	Cached      []trafficmanager.Cached  `json:"cached"`
	URLs        map[string]string        `json:"urls"` // by role
	LastSwap    *application.Swap        `json:"lastSwap,omitempty"`
	Generation  uint64                   `json:"generation"` // that the data planes serve
}

func (c *call) applicationShape(a *application.Application) (applicationShape, error) {
	s := applicationShape{Application: a, Health: []routing.BackendHealth{}, Stats: []routing.Stats{}, Rates: map[string]monitor.Point{}, Cached: []trafficmanager.Cached{}, URLs: map[string]string{}}
	pools := map[string]bool{}
	for _, slot := range a.Slots {
		pools[a.Pool(slot.Name)] = true
		if c.Monitor != nil {
			s.Rates[slot.Name] = c.Monitor.Latest(a.Pool(slot.Name))
		}
	}
	port := ""
	if c.GatewayPort != nil {
		port = c.GatewayPort()
	}
	for role, names := range a.Spec.Names {
		for i, name := range names {
			if i == 0 {
				s.URLs[role] = "http://" + name + port
			}
			if c.Watch != nil {
				s.Cached = append(s.Cached, c.Watch.Cached(name)...)
			}
		}
	}
	if c.Watch != nil {
		for _, h := range c.Watch.Health() {
			if pools[h.Pool] {
				s.Health = append(s.Health, h)
			}
		}
		for _, x := range c.Watch.Stats() {
			if pools[x.Pool] {
				s.Stats = append(s.Stats, x)
			}
		}
		s.Generation = c.Watch.Generation()
	}
	if a.LastSwap != "" {
		last, err := c.Applications.Swaps.Get(c.ctx(), a.LastSwap)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return s, err
		}
		s.LastSwap = last
	}
	return s, nil
}

func (c *call) listApplications() (any, error) {
	found, err := c.Applications.Of(c.ctx(), c.project.ID)
	if err != nil {
		return nil, err
	}
	out := []applicationShape{}
	for _, a := range found {
		s, err := c.applicationShape(a)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return listOf(out), nil
}

func (c *call) getApplication() (any, error) {
	a, err := c.application()
	if err != nil {
		return nil, err
	}
	return c.applicationShape(a)
}

func (c *call) applyApplication() (any, error) {
	var in struct{ Name, Content string }
	if err := c.read(&in); err != nil {
		return nil, err
	}
	spec, err := application.ParseFile(in.Name, []byte(in.Content))
	if err != nil {
		return nil, err
	}
	if c.flag("dryRun") {
		old, err := c.Applications.Find(c.ctx(), c.project.ID, spec.Application)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return nil, err
		}
		answer := map[string]any{"application": spec.Application, "spec": spec, "exists": old != nil, "dryRun": true}
		if old != nil {
			answer["before"] = old.Spec
		}
		return answer, nil
	}
	a, err := c.Applications.Apply(c.ctx(), c.project.ID, spec)
	if err != nil {
		return nil, err
	}
	return c.applicationShape(a)
}

func (c *call) listSwaps() (any, error) {
	a, err := c.application()
	if err != nil {
		return nil, err
	}
	found, err := c.Applications.History(c.ctx(), a.ID, c.top(50))
	if err != nil {
		return nil, err
	}
	return listOf(found), nil
}

// maxDrainWait bounds one request that waits for a drain; a client asks again.
const maxDrainWait = 10 * time.Minute

// getSwap returns a swap; waitFor=drained answers when its old side is empty.
func (c *call) getSwap() (any, error) {
	a, err := c.application()
	if err != nil {
		return nil, err
	}
	w, err := c.Applications.Swaps.Get(c.ctx(), c.params["swap"])
	if err != nil || w.AppID != a.ID {
		return nil, fault.New(fault.NotFound, "not-found", "application %s has no swap %s", a.Name, c.params["swap"]).Try("penstock app history %s", a.Name)
	}
	return c.awaited(w, c.query("waitFor"))
}

func (c *call) awaited(w *application.Swap, waitFor string) (*application.Swap, error) {
	switch waitFor {
	case "", "published":
		return w, nil
	case "drained":
		c.noDeadline()
		ctx, cancel := context.WithTimeout(c.ctx(), maxDrainWait)
		defer cancel()
		return c.Applications.AwaitDrained(ctx, w.ID)
	}
	return nil, fault.New(fault.Invalid, "unknown-wait", "waitFor %q is not known", waitFor).Want("published or drained")
}

type swapRequest struct {
	ExpectRelease    string
	ExpectGeneration uint64
	WaitFor          string
	DryRun           bool
	OnlyThisRun      bool
	Key              string
}

func (c *call) swapRequest() (swapRequest, application.SwapRequest, error) {
	var in swapRequest
	if c.r.ContentLength != 0 {
		if err := c.read(&in); err != nil {
			return in, application.SwapRequest{}, err
		}
	}
	if !slices.Contains([]string{"", "published", "drained"}, in.WaitFor) {
		return in, application.SwapRequest{}, fault.New(fault.Invalid, "unknown-wait", "waitFor %q is not known", in.WaitFor).Want("published or drained")
	}
	r := application.SwapRequest{ExpectRelease: in.ExpectRelease, ExpectGeneration: in.ExpectGeneration, OnlyThisRun: in.OnlyThisRun, Key: in.Key, DryRun: in.DryRun}
	if c.subject.Kind != identity.JobKind {
		if in.OnlyThisRun {
			return in, r, fault.New(fault.Invalid, "not-a-job", "onlyThisRun is for the job of a run")
		}
		return in, r, nil
	}
	r.RunID = c.subject.Run
	return in, r, c.inProduction()
}

// inProduction refuses a job that is no deployment job of the production
// environment: whose checks have therefore not been passed.
func (c *call) inProduction() error {
	refused := fault.New(fault.Denied, "not-in-production-job", "a job may move the traffic of %s only as a deployment job of its production environment", c.params["application"])
	d, err := c.Runs.Load(c.ctx(), c.subject.Run)
	if err != nil {
		return err
	}
	for _, j := range d.Jobs {
		if j.ID != c.subject.ID || d.Plan == nil {
			continue
		}
		stage := d.Plan.Stage(j.Stage)
		if stage == nil || stage.Job(j.Phase) == nil || stage.Job(j.Phase).Deployment == nil {
			return refused.Got("job %s is no deployment job", j.Name).Try("write it as deployment: with environment: NAME")
		}
		env := stage.Job(j.Phase).Deployment.Environment.Name
		ok, err := c.Applications.Production(c.ctx(), c.project.ID, c.params["application"], env)
		if err != nil || ok {
			return err
		}
		return refused.Got("environment %s", env).Try("let the job name the environment that the application binds to production")
	}
	return refused
}

func (c *call) swap() (any, error) {
	in, r, err := c.swapRequest()
	if err != nil {
		return nil, err
	}
	c.noDeadline()
	w, err := c.Applications.Swap(c.ctx(), c.project.ID, c.params["application"], r)
	if err != nil || in.DryRun {
		return w, err
	}
	return c.awaited(w, in.WaitFor)
}

// rollbackShape is a swap, or that there was nothing to take back.
type rollbackShape struct {
	RolledBack bool `json:"rolledBack"`
	*application.Swap
}

func (c *call) rollback() (any, error) {
	in, r, err := c.swapRequest()
	if err != nil {
		return nil, err
	}
	before, err := c.application()
	if err != nil {
		return nil, err
	}
	c.noDeadline()
	w, err := c.Applications.Rollback(c.ctx(), c.project.ID, c.params["application"], r)
	if err != nil {
		return nil, err
	}
	if w == nil || w.ID == before.LastSwap || in.DryRun {
		return rollbackShape{false, w}, nil
	}
	if w, err = c.awaited(w, in.WaitFor); err != nil {
		return nil, err
	}
	return rollbackShape{true, w}, nil
}

func (c *call) drain() (any, error) {
	var in struct{ Out bool }
	if err := c.read(&in); err != nil {
		return nil, err
	}
	if c.subject.Kind == identity.JobKind {
		if err := c.inProduction(); err != nil {
			return nil, err
		}
	}
	if err := c.Applications.SetDrained(c.ctx(), c.project.ID, c.params["application"], c.params["vm"], in.Out); err != nil {
		return nil, err
	}
	return map[string]any{"vm": c.params["vm"], "out": in.Out}, nil
}

// metrics are the rates of each slot; since is a duration or a time.
func (c *call) metrics() (any, error) {
	a, err := c.application()
	if err != nil {
		return nil, err
	}
	now := c.Clock.Now()
	from := now.Add(-15 * time.Minute)
	if text := strings.TrimSpace(c.query("since")); text != "" {
		if d, err := time.ParseDuration(text); err == nil && d > 0 {
			from = now.Add(-d)
		} else if from, err = time.Parse(time.RFC3339, text); err != nil {
			return nil, fault.New(fault.Invalid, "invalid-time", "since=%q is neither a duration nor a time", text).Want("15m or 2026-01-02T15:04:05Z")
		}
	}
	slots := map[string][]monitor.Point{}
	for _, slot := range a.Slots {
		slots[slot.Name] = []monitor.Point{}
		if c.Monitor != nil {
			slots[slot.Name] = append(slots[slot.Name], c.Monitor.Since(a.Pool(slot.Name), from, now)...)
		}
	}
	return map[string]any{"from": from, "to": now, "slots": slots}, nil
}
