// Package e2e tells stories through the real binary, real git and real
// processes. Each story is a script; testdata holds what they share.
package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "penstock-e2e-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "penstock")
	args := []string{"build", "-o", binary}
	if raceEnabled {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "penstock.dev/penstock/cmd/penstock")...)
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
	// A program under the race detector waits a second before it ends, as others
	// might still race with it; the stories end hundreds of programs.
	if err := os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func TestStories(t *testing.T) {
	sources(t)
	testscript.Run(t, testscript.Params{
		Dir:                 ".",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setup,
		Condition:           condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"up": up, "stop": stop, "kill9": kill9, "killagent": killAgent, "eventually": eventually, "spans": spans, "served": served, "newversion": newVersion,
			"mini": mini, "example": example, "disk": disk, "exhaust": exhaust, "git": git, "as": as, "swaps": swaps,
			"rest": rest, "page": page, "follow": follow, "sshd": sshd, "hook": hook,
		},
	})
}

// setup gives a story homes of its own; whatever it left running ends with it.
func setup(e *testscript.Env) error {
	for name, value := range map[string]string{
		"HOME": filepath.Join(e.WorkDir, "home"), "XDG_CONFIG_HOME": filepath.Join(e.WorkDir, "config"), "XDG_STATE_HOME": filepath.Join(e.WorkDir, "state"),
		"XDG_DATA_HOME": filepath.Join(e.WorkDir, "share"), "DATA": filepath.Join(e.WorkDir, "data"), "NO_COLOR": "1", "PENSTOCK_DATA": filepath.Join(e.WorkDir, "data"),
		"PENSTOCK_PROJECT": "shop", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "ada", "GIT_AUTHOR_EMAIL": "ada@example.test",
		"GIT_COMMITTER_NAME": "ada", "GIT_COMMITTER_EMAIL": "ada@example.test", "EXAMPLES": examples(),
		"PENSTOCK_HTTP_LISTEN": ownAddress(), "GORACE": os.Getenv("GORACE"),
	} {
		e.Setenv(name, value)
	}
	// What Go needs to build inside a job comes from the real home.
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH", "GOPROXY", "GOFLAGS", "GOSUMDB"} {
		if out, err := exec.Command("go", "env", name).Output(); err == nil && len(bytes.TrimSpace(out)) > 0 {
			e.Setenv(name, strings.TrimSpace(string(out)))
		}
	}
	e.Setenv("PATH", filepath.Dir(binary)+string(os.PathListSeparator)+os.Getenv("PATH"))
	for _, dir := range []string{"home", "config", "state", "share"} {
		if err := os.MkdirAll(filepath.Join(e.WorkDir, dir), 0o755); err != nil {
			return err
		}
	}
	data := filepath.Join(e.WorkDir, "data")
	e.Defer(func() {
		cmd := exec.Command(binary, "down", "--purge", "--yes", "--data", data)
		_ = cmd.Run()
	})
	return nil
}

func examples() string {
	dir, err := filepath.Abs(filepath.Join("..", "examples"))
	if err != nil {
		panic(err)
	}
	return dir
}

// upFile is what a running server leaves in its data folder.
type upFile struct {
	PID   int
	URL   string
	Ports struct{ Gateway, DNS string }
}

func readUp(ts *testscript.TestScript) upFile {
	raw, err := os.ReadFile(filepath.Join(ts.Getenv("DATA"), "up.json"))
	ts.Check(err)
	var u upFile
	ts.Check(json.Unmarshal(raw, &u))
	return u
}

// up starts `penstock up` with further arguments and, the first time, signs the
// CLI in with the password that was printed.
func up(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("up cannot be negated; use: ! exec penstock up")
	}
	logName := ts.MkAbs("up.log")
	log, err := os.OpenFile(logName, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o644)
	ts.Check(err)
	info, err := log.Stat()
	ts.Check(err)
	from := info.Size()
	cmd := exec.Command(binary, append([]string{"up", "--data", ts.Getenv("DATA")}, args...)...)
	cmd.Env = environ(ts)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	ts.Check(cmd.Start())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	banner := ""
	until(ts, "penstock up", 60*time.Second, func() bool {
		select {
		case <-ended:
			text, _ := os.ReadFile(logName)
			ts.Fatalf("penstock up ended:\n%s", text)
		default:
		}
		text, err := os.ReadFile(logName)
		ts.Check(err)
		banner = string(text[min(from, int64(len(text))):])
		return strings.Contains(banner, "Ctrl-C stops everything")
	})
	u := readUp(ts)
	ts.Setenv("URL", u.URL)
	ts.Setenv("SITE", strings.TrimPrefix(u.URL, "http://")) // what login calls the context
	ts.Setenv("PENSTOCK_SERVER", u.URL)
	ts.Setenv("GATEWAY", u.Ports.Gateway)
	ts.Setenv("DNS", u.Ports.DNS)
	for line := range strings.Lines(banner) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "Password "); ok {
			login(ts, u.URL, strings.Fields(rest)[0])
		}
	}
}

