package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	build = `{"id":7,"buildNumber":"1.0.7","status":"completed","result":"succeeded","queueTime":"2026-11-02T11:00:00Z","startTime":"2026-11-02T11:00:01Z","finishTime":"2026-11-02T11:00:11Z","sourceBranch":"refs/heads/main","definition":{"name":"storefront-ci"},"requestedFor":{"displayName":"ada"}}`
	pr    = `{"pullRequestId":7,"status":"active","title":"Prices","sourceRefName":"refs/heads/fix","targetRefName":"refs/heads/main","mergeStatus":"succeeded","createdBy":{"displayName":"ada"},"creationDate":"2026-11-02T11:00:00Z","repository":{"id":"r1","name":"storefront"},"lastMergeSourceCommit":{"commitId":"abcdef0123"},"lastMergeCommit":{"commitId":"0123456789"},"reviewers":[{"displayName":"grace","vote":10}]}`
	app   = `{"application":{"name":"storefront","generation":7,"slots":[{"name":"blue","role":"production","vms":["blue-1"],"release":{"number":"1.0.1","by":"lin","time":"2026-11-01T12:00:00Z"}},{"name":"green","role":"staging","vms":["green-1"],"release":{"number":"1.0.2","by":"lin","time":"2026-11-02T11:54:00Z"}}],"spec":{"names":{"production":["storefront.localhost"]},"environments":{"production":"production"},"dns":{"ttl":"10s"}}},"health":[{"pool":"storefront/blue","backend":"blue-1","state":"healthy"},{"pool":"storefront/green","backend":"green-1","state":"unhealthy","detail":"503"}],"rates":{"blue":{"requests":412,"p99":0.014}},"urls":{"production":"http://storefront.localhost:7480"}}`
)

