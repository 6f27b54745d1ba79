package task

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rest"
	"penstock.dev/penstock/internal/domain/artifact/tree"
	"penstock.dev/penstock/internal/domain/testresult"
)

// Artifact is what a run has published.
type Artifact struct{ Name, Digest string }

// Records keeps what a job leaves for others.
type Records interface {
	// Artifacts lists those of a run.
	Artifacts(ctx context.Context, run string) ([]Artifact, error)
	// Sink takes an artifact of a run. The attempt of a step may publish the same
	// twice.
	Sink(run, name, step string) tree.Sink
	// Source gives an artifact of a run.
	Source(run, name string) tree.Source
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

// Sink implements Records.
func (r *Remote) Sink(run, name, step string) tree.Sink {
	return &remoteSink{r.Client, r.path(run, ""), url.PathEscape(name) + "?step=" + url.QueryEscape(step)}
}

type remoteSink struct {
	client *rest.Client
	run    string
	name   string // with the query
}

// Missing implements tree.Sink.
func (s *remoteSink) Missing(ctx context.Context, chunks []tree.Chunk) ([]bool, error) {
	var in struct {
		Digests [][]byte `json:"digests"`
	}
	var out struct{ Missing []int }
	for i := range chunks {
		in.Digests = append(in.Digests, chunks[i].Digest[:])
	}
	if err := s.client.JSON(ctx, http.MethodPost, s.run+"/chunks/missing", in, &out); err != nil {
		return nil, err
	}
	missing := make([]bool, len(chunks))
	for _, i := range out.Missing {
		if i < 0 || i >= len(missing) {
			return nil, fault.New(fault.Internal, "server-answer", "the server asks for a chunk that it was not told of").Got("%d of %d", i, len(missing))
		}
		missing[i] = true
	}
	return missing, nil
}

// Send implements tree.Sink.
func (s *remoteSink) Send(ctx context.Context, frames io.Reader, size int64) error {
	body, err := s.client.Stream(ctx, http.MethodPost, s.run+"/chunks", "application/octet-stream", frames, size)
	if err != nil {
		return err
	}
	return body.Close()
}

// Commit implements tree.Sink.
func (s *remoteSink) Commit(ctx context.Context, manifest []byte) error {
	var a Artifact
	return s.client.Upload(ctx, s.run+"/artifacts/"+s.name, tree.MediaType, bytes.NewReader(manifest), int64(len(manifest)), &a)
}

// Source implements Records.
func (r *Remote) Source(run, name string) tree.Source {
	return &remoteSource{r.Client, r.path(run, "/artifacts/"+url.PathEscape(name))}
}

type remoteSource struct {
	client *rest.Client
	path   string
}

// Manifest implements tree.Source.
func (s *remoteSource) Manifest(ctx context.Context) ([]byte, error) {
	body, err := s.client.Download(ctx, s.path+"/manifest")
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	manifest, err := io.ReadAll(io.LimitReader(body, tree.MaxManifest+1))
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "download-broken", "the download broke off").Try("try again")
	}
	return manifest, nil
}

// Chunks implements tree.Source.
func (s *remoteSource) Chunks(ctx context.Context, ranges []tree.Range) (io.ReadCloser, error) {
	var in struct {
		Ranges [][2]int `json:"ranges"`
	}
	for _, r := range ranges {
		in.Ranges = append(in.Ranges, [2]int{r.From, r.Count})
	}
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	return s.client.Stream(ctx, http.MethodPost, s.path+"/chunks", "application/json", bytes.NewReader(body), int64(len(body)))
}

// Tests implements Records.
func (r *Remote) Tests(ctx context.Context, run string, t *testresult.TestRun) error {
	return r.Client.JSON(ctx, http.MethodPost, r.path(run, "/tests"), t, nil)
}
