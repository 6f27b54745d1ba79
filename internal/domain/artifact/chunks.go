package artifact

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/domain/artifact/tree"
)

// packs is what the process knows of the packs of each project. Chunks are
// shared within a project and never across: whoever knows a digest only must
// not get, or learn of, what another project has.
type packs struct {
	using sync.RWMutex // held while an artifact begins to use packs; by Collect alone

	mu       sync.Mutex
	projects map[string]*shelf
}

// shelf is the chunks of one project, read when first asked for.
type shelf struct {
	mu     sync.Mutex
	loaded bool
	packs  []string // keys
	where  map[tree.Digest]spot
}

// spot is where a chunk lies.
type spot struct {
	pack   uint32 // index in packs
	offset uint32
	size   uint32
}

func packsPrefix(project string) string { return "artifacts/" + project + "/packs" }

// shelf returns the chunks of a project.
func (s *Service) shelf(ctx context.Context, project string) (*shelf, error) {
	if project == "" || strings.ContainsAny(project, "/\\.") {
		return nil, fault.New(fault.Invalid, "invalid-name", "%q is no project", project)
	}
	s.packs.mu.Lock()
	if s.packs.projects == nil {
		s.packs.projects = map[string]*shelf{}
	}
	sh := s.packs.projects[project]
	if sh == nil {
		sh = &shelf{where: map[tree.Digest]spot{}}
		s.packs.projects[project] = sh
	}
	s.packs.mu.Unlock()
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.loaded {
		return sh, nil
	}
	list, err := s.Blobs.List(ctx, packsPrefix(project))
	if err != nil {
		return nil, err
	}
	sh.packs, sh.where = nil, map[tree.Digest]spot{}
	for _, b := range list {
		if err := s.load(ctx, sh, b.Key); err != nil {
			return nil, err
		}
	}
	sh.loaded = true
	return sh, nil
}

// load adds a stored pack; a torn one is passed over.
func (s *Service) load(ctx context.Context, sh *shelf, key string) error {
	b, err := s.Blobs.Open(ctx, key)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	size, err := b.Size()
	if err != nil {
		return err
	}
	chunks, err := readIndex(b, size)
	if fault.CodeOf(err) == "artifact-corrupt" {
		return nil
	}
	if err == nil {
		sh.add(key, chunks)
	}
	return err
}

// add is called with sh.mu held.
func (sh *shelf) add(key string, chunks []tree.Chunk) {
	sh.packs = append(sh.packs, key)
	at := uint32(0)
	for _, c := range chunks {
		if _, known := sh.where[c.Digest]; !known {
			sh.where[c.Digest] = spot{uint32(len(sh.packs) - 1), at, uint32(c.Size)}
		}
		at += uint32(c.Size)
	}
}

func (sh *shelf) has(d tree.Digest) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	_, ok := sh.where[d]
	return ok
}

// Missing says of each chunk whether the project lacks it.
func (s *Service) Missing(ctx context.Context, project string, chunks []tree.Digest) ([]bool, error) {
	sh, err := s.shelf(ctx, project)
	if err != nil {
		return nil, err
	}
	missing := make([]bool, len(chunks))
	for i, d := range chunks {
		missing[i] = !sh.has(d)
	}
	return missing, nil
}

// Receive keeps the chunks of a delivery for a project, each checked against
// its digest. Of one that breaks off, what arrived whole is kept.
func (s *Service) Receive(ctx context.Context, project string, delivery io.Reader) error {
	sh, err := s.shelf(ctx, project)
	if err != nil {
		return err
	}
	w, key := &packWriter{}, packsPrefix(project)+"/"+id.New()
	// The sender may be gone; what it sent is worth keeping.
	err = s.Blobs.Put(context.WithoutCancel(ctx), key, func(out io.Writer) error { return w.stream(out, delivery, sh.has) })
	if errors.Is(err, errNothing) {
		return w.failed
	}
	if err != nil {
		return err
	}
	sh.mu.Lock()
	sh.add(key, w.chunks)
	sh.mu.Unlock()
	return w.failed
}

