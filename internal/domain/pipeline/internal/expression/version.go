package expression

import (
	"strconv"
	"strings"
)

// Version has two to four parts; absent ones are -1.
type Version struct{ parts [4]int32 }

// ParseVersion reads "1.2", "1.2.3" or "1.2.3.4". Each part is a whole number
// that may have a sign and white space around it, because the service's library
// reads it so.
func ParseVersion(s string) (Version, bool) {
	v := Version{[4]int32{-1, -1, -1, -1}}
	for i := 0; ; i++ {
		part, rest, more := strings.Cut(s, ".")
		n, err := strconv.ParseInt(strings.Trim(part, asciiSpace), 10, 32)
		if i == len(v.parts) || err != nil || n < 0 || strings.Contains(part, "_") {
			return v, false
		}
		v.parts[i] = int32(n)
		if !more {
			return v, i > 0
		}
		s = rest
	}
}

// String joins the parts that are there.
func (v Version) String() string {
	var room [48]byte
	out := room[:0]
	for i, p := range v.parts {
		if p < 0 {
			break
		}
		if i > 0 {
			out = append(out, '.')
		}
		out = strconv.AppendInt(out, int64(p), 10)
	}
	return string(out)
}

// Cmp orders versions part by part; 1.2 comes before 1.2.0.
func (v Version) Cmp(o Version) int {
	for i, p := range v.parts {
		if p != o.parts[i] {
			if p < o.parts[i] {
				return -1
			}
			return 1
		}
	}
	return 0
}
