package webui

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/application"
	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/monitor"
	"penstock.dev/penstock/internal/edge/webui/pages"
)

// appView gathers what is known of an application: its slots with health and
// traffic, its swaps, and what can be done to it now.
func (c *call) appView(a *application.Application, history int) (*pages.AppView, error) {
	v := &pages.AppView{App: a, Now: c.now, CanRelease: c.can(identity.Release), Port: c.s.GatewayPort()}
	var err error
	if v.History, err = c.s.Applications.History(c.ctx(), a.ID, history); err != nil {
		return nil, err
	}
	if v.Swap, err = c.lastSwap(a, v.History); err != nil {
		return nil, err
	}
	health, stats := c.s.health(), c.s.stats()
	for i := range a.Slots {
		s := &pages.SlotView{Slot: a.Slots[i], Machines: health[a.Pool(a.Slots[i].Name)], Ahead: -1}
		for _, h := range s.Machines {
			if h.State == "healthy" {
				s.Healthy++
			}
		}
		c.measure(s, a.Pool(s.Slot.Name), v.Swap)
		x := stats[a.Pool(s.Slot.Name)]
		s.InFlight, s.Upgraded, s.Oldest = x.InFlight, x.Upgraded, x.OldestRequest
		s.Mark = slotMark(s)
		v.Rate += s.Rate
		v.Slots = append(v.Slots, s)
	}
	for _, s := range v.Slots {
		if v.Rate > 0 {
			s.Share = s.Rate / v.Rate
		}
	}
	c.remainder(v)
	c.compare(v)
	c.possible(v)
	return v, nil
}

func (c *call) lastSwap(a *application.Application, history []*application.Swap) (*application.Swap, error) {
	for _, id := range []string{a.SwapID, a.LastSwap} {
		if id == "" {
			continue
		}
		for _, w := range history {
			if w.ID == id {
				return w, nil
			}
		}
		w, err := c.s.Applications.Swaps.Get(c.ctx(), id)
		if err == nil || !fault.Is(err, fault.NotFound) {
			return w, err
		}
	}
	return nil, nil
}

// measure reads the rates of a slot: the mean of the last three seconds, so that
// a number can be read before it changes. What was counted before a swap says
// nothing about where requests go now, so it is left out.
func (c *call) measure(s *pages.SlotView, pool string, swap *application.Swap) {
	if c.s.Monitor == nil {
		return
	}
	points := c.s.Monitor.Since(pool, c.now.Add(-90*time.Second), c.now)
	for _, p := range points {
		s.Spark = append(s.Spark, p.Requests)
	}
	last := points[max(0, len(points)-3):]
	if swap != nil && !swap.PublishedAt.IsZero() {
		from := swap.PublishedAt.Add(monitor.FineStep)
		if fresh := slices.DeleteFunc(slices.Clone(last), func(p monitor.Point) bool { return p.Time.Before(from) }); len(fresh) > 0 || c.now.Sub(from) < 2*monitor.FineStep {
			last = fresh
		}
	}
	var failed float64
	for _, p := range last {
		s.Rate += p.Requests / float64(len(last))
		failed += p.Errors / float64(len(last))
	}
	if s.Rate > 0 {
		s.Errors = failed / s.Rate
	}
	for i := len(points) - 1; i >= max(0, len(points)-10) && s.P95 == 0; i-- {
		s.P50, s.P95, s.P99 = points[i].P50, points[i].P95, points[i].P99
	}
}

func slotMark(s *pages.SlotView) pages.Mark {
	n := len(s.Machines)
	switch {
	case s.Slot.Deploying != "":
		return pages.Mark{Icon: "run", Tone: "run", Label: "Deploying"}
	case s.Slot.Release == nil && s.Slot.DeployedAt.IsZero():
		return pages.Mark{Icon: "todo", Tone: "off", Label: "Empty"}
	case s.Slot.Release == nil:
		return pages.Mark{Icon: "bad", Tone: "bad", Label: "Deployment failed"}
	case n == 0:
		return pages.Mark{Icon: "todo", Tone: "off", Label: "Not probed yet"}
	case s.Healthy == n && s.Slot.Role == application.Previous:
		return pages.Mark{Icon: "ok", Tone: "ok", Label: "Warm"}
	case s.Healthy == n:
		return pages.Mark{Icon: "ok", Tone: "ok", Label: fmt.Sprintf("%d of %d healthy", n, n)}
	case s.Healthy == 0:
		return pages.Mark{Icon: "bad", Tone: "bad", Label: fmt.Sprintf("0 of %d healthy", n)}
	}
	return pages.Mark{Icon: "warn", Tone: "warn", Label: fmt.Sprintf("%d of %d healthy", s.Healthy, n)}
}

