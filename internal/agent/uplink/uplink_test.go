package uplink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"penstock.dev/penstock/internal/agent/spool"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/memstore"
	"penstock.dev/penstock/internal/domain/run"
)

// far is a server that does not always answer.
type far struct {
	mu       sync.Mutex
	logs     *memstore.Logs
	moody    func() (before, after bool) // whether a request is lost, or its answer
	refuse   error
	down     bool
	came     chan string // what arrives, in words
	reports  []string
	complete []run.JobReport
}

func newFar(t *testing.T) *far {
	logs, err := memstore.OpenLogs(filepath.Join(t.TempDir(), "logs"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = logs.Close() })
	return &far{logs: logs, came: make(chan string, 1<<16), moody: func() (bool, bool) { return false, false }}
}

func (f *far) request(what string, do func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	before, after := f.moody()
	if before || f.down {
		return fault.New(fault.Unavailable, "server-unreachable", "no way")
	}
	if f.refuse != nil {
		return f.refuse
	}
	if err := do(); err != nil {
		return err
	}
	f.came <- what
	if after {
		return fault.New(fault.Unavailable, "server-unreachable", "no way back")
	}
	return nil
}

func (f *far) Log(ctx context.Context, step int, offset int64, data []byte) (end int64, err error) {
	err = f.request("log", func() error {
		end, _, err = f.logs.Append(ctx, fmt.Sprint(step), offset, data)
		return err
	})
	return end, err
}

func (f *far) Steps(_ context.Context, list []run.StepReport) error {
	return f.request("steps", func() error {
		for _, r := range list {
			f.reports = append(f.reports, fmt.Sprintf("%d %s %d", r.Order, r.State, r.Percent))
		}
		return nil
	})
}

func (f *far) Complete(_ context.Context, rep run.JobReport) error {
	return f.request("complete", func() error {
		f.complete = append(f.complete, rep)
		return nil
	})
}

