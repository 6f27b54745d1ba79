// Package artifact holds what runs publish: immutable archives, known by name
// within a run and by the digest of their content.
package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/base/store"
)

// Artifact is one published archive (zip).
type Artifact struct {
	store.Revision
	ID      string    `col:"id" json:"id"`
	RunID   string    `col:"run_id" json:"runId"`
	Key     string    `col:"key" json:"key"` // run id / name
	Name    string    `json:"name"`
	Digest  string    `json:"digest"` // sha256:…
	Size    int64     `json:"size"`
	Files   int       `json:"files"`
	JobID   string    `json:"jobId"`
	Created time.Time `json:"created"`
}

// Blobs keeps bytes by digest.
type Blobs interface {
	// Put stores the stream under a temporary name, then calls name with its
	// SHA-256 (hex) and length to learn the key; content that is there is kept.
	Put(ctx context.Context, r io.Reader, name func(sha256 string, size int64) string) error
	Open(ctx context.Context, key string) (io.ReadCloser, int64, error)
}

// Service holds the use cases of artifacts.
type Service struct {
	Artifacts store.Table[Artifact]
	Blobs     Blobs
	Clock     store.Clock
}

// BlobKey is where content of a digest lies.
func BlobKey(digest string) string { return "artifacts/" + digest }

// Publish stores an archive under a name of a run. A name is published once;
// the same content again is no error.
func (s *Service) Publish(ctx context.Context, runID, jobID, name string, files int, r io.Reader) (*Artifact, error) {
	if name == "" || len(name) > 255 {
		return nil, fault.New(fault.Invalid, "invalid-name", "artifact name %q is not usable", name)
	}
	a := &Artifact{ID: id.New(), RunID: runID, Key: runID + "/" + name, Name: name, Files: files, JobID: jobID, Created: s.Clock.Now()}
	err := s.Blobs.Put(ctx, r, func(sum string, size int64) string {
		a.Digest, a.Size = "sha256:"+sum, size
		return BlobKey(a.Digest)
	})
	if err != nil {
		return nil, err
	}
	err = s.Artifacts.Insert(ctx, a)
	if !fault.Is(err, fault.Conflict) {
		return a, err
	}
	old, err := store.First(ctx, s.Artifacts, store.Where("key", a.Key))
	if err != nil {
		return nil, err
	}
	if old != nil && old.Digest == a.Digest {
		return old, nil
	}
	return nil, fault.New(fault.Conflict, "artifact-exists", "artifact %s already exists in this run", name).
		Try("publish under another name: a published artifact never changes")
}

// Of lists the artifacts of a run.
func (s *Service) Of(ctx context.Context, runID string) ([]*Artifact, error) {
	return s.Artifacts.Find(ctx, store.Where("run_id", runID).By("id"))
}

// Find returns an artifact of a run by name.
func (s *Service) Find(ctx context.Context, runID, name string) (*Artifact, error) {
	a, err := store.First(ctx, s.Artifacts, store.Where("key", runID+"/"+name))
	if err == nil && a == nil {
		err = fault.New(fault.NotFound, "artifact-not-found", "run %s has no artifact %s", runID, name)
	}
	return a, err
}

// Open returns the content, checked against its digest as it is read: a read
// error instead of the last bytes means that what is stored was altered.
func (s *Service) Open(ctx context.Context, a *Artifact) (io.ReadCloser, error) {
	r, _, err := s.Blobs.Open(ctx, BlobKey(a.Digest))
	if err != nil {
		return nil, err
	}
	return &verified{ReadCloser: r, sum: sha256.New(), want: a.Digest}, nil
}

type verified struct {
	io.ReadCloser
	sum interface {
		io.Writer
		Sum([]byte) []byte
	}
	want string
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.ReadCloser.Read(p)
	_, _ = v.sum.Write(p[:n])
	if err == io.EOF && "sha256:"+hex.EncodeToString(v.sum.Sum(nil)) != v.want {
		return n, fault.New(fault.Unavailable, "artifact-corrupt", "the stored artifact does not match its digest").Want("%s", v.want).
			Try("restore it from a backup, or run the pipeline again")
	}
	return n, err
}
