package pack

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rootfs"
)

func TestTarThereAndBack(t *testing.T) {
	source := t.TempDir()
	if err := os.MkdirAll(filepath.Join(source, "d", "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(source, "d", "run.sh"), []byte("echo"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"", "gz", "xz"} {
		var buf bytes.Buffer
		w, err := Compressor(&buf, kind)
		if err != nil {
			t.Fatal(err)
		}
		if err := Tar(w, source, "top"); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		r, err := Decompressor(&buf, kind)
		if err != nil {
			t.Fatal(err)
		}
		to := t.TempDir()
		n, err := Untar(r, to, Options{Limits: rootfs.DefaultLimits, Strip: 1})
		if err != nil || n != 1 {
			t.Fatalf("%s: %d files, %v", kind, n, err)
		}
		info, err := os.Stat(filepath.Join(to, "d", "run.sh"))
		if err != nil || info.Mode().Perm()&0o100 == 0 {
			t.Errorf("%s: %v %v", kind, info, err)
		}
		if _, err := os.Stat(filepath.Join(to, "d", "empty")); err != nil {
			t.Error(err)
		}
	}
}

func TestUntarStaysInside(t *testing.T) {
	for name, headers := range map[string][]tar.Header{
		"parent":        {{Name: "../out", Typeflag: tar.TypeReg, Size: 1}},
		"absolute":      {{Name: "/out", Typeflag: tar.TypeReg, Size: 1}},
		"link":          {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "../.."}},
		"absolute link": {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/etc"}},
		"two links":     {{Name: "s", Typeflag: tar.TypeSymlink, Linkname: "."}, {Name: "s/s/l", Typeflag: tar.TypeSymlink, Linkname: "../.."}},
		"link, renamed": {{Name: "a/b/l", Typeflag: tar.TypeSymlink, Linkname: "../.."}, {Name: "l", Typeflag: tar.TypeLink, Linkname: "a/b/l"}},
		"hard link":     {{Name: "l", Typeflag: tar.TypeLink, Linkname: "../x"}},
		"too many":      {{Name: "a", Typeflag: tar.TypeReg}, {Name: "b", Typeflag: tar.TypeReg}, {Name: "c", Typeflag: tar.TypeReg}},
		"too large":     {{Name: "a", Typeflag: tar.TypeReg, Size: 100}},
	} {
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		for _, h := range headers {
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write([]byte(strings.Repeat("x", int(h.Size)))); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		outer := t.TempDir()
		inner := filepath.Join(outer, "in")
		if err := os.Mkdir(inner, 0o755); err != nil {
			t.Fatal(err)
		}
		_, err := Untar(&buf, inner, Options{Limits: rootfs.Limits{Files: 2, Bytes: 50}})
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
		if entries, _ := os.ReadDir(outer); len(entries) != 1 {
			t.Errorf("%s: wrote outside", name)
		}
	}
}

// Whatever an archive holds, nothing outside is written and nothing in it leads
// there; what is unpacked keeps to its bounds.
func FuzzUntar(f *testing.F) {
	seed := func(headers ...tar.Header) {
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		for _, h := range headers {
			if err := w.WriteHeader(&h); err != nil {
				f.Fatal(err)
			}
			if _, err := w.Write([]byte(strings.Repeat("x", int(h.Size)))); err != nil {
				f.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(buf.Bytes(), 0, false)
		f.Add(buf.Bytes(), 1, true)
	}
	seed(tar.Header{Name: "d/", Typeflag: tar.TypeDir}, tar.Header{Name: "d/f", Typeflag: tar.TypeReg, Size: 3}, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "d/f"})
	seed(tar.Header{Name: "s", Typeflag: tar.TypeSymlink, Linkname: "."}, tar.Header{Name: "s/s/l", Typeflag: tar.TypeSymlink, Linkname: "../x"}, tar.Header{Name: "l/f", Typeflag: tar.TypeReg, Size: 1})
	seed(tar.Header{Name: "a/b/l", Typeflag: tar.TypeSymlink, Linkname: "../../x"}, tar.Header{Name: "m", Typeflag: tar.TypeLink, Linkname: "a/b/l"})
	f.Fuzz(func(t *testing.T, archive []byte, strip int, keep bool) {
		outer := t.TempDir()
		inner := filepath.Join(outer, "in")
		if err := os.Mkdir(inner, 0o755); err != nil {
			t.Fatal(err)
		}
		limits := rootfs.Limits{Files: 100, Bytes: 1 << 20}
		o := Options{Limits: limits, Strip: strip & 3}
		if keep {
			o.Keep = func(string) {}
		}
		_, err := Untar(bytes.NewReader(archive), inner, o)
		if entries, _ := os.ReadDir(outer); len(entries) != 1 {
			t.Fatalf("it wrote outside: %v", entries)
		}
		size := int64(0)
		walkErr := filepath.WalkDir(inner, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
				size += info.Size()
			}
			if to, err := filepath.EvalSymlinks(p); err == nil && to != inner && !strings.HasPrefix(to, inner+string(filepath.Separator)) {
				t.Fatalf("%s leads to %s", p, to)
			}
			return nil
		})
		if walkErr != nil {
			t.Fatal(walkErr)
		}
		if err == nil && size > 2*limits.Bytes { // a second name is counted twice here
			t.Errorf("%d bytes were unpacked", size)
		}
	})
}

// FuzzUntarLinks lets three links be made, and a file through the last.
func FuzzUntarLinks(f *testing.F) {
	f.Add("s", ".", false, "s/s/l", "../x", false, "l/f", "", false)
	f.Add("a/b/l", "../../x", false, "m", "a/b/l", true, "m/f", "d", true)
	f.Fuzz(func(t *testing.T, a, to string, hard bool, b, bto string, bhard bool, c, cto string, chard bool) {
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		for _, l := range []struct {
			name, to string
			hard     bool
		}{{a, to, hard}, {b, bto, bhard}, {c, cto, chard}} {
			kind := byte(tar.TypeSymlink)
			if l.hard {
				kind = tar.TypeLink
			}
			if w.WriteHeader(&tar.Header{Name: l.name, Linkname: l.to, Typeflag: kind}) != nil {
				return
			}
		}
		if w.WriteHeader(&tar.Header{Name: c + "/through", Typeflag: tar.TypeReg}) != nil || w.Close() != nil {
			return
		}
		outer := t.TempDir()
		inner := filepath.Join(outer, "in")
		if err := os.MkdirAll(filepath.Join(inner, "d", "e"), 0o755); err != nil {
			t.Fatal(err)
		}
		_, _ = Untar(&buf, inner, Options{Limits: rootfs.Limits{Files: 10, Bytes: 10}})
		if entries, _ := os.ReadDir(outer); len(entries) != 1 {
			t.Fatalf("it wrote outside: %v", entries)
		}
		_ = filepath.WalkDir(inner, func(p string, _ fs.DirEntry, _ error) error {
			if to, err := filepath.EvalSymlinks(p); err == nil && to != inner && !strings.HasPrefix(to, inner+string(filepath.Separator)) {
				t.Fatalf("%s leads to %s", p, to)
			}
			return nil
		})
	})
}
