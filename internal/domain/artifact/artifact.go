// Package artifact holds what runs publish: trees of files that never change,
// known by name within a run and by the digest of their content. Their bytes
// are chunks, kept once for each project, in packs.
package artifact

import (
	"context"
	"io"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/artifact/tree"
)

// Format is how artifacts are kept today.
const Format = "tree/1"

// Artifact is one published tree.
type Artifact struct {
	store.Revision
	ID        string    `col:"id" json:"id"`
	RunID     string    `col:"run_id" json:"runId"`
	ProjectID string    `json:"projectId"`
	Key       string    `col:"key" json:"key"` // run id / name
	Name      string    `json:"name"`
	Format    string    `json:"format"` // Format; "" = a zip of the first version
	Digest    string    `json:"digest"` // of the manifest, sha256:…
	Size      int64     `json:"size"`   // of all files, in bytes
	Files     int       `json:"files"`  // and links
	JobID     string    `json:"jobId"`
	Step      string    `json:"step,omitempty"` // attempt of a step that may publish it again
	Created   time.Time `json:"created"`
}

// Use says where manifest and chunks of an artifact lie; its ID is that of the
// artifact.
type Use struct {
	store.Revision
	ID        string   `col:"id" json:"id"`
	ProjectID string   `col:"project_id" json:"projectId"`
	Packs     []string `json:"packs"`    // keys
	Manifest  string   `json:"manifest"` // key
}

// Blobs keeps bytes by key.
type Blobs interface {
	// Put stores what write writes under a key, whole or not at all. When it
	// returns, the bytes outlive the process and a loss of power. An error of
	// write is returned as it is.
	Put(ctx context.Context, key string, write func(io.Writer) error) error
	// Open returns what a key holds; fault.NotFound if there is nothing.
	Open(ctx context.Context, key string) (Blob, error)
	// List returns what lies below a prefix, a path of whole names, by key.
	List(ctx context.Context, prefix string) ([]BlobInfo, error)
	// Delete removes a key; deleting what is not there is no error.
	Delete(ctx context.Context, key string) error
}

// Blob is stored bytes. It stays readable when its key is deleted meanwhile.
type Blob interface {
	io.ReaderAt
	io.Closer
	Size() (int64, error)
}

// BlobInfo is a stored key.
type BlobInfo struct {
	Key    string
	Size   int64
	Stored time.Time
}

// Service holds the use cases of artifacts. One process owns the blobs: what it
// knows of the packs is in its memory.
type Service struct {
	Artifacts store.Table[Artifact]
	Uses      store.Table[Use]
	Tx        store.Runner
	Blobs     Blobs
	Clock     store.Clock

	packs packs
}

// Publication says who publishes what.
type Publication struct {
	ProjectID, RunID, JobID, Name string
	// Step is the attempt of a step; it may say the same again. "" = nobody may.
	Step string
}

// Publish makes a tree an artifact of a run, once all its chunks are there. A
// name is published once; only the attempt of a step that did so may repeat it
// with the same content. The error chunks-missing asks for chunks.
func (s *Service) Publish(ctx context.Context, p Publication, manifest []byte) (*Artifact, error) {
	if p.Name == "" || len(p.Name) > 255 {
		return nil, fault.New(fault.Invalid, "invalid-name", "artifact name %q is not usable", p.Name)
	}
	t, err := tree.Decode(manifest)
	if err != nil {
		return nil, err
	}
	a := &Artifact{ID: id.New(), RunID: p.RunID, ProjectID: p.ProjectID, Key: p.RunID + "/" + p.Name, Name: p.Name, Format: Format,
		Digest: tree.DigestOf(manifest).String(), JobID: p.JobID, Step: p.Step, Created: s.Clock.Now()}
	a.Files, a.Size = t.Totals()
	if old, err := s.published(ctx, a); old != nil || err != nil {
		return old, err
	}
	return s.commit(ctx, a, t, manifest)
}

func (s *Service) commit(ctx context.Context, a *Artifact, t *tree.Tree, manifest []byte) (*Artifact, error) {
	// Nothing is collected between here and the record of what is in use.
	s.packs.using.RLock()
	defer s.packs.using.RUnlock()
	used, err := s.resolve(ctx, a.ProjectID, t.Distinct())
	if err != nil {
		return nil, err
	}
	err = s.Blobs.Put(ctx, manifestKey(a.ProjectID, a.Digest), func(w io.Writer) error {
		_, err := w.Write(manifest)
		return err
	})
	if err != nil {
		return nil, err
	}
	err = s.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := s.Artifacts.Insert(ctx, a); err != nil {
			return err
		}
		return s.Uses.Insert(ctx, &Use{ID: a.ID, ProjectID: a.ProjectID, Packs: used, Manifest: manifestKey(a.ProjectID, a.Digest)})
	})
	if fault.Is(err, fault.Conflict) {
		if old, err := s.published(ctx, a); old != nil || err != nil {
			return old, err
		}
	}
	return a, err
}

// published returns an artifact that the same step has published before; another
// one under the name is a conflict.
func (s *Service) published(ctx context.Context, a *Artifact) (*Artifact, error) {
	old, err := store.First(ctx, s.Artifacts, store.Where("key", a.Key))
	if old == nil || err != nil {
		return nil, err
	}
	if a.Step != "" && old.Step == a.Step && old.JobID == a.JobID && old.Digest == a.Digest {
		return old, nil
	}
	return nil, fault.New(fault.Conflict, "artifact-exists", "Artifact %s already exists for build %s.", a.Name, a.RunID).
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

func manifestKey(project, digest string) string {
	return "artifacts/" + project + "/trees/" + strings.TrimPrefix(digest, "sha256:")
}

// Manifest returns the list of an artifact's files, checked against its digest.
func (s *Service) Manifest(ctx context.Context, a *Artifact) ([]byte, error) {
	if a.Format != Format {
		return nil, fault.New(fault.Unavailable, "artifact-format", "artifact %s was kept in a way that this version cannot read", a.Name).
			Want("%s", Format).Got("%q", a.Format).Try("run the pipeline again")
	}
	b, err := s.Blobs.Open(ctx, manifestKey(a.ProjectID, a.Digest))
	if err != nil {
		return nil, err
	}
	defer func() { _ = b.Close() }()
	size, err := b.Size()
	if err != nil {
		return nil, err
	}
	if size > tree.MaxManifest {
		return nil, corrupt(a)
	}
	manifest := make([]byte, size)
	if _, err := io.ReadFull(io.NewSectionReader(b, 0, size), manifest); err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "blob-store", "the artifact store cannot be read").Try("look at the disk, then try again")
	}
	if tree.DigestOf(manifest).String() != a.Digest {
		return nil, corrupt(a)
	}
	return manifest, nil
}

func corrupt(a *Artifact) error {
	return fault.New(fault.Unavailable, "artifact-corrupt", "the stored artifact %s does not match its digest", a.Name).Want("%s", a.Digest).
		Try("restore it from a backup, or run the pipeline again")
}

func (s *Service) tree(ctx context.Context, a *Artifact) (*tree.Tree, error) {
	manifest, err := s.Manifest(ctx, a)
	if err != nil {
		return nil, err
	}
	return tree.Decode(manifest)
}
