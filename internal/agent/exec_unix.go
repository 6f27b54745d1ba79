//go:build unix

package agent

import (
	"os"
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

// signalTree reaches a program's group, and those of its descendants that have
// left it.
func signalTree(pid int, sig syscall.Signal) {
	outside := descendants(pid)
	signalGroup(pid, sig)
	for _, p := range outside {
		_ = syscall.Kill(p, sig)
	}
}

// descendants lists the processes below one.
func descendants(pid int) []int {
	children := map[int][]int{}
	for _, p := range processes() {
		children[p.parent] = append(children[p.parent], p.id)
	}
	list := []int{pid}
	for i := 0; i < len(list); i++ {
		list = append(list, children[list[i]]...)
	}
	return list[1:]
}

// endMarked kills the processes that a job left behind, wherever they are now.
func endMarked(mark string) {
	for _, p := range processes() {
		if p.marked(mark) {
			_ = syscall.Kill(p.id, sigKill)
		}
	}
}

// exitCode is a program's own, or 128 and the number of the signal that ended
// it, as a shell and the service's agent have it.
func exitCode(s *os.ProcessState) int {
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return s.ExitCode()
}

// reloadProcess asks a service to read its configuration again.
func reloadProcess(pid int) { _ = syscall.Kill(pid, syscall.SIGHUP) }
