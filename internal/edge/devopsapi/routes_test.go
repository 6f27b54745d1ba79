package devopsapi

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"penstock.dev/penstock/internal/domain/application"
	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/run"
)

// withRun gives a project a pipeline and a run with one stage, phase and job.
func (w *world) withRun(projectID, id string) *run.Run {
	w.t.Helper()
	ctx := context.Background()
	r := &run.Run{ID: id, Num: number(id), ProjectID: projectID, PipelineID: "1", Pipeline: "ci", Number: "1.0." + id, State: run.InProgress, Dedup: "run/" + id,
		Branch: "refs/heads/main", RequestedBy: "contributor", Queued: time.Now().UTC()}
	w.must(w.Runs.Runs.Insert(ctx, r))
	w.must(w.Runs.Stages.Insert(ctx, &run.Stage{ID: id + "/build/1", RunID: id, Name: "build", Attempt: 1, State: run.InProgress}))
	w.must(w.Runs.Phases.Insert(ctx, &run.Phase{ID: id + "/build/one/1", RunID: id, Stage: "build", Name: "one", Attempt: 1, State: run.InProgress}))
	w.must(w.Runs.Jobs.Insert(ctx, &run.Job{ID: "job-" + id, RunID: id, Stage: "build", Phase: "one", Name: "one", Attempt: 1, State: run.InProgress,
		Steps: []run.Step{{Order: 1, DisplayName: "Say", Task: "Bash@3", State: run.Completed, Result: run.Succeeded}, {Order: 2, DisplayName: "Later", State: run.Pending}}}))
	w.Runs.Logs = fakeLogs{"job-" + id + "/1": {"one", "two", "three"}}
	return r
}

func TestWhatBelongsToAnotherProjectIsNotFound(t *testing.T) {
	w := newWorld(t)
	h := New(w.Services)
	ctx := identity.With(context.Background(), identity.System())
	w.withRun(w.other.ID, "5")
	repo, err := w.Repos.Create(ctx, w.other.ID, "hidden")
	w.must(err)
	_, err = w.Environments.Create(ctx, w.other.ID, "theirs", "")
	w.must(err)
	_, err = w.Vaults.CreateVault(ctx, w.other.ID, "their-kv")
	w.must(err)
	w.must(w.Environments.Approvals.Insert(ctx, &environment.Approval{ID: "a1", ProjectID: w.other.ID, RunID: "5", Status: environment.Pending}))
	for _, k := range []struct{ method, path, body string }{
		{"GET", "/build/builds/5", ""}, {"PATCH", "/build/builds/5", `{"status":"cancelling"}`}, {"GET", "/build/builds/5/timeline", ""},
		{"GET", "/build/builds/5/logs/1001", ""}, {"GET", "/build/builds/5/artifacts", ""}, {"GET", "/penstock/runs/5", ""}, {"GET", "/penstock/runs/5/logs", ""},
		{"GET", "/penstock/runs/5/events", ""}, {"GET", "/penstock/runs/5/why", ""}, {"POST", "/penstock/runs/5/rerun", `{}`}, {"GET", "/penstock/runs/5/artifacts", ""},
		{"GET", "/penstock/runs/5/artifacts/package/content", ""}, {"GET", "/penstock/runs/5/tests", ""}, {"GET", "/git/repositories/hidden", ""},
		{"GET", "/git/repositories/" + repo.ID, ""}, {"GET", "/git/repositories/" + repo.ID + "/items?path=/a", ""}, {"GET", "/distributedtask/environments/theirs", ""},
		{"GET", "/distributedtask/environments/1", ""}, {"GET", "/penstock/environments/theirs/checks", ""}, {"GET", "/penstock/vaults/their-kv/secrets", ""},
		{"GET", "/penstock/vaults/their-kv/secrets/Key/value", ""}, {"GET", "/pipelines/approvals/a1", ""}, {"PATCH", "/pipelines/approvals", `[{"approvalId":"a1","status":"approved"}]`},
	} {
		if got := w.call(h, "projectadministrator", k.method, "/default/shop/_apis"+k.path, k.body, nil); got != http.StatusNotFound {
			t.Errorf("%s %s: %d, want 404", k.method, k.path, got)
		}
	}
	if got := w.call(h, "projectadministrator", "GET", "/default/_apis/git/repositories/"+repo.ID, "", nil); got != http.StatusNotFound {
		t.Errorf("a repository of another project by its id alone: %d, want 404", got)
	}
}

