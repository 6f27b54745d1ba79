package devopsapi

import (
	"context"
	"fmt"
	"net/http/httptest"
	"testing"

	"penstock.dev/penstock/internal/domain/testresult"
)

// What a job leaves goes to its own run, with its own name on it; nobody else's
// run is touched, and what belongs to another project is not there.
func TestOutcomesBelongToTheirRun(t *testing.T) {
	w := newWorld(t)
	h := New(w.Services)
	w.withRun(w.shop.ID, "1")
	w.withRun(w.shop.ID, "2")
	w.withRun(w.other.ID, "3")
	ctx := context.Background()
	w.must(w.Tests.Publish(ctx, &testresult.TestRun{RunID: "3", Results: []testresult.Result{{Name: "secret", Outcome: testresult.Failed}}}))
	for _, c := range []struct {
		who, method, path, body string
		want                    int
	}{
		{"job", "PUT", "/build/builds/1/tags/a%2Fb", "", 200},
		{"job", "PUT", "/build/builds/2/tags/x", "", 403},
		{"job", "POST", "/build/builds/2/tags", `["x"]`, 403},
		{"job", "DELETE", "/build/builds/2/tags/x", "", 403},
		{"reader", "PUT", "/build/builds/1/tags/x", "", 403},
		{"contributor", "POST", "/build/builds/2/tags", `["by hand"]`, 200},
		{"contributor", "POST", "/build/builds/2/tags", `[""]`, 400},
		{"job", "POST", "/build/builds/1/artifacts", `{"name":"docs","resource":{"type":"url","data":"https://example.test"}}`, 200},
		{"job", "POST", "/build/builds/1/artifacts", `{"name":"docs","resource":{"type":"url","data":"https://other.test"}}`, 409},
		{"job", "POST", "/build/builds/2/artifacts", `{"name":"docs","resource":{"type":"url","data":"https://example.test"}}`, 403},
		{"contributor", "POST", "/build/builds/1/artifacts", `{"name":"x","resource":{"type":"url","data":"https://example.test"}}`, 403},
		{"job", "POST", "/penstock/runs/1/coverage", `{"metrics":[{"label":"Lines","covered":1,"total":2}]}`, 201},
		{"job", "POST", "/penstock/runs/1/coverage", `{"metrics":[{"label":"Lines","covered":3,"total":2}]}`, 400},
		{"job", "POST", "/penstock/runs/2/coverage", `{}`, 403},
		{"job", "PUT", "/penstock/runs/1/attachments/report/r.txt?step=1", `{"x":1}`, 200},
		{"job", "PUT", "/penstock/runs/1/attachments/report/r.txt?step=0", `{"x":1}`, 400},
		{"job", "PUT", "/penstock/runs/2/attachments/report/r.txt?step=1", `{"x":1}`, 403},
		{"job", "PUT", "/penstock/runs/1/attachments/report/..%2Fr.txt?step=1", `{"x":1}`, 400},
		{"projectadministrator", "PUT", "/penstock/runs/1/attachments/report/r.txt?step=1", `{"x":1}`, 400}, // of no job
		{"reader", "GET", "/test/runs/1", "", 404},
		{"reader", "GET", "/test/runs/1/results", "", 404},
		{"reader", "GET", "/test/runs/1/results/100000", "", 404},
		{"reader", "GET", "/test/runs?buildIds=3", "", 404},
		{"reader", "GET", "/test/runs", "", 400},
		{"reader", "GET", "/test/codecoverage?buildId=3", "", 404},
		{"reader", "GET", "/testresults/resultsummarybybuild?buildId=3", "", 404},
	} {
		if got := w.call(h, c.who, c.method, "/default/shop/_apis"+c.path, c.body, nil); got != c.want {
			t.Errorf("%s as %s: %s: %d, want %d", c.method, c.who, c.path, got, c.want)
		}
	}
	r, err := w.Runs.Runs.Get(ctx, "1")
	w.must(err)
	links, err := w.Links.Of(ctx, "1")
	w.must(err)
	kept, err := w.Attachments.Of(ctx, "1")
	w.must(err)
	if fmt.Sprint(r.Tags) != "[a/b]" || len(links) != 1 || links[0].JobID != "job-1" || len(kept) != 1 || kept[0].JobID != "job-1" {
		t.Errorf("%v %+v %+v", r.Tags, links, kept)
	}
	var found list[struct {
		Links map[string]link `json:"_links"`
	}]
	w.call(h, "reader", "GET", "/default/shop/_apis/build/builds/1/attachments/REPORT", "", &found)
	if found.Count != 1 {
		t.Fatalf("%+v", found)
	}
	req := httptest.NewRequest("GET", found.Value[0].Links["self"].Href, nil)
	req.Header.Set("Authorization", "Bearer "+w.tokens["reader"])
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	if rec.Code != 200 || rec.Body.String() != `{"x":1}` || rec.Header().Get("Content-Type") != "application/octet-stream" || rec.Header().Get("Content-Security-Policy") != "sandbox" {
		t.Errorf("%d %q %v", rec.Code, rec.Body, rec.Header())
	}
}