// TestAreas types one command after the other: what the server is asked, what
// is printed, and the exit code.
func TestAreas(t *testing.T) {
	value := func(items string) string { return `{"count":1,"value":[` + items + `]}` }
	cases := []struct {
		line    string
		stdin   string
		answers map[string]string
		asks    []string // parts of requests
		prints  []string // parts of stdout
		says    []string // parts of stderr
		code    int
	}{
		{line: "project list", answers: map[string]string{"GET /_apis/projects": value(`{"name":"shop","description":"The shop"}`)}, prints: []string{"NAME  DESCRIPTION\nshop  The shop\n"}},
		{line: "project list", answers: map[string]string{"GET /_apis/projects": `{"value":[]}`}, says: []string{"penstock project create NAME"}},
		{line: "project list -q", answers: map[string]string{"GET /_apis/projects": value(`{"name":"shop"}`)}, prints: []string{"shop\n"}},
		{line: "project list -o json", answers: map[string]string{"GET /_apis/projects": value(`{"name":"shop","extra":1}`)}, prints: []string{`"extra": 1`}},
		{line: "project list -o yaml --no-header", answers: map[string]string{"GET /_apis/projects": value(`{"name":"shop","extra":12}`)}, prints: []string{"extra: 12\n"}},
		{line: "project create shop", answers: map[string]string{"POST /_apis/projects": `{"name":"shop"}`}, asks: []string{`"name":"shop"`}, prints: []string{"✓ project shop"}},
		{line: "repo create storefront", answers: map[string]string{"POST /shop/_apis/git/repositories": `{"name":"storefront","remoteUrl":"http://h/x"}`}, prints: []string{"git push http://h/x HEAD:main"}},
		{line: "pr list", answers: map[string]string{"GET /shop/_apis/git/pullRequests": value(pr)}, asks: []string{"searchCriteria.status=active"}, prints: []string{"!7", "Prices", "60 min|1 h"}},
		{line: "pr create --repo storefront --source fix --target main --title Prices", answers: map[string]string{"POST /shop/_apis/git/repositories/storefront/pullRequests": pr}, asks: []string{`"sourceRefName":"fix"`}, prints: []string{"!7 fix into main"}},
		{line: "pr vote !7 --approve", answers: map[string]string{"GET /shop/_apis/git/pullRequests/7": pr, "PUT /shop/_apis/git/repositories/r1/pullRequests/7/reviewers/me": `{"vote":10}`}, asks: []string{`{"vote":10}`}, prints: []string{"approved"}},
		{line: "pr vote 7", code: 2, says: []string{"one vote"}},
		{line: "pr complete 7", answers: map[string]string{"GET /shop/_apis/git/pullRequests/7": pr, "PATCH /shop/_apis/git/repositories/r1/pullRequests/7": pr}, asks: []string{`"commitId":"abcdef0123"`, `"status":"completed"`}, prints: []string{"merged into main as 0123456"}},
		{line: "pr checks 7", answers: map[string]string{"GET /shop/_apis/git/pullRequests/7": pr, "GET /shop/_apis/policy/evaluations": value(`{"status":"rejected","reason":"failed","configuration":{"isBlocking":true,"type":{"displayName":"Build"},"settings":{"pipeline":"storefront-pr"}}}`)}, prints: []string{"✗", "Build storefront-pr"}, code: 1},
		{line: "policy create build-validation --branch main --pipeline storefront-pr", answers: map[string]string{"POST /shop/_apis/policy/configurations": `{"id":3}`}, asks: []string{`"pipeline":"storefront-pr"`, `"refName":"main"`}, prints: []string{"policy 3"}},
		{line: "pipeline run storefront-cd --param watch=5 --resource ci=1.0.7", answers: map[string]string{"POST /shop/_apis/pipelines/storefront-cd/runs": `{"id":8,"name":"2","pipeline":{"name":"storefront-cd"}}`}, asks: []string{`"watch":"5"`, `"ci":{"version":"1.0.7"}`}, prints: []string{"penstock run watch 8"}},
		{line: "run list --state inProgress --pipeline storefront-ci", answers: map[string]string{"GET /shop/_apis/build/builds": value(build)}, asks: []string{"statusFilter=inProgress", "definitions=storefront-ci"}, prints: []string{"RUN", "succeeded", "1 h", "10s"}},
		{line: "run cancel latest:storefront-ci", answers: map[string]string{"GET /shop/_apis/build/builds": value(build), "PATCH /shop/_apis/build/builds/7": build}, asks: []string{"definitions=storefront-ci", `"cancelling"`}, prints: []string{"run 7"}},
		{line: "run show storefront-ci/9.9", answers: map[string]string{"GET /shop/_apis/build/builds": `{"value":[]}`}, asks: []string{"buildNumber=9.9"}, says: []string{"no run storefront-ci/9.9 in project shop"}, code: 4},
		{line: "run logs 7 --grep x --tail 2", answers: map[string]string{"GET /shop/_apis/penstock/runs/7/logs": `{"stage":"release","job":"to_production","step":"Smoke tests","line":118,"text":"GET \u001b[31m/checkout\u001b[0m"}` + "\n"}, asks: []string{"grep=x", "tail=2"}, prints: []string{"release/to_production/Smoke tests  118  GET /checkout\n"}},
		{line: "run logs 7 -f --raw", answers: map[string]string{"GET /shop/_apis/penstock/runs/7/logs": "{\"text\":\"one\"}\n{\"text\":\"two\"}\n"}, asks: []string{"follow=true"}, prints: []string{"one\ntwo\n"}},
		{line: "run tests 7", answers: map[string]string{"GET /shop/_apis/penstock/runs/7/tests": value(`{"title":"unit","results":[{"name":"TestA","outcome":"Passed"},{"name":"TestB","suite":"price","outcome":"Failed","message":"want 1"}]}`)}, prints: []string{"unit   2      1       1", "price TestB"}, code: 1},
		{line: "run artifacts 7", answers: map[string]string{"GET /shop/_apis/penstock/runs/7/artifacts": value(`{"name":"package","size":6396313,"files":2,"digest":"sha256:9c1f"}`)}, prints: []string{"6.1 MiB"}},
		{line: "run rerun 7 --stage release", answers: map[string]string{"POST /shop/_apis/penstock/runs/7/rerun": `{}`}, asks: []string{`{"stage":"release"}`}},
		{line: "approve", answers: map[string]string{"GET /_apis/penstock/approvals": value(`{"run":"9","pipeline":"storefront-cd","stage":"approve","waitsFor":"lin","canDecide":true,"createdOn":"2026-11-02T11:56:00Z"}`)}, prints: []string{"you: lin", "4 min"}},
		{line: "approve 9 --comment ok", answers: map[string]string{"GET /shop/_apis/pipelines/approvals": value(`{"id":"a1","stage":"approve","canDecide":true}`), "PATCH /shop/_apis/pipelines/approvals": value(`{"id":"a1","status":"approved"}`)}, asks: []string{"run=9", `"approvalId":"a1"`, `"comment":"ok"`, `"status":"approved"`}, prints: []string{"approved run 9, stage approve"}},
		{line: "reject 9", answers: map[string]string{"GET /shop/_apis/pipelines/approvals": `{"value":[]}`}, says: []string{"waits for nobody"}, code: 4},
		{line: "why 9", answers: map[string]string{"GET /shop/_apis/penstock/runs/9/why": `{"run":{"id":"9","pipeline":"cd","number":"1"},"state":"inProgress","waits":[{"what":"approval","stage":"approve","reason":"approval by lin","stuck":true,"yours":true}]}`}, prints: []string{"approval by lin", "penstock approve 9"}, code: 1},
		{line: "why 9", answers: map[string]string{"GET /shop/_apis/penstock/runs/9/why": `{"run":{"id":"9"},"state":"completed","result":"succeeded","waits":[]}`}, prints: []string{"has ended: succeeded"}},
		{line: "env list", answers: map[string]string{"GET /shop/_apis/distributedtask/environments": value(`{"name":"production"},{"name":"spare"}`), "GET /shop/_apis/penstock/applications": value(app)}, prints: []string{"storefront   production   production  blue   1.0.1    24 h   1/1", "spare"}},
		{line: "env check add production approval --approver lin --minimum 1", answers: map[string]string{"POST /shop/_apis/penstock/environments/production/checks": `{"type":"approval","approvers":["lin"],"minimum":1}`}, asks: []string{`"approvers":["lin"]`}, prints: []string{"approval (1 of lin)"}},
		{line: "env check remove production 3", code: 2, says: []string{"--yes"}},
		{line: "app show storefront", answers: map[string]string{"GET /shop/_apis/penstock/applications/storefront": app}, prints: []string{"storefront · generation 7 · storefront.localhost → blue · ttl 10s", "412", "14ms", "green-1: 503"}},
		{line: "drain green-1", answers: map[string]string{"GET /shop/_apis/penstock/applications": value(app), "PUT /shop/_apis/penstock/applications/storefront/vms/green-1/drain": `{}`}, asks: []string{`{"out":true}`}, prints: []string{"penstock drain green-1 --end"}},
		{line: "vm restart blue-1", answers: map[string]string{"POST /shop/_apis/penstock/vms/blue-1/restart": `{"name":"blue-1"}`}, prints: []string{"blue-1 restarted"}},
		{line: "vm reimage blue-1", code: 2, says: []string{"--yes"}},
		{line: "vault secret set kv/PaymentKey", stdin: "s3cret\n", answers: map[string]string{"PUT /shop/_apis/penstock/vaults/kv/secrets/PaymentKey": `{"version":"3f0c","length":6}`}, asks: []string{`{"value":"s3cret"}`}, prints: []string{"version 3f0c (6 bytes)"}},
		{line: "vault secret set kv/PaymentKey", stdin: "two\nlines\n", answers: map[string]string{"PUT /shop/_apis/penstock/vaults/kv/secrets/PaymentKey": `{}`}, asks: []string{`{"value":"two\nlines\n"}`}},
		{line: "variable-group create s --vault kv --secret PaymentKey --var a=b", answers: map[string]string{"POST /shop/_apis/distributedtask/variablegroups": `{"name":"s"}`}, asks: []string{`"PaymentKey":{"isSecret":true}`, `"a":{"value":"b"}`}},
		{line: "user create ada", stdin: "long enough\n", answers: map[string]string{"POST /_apis/penstock/users": `{"name":"ada"}`}, asks: []string{`"password":"long enough"`}},
		{line: "permission grant ada contributor shop", answers: map[string]string{"POST /_apis/penstock/permissions": `{"user":"ada","role":"contributor","project":"shop"}`}, prints: []string{"ada is contributor on shop"}},
		{line: "group set Managers lin grace", answers: map[string]string{"PUT /shop/_apis/penstock/groups/Managers": `{"name":"Managers","members":["lin","grace"]}`}, asks: []string{`{"members":["lin","grace"]}`}},
		{line: "token create ci --scope run:write", answers: map[string]string{"POST /_apis/penstock/tokens": `{"name":"ci","token":"pst_1"}`}, asks: []string{`"scopes":["run:write"]`}, prints: []string{"pst_1\n"}},
		{line: "agent list", answers: map[string]string{"GET /_apis/penstock/agents": value(`{"id":1,"name":"embedded","pool":"default","enabled":true,"status":"online","busy":1,"maxParallelism":8}`)}, prints: []string{"busy", "1/8"}},
		{line: "agent join-token --pool default", answers: map[string]string{"POST /_apis/penstock/agents/join-tokens": `{"token":"psj_1"}`}, prints: []string{"psj_1\n"}},
		{line: "audit list --by ada", answers: map[string]string{"GET /_apis/penstock/audit": value(`{"actor":"ada","action":"run.queue"}`)}, asks: []string{"by=ada"}, prints: []string{"run.queue"}},
		{line: "version -o json", prints: []string{`"version": "1.0.0"`}},
	}
	for _, k := range cases {
		d := newDesk(t, k.answers)
		d.stdin = k.stdin
		out, errs, code := d.run(strings.Fields(k.line)...)
		if code != k.code {
			t.Errorf("%s: exit code %d, want %d\n%s%s", k.line, code, k.code, out, errs)
		}
		for what, parts := range map[string][]string{"stdout": k.prints, "stderr": k.says, "requests": k.asks} {
			text := map[string]string{"stdout": out, "stderr": errs, "requests": strings.Join(d.asked, "\n")}[what]
			for _, part := range parts {
				found := false
				for _, one := range strings.Split(part, "|") {
					found = found || strings.Contains(text, one)
				}
				if !found {
					t.Errorf("%s: %s lacks %q:\n%s", k.line, what, part, text)
				}
			}
		}
	}
}

