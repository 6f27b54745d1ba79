package devopsapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/base/broadcast"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/memstore"
	"penstock.dev/penstock/internal/domain/agentpool"
	"penstock.dev/penstock/internal/domain/application"
	"penstock.dev/penstock/internal/domain/artifact"
	"penstock.dev/penstock/internal/domain/artifact/artifacttest"
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

// world is a server of services on memory, with two projects.
type world struct {
	Services
	t      testing.TB
	shop   *project.Project
	other  *project.Project
	tokens map[string]string // by who
	users  map[string]*identity.User
}

type fakeGit struct{ files map[string]string }

func (fakeGit) Init(context.Context, string, string) error                      { return nil }
func (fakeGit) Refs(context.Context, string) (map[string]string, error)         { return nil, nil }
func (fakeGit) UpdateRef(context.Context, string, string, string, string) error { return nil }
func (fakeGit) Merge(context.Context, string, repos.MergeRequest) (string, error) {
	return strings.Repeat("c", 40), nil
}
func (g fakeGit) ReadFile(_ context.Context, _, _, path string) ([]byte, error) {
	if text, ok := g.files[path]; ok {
		return []byte(text), nil
	}
	return nil, fault.New(fault.NotFound, "not-found", "no file %s", path)
}
func (fakeGit) Resolve(_ context.Context, _, revision string) (string, error) {
	if revision == "refs/heads/gone" {
		return "", fault.New(fault.NotFound, "not-found", "no branch gone")
	}
	return strings.Repeat("a", 40), nil
}
func (fakeGit) ChangedPaths(context.Context, string, string, string) ([]string, error) {
	return nil, nil
}
func (fakeGit) Commits(context.Context, string, string, string, int) ([]repos.Commit, error) {
	return []repos.Commit{{ID: strings.Repeat("a", 40), Author: "ada", Message: "first"}}, nil
}
func (fakeGit) Diff(context.Context, string, string, string) (string, error) { return "+line\n", nil }
func (fakeGit) Tree(context.Context, string, string, string) ([]repos.TreeEntry, error) {
	return []repos.TreeEntry{{Name: "docs", Folder: true}, {Name: "main.go", Size: 3}}, nil
}

type fakeLogs map[string][]string

func (l fakeLogs) Append(context.Context, string, int64, []byte) (int64, int, error) {
	return 0, 0, nil
}
func (l fakeLogs) Lines(_ context.Context, log string, from, limit int) ([]string, int, error) {
	all := l[log]
	from = min(from-1, len(all))
	return all[from:min(len(all), from+limit)], len(all), nil
}

type plainSealer struct{}

func (plainSealer) Seal(p []byte, _ string) ([]byte, error) {
	return append([]byte("sealed:"), p...), nil
}
func (plainSealer) Open(s []byte, _ string) ([]byte, error) { return s[len("sealed:"):], nil }

