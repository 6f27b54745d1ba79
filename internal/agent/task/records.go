package task

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"penstock.dev/penstock/internal/base/rest"
	"penstock.dev/penstock/internal/domain/testresult"
)

// Artifact is what a run has published.
type Artifact struct{ Name, Digest string }

// Records keeps what a job leaves for others.
type Records interface {
	// Artifacts lists those of a run.
	Artifacts(ctx context.Context, run string) ([]Artifact, error)
	// Publish keeps a zip archive of so many files and returns its digest.
	Publish(ctx context.Context, run, name string, files int, content io.ReadSeeker, size int64) (string, error)
	// Open returns the archive.
	Open(ctx context.Context, run, name string) (io.ReadCloser, error)
	// Tests keeps results of tests.
	Tests(ctx context.Context, run string, t *testresult.TestRun) error
}

// Remote is Records of the server.
type Remote struct{ Client *rest.Client }

func (r *Remote) path(run, rest string) string {
	return "/_apis/penstock/runs/" + url.PathEscape(run) + rest
}

// Artifacts implements Records.
func (r *Remote) Artifacts(ctx context.Context, run string) ([]Artifact, error) {
	var list struct{ Value []Artifact }
	err := r.Client.JSON(ctx, http.MethodGet, r.path(run, "/artifacts"), nil, &list)
	return list.Value, err
}

// Publish implements Records.
func (r *Remote) Publish(ctx context.Context, run, name string, files int, content io.ReadSeeker, size int64) (string, error) {
	var a Artifact
	err := r.Client.Upload(ctx, r.path(run, fmt.Sprintf("/artifacts/%s?files=%d", url.PathEscape(name), files)), "application/zip", content, size, &a)
	return a.Digest, err
}

// Open implements Records.
func (r *Remote) Open(ctx context.Context, run, name string) (io.ReadCloser, error) {
	return r.Client.Download(ctx, r.path(run, "/artifacts/"+url.PathEscape(name)+"/content"))
}

// Tests implements Records.
func (r *Remote) Tests(ctx context.Context, run string, t *testresult.TestRun) error {
	return r.Client.JSON(ctx, http.MethodPost, r.path(run, "/tests"), t, nil)
}
