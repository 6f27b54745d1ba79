package tree_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"io"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rootfs"
	"penstock.dev/penstock/internal/domain/artifact/tree"
)

func chunk(text string) tree.Chunk {
	return tree.Chunk{Digest: sha256.Sum256([]byte(text)), Size: len(text)}
}

// good is a tree with one of everything.
func good() *tree.Tree {
	return &tree.Tree{Entries: []tree.Entry{
		{Path: "a", Kind: tree.File, Mode: 0o755, Chunks: []tree.Chunk{chunk("one"), chunk("two"), chunk("one")}},
		{Path: "d", Kind: tree.Folder, Mode: 0o700},
		{Path: "d/e", Kind: tree.Folder, Mode: 0o755},
		{Path: "d/l", Kind: tree.Link, Target: "../a"},
		{Path: "empty", Kind: tree.File, Mode: 0o644},
	}}
}

func TestManifest(t *testing.T) {
	m := good().Encode()
	back, err := tree.Decode(m)
	if err != nil || !bytes.Equal(back.Encode(), m) {
		t.Fatalf("%v", err)
	}
	if files, size := back.Totals(); files != 3 || size != 9 || len(back.Distinct()) != 2 {
		t.Errorf("%d files, %d bytes, %d chunks", files, size, len(back.Distinct()))
	}
	// The digest of an artifact never changes: this one is written down.
	if d := tree.DigestOf(m).String(); d != "sha256:023bb8174c90f8f18978bf9e1b61e8e41eb905211040a4be2aa00bcf51f47983" {
		t.Errorf("digest %s", d)
	}
}

