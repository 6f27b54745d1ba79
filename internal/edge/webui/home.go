package webui

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/application"
	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/project"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/edge/webui/pages"
)

// visible are the projects the reader may look into.
func (c *call) visible() ([]*project.Project, error) {
	all, err := c.s.Projects.Projects.Find(c.ctx(), store.Query{}.By("key"))
	return slices.DeleteFunc(all, func(p *project.Project) bool { return !identity.Can(c.subject, identity.ProjectView, p.ID) }), err
}

// home lists the projects; whoever sees one only goes there at once.
func home(c *call) error {
	list, err := c.visible()
	if err != nil {
		return err
	}
	if len(list) == 1 && c.r.FormValue("all") == "" {
		return c.redirect("/"+pages.Seg(c.s.Organization)+"/"+pages.Seg(list[0].Name), http.StatusFound)
	}
	v := pages.HomeView{Admin: identity.Can(c.subject, identity.ProjectCreate, "")}
	inbox, err := c.s.Environments.Inbox(c.ctx(), c.subject)
	if err != nil {
		return err
	}
	for _, p := range list {
		card := pages.ProjectCard{Project: p}
		runs, err := c.s.Runs.Runs.Find(c.ctx(), store.Where("project_id", p.ID).Latest("num").Top(50))
		if err != nil {
			return err
		}
		for i, r := range runs {
			if i == 0 {
				card.Last = r
			}
			if r.State != run.Completed {
				card.Running++
			}
		}
		for _, a := range inbox {
			if a.ProjectID == p.ID {
				card.Waiting++
			}
		}
		apps, err := c.s.Applications.Of(c.ctx(), p.ID)
		if err != nil {
			return err
		}
		card.Apps = len(apps)
		v.Projects = append(v.Projects, card)
	}
	return c.page("home", "Projects", pages.Home(c.frame, v))
}

func board(c *call) error {
	v, err := c.boardView()
	if err != nil {
		return err
	}
	v.Filter = c.r.FormValue("show")
	all := v.Apps
	v.Apps = nil
	for _, a := range all {
		attention, moving := needsAttention(a), isMoving(a)
		v.Counts[0]++
		if attention {
			v.Counts[1]++
		}
		if moving {
			v.Counts[2]++
		}
		if v.Filter == "attention" && !attention || v.Filter == "moving" && !moving {
			continue
		}
		v.Apps = append(v.Apps, a)
	}
	c.frame.Poll = 2000
	for _, a := range v.Apps {
		c.listen("app/" + a.App.ID)
	}
	return c.page("board", "Board", pages.Board(c.frame, v))
}

func needsAttention(a *pages.AppView) bool {
	if a.Waits != nil {
		return true
	}
	return slices.ContainsFunc(a.Slots, func(s *pages.SlotView) bool { return s.Mark.Tone == "bad" || s.Mark.Tone == "warn" })
}

func isMoving(a *pages.AppView) bool {
	swapping := a.Swap != nil && (a.Swap.State == application.SwapPreparing || a.Swap.State == application.SwapPublished)
	return swapping || slices.ContainsFunc(a.Slots, func(s *pages.SlotView) bool { return s.Slot.Deploying != "" })
}

// boardView reads what runs where.
func (c *call) boardView() (pages.BoardView, error) {
	v := pages.BoardView{CanEdit: c.can(identity.ProjectEdit), Empty: []string{"penstock apply penstock.app.yml"}}
	approvals, err := c.openApprovals()
	if err != nil {
		return v, err
	}
	v.Inbox = approvals
	apps, err := c.s.Applications.Of(c.ctx(), c.project.ID)
	if err != nil {
		return v, err
	}
	for _, a := range apps {
		av, err := c.appView(a, 100)
		if err != nil {
			return v, err
		}
		c.waitsOf(av, approvals)
		v.Apps = append(v.Apps, av)
	}
	since := c.now.Add(-24 * time.Hour)
	for _, av := range v.Apps {
		for _, w := range av.History {
			if w.Started.After(since) && w.State != application.SwapFailed {
				v.Day.Swaps++
				v.Day.Cut += w.Cut
				if w.Rollback {
					v.Day.Back++
				}
			}
		}
	}
	if err := c.boardRuns(&v, since); err != nil {
		return v, err
	}
	v.Envs, err = c.environmentRows(apps, true)
	return v, err
}

