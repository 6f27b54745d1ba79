package tree

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math"
)

// MediaType is that of a manifest.
const MediaType = "application/vnd.penstock.tree"

// magic begins every manifest; what follows it is
//
//	uvarint entries, then for each: kind, uvarint mode, path,
//	  of a file: uvarint chunks, then for each: uvarint size, digest
//	  of a link: target
//
// with texts as uvarint length and bytes.
const magic = "penstock tree 1\n"

// Encode writes the manifest of a tree that has passed Check. Equal trees have
// equal manifests.
func (t *Tree) Encode() []byte {
	out := binary.AppendUvarint([]byte(magic), uint64(len(t.Entries)))
	text := func(s string) { out = append(binary.AppendUvarint(out, uint64(len(s))), s...) }
	for i := range t.Entries {
		e := &t.Entries[i]
		out = binary.AppendUvarint(append(out, byte(e.Kind)), uint64(e.Mode))
		text(e.Path)
		switch e.Kind {
		case File:
			out = binary.AppendUvarint(out, uint64(len(e.Chunks)))
			for _, c := range e.Chunks {
				out = append(binary.AppendUvarint(out, uint64(c.Size)), c.Digest[:]...)
			}
		case Link:
			text(e.Target)
		}
	}
	return out
}

// DigestOf is the digest of an artifact: that of its manifest.
func DigestOf(manifest []byte) Digest { return sha256.Sum256(manifest) }

// Decode reads a manifest, which may be hostile: what is not exactly what
// Encode writes of a checked tree is refused.
func Decode(manifest []byte) (*Tree, error) {
	if len(manifest) > MaxManifest {
		return nil, tooLarge("bytes in its list of files", MaxManifest)
	}
	rest, ok := bytes.CutPrefix(manifest, []byte(magic))
	if !ok {
		return nil, bad("it does not begin like one")
	}
	r := reader{rest: rest}
	n := r.number(MaxEntries)
	t := &Tree{}
	for range n {
		if r.broken {
			break
		}
		t.Entries = append(t.Entries, r.entry())
	}
	if r.broken || len(r.rest) > 0 {
		return nil, bad("it ends too early, goes on after its end, or has a number out of bounds")
	}
	if err := t.Check(); err != nil {
		return nil, err
	}
	if !bytes.Equal(t.Encode(), manifest) {
		return nil, bad("a number is written longer than it must be")
	}
	return t, nil
}

// reader takes fields off a manifest; broken sticks.
type reader struct {
	rest   []byte
	broken bool
}

func (r *reader) number(limit uint64) uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || v > limit {
		r.broken = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) bytes(n int) []byte {
	if n > len(r.rest) {
		r.broken = true
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) text() string { return string(r.bytes(int(r.number(MaxPath)))) }

func (r *reader) entry() Entry {
	var e Entry
	if kind := r.bytes(1); kind != nil {
		e.Kind = Kind(kind[0])
	}
	e.Mode = uint32(r.number(math.MaxUint32))
	e.Path = r.text()
	switch e.Kind {
	case File:
		for range r.number(MaxChunks) {
			c := Chunk{Size: int(r.number(MaxChunkSize))}
			copy(c.Digest[:], r.bytes(len(c.Digest)))
			if r.broken {
				break
			}
			e.Chunks = append(e.Chunks, c)
		}
	case Link:
		e.Target = r.text()
	}
	return e
}