func TestJobsSwapFromTheirProductionJobOnly(t *testing.T) {
	w := newWorld(t)
	h := New(w.Services)
	ctx := context.Background()
	w.withRun(w.shop.ID, "1")
	w.must(w.Applications.Apps.Insert(ctx, &application.Application{ID: "a", ProjectID: w.shop.ID, Key: w.shop.ID + "/storefront", Name: "storefront",
		Spec: application.Spec{Application: "storefront", Environments: map[string]string{"production": "live"}}}))
	planned := &run.Planned{ID: "1", Plan: &pipeline.Plan{Stages: []pipeline.Stage{{Name: "build", Jobs: []pipeline.Job{{Name: "one"}}}}}}
	w.must(w.Runs.Plans.Insert(ctx, planned))
	set := func(d *pipeline.Deployment) {
		p, err := w.Runs.Plans.Get(ctx, "1")
		w.must(err)
		p.Plan.Stages[0].Jobs[0].Deployment = d
		w.must(w.Runs.Plans.Save(ctx, p))
	}
	swap := func(path string) (int, problem) {
		var p problem
		status := w.call(h, "job", "POST", "/default/shop/_apis/penstock/applications/storefront/"+path, `{"dryRun":true}`, &p)
		return status, p
	}
	for _, path := range []string{"swaps", "rollbacks"} {
		set(nil)
		if status, p := swap(path); status != 403 || p.Code != "not-in-production-job" {
			t.Errorf("%s from an ordinary job: %d %+v", path, status, p)
		}
		set(&pipeline.Deployment{Environment: pipeline.Environment{Name: "staging"}})
		if status, p := swap(path); status != 403 || p.Code != "not-in-production-job" || !strings.Contains(p.Found, "staging") {
			t.Errorf("%s from a job of staging: %d %+v", path, status, p)
		}
		set(&pipeline.Deployment{Environment: pipeline.Environment{Name: "Live"}})
		if status, p := swap(path); status != 409 {
			t.Errorf("%s from the production job: %d %+v, want the domain's 409", path, status, p)
		}
	}
	var p problem
	if status := w.call(h, "job", "PUT", "/default/shop/_apis/penstock/applications/storefront/vms/x/drain", `{"out":true}`, &p); status != 404 {
		t.Errorf("drain from the production job: %d %+v", status, p)
	}
}

func TestSecretsStayInside(t *testing.T) {
	w := newWorld(t)
	h := New(w.Services)
	w.withRun(w.shop.ID, "1")
	steps := []struct{ who, method, path, body string }{
		{"serveradministrator", "POST", "/_apis/penstock/users", `{"name":"ada","password":"correct horse"}`},
		{"projectadministrator", "POST", "/shop/_apis/penstock/vaults", `{"name":"shop-kv"}`},
		{"projectadministrator", "PUT", "/shop/_apis/penstock/vaults/shop-kv/secrets/Key", `{"value":"s3cret-value"}`},
		{"projectadministrator", "POST", "/shop/_apis/distributedtask/variablegroups", `{"name":"g","variables":{"a":{"value":"b"},"k":{"value":"s3cret-value","isSecret":true}}}`},
	}
	for _, s := range steps {
		if got := w.call(h, s.who, s.method, "/default"+s.path, s.body, nil); got > 201 {
			t.Fatalf("%s: %d", s.path, got)
		}
	}
	for _, path := range []string{"/_apis/penstock/users", "/shop/_apis/penstock/vaults", "/shop/_apis/penstock/vaults/shop-kv/secrets", "/shop/_apis/distributedtask/variablegroups",
		"/shop/_apis/distributedtask/variablegroups/g", "/shop/_apis/penstock/runs/1", "/_apis/penstock/audit", "/_apis/penstock/tokens"} {
		r := httptest.NewRequest("GET", "/default"+path, nil)
		r.Header.Set("Authorization", "Bearer "+w.tokens["serveradministrator"])
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		for _, secret := range []string{"s3cret-value", "c2VhbGVk", "argon2", "correct horse", "passwordHash", w.tokens["serveradministrator"]} {
			if rec.Code != 200 || strings.Contains(rec.Body.String(), secret) {
				t.Errorf("%s: %d, shows %s: %s", path, rec.Code, secret, rec.Body)
			}
		}
	}
	var value struct{ Value string }
	const read = "/default/shop/_apis/penstock/vaults/shop-kv/secrets/Key/value"
	if w.call(h, "projectadministrator", "GET", read, "", &value); value.Value != "s3cret-value" {
		t.Errorf("read %q", value.Value)
	}
	if got := w.call(h, "contributor", "GET", read, "", nil); got != 403 {
		t.Errorf("a contributor reads a secret: %d", got)
	}
}

