package tree

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rootfs"
)

// Range is some chunks of Distinct, from the first of them on.
type Range struct{ From, Count int }

// MaxRanges is how many ranges one request may ask for.
const MaxRanges = 4096

// Source gives the content of one artifact.
type Source interface {
	Manifest(ctx context.Context) ([]byte, error)
	// Chunks streams the bytes of chunks of Distinct, one after the other.
	Chunks(ctx context.Context, ranges []Range) (io.ReadCloser, error)
}

// Request says what of an artifact goes where.
type Request struct {
	Digest string                 // of the artifact, sha256:HEX; "" = not known
	Folder string                 // made if missing
	Keep   func(path string) bool // which files and links; nil = all, and empty folders
	Limits rootfs.Limits
}

// Fetch writes an artifact, or what is wanted of it, below a folder, and returns
// the number of entries. Every chunk is checked against its digest before it is
// written. After a broken connection only what is still missing is asked for.
func (x Transfer) Fetch(ctx context.Context, q Request, from Source) (int, error) {
	manifest, err := from.Manifest(ctx)
	if err != nil {
		return 0, err
	}
	if d := DigestOf(manifest); q.Digest != "" && d.String() != q.Digest {
		return 0, corrupt("its list of files").Want("%s", q.Digest).Got("%s", d)
	}
	t, err := Decode(manifest)
	if err != nil {
		return 0, err
	}
	f, n, err := prepare(t, q)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.root.Close() }()
	if err := f.folders(); err != nil {
		return 0, err
	}
	if err := f.begin(); err != nil {
		return 0, err
	}
	if err := f.transfer(ctx, x, from); err != nil {
		return 0, err
	}
	return n, f.end()
}

func corrupt(what string) *fault.Error {
	return fault.New(fault.Unavailable, "artifact-corrupt", "%s of the artifact does not match its digest", what).
		Try("restore it from a backup, or run the pipeline again")
}

// place is where a chunk goes.
type place struct {
	entry  *Entry
	offset int64
}

// fetching is one Fetch under way.
type fetching struct {
	root    *os.Root
	entries []*Entry // that are wanted, with the folders around them
	chunks  []Chunk  // Distinct
	places  map[Digest][]place

	mu      sync.Mutex
	missing []bool // by chunk
	left    int
	damaged map[int]int // chunks that arrived altered
}

func prepare(t *Tree, q Request) (*fetching, int, error) {
	f := &fetching{chunks: t.Distinct(), places: map[Digest][]place{}, damaged: map[int]int{}}
	n, size := f.choose(t, q.Keep)
	if len(f.entries) > q.Limits.Files || size > q.Limits.Bytes {
		return nil, 0, fault.New(fault.Invalid, "archive-too-large", "the artifact holds %d entries, %d bytes", len(f.entries), size).
			Want("at most %d entries, %d bytes", q.Limits.Files, q.Limits.Bytes)
	}
	for _, e := range f.entries {
		at := int64(0)
		for _, c := range e.Chunks {
			f.places[c.Digest] = append(f.places[c.Digest], place{e, at})
			at += int64(c.Size)
		}
	}
	f.missing = make([]bool, len(f.chunks))
	for i, c := range f.chunks {
		if f.places[c.Digest] != nil {
			f.missing[i] = true
			f.left++
		}
	}
	if err := os.MkdirAll(q.Folder, 0o755); err != nil {
		return nil, 0, err
	}
	root, err := os.OpenRoot(q.Folder)
	f.root = root
	return f, n, err
}

// choose finds the wanted entries. Folders are wanted when all is, or when
// something in them is; then they do not count.
func (f *fetching) choose(t *Tree, keep func(string) bool) (n int, size int64) {
	around := map[string]bool{}
	if keep != nil {
		for i := range t.Entries {
			e := &t.Entries[i]
			if e.Kind == Folder || !keep(e.Path) {
				continue
			}
			around[e.Path] = true
			for dir := path.Dir(e.Path); dir != "." && !around[dir]; dir = path.Dir(dir) {
				around[dir] = true
			}
		}
	}
	for i := range t.Entries {
		e := &t.Entries[i]
		if keep != nil && !around[e.Path] {
			continue
		}
		f.entries = append(f.entries, e)
		if size += e.Size(); keep == nil || e.Kind != Folder {
			n++
		}
	}
	return n, size
}

func (f *fetching) folders() error {
	for _, e := range f.entries {
		if e.Kind != Folder {
			continue
		}
		if err := f.folder(filepath.FromSlash(e.Path)); err != nil {
			return err
		}
	}
	return nil
}

// folder makes a folder. A link in its place is removed: below it, other links
// would lead elsewhere than they say.
func (f *fetching) folder(name string) error {
	err := f.root.Mkdir(name, 0o755)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := f.root.Lstat(name)
	if err != nil || info.IsDir() {
		return err
	}
	if err := f.root.Remove(name); err != nil {
		return err
	}
	return f.root.Mkdir(name, 0o755)
}

// begin makes the files that take more or less than one chunk.
func (f *fetching) begin() error {
	for _, e := range f.entries {
		if e.Kind != File || len(e.Chunks) == 1 {
			continue
		}
		out, err := f.create(e)
		if err != nil {
			return err
		}
		if err := closeAs(out, e, len(e.Chunks) == 0); err != nil {
			return err
		}
	}
	return nil
}

