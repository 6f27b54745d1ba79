package artifact

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/artifact/tree"
)

// A pack is the bytes of chunks, one after the other, and its index: for each
// chunk digest and size, then
//
//	SHA-256 of the index, number of chunks (4 bytes), packMagic
//
// Numbers have their most significant byte first. A pack without a valid end is
// not there: it was never acknowledged.
const (
	packMagic  = "PSTKPK01"
	packRow    = sha256.Size + 4
	packFooter = sha256.Size + 4 + len(packMagic)
)

// packWriter turns a delivery of chunks into a pack, as a stream. When the
// delivery breaks off, the pack ends with the last chunk that was whole, and
// failed says why.
type packWriter struct {
	chunks []tree.Chunk
	failed error
}

// errNothing ends a pack that has no chunk.
var errNothing = errors.New("no chunk arrived")

// stream writes the pack.
func (p *packWriter) stream(w io.Writer, delivery io.Reader, known func(tree.Digest) bool) error {
	var lost error // the store's
	p.failed = tree.ReadFrames(delivery, func(c tree.Chunk, data []byte) error {
		if known(c.Digest) {
			return nil
		}
		if _, lost = w.Write(data); lost != nil {
			return lost
		}
		p.chunks = append(p.chunks, c)
		return nil
	})
	if lost != nil {
		return lost
	}
	if len(p.chunks) == 0 {
		return errNothing
	}
	index := make([]byte, 0, len(p.chunks)*packRow+packFooter)
	for _, c := range p.chunks {
		index = binary.BigEndian.AppendUint32(append(index, c.Digest[:]...), uint32(c.Size))
	}
	sum := sha256.Sum256(index)
	index = binary.BigEndian.AppendUint32(append(index, sum[:]...), uint32(len(p.chunks)))
	_, err := w.Write(append(index, packMagic...))
	return err
}

// readIndex reads the chunks of a pack of a size.
func readIndex(r io.ReaderAt, size int64) ([]tree.Chunk, error) {
	torn := fault.New(fault.Unavailable, "artifact-corrupt", "a pack of chunks has no valid end")
	if size < int64(packFooter) {
		return nil, torn
	}
	end := make([]byte, packFooter)
	if _, err := r.ReadAt(end, size-int64(packFooter)); err != nil && err != io.EOF {
		return nil, err
	}
	n := int64(binary.BigEndian.Uint32(end[sha256.Size:]))
	if string(end[sha256.Size+4:]) != packMagic || n > tree.MaxFrames || n*packRow > size-int64(packFooter) {
		return nil, torn
	}
	index := make([]byte, n*packRow)
	if _, err := r.ReadAt(index, size-int64(packFooter)-int64(len(index))); err != nil && err != io.EOF {
		return nil, err
	}
	if sum := sha256.Sum256(index); !bytes.Equal(sum[:], end[:sha256.Size]) {
		return nil, torn
	}
	list, total := make([]tree.Chunk, n), int64(0)
	for i := range list {
		row := index[i*packRow:]
		list[i] = tree.Chunk{Digest: tree.Digest(row[:sha256.Size]), Size: int(binary.BigEndian.Uint32(row[sha256.Size:]))}
		if list[i].Size < 1 || list[i].Size > tree.MaxChunkSize {
			return nil, torn
		}
		total += int64(list[i].Size)
	}
	if total+int64(len(index)+packFooter) != size {
		return nil, torn
	}
	return list, nil
}