func TestATokenWithScopesMakesNoWiderOne(t *testing.T) {
	w := newWorld(t)
	h := New(w.Services)
	w.tokens["scoped"] = w.token(identity.Token{Kind: identity.PersonalToken, OwnerID: w.users["serveradministrator"].ID, Name: "scoped", Scopes: []string{"run:read"}})
	for _, k := range []struct{ method, path, body string }{{"POST", "tokens", `{"name":"wide"}`}, {"PUT", "me/password", `{"current":"x","password":"long enough"}`}, {"DELETE", "tokens/serveradministrator", ""}} {
		if got := w.call(h, "scoped", k.method, "/default/_apis/penstock/"+k.path, k.body, nil); got != 403 {
			t.Errorf("%s %s: %d, want 403", k.method, k.path, got)
		}
	}
	if got := w.call(h, "job", "POST", "/default/_apis/penstock/tokens", `{"name":"x"}`, nil); got != 403 {
		t.Errorf("a job makes a token: %d", got)
	}
	if got := w.call(h, "scoped", "DELETE", "/default/_apis/penstock/tokens/current", "", nil); got != 204 {
		t.Errorf("a token ends itself: %d", got)
	}
	if got := w.call(h, "scoped", "GET", "/default/_apis/penstock/tokens", "", nil); got != 401 {
		t.Errorf("after its end: %d", got)
	}
}

func TestSignInIsLimited(t *testing.T) {
	w := newWorld(t)
	h := New(w.Services)
	w.must(w.Identity.SetPassword(context.Background(), "reader", "correct horse"))
	var good tokenShape
	if got := w.call(h, "", "POST", "/default/_apis/penstock/sessions", `{"name":"reader","password":"correct horse","client":"laptop"}`, &good); got != 201 || good.Token == "" || good.User != "reader" {
		t.Fatalf("%d %+v", got, good)
	}
	statuses := map[int]int{}
	for range 12 {
		statuses[w.call(h, "", "POST", "/default/_apis/penstock/sessions", `{"name":"reader","password":"wrong"}`, nil)]++
	}
	if statuses[401] != 10 || statuses[429] != 2 {
		t.Errorf("answers %v, want ten refusals, then 429", statuses)
	}
}

func TestTimelineAndLogs(t *testing.T) {
	w := newWorld(t)
	h := New(w.Services)
	w.withRun(w.shop.ID, "1")
	var line struct{ Records []record }
	if got := w.call(h, "reader", "GET", "/default/shop/_apis/build/builds/1/Timeline", "", &line); got != 200 {
		t.Fatal(got)
	}
	byID, types := map[string]record{}, []string{}
	for _, r := range line.Records {
		byID[r.ID] = r
		types = append(types, r.Type)
	}
	if !slices.Equal(types, []string{"Stage", "Phase", "Job", "Task", "Task"}) {
		t.Errorf("types %v", types)
	}
	for _, r := range line.Records {
		if _, known := byID[r.ParentID]; r.Type != "Stage" && !known {
			t.Errorf("%s %s has no parent in the timeline", r.Type, r.Name)
		}
	}
	said := line.Records[3]
	if said.Log == nil || line.Records[4].Log != nil || said.Task.Name != "Bash" {
		t.Fatalf("tasks %+v", line.Records[3:])
	}
	var lines list[string]
	w.call(h, "reader", "GET", fmt.Sprintf("/default/shop/_apis/build/builds/1/logs/%d?startLine=2&endLine=3", said.Log.ID), "", &lines)
	if !slices.Equal(lines.Value, []string{"two", "three"}) {
		t.Errorf("lines %v", lines.Value)
	}
	var ours list[logLine]
	w.call(h, "reader", "GET", "/default/shop/_apis/penstock/runs/1/logs?grep=t&tail=1", "", &ours)
	if len(ours.Value) != 1 || ours.Value[0].Text != "three" || ours.Value[0].Number != 3 || ours.Value[0].Step != "Say" {
		t.Errorf("ours %+v", ours.Value)
	}
	for accept, want := range map[string]string{"text/plain": "build/one/Say  2  two\n", "application/x-ndjson": `{"stage":"build","job":"one","step":"Say","line":2,"text":"two"}` + "\n"} {
		for _, query := range []string{"?grep=two", "?grep=two&tail=5"} {
			r := httptest.NewRequest("GET", "/default/shop/_apis/penstock/runs/1/logs"+query, nil)
			r.Header.Set("Accept", accept)
			r.Header.Set("Authorization", "Bearer "+w.tokens["reader"])
			rec := httptest.NewRecorder()
			if h.ServeHTTP(rec, r); rec.Body.String() != want {
				t.Errorf("%s as %s: %q", query, accept, rec.Body)
			}
		}
	}
	var p problem
	if got := w.call(h, "reader", "GET", "/default/shop/_apis/penstock/runs/1/logs?job=nope", "", &p); got != 404 || p.Found != "one" {
		t.Errorf("%d %+v", got, p)
	}
}

