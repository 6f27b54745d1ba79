//go:build !linux

package confine

import (
	"os"

	"penstock.dev/penstock/internal/base/fault"
)

// Check says why programs cannot be closed in here.
func Check() error {
	return fault.New(fault.Unavailable, "cannot-confine", "this system has no namespaces: untrusted code cannot be closed in").Try("run it on an agent on Linux")
}

// Start says why it cannot.
func Start(Spec) (*Cell, error) { return nil, Check() }

// Inside says that this process is not confined.
func Inside() (role string, ok bool) { return "", false }

// Output is where a confined program reports.
func Output() *os.File { return os.Stdout }
