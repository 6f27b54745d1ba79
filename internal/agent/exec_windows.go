//go:build windows

package agent

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup lets a program be interrupted without its parent.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// Windows knows one way to end a program that is not its own console.
var (
	sigInterrupt = syscall.SIGINT
	sigTerminate = syscall.SIGTERM
	sigKill      = syscall.SIGKILL
)

func signalGroup(pid int, sig syscall.Signal) {
	if sig != sigKill {
		return
	}
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
	}
}

// reloadProcess does nothing: Windows services are asked in another way.
func reloadProcess(int) {}
