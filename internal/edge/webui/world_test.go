package webui

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock.dev/penstock/internal/base/broadcast"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/memstore"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/agentpool"
	"penstock.dev/penstock/internal/domain/application"
	"penstock.dev/penstock/internal/domain/artifact"
	"penstock.dev/penstock/internal/domain/artifact/artifacttest"
	"penstock.dev/penstock/internal/domain/attachment"
	"penstock.dev/penstock/internal/domain/audit"
	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/monitor"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/project"
	"penstock.dev/penstock/internal/domain/pullrequest"
	"penstock.dev/penstock/internal/domain/repos"
	"penstock.dev/penstock/internal/domain/routing"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/domain/securefile"
	"penstock.dev/penstock/internal/domain/serviceconnection"
	"penstock.dev/penstock/internal/domain/testresult"
	"penstock.dev/penstock/internal/domain/trafficmanager"
)

// world is a server in memory with one project in which something of everything
// has happened.
type world struct {
	t       *testing.T
	s       Services
	handler http.Handler
	now     time.Time
	project *project.Project
	other   *project.Project
	tokens  map[string]string // by role: admin, contributor, reader, stranger
	users   map[string]*identity.User
	app     *application.Application
	logs    *memLogs
	swaps   *fakePlanes
}

const (
	commitA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	commitB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	yamlOK  = "name: 1.$(Rev:r)\nparameters:\n- name: color\n  type: string\n  default: red\nsteps:\n- script: echo hi\n"
	evil    = `<script>alert("x")</script>`
)

// sealer marks what it was given.
type sealer struct{}