// remainder says what still points at slots that lost traffic.
func (c *call) remainder(v *pages.AppView) {
	if c.s.Watch == nil {
		return
	}
	for _, role := range []string{application.Production, application.Staging} {
		for _, name := range v.App.Spec.Names[role] {
			for _, cached := range c.s.Watch.Cached(name) {
				v.Cached = append(v.Cached, cached)
				for _, s := range v.Slots {
					if role == application.Production && cached.Target == v.App.Pool(s.Slot.Name) && cached.Expires.After(s.Until) {
						s.Until = cached.Expires
					}
				}
			}
		}
	}
	for _, s := range v.Slots {
		s.Draining = v.Swap != nil && v.Swap.State == application.SwapPublished && v.Swap.OldSlot == s.Slot.Name && !s.Live()
		if s.Draining {
			s.Mark = pages.Mark{Icon: "run", Tone: "run", Label: "Draining"}
		}
		for _, h := range s.Machines {
			if h.State == "unhealthy" && s.Slot.Release != nil && s.Note == "" {
				s.Note = h.Backend + ": " + h.Detail
			}
		}
	}
}

// compare counts the commits that staging is ahead of production, and names who
// approved what is in production.
func (c *call) compare(v *pages.AppView) {
	live, next := v.Role(application.Production), v.Role(application.Staging)
	if live != nil && live.Slot.Release != nil {
		live.Approvers = c.approvers(live.Slot.Release.RunID)
	}
	if live == nil || next == nil || live.Slot.Release == nil || next.Slot.Release == nil {
		return
	}
	from, to := live.Slot.Release.Commit, next.Slot.Release.Commit
	if from == "" || to == "" {
		return
	}
	if from == to {
		next.Ahead = 0
		return
	}
	r, err := c.s.Runs.Runs.Get(c.ctx(), next.Slot.Release.RunID)
	if err != nil {
		return
	}
	if commits, err := c.s.Repos.History.Commits(c.ctx(), r.RepoID, from, to, 100); err == nil && len(commits) > 0 {
		next.Ahead = len(commits)
	}
}

func (c *call) approvers(runID string) string {
	list, err := c.s.Environments.OfRun(c.ctx(), runID)
	if err != nil {
		return ""
	}
	var names []string
	for _, a := range list {
		for _, vote := range a.Votes {
			if a.Status == environment.Approved && vote.Decision == environment.Approved && !slices.Contains(names, vote.Name) {
				names = append(names, vote.Name)
			}
		}
	}
	return strings.Join(names, ", ")
}

// possible asks the plans of the domain what a swap and a rollback would do.
func (c *call) possible(v *pages.AppView) {
	roles, err := application.PlanSwap(v.App, "")
	v.NextSlot = productionOf(roles)
	if err == nil && v.App.SwapID != "" {
		err = fault.New(fault.Conflict, "swap-running", "another swap of %s is under way", v.App.Name)
	}
	v.NoSwap, v.NoSwapDo = said(err)
	var last *application.Swap
	if v.App.LastSwap != "" {
		last, _ = c.s.Applications.Swaps.Get(c.ctx(), v.App.LastSwap)
	}
	roles, done, err := application.PlanRollback(v.App, last)
	v.BackSlot = productionOf(roles)
	v.NoBack, v.NoBackDo = said(err)
	if done {
		v.NoBack, v.NoBackDo = "The last move was a rollback already", "swap again once staging has a release you trust"
	}
	if v.NoBack == "" && v.App.SwapID != "" {
		v.NoBack = "a swap is being prepared"
	}
}

func productionOf(roles []application.RoleOf) string {
	for _, r := range roles {
		if r.Role == application.Production {
			return r.Slot
		}
	}
	return ""
}

func said(err error) (what, do string) {
	if err == nil {
		return "", ""
	}
	var e *fault.Error
	if !errors.As(err, &e) {
		return err.Error(), ""
	}
	what = e.Message
	if e.Found != "" {
		what += ": " + e.Found
	}
	return what, e.Do
}

func (c *call) findApp() (*application.Application, error) {
	a, err := c.s.Applications.Find(c.ctx(), c.project.ID, c.r.PathValue("app"))
	if err == nil {
		c.listen("app/" + a.ID)
	}
	return a, err
}

func appList(c *call) error {
	v, err := c.boardView()
	if err != nil {
		return err
	}
	c.frame.Poll = 2000
	return c.page("apps", "Applications", pages.AppList(c.frame, v))
}

func appPage(c *call) error {
	a, err := c.findApp()
	if err != nil {
		return err
	}
	v, err := c.appView(a, 20)
	if err != nil {
		return err
	}
	open, err := c.openApprovals()
	if err != nil {
		return err
	}
	c.waitsOf(v, open)
	c.frame.Poll, c.frame.Charts = 1000, true
	c.frame.Scripts = append(c.frame.Scripts, "charts.js")
	return c.page("apps", a.Name, pages.AppPage(c.frame, v))
}