// resolve returns the packs that hold the chunks.
func (s *Service) resolve(ctx context.Context, project string, chunks []tree.Chunk) ([]string, error) {
	sh, err := s.shelf(ctx, project)
	if err != nil {
		return nil, err
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	used, missing := map[string]bool{}, 0
	for _, c := range chunks {
		at, ok := sh.where[c.Digest]
		switch {
		case !ok:
			missing++
		case int(at.size) != c.Size:
			return nil, fault.New(fault.Invalid, "artifact-manifest", "the list of an artifact's files gives a chunk a size that it does not have").
				Want("%d", at.size).Got("%d", c.Size)
		default:
			used[sh.packs[at.pack]] = true
		}
	}
	if missing > 0 {
		return nil, fault.New(fault.Conflict, "chunks-missing", "%d chunks of the artifact are not there", missing).Try("ask which, and send them")
	}
	return slices.Sorted(maps.Keys(used)), nil
}

// extent is a run of bytes in one pack.
type extent struct {
	key          string
	offset, size int64
}

// extents finds chunks; those that follow each other in a pack are one extent.
func (s *Service) extents(ctx context.Context, project string, chunks []tree.Chunk) ([]extent, error) {
	sh, err := s.shelf(ctx, project)
	if err != nil {
		return nil, err
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	var list []extent
	for _, c := range chunks {
		at, ok := sh.where[c.Digest]
		if !ok || int(at.size) != c.Size {
			return nil, fault.New(fault.Unavailable, "artifact-corrupt", "a part of the artifact is not stored (any more)").At("chunk %s", c.Digest).
				Try("restore it from a backup, or run the pipeline again")
		}
		key, offset := sh.packs[at.pack], int64(at.offset)
		if n := len(list); n > 0 && list[n-1].key == key && list[n-1].offset+list[n-1].size == offset {
			list[n-1].size += int64(c.Size)
			continue
		}
		list = append(list, extent{key, offset, int64(c.Size)})
	}
	return list, nil
}

// Chunks is a stream of chunks of an artifact, Size bytes long. They are not
// checked: who reads them knows their digests.
type Chunks struct {
	Size  int64
	blobs Blobs
	list  []extent
}

// Chunks prepares to send some chunks of an artifact.
func (s *Service) Chunks(ctx context.Context, a *Artifact, ranges []tree.Range) (*Chunks, error) {
	t, err := s.tree(ctx, a)
	if err != nil {
		return nil, err
	}
	all := t.Distinct()
	var chunks []tree.Chunk
	for _, r := range ranges {
		if r.From < 0 || r.Count < 1 || r.From > len(all) || r.Count > len(all)-r.From || len(chunks)+r.Count > len(all) {
			return nil, fault.New(fault.Invalid, "chunk-range", "the artifact has no such chunks").Want("ranges within %d chunks, each once", len(all)).
				Got("%d from %d", r.Count, r.From)
		}
		chunks = append(chunks, all[r.From:r.From+r.Count]...)
	}
	c := &Chunks{blobs: s.Blobs}
	if c.list, err = s.extents(ctx, a.ProjectID, chunks); err != nil {
		return nil, err
	}
	for _, e := range c.list {
		c.Size += e.size
	}
	return c, nil
}

// Copy writes the stream.
func (c *Chunks) Copy(ctx context.Context, w io.Writer) error {
	buf := make([]byte, 256<<10)
	var open Blob
	key := ""
	defer func() {
		if open != nil {
			_ = open.Close()
		}
	}()
	for _, e := range c.list {
		if e.key != key {
			if open != nil {
				_ = open.Close()
			}
			var err error
			if open, err = c.blobs.Open(ctx, e.key); err != nil {
				open = nil
				return err
			}
			key = e.key
		}
		n, err := io.CopyBuffer(struct{ io.Writer }{w}, io.NewSectionReader(open, e.offset, e.size), buf)
		if err == nil && n != e.size {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Zip writes an artifact as an archive. Every chunk is checked before it is
// written; an error in the middle means that the archive is not whole.
func (s *Service) Zip(ctx context.Context, a *Artifact, w io.Writer) error {
	t, err := s.tree(ctx, a)
	if err != nil {
		return err
	}
	r := &chunkReader{s: s, a: a}
	defer r.close()
	return t.Zip(w, func(w io.Writer, c tree.Chunk) error {
		data, err := r.read(ctx, c)
		if err == nil {
			_, err = w.Write(data)
		}
		return err
	})
}

// chunkReader reads chunks one by one; the pack of the last one stays open.
type chunkReader struct {
	s    *Service
	a    *Artifact
	key  string
	open Blob
	buf  []byte
}

func (r *chunkReader) close() {
	if r.open != nil {
		_ = r.open.Close()
	}
	r.open = nil
}

func (r *chunkReader) read(ctx context.Context, c tree.Chunk) ([]byte, error) {
	at, err := r.s.extents(ctx, r.a.ProjectID, []tree.Chunk{c})
	if err != nil {
		return nil, err
	}
	if at[0].key != r.key || r.open == nil {
		r.close()
		if r.open, err = r.s.Blobs.Open(ctx, at[0].key); err != nil {
			r.open = nil
			return nil, err
		}
		r.key = at[0].key
	}
	if cap(r.buf) < c.Size {
		r.buf = make([]byte, tree.MaxChunkSize)
	}
	data := r.buf[:c.Size]
	if _, err := r.open.ReadAt(data, at[0].offset); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if sha256.Sum256(data) != c.Digest {
		return nil, corrupt(r.a)
	}
	return data, nil
}

// Source reads an artifact within the process.
func (s *Service) Source(a *Artifact) tree.Source { return source{s, a} }

type source struct {
	s *Service
	a *Artifact
}

// Manifest implements tree.Source.
func (r source) Manifest(ctx context.Context) ([]byte, error) { return r.s.Manifest(ctx, r.a) }

// Chunks implements tree.Source.
func (r source) Chunks(ctx context.Context, ranges []tree.Range) (io.ReadCloser, error) {
	c, err := r.s.Chunks(ctx, r.a, ranges)
	if err != nil {
		return nil, err
	}
	out, in := io.Pipe()
	go func() { _ = in.CloseWithError(c.Copy(ctx, in)) }()
	return out, nil
}

// Sink publishes an artifact from within the process.
func (s *Service) Sink(p Publication) tree.Sink { return sink{s, p} }

type sink struct {
	s *Service
	p Publication
}

// Missing implements tree.Sink.
func (k sink) Missing(ctx context.Context, chunks []tree.Chunk) ([]bool, error) {
	digests := make([]tree.Digest, len(chunks))
	for i, c := range chunks {
		digests[i] = c.Digest
	}
	return k.s.Missing(ctx, k.p.ProjectID, digests)
}

// Send implements tree.Sink.
func (k sink) Send(ctx context.Context, frames io.Reader, _ int64) error {
	return k.s.Receive(ctx, k.p.ProjectID, frames)
}

// Commit implements tree.Sink.
func (k sink) Commit(ctx context.Context, manifest []byte) error {
	_, err := k.s.Publish(ctx, k.p, manifest)
	return err
}
