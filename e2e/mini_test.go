package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// run runs the binary in the story's environment and returns its output.
func run(ts *testscript.TestScript, stdin string, args ...string) string {
	cmd := exec.Command(binary, args...)
	cmd.Env, cmd.Dir, cmd.Stdin = environ(ts), ts.MkAbs("."), strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		ts.Fatalf("penstock %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// example copies the shipped example into a folder of the story: example FOLDER.
func example(ts *testscript.TestScript, _ bool, args []string) {
	home, err := os.Getwd() // that of the tests
	ts.Check(err)
	ts.Check(os.CopyFS(ts.MkAbs(args[0]), os.DirFS(filepath.Join(home, "..", "examples", "storefront"))))
}

// mini makes project shop with application mini, its repository in folder app
// of the story, its pipelines, and (unless "bare" is given) a first release in
// production and a second build, 1.0.2, ready to be delivered.
func mini(ts *testscript.TestScript, _ bool, args []string) {
	run(ts, "", "project", "create", "shop")
	run(ts, "", "repo", "create", "app")
	run(ts, "", "env", "create", "staging")
	run(ts, "", "env", "create", "production")
	for _, user := range []string{"ada", "lin"} {
		run(ts, "password-of-"+user+"\n", "user", "create", user)
		run(ts, "", "permission", "grant", user, "contributor", "shop")
	}
	run(ts, "", "vault", "create", "mini-kv")
	run(ts, "kv-secret-value-4711", "vault", "secret", "set", "mini-kv/ApiKey")
	run(ts, "", "variable-group", "create", "mini-secrets", "--vault", "mini-kv", "--secret", "ApiKey")
	app := ts.MkAbs("app")
	copyMini(ts, app)
	gitIn(ts, app, "init", "-q", "-b", "main", ".")
	gitIn(ts, app, "remote", "add", "origin", ts.Getenv("URL")+"/default/shop/_git/app")
	gitIn(ts, app, "add", "-A")
	gitIn(ts, app, "commit", "-q", "-m", "mini")
	gitIn(ts, app, "push", "-q", "origin", "main")
	run(ts, "", "pipeline", "create", "mini-ci", "--repo", "app", "--path", "ci.yml")
	run(ts, "", "pipeline", "create", "mini-cd", "--repo", "app", "--path", "cd.yml")
	run(ts, "", "apply", filepath.Join(app, "penstock.app.yml"))
	if len(args) > 0 && args[0] == "bare" {
		return
	}
	run(ts, "", "pipeline", "run", "mini-ci", "--watch")
	run(ts, "", "pipeline", "run", "mini-cd", "--watch")
	run(ts, "", "pipeline", "run", "mini-ci", "--watch")
}

func copyMini(ts *testscript.TestScript, to string) {
	from, err := filepath.Abs(filepath.Join("testdata", "mini"))
	ts.Check(err)
	entries, err := os.ReadDir(from)
	ts.Check(err)
	ts.Check(os.MkdirAll(to, 0o755))
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(from, e.Name()))
		ts.Check(err)
		ts.Check(os.WriteFile(filepath.Join(to, strings.TrimSuffix(e.Name(), ".txt")), data, 0o644))
	}
}

// token returns the token the CLI keeps for the server.
func token(ts *testscript.TestScript) string {
	if t := ts.Getenv("PENSTOCK_TOKEN"); t != "" {
		return t
	}
	raw, err := os.ReadFile(filepath.Join(ts.Getenv("XDG_STATE_HOME"), "penstock", "credentials.yml"))
	ts.Check(err)
	at := strings.Index(string(raw), "pst_")
	if at < 0 {
		ts.Fatalf("no token in\n%s", raw)
	}
	return strings.FieldsFunc(string(raw[at:]), func(r rune) bool { return r == '"' || r == '\n' || r == ' ' || r == '\'' })[0]
}

