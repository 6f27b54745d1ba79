package agent

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"penstock.dev/penstock/internal/agent/cause"
	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/run"
)

// step is one step while it runs; it is the Host of its task.
type step struct {
	*job
	order  int
	spec   pipeline.Step
	ref    string // its name, or the one that the service would give it
	jobCtx context.Context
	ctx    context.Context // of the attempt that runs
	state  map[string]string
	ran    bool
	spent  bool      // it has failed before it was its turn
	until  time.Time // when its time is up; zero: never
	// packaged is the task of a step that no built-in task answers for.
	packaged *packaged

	mu       sync.Mutex
	report   run.StepReport
	declared run.Result // by task.complete
	broken   bool       // a logging command failed
	private  map[string]run.Variable
	uploads  []upload
	details  map[string]*detail
	first    int           // attempts that came before those that are made now
	said     string        // its last lines, where somebody looks
	done     chan struct{} // closed when the task says that it is complete
	exit     exit          // of the last program that failed in this attempt
	absent   string        // program that a shell did not find in this attempt, masked
	cause    string        // why the last attempt failed, where that was not the program's doing
}

// exit is how a program ended.
type exit struct{ code, signal int }

func (s *step) noteExit(code, signal int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if code != 0 {
		s.exit = exit{code, signal}
	}
}

// explain notes why an attempt failed where that may not be the program's doing.
// It is said of the job; the step's log and errors are those of the service.
func (s *step) explain(look *cause.Look, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	facts := look.Facts(err, s.exit.code, s.exit.signal)
	facts.Absent = s.absent
	s.cause = cause.Of(facts)
}

// start and finish are the two ends of a step: in its record, and in its log.
func (s *step) start() {
	s.begin()
	s.Print("##[section]Starting: " + s.report.DisplayName)
}

func (s *step) finish(r run.Result) run.Result {
	s.Print("##[section]Finishing: " + s.report.DisplayName)
	return s.end(r)
}

func (s *step) begin() {
	s.mu.Lock()
	s.report.State = run.InProgress
	s.mu.Unlock()
	s.send()
}

func (s *step) end(r run.Result) run.Result {
	s.mu.Lock()
	s.report.State, s.report.Result = run.Completed, r
	s.mu.Unlock()
	s.send()
	return r
}

// send reports the state of the step. Everything in it passes the mask: a
// secret may have become known after a text was made.
func (s *step) send() {
	s.mu.Lock()
	r := s.report
	r.Errors, r.Warnings = s.maskAll(r.Errors), s.maskAll(r.Warnings)
	s.mu.Unlock()
	r.DisplayName = s.masker.Line(r.DisplayName)
	s.link.Step(r)
}

func (s *step) maskAll(list []string) []string {
	var out []string
	for _, text := range list {
		out = append(out, s.masker.Line(text))
	}
	return out
}

// maxRetries is the most that retryCountOnTaskFailure gives.
const maxRetries = 10

// attempts runs the task, again as often as retryCountOnTaskFailure allows; the
// waits between are 1, 4, 9 … seconds. The step's time is that of all attempts.
func (s *step) attempts(ctx context.Context) run.Result {
	s.until = time.Time{}
	if limit := time.Duration(s.spec.TimeoutInMinutes) * time.Minute; limit > 0 {
		s.until = time.Now().Add(limit)
	}
	retries := s.spec.RetryCountOnTaskFailure
	if retries > maxRetries {
		s.Issue("warning", fmt.Sprintf("retryCountOnTaskFailure is %d; a step is tried again %d times at most", retries, maxRetries))
		retries = maxRetries
	}
	for k := 1; ; k++ {
		s.mu.Lock()
		s.report.Attempt = s.first + k
		s.mu.Unlock()
		result, again := s.run(ctx)
		if result != run.Failed || !again || k > retries || ctx.Err() != nil {
			return result
		}
		wait := time.Duration(k*k) * time.Second
		s.Issue("warning", fmt.Sprintf("attempt %d of %d%s%s", k, retries+1, run.RetryWords, wait))
		waiting, stop := s.inTime(ctx)
		select {
		case <-waiting.Done():
		case <-s.machine.After(wait):
		}
		up := errors.Is(context.Cause(waiting), errTimeUp)
		if stop(); up {
			return s.timedOut()
		}
	}
}

func (s *step) timedOut() run.Result {
	return s.fail(fmt.Sprintf("The task has timed out: it ran longer than its %d minutes (timeoutInMinutes).", s.spec.TimeoutInMinutes))
}

var errTimeUp = errors.New("the step's time is up")

// inTime ends when the step's time is up.
func (s *step) inTime(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.until.IsZero() {
		return context.WithCancel(ctx)
	}
	return context.WithDeadlineCause(ctx, s.until, errTimeUp)
}

