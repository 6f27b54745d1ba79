package confine

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"penstock.dev/penstock/internal/base/fault"
)

// setupFile is the descriptor from which the program reads first.
const setupFile = 4

// setup is what the program needs to close itself in.
type setup struct {
	Work     string
	ReadOnly []string
	Proxy    string // socket
	Env      []string
	User     int // who it becomes where it begins as root; 0 = it stays who it is
}

// unprivileged is who a confined program is where the agent is root: nobody.
const unprivileged = 65534

// system are the folders of programs that can be read.
var system = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix"}

// checked is the answer of Check; the kernel does not change its mind.
var checked = sync.OnceValue(func() error {
	dir, err := os.MkdirTemp("", "penstock-cell-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	c, err := Start(Spec{Role: roleCheck, Work: dir})
	if err != nil {
		return err
	}
	_ = c.In.Close()
	var said [64 << 10]byte
	n, _ := c.Out.Read(said[:])
	if err := c.Wait(); err != nil || string(said[:n]) != "ok" {
		return cannot(errors.Join(err, errors.New(string(said[:n]))))
	}
	return nil
})

// Check says why programs cannot be closed in here, nil if they can: it closes
// one in.
func Check() error { return checked() }

func cannot(err error) error {
	return fault.Wrap(err, fault.Unavailable, "cannot-confine", "the kernel does not let this agent close in untrusted code: %v", err).
		Try("allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces), or use another agent")
}

// Start closes the program in and runs it.
func Start(s Spec) (*Cell, error) {
	if os.Getuid() == 0 {
		if err := give(s.Work, unprivileged, unprivileged); err != nil {
			return nil, err
		}
	}
	p, err := newProxy(s.Reach)
	if err != nil {
		return nil, err
	}
	c, err := start(s, p)
	if err != nil {
		p.close()
		return nil, err
	}
	return c, nil
}

func start(s Spec, p *proxy) (*Cell, error) {
	out, report, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, out.Close(), report.Close())
	}
	defer func() { _, _ = report.Close(), read.Close() }()
	cmd := exec.Command("/proc/self/exe", s.Role)
	cmd.Args[0] = argument
	cmd.Env = []string{}
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{report, read}
	cmd.Stdout, cmd.Stderr = s.Console, s.Console
	inside := setup{Work: s.Work, Proxy: p.path(), Env: s.Env}
	for _, folder := range s.ReadOnly {
		if _, err := os.Stat(folder); err == nil {
			inside.ReadOnly = append(inside.ReadOnly, folder)
		}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true,
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS}
	if os.Getuid() == 0 {
		inside.User = unprivileged // root may do all that follows, and then gives it up
	} else {
		a := cmd.SysProcAttr
		a.Cloneflags |= syscall.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}}
		a.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN, unix.CAP_SETPCAP}
	}
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(cannot(err), out.Close(), write.Close())
	}
	group, unlimited := limit(cmd.Process.Pid, s.Limits)
	text, err := json.Marshal(inside)
	if err == nil {
		_, err = write.Write(text)
	}
	err = errors.Join(err, write.Close())
	c := &Cell{In: in, Out: out, Unlimited: unlimited, kill: func() { _ = cmd.Process.Kill() }}
	c.wait = func() error {
		err := cmd.Wait()
		p.close()
		group.remove()
		return err
	}
	if err != nil {
		c.kill()
		_ = c.wait()
		return nil, errors.Join(err, out.Close())
	}
	return c, nil
}

// give makes a folder, with what is in it, that of the confined user. Links are
// not followed.
func give(folder string, uid, gid int) error {
	return filepath.WalkDir(folder, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, gid)
	})
}

// group is where the use of a cell is bounded.
type group []string

func (g group) remove() {
	for _, dir := range g {
		_ = os.Remove(dir)
	}
}

// limit bounds what a process and its children use. It returns why it could not.
func limit(pid int, l Limits) (group, string) {
	if l.Processes == 0 {
		l.Processes = 4096
	}
	if l.Memory == 0 {
		var info unix.Sysinfo_t
		if err := unix.Sysinfo(&info); err == nil {
			l.Memory = int64(info.Totalram) * int64(info.Unit) / 4 * 3
		}
	}
	const root = "/sys/fs/cgroup"
	name := "penstock-" + strconv.Itoa(pid)
	memory, processes := strconv.FormatInt(l.Memory, 10), strconv.Itoa(l.Processes)
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil {
		g, err := join(filepath.Join(root, name), pid, map[string]string{"memory.max": memory, "pids.max": processes})
		return g, because(err)
	}
	first, err := join(filepath.Join(root, "memory", name), pid, map[string]string{"memory.limit_in_bytes": memory})
	second, err2 := join(filepath.Join(root, "pids", name), pid, map[string]string{"pids.max": processes})
	return append(first, second...), because(errors.Join(err, err2))
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return "control groups: " + err.Error()
}

func join(dir string, pid int, values map[string]string) (group, error) {
	if err := os.Mkdir(dir, 0o755); err != nil && !os.IsExist(err) {
		return nil, err
	}
	for name, value := range values {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(value), 0o644); err != nil {
			return group{dir}, err
		}
	}
	return group{dir}, os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644)
}

// Output is where a confined program reports.
func Output() *os.File { return os.NewFile(outputFile, "output") }

// socketOf is the proxy's socket inside.
const socketOf = "/run/penstock-proxy.sock"

// proxyAddress is where programs inside find the proxy.
const proxyAddress = "127.0.0.1:3128"

// forward lets programs inside reach the proxy outside.
func forward() error {
	l, err := net.Listen("tcp", proxyAddress)
	if err != nil {
		return err
	}
	go func() {
		for {
			inside, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				outside, err := net.Dial("unix", socketOf)
				if err != nil {
					_ = inside.Close()
					return
				}
				splice(inside, outside)
			}()
		}
	}()
	return nil
}
