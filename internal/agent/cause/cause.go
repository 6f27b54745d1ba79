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

	Absent string // program that a shell did not find

	GroupKills   int64 // processes of this control group that the kernel ended for want of memory
	MachineKills int64 // of the whole machine

	Folder string // whose file system Free and Files are of
	Free   int64  // bytes; -1: not known
	Files  int64  // that may still be made; -1: not known
}

// little is so little space that writing fails, in bytes.
const little = 1 << 20

// exitAbsent is the exit code of a shell that did not find a program.
const exitAbsent = 127

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
	case f.Code == exitAbsent && f.Absent != "":
		return absent(f.Absent)
	case names[syscall.Signal(f.Signal)] != "":
		return fmt.Sprintf("signal: the program was ended by %s", name(f.Signal))
	case f.Signal == 0 && names[syscall.Signal(f.Code-128)] != "":
		return fmt.Sprintf("signal: exit code %d says that %s ended a program", f.Code, name(f.Code-128))
	}
	return ""
}

// names are the same on every system that Penstock runs on.
var names = map[syscall.Signal]string{syscall.SIGHUP: "SIGHUP", syscall.SIGINT: "SIGINT", syscall.SIGQUIT: "SIGQUIT", syscall.SIGILL: "SIGILL", syscall.SIGTRAP: "SIGTRAP", syscall.SIGABRT: "SIGABRT",
	syscall.SIGBUS: "SIGBUS", syscall.SIGFPE: "SIGFPE", syscall.SIGKILL: "SIGKILL", syscall.SIGSEGV: "SIGSEGV", syscall.SIGPIPE: "SIGPIPE", syscall.SIGALRM: "SIGALRM", syscall.SIGTERM: "SIGTERM"}

// name is a signal for people, as "signal 9 (SIGKILL)".
func name(n int) string { return fmt.Sprintf("signal %d (%s)", n, names[syscall.Signal(n)]) }
