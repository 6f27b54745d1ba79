package transform

import (
	"bytes"
	"unicode/utf16"
)

// encoding is how a file was written, so that it can be written again.
type encoding struct {
	wide, big bool // UTF-16
	bom       bool
}

func decode(data []byte) (string, encoding) {
	switch {
	case bytes.HasPrefix(data, []byte{0xef, 0xbb, 0xbf}):
		return string(data[3:]), encoding{bom: true}
	case bytes.HasPrefix(data, []byte{0xff, 0xfe}), bytes.HasPrefix(data, []byte{0xfe, 0xff}):
		e := encoding{wide: true, big: data[0] == 0xfe, bom: true}
		units := make([]uint16, 0, len(data)/2)
		for i := 2; i+1 < len(data); i += 2 {
			lo, hi := data[i], data[i+1]
			if e.big {
				lo, hi = hi, lo
			}
			units = append(units, uint16(hi)<<8|uint16(lo))
		}
		return string(utf16.Decode(units)), e
	}
	return string(data), encoding{}
}

func (e encoding) encode(text string) []byte {
	if !e.wide {
		if e.bom {
			return append([]byte{0xef, 0xbb, 0xbf}, text...)
		}
		return []byte(text)
	}
	var out []byte
	for _, u := range utf16.Encode([]rune("\uFEFF" + text)) {
		if e.big {
			out = append(out, byte(u>>8), byte(u))
		} else {
			out = append(out, byte(u), byte(u>>8))
		}
	}
	return out
}
