// Package webui serves the web pages: drawn on the server, usable without
// scripts, and kept true by a stream of events. It holds no rules; every request
// passes one place that resolves the subject and asks identity for permission.
package webui

//go:generate go tool -modfile=../../../tools/go.mod templ generate -path pages

import (
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"penstock.dev/penstock/internal/base/broadcast"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/agentpool"
	"penstock.dev/penstock/internal/domain/application"
	"penstock.dev/penstock/internal/domain/artifact"
	"penstock.dev/penstock/internal/domain/attachment"
	"penstock.dev/penstock/internal/domain/audit"
	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/monitor"
	"penstock.dev/penstock/internal/domain/project"
	"penstock.dev/penstock/internal/domain/pullrequest"
	"penstock.dev/penstock/internal/domain/repos"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/domain/securefile"
	"penstock.dev/penstock/internal/domain/serviceconnection"
	"penstock.dev/penstock/internal/domain/testresult"
	"penstock.dev/penstock/internal/edge/webui/markdown"
)

// Services are the use cases behind the pages.
type Services struct {
	Organization string
	Version      string
	Clock        store.Clock
	Log          *slog.Logger
	Identity     *identity.Service
	Audit        *audit.Service
	Projects     *project.Service
	Repos        *repos.Service
	PullRequests *pullrequest.Service
	Pools        *agentpool.Service
	Environments *environment.Service
	Applications *application.Service
	Runs         *run.Service
	Connections  *serviceconnection.Service
	SecureFiles  *securefile.Service
	Artifacts    *artifact.Service
	Links        *artifact.Links
	Attachments  *attachment.Service
	Tests        *testresult.Service
	Monitor      *monitor.Recorder
	Watch        application.Watch
	Hub          *broadcast.Hub
	GatewayPort  func() string
	// Stopping ends the open event streams, so that the server can stop; nil means
	// they end with their connections.
	Stopping <-chan struct{}
}

// site is the pages of one server.
type site struct {
	Services
	mux      *http.ServeMux
	doors    *doors
	markdown *markdown.Cache
}

// New returns the handler of every page, of the assets and of the events.
func New(s Services) http.Handler {
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if s.GatewayPort == nil {
		s.GatewayPort = func() string { return "" }
	}
	w := &site{Services: s, mux: http.NewServeMux(), doors: newDoors(), markdown: &markdown.Cache{}}
	for _, rt := range routes {
		w.mux.HandleFunc(rt.method+" "+rt.pattern, w.guard(rt))
	}
	// Browsers say where a request that changes something comes from; one that
	// comes from another site is refused.
	return http.NewCrossOriginProtection().Handler(http.HandlerFunc(w.serve))
}

// inside is the prefix that stands for the organization in the route table, so
// that its name matches in any case and clashes with no other address.
const inside = "/_o"

func (s *site) serve(w http.ResponseWriter, r *http.Request) {
	headers(w.Header())
	r = s.intoOrganization(r)
	if _, pattern := s.mux.Handler(r); pattern == "" {
		s.guard(route{needs: identity.Anyone, handle: notFound})(w, r)
		return
	}
	s.mux.ServeHTTP(w, r)
}

func (s *site) intoOrganization(r *http.Request) *http.Request {
	path := r.URL.EscapedPath()
	prefix := "/" + url.PathEscape(s.Organization)
	if len(path) < len(prefix) || !strings.EqualFold(path[:len(prefix)], prefix) || len(path) > len(prefix) && path[len(prefix)] != '/' {
		return r
	}
	rest := strings.TrimSuffix(path[len(prefix):], "/")
	plain, err := url.PathUnescape(rest)
	if err != nil {
		return r
	}
	moved := *r
	moved.URL = new(url.URL)
	*moved.URL = *r.URL
	moved.URL.Path, moved.URL.RawPath = inside+plain, inside+rest
	return &moved
}

// headers are those of every answer. Scripts and styles come from this server
// only, nothing inline runs, and no other site may frame a page.
func headers(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "+
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
}
