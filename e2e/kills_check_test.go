package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// batch starts runs, kills once or more while they go on, and looks at what they
// have left.
func (h *house) batch(random *rand.Rand, n int, count map[string]int) {
	h.t.Helper()
	var ids []int
	for range n {
		var b struct{ ID int }
		if !h.rest("POST", "pipelines/1/runs", `{}`, &b) {
			h.t.Fatal("the server does not queue a run")
		}
		ids = append(ids, b.ID)
	}
	agentKilled := false
	acknowledged := map[string][]string{}
	for range 1 + random.IntN(2) {
		timer := time.NewTimer(time.Duration(random.IntN(2500)) * time.Millisecond)
		<-timer.C // the moment is the random part of this test
		for _, id := range ids {
			for name, log := range h.logs(id) {
				acknowledged[name] = log
			}
		}
		what := random.IntN(3)
		if what != 0 {
			if pid := h.agent(); pid != 0 {
				h.kill(pid)
				agentKilled = true
				count["kills"]++
			}
		}
		if what != 1 {
			h.kill(h.server.Process.Pid)
			<-h.ended
			count["kills"]++
			h.up()
		}
	}
	for _, id := range ids {
		count[h.check(id, agentKilled, acknowledged)]++
	}
}

type build struct{ Status, Result string }

type timeline struct {
	Records []struct {
		Type, RefName, Result string
		Issues                []struct{ Message string }
		Log                   *struct{ ID int }
	}
}

// logs are the lines that the server has acknowledged, by run and log.
func (h *house) logs(id int) map[string][]string {
	out := map[string][]string{}
	var tl timeline
	if !h.rest("GET", fmt.Sprintf("build/builds/%d/timeline", id), "", &tl) {
		h.t.Fatal("the server does not answer")
	}
	for _, r := range tl.Records {
		if r.Log == nil {
			continue
		}
		var log struct{ Value []string }
		if !h.rest("GET", fmt.Sprintf("build/builds/%d/logs/%d", id, r.Log.ID), "", &log) {
			h.t.Fatal("the server does not answer")
		}
		out[fmt.Sprintf("%d/%s", id, r.RefName)] = log.Value
	}
	return out
}

// check waits for the end of a run and looks at its steps; it returns the result.
func (h *house) check(id int, agentKilled bool, acknowledged map[string][]string) string {
	h.t.Helper()
	var b build
	h.wait(fmt.Sprintf("the end of run %d", id), func() bool {
		return h.rest("GET", fmt.Sprintf("build/builds/%d", id), "", &b) && b.Status == "completed"
	})
	var tl timeline
	if !h.rest("GET", fmt.Sprintf("build/builds/%d/timeline", id), "", &tl) {
		h.t.Fatal("the server does not answer")
	}
	cause, results := "", map[string]string{}
	for _, r := range tl.Records {
		if r.Type == "Job" && len(r.Issues) > 0 {
			cause = r.Issues[0].Message
		}
		if r.Type == "Task" {
			results[r.RefName] = r.Result
		}
	}
	switch {
	case b.Result == "succeeded":
	case b.Result != "failed" || !agentKilled:
		h.t.Errorf("run %d: %s (%s), but the agent lived", id, b.Result, cause)
	case !strings.Contains(cause, "agent embedded"):
		h.t.Errorf("run %d failed without a cause: %q", id, cause)
	}
	logs := h.logs(id)
	for name, had := range acknowledged {
		if strings.HasPrefix(name, fmt.Sprintf("%d/", id)) && !slices.Equal(logs[name][:min(len(had), len(logs[name]))], had) {
			h.t.Errorf("run %s: acknowledged lines are not there any more:\nhad  %q\nhave %q", name, had, logs[name])
		}
	}
	for _, step := range steps {
		h.checkStep(id, step, results[step], logs[fmt.Sprintf("%d/%s", id, step)])
	}
	return b.Result
}

func (h *house) checkStep(id int, step, result string, log []string) {
	h.t.Helper()
	diary, err := os.ReadFile(h.diary)
	if err != nil && !os.IsNotExist(err) {
		h.t.Fatal(err)
	}
	begun := bytes.Count(diary, fmt.Appendf(nil, "%d %s begins\n", id, step))
	ended := bytes.Count(diary, fmt.Appendf(nil, "%d %s ends\n", id, step))
	printed := 0
	for _, line := range log {
		_, text, _ := strings.Cut(line, " ")
		if !strings.HasPrefix(text, "line ") {
			continue
		}
		if printed++; text != fmt.Sprintf("line %d of %s", printed, step) {
			h.t.Errorf("run %d, step %s: line %d of the log is %q", id, step, printed, text)
			break
		}
	}
	if begun > 1 || ended > 1 {
		h.t.Errorf("run %d: step %s ran %d times, and ended %d times", id, step, begun, ended)
	}
	switch result {
	case "succeeded":
		if begun != 1 || ended != 1 || printed != lines {
			h.t.Errorf("run %d: step %s succeeded, but it began %d times, ended %d times and has %d lines", id, step, begun, ended, printed)
		}
	case "abandoned":
	case "skipped":
		if begun != 0 || printed != 0 {
			h.t.Errorf("run %d: step %s is called skipped, but it ran and has %d lines", id, step, printed)
		}
	default:
		h.t.Errorf("run %d: step %s is %s", id, step, result)
	}
}

// nothingLeft looks for processes of jobs: all have ended with their runs. Nor
// has a race been seen, where the binary looks for them.
func (h *house) nothingLeft() {
	h.t.Helper()
	for _, f := range []string{filepath.Join(h.dir, "up.log"), filepath.Join(h.data, "agents", "embedded", "console.log")} {
		if text, err := os.ReadFile(f); err != nil || bytes.Contains(text, []byte("DATA RACE")) {
			h.t.Errorf("%s: %v, or a race: %.4000s", f, err, text)
		}
	}
	work := []byte(filepath.Join(h.data, "agents", "embedded", "work"))
	h.wait("the end of all processes of jobs", func() bool {
		found, _ := filepath.Glob("/proc/[0-9]*/environ")
		for _, f := range found {
			if env, err := os.ReadFile(f); err == nil && bytes.Contains(env, work) && syscall.Kill(pidOf(f), 0) == nil {
				return false
			}
		}
		return true
	})
}

func pidOf(environ string) int {
	var pid int
	_, _ = fmt.Sscanf(environ, "/proc/%d/environ", &pid)
	return pid
}
