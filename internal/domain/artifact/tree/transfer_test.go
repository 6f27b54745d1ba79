package tree_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rootfs"
	"penstock.dev/penstock/internal/domain/artifact/tree"
)

func publish(t *testing.T, m *memory, dir string) tree.Published {
	t.Helper()
	p, err := x.Publish(t.Context(), dir, nil, m)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func fetch(t *testing.T, m *memory, dir string) error {
	t.Helper()
	_, err := x.Fetch(t.Context(), tree.Request{Folder: dir, Limits: rootfs.DefaultLimits}, m)
	return err
}

func TestWhatIsThereIsNotSent(t *testing.T) {
	in := t.TempDir()
	write(t, in, "a", "same", 0o644)
	write(t, in, "d/b", "same", 0o755)
	large := content("large", 12<<20)
	write(t, in, "large", large, 0o644)
	write(t, in, "empty", "", 0o644)
	m := newMemory()
	first := publish(t, m, in)
	if first.Files != 4 || first.Bytes != 12<<20+8 || first.Sent != 12<<20+4 {
		t.Errorf("%+v", first)
	}
	if second := publish(t, m, in); second.Sent != 0 || second.Digest != first.Digest {
		t.Errorf("the same again: %+v", second)
	}
	// A few bytes at the front change the chunks around them only.
	write(t, in, "large", "few"+large, 0o644)
	if third := publish(t, m, in); third.Sent == 0 || third.Sent > 5<<20 || third.Digest == first.Digest {
		t.Errorf("with bytes put in: %+v", third)
	}
	write(t, in, "large", large, 0o600)
	if fourth := publish(t, m, in); fourth.Sent != 0 || fourth.Digest == first.Digest {
		t.Errorf("another mode: %+v", fourth)
	}
}

// cutter ends a stream after so many bytes, as a broken connection does.
type cutter struct {
	r    io.Reader
	left int
}

func (c *cutter) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, errors.New("connection reset")
	}
	n, err := c.r.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