func (c *call) boardRuns(v *pages.BoardView, since time.Time) error {
	runs, err := c.s.Runs.Runs.Find(c.ctx(), store.Where("project_id", c.project.ID).Latest("num").Top(200))
	if err != nil {
		return err
	}
	var moving, recent []*run.Run
	for _, r := range runs {
		if r.State != run.Completed && len(moving) < 8 {
			moving = append(moving, r)
		}
		if len(recent) < 8 {
			recent = append(recent, r)
		}
		if r.Queued.Before(since) || r.State != run.Completed {
			continue
		}
		v.Day.Runs++
		if r.Result == run.Succeeded || r.Result == run.SucceededWithIssues {
			v.Day.Good++
		}
	}
	if v.Moving, err = c.rows(moving); err != nil {
		return err
	}
	v.Recent, err = c.rows(recent)
	return err
}

// openApprovals are the questions of the project that wait.
func (c *call) openApprovals() ([]*pages.ApprovalView, error) {
	inbox, err := c.s.Environments.Inbox(c.ctx(), c.subject)
	if err != nil {
		return nil, err
	}
	var list []*pages.ApprovalView
	for _, a := range inbox {
		if !c.shows(a.ProjectID) {
			continue
		}
		r, err := c.s.Runs.Runs.Get(c.ctx(), a.RunID)
		if err != nil {
			continue
		}
		list = append(list, c.approvalView(a, r))
	}
	slices.SortStableFunc(list, func(a, b *pages.ApprovalView) int {
		switch {
		case a.Yours == b.Yours:
			return 0
		case a.Yours:
			return -1
		}
		return 1
	})
	return list, nil
}

// waitsOf finds the question whose answer would release an application.
func (c *call) waitsOf(v *pages.AppView, open []*pages.ApprovalView) {
	s := v.Role(application.Staging)
	if s == nil || s.Slot.Release == nil {
		return
	}
	for _, a := range open {
		if a.Approval.RunID == s.Slot.Release.RunID && strings.EqualFold(a.Approval.Environment, v.App.Spec.Environment(application.Production)) {
			v.Waits = a
			return
		}
	}
}

// palette lists places and verbs, with the reason where a verb is impossible.
func palette(c *call) error {
	items := []pages.Item{{Text: "Projects", Kind: "place", URL: "/?all=1"}, {Text: "Approvals", Kind: "place", URL: "/approvals"},
		{Text: "Agents", Kind: "place", URL: "/agents"}, {Text: "You, roles and tokens", Kind: "place", URL: "/me"}}
	audit := pages.Item{Text: "Audit", Kind: "place", URL: "/admin/audit"}
	if !c.frame.Admin {
		audit.Why = "server administrators only"
	}
	items = append(items, audit)
	if c.project == nil {
		list, err := c.visible()
		if err != nil {
			return err
		}
		for _, p := range list {
			items = append(items, pages.Item{Text: p.Name, Kind: "project", URL: "/" + pages.Seg(c.s.Organization) + "/" + pages.Seg(p.Name)})
		}
		return c.json(items)
	}
	for _, x := range [][2]string{{"Board", ""}, {"Code", "repos"}, {"Pull requests", "pulls"}, {"Pipelines", "pipelines"}, {"Runs", "runs"},
		{"Applications", "apps"}, {"Monitor", "monitor"}, {"Environments", "environments"}} {
		url := c.frame.P()
		if x[1] != "" {
			url = c.frame.At(x[1])
		}
		items = append(items, pages.Item{Text: x[0], Kind: "place", URL: url})
	}
	more, err := c.paletteOfProject()
	if err != nil {
		return err
	}
	return c.json(append(items, more...))
}