func TestSwapTellsWhatItDoes(t *testing.T) {
	const published = `{"id":"w1","state":"published","generation":8,"newSlot":"green","newRelease":"1.0.2","oldSlot":"blue","oldRelease":"1.0.1","publishedAt":"2026-11-02T12:00:00Z","journal":[{"ok":true,"what":"probe","text":"1 of 1 VMs of green healthy"},{"ok":true,"what":"publish","text":"dns and gateway confirmed generation 8 in 11ms"}]`
	d := newDesk(t, map[string]string{
		"GET /shop/_apis/penstock/applications/storefront":          app,
		"POST /shop/_apis/penstock/applications/storefront/swaps":   published + `}`,
		"GET /shop/_apis/penstock/applications/storefront/swaps/w1": published + "}\x00" + strings.TrimSuffix(strings.Replace(published, `"published"`, `"drained"`, 1), "]") + `,{"ok":true,"what":"drain","text":"blue drained, 0 requests cut"}],"drainedAt":"2026-11-02T12:00:08Z"}`,
	})
	out, errs, code := d.run("swap", "storefront")
	if code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	golden(t, "swap.golden", out)
	out, _, _ = d.run("swap", "storefront", "-o", "json", "--wait", "published")
	if !strings.HasPrefix(out, "{") {
		t.Errorf("-o json prints more than JSON:\n%s", out)
	}
	d.answers["POST /shop/_apis/penstock/applications/storefront/swaps"] = []string{`!{"message":"slot green is not ready","code":"not-healthy","kind":"unavailable"}`}
	if _, errs, code := d.run("swap", "storefront"); code != 1 || !strings.Contains(errs, "not-healthy") {
		t.Errorf("not healthy: exit code %d %s", code, errs)
	}
}