func TestBrokenConnections(t *testing.T) {
	in, out := t.TempDir(), t.TempDir()
	write(t, in, "large", content("large", 20<<20), 0o644)
	for i := range 50 {
		write(t, in, "s/"+strings.Repeat("x", i+1), content(string(rune('a'+i)), 1000), 0o644)
	}
	m := newMemory()
	m.send = func(r io.Reader) io.Reader { return &cutter{r, 5 << 20} }
	m.serve = func(r io.ReadCloser) io.ReadCloser { return io.NopCloser(&cutter{r, 5 << 20}) }
	publish(t, m, in)
	if m.sends < 4 {
		t.Errorf("%d deliveries: nothing was cut", m.sends)
	}
	if err := fetch(t, m, out); err != nil {
		t.Fatal(err)
	}
	if got, want := describe(t, out), describe(t, in); got != want {
		t.Errorf("came back as\n%s\nwas\n%s", got, want)
	}
	// A connection that never brings a chunk is given up.
	m.serve = func(r io.ReadCloser) io.ReadCloser { return io.NopCloser(&cutter{r, 100}) }
	if err := fetch(t, m, t.TempDir()); fault.CodeOf(err) != "download-broken" {
		t.Errorf("a connection that brings nothing: %v", err)
	}
	m.send = func(r io.Reader) io.Reader { return &cutter{r, 100} }
	clear(m.chunks)
	if _, err := x.Publish(t.Context(), in, nil, m); fault.CodeOf(err) != "upload-broken" {
		t.Errorf("a connection that takes nothing: %v", err)
	}
	// Waiting ends with the job.
	ctx, cancel := context.WithCancel(t.Context())
	waiting := tree.Transfer{Pause: func(ctx context.Context, _ int) error { cancel(); <-ctx.Done(); return ctx.Err() }}
	if _, err := waiting.Publish(ctx, in, nil, m); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func TestChunksCollectedBeforeTheCommit(t *testing.T) {
	in := t.TempDir()
	write(t, in, "a", "text", 0o644)
	m := newMemory()
	m.lose = true
	publish(t, m, in)
	if len(m.chunks) != 1 || m.manifest == nil {
		t.Errorf("%d chunks", len(m.chunks))
	}
}

func TestAlteredChunks(t *testing.T) {
	in := t.TempDir()
	write(t, in, "a", content("a", 1000), 0o644)
	write(t, in, "b", content("b", 1000), 0o644)
	m := newMemory()
	publish(t, m, in)
	alter := func(r io.ReadCloser) io.ReadCloser {
		data, _ := io.ReadAll(r)
		data[len(data)-1] ^= 1
		return io.NopCloser(strings.NewReader(string(data)))
	}
	// On the way: what is asked for again is right.
	times := 0
	m.serve = func(r io.ReadCloser) io.ReadCloser {
		if times++; times == 1 {
			return alter(r)
		}
		return r
	}
	out := t.TempDir()
	if err := fetch(t, m, out); err != nil || describe(t, out) != describe(t, in) || times != 2 {
		t.Errorf("altered on the way: %v, asked %d times", err, times)
	}
	// Where it is stored: it is wrong each time, and never written.
	m.serve = alter
	out = t.TempDir()
	if err := fetch(t, m, out); fault.CodeOf(err) != "artifact-corrupt" {
		t.Errorf("altered where it is stored: %v", err)
	}
	if _, err := os.Stat(filepath.Join(out, "b")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an altered chunk was written: %v", err)
	}
	q := tree.Request{Digest: "sha256:other", Folder: t.TempDir(), Limits: rootfs.DefaultLimits}
	if _, err := x.Fetch(t.Context(), q, m); fault.CodeOf(err) != "artifact-corrupt" {
		t.Errorf("another list of files: %v", err)
	}
}

func TestFetchSome(t *testing.T) {
	in := t.TempDir()
	write(t, in, "a.txt", "a", 0o644)
	write(t, in, "d/b.txt", "b", 0o644)
	write(t, in, "d/e/c.log", "c", 0o644)
	if err := os.Mkdir(filepath.Join(in, "none"), 0o755); err != nil {
		t.Fatal(err)
	}
	m := newMemory()
	publish(t, m, in)
	out := t.TempDir()
	keep := func(p string) bool { return strings.HasSuffix(p, "b.txt") }
	n, err := x.Fetch(t.Context(), tree.Request{Folder: out, Keep: keep, Limits: rootfs.DefaultLimits}, m)
	if err != nil || n != 1 || m.asked != 1 {
		t.Errorf("%d entries, %d chunks asked for, %v", n, m.asked, err)
	}
	if got := describe(t, out); !strings.HasPrefix(got, "d drwx") || strings.Count(got, "\n") != 2 {
		t.Errorf("%s", got)
	}
	if _, err := x.Fetch(t.Context(), tree.Request{Folder: out, Limits: rootfs.Limits{Files: 3, Bytes: 100}}, m); fault.CodeOf(err) != "archive-too-large" {
		t.Errorf("too many entries: %v", err)
	}
	if _, err := x.Fetch(t.Context(), tree.Request{Folder: out, Limits: rootfs.Limits{Files: 30, Bytes: 2}}, m); fault.CodeOf(err) != "archive-too-large" {
		t.Errorf("too many bytes: %v", err)
	}
}

// What lies in the folder already is replaced, never written through.
func TestFetchOverWhatIsThere(t *testing.T) {
	in, out, outside := t.TempDir(), t.TempDir(), t.TempDir()
	write(t, in, "a", "new", 0o644)
	write(t, in, "large", content("l", 5<<20), 0o644)
	write(t, in, "d/b", "new", 0o644)
	if err := os.Symlink("a", filepath.Join(in, "l")); err != nil {
		t.Fatal(err)
	}
	m := newMemory()
	publish(t, m, in)
	write(t, outside, "a", "old", 0o644)
	write(t, out, "a", "a file that is longer", 0o400)
	write(t, out, "large", content("o", 6<<20), 0o400)
	write(t, out, "l", "no link", 0o644)
	if err := fetch(t, m, out); err != nil || describe(t, out) != describe(t, in) {
		t.Errorf("%v\n%s", err, describe(t, out))
	}
	for _, name := range []string{"a", "large", "l"} {
		if err := os.Remove(filepath.Join(out, name)); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(outside, "a"), filepath.Join(out, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := fetch(t, m, out); err != nil || describe(t, out) != describe(t, in) {
		t.Errorf("%v\n%s", err, describe(t, out))
	}
	if err := os.RemoveAll(filepath.Join(out, "d")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(out, "d")); err != nil {
		t.Fatal(err)
	}
	if err := fetch(t, m, out); err != nil || describe(t, out) != describe(t, in) {
		t.Errorf("%v\n%s", err, describe(t, out))
	}
	if text, err := os.ReadFile(filepath.Join(outside, "a")); err != nil || string(text) != "old" {
		t.Errorf("outside: %q %v", text, err)
	}
	if _, err := os.Stat(filepath.Join(outside, "b")); err == nil {
		t.Error("a file was written outside")
	}
}

func TestLinksOnPublish(t *testing.T) {
	outside := t.TempDir()
	write(t, outside, "file", "text of it", 0o644)
	for _, c := range []struct{ name, target, want string }{
		{"l", "a", "l"}, {"d/l", "../a", "l"}, {"l", "gone", "l"},
		{"l", filepath.Join(outside, "file"), "f"}, {"l", outside, "artifact-link-outside"}, {"l", "/does/not/exist", "artifact-link-outside"},
		{"d/l", "../../out", "artifact-link-outside"}, {"l", "d/../a", "f"},
	} {
		in := t.TempDir()
		write(t, in, "a", "a", 0o644)
		write(t, in, "d/x", "x", 0o644)
		if err := os.Symlink(c.target, filepath.Join(in, filepath.FromSlash(c.name))); err != nil {
			t.Fatal(err)
		}
		m := newMemory()
		_, err := x.Publish(t.Context(), in, nil, m)
		got := fault.CodeOf(err)
		if err == nil {
			tr, err := tree.Decode(m.manifest)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range tr.Entries {
				if e.Path == c.name {
					got = string(rune(e.Kind))
				}
			}
		}
		if got != c.want {
			t.Errorf("%s → %s: %s, want %s", c.name, c.target, got, c.want)
		}
	}
}

func TestKeepAndOneFile(t *testing.T) {
	in := t.TempDir()
	write(t, in, "a", "a", 0o644)
	write(t, in, "skip/x", "x", 0o644)
	m := newMemory()
	if _, err := x.Publish(t.Context(), in, func(rel string, _ bool) bool { return rel != "skip" }, m); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	if err := fetch(t, m, out); err != nil || strings.Contains(describe(t, out), "skip") {
		t.Errorf("%v %s", err, describe(t, out))
	}
	if _, err := x.Publish(t.Context(), filepath.Join(in, "a"), nil, m); err != nil {
		t.Fatal(err)
	}
	out = t.TempDir()
	if err := fetch(t, m, out); err != nil || !strings.HasPrefix(describe(t, out), "a -rw-r--r-- 1 ") {
		t.Errorf("%v %s", err, describe(t, out))
	}
}
