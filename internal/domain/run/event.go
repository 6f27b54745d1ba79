package run

import (
	"context"
	"encoding/json"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Event is one thing that happened in a run: a line of a log, or the end of a
// step, job, stage or of the run itself. It is the line of `-o json`.
type Event struct {
	Type    string `json:"type"` // log, step, job, stage, run
	Stage   string `json:"stage,omitempty"`
	Job     string `json:"job,omitempty"`
	Step    string `json:"step,omitempty"` // its name, or its display name where it has none
	Attempt int    `json:"attempt,omitempty"`
	// Order is the step's place in its job, from 1: names are not unique. Took is
	// how long it ran.
	Order  int           `json:"-"`
	Took   time.Duration `json:"-"`
	Line   string        `json:"line,omitempty"`   // of a log
	Result Result        `json:"result,omitempty"` // of an end
	Issues *Issues       `json:"issues,omitempty"` // of a step's end
	Cause  string        `json:"cause,omitempty"`  // why, where it is not the steps' doing
}

// MarshalJSON writes the line of a log also where it is empty.
func (e Event) MarshalJSON() ([]byte, error) {
	type plain Event
	if e.Type != "log" {
		return json.Marshal(plain(e))
	}
	return json.Marshal(struct {
		plain
		Line string `json:"line"`
	}{plain(e), e.Line})
}

// Issues count what a step complained about.
type Issues struct {
	Errors   int `json:"errors"`
	Warnings int `json:"warnings"`
}

// Follower tells what became new in a run since it last looked: every line once,
// every end once, lines before the end of their step, ends from the inside out.
type Follower struct {
	Logs   Logs
	ended  map[string]bool
	lines  map[string]int
	behind bool
}

// atOnce is how much of one log a call of Next returns, in bytes, give or take
// some lines: a step may write faster than they are shown.
const atOnce = 4 << 20

// Behind says that the last Next left out something that is already there.
func (f *Follower) Behind() bool { return f.behind }

// Next returns the events since the last call. Where a log has more than
// 4 MB of them it is Behind, and the ends of what it has not shown come later.
func (f *Follower) Next(ctx context.Context, d *Detail) ([]Event, error) {
	if f.ended == nil {
		f.ended, f.lines = map[string]bool{}, map[string]int{}
	}
	f.behind = false
	var out []Event
	for _, s := range d.Stages {
		before := f.behind // of other stages
		f.behind = false
		for _, p := range d.Phases {
			if p.Stage != s.Name || p.Attempt != s.Attempt {
				continue
			}
			events, err := f.phase(ctx, d, p)
			if err != nil {
				return nil, err
			}
			out = append(out, events...)
		}
		if s.State == Completed && !f.behind && f.first("stage", s.Name, s.Attempt) {
			out = append(out, Event{Type: "stage", Stage: s.Name, Attempt: s.Attempt, Result: s.Result, Cause: s.Cause})
		}
		f.behind = f.behind || before
	}
	if d.Run.State == Completed && !f.behind && f.first("run", d.Run.ID, 0) {
		out = append(out, Event{Type: "run", Result: d.Run.Result, Cause: d.Run.Cause})
	}
	return out, nil
}

func (f *Follower) first(kind, id string, attempt int) bool {
	key := endKey(kind, id, attempt)
	if f.ended[key] {
		return false
	}
	f.ended[key] = true
	return true
}

func endKey(kind, id string, attempt int) string {
	return kind + "\x00" + id + "\x00" + strconv.Itoa(attempt)
}

func (f *Follower) phase(ctx context.Context, d *Detail, p *Phase) ([]Event, error) {
	var out []Event
	var jobs []*Job
	for _, j := range d.Jobs {
		if j.Stage == p.Stage && j.Phase == p.Name && j.Of(p.Attempt) {
			jobs = append(jobs, j)
		}
	}
	sort.SliceStable(jobs, func(i, k int) bool { return jobs[i].Order < jobs[k].Order })
	for _, j := range jobs {
		events, err := f.job(ctx, j)
		if err != nil {
			return nil, err
		}
		out = append(out, events...)
	}
	if len(jobs) == 0 && p.State == Completed && f.first("phase", p.ID, p.Attempt) { // skipped, or it could not start
		out = append(out, Event{Type: "job", Stage: p.Stage, Job: p.Name, Attempt: p.Attempt, Result: p.Result, Cause: p.Cause})
	}
	return out, nil
}

func (f *Follower) job(ctx context.Context, j *Job) ([]Event, error) {
	if f.ended[endKey("job", j.ID, j.Attempt)] {
		return nil, nil // its logs were whole before it ended
	}
	var out []Event
	name := EventJob(j.Phase, j.Name)
	for i := range j.Steps {
		s := &j.Steps[i]
		if s.State == Pending {
			continue
		}
		step := s.Name
		if step == "" {
			step = s.DisplayName
		}
		lines, more, err := f.newLines(ctx, j.LogID(s.Order), s.State == Completed)
		if err != nil {
			return nil, err
		}
		for _, line := range lines {
			out = append(out, Event{Type: "log", Stage: j.Stage, Job: name, Step: step, Order: s.Order, Attempt: j.Attempt, Line: WithoutTime(line)})
		}
		if more {
			f.behind = true
			return out, nil
		}
		if s.State == Completed && f.first("step", j.LogID(s.Order), s.Attempt) {
			out = append(out, Event{Type: "step", Stage: j.Stage, Job: name, Step: step, Order: s.Order, Attempt: max(1, s.Attempt), Result: s.Result, Took: s.Finished.Sub(s.Started),
				Issues: &Issues{Errors: len(s.Errors), Warnings: len(s.Warnings)}})
		}
	}
	if j.State == Completed && f.first("job", j.ID, j.Attempt) {
		out = append(out, Event{Type: "job", Stage: j.Stage, Job: name, Attempt: j.Attempt, Result: j.Result, Cause: j.Cause})
	}
	return out, nil
}

// EventJob is how an event names a job: JOB, or JOB LEG and JOB HOOK. The last part
// alone is that of other jobs, too.
func EventJob(phase, name string) string {
	if phase == "" || name == phase {
		return name
	}
	return phase + " " + name
}

// newLines reads a log from where it was left, and says whether there is more. The
// beginning of a line waits for its rest, unless the log is whole.
func (f *Follower) newLines(ctx context.Context, log string, whole bool) (out []string, more bool, err error) {
	const some = 256
	for left := atOnce; left > 0; {
		lines, complete, err := f.Logs.Lines(ctx, log, f.lines[log]+1, some)
		if err != nil {
			return nil, false, err
		}
		if !whole {
			lines = lines[:min(len(lines), max(complete-f.lines[log], 0))]
		}
		for _, line := range lines {
			left -= len(line) + 1
		}
		out = append(out, lines...)
		if f.lines[log] += len(lines); len(lines) < some {
			return out, false, nil
		}
	}
	return out, true, nil
}

// LogTime is how a log line begins, in UTC; a space follows.
const LogTime = "2006-01-02T15:04:05.0000000Z"

// WithoutTime is what the step wrote: a log line without the time it begins with.
func WithoutTime(line string) string {
	if at, rest, found := strings.Cut(line, " "); found && len(at) == len(LogTime) {
		if _, err := time.Parse(LogTime, at); err == nil {
			return rest
		}
	}
	return line
}