func (sealer) Seal(p []byte, _ string) ([]byte, error) { return append([]byte("sealed:"), p...), nil }
func (sealer) Open(s []byte, _ string) ([]byte, error) { return s[len("sealed:"):], nil }

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 11, 22, 19, 4, 31, 0, time.UTC), tokens: map[string]string{}, users: map[string]*identity.User{}, logs: &memLogs{lines: map[string][]string{}}, swaps: &fakePlanes{}}
	clock := store.Clock(func() time.Time { return w.now })
	tx := &memstore.Runner{}
	hub := &broadcast.Hub{}
	au := &audit.Service{Records: memstore.NewTable[audit.Record](tx, "audit.Record"), Tx: tx, Clock: clock}
	id := identity.NewService(identity.Store{Users: memstore.NewTable[identity.User](tx, "identity.User"), Groups: memstore.NewTable[identity.Group](tx, "identity.Group"), Grants: memstore.NewTable[identity.Grant](tx, "identity.Grant"), Tokens: memstore.NewTable[identity.Token](tx, "identity.Token")}, tx, au, clock)
	git := &fakeGit{}
	rs := &repos.Service{Repositories: memstore.NewTable[repos.Repository](tx, "repos.Repository"), Pushes: memstore.NewTable[repos.Push](tx, "repos.Push"), Tx: tx, Audit: au, Clock: clock, Git: git, History: git}
	ps := &project.Service{Projects: memstore.NewTable[project.Project](tx, "project.Project"), Tx: tx, Audit: au, Clock: clock}
	pools := &agentpool.Service{Pools: memstore.NewTable[agentpool.Pool](tx, "agentpool.Pool"), Agents: memstore.NewTable[agentpool.Agent](tx, "agentpool.Agent"), Requests: memstore.NewTable[agentpool.Request](tx, "agentpool.Request"), Tx: tx, Audit: au, Identity: id, Clock: clock}
	envs := &environment.Service{Environments: memstore.NewTable[environment.Environment](tx, "environment.Environment"), VMs: memstore.NewTable[environment.VM](tx, "environment.VM"), Checks: memstore.NewTable[environment.Check](tx, "environment.Check"), Approvals: memstore.NewTable[environment.Approval](tx, "environment.Approval"),
		Locks: memstore.NewTable[environment.Lock](tx, "environment.Lock"), Deployments: memstore.NewTable[environment.Deployment](tx, "environment.Deployment"), Tx: tx, Audit: au, Identity: id, Clock: clock}
	apps := &application.Service{Apps: memstore.NewTable[application.Application](tx, "application.Application"), Swaps: memstore.NewTable[application.Swap](tx, "application.Swap"), Tx: tx, Audit: au, Environments: envs, Clock: clock, Switch: w.swaps}
	arts := artifacttest.NewService()
	arts.Clock = clock
	runs := &run.Service{Address: run.Address{Organization: "harbor", BaseURL: func() string { return "http://penstock.test" }}, Store: run.Store{Pipelines: memstore.NewTable[run.Pipeline](tx, "run.Pipeline"), Runs: memstore.NewTable[run.Run](tx, "run.Run"), Plans: memstore.NewTable[run.Planned](tx, "run.Planned"), Stages: memstore.NewTable[run.Stage](tx, "run.Stage"), Phases: memstore.NewTable[run.Phase](tx, "run.Phase"), Jobs: memstore.NewTable[run.Job](tx, "run.Job")},
		Tx: tx, Audit: au, Clock: clock, Identity: id, Projects: ps, Repos: rs, Pools: pools, Environments: envs, Applications: apps, Artifacts: arts, Logs: w.logs, Hub: hub}
	prs := &pullrequest.Service{PullRequests: memstore.NewTable[pullrequest.PullRequest](tx, "pullrequest.PullRequest"), Policies: memstore.NewTable[pullrequest.Policy](tx, "pullrequest.Policy"), Tx: tx, Audit: au, Clock: clock, Repos: rs, Runs: runs, Hub: hub}
	w.s = Services{Organization: "harbor", Version: "test", Clock: clock, Identity: id, Audit: au, Projects: ps, Repos: rs, PullRequests: prs, Pools: pools, Environments: envs,
		Applications: apps, Runs: runs, Artifacts: arts, Links: &artifact.Links{Links: memstore.NewTable[artifact.Link](tx, "artifact.Link"), Clock: clock},
		Attachments: &attachment.Service{Attachments: memstore.NewTable[attachment.Attachment](tx, "attachment.Attachment"), Blobs: &artifacttest.Blobs{}, Tx: tx, Clock: clock},
		Tests: &testresult.Service{Runs: memstore.NewTable[testresult.TestRun](tx, "testresult.TestRun"), Results: memstore.NewTable[testresult.Set](tx, "testresult.Set"),
			Reports: memstore.NewTable[testresult.Coverage](tx, "testresult.Coverage"), Files: memstore.NewTable[testresult.CoverageFiles](tx, "testresult.CoverageFiles"), Tx: tx, Clock: clock}, Monitor: &monitor.Recorder{}, Watch: w.swaps, Hub: hub,
		Connections: &serviceconnection.Service{Connections: memstore.NewTable[serviceconnection.Connection](tx, "service connection"), Tx: tx, Audit: au, Clock: clock, Sealer: sealer{}},
		SecureFiles: &securefile.Service{Files: memstore.NewTable[securefile.File](tx, "secure file"), Contents: memstore.NewTable[securefile.Content](tx, "secure file"), Tx: tx, Audit: au, Clock: clock, Sealer: sealer{}},
		GatewayPort: func() string { return ":7480" }}
	w.people()
	w.things()
	w.handler = New(w.s)
	return w
}

