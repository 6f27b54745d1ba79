//go:build windows

package agent

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/windows"
)

// ownGroup lets a program be interrupted without its parent.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

var (
	sigInterrupt = syscall.SIGINT
	sigTerminate = syscall.SIGTERM
	sigKill      = syscall.SIGKILL
)

func signalGroup(pid int, sig syscall.Signal) { signalTree(pid, sig) }

// signalTree asks a console program to end by a break, and ends it with all its
// children by the system's own tool.
func signalTree(pid int, sig syscall.Signal) {
	if sig != sigKill {
		_ = windows.GenerateConsoleCtrlEvent(windows.CTRL_BREAK_EVENT, uint32(pid))
		return
	}
	tool := filepath.Join(os.Getenv("SystemRoot"), "System32", "taskkill.exe")
	if exec.Command(tool, "/PID", strconv.Itoa(pid), "/T", "/F").Run() == nil {
		return
	}
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
	}
}

// endMarked does nothing: another process's environment cannot be read here.
func endMarked(string) {}

// exitCode is what the program ended with.
func exitCode(s *os.ProcessState) int { return s.ExitCode() }

// reloadProcess does nothing: Windows services are asked in another way.
func reloadProcess(int) {}
