package devopsapi

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/domain/artifact"
	"penstock.dev/penstock/internal/domain/artifact/artifacttest"
	"penstock.dev/penstock/internal/domain/artifact/tree"
)

func TestJobsWriteToTheirOwnRunOnly(t *testing.T) {
	w := newWorld(t)
	h := New(w.Services)
	w.withRun(w.shop.ID, "1")
	w.withRun(w.shop.ID, "2")
	put := func(run, step, content string) int {
		sink := &artifactSink{h: h, token: w.tokens["job"], base: "/default/shop/_apis/penstock/runs/" + run, step: step}
		file := filepath.Join(t.TempDir(), "a.txt")
		w.must(os.WriteFile(file, []byte(content), 0o644))
		_, _ = tree.Transfer{}.Publish(t.Context(), file, nil, sink)
		return sink.status
	}
	for _, k := range []struct {
		run, step, content string
		want               int
	}{{"1", "s", "text", 200}, {"1", "s", "text", 200}, {"1", "other", "text", 409}, {"1", "", "text", 409}, {"1", "s", "other", 409}, {"2", "s", "text", 403}} {
		if got := put(k.run, k.step, k.content); got != k.want {
			t.Errorf("publish %+v: %d, want %d", k, got, k.want)
		}
	}
	hidden := &artifactSink{h: h, token: w.tokens["job"], base: "/default/shop/_apis/penstock/runs/2"}
	if err := hidden.Send(t.Context(), strings.NewReader("x"), 1); err == nil || hidden.status != 403 {
		t.Errorf("chunks for another run: %d, want 403", hidden.status)
	}
	const tests = `{"title":"unit","runId":"2","jobId":"somebody","results":[{"name":"A","outcome":"Passed"}]}`
	if got := w.call(h, "job", "POST", "/default/shop/_apis/penstock/runs/2/tests", tests, nil); got != 403 {
		t.Errorf("tests of another run: %d, want 403", got)
	}
	if got := w.call(h, "job", "POST", "/default/shop/_apis/penstock/runs/1/tests", tests, nil); got != 201 {
		t.Errorf("tests of its own run: %d, want 201", got)
	}
	published, err := w.Tests.Of(context.Background(), "1")
	w.must(err)
	if len(published) != 1 || published[0].JobID != "job-1" {
		t.Errorf("published %+v", published)
	}
	rec := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/default/shop/_apis/penstock/runs/1/artifacts/package/content", nil)
	r.Header.Set("Authorization", "Bearer "+w.tokens["reader"])
	h.ServeHTTP(rec, r)
	archive, err := zip.NewReader(bytes.NewReader(rec.Body.Bytes()), int64(rec.Body.Len()))
	if err != nil || rec.Code != 200 || len(archive.File) != 1 || archive.File[0].Name != "a.txt" || rec.Header().Get("Content-Disposition") == "" {
		t.Errorf("download: %d %q %v %v", rec.Code, rec.Body, rec.Header(), err)
	}
}

// artifactSink publishes as an agent does.
type artifactSink struct {
	h                 http.Handler
	token, base, step string
	status            int // of the last answer
}

func (s *artifactSink) send(method, path, mediaType string, body io.Reader, out any) error {
	r := httptest.NewRequest(method, s.base+path, body)
	r.Header.Set("Content-Type", mediaType)
	r.Header.Set("Authorization", "Bearer "+s.token)
	rec := httptest.NewRecorder()
	s.h.ServeHTTP(rec, r)
	if s.status = rec.Code; rec.Code != 200 {
		return errors.New(rec.Body.String())
	}
	return json.Unmarshal(rec.Body.Bytes(), out)
}

func (s *artifactSink) Missing(_ context.Context, chunks []tree.Chunk) ([]bool, error) {
	var in struct{ Digests [][]byte }
	for i := range chunks {
		in.Digests = append(in.Digests, chunks[i].Digest[:])
	}
	data, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	var out struct{ Missing []int }
	missing := make([]bool, len(chunks))
	if err := s.send("POST", "/chunks/missing", "application/json", bytes.NewReader(data), &out); err != nil {
		return nil, err
	}
	for _, i := range out.Missing {
		missing[i] = true
	}
	return missing, nil
}

func (s *artifactSink) Send(_ context.Context, frames io.Reader, _ int64) error {
	return s.send("POST", "/chunks", "application/octet-stream", frames, &struct{}{})
}

func (s *artifactSink) Commit(_ context.Context, manifest []byte) error {
	return s.send("PUT", "/artifacts/package?step="+s.step, tree.MediaType, bytes.NewReader(manifest), &struct{}{})
}

// What is asked for with a body that is wrong is refused before anything is
// looked up.
func TestArtifactRequestsAreBounded(t *testing.T) {
	w := newWorld(t)
	h := New(w.Services)
	w.withRun(w.shop.ID, "1")
	artifacttest.Publish(t, w.Artifacts, artifact.Publication{ProjectID: w.shop.ID, RunID: "1", Name: "package"}, map[string]string{"a": "1", "b": "2"})
	const base = "/default/shop/_apis/penstock/runs/1"
	for _, k := range []struct {
		path, body, code string
	}{
		{"/chunks/missing", `{"digests":["AA=="]}`, "chunk-digest"},
		{"/chunks/missing", `{"digests":["!"]}`, "chunk-digest"},
		{"/artifacts/package/chunks", `{"ranges":[[0,3]]}`, "chunk-range"},
		{"/artifacts/package/chunks", `{"ranges":[[-1,1]]}`, "chunk-range"},
		{"/artifacts/package/chunks", `{"ranges":[[0,2],[0,2]]}`, "chunk-range"},
		{"/artifacts/package/chunks", `{"ranges":[[9223372036854775807,9223372036854775807]]}`, "chunk-range"},
		{"/artifacts/package/chunks", `{"ranges":[` + strings.Repeat("[0,1],", tree.MaxRanges) + `[0,1]]}`, "too-many"},
		{"/artifacts/none/chunks", `{"ranges":[[0,1]]}`, "artifact-not-found"},
	} {
		var p problem
		if status := w.call(h, "job", "POST", base+k.path, k.body, &p); status < 400 || p.Code != k.code {
			t.Errorf("%s %.60s: %d %s, want %s", k.path, k.body, status, p.Code, k.code)
		}
	}
	r := httptest.NewRequest("PUT", base+"/artifacts/zip", strings.NewReader("PK"))
	r.Header.Set("Content-Type", "application/zip")
	r.Header.Set("Authorization", "Bearer "+w.tokens["job"])
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	if rec.Code != 400 || !strings.Contains(rec.Body.String(), `"artifact-manifest"`) {
		t.Errorf("a zip is published: %d %s", rec.Code, rec.Body)
	}
}