func (c *call) paletteOfProject() ([]pages.Item, error) {
	f, ctx := c.frame, c.ctx()
	var items []pages.Item
	apps, err := c.s.Applications.Of(ctx, c.project.ID)
	if err != nil {
		return nil, err
	}
	for _, a := range apps {
		v, err := c.appView(a, 1)
		if err != nil {
			return nil, err
		}
		swap := pages.Item{Text: "Swap " + a.Name + ": staging to production", Kind: "verb", URL: f.At("apps", a.Name, "swap"), Post: true, Why: v.NoSwap}
		back := pages.Item{Text: "Roll back " + a.Name, Kind: "verb", URL: f.At("apps", a.Name, "rollback"), Post: true, Why: v.NoBack}
		if !v.CanRelease {
			swap.Why, back.Why = "contributors only", "contributors only"
		}
		items = append(items, pages.Item{Text: a.Name + ", traffic and slots", Kind: "application", URL: f.At("apps", a.Name)}, swap, back,
			pages.Item{Text: a.Name + " in Monitor", Kind: "monitor", URL: f.At("monitor", a.Name)})
	}
	pipelines, err := c.s.Runs.Pipelines.Find(ctx, store.Where("project_id", c.project.ID).By("num"))
	if err != nil {
		return nil, err
	}
	for _, p := range pipelines {
		item := pages.Item{Text: "Run " + p.Name, Kind: "verb", URL: f.At("pipelines", p.Name, "run"), Post: true}
		if !c.can(identity.RunQueue) {
			item.Why = "contributors only"
		}
		items = append(items, pages.Item{Text: "Pipeline " + p.Name, Kind: "pipeline", URL: f.At("pipelines", p.Name)}, item)
	}
	reps, err := c.s.Repos.Repositories.Find(ctx, store.Where("project_id", c.project.ID))
	if err != nil {
		return nil, err
	}
	for _, r := range reps {
		items = append(items, pages.Item{Text: "Repository " + r.Name, Kind: "code", URL: f.At("repos", r.Name)})
	}
	envs, err := c.s.Environments.Environments.Find(ctx, store.Where("project_id", c.project.ID).By("num"))
	if err != nil {
		return nil, err
	}
	for _, e := range envs {
		items = append(items, pages.Item{Text: "Environment " + e.Name, Kind: "environment", URL: f.At("environments", e.Name)})
	}
	runs, err := c.s.Runs.Runs.Find(ctx, store.Where("project_id", c.project.ID).Latest("num").Top(30))
	if err != nil {
		return nil, err
	}
	for _, r := range runs {
		items = append(items, pages.Item{Text: "Run " + r.ID + ", " + r.Pipeline + " " + r.Number, Kind: pages.StateMark(r.State, r.Result).Label, URL: pages.RunURL(f, r)})
	}
	return items, nil
}

// inbox lists the questions put to people.
func inbox(c *call) error {
	v := pages.InboxView{Filter: c.r.FormValue("show"), Now: c.now, Org: c.s.Organization}
	q := store.Where("status", string(environment.Pending)).By("created")
	if v.Filter == "done" {
		q = store.Query{}.AndOp("status", store.Ne, string(environment.Pending)).Latest("created").Top(pageSize)
	}
	if id := c.r.PathValue("id"); id != "" {
		q = store.Where("id", id)
	}
	list, err := c.s.Environments.Approvals.Find(c.ctx(), q)
	if err != nil {
		return err
	}
	projects := map[string]*project.Project{}
	for _, a := range list {
		if !identity.Can(c.subject, identity.ProjectView, a.ProjectID) {
			continue
		}
		card, err := c.card(a, projects)
		if err != nil {
			return err
		}
		if card.Yours {
			v.Yours++
		} else if a.Status == environment.Pending {
			v.Others++
		}
		v.Rows = append(v.Rows, card)
	}
	if len(v.Rows) == 0 && c.r.PathValue("id") != "" {
		return noPage(c.address())
	}
	slices.SortStableFunc(v.Rows, func(a, b *pages.ApprovalView) int {
		switch {
		case a.Yours == b.Yours:
			return 0
		case a.Yours:
			return -1
		}
		return 1
	})
	return c.page("approvals", "Approvals", pages.Inbox(c.frame, v))
}