func TestEventsTellEveryChangeAndTheEnd(t *testing.T) {
	w := newWorld(t)
	server := httptest.NewServer(New(w.Services))
	defer server.Close()
	w.withRun(w.shop.ID, "1")
	req, err := http.NewRequest("GET", server.URL+"/default/shop/_apis/penstock/runs/1/events", nil)
	w.must(err)
	req.Header.Set("Authorization", "Bearer "+w.tokens["reader"])
	res, err := http.DefaultClient.Do(req)
	w.must(err)
	defer func() { _ = res.Body.Close() }()
	in := bufio.NewScanner(res.Body)
	in.Buffer(nil, 1<<20)
	var names []string
	for in.Scan() {
		name, ok := strings.CutPrefix(in.Text(), "event: ")
		if !ok {
			continue
		}
		if names = append(names, name); len(names) == 1 {
			r, err := w.Runs.Runs.Get(context.Background(), "1")
			w.must(err)
			r.State, r.Result = run.Completed, run.Succeeded
			w.must(w.Runs.Runs.Save(context.Background(), r))
			w.Hub.Publish("run/1")
		}
	}
	if !slices.Equal(names, []string{"run", "run", "end"}) {
		t.Errorf("events %v", names)
	}
}

func TestQueueRunReadsTheRequest(t *testing.T) {
	w := newWorld(t)
	h := New(w.Services)
	ctx := identity.With(context.Background(), identity.System())
	_, err := w.Repos.Create(ctx, w.shop.ID, "storefront")
	w.must(err)
	if got := w.call(h, "projectadministrator", "POST", "/default/shop/_apis/pipelines", `{"name":"ci","configuration":{"type":"yaml","path":"/azure-pipelines.yml","repository":{"name":"storefront"}}}`, nil); got != 200 {
		t.Fatalf("create: %d", got)
	}
	var r runShape
	if got := w.call(h, "contributor", "POST", "/default/shop/_apis/pipelines/ci/runs", `{"resources":{"repositories":{"self":{"refName":"main"}}},"variables":{"a":{"value":"b"}}}`, &r); got != 200 || r.State != "inProgress" || r.Pipeline.Name != "ci" {
		t.Errorf("queue: %d %+v", got, r)
	}
	for body, code := range map[string]string{`{"stagesToSkip":["a"]}`: "no-such-part", `{"yamlOverride":"steps: []"}`: "no-override", `{"variables":{"a":{"value":"b","isSecret":true}}}`: "secret-variable",
		`{"resources":{"pipelines":{"x":{"version":"9.9"}}}}`: "no-resource-run"} {
		var p problem
		if w.call(h, "contributor", "POST", "/default/shop/_apis/pipelines/1/runs", body, &p); p.Code != code {
			t.Errorf("%s: %+v, want %s", body, p, code)
		}
	}
	for path, body := range map[string]string{"runs": `{"previewRun":true,"yamlOverride":"trigger: none\nsteps:\n- script: ${{ format('{0}', 1) }}\n"}`, "preview": `{"yamlOverride":"trigger: none\nsteps:\n- script: ${{ format('{0}', 1) }}\n"}`} {
		var out struct{ FinalYAML string }
		want := "trigger:\n  enabled: false\nstages:\n- stage: __default\n  jobs:\n  - job: Job\n    steps:\n    - task: CmdLine@2\n      inputs:\n        script: 1\n"
		if got := w.call(h, "contributor", "POST", "/default/shop/_apis/pipelines/1/"+path, body, &out); got != 200 || out.FinalYAML != want {
			t.Errorf("preview by %s: %d\n%s", path, got, out.FinalYAML)
		}
	}
	var wrong problem
	if got := w.call(h, "contributor", "POST", "/default/shop/_apis/pipelines/1/preview", `{"yamlOverride":"stepz: []"}`, &wrong); got != 400 || !strings.Contains(wrong.Message, "/azure-pipelines.yml (Line: 1, Col: 1): a pipeline has no key `stepz`") {
		t.Errorf("preview of a wrong file: %d %+v", got, wrong)
	}
	var builds list[buildShape]
	for query, want := range map[string]int{"": 1, "?statusFilter=notStarted": 1, "?statusFilter=completed": 0, "?statusFilter=32": 1, "?resultFilter=failed": 0, "?definitions=ci": 1, "?branchName=main&$top=5": 1, "?branchName=other": 0} {
		if w.call(h, "reader", "GET", "/default/shop/_apis/build/builds"+query, "", &builds); len(builds.Value) != want || builds.Count != want {
			t.Errorf("builds%s: %d, want %d", query, len(builds.Value), want)
		}
	}
	var patched buildShape
	if got := w.call(h, "contributor", "PATCH", "/default/shop/_apis/build/builds/1", `{"status":"Cancelling"}`, &patched); got != 200 || patched.Status != "cancelling" {
		t.Errorf("cancel: %d %+v", got, patched)
	}
}

