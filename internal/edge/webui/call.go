package webui

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/a-h/templ"

	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/application"
	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/project"
	"penstock.dev/penstock/internal/domain/pullrequest"
	"penstock.dev/penstock/internal/domain/routing"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/edge/webui/pages"
)

// call is one request on its way through a handler.
type call struct {
	s       *site
	w       http.ResponseWriter
	r       *http.Request
	subject identity.Subject
	project *project.Project
	frame   *pages.Frame
	status  int
	now     time.Time
}

func (s *site) newCall(w http.ResponseWriter, r *http.Request) *call {
	c := &call{s: s, w: w, r: r, status: http.StatusOK, now: s.Clock.Now()}
	c.frame = &pages.Frame{Organization: s.Organization, Version: s.Version, Now: c.now, Live: r.Header.Get("X-Live") != ""}
	if cookie, err := r.Cookie("penstock_theme"); err == nil && (cookie.Value == "dark" || cookie.Value == "light") {
		c.frame.Theme = cookie.Value
	}
	return c
}

func (c *call) ctx() context.Context { return c.r.Context() }

// can reports whether the reader holds a permission on the project of the page.
func (c *call) can(p identity.Permission) bool {
	id := ""
	if c.project != nil {
		id = c.project.ID
	}
	return identity.Can(c.subject, p, id)
}

// listen names what the page follows.
func (c *call) listen(keys ...string) { c.frame.Keys = append(c.frame.Keys, keys...) }

// page draws a page inside its frame.
func (c *call) page(area, title string, body templ.Component) error {
	c.frame.Area, c.frame.Title = area, title
	if c.subject.Kind == identity.UserKind {
		if err := c.fillStatus(); err != nil {
			return err
		}
		c.listen("runs", "approvals", "apps")
	}
	c.frame.Flash = c.takeFlash()
	var b bytes.Buffer
	if err := pages.Layout(c.frame, body).Render(c.ctx(), &b); err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	c.w.Header().Set("Cache-Control", "no-store")
	c.w.WriteHeader(c.status)
	_, err := c.w.Write(b.Bytes())
	return err
}

func (c *call) json(v any) error {
	c.w.Header().Set("Content-Type", "application/json")
	c.w.Header().Set("Cache-Control", "no-store")
	return json.NewEncoder(c.w).Encode(v)
}

func (c *call) redirect(to string, code int) error {
	http.Redirect(c.w, c.r, to, code)
	return nil
}

// address is where the reader is, as the browser shows it.
func (c *call) address() string {
	path := c.r.URL.EscapedPath()
	if rest, ok := strings.CutPrefix(path, inside); ok {
		path = "/" + pages.Seg(c.s.Organization) + rest
	}
	if c.r.URL.RawQuery != "" {
		path += "?" + c.r.URL.RawQuery
	}
	return path
}

// done answers a form: back to a page, which says what happened.
func (c *call) done(to, text string) error {
	c.putFlash(text)
	return c.redirect(to, http.StatusSeeOther)
}

const flashName = "penstock_flash"

func (c *call) putFlash(text string) {
	http.SetCookie(c.w, &http.Cookie{Name: flashName, Value: base64.RawURLEncoding.EncodeToString([]byte(text)), Path: "/", MaxAge: 30, HttpOnly: true,
		SameSite: http.SameSiteLaxMode, Secure: c.r.TLS != nil})
}

func (c *call) takeFlash() *pages.Flash {
	cookie, err := c.r.Cookie(flashName)
	if err != nil {
		return nil
	}
	http.SetCookie(c.w, &http.Cookie{Name: flashName, Path: "/", MaxAge: -1, HttpOnly: true})
	text, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	if err != nil || len(text) > 500 {
		return nil
	}
	return &pages.Flash{Text: string(text)}
}

// fillStatus reads what the frame shows of the project, or of all projects.
func (c *call) fillStatus() error {
	st := &c.frame.Status
	active := store.Query{}.AndOp("state", store.In, []string{string(run.Pending), string(run.InProgress)})
	running, err := c.s.Runs.Runs.Find(c.ctx(), active)
	if err != nil {
		return err
	}
	for _, r := range running {
		if c.shows(r.ProjectID) {
			st.Running++
		}
	}
	inbox, err := c.s.Environments.Inbox(c.ctx(), c.subject)
	if err != nil {
		return err
	}
	for _, a := range inbox {
		if c.mayDecide(a) {
			st.ForYou++
		}
	}
	if c.project == nil {
		return nil
	}
	open, err := c.s.PullRequests.PullRequests.Find(c.ctx(), store.Where("project_id", c.project.ID).And("status", string(pullrequest.Active)))
	if err != nil {
		return err
	}
	st.Pulls = len(open)
	return c.fillTraffic(st)
}

// mayDecide reports whether the reader's answer to an approval would be taken.
func (c *call) mayDecide(a *environment.Approval) bool {
	return identity.Can(c.subject, identity.Approve, a.ProjectID) && c.s.Environments.CanDecide(c.ctx(), a, c.subject)
}

// shows reports whether something of a project belongs on this page.
func (c *call) shows(projectID string) bool {
	if c.project != nil {
		return c.project.ID == projectID
	}
	return identity.Can(c.subject, identity.ProjectView, projectID)
}

func (c *call) fillTraffic(st *pages.Status) error {
	apps, err := c.s.Applications.Of(c.ctx(), c.project.ID)
	if err != nil {
		return err
	}
	health := c.s.health()
	for _, a := range apps {
		for i := range a.Slots {
			if a.Slots[i].Role == application.Idle || a.Slots[i].Release == nil {
				continue
			}
			for _, h := range health[a.Pool(a.Slots[i].Name)] {
				st.Machines++
				if h.State == "healthy" {
					st.Healthy++
				}
			}
		}
		if a.LastSwap == "" {
			continue
		}
		last, err := c.s.Applications.Swaps.Get(c.ctx(), a.LastSwap)
		if err == nil && last.State == application.SwapPublished {
			st.Swaps = append(st.Swaps, a.Name+": "+last.OldSlot+" is draining")
		}
	}
	return nil
}

// health is what the gateway found out, by pool.
func (s *site) health() map[string][]routing.BackendHealth {
	all := map[string][]routing.BackendHealth{}
	if s.Watch == nil {
		return all
	}
	for _, h := range s.Watch.Health() {
		all[h.Pool] = append(all[h.Pool], h)
	}
	return all
}

// stats are the gateway's counters, by pool.
func (s *site) stats() map[string]routing.Stats {
	all := map[string]routing.Stats{}
	if s.Watch == nil {
		return all
	}
	for _, x := range s.Watch.Stats() {
		all[x.Pool] = x
	}
	return all
}