func newWorld(t testing.TB) *world {
	t.Helper()
	tx, hub := &memstore.Runner{}, &broadcast.Hub{}
	a := &audit.Service{Records: memstore.NewTable[audit.Record](tx, "audit.Record"), Tx: tx}
	id := identity.NewService(identity.Store{Users: memstore.NewTable[identity.User](tx, "identity.User"), Groups: memstore.NewTable[identity.Group](tx, "identity.Group"), Grants: memstore.NewTable[identity.Grant](tx, "identity.Grant"),
		Tokens: memstore.NewTable[identity.Token](tx, "identity.Token")}, tx, a, nil)
	git := fakeGit{files: map[string]string{"azure-pipelines.yml": "trigger: none\npool: default\nsteps:\n- script: echo hello\n"}}
	w := &world{t: t, tokens: map[string]string{}, users: map[string]*identity.User{}}
	w.Services = Services{Organization: "Default", Version: "1.0.0", Identity: id, Audit: a, Hub: hub, Monitor: &monitor.Recorder{},
		Projects:     &project.Service{Projects: memstore.NewTable[project.Project](tx, "project.Project"), Tx: tx, Audit: a},
		Repos:        &repos.Service{Repositories: memstore.NewTable[repos.Repository](tx, "repos.Repository"), Pushes: memstore.NewTable[repos.Push](tx, "repos.Push"), Tx: tx, Audit: a, Git: git, History: git},
		Pools:        &agentpool.Service{Pools: memstore.NewTable[agentpool.Pool](tx, "agentpool.Pool"), Agents: memstore.NewTable[agentpool.Agent](tx, "agentpool.Agent"), Requests: memstore.NewTable[agentpool.Request](tx, "agentpool.Request"), Tx: tx, Audit: a, Identity: id},
		Environments: &environment.Service{Environments: memstore.NewTable[environment.Environment](tx, "environment.Environment"), VMs: memstore.NewTable[environment.VM](tx, "environment.VM"), Checks: memstore.NewTable[environment.Check](tx, "environment.Check"), Approvals: memstore.NewTable[environment.Approval](tx, "environment.Approval"), Locks: memstore.NewTable[environment.Lock](tx, "environment.Lock"), Deployments: memstore.NewTable[environment.Deployment](tx, "environment.Deployment"), Tx: tx, Audit: a, Identity: id},
		Vaults:       &keyvault.Service{Vaults: memstore.NewTable[keyvault.Vault](tx, "keyvault.Vault"), Secrets: memstore.NewTable[keyvault.Secret](tx, "keyvault.Secret"), Tx: tx, Audit: a, Sealer: plainSealer{}},
		Artifacts:    artifacttest.NewService(),
		Links:        &artifact.Links{Links: memstore.NewTable[artifact.Link](tx, "artifact.Link")},
		Attachments:  &attachment.Service{Attachments: memstore.NewTable[attachment.Attachment](tx, "attachment.Attachment"), Blobs: &artifacttest.Blobs{}, Tx: tx},
		Tests: &testresult.Service{Runs: memstore.NewTable[testresult.TestRun](tx, "testresult.TestRun"), Results: memstore.NewTable[testresult.Set](tx, "testresult.Set"),
			Reports: memstore.NewTable[testresult.Coverage](tx, "testresult.Coverage"), Files: memstore.NewTable[testresult.CoverageFiles](tx, "testresult.CoverageFiles"), Tx: tx},
	}
	w.Connections = &serviceconnection.Service{Connections: memstore.NewTable[serviceconnection.Connection](tx, "service connection"), Tx: tx, Audit: a, Sealer: plainSealer{}}
	w.SecureFiles = &securefile.Service{Files: memstore.NewTable[securefile.File](tx, "secure file"), Contents: memstore.NewTable[securefile.Content](tx, "secure file"), Tx: tx, Audit: a, Sealer: plainSealer{}}
	w.VariableGroups = &variablegroup.Service{Groups: memstore.NewTable[variablegroup.Group](tx, "variablegroup.Group"), Tx: tx, Audit: a, Vaults: w.Vaults}
	w.Applications = &application.Service{Apps: memstore.NewTable[application.Application](tx, "application.Application"), Swaps: memstore.NewTable[application.Swap](tx, "application.Swap"), Tx: tx, Audit: a, Environments: w.Environments, VariableGroups: w.VariableGroups}
	w.Runs = &run.Service{Address: run.Address{Organization: "Default", BaseURL: func() string { return "http://penstock.test" }}, Store: run.Store{Pipelines: memstore.NewTable[run.Pipeline](tx, "run.Pipeline"), Runs: memstore.NewTable[run.Run](tx, "run.Run"), Plans: memstore.NewTable[run.Planned](tx, "run.Planned"), Stages: memstore.NewTable[run.Stage](tx, "run.Stage"), Phases: memstore.NewTable[run.Phase](tx, "run.Phase"), Jobs: memstore.NewTable[run.Job](tx, "run.Job")},
		Tx: tx, Audit: a, Identity: id, Projects: w.Projects, Repos: w.Repos, Pools: w.Pools, Environments: w.Environments, Applications: w.Applications, VariableGroups: w.VariableGroups, Connections: w.Connections, SecureFiles: w.SecureFiles, Artifacts: w.Artifacts, Logs: fakeLogs{}, Hub: hub}
	w.PullRequests = &pullrequest.Service{PullRequests: memstore.NewTable[pullrequest.PullRequest](tx, "pullrequest.PullRequest"), Policies: memstore.NewTable[pullrequest.Policy](tx, "pullrequest.Policy"), Tx: tx, Audit: a, Repos: w.Repos, Runs: w.Runs, Hub: hub}
	w.populate()
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) populate() {
	ctx := identity.With(context.Background(), identity.System())
	var err error
	w.shop, err = w.Projects.Create(ctx, "Shop", "")
	w.must(err)
	w.other, err = w.Projects.Create(ctx, "Other", "")
	w.must(err)
	for name, role := range map[string]identity.Role{"reader": identity.Reader, "contributor": identity.Contributor,
		"projectadministrator": identity.ProjectAdministrator, "serveradministrator": identity.ServerAdministrator} {
		u, err := w.Identity.CreateUser(ctx, name, "", "")
		w.must(err)
		scope := w.shop.ID
		if role == identity.ServerAdministrator {
			scope = ""
		}
		w.must(w.Identity.GrantRole(ctx, name, role, scope))
		w.users[name], w.tokens[name] = u, w.token(identity.Token{Kind: identity.PersonalToken, OwnerID: u.ID, Name: name})
	}
	w.tokens["job"] = w.token(identity.Token{Kind: identity.JobToken, OwnerID: "job-1", ProjectID: w.shop.ID, RunID: "1"})
	w.tokens["agent"] = w.token(identity.Token{Kind: identity.AgentToken, OwnerID: "7", Name: "agent-7"})
	w.tokens["join"] = w.token(identity.Token{Kind: identity.JoinToken, OwnerID: "7", Name: "join"})
}

