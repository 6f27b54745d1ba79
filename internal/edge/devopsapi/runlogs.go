package devopsapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/run"
)

var runLogRoutes = []Route{
	{"penstock", "logs", "", "GET", ourRun + "/logs", identity.ProjectView, (*call).runLogs, nil, smallJSON},
	{"penstock", "events", "", "GET", ourRun + "/events", identity.ProjectView, (*call).runEvents, nil, smallJSON},
}

// logLine is one line of a run, with where it comes from.
type logLine struct {
	Stage  string `json:"stage"`
	Job    string `json:"job"`
	Step   string `json:"step"`
	Number int    `json:"line"`
	Text   string `json:"text"`
}

func (l logLine) String() string {
	return fmt.Sprintf("%s/%s/%s  %d  %s", l.Stage, l.Job, l.Step, l.Number, l.Text)
}

// logQuery is which lines are wanted.
type logQuery struct {
	job, step string
	grep      *regexp.Regexp
	tail      int
}

func (c *call) logQuery(d *run.Detail) (logQuery, error) {
	q := logQuery{job: c.query("job"), step: c.query("step")}
	if text := c.query("grep"); text != "" {
		re, err := regexp.Compile(text)
		if err != nil || len(text) > 1000 {
			return q, fault.New(fault.Invalid, "invalid-pattern", "grep is no regular expression").Got("%s", err)
		}
		q.grep = re
	}
	if text := c.query("tail"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 100_000 {
			return q, fault.New(fault.Invalid, "invalid-number", "tail=%q is not usable", text).Want("1 to 100000")
		}
		q.tail = n
	}
	if q.job == "" {
		return q, nil
	}
	var names []string
	for _, j := range d.Jobs {
		if q.wantsJob(j) {
			return q, nil
		}
		if !slices.Contains(names, j.Name) {
			names = append(names, j.Name)
		}
	}
	return q, fault.New(fault.NotFound, "not-found", "run %s has no job %s", d.Run.ID, q.job).Got("%s", strings.Join(names, ", ")).Try("--job NAME, with one of these")
}

func (q logQuery) wantsJob(j *run.Job) bool {
	return q.job == "" || strings.EqualFold(q.job, j.Name) || strings.EqualFold(q.job, j.Phase) || strings.EqualFold(q.job, j.ID) ||
		strings.EqualFold(q.job, j.Stage+"/"+j.Name)
}

func (q logQuery) wantsStep(s run.Step) bool {
	return q.step == "" || strings.EqualFold(q.step, s.Name) || strings.EqualFold(q.step, s.DisplayName) || q.step == strconv.Itoa(s.Order)
}

// reader goes through the logs of a run and remembers how far it came.
type reader struct {
	c     *call
	q     logQuery
	after map[string]int // lines read, by log
}

