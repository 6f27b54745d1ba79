package webui

import (
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/edge/webui/pages"
)

// doors limits how often a name is tried from an address, so that a password
// cannot be guessed and nobody is locked out by a stranger elsewhere.
type doors struct {
	mu    sync.Mutex
	seen  map[string]*rate.Limiter
	swept time.Time
}

// Five tries at once, then one every twelve seconds.
const (
	doorBurst = 5
	doorEvery = 12 * time.Second
	doorsMax  = 10_000
)

func newDoors() *doors { return &doors{seen: map[string]*rate.Limiter{}} }

// allow takes one try; wait is how long until the next one.
func (d *doors) allow(key string, now time.Time) (ok bool, wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.seen) > doorsMax || now.Sub(d.swept) > time.Hour {
		for k, l := range d.seen {
			if l.TokensAt(now) >= doorBurst {
				delete(d.seen, k)
			}
		}
		d.swept = now
	}
	l := d.seen[key]
	if l == nil {
		l = rate.NewLimiter(rate.Every(doorEvery), doorBurst)
		d.seen[key] = l
	}
	r := l.ReserveN(now, 1)
	if wait = r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return false, wait
	}
	return true, 0
}

func (d *doors) forget(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.seen, key)
}

func showSignIn(c *call) error {
	if c.subject.Kind == identity.UserKind {
		return c.redirect(safeNext(c.r.FormValue("next")), http.StatusSeeOther)
	}
	return c.signInPage(pages.SignInView{Next: safeNext(c.r.FormValue("next"))})
}

func (c *call) signInPage(v pages.SignInView) error {
	v.Host = c.r.Host
	return c.page("", "Sign in", pages.SignIn(c.frame, v))
}

func signIn(c *call) error {
	name, next := strings.ToLower(strings.TrimSpace(c.r.PostFormValue("name"))), safeNext(c.r.PostFormValue("next"))
	host, _, err := net.SplitHostPort(c.r.RemoteAddr)
	if err != nil {
		host = c.r.RemoteAddr
	}
	key := host + " " + name
	if ok, wait := c.s.doors.allow(key, c.now); !ok {
		c.status = http.StatusTooManyRequests
		return c.signInPage(pages.SignInView{Name: name, Next: next, Error: "Too many tries for this name. Wait " + pages.Left(c.now.Add(wait), c.now) + ", then try again."})
	}
	u, err := c.s.Identity.SignIn(c.ctx(), name, c.r.PostFormValue("password"))
	if fault.Is(err, fault.Denied) {
		c.status = http.StatusUnauthorized
		return c.signInPage(pages.SignInView{Name: name, Next: next, Error: "Name or password is not right."})
	}
	if err != nil {
		return err
	}
	c.s.doors.forget(key)
	secret, _, err := c.s.Identity.IssueToken(c.ctx(), identity.Token{Kind: identity.SessionToken, OwnerID: u.ID, Name: "browser", Expires: c.now.Add(identity.SessionLength)})
	if err != nil {
		return err
	}
	http.SetCookie(c.w, &http.Cookie{Name: cookieName, Value: secret, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: c.r.TLS != nil,
		MaxAge: int(identity.SessionLength.Seconds())})
	return c.redirect(next, http.StatusSeeOther)
}

// signOut ends the session on the server, not only in the browser.
func signOut(c *call) error {
	if cookie, err := c.r.Cookie(cookieName); err == nil {
		if t, err := c.s.Identity.FindToken(c.ctx(), cookie.Value); err == nil && t.Kind == identity.SessionToken {
			if err := c.s.Identity.RevokeToken(c.ctx(), t.OwnerID, t.ID); err != nil {
				return err
			}
		}
	}
	http.SetCookie(c.w, &http.Cookie{Name: cookieName, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	return c.redirect("/signin", http.StatusSeeOther)
}
