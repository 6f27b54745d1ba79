// Package id makes identifiers: time-ordered UUIDs for rows and random tokens
// for credentials.
package id

import (
	"crypto/rand"
	"encoding/hex"

	"github.com/google/uuid"
)

// New returns a UUIDv7 in its 36-character text form.
func New() string { return uuid.Must(uuid.NewV7()).String() }

// Secret returns n random bytes as lower-case hexadecimal.
func Secret(n int) string {
	b := make([]byte, n)
	// crypto/rand.Read never fails since Go 1.24; it ends the process instead.
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// space makes ids of From differ from those of other programs.
var space = uuid.MustParse("6f1d3b8e-58c5-4d0e-9f37-0d9f2b8f5a11")

// From returns the same UUID for the same parts, for rows that are derived from
// others and for things the API wants a UUID of.
func From(parts ...string) string {
	b := []byte{}
	for _, p := range parts {
		b = append(append(b, p...), 0)
	}
	return uuid.NewSHA1(space, b).String()
}