func TestPullRequestsAndPolicies(t *testing.T) {
	w := newWorld(t)
	h := New(w.Services)
	ctx := identity.With(context.Background(), identity.System())
	repo, err := w.Repos.Create(ctx, w.shop.ID, "storefront")
	w.must(err)
	const base = "/default/shop/_apis"
	var policy policyShape
	body := `{"type":{"id":"fa4e907d-c16b-4a4c-9dfa-4906e5d171dd"},"isBlocking":true,"settings":{"minimumApproverCount":1,"scope":[{"repositoryId":"storefront","refName":"refs/heads/main","matchKind":"exact"}]}}`
	if got := w.call(h, "projectadministrator", "POST", base+"/policy/configurations", body, &policy); got != 200 || policy.Settings.Reviewers != 1 || *policy.Settings.Scope[0].RepositoryID != repo.ID {
		t.Fatalf("policy: %d %+v", got, policy)
	}
	var pr pullRequestShape
	if got := w.call(h, "contributor", "POST", base+"/git/repositories/storefront/pullrequests", `{"sourceRefName":"refs/heads/fix","targetRefName":"main","title":"Fix"}`, &pr); got != 201 || pr.Target != "refs/heads/main" {
		t.Fatalf("create: %d %+v", got, pr)
	}
	var p problem
	if got := w.call(h, "contributor", "PUT", base+"/git/repositories/storefront/pullRequests/1/reviewers/"+w.users["reader"].ID, `{"vote":10}`, &p); got != 403 {
		t.Errorf("a vote for somebody else: %d %+v", got, p)
	}
	var mine reviewerShape
	if got := w.call(h, "projectadministrator", "PUT", base+"/git/repositories/storefront/pullRequests/1/reviewers/me", `{"vote":10}`, &mine); got != 200 || mine.Vote != 10 {
		t.Errorf("vote: %d %+v", got, mine)
	}
	var evaluations list[evaluationShape]
	w.call(h, "reader", "GET", base+"/policy/evaluations?artifactId=vstfs:///CodeReview/CodeReviewId/"+w.shop.ID+"/1", "", &evaluations)
	if evaluations.Count != 1 || evaluations.Value[0].Status != "approved" {
		t.Errorf("evaluations %+v", evaluations)
	}
	if got := w.call(h, "contributor", "POST", base+"/git/repositories/storefront/pullRequests/1/threads", `{"comments":[{"content":"hello"}]}`, nil); got != 200 {
		t.Errorf("comment: %d", got)
	}
	for query, want := range map[string]int{"": 1, "?searchCriteria.status=4": 1, "?searchCriteria.status=completed": 0, "?$skip=1": 0, "?searchCriteria.sourceRefName=refs/heads/fix": 1, "?searchCriteria.targetRefName=refs/heads/x": 0} {
		var all list[pullRequestShape]
		if w.call(h, "reader", "GET", base+"/git/pullrequests"+query, "", &all); all.Count != want {
			t.Errorf("pull requests%s: %d, want %d", query, all.Count, want)
		}
	}
	if got := w.call(h, "reader", "GET", "/default/_apis/git/pullRequests/1", "", nil); got != 200 {
		t.Errorf("by number alone: %d", got)
	}
	if got := w.call(h, "projectadministrator", "DELETE", base+"/policy/configurations/1", "", nil); got != 204 {
		t.Errorf("delete: %d", got)
	}
}

