package pack

import (
	"archive/tar"
	"bytes"
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