func TestRollback(t *testing.T) {
	const path = "POST /shop/_apis/penstock/applications/storefront/rollbacks"
	d := newDesk(t, map[string]string{path: `{"rolledBack":true,"generation":9,"newSlot":"blue","newRelease":"1.0.1","moved":8000000}` + "\x00" + `{"rolledBack":false,"generation":9,"publishedAt":"2026-11-02T11:59:48Z"}`})
	if out, _, code := d.run("rollback", "storefront"); code != 0 || !strings.Contains(out, "generation 9 published in 8ms: production is blue (1.0.1) again") {
		t.Errorf("%d %s", code, out)
	}
	if out, _, code := d.run("rollback", "storefront"); code != 0 || !strings.Contains(out, "Nothing to do: the last move was this rollback (generation 9, 12 s ago).") {
		t.Errorf("%d %s", code, out)
	}
}

func TestWatchEndsWithTheRun(t *testing.T) {
	detail := func(state, result, stage string) string {
		return `event: run` + "\n" + `data: {"run":{"id":"7","pipeline":"ci","number":"1.0.7","branch":"refs/heads/main","commit":"abcdef012","requestedBy":"ada","state":"` + state + `","result":"` + result + `"},"stages":[{"name":"verify","state":"` + stage + `","result":"` + result + `","attempt":1}],"jobs":[{"id":"j","stage":"verify","name":"build","attempt":1,"state":"` + stage + `","result":"` + result + `","steps":[{"displayName":"Unit tests","errors":["1 failed"]}]}]}` + "\n\n"
	}
	// The first connection breaks; the second tells the end.
	d := newDesk(t, map[string]string{"GET /shop/_apis/penstock/runs/7/events": detail("inProgress", "", "inProgress") + detail("completed", "failed", "completed") + "event: end\ndata: \"failed\"\n\n"})
	out, errs, code := d.run("run", "watch", "7")
	if code != 1 {
		t.Errorf("exit code %d %s", code, errs)
	}
	golden(t, "watch.golden", out)
	d.answers["GET /shop/_apis/penstock/runs/7/events"] = []string{detail("completed", "succeeded", "completed") + "event: end\ndata: \"succeeded\"\n\n"}
	if out, _, code := d.run("run", "watch", "7", "-o", "json"); code != 0 || strings.Count(out, "\n") != 1 {
		t.Errorf("json: %d %s", code, out)
	}
}

