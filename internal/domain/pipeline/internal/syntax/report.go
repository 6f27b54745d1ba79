package syntax

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one finding, before it becomes a diagnostic of the door package.
type Problem struct {
	Warning  bool
	Code     string
	Message  string
	Pos      Pos
	Length   int // characters the caret covers
	Call     *Call
	Where    string
	Expected string
	Found    string
	Do       string
}

// Want says what was expected; Got what was found; Try what to do.
func (p *Problem) Want(format string, args ...any) *Problem {
	p.Expected = sprintf(format, args)
	return p
}

// Got says what was found.
func (p *Problem) Got(format string, args ...any) *Problem {
	p.Found = sprintf(format, args)
	return p
}

// Try says what to do.
func (p *Problem) Try(format string, args ...any) *Problem {
	p.Do = sprintf(format, args)
	return p
}

// At replaces the where answer.
func (p *Problem) At(format string, args ...any) *Problem {
	p.Where = sprintf(format, args)
	return p
}

func sprintf(format string, args []any) string {
	if len(args) == 0 {
		return format
	}
	return fmt.Sprintf(format, args...)
}

// MaxProblems bounds the errors of a report, and its warnings: past it a reader
// learns nothing new.
const MaxProblems = 50

// Report collects problems. The zero value is ready.
type Report struct {
	problems []*Problem
	seen     map[string]*Problem
	where    []string
	count    map[bool]int // of warnings and of errors, also those not kept
}

// Enter opens a level of the where answer ("stage build") and returns the
// function that closes it.
func (r *Report) Enter(level string) func() {
	depth := len(r.where)
	if level != "" {
		r.where = append(r.where, level)
	}
	return func() { r.where = r.where[:depth] }
}

// Where is the current place in the pipeline's own words.
func (r *Report) Where() string { return strings.Join(r.where, " › ") }

// Error reports an error at a node.
func (r *Report) Error(n *Node, code, format string, args ...any) *Problem {
	return r.add(false, n, code, sprintf(format, args))
}

// Warn reports a warning at a node.
func (r *Report) Warn(n *Node, code, format string, args ...any) *Problem {
	return r.add(true, n, code, sprintf(format, args))
}

func (r *Report) add(warning bool, n *Node, code, message string) *Problem {
	p := &Problem{Warning: warning, Code: code, Message: message, Where: r.Where()}
	if n != nil {
		p.Pos, p.Call, p.Length = n.Pos, n.Call, Width(n)
	}
	return r.Add(p)
}

// Add records a finished problem. The same problem at the same place, as a
// template gives that is expanded many times, is kept once.
func (r *Report) Add(p *Problem) *Problem {
	key := fmt.Sprintf("%s|%s|%d|%d|%s", p.Code, p.Pos.File.Name(), p.Pos.Line, p.Pos.Column, p.Message)
	if r.seen == nil {
		r.seen, r.count = map[string]*Problem{}, map[bool]int{}
	}
	if _, ok := r.seen[key]; ok {
		return &Problem{} // the caller may still decorate it
	}
	if r.count[p.Warning]++; r.count[p.Warning] > MaxProblems {
		return &Problem{}
	}
	r.seen[key] = p
	r.problems = append(r.problems, p)
	return p
}

// Full reports whether further errors would not be kept.
func (r *Report) Full() bool { return r.count[false] >= MaxProblems }

// Failed reports whether there is any error.
func (r *Report) Failed() bool { return r.count[false] > 0 }

// Problems returns what was found, errors and warnings in reading order of
// discovery, with a last entry for each that counts what did not fit.
func (r *Report) Problems() []*Problem {
	out := slices.Clone(r.problems)
	for _, warning := range []bool{false, true} {
		dropped := r.count[warning] - MaxProblems
		if dropped <= 0 {
			continue
		}
		noun := map[bool]string{false: "errors", true: "warnings"}[warning]
		more := &Problem{Warning: warning, Code: "too-many-" + noun, Message: fmt.Sprintf("%d more %s are not shown", dropped, noun), Do: "repair these first"}
		more.Pos = r.problems[len(r.problems)-1].Pos
		out = append(out, more)
	}
	return out
}

// Width is how many characters of the source line a node's caret covers.
func Width(n *Node) int {
	if n == nil || n.Kind != Scalar || n.Text == "" || n.Block {
		return 1
	}
	text, _, _ := strings.Cut(n.Text, "\n")
	width := len([]rune(text))
	if n.Quoted {
		width += 2
	}
	if line := n.File.Line(n.Line); line != "" {
		width = min(width, max(1, len([]rune(line))-n.Column+1))
	}
	return max(1, width)
}
