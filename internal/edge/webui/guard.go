package webui

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/project"
	"penstock.dev/penstock/internal/edge/webui/pages"
)

// cookieName carries the secret of a session token.
const cookieName = "penstock_session"

// guard is the one place that every request passes: who asks, about which
// project, and whether the route's permission is held. The handler runs after.
func (s *site) guard(rt route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if rt.method != "GET" {
			r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
		}
		c := s.newCall(w, r)
		err := c.admit(rt)
		if err == nil && rt.method != "GET" {
			err = readForm(c.r)
		}
		if err == nil {
			err = rt.handle(c)
		}
		if err != nil {
			c.fail(err)
		}
	}
}

func readForm(r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return fault.Wrap(err, fault.Invalid, "form", "the form cannot be read").Want("at most 1 MB, as a browser sends it")
	}
	return nil
}

func (c *call) admit(rt route) error {
	subject, err := c.s.subjectOf(c.r)
	if err != nil {
		return err
	}
	c.subject = subject
	c.r = c.r.WithContext(identity.With(c.r.Context(), subject))
	if subject.Kind == identity.UserKind {
		c.frame.User, c.frame.Admin = subject.Name, identity.Can(subject, identity.AuditRead, "")
	}
	if !strings.HasPrefix(rt.pattern, projectPath) {
		return identity.Check(subject, rt.needs, "")
	}
	// Whoever is not signed in learns nothing, not even which projects exist.
	if err := identity.Check(subject, identity.SignedIn, ""); err != nil {
		return err
	}
	p, err := c.s.Projects.Find(c.r.Context(), c.r.PathValue("project"))
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	// Nor does who may not look into a project learn that it is there.
	if err != nil || !identity.Can(subject, identity.ProjectView, p.ID) {
		return fault.New(fault.NotFound, "not-found", "there is no project %s, or you may not see it", c.r.PathValue("project")).
			Try("look at your projects, or ask an administrator for a role")
	}
	c.setProject(p)
	return identity.Check(subject, rt.needs, p.ID)
}

func (c *call) setProject(p *project.Project) { c.project, c.frame.Project = p, p.Name }

// subjectOf resolves the cookie or the Authorization header. A credential that
// is not valid any more is as good as none.
func (s *site) subjectOf(r *http.Request) (identity.Subject, error) {
	secret := credential(r)
	if secret == "" {
		return identity.Subject{}, nil
	}
	subject, err := s.Identity.SubjectOf(r.Context(), secret)
	if fault.Is(err, fault.Denied) || fault.Is(err, fault.NotFound) {
		return identity.Subject{}, nil
	}
	return subject, err
}

func credential(r *http.Request) string {
	kind, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch strings.ToLower(kind) {
	case "bearer":
		return strings.TrimSpace(rest)
	case "basic":
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(rest))
		if err != nil {
			return ""
		}
		_, secret, _ := strings.Cut(string(raw), ":")
		return secret
	}
	if cookie, err := r.Cookie(cookieName); err == nil {
		return cookie.Value
	}
	return ""
}

// statusOf maps the six kinds of error, once.
var statusOf = map[fault.Kind]int{fault.Invalid: http.StatusUnprocessableEntity, fault.Denied: http.StatusForbidden, fault.NotFound: http.StatusNotFound,
	fault.Conflict: http.StatusConflict, fault.Unavailable: http.StatusServiceUnavailable, fault.Internal: http.StatusInternalServerError}

var titleOf = map[fault.Kind]string{fault.Invalid: "That cannot be accepted as it is", fault.Denied: "You may not do that", fault.NotFound: "There is nothing here",
	fault.Conflict: "Nothing changed", fault.Unavailable: "Something did not answer", fault.Internal: "The server failed"}

// fail answers with an error: a page, or a way to sign in.
func (c *call) fail(err error) {
	if fault.CodeOf(err) == "not-signed-in" && c.r.Method == http.MethodGet && c.r.Header.Get("X-Live") == "" && !strings.HasPrefix(c.r.URL.Path, "/events") {
		_ = c.redirect("/signin?next="+url.QueryEscape(c.address()), http.StatusSeeOther)
		return
	}
	kind := fault.KindOf(err)
	v := pages.ErrorView{Status: statusOf[kind], Title: titleOf[kind]}
	if fault.CodeOf(err) == "not-signed-in" {
		v.Status, v.Title, v.SignIn = http.StatusUnauthorized, "Sign in first", "/signin"
	}
	if fault.CodeOf(err) == "too-many-attempts" {
		v.Status, v.Title = http.StatusTooManyRequests, "Wait a moment"
	}
	var e *fault.Error
	if errors.As(err, &e) && kind != fault.Internal {
		said := *e
		v.Fault = &said
	} else {
		v.Trace = id.New()
		v.Fault = fault.New(fault.Internal, "internal", "the server could not answer this")
		c.s.Log.Error("a page failed", "error", err, "trace", v.Trace, "method", c.r.Method, "path", c.r.URL.Path)
	}
	c.status = v.Status
	c.frame.Title = v.Title
	if err := c.page("", v.Title, pages.Failure(c.frame, v)); err != nil {
		c.s.Log.Debug("an error page was not delivered", "error", err)
	}
}

func noPage(path string) error {
	return fault.New(fault.NotFound, "not-found", "no page has the address %s", path).Try("look at the board, or press Ctrl K and type where you want to go")
}

// safeNext is a local path to go to after signing in; anything else is "/".
func safeNext(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") ||
		strings.HasPrefix(u.Path, "/signin") {
		return "/"
	}
	return next
}
