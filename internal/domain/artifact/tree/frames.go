package tree

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"

	"penstock.dev/penstock/internal/base/fault"
)

// frameHead is the length of what stands before the bytes of a chunk on its way
// to the server: its digest and its size, as 4 bytes, most significant first.
const frameHead = sha256.Size + 4

// The bounds of one delivery of chunks.
const (
	MaxFrames    = 1 << 16
	MaxFrameSize = 32 << 20 // all together, in bytes
)

func putHead(frame []byte, c Chunk) {
	copy(frame, c.Digest[:])
	binary.BigEndian.PutUint32(frame[sha256.Size:], uint32(c.Size))
}

// ReadFrames reads chunks from a delivery, which may be hostile, checks each
// against its digest, and gives it to take, which must not keep data. It
// returns nil at the end of the delivery, and at the first chunk that is not
// whole or not what it says, an error.
func ReadFrames(r io.Reader, take func(c Chunk, data []byte) error) error {
	r = bufio.NewReaderSize(r, 256<<10)
	var head [frameHead]byte
	buf := make([]byte, 0, 64<<10)
	total := 0
	for n := 0; ; n++ {
		if _, err := io.ReadFull(r, head[:]); err == io.EOF {
			return nil
		} else if err != nil {
			return broken(err)
		}
		size := binary.BigEndian.Uint32(head[sha256.Size:])
		if size < 1 || size > MaxChunkSize || n >= MaxFrames || total+int(size) > MaxFrameSize {
			return fault.New(fault.Invalid, "chunk-size", "a delivery of chunks is not within its bounds").Got("chunk %d of %d bytes", n, size).
				Want("1 to %d bytes in a chunk, %d together, %d chunks", MaxChunkSize, MaxFrameSize, MaxFrames)
		}
		total += int(size)
		if cap(buf) < int(size) {
			buf = make([]byte, 0, MaxChunkSize)
		}
		if _, err := io.ReadFull(r, buf[:size]); err != nil {
			return broken(err)
		}
		c := Chunk{Digest: Digest(head[:sha256.Size]), Size: int(size)}
		if sha256.Sum256(buf[:size]) != c.Digest {
			return fault.New(fault.Unavailable, "chunk-corrupt", "a chunk does not match its digest").Want("%s", c.Digest).Try("try again: it was altered on its way")
		}
		if err := take(c, buf[:size]); err != nil {
			return err
		}
	}
}

func broken(err error) error {
	if fault.KindOf(err) != fault.Internal && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	return fault.Wrap(err, fault.Unavailable, "upload-broken", "the upload broke off").Try("try again; what arrived is kept")
}
