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