func (w *world) token(t identity.Token) string {
	secret, _, err := w.Identity.IssueToken(context.Background(), t)
	w.must(err)
	return secret
}

// call sends a request as somebody and decodes the answer.
func (w *world) call(h http.Handler, who, method, path, body string, into any) int {
	w.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if who != "" {
		r.Header.Set("Authorization", "Bearer "+w.tokens[who])
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	if into != nil {
		if err := json.Unmarshal(rec.Body.Bytes(), into); err != nil {
			w.t.Fatalf("%s %s: %d %s: %v", method, path, rec.Code, rec.Body, err)
		}
	}
	return rec.Code
}

// TestEveryRouteAsksForItsPermission sends every route as everybody: the
// handler is reached exactly by those whom identity.Can lets.
func TestEveryRouteAsksForItsPermission(t *testing.T) {
	w := newWorld(t)
	everybody := []string{"", "reader", "contributor", "projectadministrator", "serveradministrator", "job", "agent", "join"}
	subjects := map[string]identity.Subject{"": {}, "join": {}}
	for _, who := range everybody[1:7] {
		s, err := w.Identity.SubjectOf(context.Background(), w.tokens[who])
		w.must(err)
		subjects[who] = s
	}
	reached := false
	routes := Routes()
	for i := range routes {
		routes[i].Handle = func(*call) (any, error) { reached = true; return nil, nil }
		if routes[i].Permission == "" {
			t.Errorf("route %s %s names no permission", routes[i].Method, routes[i].Template)
		}
	}
	h := newAPI(w.Services, routes)
	for _, r := range routes {
		for _, p := range []*project.Project{w.shop, w.other} {
			path := "/default/" + strings.NewReplacer("{project}", p.Name).Replace(r.Template)
			for strings.Contains(path, "{") {
				from, to := strings.Index(path, "{"), strings.Index(path, "}")
				path = path[:from] + "x" + path[to+1:]
			}
			scope := ""
			if strings.Contains(r.Template, "{project}") {
				scope = p.ID
			}
			for _, who := range everybody {
				reached = false
				var answer map[string]any
				status := w.call(h, who, r.Method, path, "", nil)
				want := identity.Can(subjects[who], r.Permission, scope)
				if reached != want {
					t.Errorf("%s %s as %q: reached %v, want %v (status %d, %v)", r.Method, path, who, reached, want, status, answer)
				}
				nobody := subjects[who].Kind == identity.Nobody
				if !want && nobody && status != http.StatusUnauthorized {
					t.Errorf("%s %s as %q: status %d, want 401", r.Method, path, who, status)
				}
				if !want && !nobody && status != http.StatusForbidden && status != http.StatusNotFound {
					t.Errorf("%s %s as %q: status %d, want 403 or 404", r.Method, path, who, status)
				}
			}
		}
	}
}

func TestProjectThatOneMayNotSeeDoesNotExist(t *testing.T) {
	w := newWorld(t)
	h := New(w.Services)
	for _, path := range []string{"/default/Other/_apis/git/repositories", "/default/Nowhere/_apis/git/repositories"} {
		if got := w.call(h, "reader", "GET", path, "", nil); got != http.StatusNotFound {
			t.Errorf("%s as a reader of another project: %d, want 404", path, got)
		}
		if got := w.call(h, "", "GET", path, "", nil); got != http.StatusUnauthorized {
			t.Errorf("%s as nobody: %d, want 401", path, got)
		}
	}
	if got := w.call(h, "reader", "POST", "/default/shop/_apis/git/repositories", `{"name":"x"}`, nil); got != http.StatusForbidden {
		t.Errorf("reader makes a repository: %d, want 403", got)
	}
}

func TestAddressesIgnoreCaseAndEmptySegments(t *testing.T) {
	w := newWorld(t)
	h := New(w.Services)
	for _, path := range []string{"/default/shop/_apis/git/repositories", "/DEFAULT/SHOP/_APIS/Git/Repositories/", "/Default//shop//_apis/git/repositories",
		"/default/" + w.shop.ID + "/_apis/git/repositories", "/default/%53hop/_apis/git/repositories"} {
		if got := w.call(h, "reader", "GET", path, "", nil); got != http.StatusOK {
			t.Errorf("%s: %d", path, got)
		}
	}
	if got := w.call(h, "reader", "DELETE", "/default/shop/_apis/git/repositories", "", nil); got != http.StatusMethodNotAllowed {
		t.Errorf("DELETE of a list: %d, want 405", got)
	}
	if got := w.call(h, "reader", "GET", "/elsewhere/_apis/projects", "", nil); got != http.StatusNotFound {
		t.Errorf("another organization: %d, want 404", got)
	}
}

func TestCredentials(t *testing.T) {
	w := newWorld(t)
	h := New(w.Services)
	session := w.token(identity.Token{Kind: identity.SessionToken, OwnerID: w.users["reader"].ID})
	cases := []struct {
		name string
		set  func(*http.Request)
		want int
	}{
		{"nobody", func(*http.Request) {}, 401},
		{"bearer", func(r *http.Request) { r.Header.Set("Authorization", "bearer "+w.tokens["reader"]) }, 200},
		{"basic, any user", func(r *http.Request) { r.SetBasicAuth("whoever", w.tokens["reader"]) }, 200},
		{"basic, no user", func(r *http.Request) { r.SetBasicAuth("", w.tokens["reader"]) }, 200},
		{"wrong token", func(r *http.Request) { r.Header.Set("Authorization", "Bearer nonsense") }, 401},
		{"join token", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+w.tokens["join"]) }, 401},
		{"cookie", func(r *http.Request) { r.AddCookie(&http.Cookie{Name: SessionCookie, Value: session}) }, 200},
		{"ended session", func(r *http.Request) { r.AddCookie(&http.Cookie{Name: SessionCookie, Value: "gone"}) }, 401},
	}
	for _, k := range cases {
		r := httptest.NewRequest("GET", "/default/_apis/connectionData", nil)
		k.set(r)
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		if rec.Code != k.want {
			t.Errorf("%s: %d, want %d", k.name, rec.Code, k.want)
		}
		if k.want == 401 && rec.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%s: no WWW-Authenticate", k.name)
		}
	}
	r := httptest.NewRequest("POST", "/default/shop/_apis/git/repositories", strings.NewReader(`{"name":"x"}`))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	r.AddCookie(&http.Cookie{Name: SessionCookie, Value: session})
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	if rec.Code != 403 || !strings.Contains(rec.Body.String(), "cross-origin") {
		t.Errorf("cookie from another site: %d %s", rec.Code, rec.Body)
	}
}

