package detached

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// mark is in the environment of the process, so that a process id that was used
// again is not mistaken for it.
func mark(folder string) string { return "PENSTOCK_PROCESS=" + folder }

// Start begins the program and returns without waiting for it.
func Start(s Spec) error {
	if err := os.MkdirAll(s.Folder, 0o700); err != nil {
		return err
	}
	console, err := os.OpenFile(filepath.Join(s.Folder, "console.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = console.Close() }()
	cmd := exec.Command(s.Args[0], s.Args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = s.Folder, console, console, s.Extra
	for _, name := range []string{"PATH", "HOME", "LANG", "TMPDIR", "USER", "GOPROXY", "GOFLAGS", "GOCACHE", "GOMODCACHE", "GOPATH", "GOTOOLCHAIN", "GOSUMDB", "GOPRIVATE",
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "XDG_CACHE_HOME", "SSL_CERT_FILE", "SSL_CERT_DIR",
		"AGENT_TOOLSDIRECTORY", "ANT_HOME", "M2_HOME", "MAVEN_HOME", "GRADLE_HOME", "ANDROID_HOME", "ANDROID_SDK_ROOT", "DOTNET_ROOT"} {
		if v, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	for _, pair := range os.Environ() {
		if strings.HasPrefix(pair, "JAVA_HOME") { // also JAVA_HOME_17_X64, by which tasks find a JDK
			cmd.Env = append(cmd.Env, pair)
		}
	}
	cmd.Env = append(append(cmd.Env, s.Env...), mark(s.Folder))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", filepath.Base(s.Args[0]), err)
	}
	pid := cmd.Process.Pid
	go func() { _ = cmd.Wait() }() // reaps it while we live
	return os.WriteFile(filepath.Join(s.Folder, "pid"), []byte(strconv.Itoa(pid)), 0o600)
}

// PID returns the process id of the program of a folder; 0 if it does not run.
func PID(folder string) int {
	raw, err := os.ReadFile(filepath.Join(folder, "pid"))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil || pid <= 1 {
		return 0
	}
	env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return 0
	}
	for _, kv := range strings.Split(string(env), "\x00") {
		if kv == mark(folder) {
			return pid
		}
	}
	return 0
}

// members lists the processes that belong to the program of a folder: its
// session, and whatever else carries its mark.
func members(folder string) []int {
	raw, err := os.ReadFile(filepath.Join(folder, "pid"))
	if err != nil {
		return nil
	}
	session, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil || session <= 1 {
		return nil
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if sessionOf(pid) == session && owned(pid, folder) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// owned guards against a session id that was used again: some process of ours
// keeps its folder in its environment or its working folder.
func owned(pid int, folder string) bool {
	if uid, err := os.Stat("/proc/" + strconv.Itoa(pid)); err == nil {
		if st, ok := uid.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Getuid() {
			return false
		}
	}
	env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err == nil && strings.Contains(string(env), folder) {
		return true
	}
	cwd, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/cwd")
	return err == nil && strings.HasPrefix(cwd, folder)
}

func sessionOf(pid int) int {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	// The name in parentheses may hold anything, so count from its end.
	_, rest, ok := strings.Cut(string(raw[strings.LastIndexByte(string(raw), ')'):]), ") ")
	f := strings.Fields(rest)
	if !ok || len(f) < 4 || f[0] == "Z" {
		return 0
	}
	n, _ := strconv.Atoi(f[3])
	return n
}

// Stop asks the program to end and kills what is left of it after the grace.
func Stop(ctx context.Context, folder string, grace time.Duration) {
	if pid := PID(folder); pid != 0 {
		_ = syscall.Kill(pid, syscall.SIGTERM)
		ctx, cancel := context.WithTimeout(ctx, grace)
		defer cancel()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for PID(folder) != 0 {
			select {
			case <-ctx.Done():
			case <-tick.C:
				continue
			}
			break
		}
	}
	Kill(folder)
}

// Kill ends the program with everything it started, at once.
func Kill(folder string) {
	for range 20 { // a process may be starting another just now
		pids := members(folder)
		if len(pids) == 0 {
			break
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	_ = os.Remove(filepath.Join(folder, "pid"))
}
