package agent

import (
	"strconv"
	"strings"

	"penstock.dev/penstock/internal/base/mask"
	"penstock.dev/penstock/internal/domain/run"
)

// loggingCommand is one parsed `##vso[area.action name=value;…]text`.
type loggingCommand struct {
	name       string // lower case: task.setvariable
	properties map[string]string
	data       string
}

// parseCommand finds a logging command in a line. It may stand after other
// text, as on the service.
func parseCommand(line string) (loggingCommand, bool) {
	at := strings.Index(line, "##vso[")
	if at < 0 {
		return loggingCommand{}, false
	}
	head, data, closed := strings.Cut(line[at+len("##vso["):], "]")
	if !closed {
		return loggingCommand{}, false
	}
	name, props, _ := strings.Cut(strings.TrimSpace(head), " ")
	if !strings.Contains(name, ".") {
		return loggingCommand{}, false
	}
	c := loggingCommand{name: strings.ToLower(name), properties: map[string]string{}, data: unescape(data, false)}
	for _, pair := range strings.Split(props, ";") {
		if k, v, ok := strings.Cut(pair, "="); ok {
			c.properties[strings.ToLower(strings.TrimSpace(k))] = unescape(v, true)
		}
	}
	return c, true
}

// unescape undoes what programs write for characters that end a command.
func unescape(s string, property bool) string {
	pairs := []string{"%0D", "\r", "%0A", "\n", "%AZP25", "%"}
	if property {
		pairs = append(pairs, "%3B", ";", "%5D", "]")
	}
	return strings.NewReplacer(pairs...).Replace(s)
}

func (c loggingCommand) is(property string) bool {
	return strings.EqualFold(c.properties[property], "true")
}

// command carries out a logging command. It reports whether the line was one,
// and is therefore not output.
func (s *step) command(line string) bool {
	c, ok := parseCommand(line)
	if !ok {
		return false
	}
	switch c.name {
	case "task.setvariable":
		s.setFromCommand(c)
	case "task.settaskvariable":
		s.setPrivate(c)
	case "task.setsecret":
		if s.masker.Add(c.data) > 0 {
			s.warn("a secret of fewer than " + strconv.Itoa(mask.MinLength) + " characters is not masked")
		}
	case "task.logissue", "task.issue":
		s.logIssue(c)
	case "task.complete":
		s.complete(c)
	case "task.prependpath":
		s.job.mu.Lock()
		s.paths = append([]string{c.data}, s.paths...)
		s.job.mu.Unlock()
	case "task.setprogress":
		if n, err := strconv.Atoi(c.properties["value"]); err == nil && n >= 0 && n <= 100 {
			s.mu.Lock()
			s.report.Percent = n
			report := s.report
			s.mu.Unlock()
			s.link.Step(report)
		}
	case "task.debug":
		if v, _ := s.Lookup("System.Debug"); strings.EqualFold(v, "true") {
			s.write("##[debug]" + c.data)
		}
	case "build.updatebuildnumber":
		s.job.mu.Lock()
		s.number = strings.TrimSpace(c.data)
		s.job.mu.Unlock()
		_ = s.setVariable("Build.BuildNumber", c.data, false, false)
	default:
		// Said, not swallowed: the pipeline relies on something that did not
		// happen.
		s.warn("logging command " + c.name + " is not supported by this version")
	}
	return true
}

func (s *step) warn(text string) {
	s.write("##[warning]" + text)
	s.issue("warning", s.masker.Line(text))
}

func (s *step) setFromCommand(c loggingCommand) {
	name := c.properties["variable"]
	if name == "" {
		s.warn("task.setvariable needs variable=NAME")
		return
	}
	secret := c.is("issecret")
	if secret && s.masker.Add(c.data) > 0 {
		s.warn("secret variable " + name + " has fewer than " + strconv.Itoa(mask.MinLength) + " characters and is not masked")
	}
	if c.is("isoutput") || s.declares(name) {
		if s.spec.Name == "" {
			if s.declares(name) {
				return // nobody can read it, and nobody asked for it
			}
			s.warn("output variable " + name + " needs a step with a name")
			return
		}
		s.job.mu.Lock()
		// A secret output would lie in the run's record in clear: it is kept
		// within the job.
		if !secret {
			s.outputs[s.spec.Name+"."+name] = c.data
		}
		s.job.mu.Unlock()
		if secret {
			s.warn("secret output variable " + name + " is visible in this job only in this version")
		}
		name = s.spec.Name + "." + name
	}
	if err := s.setVariable(name, c.data, secret, c.is("isreadonly")); err != nil {
		s.warn(err.Error())
	}
}

func (s *step) logIssue(c loggingCommand) {
	kind := strings.ToLower(c.properties["type"])
	if kind != "error" && kind != "warning" {
		s.warn("task.logissue needs type=error or type=warning")
		return
	}
	text := c.data
	if file := c.properties["sourcepath"]; file != "" {
		text = file + ":" + c.properties["linenumber"] + ":" + c.properties["columnnumber"] + ": " + text
	}
	s.write("##[" + kind + "]" + text)
	s.issue(kind, s.masker.Line(text))
}

func (s *step) complete(c loggingCommand) {
	switch strings.ToLower(c.properties["result"]) {
	case "succeeded":
		s.declared = run.Succeeded
	case "succeededwithissues":
		s.declared = run.SucceededWithIssues
	case "failed":
		s.declared = run.Failed
		if c.data != "" {
			s.issue("error", s.masker.Line(c.data))
		}
	case "skipped":
		s.declared = run.Skipped
	default:
		s.warn("task.complete: no result " + c.properties["result"])
		return
	}
	if c.data != "" {
		s.write(c.data)
	}
}