func TestErrorsHaveOneShape(t *testing.T) {
	w := newWorld(t)
	for kind, want := range statusOf {
		routes := []Route{{"x", "x", "", "GET", "_apis/x", identity.Anyone, func(*call) (any, error) {
			return nil, fault.Wrap(errors.New("the cause"), kind, "some-code", "what is wrong").Want("this").Got("that").Try("so").At("here")
		}, nil, smallJSON}}
		var p problem
		status := w.call(newAPI(w.Services, routes), "", "GET", "/default/_apis/x", "", &p)
		if status != want || p.Kind != kind.String() || p.Code != "some-code" || p.ID != "1" || p.TypeKey == "" || p.Message == "" {
			t.Errorf("%s: status %d, %+v", kind, status, p)
		}
		if kind == fault.Internal {
			if p.Trace == "" || strings.Contains(p.Message, "cause") || p.Expected != "" {
				t.Errorf("an internal error shows too much or no trace: %+v", p)
			}
		} else if p.Expected != "this" || p.Found != "that" || p.Do != "so" || p.Where != "here" {
			t.Errorf("%s: %+v", kind, p)
		}
	}
	routes := []Route{{"x", "x", "", "GET", "_apis/x", identity.Anyone, func(*call) (any, error) { panic("secret detail") }, nil, smallJSON}}
	var p problem
	if status := w.call(newAPI(w.Services, routes), "", "GET", "/default/_apis/x", "", &p); status != 500 || strings.Contains(p.Message, "secret") {
		t.Errorf("panic: %d %+v", status, p)
	}
}

func TestBodyMustBeBoundedJSON(t *testing.T) {
	w := newWorld(t)
	h := New(w.Services)
	r := httptest.NewRequest("POST", "/default/_apis/penstock/sessions", strings.NewReader("name=a"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	if rec.Code != 400 || !strings.Contains(rec.Body.String(), "not-json") {
		t.Errorf("a form: %d %s", rec.Code, rec.Body)
	}
	var p problem
	big := `{"name":"` + strings.Repeat("x", 2<<20) + `"}`
	if status := w.call(h, "serveradministrator", "POST", "/default/_apis/projects", big, &p); status != http.StatusRequestEntityTooLarge || p.Code != "too-large" {
		t.Errorf("a large body: %d %+v", status, p)
	}
}
