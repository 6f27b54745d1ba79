package rootfs

import (
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
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