// create makes a file anew: what was there under its name, be it a link or
// without permission to write, is not written through.
func (f *fetching) create(e *Entry) (*os.File, error) {
	name, perm := filepath.FromSlash(e.Path), fs.FileMode(e.Mode)|0o600
	out, err := f.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, perm)
	if !errors.Is(err, fs.ErrExist) {
		return out, err
	}
	if err := f.root.Remove(name); err != nil {
		return nil, err
	}
	return f.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, perm)
}

// closeAs closes a file; a complete one gets its mode, whatever the mask is.
func closeAs(out *os.File, e *Entry, complete bool) error {
	var err error
	if complete {
		err = out.Chmod(fs.FileMode(e.Mode))
	}
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	return err
}

// write puts a chunk wherever it belongs.
func (f *fetching) write(c Chunk, data []byte) error {
	for _, p := range f.places[c.Digest] {
		var out *os.File
		var err error
		whole := len(p.entry.Chunks) == 1
		if whole {
			out, err = f.create(p.entry)
		} else {
			out, err = f.root.OpenFile(filepath.FromSlash(p.entry.Path), os.O_WRONLY, 0)
		}
		if err != nil {
			return err
		}
		if _, err = out.WriteAt(data, p.offset); err != nil {
			_ = out.Close()
			return err
		}
		if err := closeAs(out, p.entry, whole); err != nil {
			return err
		}
	}
	return nil
}

// end makes the links, last, so that nothing is written through them, and sets
// the modes that writing would have been in the way of. Folders stay open to
// their owner: the work folder of an agent has to be emptied.
func (f *fetching) end() error {
	for _, e := range f.entries {
		name := filepath.FromSlash(e.Path)
		var err error
		switch {
		case e.Kind == Link:
			if err = f.root.Remove(name); err == nil || errors.Is(err, fs.ErrNotExist) {
				err = f.root.Symlink(filepath.FromSlash(e.Target), name)
			}
		case e.Kind == Folder:
			err = f.root.Chmod(name, fs.FileMode(e.Mode)|0o700)
		case len(e.Chunks) > 1:
			err = f.root.Chmod(name, fs.FileMode(e.Mode))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// transfer asks for what is missing until nothing is.
func (f *fetching) transfer(ctx context.Context, x Transfer, from Source) error {
	least := f.left + 1
	for attempt := 0; f.left > 0; {
		err := f.stream(ctx, from)
		if err == nil {
			continue
		}
		if fault.KindOf(err) != fault.Unavailable || fault.CodeOf(err) == "artifact-corrupt" {
			return err
		}
		if f.left < least {
			attempt, least = 0, f.left
		}
		if attempt++; attempt >= attempts {
			return err
		}
		if perr := x.pause(ctx, attempt); perr != nil {
			return errors.Join(err, perr)
		}
	}
	return nil
}

// wanted are the next missing chunks, as ranges and one by one.
func (f *fetching) wanted() (ranges []Range, list []int) {
	for i, m := range f.missing {
		if !m {
			continue
		}
		if n := len(ranges); n > 0 && ranges[n-1].From+ranges[n-1].Count == i {
			ranges[n-1].Count++
		} else if n == MaxRanges {
			break
		} else {
			ranges = append(ranges, Range{i, 1})
		}
		list = append(list, i)
	}
	return ranges, list
}

// arrived is a chunk that waits to be checked and written.
type arrived struct {
	chunk int
	data  *[]byte
}

// stream is one request. What it brings is checked and written by several at
// once.
func (f *fetching) stream(ctx context.Context, from Source) error {
	ranges, list := f.wanted()
	body, err := from.Chunks(ctx, ranges)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { _ = body.Close() })
	defer stop()
	work := make(chan arrived, 4*workers)
	pool := &sync.Pool{New: func() any { b := make([]byte, 0, 64<<10); return &b }}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for a := range work {
				if ctx.Err() == nil {
					if err := f.accept(a); err != nil {
						cancel(err)
					}
				}
				pool.Put(a.data)
			}
		})
	}
	err = f.read(ctx, bufio.NewReaderSize(body, 256<<10), list, work, pool)
	close(work)
	wg.Wait()
	_ = body.Close()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func (f *fetching) read(ctx context.Context, body io.Reader, list []int, work chan<- arrived, pool *sync.Pool) error {
	for _, i := range list {
		data := pool.Get().(*[]byte)
		if size := f.chunks[i].Size; cap(*data) < size {
			*data = make([]byte, size)
		} else {
			*data = (*data)[:size]
		}
		if _, err := io.ReadFull(body, *data); err != nil {
			return fault.Wrap(err, fault.Unavailable, "download-broken", "the download broke off").Try("try again")
		}
		select {
		case work <- arrived{i, data}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (f *fetching) accept(a arrived) error {
	c := f.chunks[a.chunk]
	if sha256.Sum256(*a.data) != c.Digest {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.damaged[a.chunk]++; f.damaged[a.chunk] > 1 {
			return corrupt("a part").At("chunk %s", c.Digest)
		}
		return fault.New(fault.Unavailable, "chunk-corrupt", "a chunk does not match its digest").Want("%s", c.Digest).Try("try again: it was altered on its way")
	}
	if err := f.write(c, *a.data); err != nil {
		return err
	}
	f.mu.Lock()
	f.missing[a.chunk] = false
	f.left--
	f.mu.Unlock()
	return nil
}