// run makes one attempt. again says whether a failure may be tried again: not
// where the time was up.
func (s *step) run(ctx context.Context) (result run.Result, again bool) {
	ctx, stop := s.stepContext(ctx)
	defer stop()
	ctx, cancel := s.inTime(ctx)
	defer cancel()
	s.mu.Lock()
	s.declared, s.broken, s.uploads, s.done, s.ctx = "", false, nil, make(chan struct{}), ctx
	s.exit, s.cause, s.absent = exit{}, "", ""
	s.mu.Unlock()
	look := cause.Begin(s.machine.Work)
	err := s.call(ctx)
	if err == nil && ctx.Err() == nil {
		err = s.upload(ctx)
	}
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errTimeUp):
		return s.timedOut(), false
	case errors.Is(cause, errGraceOver):
		s.overran = true
		return s.fail("The step was ended: what runs after a cancel has " + s.grace().String() + " (cancelTimeoutInMinutes)."), false
	case cause != nil:
		s.Print("##[error]The operation was canceled.")
		return run.Canceled, false
	case err != nil && !s.ran:
		return s.fail(message(err)), false // its task is not at hand: that does not pass
	case err != nil:
		result = s.fail(message(err))
		s.explain(look, err)
	default:
		result = run.Succeeded
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.declared != "" {
		result = merge(result, s.declared)
	}
	again = result == run.Failed
	if s.broken { // what the program did went well: it is not done twice
		result = merge(result, run.Failed)
	}
	return result, again
}

var errGraceOver = errors.New("the time after a cancel is up")

func (s *step) grace() time.Duration {
	return time.Duration(max(s.m.CancelTimeoutInMinutes, 1)) * time.Minute
}

// stepContext ends when the job is canceled, unless the step's condition also
// holds then: such a step begins, or goes on, for the time that the job leaves
// after a cancel.
func (s *step) stepContext(jobCtx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(jobCtx))
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		select {
		case <-ctx.Done():
			return
		case <-jobCtx.Done():
		}
		if ok, err := s.holds(s.spec, s.result, true); err != nil || !ok {
			cancel(context.Cause(jobCtx))
			return
		}
		timer := time.NewTimer(s.grace())
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
			cancel(errGraceOver)
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-watching
	}
}

// merge joins two results of one step: the worse wins, but one that is beyond
// failure stays.
func merge(a, b run.Result) run.Result {
	rank := map[run.Result]int{run.Succeeded: 0, run.SucceededWithIssues: 1, run.Failed: 2, run.Canceled: 3, run.Skipped: 4, run.Abandoned: 5}
	if rank[a] >= rank[run.Canceled] || rank[a] >= rank[b] {
		return a
	}
	return b
}

func (s *step) fail(text string) run.Result {
	s.Issue("error", text)
	return run.Failed
}

// message is an error with what to do, in one line.
func message(err error) string {
	text := err.Error()
	var e *fault.Error
	if errors.As(err, &e) {
		if e.Where != "" {
			text += " (at " + e.Where + ")"
		}
		if e.Expected != "" {
			text += " (expected " + e.Expected + ")"
		}
		if e.Found != "" {
			text += " (found " + e.Found + ")"
		}
		if e.Do != "" {
			text += " → " + e.Do
		}
	}
	return text
}

// Issue implements task.Changes: it is said in the log and kept in the record.
func (s *step) Issue(kind, text string) {
	s.Print("##[" + kind + "]" + text)
	s.record(kind, text)
}

func (s *step) record(kind, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := &s.report.Warnings
	if kind == "error" {
		list = &s.report.Errors
	}
	if len(*list) < run.MaxIssues {
		*list = append(*list, text)
	}
}

// saidAlready reports whether a text is an issue of the step already.
func (s *step) saidAlready(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.report.Errors, text) || slices.Contains(s.report.Warnings, text)
}

// call finds the task and runs it.
func (s *step) call(ctx context.Context) error {
	t, err := s.task()
	if err != nil {
		return err
	}
	if !s.ran {
		s.header(t)
	}
	s.ran = true
	if s.given() {
		dir, _ := s.Lookup("Build.SourcesDirectory")
		s.Print("The sources are used as they are in " + dir)
		return nil
	}
	return t.Run(ctx, s.context(t))
}

// header says which task runs, once, however often it is tried. A package says it
// itself.
func (s *step) header(t *task.Task) {
	if s.packaged != nil {
		return
	}
	task.Header(s.Print, [][2]string{{"Task", t.Name}, {"Description", "built into Penstock"}, {"Version", s.spec.Version}, {"Author", "Penstock"}, {"Help", "penstock explain " + t.Name}})
}

