package runview

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/run"
)

// Screen repaints the tree of a run in place, on a terminal.
type Screen struct {
	Out  io.Writer
	Size func() (columns, rows int)
	Now  func() time.Time
	// Plain leaves colours away.
	Plain bool

	painted string
	rows    int // of what was painted last
	output  output
	tail    map[stepKey][]string
}

// tailLines is how many of the last lines of a step are shown.
const tailLines, failedLines = 3, 10

// Event remembers the last lines of every step's output.
func (s *Screen) Event(e run.Event) {
	if e.Type != "log" && e.Type != "step" {
		return
	}
	if s.tail == nil {
		s.output, s.tail = output{}, map[stepKey][]string{}
	}
	key := keyOf(e)
	tail := slices.Concat(s.tail[key], s.output.lines(e))
	s.tail[key] = tail[max(0, len(tail)-failedLines):]
}

// Look paints the run as it is now, if that differs from what is on the screen.
func (s *Screen) Look(d *run.Detail) {
	columns, rows := s.Size()
	lines := s.tree(d)
	if d.Run.State != run.Completed && len(lines) > rows-1 { // what scrolled out could not be repainted
		lines = lines[len(lines)-max(1, rows-1):]
	}
	for i, line := range lines {
		lines[i] = cut(line, columns)
	}
	text := strings.Join(lines, "\n") + "\n"
	if text == s.painted {
		return
	}
	up := ""
	if s.rows > 0 {
		up = fmt.Sprintf("\x1b[%dA\x1b[J", s.rows)
	}
	s.painted, s.rows = text, len(lines)
	_, _ = io.WriteString(s.Out, up+text) // a terminal that is gone stops nothing
}

// Below leaves the tree where it is: the next picture comes under what others print.
func (s *Screen) Below() { s.painted, s.rows = "", 0 }

func (s *Screen) tree(d *run.Detail) []string {
	var out []string
	for _, st := range d.Stages {
		indent := ""
		if st.Name != pipeline.DefaultStage {
			out = append(out, s.line(indent, st.State, st.Result, st.Name, cause(run.Event{Cause: st.Cause}), st.Started, st.Finished))
			indent = "  "
		}
		for _, p := range d.Phases {
			if p.Stage == st.Name && p.Attempt == st.Attempt {
				out = append(out, s.phase(d, p, indent)...)
			}
		}
	}
	return out
}

func (s *Screen) phase(d *run.Detail, p *run.Phase, indent string) []string {
	var out []string
	for _, j := range d.Jobs {
		if j.Stage == p.Stage && j.Phase == p.Name && j.Of(p.Attempt) {
			name := j.Phase
			if j.Name != j.Phase {
				name += " " + j.Name
			}
			about := cause(run.Event{Cause: j.Cause})
			if j.DisplayName != "" && j.DisplayName != j.Name && j.DisplayName != name {
				about = "  " + j.DisplayName + about
			}
			out = append(out, s.line(indent, j.State, j.Result, name, about, j.Started, j.Finished))
			out = append(out, s.steps(j, name, indent+"  ")...)
		}
	}
	if len(out) == 0 {
		return []string{s.line(indent, p.State, p.Result, p.Name, cause(run.Event{Cause: p.Cause}), p.Started, p.Finished)}
	}
	return out
}

// steps of a job that runs or went wrong; one that went well is a line.
func (s *Screen) steps(j *run.Job, name, indent string) []string {
	failed := j.State == run.Completed && j.Result == run.Failed
	if j.State == run.Pending || j.State == run.Completed && !failed {
		return nil
	}
	var out, waiting []string
	for i := range j.Steps {
		st := &j.Steps[i]
		word := st.DisplayName
		if st.Name != "" {
			word = st.Name
		}
		if st.State == run.Pending {
			waiting = append(waiting, word)
			continue
		}
		out = append(out, s.line(indent, st.State, st.Result, word, "", st.Started, st.Finished))
		tail := s.tail[stepKey{j.Stage + "/" + name, word, st.Order}]
		switch {
		case st.State == run.InProgress:
			tail = tail[max(0, len(tail)-tailLines):]
		case st.Result != run.Failed: // only failures stay open
			tail = nil
		}
		for _, line := range tail {
			out = append(out, indent+"    "+clean(line))
		}
	}
	if len(waiting) > 0 {
		out = append(out, indent+"○ "+strings.Join(waiting, " · "))
	}
	return out
}

func (s *Screen) line(indent string, state run.State, result run.Result, name, about string, started, finished time.Time) string {
	took := ""
	switch {
	case started.IsZero():
	case state == run.Completed && result != run.Skipped:
		took = fmt.Sprintf("  %.1f s", finished.Sub(started).Seconds())
	case state == run.InProgress:
		d := s.Now().Sub(started)
		took = fmt.Sprintf("  %d:%02d", int(d.Minutes()), int(d.Seconds())%60)
	}
	return indent + s.sign(state, result) + " " + clean(name) + clean(about) + took
}

// sign shows a state by shape, and by colour beside it.
func (s *Screen) sign(state run.State, result run.Result) string {
	colour, shape := 31, "✗"
	switch {
	case state == run.InProgress:
		colour, shape = 36, "●"
	case state != run.Completed:
		return "○"
	case result == run.Succeeded:
		colour, shape = 32, "✓"
	case result == run.SucceededWithIssues:
		colour, shape = 33, "✓"
	case result == run.Skipped, result == run.Canceled:
		return "↷"
	}
	if s.Plain {
		return shape
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", colour, shape)
}

var escape = regexp.MustCompile("\x1b\\[[0-?]*[ -/]*[@-~]")

// clean takes the power over the terminal from what a step wrote.
func clean(text string) string {
	text = escape.ReplaceAllString(text, "")
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return -1
		}
		if r == '\t' {
			return ' '
		}
		return r
	}, text)
}

// cut shortens a line to the columns of the screen; colours take none.
func cut(line string, columns int) string {
	seen, colour := 0, false
	for i, r := range line {
		switch {
		case r == 0x1b:
			colour = true
		case colour:
			colour = r != 'm'
		default:
			if seen++; seen > columns-1 {
				_, size := utf8.DecodeRuneInString(line[i:])
				if rest := line[i+size:]; rest != "" {
					return line[:i] + "…"
				}
			}
		}
	}
	return line
}