func must[T any](t *testing.T, v T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (w *world) ctx() context.Context { return identity.With(w.t.Context(), identity.System()) }

func (w *world) people() {
	w.project = must2(w.t)(w.s.Projects.Create(w.ctx(), "shop", ""))
	w.other = must2(w.t)(w.s.Projects.Create(w.ctx(), "secret", ""))
	for name, role := range map[string]identity.Role{"admin": identity.ServerAdministrator, "contributor": identity.Contributor, "reader": identity.Reader, "stranger": ""} {
		u, err := w.s.Identity.CreateUser(w.ctx(), name, "", "")
		w.users[name] = must(w.t, u, err)
		on := w.project.ID
		if role == identity.ServerAdministrator {
			on = ""
		}
		if role != "" {
			if err := w.s.Identity.GrantRole(w.ctx(), name, role, on); err != nil {
				w.t.Fatal(err)
			}
		}
		secret, _, err := w.s.Identity.IssueToken(w.ctx(), identity.Token{Kind: identity.SessionToken, OwnerID: u.ID, Name: "browser", Expires: w.now.Add(time.Hour)})
		w.tokens[name] = must(w.t, secret, err)
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func must2(t *testing.T) func(*project.Project, error) *project.Project {
	return func(p *project.Project, err error) *project.Project { t.Helper(); return must(t, p, err) }
}

func insert[T any](w *world, table store.Table[T], doc *T) *T {
	w.t.Helper()
	if err := table.Insert(w.ctx(), doc); err != nil {
		w.t.Fatal(err)
	}
	return doc
}

func (w *world) things() {
	p, s := w.project.ID, w.s
	repo := insert(w, s.Repos.Repositories, &repos.Repository{ID: "r1", ProjectID: p, Key: p + "/storefront", Name: "storefront", DefaultBranch: "refs/heads/main",
		Refs: map[string]string{"refs/heads/main": commitA, "refs/heads/fix/prices": commitB}})
	insert(w, s.Runs.Pipelines, &run.Pipeline{ID: "1", Num: 1, ProjectID: p, RepoID: "r1", Key: p + "/ci", Name: "ci", Path: "azure-pipelines.yml"})
	insert(w, s.Runs.Runs, &run.Run{ID: "7", Num: 7, ProjectID: p, PipelineID: "1", Pipeline: "ci", Number: "1.7", State: run.InProgress, Dedup: "7", RepoID: "r1", Branch: "refs/heads/main",
		Commit: commitA, Message: "Change " + evil, RequestedBy: "ada", RequestedByID: "someone", Queued: w.now.Add(-time.Minute), Started: w.now.Add(-50 * time.Second)})
	insert(w, s.Runs.Runs, &run.Run{ID: "8", Num: 8, ProjectID: p, PipelineID: "1", Pipeline: "ci", Number: "1.8", State: run.Completed, Result: run.Failed, Dedup: "8", RepoID: "r1",
		Branch: "refs/heads/main", Commit: commitA, Diagnostics: []pipeline.Diagnostic{{Severity: pipeline.Error, Code: "unknown-key", Message: "no key stepz " + evil,
			Location: pipeline.Location{File: "azure-pipelines.yml", Line: 3, Column: 1}, Length: 5, Snippet: "stepz: " + evil, Expected: "steps"}}, Queued: w.now})
	insert(w, s.Runs.Runs, &run.Run{ID: "9", Num: 9, ProjectID: w.other.ID, PipelineID: "1", Pipeline: "covert", Number: "9", State: run.Completed, Result: run.Succeeded, Dedup: "9", Queued: w.now})
	plan := &pipeline.Plan{Stages: []pipeline.Stage{{Name: "build"}, {Name: "release", DependsOn: []string{"build"}, Jobs: []pipeline.Job{{Name: "to_production",
		Deployment: &pipeline.Deployment{Environment: pipeline.Environment{Name: "production"}}}}}}}
	insert(w, s.Runs.Plans, &run.Planned{ID: "7", Plan: plan})
	insert(w, s.Runs.Stages, &run.Stage{ID: "7/build/1", RunID: "7", Name: "build", Attempt: 1, State: run.Completed, Result: run.Succeeded, Started: w.now.Add(-50 * time.Second), Finished: w.now.Add(-20 * time.Second)})
	insert(w, s.Runs.Stages, &run.Stage{ID: "7/release/1", RunID: "7", Name: "release", Order: 1, Attempt: 1, State: run.Pending, DependsOn: []string{"build"}, Waits: "approval by contributor", Until: w.now.Add(time.Hour)})
	insert(w, s.Runs.Jobs, &run.Job{ID: "j1", RunID: "7", Stage: "build", Phase: "compile", Name: "compile", Attempt: 1, State: run.Completed, Result: run.Failed, AgentName: "linux-1",
		Queued: w.now.Add(-55 * time.Second), Started: w.now.Add(-50 * time.Second), Finished: w.now.Add(-20 * time.Second),
		Steps: []run.Step{{Order: 1, DisplayName: "Compile " + evil, State: run.Completed, Result: run.Failed, Errors: []string{"exit code 1"}, Warnings: []string{"careful " + evil}}}})
	w.logs.lines["j1/1"] = []string{"2026-11-22T19:03:50.1140000Z ##[group]Restore", "a", "b", "c", "##[endgroup]", evil, "\x1b[31mred\x1b[0m", "##[error]no"}
	insert(w, s.Environments.Environments, &environment.Environment{ID: "e1", Num: 1, ProjectID: p, Key: p + "/production", Name: "production"})
	insert(w, s.Environments.Checks, &environment.Check{ID: "c1", Num: 1, EnvironmentID: "e1", Type: environment.ApprovalCheck, Settings: environment.Settings{Approvers: []environment.Approver{{ID: "x", Name: "contributor"}}}})
	insert(w, s.Environments.Deployments, &environment.Deployment{ID: "d1", EnvironmentID: "e1", RunID: "7", RunNumber: "1.7", Pipeline: "ci", Result: "succeeded", Started: w.now})
	insert(w, s.Environments.Approvals, &environment.Approval{ID: "ap1", ProjectID: p, RunID: "7", Stage: "release", Attempt: 1, CheckID: "c1", Environment: "production",
		Approvers: []environment.Approver{{ID: w.users["contributor"].ID, Name: "contributor"}}, Status: environment.Pending, Created: w.now, Expires: w.now.Add(time.Hour)})
	insert(w, s.Pools.Pools, &agentpool.Pool{ID: "p1", Num: 1, Key: "default", Name: "default"})
	insert(w, s.Pools.Agents, &agentpool.Agent{ID: "a1", Num: 1, PoolID: "p1", Key: "p1/linux-1", Name: "linux-1"})
	insert(w, s.Pools.Requests, &agentpool.Request{ID: "q1", RunID: "9", PoolID: "p1", State: agentpool.Queued, Demands: []string{"docker"}})
	insert(w, s.PullRequests.PullRequests, &pullrequest.PullRequest{ID: "3", Num: 3, ProjectID: p, RepoID: "r1", Title: "Prices " + evil, Source: "refs/heads/fix/prices", Target: "refs/heads/main",
		SourceCommit: commitB, TargetCommit: commitA, MergeStatus: "succeeded", Status: pullrequest.Active, CreatedBy: "someone", CreatedName: "ada", Created: w.now})
	insert(w, s.PullRequests.Policies, &pullrequest.Policy{ID: "1", Num: 1, ProjectID: p, RepoID: repo.ID, Branch: "refs/heads/main", Type: pullrequest.MinimumReviewers, Settings: pullrequest.PolicySettings{Reviewers: 1}})
	w.must(s.Tests.Publish(w.ctx(), &testresult.TestRun{RunID: "7", Title: "unit", Results: []testresult.Result{{Name: "adds " + evil, Outcome: testresult.Failed, Message: "1 is not 2"}, {Name: "runs", Outcome: testresult.Passed}}}))
	w.outcomes()
	artifacttest.Publish(w.t, s.Artifacts, artifact.Publication{ProjectID: w.project.ID, RunID: "7", JobID: "j1", Name: "site"}, map[string]string{"index.html": "hello"})
	w.application()
}

// outcomes are what the steps of run 7, and of run 8 before it, left.
func (w *world) outcomes() {
	s := w.s
	insert(w, s.Runs.Runs, &run.Run{ID: "6", Num: 6, ProjectID: w.project.ID, PipelineID: "1", Pipeline: "ci", Number: "1.6", State: run.Completed, Result: run.Failed, Dedup: "6", RepoID: "r1",
		Branch: "refs/heads/main", Commit: commitA, Queued: w.now.Add(-time.Hour)})
	w.must(s.Tests.Publish(w.ctx(), &testresult.TestRun{RunID: "6", Title: "unit", Results: []testresult.Result{{Name: "sells", Suite: "cart", Outcome: testresult.Failed}, {Name: "runs", Outcome: testresult.Failed}}}))
	w.must(s.Tests.Publish(w.ctx(), &testresult.TestRun{RunID: "7", Title: "more " + evil, Results: []testresult.Result{{Name: "sells", Suite: "cart", Outcome: testresult.Failed, Stack: evil},
		{Name: "waits", Suite: "cart", Outcome: testresult.Skipped}, {Name: "counts", Suite: "till", Outcome: testresult.Passed, Duration: 1500 * time.Millisecond}}}))
	w.must(s.Tests.Cover(w.ctx(), &testresult.Coverage{RunID: "7", Metrics: []testresult.Metric{{Label: testresult.Lines, Covered: 3, Total: 4}},
		Files: []testresult.FileCoverage{{Package: "shop " + evil, Name: "good.cs", Lines: testresult.Metric{Covered: 3, Total: 3}}, {Package: "shop " + evil, Name: "bad.cs", Lines: testresult.Metric{Total: 1}}}}))
	if _, err := s.Runs.Tag(w.ctx(), "7", []string{"nightly", "a&b " + evil}, nil); err != nil {
		w.t.Fatal(err)
	}
	for name, location := range map[string]string{"page": "https://example.test/x?" + evil, "share": `\\server\drop`, "trap": "javascript:alert(1)"} {
		if _, err := s.Links.Put(w.ctx(), &artifact.Link{RunID: "7", Name: name, Type: "any", Location: location}); err != nil {
			w.t.Fatal(err)
		}
	}
	w.must(s.Attachments.Put(w.ctx(), &attachment.Attachment{RunID: "7", JobID: "j1", Step: 1, Type: attachment.Summary, Name: "notes.md"}, strings.NewReader("# Notes\n\n**bold** "+evil+" [x](javascript:alert(1))")))
	w.must(s.Attachments.Put(w.ctx(), &attachment.Attachment{RunID: "7", JobID: "j1", Step: 1, Type: attachment.File, Name: "kept.html"}, strings.NewReader(evil)))
	w.must(s.Attachments.Blobs.Put(w.ctx(), "attachments/none", func(io.Writer) error { return nil }))
	none := sha256.Sum256(nil)
	insert(w, s.Attachments.Attachments, &attachment.Attachment{ID: "at1", RunID: "7", JobID: "gone", Key: "x", Step: 1, Type: "report", Name: "none.txt", Blob: "attachments/none",
		Digest: "sha256:" + hex.EncodeToString(none[:])})
}

func (w *world) application() {
	spec := application.Spec{Application: "storefront", Names: map[string][]string{"production": {"storefront.test"}, "staging": {"staging.storefront.test"}}}
	release := func(n string) *application.Release {
		return &application.Release{Number: n, RunID: "7", Commit: commitA, By: "ada", Time: w.now}
	}
	w.app = insert(w, w.s.Applications.Apps, &application.Application{ID: "app1", ProjectID: w.project.ID, Key: w.project.ID + "/storefront", Name: "storefront", Spec: spec, Generation: 4, LastSwap: "s1",
		Slots: []application.Slot{{Name: "blue", Role: application.Staging, Release: release("2.0"), DeployedAt: w.now, VMs: []string{"blue-1"}, Addresses: []string{"127.0.0.2"}},
			{Name: "green", Role: application.Production, Release: release("1.0"), DeployedAt: w.now.Add(-time.Hour), VMs: []string{"green-1"}, Addresses: []string{"127.0.0.3"}},
			{Name: "white", Role: application.Previous, Release: release("0.9"), DeployedAt: w.now.Add(-2 * time.Hour), VMs: []string{"white-1"}, KeptUntil: w.now.Add(time.Hour)}}})
	insert(w, w.s.Applications.Swaps, &application.Swap{ID: "s1", AppID: "app1", Generation: 4, State: application.SwapPublished, NewSlot: "green", OldSlot: "white", NewRelease: "1.0", OldRelease: "0.9",
		By: "lin", Started: w.now.Add(-41 * time.Second), PublishedAt: w.now.Add(-41 * time.Second), Moved: 900 * time.Microsecond,
		Journal: []application.JournalEntry{{Time: w.now.Add(-41 * time.Second), OK: true, What: "probe", Text: "1 of 1 VMs of green healthy"}}})
	for i := range 30 {
		w.s.Monitor.Observe(w.now.Add(time.Duration(i-30)*time.Second), []routing.Stats{{Pool: "storefront/green", Requests: uint64(100 * i), Buckets: make([]uint64, 14)}, {Pool: "storefront/white", Requests: uint64(3 * i)}})
	}
}

// ask sends a request as somebody and returns the answer.
func (w *world) ask(method, path, who string, form url.Values) *httptest.ResponseRecorder {
	w.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r := httptest.NewRequest(method, path, body)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if who != "" {
		r.AddCookie(&http.Cookie{Name: cookieName, Value: w.tokens[who]})
	}
	out := httptest.NewRecorder()
	w.handler.ServeHTTP(out, r)
	return out
}

// The fakes behind the use cases.

type fakeGit struct{ merged int }

func (g *fakeGit) Init(context.Context, string, string) error { return nil }
func (g *fakeGit) Refs(context.Context, string) (map[string]string, error) {
	return map[string]string{}, nil
}
func (g *fakeGit) UpdateRef(context.Context, string, string, string, string) error { return nil }
func (g *fakeGit) Merge(context.Context, string, repos.MergeRequest) (string, error) {
	g.merged++
	return commitB, nil
}
func (g *fakeGit) ReadFile(_ context.Context, _, _, path string) ([]byte, error) {
	if path == "azure-pipelines.yml" {
		return []byte(yamlOK), nil
	}
	if path == "evil.html" {
		return []byte(evil), nil
	}
	return nil, fault.New(fault.NotFound, "not-found", "no file %s", path)
}
func (g *fakeGit) Resolve(_ context.Context, _, revision string) (string, error) {
	switch revision {
	case "refs/heads/main", commitA:
		return commitA, nil
	case "refs/heads/fix/prices", commitB:
		return commitB, nil
	}
	return "", fault.New(fault.NotFound, "not-found", "no revision %s", revision)
}
func (g *fakeGit) ChangedPaths(context.Context, string, string, string) ([]string, error) {
	return nil, nil
}
func (g *fakeGit) Commits(_ context.Context, _, _, to string, limit int) ([]repos.Commit, error) {
	return []repos.Commit{{ID: to, Author: "ada", Message: "Subject " + evil, Parents: []string{commitA}, Time: time.Unix(0, 0)}}[:min(1, limit)], nil
}
func (g *fakeGit) Diff(context.Context, string, string, string) (string, error) {
	return "diff --git a/a.go b/a.go\n--- a/a.go\n+++ b/a.go\n@@ -1 +1 @@\n-var a = \"" + evil + "\"\n+var b = 1\n", nil
}
func (g *fakeGit) Tree(_ context.Context, _, _, path string) ([]repos.TreeEntry, error) {
	if path != "" {
		return nil, fault.New(fault.NotFound, "not-found", "no folder %s", path)
	}
	return []repos.TreeEntry{{Name: "cmd", Folder: true}, {Name: evil, Size: 3}}, nil
}

type memLogs struct{ lines map[string][]string }

func (l *memLogs) Append(context.Context, string, int64, []byte) (int64, int, error) {
	return 0, 0, nil
}
func (l *memLogs) Lines(_ context.Context, log string, from, limit int) ([]string, int, error) {
	all := l.lines[log]
	return all[min(from-1, len(all)):min(from-1+limit, len(all))], len(all), nil
}

type fakePlanes struct{ published []uint64 }

func (f *fakePlanes) Prepare(context.Context, *routing.Table, *trafficmanager.Snapshot) error {
	return nil
}
func (f *fakePlanes) Publish(_ context.Context, g uint64) error {
	f.published = append(f.published, g)
	return nil
}
func (f *fakePlanes) Probe(_ context.Context, pool string) ([]routing.BackendHealth, error) {
	return []routing.BackendHealth{{Pool: pool, State: "healthy"}}, nil
}
func (f *fakePlanes) WarmUp(context.Context, string, application.WarmUp) (time.Duration, error) {
	return 0, nil
}
func (f *fakePlanes) Drain(context.Context, string, time.Duration) (int, error) { return 0, nil }
func (f *fakePlanes) Stats() []routing.Stats {
	return []routing.Stats{{Pool: "storefront/white", InFlight: 2}}
}
func (f *fakePlanes) Health() []routing.BackendHealth {
	return []routing.BackendHealth{{Pool: "storefront/green", Backend: "green-1", State: "healthy"}, {Pool: "storefront/white", Backend: "white-1", State: "unhealthy", Detail: evil}}
}
func (f *fakePlanes) Cached(name string) []trafficmanager.Cached {
	if name != "storefront.test" {
		return nil
	}
	return []trafficmanager.Cached{{Name: name, Target: "storefront/white", Expires: time.Date(2026, 11, 22, 19, 4, 50, 0, time.UTC), Answers: 210}}
}
func (f *fakePlanes) Generation() uint64 { return 4 }

// example fills the wildcards of a pattern so that a handler finds something.
func example(pattern string) string {
	path := strings.ReplaceAll(pattern, inside, "/harbor")
	for _, x := range [][2]string{{"{version}/{path...}", "x/css/tokens.css"}, {"{$}", ""}, {"{project}", "shop"}, {"{job}", "build.compile"}, {"artifacts/{name}", "artifacts/site"},
		{"pipelines/{name}", "pipelines/ci"}, {"runs/{id}/errors", "runs/8/errors"}, {"runs/{id}", "runs/7"}, {"commit/{id}", "commit/" + commitA}, {"approvals/{id}", "approvals/ap1"},
		{"attempts/{n}", "attempts/1"}, {"{attachment}", "at1"}, {"{n}", "3"}, {"{repo}", "storefront"}, {"{rest...}", "main"}, {"{ref...}", "main"}, {"{range...}", "main...fix%2Fprices"}, {"{app}", "storefront"},
		{"{generation}", "4"}, {"{env}", "production"}, {"connections/{id}", "connections/cn1"}, {"securefiles/{id}", "securefiles/sf1"}, {"{pool}", "default"}, {"{code}", "not-found"}} {
		path = strings.ReplaceAll(path, x[0], x[1])
	}
	if strings.HasSuffix(path, "/search") {
		path += "?q=x"
	}
	if path == "/events" {
		path += "?keys=run/7"
	}
	return path
}

func roleThatLacks(p identity.Permission) string {
	if slices.Contains([]identity.Permission{identity.SignedIn, identity.Anyone}, p) {
		return ""
	}
	if p == identity.ProjectView {
		return "stranger"
	}
	if p == identity.AuditRead {
		return "contributor"
	}
	return "reader"
}
