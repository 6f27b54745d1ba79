//go:build unix

package agent

import (
	"os"
	"syscall"

	"penstock.dev/penstock/internal/base/fault"
)

// lock makes sure that one process works in a folder. The lock goes with the
// process, however it ends.
func lock(file string) (unlock func(), err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fault.New(fault.Conflict, "agent-running", "an agent runs in this folder already").At("%s", file)
	}
	return func() { _ = f.Close() }, nil
}