func (f *far) text(t *testing.T, step int) string {
	t.Helper()
	lines, _, err := f.logs.Lines(t.Context(), fmt.Sprint(step), 1, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

var quiet = slog.New(slog.DiscardHandler)

func begin(t *testing.T, s spool.Spool) *spool.Entry {
	t.Helper()
	e, err := s.Begin(spool.Job{JobID: "j", Fence: 1})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func numbered(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return b.String()
}

// Whatever gets lost on the way and however often the agent is killed, the server
// has each line once and in order.
func TestEachLineOnceAndInOrder(t *testing.T) {
	for seed := range uint64(100) {
		random, moods := rand.New(rand.NewPCG(seed, 7)), rand.New(rand.NewPCG(seed, 8))
		f := newFar(t)
		f.moody = func() (bool, bool) { return moods.IntN(3) == 0, moods.IntN(3) == 0 }
		s := spool.Spool{Dir: t.TempDir()}
		u, next := open(begin(t, s), f, quiet, false, atOnce), 0
		for life := range 3 {
			n := next + 1 + random.IntN(500)
			for ; next < n; next++ {
				u.Log(1+next%2, fmt.Sprintf("line %d\n", next))
			}
			u.Step(run.StepReport{Order: 1, State: run.InProgress, Percent: life})
			if life == 2 {
				break
			}
			u.kill()
			list, err := s.Left()
			if err != nil || len(list) != 1 {
				t.Fatalf("%v %v", list, err)
			}
			u = open(list[0], f, quiet, true, atOnce)
		}
		if err := u.Finish(t.Context(), run.JobReport{Result: run.Succeeded}); err != nil {
			t.Fatal(err)
		}
		for step := 1; step <= 2; step++ {
			var want []string
			for i := step - 1; i < next; i += 2 {
				want = append(want, fmt.Sprintf("line %d", i))
			}
			if got := f.text(t, step); got != strings.Join(want, "\n") {
				t.Fatalf("seed %d, step %d: %s", seed, step, firstDifference(want, strings.Split(got, "\n")))
			}
		}
		if len(f.complete) == 0 || f.reports[len(f.reports)-1] != "1 inProgress 2" {
			t.Errorf("seed %d: %v %v", seed, f.complete, f.reports)
		}
		if list, err := s.Left(); len(list) != 0 || err != nil {
			t.Errorf("seed %d: %v is left, %v", seed, list, err)
		}
	}
}

// atOnce tries again without a pause.
func atOnce(context.Context, time.Duration) { runtime.Gosched() }

// kill ends the goroutines as the end of the process does; what was given to Log
// is on disk, as it is a moment after.
func (u *Uplink) kill() {
	u.spill()
	u.stop()
	<-u.done
}

// The state of a step does not arrive before the log that was written before it.
func TestOrder(t *testing.T) {
	f := newFar(t)
	f.down = true
	u := Open(begin(t, spool.Spool{Dir: t.TempDir()}), f, quiet)
	for step := 1; step <= 3; step++ {
		u.Step(run.StepReport{Order: step, State: run.InProgress})
		u.Log(step, numbered(0, 100_000))
		u.Step(run.StepReport{Order: step, State: run.Completed, Percent: 1})
		u.Step(run.StepReport{Order: step, State: run.Completed, Percent: 2}) // takes the place of the one before
	}
	f.mu.Lock()
	f.down = false
	f.mu.Unlock()
	if err := u.Finish(t.Context(), run.JobReport{Result: run.Failed, Cause: "c"}); err != nil {
		t.Fatal(err)
	}
	close(f.came)
	var order []string
	for what := range f.came {
		if len(order) == 0 || order[len(order)-1] != what {
			order = append(order, what)
		}
	}
	if got := strings.Join(order, " "); got != "log steps complete" {
		t.Errorf("%s", got)
	}
	if got := strings.Join(f.reports, ","); got != "1 inProgress 0,1 completed 2,2 inProgress 0,2 completed 2,3 inProgress 0,3 completed 2" {
		t.Errorf("%s", got)
	}
	if f.text(t, 3) != strings.TrimSuffix(numbered(0, 100_000), "\n") || f.complete[0].Cause != "c" {
		t.Error("not everything arrived")
	}
}

// A job that was given to nobody else, but ended, lets its agent go.
func TestRefused(t *testing.T) {
	for name, err := range map[string]error{"lost": fault.New(fault.Conflict, "lease-lost", "no"), "gone": fault.New(fault.NotFound, "not-found", "no"), "removed": fault.New(fault.Denied, "agent-removed", "no")} {
		f := newFar(t)
		f.refuse = err
		s := spool.Spool{Dir: t.TempDir()}
		u := Open(begin(t, s), f, quiet)
		u.Step(run.StepReport{Order: 1, State: run.InProgress})
		for range 10 {
			u.Log(1, strings.Repeat("x", 1<<20)+"\n")
		}
		if err := u.Finish(t.Context(), run.JobReport{Result: run.Succeeded}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if list, _ := s.Left(); len(list) != 0 {
			t.Errorf("%s: something is left", name)
		}
	}
}

// An agent that is to stop leaves the rest to its next process.
func TestStopped(t *testing.T) {
	f := newFar(t)
	f.down = true
	s := spool.Spool{Dir: t.TempDir()}
	u := Open(begin(t, s), f, quiet)
	u.Log(1, numbered(0, 10))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	rep := run.JobReport{Result: run.Canceled, Outputs: map[string]string{"a.key": "hidden-value", "a.b": "open"}, Secret: []string{"a.key"}}
	if err := u.Finish(ctx, rep); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	list, err := s.Left()
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	result, err := list[0].Result()
	if err != nil || result == nil {
		t.Fatal(result, err)
	}
	if out := result.Report.Outputs; len(out) != 1 || out["a.b"] != "open" {
		t.Errorf("on disk: %v", out)
	}
	f.down = false
	if err := Resume(list[0], f, quiet).Finish(t.Context(), result.Report); err != nil {
		t.Fatal(err)
	}
	if f.text(t, 1) != strings.TrimSuffix(numbered(0, 10), "\n") || len(f.complete) != 1 {
		t.Errorf("%q %v", f.text(t, 1), f.complete)
	}
}

// Where the disk takes nothing, output goes straight to the server; where that
// does not answer either, the program waits; when its job is to end, output is
// dropped and the log says so.
func TestDiskFull(t *testing.T) {
	f := newFar(t)
	u := Open(begin(t, spool.Spool{Dir: t.TempDir(), Limit: 100}), f, quiet)
	big := strings.Repeat("x", 1<<20) + "\n"
	for range 20 {
		u.Log(1, big)
	}
	for u.drain(); f.size(t) < 20*int64(len(big)); u.drain() {
		<-f.came
	}
	f.mu.Lock()
	f.down = true
	f.mu.Unlock()
	wrote := make(chan int)
	go func() {
		for i := range 20 {
			u.Log(1, big)
			wrote <- i
		}
		close(wrote)
	}()
	n := 0
	for range maxHeld/len(big) + 1 {
		<-wrote
		n++
	}
	select {
	case <-wrote:
		t.Fatalf("more than %d bytes are held", maxHeld)
	default:
	}
	u.Cut()
	for range wrote {
		n++
	}
	f.mu.Lock()
	f.down = false
	f.mu.Unlock()
	if err := u.Finish(t.Context(), run.JobReport{Result: run.Canceled}); err != nil {
		t.Fatal(err)
	}
	kept := strings.Count(f.text(t, 1), strings.TrimSuffix(big, "\n"))
	if n != 20 || kept != 20+maxHeld/len(big)+1 || !strings.Contains(f.text(t, 1), fmt.Sprintf("##[warning]%d bytes of the log are missing here", (40-kept)*len(big))) {
		t.Errorf("%d were written, %d are kept, and: %.300q", n, kept, f.text(t, 1)[kept*len(big):])
	}
}

func (f *far) size(t *testing.T) int64 {
	t.Helper()
	end, _, err := f.logs.Append(t.Context(), "1", -1, nil)
	if err != nil {
		t.Fatal(err)
	}
	return end
}

// drain lets the sender look.
func (u *Uplink) drain() { signal(u.more) }

// A server that was put back to an earlier state gets what there still is, and
// the log says what is missing.
func TestServerForgets(t *testing.T) {
	f := newFar(t)
	u := Open(begin(t, spool.Spool{Dir: t.TempDir()}), f, quiet)
	u.Log(1, numbered(0, 10))
	<-f.came
	f.mu.Lock()
	_ = f.logs.Close()
	f.logs = newFar(t).logs
	f.mu.Unlock()
	u.Log(1, "last\n")
	if err := u.Finish(t.Context(), run.JobReport{Result: run.Succeeded}); err != nil {
		t.Fatal(err)
	}
	if got := f.text(t, 1); !strings.HasSuffix(got, "last") || strings.Count(got, "line ") != 10 && !strings.Contains(got, "bytes of the log are missing here: the server has forgotten") {
		t.Errorf("%q", got)
	}
}

// A piece of a log that the disk has lost is passed over, and the log says so.
func TestDiskForgets(t *testing.T) {
	f := newFar(t)
	f.down = true
	dir := t.TempDir()
	u := Open(begin(t, spool.Spool{Dir: dir}), f, quiet)
	u.Log(1, numbered(0, 10))
	u.spill()
	u.disk.Lock()
	u.entry.Close()
	files, _ := filepath.Glob(filepath.Join(dir, "*", "log-1-*"))
	for _, file := range files {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	u.disk.Unlock()
	u.Log(1, "last\n")
	f.mu.Lock()
	f.down = false
	f.mu.Unlock()
	if err := u.Finish(t.Context(), run.JobReport{Result: run.Succeeded}); err != nil {
		t.Fatal(err)
	}
	if got := f.text(t, 1); !strings.Contains(got, "bytes of the log are missing here: it cannot be read from the disk") || len(f.complete) != 1 {
		t.Errorf("%q", got)
	}
}

func firstDifference(want, got []string) string {
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("%d lines of %d", len(got), len(want))
		case i >= len(want) || want[i] != got[i]:
			return fmt.Sprintf("line %d of %d is %q", i, len(got), got[i:min(i+2, len(got))])
		}
	}
	return ""
}