func appPart(c *call, tab string) error {
	a, err := c.findApp()
	if err != nil {
		return err
	}
	v, err := c.appView(a, 200)
	if err != nil {
		return err
	}
	v.Tab, c.frame.Poll = tab, 2000
	v.Dig = "dig +noall +answer " + first(a.Spec.Names[application.Production])
	if c.s.Applications.DNSAddress != nil {
		if host, port, ok := strings.Cut(c.s.Applications.DNSAddress(), ":"); ok {
			v.Dig += " @" + host + " -p " + port
		}
	}
	v.Releases = releasesOf(v)
	return c.page("apps", a.Name, pages.AppPart(c.frame, v))
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

func appReleases(c *call) error { return appPart(c, "releases") }
func appSwaps(c *call) error    { return appPart(c, "swaps") }
func appRoutes(c *call) error   { return appPart(c, "routes") }
func appDNS(c *call) error      { return appPart(c, "dns") }
func appVMs(c *call) error      { return appPart(c, "vms") }

func appSwap(c *call) error {
	a, err := c.findApp()
	if err != nil {
		return err
	}
	v, err := c.appView(a, 1000)
	if err != nil {
		return err
	}
	ref := c.r.PathValue("generation")
	at := slices.IndexFunc(v.History, func(w *application.Swap) bool { return w.ID == ref || strconv.FormatUint(w.Generation, 10) == ref })
	if at < 0 {
		return fault.New(fault.NotFound, "not-found", "application %s has no swap %s", a.Name, ref)
	}
	v.Swap, v.Tab = v.History[at], "swap"
	return c.page("apps", fmt.Sprintf("%s, swap %s", a.Name, ref), pages.AppPart(c.frame, v))
}

// releasesOf tells from the swaps which release was in production when.
func releasesOf(v *pages.AppView) []pages.ReleaseRow {
	var rows []pages.ReleaseRow
	for _, s := range v.Slots {
		if r := s.Slot.Release; r != nil && s.Slot.Role != application.Production && s.Slot.Role != application.Previous {
			rows = append(rows, pages.ReleaseRow{Number: r.Number, RunID: r.RunID, Slot: s.Slot.Name, Role: s.Slot.Role, By: r.By, Deployed: s.Slot.DeployedAt})
		}
	}
	var until time.Time
	for _, w := range v.History {
		if w.PublishedAt.IsZero() {
			continue
		}
		row := pages.ReleaseRow{Number: w.NewRelease, Slot: w.NewSlot, From: w.PublishedAt, To: until, By: w.By, RunID: w.RunID, Rollback: w.Rollback}
		if until.IsZero() {
			row.Role = application.Production
		}
		for _, s := range v.Slots {
			if s.Slot.Name == w.NewSlot && s.Slot.Release != nil && s.Slot.Release.Number == w.NewRelease {
				row.RunID = s.Slot.Release.RunID
				row.Role = s.Slot.Role
			}
		}
		rows = append(rows, row)
		until = w.PublishedAt
	}
	return rows
}

// back is where a form came from, if that is a page of ours.
func (c *call) back(otherwise string) string {
	if to := c.r.PostFormValue("back"); to != "" {
		return safeNext(to)
	}
	if from, err := url.Parse(c.r.Referer()); err == nil && from.Host == c.r.Host && from.Path != "" {
		return safeNext(from.RequestURI())
	}
	return otherwise
}

// swapApp moves users to what is in staging. The release that the reader saw
// goes with the form: a newer one is not swapped to by accident.
func swapApp(c *call) error {
	a, err := c.s.Applications.Find(c.ctx(), c.project.ID, c.r.PathValue("app"))
	if err != nil {
		return err
	}
	w, err := c.s.Applications.Swap(c.ctx(), c.project.ID, a.Name, application.SwapRequest{ExpectRelease: c.r.PostFormValue("release")})
	if err != nil {
		return err
	}
	c.s.Hub.Publish("app/"+a.ID, "apps")
	return c.done(c.back(c.frame.At("apps", a.Name)), fmt.Sprintf("Swapped %s to %s in %s. %s stays warm: roll back is one button.", a.Name, w.NewSlot, pages.Moved(w.Moved), orNothing(w.OldSlot)))
}

func rollbackApp(c *call) error {
	a, err := c.s.Applications.Find(c.ctx(), c.project.ID, c.r.PathValue("app"))
	if err != nil {
		return err
	}
	generation, _ := strconv.ParseUint(c.r.PostFormValue("generation"), 10, 64)
	w, err := c.s.Applications.Rollback(c.ctx(), c.project.ID, a.Name, application.SwapRequest{ExpectGeneration: generation})
	if err != nil {
		return err
	}
	c.s.Hub.Publish("app/"+a.ID, "apps")
	return c.done(c.back(c.frame.At("apps", a.Name)), fmt.Sprintf("Rolled %s back to %s, release %s, in %s.", a.Name, w.NewSlot, w.NewRelease, pages.Moved(w.Moved)))
}

func orNothing(slot string) string {
	if slot == "" {
		return "Nothing"
	}
	return slot
}

func stageQuery(runID string) store.Query { return store.Where("run_id", runID) }

func toPool(c *call) error {
	return c.redirect("/agents/"+pages.Seg(c.r.PathValue("pool")), http.StatusFound)
}
