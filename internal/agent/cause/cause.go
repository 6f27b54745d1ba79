// Package cause tells what the system did to a program from what the program did
// itself: memory, disk, network and signals from outside are no failure of the
// user's.
package cause

import (
	"errors"
	"fmt"
	"syscall"

	"penstock.dev/penstock/internal/base/fault"
)

// Facts are what is known of a step that failed.
type Facts struct {
	Err    error
	Code   int // of the last program that failed; 0: none did
	Signal int // that ended it; 0: it ended by itself, or that is not known

	GroupKills   int64 // processes of this control group that the kernel ended for want of memory
	MachineKills int64 // of the whole machine

	Folder string // whose file system Free and Files are of
	Free   int64  // bytes; -1: not known
	Files  int64  // that may still be made; -1: not known
}

// little is so little space that writing fails, in bytes.
const little = 1 << 20

// Of explains a failure; "" where it is the program's own, as far as can be seen.
func Of(f Facts) string {
	killed := f.Signal == int(syscall.SIGKILL) || f.Signal == 0 && f.Code == 128+int(syscall.SIGKILL)
	switch {
	case f.GroupKills > 0:
		return fmt.Sprintf("out of memory: the kernel ended %d of the processes in the control group of the agent while the step ran", f.GroupKills)
	case killed && f.MachineKills > 0:
		return "out of memory: the kernel ended processes of this machine for want of memory while the step ran"
	case errors.Is(f.Err, syscall.ENOSPC) || errors.Is(f.Err, errQuota):
		return "disk full: " + f.Err.Error()
	case f.Free >= 0 && f.Free < little:
		return fmt.Sprintf("disk full: %d bytes are free on the file system of %s", f.Free, f.Folder)
	case f.Files == 0:
		return fmt.Sprintf("disk full: no further file can be made on the file system of %s", f.Folder)
	case f.Err != nil && (fault.CodeOf(f.Err) == "server-unreachable" || fault.CodeOf(f.Err) == "server-not-ready"):
		return "network lost: " + f.Err.Error()
	case outside[f.Signal]:
		return fmt.Sprintf("signal: %s ended the program from outside", Name(f.Signal))
	case f.Signal == 0 && outside[f.Code-128]:
		return fmt.Sprintf("signal: exit code %d says that %s ended a program from outside", f.Code, Name(f.Code-128))
	}
	return ""
}

// outside are the signals by which somebody else ends a program. Others, such as
// SIGSEGV, are what a program brings on itself.
var outside = map[int]bool{int(syscall.SIGHUP): true, int(syscall.SIGINT): true, int(syscall.SIGQUIT): true, int(syscall.SIGKILL): true, int(syscall.SIGTERM): true}

// Crash names the signal of a program that ended by its own fault, as SIGSEGV; "":
// that is not how it ended.
func Crash(f Facts) string {
	n := f.Signal
	if n == 0 && f.Code > 128 {
		n = f.Code - 128
	}
	if !crashes[n] {
		return ""
	}
	return Name(n)
}

var crashes = map[int]bool{int(syscall.SIGILL): true, int(syscall.SIGABRT): true, int(syscall.SIGBUS): true, int(syscall.SIGFPE): true, int(syscall.SIGSEGV): true, int(syscall.SIGTRAP): true}

// names are the same on every system that Penstock runs on.
var names = map[syscall.Signal]string{syscall.SIGHUP: "SIGHUP", syscall.SIGINT: "SIGINT", syscall.SIGQUIT: "SIGQUIT", syscall.SIGILL: "SIGILL", syscall.SIGTRAP: "SIGTRAP", syscall.SIGABRT: "SIGABRT",
	syscall.SIGBUS: "SIGBUS", syscall.SIGFPE: "SIGFPE", syscall.SIGKILL: "SIGKILL", syscall.SIGSEGV: "SIGSEGV", syscall.SIGPIPE: "SIGPIPE", syscall.SIGALRM: "SIGALRM", syscall.SIGTERM: "SIGTERM"}

// Name is a signal for people, as "signal 9 (SIGKILL)".
func Name(n int) string {
	if name := names[syscall.Signal(n)]; name != "" {
		return fmt.Sprintf("signal %d (%s)", n, name)
	}
	return fmt.Sprintf("signal %d", n)
}