func TestEnvironmentsAndChecks(t *testing.T) {
	w := newWorld(t)
	h := New(w.Services)
	const base = "/default/shop/_apis"
	w.call(h, "projectadministrator", "POST", base+"/distributedtask/environments", `{"name":"production"}`, nil)
	if got := w.call(h, "projectadministrator", "PUT", base+"/penstock/groups/Release%20Managers", `{"members":["contributor"]}`, nil); got != 200 {
		t.Fatalf("group: %d", got)
	}
	var k checkShape
	if got := w.call(h, "projectadministrator", "POST", base+"/penstock/environments/Production/checks", `{"type":"approval","approvers":["Release Managers","reader"],"timeout":"72h"}`, &k); got != 201 || len(k.Approvers) != 2 || k.Timeout != "72h0m0s" {
		t.Errorf("check: %d %+v", got, k)
	}
	var p problem
	if w.call(h, "projectadministrator", "POST", base+"/penstock/environments/production/checks", `{"type":"approval","approvers":["nobody"]}`, &p); p.Code != "approver-not-found" {
		t.Errorf("unknown approver: %+v", p)
	}
	if got := w.call(h, "projectadministrator", "DELETE", base+"/penstock/environments/production/checks/"+k.ID, "", nil); got != 204 {
		t.Errorf("remove: %d", got)
	}
	if got := w.call(h, "projectadministrator", "POST", base+"/penstock/vms", `{"name":"web-1","environment":"production","tags":["x"]}`, nil); got != 201 {
		t.Errorf("vm: %d", got)
	}
	if w.call(h, "projectadministrator", "POST", base+"/penstock/vms/web-1/start", "", &p); p.Code != "not-ours" {
		t.Errorf("start: %+v", p)
	}
}

func TestDiscoveryListsTheRegistry(t *testing.T) {
	w := newWorld(t)
	h := New(w.Services)
	var all, some list[location]
	w.call(h, "", "OPTIONS", "/default/_apis/", "", &all)
	w.call(h, "", "OPTIONS", "/default/_apis/GIT", "", &some)
	if all.Count < 20 || some.Count < 5 || some.Count >= all.Count {
		t.Errorf("locations: %d, of git %d", all.Count, some.Count)
	}
	for _, l := range all.Value {
		if len(l.ID) != 36 || l.MinVersion == "" || l.MaxVersion == "" || l.ReleasedVersion == "" || !strings.Contains(l.RouteTemplate, "_apis/") {
			t.Errorf("location %+v", l)
		}
	}
	var data map[string]any
	if got := w.call(h, "reader", "GET", "/default/_apis/ConnectionData", "", &data); got != 200 || data["deploymentType"] != "onPremises" {
		t.Errorf("%d %v", got, data)
	}
}

func TestDefinitionsArePipelines(t *testing.T) {
	w := newWorld(t)
	h := New(w.Services)
	for i, name := range []string{"ci", "Release"} {
		w.must(w.Runs.Pipelines.Insert(context.Background(), &run.Pipeline{ID: strconv.Itoa(i + 1), Num: i + 1, ProjectID: w.shop.ID, Key: w.shop.ID + "/" + strings.ToLower(name), Name: name, Path: name + ".yml"}))
	}
	for query, want := range map[string]int{"": 2, "?name=RELEASE": 1, "?name=*e*": 1, "?name=other": 0, "?$top=1": 1} {
		var found list[buildDefinition]
		if status := w.call(h, "reader", "GET", "/default/shop/_apis/build/definitions"+query, "", &found); status != 200 || found.Count != want {
			t.Errorf("%s: %d, %d definitions, want %d", query, status, found.Count, want)
		}
	}
	var one buildDefinition
	if status := w.call(h, "reader", "GET", "/default/shop/_apis/build/definitions/2", "", &one); status != 200 || one.Name != "Release" || one.Process.File != "Release.yml" || one.Type != "build" {
		t.Errorf("%d %+v", status, one)
	}
	if status := w.call(h, "reader", "GET", "/default/shop/_apis/build/definitions/3", "", nil); status != 404 {
		t.Errorf("one that is not there: %d", status)
	}
}

