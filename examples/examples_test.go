package examples

import (
	"archive/zip"
	"bytes"
	"flag"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "make the archives again")

// The archive holds what lies in the folder.
func TestArchiveIsCurrent(t *testing.T) {
	want := map[string]string{}
	err := filepath.WalkDir("storefront", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(p, "storefront"+string(filepath.Separator)))
		data, err := os.ReadFile(p)
		want[rel] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("storefront.zip", pack(t), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	r, err := Storefront()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range r.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		got[f.Name] = string(data)
	}
	for name, content := range want {
		if got[name] != content {
			t.Errorf("%s differs in storefront.zip; run: go test ./examples -update", name)
		}
	}
	for name := range got {
		if _, there := want[name]; !there {
			t.Errorf("%s is in storefront.zip only; run: go test ./examples -update", name)
		}
	}
}

func pack(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	err := filepath.WalkDir("storefront", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(p, "storefront"+string(filepath.Separator)))
		f, err := w.CreateHeader(&zip.FileHeader{Name: rel, Method: zip.Deflate})
		if err == nil {
			_, err = f.Write(data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