func gitIn(ts *testscript.TestScript, dir string, args ...string) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(environ(ts), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http.extraHeader",
		"GIT_CONFIG_VALUE_0=Authorization: Bearer "+token(ts), "GIT_AUTHOR_NAME=ada", "GIT_AUTHOR_EMAIL=a@x", "GIT_COMMITTER_NAME=ada", "GIT_COMMITTER_EMAIL=a@x")
	if out, err := cmd.CombinedOutput(); err != nil {
		ts.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// git runs git in a folder as the person who is signed in: git DIR ARG…
func git(ts *testscript.TestScript, neg bool, args []string) {
	cmd := exec.Command("git", args[1:]...)
	cmd.Dir = ts.MkAbs(args[0])
	cmd.Env = append(environ(ts), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http.extraHeader",
		"GIT_CONFIG_VALUE_0=Authorization: Bearer "+token(ts), "GIT_AUTHOR_NAME=ada", "GIT_AUTHOR_EMAIL=a@x", "GIT_COMMITTER_NAME=ada", "GIT_COMMITTER_EMAIL=a@x")
	out, err := cmd.CombinedOutput()
	ts.Logf("%s", out)
	if (err != nil) != neg {
		ts.Fatalf("git %s: %v", strings.Join(args, " "), err)
	}
}

// as runs a command as another person: as USER penstock ARG…
func as(ts *testscript.TestScript, neg bool, args []string) {
	home := ts.MkAbs("state-" + args[0])
	if _, err := os.Stat(home); err != nil {
		cmd := exec.Command(binary, "login", ts.Getenv("URL"), "--user", args[0])
		cmd.Env, cmd.Stdin = append(environ(ts), "XDG_STATE_HOME="+home), strings.NewReader("password-of-"+args[0]+"\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			ts.Fatalf("login as %s: %v\n%s", args[0], err, out)
		}
	}
	cmd := exec.Command(binary, args[2:]...)
	cmd.Env, cmd.Dir = append(environ(ts), "XDG_STATE_HOME="+home), ts.MkAbs(".")
	out, err := cmd.CombinedOutput()
	ts.Check(os.WriteFile(ts.MkAbs("as.out"), out, 0o644))
	ts.Logf("%s", out)
	if (err != nil) != neg {
		ts.Fatalf("as %s: %v", strings.Join(args, " "), err)
	}
}

// swaps exchanges production and staging N times under load and compares what
// clients sent with what the machines served: swaps N
func swaps(ts *testscript.TestScript, _ bool, args []string) {
	var n int
	_, err := fmt.Sscan(args[0], &n)
	ts.Check(err)
	l := startLoad(ts.Getenv("GATEWAY"), "mini.localhost")
	for i := range n {
		// Production goes there and back: forward by a swap, back by a rollback.
		args := []string{"swap", "mini", "--wait", "published"}
		if i%2 == 1 {
			args = []string{"rollback", "mini"}
		}
		before := l.sent.Load()
		run(ts, "", args...)
		until(ts, "traffic after a swap", 30*time.Second, func() bool { return l.sent.Load() > before+50 })
	}
	l.stop()
	served, repeated := 0, 0
	for _, address := range addresses(ts) {
		var r struct{ Served, Repeated int }
		res, err := http.Get("http://" + address + "/load?name=" + l.name)
		ts.Check(err)
		ts.Check(json.NewDecoder(res.Body).Decode(&r))
		_ = res.Body.Close()
		served, repeated = served+r.Served, repeated+r.Repeated
	}
	ts.Logf("%d swaps: sent %d, failed %d, served %d, repeated %d", n, l.sent.Load(), l.failed.Load(), served, repeated)
	if l.failed.Load() != 0 || served != int(l.sent.Load()) || repeated != 0 {
		ts.Fatalf("sent %d, failed %d (%v), served %d, repeated %d", l.sent.Load(), l.failed.Load(), l.first.Load(), served, repeated)
	}
}

func addresses(ts *testscript.TestScript) []string {
	var app struct {
		Application struct {
			Slots []struct{ Addresses []string }
		}
	}
	ts.Check(json.Unmarshal([]byte(run(ts, "", "app", "show", "mini", "-o", "json")), &app))
	var list []string
	for _, s := range app.Application.Slots {
		for _, a := range s.Addresses {
			list = append(list, a+":8080")
		}
	}
	return list
}

// load is a mix of requests: kept and new connections, reading and writing,
// fast and slow.
type load struct {
	name         string
	sent, failed atomic.Int64
	first        atomic.Value
	cancel       context.CancelFunc
	wg           sync.WaitGroup
}

func startLoad(gateway, host string) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{name: fmt.Sprint(time.Now().UnixNano()), cancel: cancel}
	for w := range 12 {
		client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: w%3 == 2, MaxIdleConnsPerHost: 4}}
		l.wg.Add(1)
		go func() {
			defer l.wg.Done()
			for n := 0; ctx.Err() == nil; n++ {
				method, path, body := http.MethodGet, "/", ""
				switch n % 4 {
				case 1:
					method, body = http.MethodPost, strings.Repeat("payload ", 500)
				case 3:
					path = "/slow"
				}
				l.send(client, gateway, host, method, path, body, fmt.Sprintf("%d-%d", w, n))
			}
		}()
	}
	return l
}

func (l *load) send(c *http.Client, gateway, host, method, path, body, id string) {
	req, err := http.NewRequest(method, "http://"+gateway+path, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	if body == "" {
		req.Body = nil
	}
	req.Host = host
	req.Header.Set("X-Load", l.name)
	req.Header.Set("X-Request-Id", id)
	l.sent.Add(1)
	res, err := c.Do(req)
	if err == nil {
		_, err = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if err == nil && res.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s", res.Status)
		}
	}
	if err != nil {
		l.failed.Add(1)
		l.first.CompareAndSwap(nil, fmt.Sprintf("%s %s: %v", method, path, err))
	}
}

func (l *load) stop() {
	l.cancel()
	l.wg.Wait()
}
