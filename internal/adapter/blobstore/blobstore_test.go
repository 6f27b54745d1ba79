package blobstore_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/adapter/blobstore"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/artifact"
	"penstock.dev/penstock/internal/domain/artifact/artifacttest"
)

var _ artifact.Blobs = (*blobstore.Store)(nil)

func open(t *testing.T, dir string) *blobstore.Store {
	t.Helper()
	s, err := blobstore.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestContract(t *testing.T) {
	artifacttest.Exercise(t, open(t, filepath.Join(t.TempDir(), "blobs")))
}

func TestMemoryKeepsTheContractToo(t *testing.T) { artifacttest.Exercise(t, &artifacttest.Blobs{}) }

// What a process that was killed left half written is not there.
func TestAfterAKill(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if err := s.Put(t.Context(), "a/b", func(w io.Writer) error { _, err := io.WriteString(w, "whole"); return err }); err != nil {
		t.Fatal(err)
	}
	// A copy of the folder in the middle of a write is what a kill leaves.
	killed := t.TempDir()
	err := s.Put(t.Context(), "a/c", func(w io.Writer) error {
		if _, err := io.WriteString(w, strings.Repeat("x", 1<<20)); err != nil {
			return err
		}
		return os.CopyFS(killed, os.DirFS(dir))
	})
	if err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(filepath.Join(killed, "a")); err != nil || len(entries) != 2 {
		t.Fatalf("the copy has no half of a file: %v %v", entries, err)
	}
	after := open(t, killed)
	list, err := after.List(t.Context(), "a")
	if err != nil || len(list) != 1 || list[0].Key != "a/b" {
		t.Errorf("%v %v", list, err)
	}
	if entries, err := os.ReadDir(filepath.Join(killed, "a")); err != nil || len(entries) != 1 {
		t.Errorf("the half stays: %v %v", entries, err)
	}
}

func TestKeysStayInside(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "blobs"))
	for _, key := range []string{"../a", "/a", "a/../../b", "", ".", "a//b", `..\a`, "a.partial"} {
		if err := s.Put(t.Context(), key, func(io.Writer) error { return nil }); err == nil {
			t.Errorf("%q is a key", key)
		}
		if _, err := s.Open(t.Context(), key); err == nil {
			t.Errorf("%q is opened", key)
		}
		if err := s.Delete(t.Context(), key); err == nil {
			t.Errorf("%q is deleted", key)
		}
	}
}

func TestADiskThatTakesNothing(t *testing.T) {
	// Permissions do not stop every user; a file in the way of a folder does.
	dir := t.TempDir()
	s := open(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "a"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "a/b", func(io.Writer) error { return nil }); fault.CodeOf(err) != "blob-store" {
		t.Errorf("%v", err)
	}
}
