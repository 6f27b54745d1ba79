//go:build windows

package process

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Interrupt and Terminate ask a program to end, Kill ends it.
var (
	Interrupt = syscall.SIGINT
	Terminate = syscall.SIGTERM
	Kill      = syscall.SIGKILL
)

// Tree is a program and everything that it has started: a job object holds
// them, whatever becomes of their parents.
type Tree struct {
	pid int
	job windows.Handle
}

// whole are the job objects of jobs by their mark; the trees of a job's programs
// lie within it.
var whole = struct {
	sync.Mutex
	jobs map[string]windows.Handle
}{jobs: map[string]windows.Handle{}}

// Start begins a program that can be interrupted without its parent. It does
// not run before it is in its job objects, so nothing that it starts is outside.
func Start(cmd *exec.Cmd) (*Tree, error) {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return nil, err
	}
	OwnGroup(cmd)
	cmd.SysProcAttr.CreationFlags |= windows.CREATE_SUSPENDED
	if err := cmd.Start(); err != nil {
		_ = windows.CloseHandle(job)
		return nil, err
	}
	t := &Tree{pid: cmd.Process.Pid, job: job}
	if err := t.hold(markOf(cmd.Env)); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = windows.CloseHandle(job)
		return nil, err
	}
	return t, nil
}

func markOf(env []string) string {
	for _, pair := range env {
		if mark, ok := strings.CutPrefix(pair, Marker+"="); ok {
			return mark
		}
	}
	return ""
}

// hold puts the program into the job objects, the outer one first, and lets it
// run.
func (t *Tree) hold(mark string) error {
	p, err := windows.OpenProcess(windows.PROCESS_SET_QUOTA|windows.PROCESS_TERMINATE, false, uint32(t.pid))
	if err != nil {
		return err
	}
	defer func() { _ = windows.CloseHandle(p) }()
	if mark != "" {
		outer, err := wholeOf(mark)
		if err != nil {
			return err
		}
		if err := windows.AssignProcessToJobObject(outer, p); err != nil {
			return err
		}
	}
	if err := windows.AssignProcessToJobObject(t.job, p); err != nil {
		return err
	}
	return resume(uint32(t.pid))
}

func wholeOf(mark string) (windows.Handle, error) {
	whole.Lock()
	defer whole.Unlock()
	if job, ok := whole.jobs[mark]; ok {
		return job, nil
	}
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return 0, err
	}
	// An agent that is killed cannot look for these programs later: they end with
	// its handle.
	limits := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{BasicLimitInformation: windows.JOBOBJECT_BASIC_LIMIT_INFORMATION{LimitFlags: windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE}}
	if _, err := windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation, uintptr(unsafe.Pointer(&limits)), uint32(unsafe.Sizeof(limits))); err != nil {
		_ = windows.CloseHandle(job)
		return 0, err
	}
	whole.jobs[mark] = job
	return job, nil
}

// resume lets the threads of a program run that was started suspended.
func resume(pid uint32) error {
	list, err := windows.CreateToolhelp32Snapshot(windows.TH32CS_SNAPTHREAD, 0)
	if err != nil {
		return err
	}
	defer func() { _ = windows.CloseHandle(list) }()
	entry := windows.ThreadEntry32{Size: uint32(unsafe.Sizeof(windows.ThreadEntry32{}))}
	for err = windows.Thread32First(list, &entry); err == nil; err = windows.Thread32Next(list, &entry) {
		if entry.OwnerProcessID != pid {
			continue
		}
		thread, err := windows.OpenThread(windows.THREAD_SUSPEND_RESUME, false, entry.ThreadID)
		if err != nil {
			return err
		}
		_, err = windows.ResumeThread(thread)
		_ = windows.CloseHandle(thread)
		if err != nil {
			return err
		}
	}
	return nil
}

// Signal asks the console programs of the tree to end by a break, or ends all.
func (t *Tree) Signal(sig syscall.Signal) {
	if sig != Kill {
		_ = windows.GenerateConsoleCtrlEvent(windows.CTRL_BREAK_EVENT, uint32(t.pid))
		return
	}
	_ = windows.TerminateJobObject(t.job, 1)
}

// EndRest ends what is left of a tree whose program has ended.
func (t *Tree) EndRest(string) { _ = windows.TerminateJobObject(t.job, 1) }

// Close forgets the tree. What still runs goes on until its job ends.
func (t *Tree) Close() { _ = windows.CloseHandle(t.job) }

// EndMarked ends what the programs of a job left behind, wherever it is now, and
// returns how many job objects that were. What a killed agent left has ended with
// it.
func EndMarked(mark string) (ended int) {
	whole.Lock()
	defer whole.Unlock()
	if job, ok := whole.jobs[mark]; ok {
		_ = windows.TerminateJobObject(job, 1)
		_ = windows.CloseHandle(job)
		delete(whole.jobs, mark)
		ended = 1
	}
	return ended
}

// OwnGroup lets a program be interrupted without its parent.
func OwnGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// SignalGroup asks a console program to end by a break, and ends it with all its
// children by the system's own tool.
func SignalGroup(pid int, sig syscall.Signal) {
	if sig != Kill {
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

// ExitCode is what the program ended with.
func ExitCode(s *os.ProcessState) int { return s.ExitCode() }

// SignalOf is 0: programs are not ended by signals here.
func SignalOf(*os.ProcessState) int { return 0 }

// Reload does nothing: Windows services are asked in another way.
func Reload(int) {}

// SignalMarked does nothing: containers do not show their processes here.
func SignalMarked(string, syscall.Signal) []int { return nil }
