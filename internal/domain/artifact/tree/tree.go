// Package tree is the content of an artifact: files with modes, links and
// folders, whose bytes are chunks known by their digest. It has the canonical
// manifest, the frames in which chunks travel, and both ends of a transfer.
package tree

import (
	"crypto/sha256"
	"encoding/hex"
	"path"
	"strings"
	"unicode/utf8"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rootfs"
)

// The bounds of a tree. A manifest beyond them is refused.
const (
	MaxEntries   = 200_000
	MaxChunks    = 500_000 // mentioned, all files together
	MaxBytes     = 64 << 30
	MaxPath      = 4096 // bytes
	MaxName      = 255  // bytes of one part of a path
	MaxManifest  = 64 << 20
	MaxChunkSize = 4 << 20
)

// Digest is a SHA-256.
type Digest [sha256.Size]byte

// String writes the digest as sha256:HEX.
func (d Digest) String() string { return "sha256:" + hex.EncodeToString(d[:]) }

// Chunk is a run of bytes, 1 to MaxChunkSize.
type Chunk struct {
	Digest Digest
	Size   int
}

// Kind says what an entry is.
type Kind byte

// The kinds of entries, as they stand in a manifest.
const (
	File   Kind = 'f'
	Folder Kind = 'd'
	Link   Kind = 'l'
)

// Entry is one file, folder or link.
type Entry struct {
	Path   string // below the root, slash separated, clean
	Kind   Kind
	Mode   uint32  // permission bits of files and folders
	Chunks []Chunk // of a file, in order
	Target string  // of a link: relative, and never outside the root
}

// Size is the length of a file in bytes.
func (e *Entry) Size() int64 {
	var n int64
	for _, c := range e.Chunks {
		n += int64(c.Size)
	}
	return n
}

// Tree is the entries of an artifact in the order of their paths, byte by byte.
// Every folder that a path goes through is an entry of its own.
type Tree struct{ Entries []Entry }

// Totals returns the number of files and links, and of bytes.
func (t *Tree) Totals() (files int, bytes int64) {
	for i := range t.Entries {
		if t.Entries[i].Kind != Folder {
			files++
		}
		bytes += t.Entries[i].Size()
	}
	return files, bytes
}

// Distinct lists each chunk once, in the order in which the entries first name
// them: that order numbers the chunks in a request for some of them.
func (t *Tree) Distinct() []Chunk {
	seen, list := map[Digest]struct{}{}, []Chunk(nil)
	for i := range t.Entries {
		for _, c := range t.Entries[i].Chunks {
			if _, ok := seen[c.Digest]; !ok {
				seen[c.Digest] = struct{}{}
				list = append(list, c)
			}
		}
	}
	return list
}

func bad(format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, "artifact-manifest", "the list of an artifact's files cannot be used: "+format, args...)
}

func tooLarge(what string, limit int64) error {
	return fault.New(fault.Invalid, "artifact-too-large", "the artifact is too large").Want("at most %d %s", limit, what).
		Try("publish less, or one archive of it: ArchiveFiles@2")
}

// Check refuses what is not canonical, not confined to its root, or too large.
func (t *Tree) Check() error {
	if len(t.Entries) > MaxEntries {
		return tooLarge("files and folders", MaxEntries)
	}
	c := checker{folders: map[string]bool{".": true}, sizes: map[Digest]int{}}
	for i := range t.Entries {
		e := &t.Entries[i]
		if i > 0 && t.Entries[i-1].Path >= e.Path {
			return bad("it is not in order at %q", e.Path)
		}
		if err := c.entry(e); err != nil {
			return err
		}
	}
	return nil
}

type checker struct {
	folders map[string]bool
	sizes   map[Digest]int
	chunks  int
	bytes   int64
}

func (c *checker) entry(e *Entry) error {
	if err := CheckPath(e.Path); err != nil {
		return err
	}
	if !c.folders[path.Dir(e.Path)] {
		return bad("%q is in a folder that is not listed", e.Path)
	}
	if e.Mode > 0o777 {
		return bad("%q has mode %o", e.Path, e.Mode)
	}
	if e.Kind != File && len(e.Chunks) > 0 || e.Kind != Link && e.Target != "" || e.Kind == Link && e.Mode != 0 {
		return bad("%q has what its kind does not have", e.Path)
	}
	switch e.Kind {
	case Folder:
		c.folders[e.Path] = true
	case Link:
		if !Inside(e.Path, e.Target) {
			return fault.New(fault.Invalid, "artifact-link-outside", "a link of the artifact leads outside of it").Got("%s → %s", e.Path, e.Target)
		}
	case File:
		return c.file(e)
	default:
		return bad("%q is of kind %q", e.Path, e.Kind)
	}
	return nil
}

func (c *checker) file(e *Entry) error {
	if c.chunks += len(e.Chunks); c.chunks > MaxChunks {
		return tooLarge("chunks", MaxChunks)
	}
	for _, x := range e.Chunks {
		if x.Size < 1 || x.Size > MaxChunkSize {
			return bad("%q has a chunk of %d bytes", e.Path, x.Size)
		}
		if known, ok := c.sizes[x.Digest]; ok && known != x.Size {
			return bad("%q has a chunk of two sizes", e.Path)
		}
		c.sizes[x.Digest] = x.Size
		if c.bytes += int64(x.Size); c.bytes > MaxBytes {
			return tooLarge("bytes", MaxBytes)
		}
	}
	return nil
}

// CheckPath refuses a path that is not below the root, or that not every
// machine can write.
func CheckPath(p string) error {
	if p == "" || p == "." || len(p) > MaxPath || path.IsAbs(p) || path.Clean(p) != p || p == ".." || strings.HasPrefix(p, "../") {
		return badPath(p)
	}
	if !utf8.ValidString(p) || strings.ContainsAny(p, "\\\x00") {
		return badPath(p)
	}
	for name := range strings.SplitSeq(p, "/") {
		if len(name) > MaxName {
			return badPath(p)
		}
	}
	return nil
}

func badPath(p string) error {
	if len(p) > 300 {
		p = p[:300] + "…"
	}
	return fault.New(fault.Invalid, "artifact-path", "a path cannot be part of an artifact").Got("%q", p).
		Want("UTF-8 without \\, at most %d bytes and %d for each name, below the root", MaxPath, MaxName)
}

// Inside says whether a link can be part of a tree: it stays below the root
// whatever else the tree holds.
func Inside(link, target string) bool {
	if len(target) > MaxPath || !utf8.ValidString(target) {
		return false
	}
	for part := range strings.SplitSeq(target, "/") {
		if len(part) > MaxName {
			return false
		}
	}
	return rootfs.LinkInside(link, target)
}
