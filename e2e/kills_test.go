package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestKilledAtRandom kills server and agent while runs are going on. How many
// runs there are is said by PENSTOCK_KILL_RUNS (20), and PENSTOCK_KILL_SEED
// repeats what another test did.
func TestKilledAtRandom(t *testing.T) {
	sources(t)
	seed := uint64(number(t, "PENSTOCK_KILL_SEED", int(time.Now().UnixNano()&0x7fffffff)))
	t.Logf("PENSTOCK_KILL_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	h := newHouse(t)
	h.up()
	h.prepare()
	count := map[string]int{}
	for left := number(t, "PENSTOCK_KILL_RUNS", 20); left > 0; {
		n := min(left, atOnce)
		left -= n
		h.batch(random, n, count)
	}
	h.nothingLeft()
	t.Logf("%v", count)
	if count["kills"] == 0 {
		t.Error("nothing was killed")
	}
}

const (
	atOnce = 4  // runs at the same time: so many jobs the agent takes
	lines  = 40 // that each step prints
)

var steps = []string{"first", "second", "third"}

func number(t *testing.T, name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// house is a server with its agent, as processes.
type house struct {
	t                *testing.T
	dir, data, diary string
	env              []string
	url, token       string
	server           *exec.Cmd
	ended            chan struct{}
}

func newHouse(t *testing.T) *house {
	dir := t.TempDir()
	h := &house{t: t, dir: dir, data: filepath.Join(dir, "data"), diary: filepath.Join(dir, "diary")}
	h.env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir+"/config", "XDG_STATE_HOME="+dir+"/state", "XDG_DATA_HOME="+dir+"/share", "NO_COLOR=1", "PENSTOCK_PROJECT=shop",
		"PENSTOCK_VMS_LOCAL_ENABLED=false", "PENSTOCK_HTTP_LISTEN="+ownAddress(), "PENSTOCK_AGENT_JOBS="+strconv.Itoa(atOnce))
	t.Cleanup(func() {
		if t.Failed() {
			for _, f := range []string{filepath.Join(dir, "up.log"), filepath.Join(h.data, "agents", "embedded", "console.log")} {
				text, _ := os.ReadFile(f)
				t.Logf("%s:\n%s", f, text[max(0, len(text)-8000):])
			}
		}
		down := exec.Command(binary, "down", "--purge", "--yes", "--data", h.data)
		down.Env = h.env
		_ = down.Run()
	})
	return h
}

// wait waits for a condition.
func (h *house) wait(what string, ok func() bool) {
	h.t.Helper()
	limit := time.NewTimer(3 * time.Minute)
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-limit.C:
			h.t.Fatalf("%s does not happen", what)
		case <-tick.C:
		}
	}
}

// up starts the server and waits until it answers.
func (h *house) up() {
	h.t.Helper()
	log, err := os.OpenFile(filepath.Join(h.dir, "up.log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o644)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	from, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		h.t.Fatal(err)
	}
	h.server = exec.Command(binary, "up", "--data", h.data)
	h.server.Env, h.server.Stdout, h.server.Stderr = h.env, log, log
	if err := h.server.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		_ = cmd.Wait()
		close(ended)
	}(h.server, h.ended)
	var said []byte
	h.wait("penstock up", func() bool {
		said, _ = os.ReadFile(log.Name())
		said = said[from:]
		select {
		case <-h.ended:
			h.t.Fatalf("penstock up ended:\n%s", said)
		default:
		}
		return bytes.Contains(said, []byte("Ctrl-C stops everything"))
	})
	var u upFile
	raw, err := os.ReadFile(filepath.Join(h.data, "up.json"))
	if err == nil {
		err = json.Unmarshal(raw, &u)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	h.url = u.URL
	if m := regexp.MustCompile(`Password\s+(\S+)`).FindSubmatch(said); m != nil {
		h.cli(string(m[1])+"\n", "login", h.url, "--user", "admin")
		raw, err := os.ReadFile(filepath.Join(h.dir, "state", "penstock", "credentials.yml"))
		if err != nil {
			h.t.Fatal(err)
		}
		h.token = regexp.MustCompile(`pst_\w+`).FindString(string(raw))
	}
}

func (h *house) cli(stdin string, args ...string) {
	h.t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env, cmd.Dir, cmd.Stdin = append(h.env, "PENSTOCK_SERVER="+h.url), h.dir, strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		h.t.Fatalf("penstock %v: %v\n%s", args, err, out)
	}
}

// prepare makes a pipeline whose steps write into a diary that is none of
// Penstock's: when they begin, each line, and when they end.
func (h *house) prepare() {
	var y strings.Builder
	y.WriteString("trigger: none\njobs:\n- job: work\n  steps:\n  - checkout: none\n")
	for _, name := range steps {
		fmt.Fprintf(&y, "  - bash: |\n      echo \"$(Build.BuildId) %[1]s begins\" >> %[2]s\n      for i in $(seq 1 %[3]d); do echo \"line $i of %[1]s\"; sleep 0.01; done\n      echo \"$(Build.BuildId) %[1]s ends\" >> %[2]s\n    name: %[1]s\n", name, h.diary, lines)
	}
	h.cli("", "project", "create", "shop")
	h.cli("", "repo", "create", "app")
	app := filepath.Join(h.dir, "app")
	if err := os.MkdirAll(app, 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(app, "azure-pipelines.yml"), []byte(y.String()), 0o644); err != nil {
		h.t.Fatal(err)
	}
	for _, args := range [][]string{{"init", "-q", "-b", "main", "."}, {"add", "-A"}, {"commit", "-q", "-m", "kills"}, {"push", "-q", h.url + "/default/shop/_git/app", "main"}} {
		cmd := exec.Command("git", args...)
		cmd.Dir = app
		cmd.Env = append(h.env, "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http.extraHeader", "GIT_CONFIG_VALUE_0=Authorization: Bearer "+h.token,
			"GIT_AUTHOR_NAME=ada", "GIT_AUTHOR_EMAIL=a@x", "GIT_COMMITTER_NAME=ada", "GIT_COMMITTER_EMAIL=a@x")
		if out, err := cmd.CombinedOutput(); err != nil {
			h.t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	h.cli("", "pipeline", "create", "kills", "--repo", "app")
}

// rest asks the server; false: it does not answer, or refuses.
func (h *house) rest(method, path, body string, out any) bool {
	r, err := http.NewRequest(method, h.url+"/default/shop/_apis/"+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+h.token)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return false
	}
	if res.StatusCode >= 300 {
		h.t.Fatalf("%s %s: %s %s", method, path, res.Status, data)
	}
	return json.Unmarshal(data, out) == nil
}

// kill ends a process at once and waits until it is gone.
func (h *house) kill(pid int) {
	if syscall.Kill(pid, syscall.SIGKILL) != nil {
		return
	}
	h.wait("the end of a process", func() bool { return ended(pid) })
}

// agent is the process id of the agent; 0: it does not run.
func (h *house) agent() int {
	raw, err := os.ReadFile(filepath.Join(h.data, "agents", "embedded", "pid"))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil || pid <= 1 {
		return 0
	}
	if env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ"); err != nil || !bytes.Contains(env, []byte("PENSTOCK_PROCESS=")) {
		return 0
	}
	return pid
}
