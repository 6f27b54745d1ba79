//go:build unix

package process

import (
	"os"
	"os/exec"
	"syscall"
)

// OwnGroup puts a program into a process group of its own, so that it ends
// together with everything it started.
func OwnGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// Interrupt and Terminate ask a program to end, Kill ends it.
var (
	Interrupt = syscall.SIGINT
	Terminate = syscall.SIGTERM
	Kill      = syscall.SIGKILL
)

// SignalGroup reaches a program's group.
func SignalGroup(pid int, sig syscall.Signal) { _ = syscall.Kill(-pid, sig) }

// Tree is a program and everything that it has started.
type Tree struct{ pid int }

// Start begins a program in a group of its own.
func Start(cmd *exec.Cmd) (*Tree, error) {
	OwnGroup(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &Tree{pid: cmd.Process.Pid}, nil
}

// Signal reaches the program's group, and those of its descendants that have
// left it.
func (t *Tree) Signal(sig syscall.Signal) {
	outside := descendants(t.pid)
	SignalGroup(t.pid, sig)
	for _, p := range outside {
		_ = syscall.Kill(p, sig)
	}
}

// Close forgets the tree. What still runs goes on until its job ends.
func (t *Tree) Close() {}

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

// EndMarked kills the processes that a job left behind, wherever they are now.
func EndMarked(mark string) { SignalMarked(mark, Kill) }

// SignalMarked reaches the processes of a job, wherever they are now.
func SignalMarked(mark string, sig syscall.Signal) {
	for _, p := range processes() {
		if p.marked(mark) {
			_ = syscall.Kill(p.id, sig)
		}
	}
}

// ExitCode is a program's own, or 128 and the number of the signal that ended
// it, as a shell and the service's agent have it.
func ExitCode(s *os.ProcessState) int {
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return s.ExitCode()
}

// Reload asks a service to read its configuration again.
func Reload(pid int) { _ = syscall.Kill(pid, syscall.SIGHUP) }
