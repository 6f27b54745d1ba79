// Package attachment holds the files that steps leave with their run: summaries
// for people, files that belong to the log, and what tools keep under types of
// their own.
package attachment

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"penstock.dev/penstock/internal/domain/artifact"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/base/store"
)

// The types that have a meaning here. Types are compared without case.
const (
	Summary = "DistributedTask.Core.Summary"        // Markdown, shown on the run's page
	File    = "DistributedTask.Core.FileAttachment" // part of the run's logs
)

// Bounds of what a run keeps.
const (
	MaxSize    = 100 << 20 // bytes of one attachment
	MaxSummary = 256 << 10 // bytes of one summary
	MaxPerJob  = 200       // attachments of one job
	maxName    = 255       // bytes of a name, and of a type
)

// Attachment is one file of a step. Its content lies with the blobs.
type Attachment struct {
	store.Revision
	ID      string    `col:"id" json:"id"`
	RunID   string    `col:"run_id" json:"runId"`
	Key     string    `col:"key" json:"key"` // job / step / type / name
	JobID   string    `json:"jobId"`
	Step    int       `json:"step"` // its order in the job, from 1
	Type    string    `json:"type"`
	Name    string    `json:"name"`
	Blob    string    `json:"blob"`   // where its content lies
	Digest  string    `json:"digest"` // sha256:…
	Size    int64     `json:"size"`   // bytes
	Created time.Time `json:"created"`
}

// Is says whether the attachment is of a type.
func (a *Attachment) Is(kind string) bool { return strings.EqualFold(a.Type, kind) }

// Record is the id of the step's record in the timeline.
func (a *Attachment) Record() string { return Record(a.JobID, a.Step) }

// Record is the id of a step's record in the timeline.
func Record(jobID string, step int) string { return id.From("step", jobID, fmt.Sprint(step)) }

// Blobs keeps bytes under keys; see artifact.Blobs.
type Blobs interface {
	Put(ctx context.Context, key string, write func(w io.Writer) error) error
	Open(ctx context.Context, key string) (artifact.Blob, error)
	Delete(ctx context.Context, key string) error
}

// Service holds the use cases of attachments.
type Service struct {
	Attachments store.Table[Attachment]
	Blobs       Blobs
	Tx          store.Runner
	Clock       store.Clock
}

// CheckName refuses types and names that could not be files of a folder.
func CheckName(name string) error {
	if strings.TrimSpace(name) == "" || name == "." || name == ".." || len(name) > maxName || !utf8.ValidString(name) ||
		strings.ContainsAny(name, `"<>|:*?\/`) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fault.New(fault.Invalid, "attachment-name", "type and name of an attachment must be usable as file names").Got("%q", name).
			Want("at most %d bytes, no control characters and none of \" < > | : * ? \\ /", maxName)
	}
	return nil
}

// Put keeps a file. What a step kept before under the same type and name is
// replaced.
func (s *Service) Put(ctx context.Context, a *Attachment, r io.Reader) error {
	for _, name := range []string{a.Type, a.Name} {
		if err := CheckName(name); err != nil {
			return err
		}
	}
	if a.RunID == "" || a.JobID == "" || a.Step < 1 {
		return fault.New(fault.Invalid, "attachment-step", "an attachment belongs to a step of a job").Got("job %q, step %d", a.JobID, a.Step)
	}
	if err := s.room(ctx, a); err != nil {
		return err
	}
	limited := &bounded{r: r, left: MaxSize}
	if a.Is(Summary) {
		a.Type, limited.left = Summary, MaxSummary
	}
	if a.Is(File) {
		a.Type = File
	}
	a.Blob = "attachments/" + id.New()
	err := s.Blobs.Put(ctx, a.Blob, func(w io.Writer) (err error) {
		sum := sha256.New()
		a.Size, err = io.Copy(io.MultiWriter(w, sum), limited)
		a.Digest = "sha256:" + hex.EncodeToString(sum.Sum(nil))
		return err
	})
	if limited.over {
		return tooLarge(a)
	}
	if err != nil {
		return err
	}
	return s.save(ctx, a)
}

func tooLarge(a *Attachment) error {
	limit := MaxSize
	if a.Is(Summary) {
		limit = MaxSummary
	}
	return fault.New(fault.Invalid, "attachment-too-large", "attachment %s is too large", a.Name).Want("at most %d bytes", limit).Try("publish it as an artifact")
}

func (a *Attachment) key() string {
	return strings.ToLower(fmt.Sprintf("%s/%d/%s/%s", a.JobID, a.Step, a.Type, a.Name))
}