// Every manifest that is not exactly that of a confined tree is refused.
func TestHostileTrees(t *testing.T) {
	one := func(e tree.Entry) *tree.Tree { return &tree.Tree{Entries: []tree.Entry{e}} }
	file := func(p string) tree.Entry { return tree.Entry{Path: p, Kind: tree.File} }
	link := func(p, target string) *tree.Tree { return one(tree.Entry{Path: p, Kind: tree.Link, Target: target}) }
	many := &tree.Tree{Entries: []tree.Entry{file("a")}}
	for range tree.MaxChunks/3 + 1 {
		many.Entries[0].Chunks = append(many.Entries[0].Chunks, chunk("a"), chunk("b"), chunk("c"))
	}
	huge := &tree.Tree{Entries: []tree.Entry{file("a")}}
	for range tree.MaxBytes/tree.MaxChunkSize + 1 {
		huge.Entries[0].Chunks = append(huge.Entries[0].Chunks, tree.Chunk{Size: tree.MaxChunkSize})
	}
	for name, c := range map[string]struct {
		t    *tree.Tree
		code string
	}{
		"up": {one(file("../a")), "artifact-path"}, "absolute": {one(file("/a")), "artifact-path"}, "unclean": {one(file("a/../b")), "artifact-path"},
		"dots": {one(file("..")), "artifact-path"}, "root": {one(file(".")), "artifact-path"}, "nothing": {one(file("")), "artifact-path"},
		"backslash": {one(file(`..\a`)), "artifact-path"}, "nul": {one(file("a\x00")), "artifact-path"}, "no UTF-8": {one(file("a\xff")), "artifact-path"},
		"long name": {one(file(strings.Repeat("a", 256))), "artifact-path"},
		"no folder": {one(file("d/a")), "artifact-manifest"}, "below a file": {&tree.Tree{Entries: []tree.Entry{file("a"), file("a/b")}}, "artifact-manifest"},
		"below a link": {&tree.Tree{Entries: []tree.Entry{{Path: "a", Kind: tree.Link, Target: "b"}, file("a/b")}}, "artifact-manifest"},
		"twice":        {&tree.Tree{Entries: []tree.Entry{file("a"), file("a")}}, "artifact-manifest"},
		"disorder":     {&tree.Tree{Entries: []tree.Entry{file("b"), file("a")}}, "artifact-manifest"},
		"kind":         {one(tree.Entry{Path: "a", Kind: 'x'}), "artifact-manifest"},
		"mode":         {one(tree.Entry{Path: "a", Kind: tree.File, Mode: 0o4755}), "artifact-manifest"},
		"link mode":    {one(tree.Entry{Path: "a", Kind: tree.Link, Target: "b", Mode: 0o644}), "artifact-manifest"},
		"empty chunk":  {one(tree.Entry{Path: "a", Kind: tree.File, Chunks: []tree.Chunk{{}}}), "artifact-manifest"},
		"large chunk":  {one(tree.Entry{Path: "a", Kind: tree.File, Chunks: []tree.Chunk{{Size: tree.MaxChunkSize + 1}}}), "artifact-manifest"},
		"two sizes":    {one(tree.Entry{Path: "a", Kind: tree.File, Chunks: []tree.Chunk{{Size: 1}, {Size: 2}}}), "artifact-manifest"},
		"link up":      {link("a", "../b"), "artifact-link-outside"}, "link absolute": {link("a", "/etc/passwd"), "artifact-link-outside"},
		"link empty": {link("a", ""), "artifact-link-outside"}, "link up later": {link("a", "b/../../c"), "artifact-link-outside"},
		"link through a link": {link("a", "b/../c"), "artifact-link-outside"}, "link backslash": {link("a", `..\b`), "artifact-link-outside"},
		"many chunks": {many, "artifact-too-large"}, "many bytes": {huge, "artifact-too-large"},
	} {
		if err := c.t.Check(); fault.CodeOf(err) != c.code {
			t.Errorf("%s: checked: %v, want %s", name, err, c.code)
		}
		if _, err := tree.Decode(c.t.Encode()); err == nil {
			t.Errorf("%s: decoded", name)
		}
	}
	m := string(good().Encode())
	for name, text := range map[string]string{
		"nothing": "", "another kind": "PK\x03\x04", "no end": m[:len(m)-1], "more": m + "x",
		"long number":  "penstock tree 1\n\x80\x00",
		"many entries": "penstock tree 1\n\xff\xff\xff\xff\x0f",
	} {
		if _, err := tree.Decode([]byte(text)); fault.CodeOf(err) != "artifact-manifest" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := tree.Decode(make([]byte, tree.MaxManifest+1)); fault.CodeOf(err) != "artifact-too-large" {
		t.Errorf("a large manifest: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(good().Encode())
	f.Add([]byte("penstock tree 1\n\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		tr, err := tree.Decode(data)
		if err != nil {
			return
		}
		if err := tr.Check(); err != nil || !bytes.Equal(tr.Encode(), data) {
			t.Fatalf("not canonical: %v", err)
		}
		for _, e := range tr.Entries {
			if strings.HasPrefix(e.Path, "/") || strings.Contains("/"+e.Path+"/", "/../") {
				t.Fatalf("outside: %q", e.Path)
			}
		}
	})
}

func FuzzReadFrames(f *testing.F) {
	var good bytes.Buffer
	for _, text := range []string{"one", "two"} {
		c := chunk(text)
		good.Write(c.Digest[:])
		good.Write([]byte{0, 0, 0, byte(c.Size)})
		good.WriteString(text)
	}
	f.Add(good.Bytes())
	f.Add(good.Bytes()[:40])
	f.Fuzz(func(t *testing.T, data []byte) {
		read := 0
		err := tree.ReadFrames(bytes.NewReader(data), func(c tree.Chunk, data []byte) error {
			if c.Size != len(data) || sha256.Sum256(data) != c.Digest {
				t.Fatalf("an unchecked chunk: %+v", c)
			}
			read += 36 + len(data)
			return nil
		})
		if err == nil && read != len(data) {
			t.Fatalf("%d of %d bytes are chunks", read, len(data))
		}
	})
}

// The archive is the same each time, and holds what the tree does.
func TestZip(t *testing.T) {
	in := t.TempDir()
	write(t, in, "run.sh", "#!/bin/sh\n", 0o755)
	write(t, in, "d/large", content("l", 5<<20), 0o644)
	write(t, in, "d/none", "", 0o600)
	m := newMemory()
	publish(t, m, in)
	tr, err := tree.Decode(m.manifest)
	if err != nil {
		t.Fatal(err)
	}
	var first, second bytes.Buffer
	for _, out := range []*bytes.Buffer{&first, &second} {
		if err := tr.Zip(out, func(w io.Writer, c tree.Chunk) error { _, err := w.Write(m.chunks[c.Digest]); return err }); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("two archives of one tree differ")
	}
	r, err := zip.NewReader(bytes.NewReader(first.Bytes()), int64(first.Len()))
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	if err := rootfs.Unzip(r, out, rootfs.DefaultLimits); err != nil || describe(t, out) != describe(t, in) {
		t.Errorf("%v\n%s\nwas\n%s", err, describe(t, out), describe(t, in))
	}
}
