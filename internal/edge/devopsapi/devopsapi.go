// Package devopsapi serves the REST API: the shapes that Azure DevOps clients
// speak, and Penstock's own under /_apis/penstock/. It holds no rules. Every
// route is a row of one registry, and every request passes one chokepoint that
// finds the subject and the project and checks the permission before the
// handler is reached.
package devopsapi

import (
	"context"
	"log/slog"
	"net/http"
	"strings"

	"penstock.dev/penstock/internal/base/broadcast"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/agentpool"
	"penstock.dev/penstock/internal/domain/application"
	"penstock.dev/penstock/internal/domain/artifact"
	"penstock.dev/penstock/internal/domain/attachment"
	"penstock.dev/penstock/internal/domain/audit"
	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/keyvault"
	"penstock.dev/penstock/internal/domain/monitor"
	"penstock.dev/penstock/internal/domain/project"
	"penstock.dev/penstock/internal/domain/pullrequest"
	"penstock.dev/penstock/internal/domain/repos"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/domain/securefile"
	"penstock.dev/penstock/internal/domain/serviceconnection"
	"penstock.dev/penstock/internal/domain/testresult"
	"penstock.dev/penstock/internal/domain/variablegroup"
)

// Machines starts and stops the VMs of a provider.
type Machines interface {
	Start(ctx context.Context, vmID string) error
	Stop(ctx context.Context, vmID string) error
	Kill(ctx context.Context, vmID string) error
	Recreate(ctx context.Context, vmID string) error
}

// Services are the use cases that the API offers.
type Services struct {
	Organization   string
	Version        string
	Clock          store.Clock
	Log            *slog.Logger
	Identity       *identity.Service
	Audit          *audit.Service
	Projects       *project.Service
	Repos          *repos.Service
	PullRequests   *pullrequest.Service
	Pools          *agentpool.Service
	Environments   *environment.Service
	Applications   *application.Service
	Vaults         *keyvault.Service
	VariableGroups *variablegroup.Service
	Connections    *serviceconnection.Service
	SecureFiles    *securefile.Service
	Runs           *run.Service
	Artifacts      *artifact.Service
	Links          *artifact.Links
	Attachments    *attachment.Service
	Tests          *testresult.Service
	Monitor        *monitor.Recorder
	Watch          application.Watch
	Hub            *broadcast.Hub
	Machines       Machines      // nil: VMs are not ours to start and stop
	GatewayPort    func() string // ":7480", or "" for 80
}

// SessionCookie is the name of the browser's sign-in.
const SessionCookie = "penstock_session"

type api struct {
	Services
	routes  []Route
	signIns *limiter
	origins *http.CrossOriginProtection
}

// New makes the handler of /{organization}/… with /_apis/ in its path.
func New(s Services) http.Handler {
	return newAPI(s, Routes())
}

func newAPI(s Services, routes []Route) *api {
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	return &api{Services: s, routes: routes, signIns: newLimiter(s.Clock), origins: http.NewCrossOriginProtection()}
}

// Routes is the registry.
func Routes() []Route {
	var all []Route
	for _, area := range [][]Route{discoveryRoutes, projectRoutes, gitRoutes, pullRequestRoutes, policyRoutes, pipelineRoutes,
		buildRoutes, timelineRoutes, approvalRoutes, environmentRoutes, poolRoutes, runRoutes, artifactRoutes, runLogRoutes, testRoutes, applicationRoutes,
		vaultRoutes, organizationRoutes} {
		all = append(all, area...)
	}
	return all
}

// ServeHTTP implements http.Handler.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{api: a, w: w, r: r}
	c.r = r.WithContext(r.Context())
	defer c.recovered()
	value, err := c.serve()
	if err != nil {
		c.fail(err)
		return
	}
	c.answer(value)
}

// serve is the chokepoint: nothing below it asks who somebody is.
func (c *call) serve() (any, error) {
	route, err := c.find()
	if err != nil {
		return nil, err
	}
	if err := c.resolveSubject(); err != nil && route.Permission != identity.Anyone {
		return nil, err
	}
	c.r = c.r.WithContext(identity.With(c.r.Context(), c.subject))
	if err := c.admit(route); err != nil {
		return nil, err
	}
	if err := c.limitBody(route); err != nil {
		return nil, err
	}
	return route.Handle(c)
}

func (c *call) find() (*Route, error) {
	path, err := segments(c.r.URL.EscapedPath())
	if err != nil || len(path) < 2 {
		return nil, fault.New(fault.NotFound, "no-route", "no such address: %s", c.r.URL.Path)
	}
	if !strings.EqualFold(path[0], c.Organization) {
		return nil, fault.New(fault.NotFound, "not-found", "no organization %s", path[0]).Want("%s", c.Organization)
	}
	method := c.r.Method
	if over := c.r.Header.Get("X-HTTP-Method-Override"); method == http.MethodPost && over != "" {
		method = strings.ToUpper(over)
	}
	route, params, err := match(c.api.routes, method, path[1:])
	if err != nil {
		return nil, err
	}
	c.params, c.route = params, route
	return route, nil
}

// admit finds the project of the request and checks the permission on it.
func (c *call) admit(route *Route) error {
	if route.Permission == identity.Anyone {
		return nil
	}
	// Whoever is not signed in does not learn which projects there are.
	if c.subject.Kind == identity.Nobody {
		return identity.Check(c.subject, route.Permission, "")
	}
	name, scoped := c.params["project"]
	if !scoped && route.Locate != nil {
		var err error
		if name, err = route.Locate(c); err != nil {
			return err
		}
		scoped = name != "" // a request that names none is about the server
	}
	if !scoped {
		return identity.Check(c.subject, route.Permission, "")
	}
	p, err := c.Projects.Find(c.ctx(), name)
	if err != nil {
		return err
	}
	c.project = p
	err = identity.Check(c.subject, route.Permission, p.ID)
	if err == nil || identity.Can(c.subject, identity.ProjectView, p.ID) {
		return err
	}
	// A project that the subject may not even see does not exist for it, nor
	// does what is in it.
	if _, named := c.params["project"]; !named {
		return fault.New(fault.NotFound, "not-found", "there is no such object, or you may not see it")
	}
	return fault.New(fault.NotFound, "not-found", "no project %s", name).Try("penstock project list")
}

func (c *call) resolveSubject() error {
	secret, cookie := c.credential()
	if secret == "" {
		return nil
	}
	if cookie {
		if err := c.origins.Check(c.r); err != nil {
			return fault.Wrap(err, fault.Denied, "cross-origin", "the request comes from another site")
		}
	}
	s, err := c.Identity.SubjectOf(c.ctx(), secret)
	if err != nil {
		if cookie { // a session that has ended is no sign-in
			return nil
		}
		return err
	}
	c.subject, c.secret = s, secret
	return nil
}

// credential returns the token of a request: Bearer, the password of Basic, or
// the browser's cookie.
func (c *call) credential() (secret string, cookie bool) {
	header := c.r.Header.Get("Authorization")
	if _, password, ok := c.r.BasicAuth(); ok {
		return password, false
	}
	if scheme, token, ok := strings.Cut(header, " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token), false
	}
	if k, err := c.r.Cookie(SessionCookie); err == nil && header == "" {
		return k.Value, true
	}
	return "", false
}
