package webui

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/application"
	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/edge/webui/pages"
)

// Every route refuses whoever lacks its permission: nobody, a stranger to the
// project, and whoever holds just less than what it needs.
func TestEveryRouteRefusesWhoLacksItsPermission(t *testing.T) {
	w := newWorld(t)
	for _, rt := range routes {
		path := example(rt.pattern)
		if strings.Contains(path, "{") {
			t.Errorf("%s: the test has no example of %s", rt.pattern, path)
			continue
		}
		if rt.needs == identity.Anyone {
			continue
		}
		out := w.ask(rt.method, path, "", nil)
		if rt.method == "GET" && rt.pattern != "/events" {
			if out.Code != http.StatusSeeOther || !strings.HasPrefix(out.Header().Get("Location"), "/signin?next=") {
				t.Errorf("%s %s without signing in: %d", rt.method, path, out.Code)
			}
		} else if out.Code != http.StatusUnauthorized {
			t.Errorf("%s %s without signing in: %d", rt.method, path, out.Code)
		}
		who := roleThatLacks(rt.needs)
		if who == "" {
			continue
		}
		if out := w.ask(rt.method, path, who, url.Values{}); out.Code != http.StatusForbidden && out.Code != http.StatusNotFound {
			t.Errorf("%s %s as %s: %d", rt.method, path, who, out.Code)
		}
		// What belongs to a project is not reached through another.
		if strings.HasPrefix(rt.pattern, projectPath+"/") && strings.Contains(rt.pattern, "{") {
			elsewhere := strings.Replace(path, "/shop", "/secret", 1)
			if out := w.ask(rt.method, elsewhere, "contributor", url.Values{}); out.Code != http.StatusNotFound {
				t.Errorf("%s %s as contributor of another project: %d", rt.method, elsewhere, out.Code)
			}
		}
	}
	if len(w.swaps.published) != 0 {
		t.Error("a refused request moved traffic")
	}
}

// Every page is drawn for a reader, closes what it opens, and carries nothing
// that the content security policy or a stranger's text could turn into code.
func TestEveryPageIsDrawn(t *testing.T) {
	w := newWorld(t)
	inline := regexp.MustCompile(`(?i)<[^>]+\s(style|on[a-z]+)=`)
	for _, rt := range routes {
		if rt.method != "GET" || rt.pattern == "/events" || rt.needs == identity.AuditRead {
			continue
		}
		path := example(rt.pattern)
		out := w.ask("GET", path, "reader", nil)
		body := out.Body.String()
		if out.Code >= 400 && rt.pattern != "/static/{version}/{path...}" || out.Code >= 500 {
			t.Errorf("GET %s: %d %s", path, out.Code, firstError(body))
			continue
		}
		if out.Header().Get("Content-Security-Policy") == "" || out.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("GET %s: headers are missing", path)
		}
		if !strings.HasPrefix(out.Header().Get("Content-Type"), "text/html") {
			continue
		}
		if strings.Contains(body, evil) {
			t.Errorf("GET %s: text of a stranger is not escaped", path)
		}
		if m := inline.FindString(body); m != "" {
			t.Errorf("GET %s: inline style or script: %s", path, m)
		}
		if strings.Count(body, "<h1") != 1 && out.Code == http.StatusOK {
			t.Errorf("GET %s: %d headings of the first level", path, strings.Count(body, "<h1"))
		}
	}
}

func firstError(body string) string {
	if i := strings.Index(body, "data-error>"); i >= 0 {
		return body[i+11 : min(len(body), i+200)]
	}
	return ""
}