// room refuses one attachment too many, before its bytes are stored.
func (s *Service) room(ctx context.Context, a *Attachment) error {
	all, err := s.Of(ctx, a.RunID)
	if err != nil {
		return err
	}
	n, key := 0, a.key()
	for _, other := range all {
		if other.JobID == a.JobID && other.Key != key {
			n++
		}
	}
	if n >= MaxPerJob {
		return fault.New(fault.Invalid, "too-many-attachments", "a job keeps at most %d attachments", MaxPerJob).Got("one more: %s", a.Name).
			Try("publish many files as one artifact")
	}
	return nil
}

func (s *Service) save(ctx context.Context, a *Attachment) error {
	a.Key, a.Created = a.key(), s.Clock.Now()
	replaced := ""
	err := s.Tx.InTx(ctx, func(ctx context.Context) error {
		old, err := store.First(ctx, s.Attachments, store.Where("key", a.Key))
		if err != nil {
			return err
		}
		if old == nil {
			a.ID = id.New()
			return s.Attachments.Insert(ctx, a)
		}
		replaced, a.ID = old.Blob, old.ID
		a.SetRev(old.Rev())
		return s.Attachments.Save(ctx, a)
	})
	if err == nil && replaced != "" {
		_ = s.Blobs.Delete(ctx, replaced) // nothing names it any more
	}
	return err
}

// Of lists the attachments of a run, the oldest first.
func (s *Service) Of(ctx context.Context, runID string) ([]*Attachment, error) {
	return s.Attachments.Find(ctx, store.Where("run_id", runID).By("id"))
}

// OfType lists the attachments of a run that are of a type.
func (s *Service) OfType(ctx context.Context, runID, kind string) ([]*Attachment, error) {
	all, err := s.Of(ctx, runID)
	return slices.DeleteFunc(all, func(a *Attachment) bool { return !a.Is(kind) }), err
}

// Find returns one attachment of a run; record is the step's in the timeline.
func (s *Service) Find(ctx context.Context, runID, record, kind, name string) (*Attachment, error) {
	all, err := s.OfType(ctx, runID, kind)
	if err != nil {
		return nil, err
	}
	for _, a := range all {
		if strings.EqualFold(a.Name, name) && strings.EqualFold(a.Record(), record) {
			return a, nil
		}
	}
	return nil, fault.New(fault.NotFound, "attachment-not-found", "run %s has no attachment %s of type %s there", runID, name, kind)
}

// Get returns an attachment of a run by its id.
func (s *Service) Get(ctx context.Context, runID, id string) (*Attachment, error) {
	a, err := s.Attachments.Get(ctx, id)
	if fault.Is(err, fault.NotFound) || err == nil && a.RunID != runID {
		return nil, fault.New(fault.NotFound, "attachment-not-found", "run %s has no attachment %s", runID, id)
	}
	return a, err
}

// Open returns the content, checked against its digest as it is read.
func (s *Service) Open(ctx context.Context, a *Attachment) (io.ReadCloser, error) {
	b, err := s.Blobs.Open(ctx, a.Blob)
	if err != nil {
		return nil, err
	}
	return &content{Reader: io.NewSectionReader(b, 0, a.Size), blob: b, sum: sha256.New(), want: a.Digest}, nil
}

// content is what is stored, while it is read.
type content struct {
	io.Reader
	blob io.Closer
	sum  hash.Hash
	want string
}

// Read ends in an error, instead of the last bytes, where what is stored was
// altered.
func (c *content) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	_, _ = c.sum.Write(p[:n])
	if err == io.EOF && "sha256:"+hex.EncodeToString(c.sum.Sum(nil)) != c.want {
		return n, fault.New(fault.Unavailable, "attachment-corrupt", "the stored attachment does not match its digest").Want("%s", c.want).
			Try("restore it from a backup, or run the pipeline again")
	}
	return n, err
}

// Close ends the reading.
func (c *content) Close() error { return c.blob.Close() }

// Text reads a summary.
func (s *Service) Text(ctx context.Context, a *Attachment) (string, error) {
	r, err := s.Open(ctx, a)
	if err != nil {
		return "", err
	}
	defer func() { _ = r.Close() }()
	data, err := io.ReadAll(io.LimitReader(r, MaxSummary))
	return strings.ToValidUTF8(string(data), "\uFFFD"), err
}

// bounded ends a stream that is longer than it may be with an error, and
// remembers that: stores wrap what they are told.
type bounded struct {
	r    io.Reader
	left int64
	over bool
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		b.over = true
		return 0, fault.New(fault.Invalid, "attachment-too-large", "the attachment is too large")
	}
	return n, err
}
