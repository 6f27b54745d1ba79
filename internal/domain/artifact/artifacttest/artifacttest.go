// Package artifacttest has blobs in memory, and the contract of all blobs.
package artifacttest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/memstore"
	"penstock.dev/penstock/internal/domain/artifact"
	"penstock.dev/penstock/internal/domain/artifact/tree"
)

// Blobs implements artifact.Blobs in memory.
type Blobs struct {
	Now func() time.Time // nil = time.Now

	mu   sync.Mutex
	data map[string]stored
}

type stored struct {
	data []byte
	at   time.Time
}

// NewService makes artifacts in memory.
func NewService() *artifact.Service {
	tx := &memstore.Runner{}
	return &artifact.Service{Artifacts: memstore.NewTable[artifact.Artifact](tx, "artifact"), Uses: memstore.NewTable[artifact.Use](tx, "use of an artifact"), Tx: tx, Blobs: &Blobs{}}
}

// Publish publishes files, text by path.
func Publish(t testing.TB, s *artifact.Service, p artifact.Publication, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := (tree.Transfer{}).Publish(t.Context(), dir, nil, s.Sink(p)); err != nil {
		t.Fatal(err)
	}
}

// Put implements artifact.Blobs.
func (b *Blobs) Put(_ context.Context, key string, write func(io.Writer) error) error {
	var buf bytes.Buffer
	if err := write(&buf); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.data == nil {
		b.data = map[string]stored{}
	}
	now := time.Now
	if b.Now != nil {
		now = b.Now
	}
	b.data[key] = stored{buf.Bytes(), now()}
	return nil
}

type blob struct{ *bytes.Reader }

func (b blob) Close() error         { return nil }
func (b blob) Size() (int64, error) { return b.Reader.Size(), nil }

// Open implements artifact.Blobs.
func (b *Blobs) Open(_ context.Context, key string) (artifact.Blob, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.data[key]
	if !ok {
		return nil, fault.New(fault.NotFound, "blob-not-found", "the content %s is not stored (any more)", key)
	}
	return blob{bytes.NewReader(s.data)}, nil
}

// List implements artifact.Blobs.
func (b *Blobs) List(_ context.Context, prefix string) ([]artifact.BlobInfo, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []artifact.BlobInfo
	for key, s := range b.data {
		if strings.HasPrefix(key, prefix+"/") {
			list = append(list, artifact.BlobInfo{Key: key, Size: int64(len(s.data)), Stored: s.at})
		}
	}
	slices.SortFunc(list, func(a, b artifact.BlobInfo) int { return strings.Compare(a.Key, b.Key) })
	return list, nil
}

// Delete implements artifact.Blobs.
func (b *Blobs) Delete(_ context.Context, key string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.data, key)
	return nil
}

// Alter changes stored bytes, as a failing disk does.
func (b *Blobs) Alter(key string, change func([]byte) []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.data[key]
	s.data = change(slices.Clone(s.data))
	b.data[key] = s
}

// contract is the suite on some blobs.
type contract struct {
	*testing.T
	b artifact.Blobs
}

// Exercise runs the contract on blobs that hold nothing yet.
func Exercise(t *testing.T, b artifact.Blobs) {
	c := contract{t, b}
	if list, err := b.List(t.Context(), "a"); err != nil || len(list) != 0 {
		t.Errorf("nothing is stored, listed: %v %v", list, err)
	}
	c.put("a/p/packs/2", "two")
	c.put("a/p/packs/1", "one")
	c.put("a/q/packs/1", "")
	c.put("a/p/packs/1", "one again")
	for key, want := range map[string]string{"a/p/packs/1": "one again", "a/p/packs/2": "two", "a/q/packs/1": "", "a/p/packs/3": "none"} {
		if got := c.read(key); got != want {
			t.Errorf("%s holds %q, want %q", key, got, want)
		}
	}
	listed(t, b)
	c.whole()
	c.deleted()
}

func (c contract) put(key, text string) {
	c.Helper()
	if err := c.b.Put(c.Context(), key, func(w io.Writer) error { _, err := io.WriteString(w, text); return err }); err != nil {
		c.Fatal(err)
	}
}

// read returns what a key holds, or none.
func (c contract) read(key string) string {
	c.Helper()
	f, err := c.b.Open(c.Context(), key)
	if fault.Is(err, fault.NotFound) {
		return "none"
	}
	if err != nil {
		c.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	size, err := f.Size()
	if err != nil {
		c.Fatal(err)
	}
	data, err := io.ReadAll(io.NewSectionReader(f, 0, size))
	if err != nil {
		c.Fatal(err)
	}
	return string(data)
}

// whole: a key is stored whole or not at all.
func (c contract) whole() {
	cause := errors.New("the sender is gone")
	err := c.b.Put(c.Context(), "a/p/packs/9", func(w io.Writer) error {
		_, _ = io.WriteString(w, strings.Repeat("x", 1<<20))
		return cause
	})
	if !errors.Is(err, cause) || c.read("a/p/packs/9") != "none" {
		c.Errorf("an error of the writer: %v, stored: %.20s", err, c.read("a/p/packs/9"))
	}
}

// deleted: what is open stays readable.
func (c contract) deleted() {
	open, err := c.b.Open(c.Context(), "a/p/packs/2")
	if err != nil {
		c.Fatal(err)
	}
	defer func() { _ = open.Close() }()
	for range 2 {
		if err := c.b.Delete(c.Context(), "a/p/packs/2"); err != nil {
			c.Fatal(err)
		}
	}
	buf := make([]byte, 2)
	if _, err := open.ReadAt(buf, 1); err != nil || string(buf) != "wo" || c.read("a/p/packs/2") != "none" {
		c.Errorf("what is open after its key is deleted: %q %v", buf, err)
	}
}

func listed(t *testing.T, b artifact.Blobs) {
	for prefix, want := range map[string]string{"a": "a/p/packs/1 a/p/packs/2 a/q/packs/1", "a/p/packs": "a/p/packs/1 a/p/packs/2", "a/p/pa": "", "b": ""} {
		list, err := b.List(t.Context(), prefix)
		var keys []string
		for _, x := range list {
			keys = append(keys, x.Key)
			if x.Key == "a/p/packs/2" && x.Size != 3 || time.Since(x.Stored) > time.Hour {
				t.Errorf("%+v", x)
			}
		}
		if got := strings.Join(keys, " "); err != nil || got != want {
			t.Errorf("below %s: %s %v, want %s", prefix, got, err, want)
		}
	}
}
