// Package runview prints a run as it happens: one prefixed line for each event,
// or one JSON object.
package runview

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/run"
)

// View prints events. Its methods are called from one goroutine.
type View struct {
	Out    io.Writer // for people, or for machines with JSON
	JSON   bool
	Quiet  bool // ends only
	Mark   func(run.Result) string
	Now    func() time.Time
	Folder string // receives events.jsonl and logs/; "" = nothing is kept

	began  map[string]time.Time
	events *os.File
	logs   map[string]*os.File
	order  map[string]int // steps of a job that have a log
	counts map[run.Result]int
	warned int // steps that warned
	err    error
}

// Event prints one event and keeps it.
func (v *View) Event(e run.Event) {
	if v.began == nil {
		v.began, v.logs, v.order, v.counts = map[string]time.Time{}, map[string]*os.File{}, map[string]int{}, map[run.Result]int{}
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
	if _, ok := v.began[where]; !ok {
		v.began[where] = v.Now()
	}
	switch {
	case e.Type == "log":
		if !v.Quiet {
			v.print(where + " | " + e.Line)
		}
	case e.Type != "stage" || e.Stage != pipeline.DefaultStage:
		v.print(fmt.Sprintf("%s %s: %s%s%s", v.Mark(e.Result), where, e.Result, v.took(where, e), cause(e)))
	}
}

// Warned is how many steps have given warnings.
func (v *View) Warned() int { return v.warned }

// took is shown of steps, whose first line is near their start.
func (v *View) took(where string, e run.Event) string {
	if e.Type != "step" || e.Result == run.Skipped {
		return ""
	}
	return fmt.Sprintf(" (%.1f s)", v.Now().Sub(v.began[where]).Seconds())
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
	if _, err := fmt.Fprintln(v.Out, line); err != nil && v.err == nil {
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
	job := e.Stage + "/" + e.Job
	f := v.logs[job+"/"+e.Step]
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
		v.logs[job+"/"+e.Step] = f
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
