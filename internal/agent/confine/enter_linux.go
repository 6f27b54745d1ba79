package confine

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// roleCheck is the role that only says that it got inside.
const roleCheck = "check"

// Inside is called first in main. A process that Start began closes itself in
// and does not return before that is done; ok says that it is inside now, with
// nothing but its role to do.
func Inside() (role string, ok bool) {
	if len(os.Args) < 2 || os.Args[0] != argument && os.Args[0] != argument+"-in" {
		return "", false
	}
	role = os.Args[1]
	if os.Args[0] == argument {
		// One thread does everything: namespaces and privileges belong to threads.
		runtime.LockOSThread()
		err := enter() // where it succeeds it does not return
		_, _ = Output().WriteString(err.Error())
		os.Exit(1)
	}
	if err := forward(); err != nil {
		_, _ = Output().WriteString("the proxy: " + err.Error())
		os.Exit(1)
	}
	if role == roleCheck {
		_, _ = Output().WriteString("ok")
		os.Exit(0)
	}
	return role, true
}

// enter builds the file system, gives up every privilege and starts the program
// again, which is then inside.
func enter() error {
	f := os.NewFile(setupFile, "setup")
	var s setup
	if err := json.NewDecoder(f).Decode(&s); err != nil {
		return fmt.Errorf("the description of the cell: %w", err)
	}
	_ = f.Close()
	if err := build(s); err != nil {
		return err
	}
	if err := loopback(); err != nil {
		return err
	}
	_ = unix.Sethostname([]byte("penstock"))
	if err := os.Chdir(s.Work); err != nil {
		return err
	}
	if err := giveUp(s.User); err != nil {
		return err
	}
	home := filepath.Join(s.Work, "_home")
	if err := os.MkdirAll(home, 0o700); err != nil {
		return err
	}
	env := append(slices.Clone(s.Env), "HOME="+home, "http_proxy=http://"+proxyAddress, "https_proxy=http://"+proxyAddress, "HTTP_PROXY=http://"+proxyAddress,
		"HTTPS_PROXY=http://"+proxyAddress, "ALL_PROXY=http://"+proxyAddress, "all_proxy=http://"+proxyAddress, "PENSTOCK_PROXY=http://"+proxyAddress)
	return fmt.Errorf("start again: %w", unix.Exec("/proc/self/exe", []string{argument + "-in", os.Args[1]}, env))
}

// step names what failed: kernels differ in what they allow.
type steps struct{ err error }

func (s *steps) do(what string, err error) {
	if s.err == nil && err != nil {
		s.err = fmt.Errorf("%s: %w", what, err)
	}
}

// build makes a root of its own: the system's folders to read, a work folder to
// write, devices that do no harm, and nothing else.
func build(s setup) error {
	const root = "/tmp"
	b := &steps{}
	// What lies below /tmp is out of sight in a moment: open it before.
	work, socket := b.open(s.Work), b.open(s.Proxy)
	shown := make([]string, len(s.ReadOnly))
	for i, folder := range s.ReadOnly {
		shown[i] = b.open(folder)
	}
	b.do("private mounts", unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	b.do("root", unix.Mount("tmpfs", root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=64m"))
	for _, dir := range system {
		b.system(root, dir)
	}
	for _, dir := range []string{"/proc", "/dev", "/tmp", "/run", "/var/tmp", "/old"} {
		b.do(dir, os.MkdirAll(root+dir, 0o755))
	}
	b.do("/proc", unix.Mount("proc", root+"/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""))
	b.devices(root)
	b.do("/tmp", unix.Mount("tmpfs", root+"/tmp", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"))
	b.do("/var/tmp", unix.Mount("tmpfs", root+"/var/tmp", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"))
	for i, path := range s.ReadOnly {
		b.bind(shown[i], root, path, true)
	}
	b.bind(work, root, s.Work, false)
	b.do("socket", os.WriteFile(root+socketOf, nil, 0o600))
	b.do("socket", unix.Mount(socket, root+socketOf, "", unix.MS_BIND, ""))
	if b.err != nil {
		return b.err
	}
	b.do("change of root", unix.PivotRoot(root, root+"/old"))
	b.do("change of root", os.Chdir("/"))
	b.do("old root", unix.Unmount("/old", unix.MNT_DETACH))
	b.do("old root", os.Remove("/old"))
	return b.err
}

// open names a file or folder in a way that lasts.
func (b *steps) open(path string) string {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	b.do(path, err)
	return fmt.Sprintf("/proc/self/fd/%d", fd)
}

// system shows one of the system's folders; a link, as /bin often is, stays one.
func (b *steps) system(root, dir string) {
	info, err := os.Lstat(dir)
	if err != nil {
		return
	}
	if info.Mode()&os.ModeSymlink != 0 {
		to, err := os.Readlink(dir)
		b.do(dir, err)
		b.do(dir, os.Symlink(to, root+dir))
		return
	}
	b.bind(dir, root, dir, true)
}

// bind shows a folder at its path.
func (b *steps) bind(from, root, path string, readOnly bool) {
	if b.err != nil {
		return
	}
	target := root + filepath.Clean(path)
	b.do(path, os.MkdirAll(target, 0o755))
	b.do(path, unix.Mount(from, target, "", unix.MS_BIND|unix.MS_REC, ""))
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if readOnly {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	b.do(path+", its flags", unix.MountSetattr(unix.AT_FDCWD, target, unix.AT_RECURSIVE, &attr))
}

func (b *steps) devices(root string) {
	b.do("/dev", unix.Mount("tmpfs", root+"/dev", "tmpfs", unix.MS_NOSUID, "mode=0755,size=64k"))
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		b.do("/dev/"+name, os.WriteFile(root+"/dev/"+name, nil, 0o600))
		b.do("/dev/"+name, unix.Mount("/dev/"+name, root+"/dev/"+name, "", unix.MS_BIND, ""))
	}
	for _, dir := range []string{"/dev/pts", "/dev/shm"} {
		b.do(dir, os.MkdirAll(root+dir, 0o755))
	}
	b.do("/dev/pts", unix.Mount("devpts", root+"/dev/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"))
	b.do("/dev/shm", unix.Mount("tmpfs", root+"/dev/shm", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"))
	for name, to := range map[string]string{"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"} {
		b.do("/dev/"+name, os.Symlink(to, root+"/dev/"+name))
	}
}

// loopback brings up the one interface that there is.
func loopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	return nil
}

// giveUp leaves nothing to come back with: no user who may do more, no ambient
// privileges for the next program, none that a file could grant. It speaks of
// this thread, which becomes the next program.
func giveUp(user int) error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("privileges: %w", err)
	}
	for c := uintptr(0); c <= 63; c++ {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			if strings.Contains(err.Error(), "invalid") {
				break // there is no such privilege in this kernel
			}
			return fmt.Errorf("privileges: %w", err)
		}
	}
	if user != 0 {
		if errno := raw(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
			return fmt.Errorf("groups: %w", errno)
		}
		if errno := raw(unix.SYS_SETRESGID, user, user, user); errno != 0 {
			return fmt.Errorf("group: %w", errno)
		}
		if errno := raw(unix.SYS_SETRESUID, user, user, user); errno != 0 {
			return fmt.Errorf("user: %w", errno)
		}
	}
	var none [2]unix.CapUserData
	if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
		return fmt.Errorf("privileges: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("privileges: %w", err)
	}
	return nil
}

// raw is a system call of this thread alone; the library's would be of all.
func raw(call uintptr, a, b, c int) unix.Errno {
	_, _, errno := unix.RawSyscall(call, uintptr(a), uintptr(b), uintptr(c))
	return errno
}