func TestApplyReadsTheFirstKey(t *testing.T) {
	d := newDesk(t, map[string]string{"PUT /shop/_apis/penstock/applications": app})
	must(t, os.WriteFile(filepath.Join(d.dir, "penstock.app.yml"), []byte("application: storefront\n"), 0o600))
	must(t, os.WriteFile(filepath.Join(d.dir, "other.yml"), []byte("zone: x\n"), 0o600))
	if out, errs, code := d.run("apply", "penstock.app.yml"); code != 0 || !strings.Contains(out, "generation 7: blue (1 VMs, production)") || !strings.Contains(d.asked[0], `"content":"application: storefront\n"`) {
		t.Errorf("%d %s%s %v", code, out, errs, d.asked)
	}
	if _, errs, code := d.run("apply", "other.yml"); code != 2 || !strings.Contains(errs, "unknown-file") {
		t.Errorf("%d %s", code, errs)
	}
	if _, errs, code := d.run("apply", "missing.yml"); code != 2 || !strings.Contains(errs, "file-unreadable") {
		t.Errorf("%d %s", code, errs)
	}
}

func TestValidateAndExpand(t *testing.T) {
	d := newDesk(t, nil)
	write := func(name, text string) {
		t.Helper()
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(d.dir, name)), 0o700))
		must(t, os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o600))
	}
	write("azure-pipelines.yml", "pool: default\nsteps:\n- template: templates/steps.yml\n")
	write("templates/steps.yml", "steps:\n- script: echo hello\n")
	write("bad.yml", "pool: default\njobs:\n- job: a\n  dependOn: b\n  steps:\n  - script: echo\n")
	write("outside.yml", "pool: default\nsteps:\n- template: ../../etc/passwd\n")
	write("other.yml", "resources:\n  repositories:\n  - repository: lib\n    type: git\n    name: lib\npool: default\nsteps:\n- template: one.yml@lib\n")
	write("lib/one.yml", "steps:\n- script: echo\n")
	if out, errs, code := d.run("validate"); code != 0 || !strings.Contains(out, "azure-pipelines.yml: ok (1 stage, 1 job, ") {
		t.Errorf("%d %s%s", code, out, errs)
	}
	out, _, code := d.run("validate", "bad.yml", "azure-pipelines.yml")
	if code != 1 || !strings.Contains(out, "bad.yml:4:3: error unknown-key") || !strings.Contains(out, "1 error, 0 warnings in 1 of 2 pipelines") {
		t.Errorf("%d %s", code, out)
	}
	if out, _, code := d.run("validate", "bad.yml", "-o", "json"); code != 1 || !strings.Contains(out, `"code": "unknown-key"`) {
		t.Errorf("%d %s", code, out)
	}
	if _, _, code := d.run("validate", "outside.yml"); code == 0 {
		t.Error("a template outside of the repository was read")
	}
	if out, errs, code := d.run("validate", "other.yml", "--repo", "lib=lib"); code != 0 {
		t.Errorf("%d %s%s", code, out, errs)
	}
	if out, _, code := d.run("expand", "azure-pipelines.yml", "--plan"); code != 0 || !strings.Contains(out, "script: echo hello") {
		t.Errorf("%d %s", code, out)
	}
	if out, _, code := d.run("expand", "azure-pipelines.yml", "--plan", "-o", "json"); code != 0 || !strings.HasPrefix(out, "{") {
		t.Errorf("%d %s", code, out)
	}
}

