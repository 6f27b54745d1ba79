package tree

import (
	"crypto/sha256"
	"encoding/binary"
)

// Where files are cut. A file of at most minChunk bytes is one chunk; a larger
// one is cut where its content says so, so that bytes put in or taken out change
// the chunks around them only.
const (
	minChunk = 256 << 10
	avgMask  = 1<<20 - 1 // a cut every MiB on average, after minChunk
)

// gear maps bytes to numbers without a pattern; it never changes, or nothing
// would be found again.
var gear = func() (table [256]uint64) {
	for i := range table {
		sum := sha256.Sum256([]byte{'g', byte(i)})
		table[i] = binary.LittleEndian.Uint64(sum[:])
	}
	return table
}()

// cut returns the length of the first chunk of data, which holds MaxChunkSize
// bytes or the rest of its file.
func cut(data []byte) int {
	if len(data) <= minChunk {
		return len(data)
	}
	limit := min(len(data), MaxChunkSize)
	var h uint64
	// The upper bits of the hash depend on the last 64 bytes, the lower ones on
	// fewer.
	const mask = uint64(avgMask) << 44
	for i := minChunk - 64; i < limit; i++ {
		h = h<<1 + gear[data[i]]
		if h&mask == 0 && i >= minChunk {
			return i + 1
		}
	}
	return limit
}