func TestObjectsOfOtherProjectsAreNotFound(t *testing.T) {
	w := newWorld(t)
	if out := w.ask("GET", "/harbor/shop/runs/9", "admin", nil); out.Code != http.StatusNotFound {
		t.Errorf("a run of another project: %d", out.Code)
	}
	if out := w.ask("GET", "/harbor/secret", "reader", nil); out.Code != http.StatusNotFound {
		t.Errorf("a project that may not be seen: %d", out.Code)
	}
	for _, key := range []string{"run/9", "log/nothing", "nonsense", "runs/7"} {
		if out := w.ask("GET", "/events?keys="+key, "reader", nil); out.Code != http.StatusNotFound {
			t.Errorf("events of %s: %d", key, out.Code)
		}
	}
	if out := w.ask("GET", "/agents", "reader", nil); strings.Contains(out.Body.String(), "covert") {
		t.Error("the agents page names a run of a project that may not be seen")
	}
	// The organization's name matches in any case.
	if out := w.ask("GET", "/Harbor/Shop/runs/", "reader", nil); out.Code != http.StatusOK {
		t.Errorf("another case: %d", out.Code)
	}
}

func TestSignInAndOut(t *testing.T) {
	w := newWorld(t)
	if err := w.s.Identity.SetPassword(w.ctx(), "reader", "correct horse battery"); err != nil {
		t.Fatal(err)
	}
	w.handler = New(w.s)
	try := func(password string) *httptest.ResponseRecorder {
		return w.ask("POST", "/signin", "", url.Values{"name": {"Reader"}, "password": {password}, "next": {"/harbor/shop/runs?show=failed"}})
	}
	if out := try("wrong"); out.Code != http.StatusUnauthorized || len(out.Result().Cookies()) != 0 {
		t.Errorf("a wrong password: %d", out.Code)
	}
	out := try("correct horse battery")
	cookies := out.Result().Cookies()
	if out.Code != http.StatusSeeOther || out.Header().Get("Location") != "/harbor/shop/runs?show=failed" || len(cookies) != 1 {
		t.Fatalf("%d %v", out.Code, out.Header())
	}
	if k := cookies[0]; !k.HttpOnly || k.SameSite != http.SameSiteLaxMode || k.Path != "/" || k.Secure {
		t.Errorf("cookie %+v", k)
	}
	w.tokens["reader"] = cookies[0].Value
	if out := w.ask("POST", "/signout", "reader", url.Values{}); out.Code != http.StatusSeeOther {
		t.Errorf("sign out: %d", out.Code)
	}
	if out := w.ask("GET", "/me", "reader", nil); out.Code != http.StatusSeeOther {
		t.Errorf("a session that was ended still opens pages: %d", out.Code)
	}
	for range doorBurst {
		try("wrong")
	}
	if out := try("correct horse battery"); out.Code != http.StatusTooManyRequests {
		t.Errorf("after many tries: %d", out.Code)
	}
	w.now = w.now.Add(doorEvery + time.Second)
	if out := try("correct horse battery"); out.Code != http.StatusSeeOther {
		t.Errorf("after a pause: %d", out.Code)
	}
}

func TestNextIsALocalPath(t *testing.T) {
	for next, want := range map[string]string{"/harbor/shop": "/harbor/shop", "": "/", "https://evil.test/": "/", "//evil.test": "/", `/\evil.test`: "/", "/a\r\nb": "/", "javascript:x": "/", "/signin?next=/": "/"} {
		if got := safeNext(next); got != want {
			t.Errorf("%q → %q, want %q", next, got, want)
		}
	}
}

func TestRequestsFromOtherSitesAreRefused(t *testing.T) {
	w := newWorld(t)
	r := httptest.NewRequest("POST", "http://penstock.test/harbor/shop/apps/storefront/swap", nil)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	r.AddCookie(&http.Cookie{Name: cookieName, Value: w.tokens["contributor"]})
	out := httptest.NewRecorder()
	w.handler.ServeHTTP(out, r)
	if out.Code != http.StatusForbidden || len(w.swaps.published) != 0 {
		t.Errorf("%d, published %v", out.Code, w.swaps.published)
	}
}

