//go:build unix

package gitcli

import (
	"os/exec"
	"syscall"
)

// endTogether makes a cancelled git end with the helpers that it has started.
func endTogether(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
