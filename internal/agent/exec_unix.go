//go:build unix

package agent

import (
	"os/exec"
	"syscall"
)

// ownGroup puts a program into a process group of its own, so that it ends
// together with everything it started.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// The two requests to end, and the order.
var (
	sigInterrupt = syscall.SIGINT
	sigTerminate = syscall.SIGTERM
	sigKill      = syscall.SIGKILL
)

func signalGroup(pid int, sig syscall.Signal) { _ = syscall.Kill(-pid, sig) }

// reloadProcess asks a service to read its configuration again.
func reloadProcess(pid int) { _ = syscall.Kill(pid, syscall.SIGHUP) }