func TestSwapAndRollbackJustWork(t *testing.T) {
	w := newWorld(t)
	out := w.ask("POST", "/harbor/shop/apps/storefront/swap", "contributor", url.Values{"release": {"3.0"}})
	if out.Code != http.StatusConflict || len(w.swaps.published) != 0 {
		t.Fatalf("a release the reader did not see: %d", out.Code)
	}
	out = w.ask("POST", "/harbor/shop/apps/storefront/swap", "contributor", url.Values{"release": {"2.0"}})
	if out.Code != http.StatusSeeOther || out.Header().Get("Location") != "/harbor/shop/apps/storefront" {
		t.Fatalf("%d %s %s", out.Code, out.Header().Get("Location"), firstError(out.Body.String()))
	}
	a, err := w.s.Applications.Find(w.ctx(), w.project.ID, "storefront")
	if err != nil || a.Slot("blue").Role != application.Production {
		t.Fatalf("%v %+v", err, a.Slots)
	}
	out = w.ask("POST", "/harbor/shop/apps/storefront/rollback", "contributor", url.Values{"generation": {"99"}})
	if out.Code != http.StatusConflict {
		t.Errorf("something moved since the reader looked: %d", out.Code)
	}
	out = w.ask("POST", "/harbor/shop/apps/storefront/rollback", "contributor", url.Values{})
	if out.Code != http.StatusSeeOther {
		t.Errorf("%d %s", out.Code, firstError(out.Body.String()))
	}
}

