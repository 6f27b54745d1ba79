package rootfs

import (
	"archive/zip"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/base/fault"
)

func archive(t *testing.T, entries map[string]string) *zip.Reader {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, body := range entries {
		f, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestUnzipRefusesEntriesOutside(t *testing.T) {
	for _, name := range []string{"../x", "/etc/x", "a/../../x", `..\x`} {
		dir := filepath.Join(t.TempDir(), "in")
		err := Unzip(archive(t, map[string]string{name: "x"}), dir, DefaultLimits)
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("entry %q: %v, want an Invalid error", name, err)
		}
	}
}

func TestUnzipLimits(t *testing.T) {
	r := archive(t, map[string]string{"a": "0123456789"})
	if err := Unzip(r, t.TempDir(), Limits{Files: 1, Bytes: 9}); fault.CodeOf(err) != "archive-too-large" {
		t.Errorf("9 bytes allowed, 10 extracted: %v", err)
	}
	if err := Unzip(r, t.TempDir(), Limits{Files: 0, Bytes: 90}); fault.CodeOf(err) != "archive-too-large" {
		t.Errorf("0 files allowed, 1 extracted: %v", err)
	}
}

func TestZipRoundTrip(t *testing.T) {
	src := t.TempDir()
	if err := os.MkdirAll(filepath.Join(src, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(src, "run.sh"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("run.sh", filepath.Join(src, "link")); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if n, err := Zip(&b, src); err != nil || n != 2 {
		t.Fatalf("Zip = %d, %v; want 2 files", n, err)
	}
	r, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	dst := t.TempDir()
	if err := Unzip(r, dst, DefaultLimits); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dst, "run.sh")); err != nil || info.Mode().Perm()&0o100 == 0 {
		t.Errorf("run.sh lost its executable bit: %v %v", info, err)
	}
	if to, err := os.Readlink(filepath.Join(dst, "link")); err != nil || to != "run.sh" {
		t.Errorf("link = %q, %v", to, err)
	}
	if info, err := os.Stat(filepath.Join(dst, "empty")); err != nil || !info.IsDir() {
		t.Errorf("empty folder is gone: %v", err)
	}
}

func TestLinkInside(t *testing.T) {
	for _, c := range []struct {
		link, target string
		want         bool
	}{
		{"l", "a", true}, {"l", "./a/b/", true}, {"d/l", "../a", true}, {"d/e/l", "../../a", true}, {"l", "..a", true},
		{"l", "", false}, {"l", "..", false}, {"d/l", "../..", false}, {"l", "/a", false}, {"l", "a/..", false}, {"d/l", "e/../../a", false}, {"l", `a\b`, false}, {"l", "a\x00", false},
	} {
		if got := LinkInside(c.link, c.target); got != c.want {
			t.Errorf("%s → %q: %v, want %v", c.link, c.target, got, c.want)
		}
	}
}

// links makes an archive of links, name and target in turn.
func links(t testing.TB, pairs ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(pairs); i += 2 {
		h := &zip.FileHeader{Name: pairs[i]}
		h.SetMode(fs.ModeSymlink | 0o777)
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(pairs[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Each link alone seems to stay inside; together they do not.
func TestUnzipLinksThroughLinks(t *testing.T) {
	data := links(t, "d", ".", "l", "d/..")
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if err := Unzip(r, t.TempDir(), DefaultLimits); fault.CodeOf(err) != "archive-entry-outside" {
		t.Errorf("%v", err)
	}
}

// confined fails if extracting wrote outside, or made a link that leads there.
func confined(t *testing.T, data []byte) {
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return
	}
	around := t.TempDir()
	dir := filepath.Join(around, "in")
	_ = Unzip(r, dir, Limits{Files: 100, Bytes: 1 << 20})
	entries, err := os.ReadDir(around)
	if err != nil || len(entries) > 1 {
		t.Fatalf("written outside: %v %v", entries, err)
	}
	inside, err := filepath.EvalSymlinks(around)
	if err != nil {
		t.Fatal(err)
	}
	inside = filepath.Join(inside, "in")
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink == 0 {
			return err
		}
		to, err := filepath.EvalSymlinks(p)
		if err != nil {
			return nil // leads nowhere, or in circles
		}
		if rel, err := filepath.Rel(inside, to); err != nil || !filepath.IsLocal(rel) {
			t.Fatalf("%s leads to %s", p, to)
		}
		return nil
	})
}

// Whatever an archive holds, nothing is written outside, and no link leads there.
func FuzzUnzip(f *testing.F) {
	var b bytes.Buffer
	src := f.TempDir()
	if err := os.WriteFile(filepath.Join(src, "a"), []byte("text"), 0o755); err != nil {
		f.Fatal(err)
	}
	if _, err := Zip(&b, src); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(links(f, "../l", "/etc"))
	f.Fuzz(confined)
}

// The same for archives that are well made and mean no good.
func FuzzUnzipLinks(f *testing.F) {
	f.Add("d", ".", "l", "a", "d/m", "../l")
	f.Add("d", ".", "l", "d/..", "d/x", "y")
	f.Add("a/b", "..", "a/b/c", "..", "x", "a/b/../..")
	f.Fuzz(func(t *testing.T, a, to, b, bto, c, cto string) {
		folder := strings.HasSuffix(a, "/") || strings.HasSuffix(b, "/") || strings.HasSuffix(c, "/")
		if !folder && max(len(a), len(to), len(b), len(bto), len(c), len(cto)) < 1000 {
			confined(t, links(t, a, to, b, bto, c, cto))
		}
	})
}