// read passes every new complete line on, in the order of jobs and steps.
func (l *reader) read(ctx context.Context, d *run.Detail, emit func(logLine) error) error {
	for _, j := range numbered(d) {
		if !l.q.wantsJob(j) {
			continue
		}
		for _, s := range j.Steps {
			if s.State == run.Pending || !l.q.wantsStep(s) {
				continue
			}
			if err := l.step(ctx, j, s, emit); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *reader) step(ctx context.Context, j *run.Job, s run.Step, emit func(logLine) error) error {
	log := j.LogID(s.Order)
	for {
		page, total, err := l.c.Runs.Logs.Lines(ctx, log, l.after[log]+1, logPage)
		if err != nil {
			return err
		}
		// A last line that has no end yet may still grow.
		if complete := total - l.after[log]; s.State != run.Completed && len(page) > complete {
			page = page[:max(complete, 0)]
		}
		for _, text := range page {
			l.after[log]++
			if l.q.grep != nil && !l.q.grep.MatchString(text) {
				continue
			}
			if err := emit(logLine{j.Stage, j.Name, s.DisplayName, l.after[log], text}); err != nil {
				return err
			}
		}
		if len(page) < logPage {
			return nil
		}
	}
}

// runLogs sends the lines of a run: as a list, as text, or as one JSON object a
// line; with follow=true the latter for as long as the run goes on.
func (c *call) runLogs() (any, error) {
	d, err := c.load()
	if err != nil {
		return nil, err
	}
	q, err := c.logQuery(d)
	if err != nil {
		return nil, err
	}
	l := &reader{c: c, q: q, after: map[string]int{}}
	if c.flag("follow") {
		return c.followLogs(d, l)
	}
	emit, contentType := c.lineWriter()
	switch {
	case emit == nil:
		lines, err := l.last(d, q.tail)
		if err != nil {
			return nil, err
		}
		return listOf(lines), nil
	case q.tail == 0:
		c.begin(contentType)
		return done{}, c.gone(l.read(c.ctx(), d, emit))
	}
	lines, err := l.last(d, q.tail)
	if err != nil {
		return nil, err
	}
	c.begin(contentType)
	for _, x := range lines {
		if err := emit(x); err != nil {
			return done{}, c.gone(err)
		}
	}
	return done{}, nil
}

// lineWriter writes lines as they are read, for who asked for text or for one
// JSON object a line; nil for who wants a list.
func (c *call) lineWriter() (emit func(logLine) error, contentType string) {
	switch {
	case c.accepts("application/x-ndjson"):
		out := json.NewEncoder(c.w)
		return func(x logLine) error { return out.Encode(x) }, "application/x-ndjson"
	case c.accepts("text/plain"):
		return func(x logLine) error {
			_, err := fmt.Fprintln(c.w, x)
			return err
		}, "text/plain; charset=utf-8"
	}
	return nil, ""
}

// last collects lines, at most the newest n of them if n is given.
func (l *reader) last(d *run.Detail, n int) ([]logLine, error) {
	lines := []logLine{}
	err := l.read(l.c.ctx(), d, func(x logLine) error {
		lines = append(lines, x)
		if n > 0 && len(lines) >= 2*n {
			lines = append(lines[:0], lines[len(lines)-n:]...)
		}
		return nil
	})
	if n > 0 && len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return lines, err
}

// begin starts an answer that has no end yet.
func (c *call) begin(contentType string) {
	h := c.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	_ = http.NewResponseController(c.w).SetWriteDeadline(time.Time{})
	c.started = true
	c.w.WriteHeader(http.StatusOK)
}

// heartbeat keeps a quiet connection from looking dead; it also bounds how long
// a signal that was missed goes unnoticed.
const heartbeat = 5 * time.Second

// followLogs sends lines until the run has ended.
func (c *call) followLogs(d *run.Detail, l *reader) (any, error) {
	first, err := l.last(d, l.q.tail)
	if err != nil {
		return nil, err
	}
	c.begin("application/x-ndjson")
	out := json.NewEncoder(c.w)
	for _, x := range first {
		if err := out.Encode(x); err != nil {
			return done{}, nil
		}
	}
	return done{}, c.watch(d, func(d *run.Detail) []string {
		keys := []string{"run/" + d.Run.ID}
		for _, j := range d.Jobs {
			keys = append(keys, "log/"+j.ID)
		}
		return keys
	}, func(d *run.Detail, _ bool) error {
		return l.read(c.ctx(), d, func(x logLine) error { return out.Encode(x) })
	})
}

// watch calls tell after every change of a run, and once more when it has
// ended. A client that goes away ends it without an error.
func (c *call) watch(d *run.Detail, keys func(*run.Detail) []string, tell func(d *run.Detail, changed bool) error) error {
	flush := http.NewResponseController(c.w)
	sub := c.Hub.Subscribe(keys(d)...)
	defer func() { sub.Close() }()
	changed := true
	for {
		// Read after subscribing, so that no change falls between.
		fresh, err := c.Runs.Load(c.ctx(), d.Run.ID)
		if err != nil {
			return c.gone(err)
		}
		if err := tell(fresh, changed); err != nil {
			return c.gone(err)
		}
		if err := flush.Flush(); err != nil || fresh.Run.State == run.Completed {
			return c.gone(err)
		}
		if len(fresh.Jobs) != len(d.Jobs) {
			sub.Close()
			sub, d = c.Hub.Subscribe(keys(fresh)...), fresh
			continue
		}
		timer := time.NewTimer(heartbeat)
		select {
		case <-c.ctx().Done():
			timer.Stop()
			return nil
		case <-sub.C:
			changed = len(sub.Take()) > 0
		case <-timer.C:
			changed = false
		}
		timer.Stop()
	}
}

func (c *call) gone(err error) error {
	if c.ctx().Err() != nil {
		return nil
	}
	return err
}

// runEvents sends server-sent events: `run` with the detail after every change,
// `end` when the run has ended.
func (c *call) runEvents() (any, error) {
	d, err := c.load()
	if err != nil {
		return nil, err
	}
	c.begin("text/event-stream")
	last := ""
	return done{}, c.watch(d, func(d *run.Detail) []string { return []string{"run/" + d.Run.ID} }, func(d *run.Detail, _ bool) error {
		data, err := json.Marshal(detailOf(d))
		if err != nil {
			return err
		}
		if string(data) == last {
			_, err = fmt.Fprint(c.w, ": still here\n\n")
		} else {
			_, err = fmt.Fprintf(c.w, "event: run\ndata: %s\n\n", data)
			last = string(data)
		}
		if err == nil && d.Run.State == run.Completed {
			_, err = fmt.Fprintf(c.w, "event: end\ndata: %q\n\n", d.Run.Result)
		}
		return err
	})
}
