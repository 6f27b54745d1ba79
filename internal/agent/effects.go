package agent

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"penstock.dev/penstock/internal/agent/command"
	"penstock.dev/penstock/internal/base/fault"
)

// effect carries out a logging command. An error fails the step.
type effect func(s *step, c command.Command) error

var effects map[string]effect

// init breaks the circle effects → detail → step → effects.
func init() {
	effects = map[string]effect{
		"task.setvariable": (*step).setFromCommand, "task.setsecret": setSecret, "task.settaskvariable": (*step).setPrivate,
		"task.logissue": (*step).logIssue, "task.issue": (*step).logIssue, "task.complete": (*step).complete, "task.prependpath": prependPath,
		"task.setprogress": (*step).setProgress, "task.debug": debugLine, "task.logdetail": (*step).logDetail, "task.setendpoint": (*step).setEndpoint,
		"task.addattachment": addAttachment, "task.uploadsummary": uploadSummary, "task.uploadfile": uploadFile,
		"artifact.upload": (*step).queueUpload, "artifact.associate": associate,
		"build.updatebuildnumber": (*step).setNumber, "build.addbuildtag": addTag, "build.uploadlog": uploadLog, "build.uploadsummary": uploadSummary,
		"results.publish": (*step).publishResults, "codecoverage.publish": (*step).publishCoverage,
		"codecoverage.enable": func(*step, command.Command) error { return nil },
		"telemetry.publish":   func(*step, command.Command) error { return nil },
		"release.updatereleasename": func(*step, command.Command) error {
			return fault.New(fault.Invalid, "command-host", "release commands work in classic releases only, not in a pipeline")
		},
	}
}

// unrestricted are the commands that work where `target: commands: restricted`
// is set.
var unrestricted = []string{"task.logdetail", "task.logissue", "task.issue", "task.complete", "task.setprogress", "task.setsecret", "task.setvariable",
	"task.debug", "task.settaskvariable", "task.prependpath", "telemetry.publish"}

func knownArea(area string) bool {
	for name := range effects {
		if strings.HasPrefix(name, area+".") {
			return true
		}
	}
	return false
}

// output takes a line that a program wrote: a logging command is carried out
// and does not show, everything else goes to the log.
func (s *step) output(line string) {
	if !s.command(line) {
		s.Print(line)
	}
}

// command carries out the logging command of a line. It reports whether there
// was one.
func (s *step) command(line string) bool {
	if !command.Suspect(line) {
		return false
	}
	value, set := s.Lookup("DECODE_PERCENTS")
	percent := !set || !strings.EqualFold(value, "false")
	c, ok := command.Parse(line, percent)
	if !ok {
		s.Issue("warning", "a line has ##vso but is no logging command; expected ##vso[area.action name=value;…]text")
		return false
	}
	do, known := effects[c.Name()]
	switch {
	case !knownArea(c.Area):
		s.Issue("warning", fmt.Sprintf("##vso[%s] is no logging command: there is no area %s", c.Name(), c.Area))
		return true
	case !known:
		s.commandFailed(c, fault.New(fault.NotFound, "command-unknown", "area %s has no command %s", c.Area, c.Action))
	case s.forbids(c.Name()) != "":
		s.Issue("warning", fmt.Sprintf("##vso[%s] is not allowed in this step: %s says commands: restricted", c.Name(), s.forbids(c.Name())))
	default:
		if err := do(s, c); err != nil {
			s.commandFailed(c, err)
		}
	}
	if c.Name() != "task.debug" && s.debug && !c.Is("issecret") {
		s.Print("##[debug]Processed: " + command.Unescape(line, percent))
	}
	return true
}

func (s *step) commandFailed(c command.Command, err error) {
	s.Issue("error", "##vso["+c.Name()+"] failed: "+message(err))
	s.mu.Lock()
	s.broken = true
	s.mu.Unlock()
}

// restriction is what the step's target, or its task's own definition, leaves to
// logging commands.
type restriction struct {
	by, list  string // who says so, and where the names are
	commands  bool   // only those of unrestricted
	limited   bool   // only the variables that match one of the patterns
	variables []string
}

func (s *step) restrictions() []restriction {
	list := []restriction{{"its target", "target: settableVariables: of this step", strings.EqualFold(s.spec.TargetCommands, "restricted"), s.spec.SettableRestricted, s.spec.SettableVariables}}
	if s.packaged != nil && s.packaged.found != nil {
		if r := s.packaged.found.Definition.Restrictions; r != nil {
			list = append(list, restriction{"its task", "restrictions: settableVariables: of its task", r.Commands == "restricted", r.Limited, r.Variables})
		}
	}
	return list
}

// forbids says who does not allow a logging command; "" = nobody.
func (s *step) forbids(command string) string {
	for _, r := range s.restrictions() {
		if r.commands && !slices.Contains(unrestricted, command) {
			return r.by
		}
	}
	return ""
}

// maySet says whether the step may set a variable.
func (s *step) maySet(name string) bool {
	for _, r := range s.restrictions() {
		if r.limited && !slices.ContainsFunc(r.variables, func(pattern string) bool { return matchesName(pattern, name) }) {
			s.Issue("warning", fmt.Sprintf("variable %s is not set: %s does not list it", name, r.list))
			return false
		}
	}
	return true
}

// matchesName matches with wildcards; a slash is a letter like others.
func matchesName(pattern, name string) bool {
	flat := strings.NewReplacer("/", "_")
	ok, err := path.Match(strings.ToLower(flat.Replace(pattern)), strings.ToLower(flat.Replace(name)))
	return err == nil && ok
}
