package webui

import (
	"archive/zip"
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/domain/testresult"
)

// shown asks for a page and says which texts are missing, or there although they
// should not be.
func (w *world) shown(path string, want, not []string) {
	w.t.Helper()
	out := w.ask("GET", path, "reader", nil)
	if out.Code != http.StatusOK {
		w.t.Fatalf("%s: %d", path, out.Code)
	}
	for _, text := range want {
		if !strings.Contains(out.Body.String(), text) {
			w.t.Errorf("%s does not show %q", path, text)
		}
	}
	for _, text := range not {
		if strings.Contains(out.Body.String(), text) {
			w.t.Errorf("%s shows %q", path, text)
		}
	}
}

func TestRunPageShowsWhatStepsLeft(t *testing.T) {
	w := newWorld(t)
	w.shown("/harbor/shop/runs/7", []string{"notes.md", "<h3>Notes</h3>", "<strong>bold</strong>", "exit code 1", "careful", ">nightly</a>", "2 failed", "75.0 %", `href="https://example.test/x?`},
		[]string{`href="javascript:`, "<h1>Notes"})
	w.shown("/harbor/shop/runs/7/artifacts", []string{"kept.html", `\\server\drop`, "javascript:alert(1)", "none.txt", "an earlier attempt"}, []string{`href="javascript:`, "notes.md"})
	w.shown("/harbor/shop/runs", []string{">nightly</a>"}, nil)
	w.shown("/harbor/shop/runs?tag=NIGHTLY", []string{">1.7<"}, []string{">1.6<"})
}

func TestTestsPage(t *testing.T) {
	w := newWorld(t)
	const tests = "/harbor/shop/runs/7/tests"
	w.shown(tests, []string{"adds", "sells", "waits", "counts", "1 new failure, 1 fixed", "run 1.6", "1 is not 2", "1.5 s"}, nil)
	w.shown(tests+"?show=failed", []string{"adds", "sells"}, []string{">waits<", ">counts<"})
	w.shown(tests+"?show=new", []string{"adds"}, []string{">sells<"})
	w.shown(tests+"?show=other", []string{">waits<"}, []string{">sells<", ">counts<"})
	w.shown(tests+"?q=TILL", []string{">counts<", "1 test"}, []string{">sells<", ">waits<"})
	w.shown(tests+"?q=nothing+like+that", []string{"No test matches"}, nil)
	w.shown("/harbor/shop/runs/8/tests", []string{"published no test results"}, nil)
}

// A page shows a part of very many tests, what failed first, and leads to the
// rest.
func TestManyTestsArePaged(t *testing.T) {
	w := newWorld(t)
	results := make([]testresult.Result, 2*testsOnPage+3)
	for i := range results {
		results[i] = testresult.Result{Name: "test" + strings.Repeat("x", i%7), Suite: string(rune('a' + i%5)), Outcome: testresult.Passed}
	}
	results[len(results)-1] = testresult.Result{Name: "the one", Suite: "z", Outcome: testresult.Failed}
	w.must(w.s.Tests.Publish(w.ctx(), &testresult.TestRun{RunID: "8", Title: "many", Results: results}))
	for from, want := range map[string]int{"": testsOnPage, "?from=500": testsOnPage, "?from=1000": 3, "?from=9999": 0} {
		body := w.ask("GET", "/harbor/shop/runs/8/tests"+from, "reader", nil).Body.String()
		if got := strings.Count(body, `class="grow test-name"`); got != want {
			t.Errorf("from %q: %d tests, want %d", from, got, want)
		}
		if strings.Contains(body, "the one") != (from == "") {
			t.Errorf("from %q: the failure comes first", from)
		}
	}
}

func TestCoveragePage(t *testing.T) {
	w := newWorld(t)
	const page = "/harbor/shop/runs/7/coverage"
	w.shown(page, []string{"good.cs", "bad.cs", "75.0 %", "3 of 4"}, nil)
	w.shown(page+"?q=GOOD", []string{"good.cs"}, []string{"bad.cs"})
	for query, order := range map[string][]string{"": {"bad.cs", "good.cs"}, "?sort=name": {"bad.cs", "good.cs"}} {
		body := w.ask("GET", page+query, "reader", nil).Body.String()
		if strings.Index(body, order[0]) > strings.Index(body, order[1]) {
			t.Errorf("%q: not in the order %v", query, order)
		}
	}
}

// What a step kept is for the reader's disk: it must not become a page here.
func TestFilesOfStepsAreDelivered(t *testing.T) {
	w := newWorld(t)
	list, err := w.s.Attachments.Of(w.ctx(), "7")
	w.must(err)
	for _, a := range list {
		if a.Name != "kept.html" {
			continue
		}
		out := w.ask("GET", "/harbor/shop/runs/7/attachments/"+a.ID, "reader", nil)
		h := out.Header()
		if out.Body.String() != evil || h.Get("Content-Type") != "application/octet-stream" || !strings.HasPrefix(h.Get("Content-Disposition"), "attachment") || !strings.HasPrefix(h.Get("Content-Security-Policy"), "sandbox") {
			t.Errorf("%q %v", out.Body, h)
		}
		if out := w.ask("GET", "/harbor/shop/runs/8/attachments/"+a.ID, "reader", nil); out.Code != http.StatusNotFound {
			t.Errorf("through another run: %d", out.Code)
		}
	}
	out := w.ask("GET", "/harbor/shop/runs/7/logs.zip", "reader", nil)
	archive, err := zip.NewReader(bytes.NewReader(out.Body.Bytes()), int64(out.Body.Len()))
	w.must(err)
	var names []string
	for _, f := range archive.File {
		names = append(names, f.Name)
		r, err := f.Open()
		w.must(err)
		data, err := io.ReadAll(r)
		w.must(err)
		if strings.Contains(f.Name, "files/") && string(data) != evil || strings.HasSuffix(f.Name, ".txt") && !strings.Contains(string(data), "##[group]Restore") {
			t.Errorf("%s: %q", f.Name, data)
		}
	}
	if len(names) != 2 || !slices.Contains(names, "build/compile/files/01-kept.html") {
		t.Errorf("%v", names)
	}
}