// What clients of the service fill in, by location id: a parameter that the
// template calls otherwise would be left out of the address.
var filledIn = map[string]string{
	"603fe2ac-9723-48b9-88ad-09305aa6c6e1": "projectId", "225f7195-f9c7-4d14-ab28-a83f7ff77e1f": "project repositoryId",
	"c2570c3b-5b3f-41b8-98bf-5407bfde8d58": "project repositoryId commitId", "9946fd70-0d40-406e-b686-b4744cbbcc37": "project repositoryId pullRequestId",
	"4b6702c7-aa35-4b89-9c96-b9abf6d3e540": "project repositoryId pullRequestId reviewerId", "dad91cbe-d183-45f8-9c6e-9c1164472121": "project configurationId",
	"28e1305e-2afe-47bf-abaf-cbb0e6a91988": "project pipelineId", "7859261e-d2e9-4a68-b820-a5d84cc5bb3d": "project pipelineId runId",
	"0cd358e1-9217-4d94-8269-1c1ee6f93dcf": "project buildId", "1db06c96-014e-44e1-ac91-90b2d4b3e984": "project buildId", "6e6114b2-8161-44c8-8f6c-c5505782427f": "project buildId tag",
	"8baac422-4c6e-4de5-8532-db96d92acffa": "project buildId timelineId", "35a80daf-7f30-45fc-86e8-6b813d9c90df": "project buildId logId",
	"af5122d3-3438-485e-a25a-2dbbfde84ee6": "project buildId timelineId recordId type name", "557624af-b29e-4c20-8ab0-0399d2204f3f": "scopeIdentifier hubName planId",
	"8572b1fc-2482-47fa-8f74-7e3ed53ee54b": "project environmentId", "a8c47e17-4d56-4a56-92bb-de7ea7dc65be": "poolId", "f5b09dd5-9d54-45a1-8b5a-1c8287d634cc": "project groupId",
	"cadb3810-d47d-4a3c-a234-fe5f3be50138": "project runId", "4637d869-3a76-4468-8057-0bb02aa385cf": "project runId testCaseResultId",
	"dbeaf647-6167-421a-bda9-c9327b25e2e6": "project definitionId", "e85f1c62-adfc-4b74-b618-11a150fb195e": "project endpointId", "adcfd8bc-b184-43ba-bd84-7c8c6a2ff421": "project secureFileId",
}

func TestClientsFillInTheTemplatesThatAreListed(t *testing.T) {
	w := newWorld(t)
	var all list[location]
	w.call(New(w.Services), "", "OPTIONS", "/default/_apis/", "", &all)
	seen, parameter := 0, regexp.MustCompile(`\{\*?(\w+)\}`)
	for _, l := range all.Value {
		names, known := filledIn[l.ID]
		if !known {
			continue
		}
		seen++
		var found []string
		for _, m := range parameter.FindAllStringSubmatch(l.RouteTemplate, -1) {
			found = append(found, m[1])
		}
		if got := strings.Join(found, " "); got != names {
			t.Errorf("%s %s: clients fill in %s", l.ResourceName, l.RouteTemplate, names)
		}
	}
	if seen != len(filledIn) {
		t.Errorf("%d of %d are listed", seen, len(filledIn))
	}
}

func TestEveryRouteIsReachedByItsTemplate(t *testing.T) {
	routes := Routes()
	for i := range routes {
		path, err := segments(strings.NewReplacer("{project}", "shop").Replace(routes[i].Template))
		if err != nil {
			t.Fatal(err)
		}
		for j, s := range path {
			if strings.HasPrefix(s, "{") {
				path[j] = "x"
			}
		}
		found, _, err := match(routes, routes[i].Method, path)
		if err != nil || found != &routes[i] {
			t.Errorf("%s %s leads to %+v, %v", routes[i].Method, routes[i].Template, found, err)
		}
	}
}

func TestJSONKeepsTheShapeOfLists(t *testing.T) {
	data, err := json.Marshal(listOf[string](nil))
	if err != nil || string(data) != `{"count":0,"value":[]}` {
		t.Errorf("%s %v", data, err)
	}
}
