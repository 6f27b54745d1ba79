package runview

import (
	"slices"
	"strings"

	"penstock.dev/penstock/internal/domain/run"
)

// output leaves away what stands in logs before the output of steps' programs.
type output map[stepKey]*preamble

// lines are those to show now. The end of a step shows what was held back.
func (o output) lines(e run.Event) []string {
	key := keyOf(e)
	p := o[key]
	if e.Type == "step" {
		delete(o, key)
		if p == nil || p.at != inScript {
			return nil
		}
		return p.held
	}
	if p == nil {
		p = &preamble{}
		o[key] = p
	}
	return p.next(e.Line)
}

// preamble is what stands in a log before the output of a step's program: which
// step and task it is, that a script is written to a file, its text, and how it is
// called. A person has it in the file already, so it is left to the log.
type preamble struct {
	held []string
	at   int // beforeScript, inHeader, inScript or callOfScript; then everything is the script's, or nothing (whySkipped)
}

// Frames reports whether a line of a log says nothing but that a step begins or
// ends.
func Frames(line string) bool {
	return strings.HasPrefix(line, startsStep) || strings.HasPrefix(line, "##[section]Finishing: ")
}

const startsStep = "##[section]Starting: "

// headerFrame stands above and below what a log says of the task.
var headerFrame = strings.Repeat("=", 78)

const (
	beforeScript = iota
	inHeader
	inScript
	callOfScript
	afterScript
	whySkipped

	maxHeld = 100 // lines
)

func (p *preamble) next(line string) []string {
	starts := strings.HasSuffix(line, " Starting Command Output ===========================")
	switch {
	case strings.HasPrefix(line, startsStep): // what stood before, such as of containers, was not the step's
		p.at, p.held = beforeScript, nil
		return nil
	case Frames(line) || p.at == whySkipped:
		return nil
	case strings.HasPrefix(line, "##[warning]attempt ") && strings.Contains(line, run.RetryWords):
		p.at, p.held = beforeScript, nil
		return []string{line}
	case p.at == beforeScript && line == run.SkipLine:
		p.at = whySkipped
		return nil
	case p.at == beforeScript && strings.HasPrefix(line, "##[debug]"):
		return []string{line}
	case p.at == beforeScript && line == headerFrame:
		p.at = inHeader
		return nil
	case p.at == inHeader:
		if line == headerFrame {
			p.at = beforeScript
		}
		return nil
	case (p.at == beforeScript || p.at == inScript) && starts:
		p.at, p.held = callOfScript, nil
		return nil
	case p.at == beforeScript && line == "Generating script.":
		p.at, p.held = inScript, []string{line}
		return nil
	case p.at == inScript && len(p.held) < maxHeld:
		p.held = append(p.held, line)
		return nil
	case p.at == callOfScript && strings.HasPrefix(line, "[command]"):
		p.at = afterScript
		return nil
	}
	shown := slices.Concat(p.held, []string{line})
	p.at, p.held = afterScript, nil
	return shown
}
