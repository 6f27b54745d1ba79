//go:build !linux

package detached

import (
	"context"
	"time"

	"penstock.dev/penstock/internal/base/fault"
)

// Start says that it cannot: finding such programs again takes what Linux knows
// of processes.
func Start(Spec) error {
	return fault.New(fault.Unavailable, "needs-linux", "local VMs and the embedded agent need Linux").
		Try("run the server on Linux; penstock run and penstock agent work here")
}

// PID returns 0: nothing runs.
func PID(string) int { return 0 }

// Stop does nothing: nothing runs.
func Stop(context.Context, string, time.Duration) {}

// Kill does nothing: nothing runs.
func Kill(string) {}
