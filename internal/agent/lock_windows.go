//go:build windows

package agent

import (
	"os"

	"penstock.dev/penstock/internal/base/fault"
)

// lock makes sure that one process works in a folder: Windows does not remove a
// file that a process holds open.
func lock(file string) (unlock func(), err error) {
	_ = os.Remove(file)
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fault.Wrap(err, fault.Conflict, "agent-running", "an agent runs in this folder already").At("%s", file)
	}
	return func() { _ = f.Close() }, nil
}
