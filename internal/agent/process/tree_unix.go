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

// EndRest kills what is left of the group of a program that has ended and was
// waited for. Its number may belong to another program by now, so only processes
// with the mark of the job count.
func (t *Tree) EndRest(mark string) {
	for _, p := range processes() {
		if p.group == t.pid && p.marked(mark) {
			p.signal(mark, Kill)
		}
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

// EndMarked kills the processes that a job left behind, wherever they are now, and
// returns how many there were. What they start meanwhile is found too: it looks
// until nothing is left, a bounded number of times.
func EndMarked(mark string) (ended int) {
	const rounds = 50
	seen := map[int]bool{}
	for range rounds {
		found := SignalMarked(mark, Kill)
		if len(found) == 0 {
			break
		}
		for _, id := range found {
			seen[id] = true
		}
	}
	return len(seen)
}

// SignalMarked reaches the processes of a job, wherever they are now, and returns
// their numbers.
func SignalMarked(mark string, sig syscall.Signal) (reached []int) {
	for _, p := range processes() {
		if p.marked(mark) && p.signal(mark, sig) {
			reached = append(reached, p.id)
		}
	}
	return reached
}

// ExitCode is a program's own, or 128 and the number of the signal that ended
// it, as a shell and the service's agent have it.
func ExitCode(s *os.ProcessState) int {
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return s.ExitCode()
}

// SignalOf is the number of the signal that ended a program; 0: it ended itself.
func SignalOf(s *os.ProcessState) int {
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return int(w.Signal())
	}
	return 0
}

// Reload asks a service to read its configuration again.
func Reload(pid int) { _ = syscall.Kill(pid, syscall.SIGHUP) }