func TestWebdeploy(t *testing.T) {
	d := newDesk(t, nil)
	must(t, os.MkdirAll(filepath.Join(d.dir, "site"), 0o700))
	must(t, os.WriteFile(filepath.Join(d.dir, "site", "index.html"), []byte("hello"), 0o600))
	for _, line := range []string{"webdeploy pack site --site storefront --to site.zip", "webdeploy show site.zip", "webdeploy apply site.zip out"} {
		if out, errs, code := d.run(strings.Fields(line)...); code != 0 {
			t.Errorf("%s: %d %s%s", line, code, out, errs)
		}
	}
	if data, err := os.ReadFile(filepath.Join(d.dir, "out", "index.html")); err != nil || string(data) != "hello" {
		t.Errorf("%v %q", err, data)
	}
}

func TestDownloadIsWhole(t *testing.T) {
	d := newDesk(t, map[string]string{"GET /shop/_apis/penstock/runs/7/artifacts/package/content": "PK…"})
	if _, errs, code := d.run("run", "artifacts", "7", "--download", "package"); code != 0 {
		t.Fatalf("%d %s", code, errs)
	}
	if data, err := os.ReadFile(filepath.Join(d.dir, "package.zip")); err != nil || string(data) != "PK…" {
		t.Errorf("%v %q", err, data)
	}
}
