package tree_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rootfs"
	"penstock.dev/penstock/internal/domain/artifact/tree"
)

// memory is both ends of a transfer, without a server.
type memory struct {
	mu       sync.Mutex
	manifest []byte
	chunks   map[tree.Digest][]byte
	sends    int // deliveries
	asked    int // chunks that were asked for
	// What goes wrong.
	send  func(io.Reader) io.Reader         // on the way there
	serve func(io.ReadCloser) io.ReadCloser // on the way back
	lose  bool                              // at the first commit
}

func (m *memory) Missing(_ context.Context, chunks []tree.Chunk) ([]bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	missing := make([]bool, len(chunks))
	for i, c := range chunks {
		missing[i] = m.chunks[c.Digest] == nil
	}
	return missing, nil
}

func (m *memory) Send(_ context.Context, frames io.Reader, _ int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sends++; m.send != nil {
		frames = m.send(frames)
	}
	return tree.ReadFrames(frames, func(c tree.Chunk, data []byte) error {
		m.chunks[c.Digest] = bytes.Clone(data)
		return nil
	})
}

func (m *memory) Commit(_ context.Context, manifest []byte) error {
	if m.lose {
		clear(m.chunks)
		m.lose = false
		return fault.New(fault.Conflict, "chunks-missing", "collected")
	}
	m.manifest = manifest
	return nil
}

func (m *memory) Manifest(context.Context) ([]byte, error) { return m.manifest, nil }

func (m *memory) Chunks(_ context.Context, ranges []tree.Range) (io.ReadCloser, error) {
	t, err := tree.Decode(m.manifest)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	m.mu.Lock()
	defer m.mu.Unlock()
	all := t.Distinct()
	for _, r := range ranges {
		for _, c := range all[r.From : r.From+r.Count] {
			out.Write(m.chunks[c.Digest])
			m.asked++
		}
	}
	body := io.NopCloser(io.Reader(&out))
	if m.serve != nil {
		body = m.serve(body)
	}
	return body, nil
}

func newMemory() *memory { return &memory{chunks: map[tree.Digest][]byte{}} }

// x does not wait.
var x = tree.Transfer{Pause: func(context.Context, int) error { return nil }}

func write(t interface{ Fatal(...any) }, dir, name, text string, mode fs.FileMode) {
	p := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(p, mode); err != nil {
		t.Fatal(err)
	}
}

// describe lists a folder: kinds, modes, content.
func describe(t interface{ Fatal(...any) }, dir string) string {
	var b strings.Builder
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		rel, rerr := filepath.Rel(dir, p)
		if err != nil || rerr != nil || rel == "." {
			return errors.Join(err, rerr)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := ""
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			if text, err = os.Readlink(p); err != nil {
				return err
			}
			fmt.Fprintf(&b, "%s -> %s\n", rel, text)
			return nil
		case !info.IsDir():
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			text = fmt.Sprintf(" %d %x", len(data), sha256.Sum256(data))
		}
		fmt.Fprintf(&b, "%s %s%s\n", rel, info.Mode(), text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// content is bytes of a length that do not repeat.
func content(seed string, n int) string {
	var b strings.Builder
	sum := sha256.Sum256([]byte(seed))
	for b.Len() < n {
		b.Write(sum[:])
		sum = sha256.Sum256(sum[:])
	}
	return b.String()[:n]
}

// Whatever is published comes back as it was.
func TestRoundTrip(t *testing.T) {
	base := t.TempDir()
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		in, out := filepath.Join(base, fmt.Sprint(n, "in")), filepath.Join(base, fmt.Sprint(n, "out"))
		defer func() { _, _ = os.RemoveAll(in), os.RemoveAll(out) }()
		if err := os.Mkdir(in, 0o755); err != nil {
			r.Fatal(err)
		}
		folders := []string{"."}
		for i := range rapid.IntRange(0, 12).Draw(r, "entries") {
			dir := rapid.SampledFrom(folders).Draw(r, "in")
			name := rapid.StringMatching(`[a-zA-Z.+ ü-]{0,8}`).Draw(r, "name") + fmt.Sprint(i)
			p := filepath.Join(in, filepath.FromSlash(dir), name)
			mode := fs.FileMode(rapid.IntRange(0, 0o777).Draw(r, "mode"))
			switch rapid.SampledFrom([]string{"file", "file", "folder", "folder", "link", "large"}).Draw(r, "kind") {
			case "file":
				write(r, in, filepath.Join(dir, name), content(rapid.StringMatching(`[a-c]`).Draw(r, "seed"), rapid.IntRange(0, 300).Draw(r, "size")), mode|0o400)
			case "large":
				write(r, in, filepath.Join(dir, name), content("l", rapid.IntRange(250<<10, 2<<20).Draw(r, "size")), mode|0o400)
			case "folder":
				if err := os.Mkdir(p, 0o700); err != nil {
					r.Fatal(err)
				}
				if err := os.Chmod(p, mode|0o700); err != nil {
					r.Fatal(err)
				}
				folders = append(folders, filepath.Join(dir, name))
			case "link":
				if err := os.Symlink(rapid.SampledFrom([]string{"x", "./x/y", "a b", strings.Repeat("../", strings.Count(filepath.Join(dir, "f"), "/")) + "top"}).Draw(r, "target"), p); err != nil {
					r.Fatal(err)
				}
			}
		}
		m := newMemory()
		p, err := x.Publish(r.Context(), in, nil, m)
		if err != nil {
			r.Fatal(err)
		}
		if _, err := x.Fetch(r.Context(), tree.Request{Digest: p.Digest.String(), Folder: out, Limits: rootfs.DefaultLimits}, m); err != nil {
			r.Fatal(err)
		}
		if got, want := describe(r, out), describe(r, in); got != want {
			r.Fatalf("came back as\n%s\nwas\n%s", got, want)
		}
	})
}
