// Package runview prints a run as it happens: one prefixed line for each event,
// or one JSON object.
package runview

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/run"
)

// View prints events. Its methods are called from one goroutine.
type View struct {
	Out    io.Writer // for people, or for machines with JSON
	JSON   bool
	Quiet  bool // ends only
	All    bool // also what a task says before its script begins
	Mark   func(run.Result) string
	Folder string // receives events.jsonl and logs/; "" = nothing is kept
	Lost   func() // is called once, when nobody reads Out any more; nil = that is an error

	output output
	events *os.File
	logs   map[stepKey]*os.File
	order  map[string]int // steps of a job that have a log
	counts map[run.Result]int
	warned int // steps that warned
	lost   bool
	err    error
}

// Event prints one event and keeps it.
func (v *View) Event(e run.Event) {
	if v.logs == nil {
		v.output, v.logs, v.order, v.counts = output{}, map[stepKey]*os.File{}, map[string]int{}, map[run.Result]int{}
	}
	line, err := json.Marshal(e)
	if err != nil {
		v.err = err
		return
	}
	v.keep(e, line)
	if e.Issues != nil && e.Issues.Warnings > 0 {
		v.warned++
	}
	if v.JSON {
		v.print(string(line))
		return
	}
	where := Path(e)
	if e.Type == "log" || e.Type == "step" {
		for _, line := range v.lines(e) {
			v.print(where + " | " + line)
		}
	}
	switch {
	case e.Type == "log":
	case e.Type != "stage" || e.Stage != pipeline.DefaultStage:
		v.print(fmt.Sprintf("%s %s: %s%s%s", v.Mark(e.Result), where, e.Result, took(e), cause(e)))
	}
}

// Warned is how many steps have given warnings.
func (v *View) Warned() int { return v.warned }

// Unread reports whether Out was closed before the end.
func (v *View) Unread() bool { return v.lost }

// stepKey tells steps of one name apart.
type stepKey struct {
	job, step string
	order     int
}

func keyOf(e run.Event) stepKey { return stepKey{e.Stage + "/" + e.Job, e.Step, e.Order} }

// lines are those to show of a log's line, or of the end of a step.
func (v *View) lines(e run.Event) []string {
	switch {
	case v.Quiet, v.All && e.Type == "step":
		return nil
	case v.All:
		return []string{e.Line}
	}
	return v.output.lines(e)
}

// took is shown of steps.
func took(e run.Event) string {
	if e.Type != "step" || e.Result == run.Skipped {
		return ""
	}
	return fmt.Sprintf(" (%.1f s)", max(e.Took, 0).Seconds()) // its beginning and end may come in one report
}

func cause(e run.Event) string {
	if e.Cause == "" {
		return ""
	}
	return ": " + e.Cause
}

// Path names the place of an event; what the file leaves out is left out.
func Path(e run.Event) string {
	var parts []string
	if e.Stage != "" && e.Stage != pipeline.DefaultStage {
		parts = append(parts, e.Stage)
	}
	if e.Job != "" && (e.Job != pipeline.DefaultJob || e.Stage != pipeline.DefaultStage) {
		parts = append(parts, e.Job)
	}
	if e.Step != "" {
		parts = append(parts, e.Step)
	}
	if len(parts) == 0 {
		return e.Type
	}
	return strings.Join(parts, "/")
}

func (v *View) print(line string) {
	if v.lost {
		return
	}
	_, err := fmt.Fprintln(v.Out, line)
	switch {
	case err == nil:
	case v.Lost != nil && errors.Is(err, syscall.EPIPE):
		v.lost = true
		v.Lost()
	case v.err == nil:
		v.err = err
	}
}

// keep writes events.jsonl, and the lines of every step into a file of its own.
func (v *View) keep(e run.Event, line []byte) {
	if v.Folder == "" {
		return
	}
	if v.events == nil {
		if v.events, v.err = os.Create(filepath.Join(v.Folder, "events.jsonl")); v.err != nil {
			v.Folder = ""
			return
		}
	}
	if _, err := v.events.Write(append(line, '\n')); err != nil {
		v.err = err
	}
	if e.Type != "log" {
		return
	}
	key := keyOf(e)
	job, f := key.job, v.logs[key]
	if f == nil {
		v.order[job]++
		folder := filepath.Join(v.Folder, "logs", FileName(e.Stage), FileName(e.Job))
		if err := os.MkdirAll(folder, 0o755); err != nil {
			v.err = err
			return
		}
		var err error
		if f, err = os.Create(filepath.Join(folder, fmt.Sprintf("%02d-%s.log", v.order[job], FileName(e.Step)))); err != nil {
			v.err = err
			return
		}
		v.logs[key] = f
	}
	if _, err := f.WriteString(e.Line + "\n"); err != nil {
		v.err = err
	}
}

// FileName makes a name of people one of files.
func FileName(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.', r == '_':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		default:
			return '-'
		}
	}, name)
	name = strings.Trim(name, "-.")
	return name[:min(len(name), 60)]
}

// Close ends the record and returns the first mistake of writing.
func (v *View) Close() error {
	for _, f := range v.logs {
		if err := f.Close(); err != nil && v.err == nil {
			v.err = err
		}
	}
	if v.events != nil {
		if err := v.events.Close(); err != nil && v.err == nil {
			v.err = err
		}
	}
	return v.err
}
