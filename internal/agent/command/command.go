// Package command reads and writes logging commands: lines by which a program
// asks the agent for something.
//
//	##vso[area.action name=value;name=value;]data
package command

import (
	"slices"
	"strings"
)

const prefix = "##vso["

// Command is one logging command.
type Command struct {
	Area       string            // lower case
	Action     string            // lower case
	Properties map[string]string // by lower-case name, never empty
	Data       string
}

// Name is area and action, as task.setvariable.
func (c Command) Name() string { return c.Area + "." + c.Action }

// Is says whether a property is true.
func (c Command) Is(property string) bool {
	return strings.EqualFold(strings.TrimSpace(c.Properties[property]), "true")
}

// Suspect says whether a line has the mark of a command, so that one that
// cannot be read deserves a warning.
func Suspect(line string) bool { return strings.Contains(line, "##vso") }

// Parse finds the first command of a line; text before it does not count.
// percent says whether %AZP25 stands for a percent sign.
func Parse(line string, percent bool) (Command, bool) {
	_, rest, found := strings.Cut(line, prefix)
	head, data, closed := strings.Cut(rest, "]")
	if !found || !closed {
		return Command{}, false
	}
	name, properties, _ := strings.Cut(head, " ")
	// Empty parts do not count: .task..debug is task.debug.
	parts := strings.FieldsFunc(name, func(r rune) bool { return r == '.' })
	if len(parts) != 2 {
		return Command{}, false
	}
	c := Command{Area: strings.ToLower(parts[0]), Action: strings.ToLower(parts[1]), Properties: map[string]string{}, Data: unescape(data, percent)}
	for pair := range strings.SplitSeq(properties, ";") {
		k, v, _ := strings.Cut(strings.TrimLeft(pair, "="), "=")
		if v = strings.TrimLeft(v, "="); k != "" && v != "" {
			c.Properties[strings.ToLower(k)] = unescape(v, percent)
		}
	}
	return c, true
}

// escapes are undone one after the other; the percent sign comes last, so that
// what it gives is not taken for another escape.
var escapes = [][2]string{{"%3B", ";"}, {"%0D", "\r"}, {"%0A", "\n"}, {"%5D", "]"}}

const percentEscape = "%AZP25"

// Unescape is a line of a command as somebody reads it.
func Unescape(line string, percent bool) string { return unescape(line, percent) }

func unescape(s string, percent bool) string {
	if !strings.Contains(s, "%") {
		return s
	}
	for _, e := range escapes {
		s = strings.ReplaceAll(s, e[0], e[1])
	}
	if percent {
		s = strings.ReplaceAll(s, percentEscape, "%")
	}
	return s
}

func escape(s string) string {
	s = strings.ReplaceAll(s, "%", percentEscape)
	for _, e := range escapes {
		s = strings.ReplaceAll(s, e[1], e[0])
	}
	return s
}

// String writes the command so that Parse reads the same.
func (c Command) String() string {
	var b strings.Builder
	b.WriteString(prefix + c.Name())
	separator := " "
	names := make([]string, 0, len(c.Properties))
	for name := range c.Properties {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if c.Properties[name] != "" {
			b.WriteString(separator + name + "=" + escape(c.Properties[name]))
			separator = ";"
		}
	}
	return b.String() + "]" + escape(c.Data)
}