func login(ts *testscript.TestScript, url, password string) {
	cmd := exec.Command(binary, "login", url, "--user", "admin")
	cmd.Env = environ(ts)
	cmd.Stdin = strings.NewReader(password + "\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		ts.Fatalf("login: %v\n%s", err, out)
	}
}

// environ is the story's environment.
func environ(ts *testscript.TestScript) []string {
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if v := ts.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	for _, name := range []string{"HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "NO_COLOR", "PENSTOCK_DATA", "PENSTOCK_PROJECT", "PENSTOCK_SERVER", "PENSTOCK_TOKEN",
		"PENSTOCK_HTTP_LISTEN", "PENSTOCK_TRACE_FILE", "PENSTOCK_ORCHESTRATOR_LEASE_TTL", "PENSTOCK_ORCHESTRATOR_LOST_AFTER", "GOCACHE", "GOMODCACHE", "GOPATH", "GOPROXY", "GOFLAGS", "GOSUMDB", "PATH"} {
		if v := ts.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// stop ends the server as Ctrl-C does.
func stop(ts *testscript.TestScript, _ bool, _ []string) { end(ts, syscall.SIGTERM) }

// kill9 ends the server at once; its agents and machines live on.
func kill9(ts *testscript.TestScript, _ bool, _ []string) { end(ts, syscall.SIGKILL) }

// killAgent ends the embedded agent at once; what its job has started lives on.
func killAgent(ts *testscript.TestScript, _ bool, _ []string) {
	raw, err := os.ReadFile(filepath.Join(ts.Getenv("DATA"), "agents", "embedded", "pid"))
	ts.Check(err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	ts.Check(err)
	ts.Check(syscall.Kill(pid, syscall.SIGKILL))
}

func end(ts *testscript.TestScript, sig syscall.Signal) {
	pid := readUp(ts).PID
	ts.Check(syscall.Kill(pid, sig))
	until(ts, "the end of the server", 60*time.Second, func() bool { return ended(pid) })
}

// until waits for a condition.
func until(ts *testscript.TestScript, what string, limit time.Duration, ok func() bool) {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			ts.Fatalf("%s: not within %s", what, limit)
		case <-tick.C:
		}
	}
}

// eventually runs a command again and again until its output contains a text:
// eventually TEXT COMMAND ARG…
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: eventually TEXT COMMAND ARG…")
	}
	var out []byte
	deadline := time.NewTimer(3 * time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		name := args[1]
		if name == "penstock" {
			name = binary
		}
		cmd := exec.Command(name, args[2:]...)
		cmd.Env, cmd.Dir = environ(ts), ts.MkAbs(".")
		out, _ = cmd.CombinedOutput()
		if strings.Contains(string(out), args[0]) {
			ts.Logf("%s", out)
			return
		}
		select {
		case <-deadline.C:
			ts.Fatalf("no %q; the last answer of %v:\n%s", args[0], args[1:], out)
		case <-tick.C:
		}
	}
}

// spans asserts that spans of the given names first appear in this order.
func spans(ts *testscript.TestScript, _ bool, args []string) {
	file, names := args[0], args[1:]
	first := map[string]time.Time{}
	until(ts, "the spans", 20*time.Second, func() bool {
		raw, err := os.ReadFile(ts.MkAbs(file))
		if err != nil {
			return false
		}
		dec := json.NewDecoder(bytes.NewReader(raw))
		for {
			var s struct {
				Name      string
				StartTime time.Time
			}
			if err := dec.Decode(&s); err != nil {
				break
			}
			if t, seen := first[s.Name]; !seen || s.StartTime.Before(t) {
				first[s.Name] = s.StartTime
			}
		}
		for _, n := range names {
			if first[n].IsZero() {
				return false
			}
		}
		return true
	})
	for i := 1; i < len(names); i++ {
		if first[names[i]].Before(first[names[i-1]]) {
			ts.Fatalf("%s began before %s", names[i], names[i-1])
		}
	}
}

// served asserts what production, or a name, answers now: served HOST PATH TEXT
func served(ts *testscript.TestScript, neg bool, args []string) {
	req, err := http.NewRequest(http.MethodGet, "http://"+ts.Getenv("GATEWAY")+args[1], nil)
	ts.Check(err)
	req.Host = args[0]
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		ts.Fatalf("%s: %v", args[0], err)
	}
	defer func() { _ = res.Body.Close() }()
	var body bytes.Buffer
	_, err = body.ReadFrom(res.Body)
	ts.Check(err)
	if strings.Contains(body.String(), args[2]) == neg {
		ts.Fatalf("%s%s answers %s:\n%s", args[0], args[1], res.Status, body.String())
	}
}

// newVersion replaces text in a file: newversion FILE FROM TO
func newVersion(ts *testscript.TestScript, _ bool, args []string) {
	name := ts.MkAbs(args[0])
	data, err := os.ReadFile(name)
	ts.Check(err)
	if !bytes.Contains(data, []byte(args[1])) {
		ts.Check(errors.New(args[0] + " does not contain " + args[1]))
	}
	ts.Check(os.WriteFile(name, bytes.ReplaceAll(data, []byte(args[1]), []byte(args[2])), 0o644))
}