func (s *step) task() (*task.Task, error) {
	if t, err := s.fromPackage(); t != nil || err != nil {
		return t, err
	}
	t := task.Find(s.spec.Task)
	if t == nil {
		return nil, s.noTask()
	}
	if !t.Has(s.spec.Version) {
		return nil, fault.New(fault.NotFound, "task-version", "task %s has no version %s", t.Name, s.spec.Version).Want("%s@%s", t.Name, strings.Join(t.Major, " or @"))
	}
	return t, nil
}

func (s *step) context(t *task.Task) *task.Context {
	if s.state == nil {
		s.state = map[string]string{}
	}
	major, _, _ := strings.Cut(s.spec.Version, ".")
	cache := s.machine.CacheDir
	if cache == "" {
		cache = filepath.Join(s.machine.Work, "_caches")
		if s.machine.ToolCache != "" {
			cache = filepath.Join(filepath.Dir(s.machine.ToolCache), "caches")
		}
	}
	result := s.result
	if s.jobCtx.Err() != nil {
		result = run.Canceled
	}
	return &task.Context{Host: s, Changes: s, Folders: s, Resources: s, Job: s.m, Step: strconv.Itoa(s.order), Inputs: t.Resolve(major, s.spec.Inputs, s.lookupOrOS), Client: s.machine.Client, Records: s.machine.Records, Outcomes: s.machine.Outcomes,
		Temp: s.temp, Version: major, State: s.state, CacheDir: cache, After: s.machine.After, JobResult: result, Borrow: s.machine.Local.Objects,
		Environ: func() []string { return s.environment(s.spec.Env) }}
}

// SetVariable implements task.Host.
func (s *step) SetVariable(name, value string, secret bool) {
	if err := s.set(assignment{Variable: run.Variable{Name: name, Value: value, Secret: secret}}); err != nil {
		s.Issue("warning", message(err))
		return
	}
	s.Output(name, value, secret)
}

// MoveFolder implements task.Folders.
func (s *step) MoveFolder(name, path string) { s.put(name, path) }

// Output implements task.Changes.
func (s *step) Output(name, value string, secret bool) {
	if secret {
		s.addSecret(value)
	}
	full := s.ref + "." + name
	if err := s.set(assignment{Variable: run.Variable{Name: full, Value: value, Secret: secret}}); err != nil {
		s.Issue("warning", message(err))
		return
	}
	s.keepOutput(full, value, secret)
}

func (j *job) keepOutput(name, value string, secret bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.outputs[name] = value
	if secret {
		j.secretOutputs[name] = true
	}
}

// PrependPath implements task.Changes: the newest comes first, once.
func (s *step) PrependPath(dir string) {
	s.job.mu.Lock()
	defer s.job.mu.Unlock()
	list := []string{dir}
	for _, p := range s.paths {
		if p != dir {
			list = append(list, p)
		}
	}
	s.paths = list
}

// Mask implements task.Changes.
func (s *step) Mask(text string) string { return s.masker.Line(text) }

// Find implements task.Changes. The step's PATH is not the agent's: earlier
// steps may have put folders in front.
func (s *step) Find(program string) (string, error) {
	switch c, err := s.inside(); {
	case err != nil:
		return "", err
	case c != nil:
		return s.findInside(c, program)
	}
	return s.findHere(program)
}

// findHere looks for a program on the machine.
func (s *step) findHere(program string) (string, error) {
	if strings.ContainsAny(program, `/\`) {
		return exec.LookPath(program)
	}
	for _, pair := range s.environment(s.spec.Env) {
		name, value, _ := strings.Cut(pair, "=")
		if name != "PATH" && (runtime.GOOS != "windows" || !strings.EqualFold(name, "PATH")) {
			continue
		}
		for _, dir := range filepath.SplitList(value) {
			if !filepath.IsAbs(dir) {
				continue // what lies where the step happens to be is not meant
			}
			if p, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
				return p, nil
			}
		}
	}
	return "", exec.ErrNotFound
}

// Service implements task.Host.
func (s *step) Service() task.Services { return s.machine.Services }

// Print implements task.Host.
func (s *step) Print(text string) {
	for line := range strings.SplitSeq(strings.TrimRight(text, "\r\n"), "\n") {
		s.write(s.masker.Line(strings.TrimRight(line, "\r")))
	}
}

// stampFormat is the time at the begin of each line of a log.
const stampFormat = "2006-01-02T15:04:05.0000000Z"

// write stamps a line that holds no secret any more, and sends it.
func (s *step) write(line string) {
	if s.machine.Local.Break != nil {
		s.mu.Lock()
		s.said += line + "\n"
		s.said = s.said[max(0, len(s.said)-maxSaid):]
		s.mu.Unlock()
	}
	s.link.Log(s.order, time.Now().UTC().Format(stampFormat)+" "+strings.ToValidUTF8(line, "\uFFFD")+"\n")
}