func TestApplicationPageSaysTheRemainder(t *testing.T) {
	w := newWorld(t)
	body := w.ask("GET", "/harbor/shop/apps/storefront", "contributor", nil).Body.String()
	for _, want := range []string{`data-until="2026-11-22T19:04:50.000Z"`, "0:19", "Roll back to white", "Swap to blue", "97.1 %", "Previous, draining", "1 of 1 healthy", "Waits for contributor"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	reader := w.ask("GET", "/harbor/shop/apps/storefront", "reader", nil).Body.String()
	if strings.Contains(reader, `action="/harbor/shop/apps/storefront/swap"`) || !strings.Contains(reader, "your role is below that") {
		t.Error("a reader is offered a swap")
	}
}

func TestApprovalIsDecidedByItsApprover(t *testing.T) {
	w := newWorld(t)
	if out := w.ask("POST", "/approvals/ap1", "admin", url.Values{"decision": {"approved"}}); out.Code != http.StatusForbidden {
		t.Errorf("who is no approver: %d", out.Code)
	}
	if out := w.ask("POST", "/approvals/ap1", "stranger", url.Values{"decision": {"approved"}}); out.Code != http.StatusNotFound {
		t.Errorf("who may not see the project: %d", out.Code)
	}
	if body := w.ask("GET", "/approvals", "contributor", nil).Body.String(); !strings.Contains(body, `action="/approvals/ap1"`) || !strings.Contains(body, "3 of 5 tests pass, 2 failed") {
		t.Error("the inbox lacks the form or the evidence")
	}
	out := w.ask("POST", "/approvals/ap1", "contributor", url.Values{"decision": {"approved"}, "comment": {"looks right"}})
	a, err := w.s.Environments.Approvals.Get(w.ctx(), "ap1")
	if out.Code != http.StatusSeeOther || err != nil || a.Status != environment.Approved || a.Votes[0].Comment != "looks right" {
		t.Errorf("%d %+v", out.Code, a)
	}
	if out := w.ask("POST", "/approvals/ap1", "contributor", url.Values{"decision": {"rejected"}}); out.Code != http.StatusConflict || !strings.Contains(out.Body.String(), "Nothing changed") {
		t.Errorf("too late: %d", out.Code)
	}
}

// Whatever a run asks, at once or by a job of a stage under way, is answered on its
// page.
func TestRunShowsEveryQuestion(t *testing.T) {
	w := newWorld(t)
	insert(w, w.s.Environments.Approvals, &environment.Approval{ID: "ap2", ProjectID: w.project.ID, RunID: "7", Stage: "build", Attempt: 1, JobID: "j1", Minimum: 1, AllowSelf: true,
		Instructions: "Look at the page " + evil, Status: environment.Pending, Created: w.now, Expires: w.now.Add(time.Hour)})
	insert(w, w.s.Environments.Approvals, &environment.Approval{ID: "ap3", ProjectID: w.project.ID, RunID: "7", Stage: "release", Attempt: 1, CheckID: "manual-start", Minimum: 1, AllowSelf: true,
		Status: environment.Pending, Created: w.now})
	for _, page := range []string{"/harbor/shop/runs/7", "/harbor/shop/runs/7/jobs/build.compile"} {
		body := w.ask("GET", page, "contributor", nil).Body.String()
		for _, want := range []string{"compile waits for you", "Look at the page", "the job is rejected, if nobody answers", `action="/approvals/ap1"`, `action="/approvals/ap2"`, `action="/approvals/ap3"`, "Leave out"} {
			if !strings.Contains(body, want) {
				t.Errorf("%s does not say %q", page, want)
			}
		}
		if strings.Contains(body, evil) {
			t.Errorf("%s: instructions are not escaped", page)
		}
	}
	if body := w.ask("GET", "/harbor/shop/runs/7", "reader", nil).Body.String(); !strings.Contains(body, "compile waits for anyone who may queue runs") || strings.Contains(body, `action="/approvals/`) {
		t.Error("who may not answer is asked")
	}
}

// A stage that nobody has to answer goes on by itself when its time has come.
func TestRunSaysWhenAStageGoesOn(t *testing.T) {
	w := newWorld(t)
	w.must(w.s.Runs.Stages.Insert(w.ctx(), &run.Stage{ID: "7/night/1", RunID: "7", Name: "night", Order: 2, Attempt: 1, State: run.Pending, Waits: "business hours 08:30–17:00 UTC", Until: w.now.Add(2 * time.Hour)}))
	body := w.ask("GET", "/harbor/shop/runs/7", "reader", nil).Body.String()
	_, panel, _ := strings.Cut(body, "night waits for")
	panel, _, _ = strings.Cut(panel, "</section>")
	if !strings.Contains(panel, "It goes on by itself, at "+pages.Full(w.now.Add(2*time.Hour))) || strings.Contains(panel, "nobody answers") || strings.Contains(panel, " left") {
		t.Errorf("it says %s", panel)
	}
	if strings.Count(body, "the stage ends as skipped, if nobody answers") != 1 {
		t.Error("the stage that somebody has to answer does not say so")
	}
}

func TestPullRequestVoteCommentComplete(t *testing.T) {
	w := newWorld(t)
	base := "/harbor/shop/repos/storefront/pulls/3"
	if out := w.ask("POST", base+"/complete", "contributor", url.Values{}); out.Code != http.StatusConflict {
		t.Errorf("a policy is not satisfied: %d", out.Code)
	}
	if out := w.ask("POST", base+"/vote", "contributor", url.Values{"vote": {"10"}}); out.Code != http.StatusSeeOther {
		t.Errorf("vote: %d", out.Code)
	}
	if out := w.ask("POST", base+"/comment", "contributor", url.Values{"text": {"fine " + evil}}); out.Code != http.StatusSeeOther {
		t.Errorf("comment: %d", out.Code)
	}
	body := w.ask("GET", base, "contributor", nil).Body.String()
	if !strings.Contains(body, "Nothing holds this back") || !strings.Contains(body, "1 of 1 approved") || strings.Contains(body, evil) {
		t.Error("the page does not say that it may be completed")
	}
	if out := w.ask("POST", base+"/complete", "contributor", url.Values{}); out.Code != http.StatusSeeOther {
		t.Errorf("complete: %d %s", out.Code, firstError(out.Body.String()))
	}
}

func TestRunIsCanceledAndLogIsRead(t *testing.T) {
	w := newWorld(t)
	log := "/harbor/shop/runs/7/jobs/build.compile/log"
	if body := w.ask("GET", log+"?step=1&from=6&count=2", "reader", nil).Body.String(); !strings.Contains(body, `"total":8`) || !strings.Contains(body, `\u003cspan class=\"a1\"\u003ered`) || strings.Contains(body, "<script") {
		t.Error(body)
	}
	if body := w.ask("GET", log+"/index?step=1", "reader", nil).Body.String(); !strings.Contains(body, `"errors":[8]`) || !strings.Contains(body, `"start":1,"end":5`) {
		t.Error(body)
	}
	if body := w.ask("GET", log+"/search?step=1&q=RED", "reader", nil).Body.String(); !strings.Contains(body, `"lines":[7]`) {
		t.Error(body)
	}
	raw := w.ask("GET", "/harbor/shop/runs/7/jobs/build.compile/raw?step=1", "reader", nil)
	if !strings.HasPrefix(raw.Header().Get("Content-Type"), "text/plain") || !strings.Contains(raw.Body.String(), evil) {
		t.Error("the raw log is not the log")
	}
	if out := w.ask("POST", "/harbor/shop/runs/7/cancel", "contributor", url.Values{}); out.Code != http.StatusSeeOther {
		t.Errorf("cancel: %d", out.Code)
	}
	r, err := w.s.Runs.Runs.Get(w.ctx(), "7")
	if err != nil || !r.CancelRequested {
		t.Errorf("%v %+v", err, r)
	}
}

func TestFindingsAreShown(t *testing.T) {
	w := newWorld(t)
	body := w.ask("GET", "/harbor/shop/runs/8", "reader", nil).Body.String()
	for _, want := range []string{"unknown-key", "azure-pipelines.yml:3:1", `<u class="sq">stepz</u>`, "^~~~~", "penstock validate azure-pipelines.yml"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

func TestPipelineRunsWithParameters(t *testing.T) {
	w := newWorld(t)
	body := w.ask("GET", "/harbor/shop/pipelines/ci", "contributor", nil).Body.String()
	if !strings.Contains(body, `name="p.color"`) || !strings.Contains(body, `value="red"`) {
		t.Error("the form lacks the parameter")
	}
	out := w.ask("POST", "/harbor/shop/pipelines/ci/run", "contributor", url.Values{"branch": {"main"}, "p.color": {"blue"}})
	if out.Code != http.StatusSeeOther {
		t.Fatalf("%d %s", out.Code, firstError(out.Body.String()))
	}
	newest, err := store.First(w.ctx(), w.s.Runs.Runs, store.Where("project_id", w.project.ID).AndOp("queued", store.Ge, w.now).And("state", string(run.Pending)))
	if err != nil || newest == nil || newest.Parameters["color"] != "blue" || newest.RequestedBy != "contributor" {
		t.Errorf("%v %+v", err, newest)
	}
}

func TestEventsTellWhatChanged(t *testing.T) {
	w := newWorld(t)
	server := httptest.NewServer(w.handler)
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", server.URL+"/events?keys=run/7,runs", nil)
	req.AddCookie(&http.Cookie{Name: cookieName, Value: w.tokens["reader"]})
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.Header.Get("Content-Type") != "text/event-stream" || res.Header.Get("X-Accel-Buffering") != "no" {
		t.Errorf("%v", res.Header)
	}
	w.s.Hub.Publish("run/7")
	buf, text := make([]byte, 4096), ""
	for !strings.Contains(text, "data: run/7") {
		n, err := res.Body.Read(buf)
		text += string(buf[:n])
		if err != nil {
			t.Fatalf("%v after %q", err, text)
		}
	}
}

func TestAuditIsForServerAdministrators(t *testing.T) {
	w := newWorld(t)
	if out := w.ask("GET", "/admin/audit?action=project.create", "admin", nil); out.Code != http.StatusOK || !strings.Contains(out.Body.String(), "project shop") {
		t.Errorf("%d", out.Code)
	}
	if out := w.ask("POST", "/admin/audit/verify", "admin", url.Values{}); out.Code != http.StatusSeeOther {
		t.Errorf("verify: %d", out.Code)
	}
	if out := w.ask("GET", "/harbor/shop/palette", "reader", nil); !strings.Contains(out.Body.String(), "server administrators only") || !strings.Contains(out.Body.String(), "contributors only") {
		t.Error("the palette hides what is impossible instead of saying why")
	}
}
