package agent

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"penstock.dev/penstock/internal/agent/command"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/pattern"
	"penstock.dev/penstock/internal/domain/run"
)

func needProperty(c command.Command, name string) (string, error) {
	if v := c.Properties[name]; v != "" {
		return v, nil
	}
	return "", fault.New(fault.Invalid, "command-property", "the command needs the property %s", name).Want("##vso[%s %s=…]", c.Name(), name)
}

// secretValue masks the value of a command. One of several lines is refused:
// what shows it may cut it where the mask does not expect it.
func (s *step) secretValue(c command.Command) error {
	if warning := s.addSecret(c.Data); warning != "" {
		s.Issue("warning", warning)
	}
	if strings.ContainsAny(c.Data, "\r\n") && !s.isTrue("SYSTEM_UNSAFEALLOWMULTILINESECRET") {
		return fault.New(fault.Invalid, "secret-lines", "a secret variable must not have several lines").
			Try("encode it (base64), or set the variable SYSTEM_UNSAFEALLOWMULTILINESECRET to true")
	}
	return nil
}

func (s *step) setFromCommand(c command.Command) error {
	name, err := needProperty(c, "variable")
	if err != nil {
		return err
	}
	secret := c.Is("issecret")
	if secret {
		if err := s.secretValue(c); err != nil {
			return err
		}
	}
	if !s.maySet(name) {
		return nil
	}
	a := assignment{Variable: run.Variable{Name: name, Value: c.Data, Secret: secret, ReadOnly: c.Is("isreadonly")}, preserveCase: c.Is("preservecase")}
	isOutput := c.Is("isoutput") || s.declares(name)
	if isOutput {
		a.Name, a.ReadOnly = s.ref+"."+name, a.ReadOnly || c.Is("isoutput")
	}
	already, _ := s.variable(a.Name)
	if !isOutput {
		return s.set(a)
	}
	if err := s.setOutput(name, a); err != nil {
		return err
	}
	s.keepOutput(a.Name, c.Data, secret || already.Secret)
	return nil
}

func (j *job) variable(name string) (run.Variable, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	v, ok := j.vars[strings.ToLower(name)]
	return v, ok
}

// setPrivate sets a variable of this step's task alone.
func (s *step) setPrivate(c command.Command) error {
	name, err := needProperty(c, "variable")
	if err != nil {
		return err
	}
	if c.Is("issecret") {
		if err := s.secretValue(c); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := strings.ToLower(name)
	old := s.private[key]
	if old.ReadOnly {
		return fault.New(fault.Invalid, "variable-readonly", "task variable %s is read-only and cannot be overwritten", name).Try("choose another name")
	}
	s.private[key] = run.Variable{Name: name, Value: c.Data, Secret: c.Is("issecret") || old.Secret, ReadOnly: c.Is("isreadonly")}
	return nil
}

// privateEnvironment is how a task's own variables reach its processes.
func (s *step) privateEnvironment() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, v := range s.private {
		if !v.Secret {
			list = append(list, "VSTS_TASKVARIABLE_"+envName(v.Name)+"="+v.Value)
		}
	}
	slices.Sort(list)
	return list
}

func setSecret(s *step, c command.Command) error {
	if warning := s.addSecret(c.Data); warning != "" {
		s.Issue("warning", warning)
	}
	return nil
}

func prependPath(s *step, c command.Command) error {
	if c.Data == "" {
		return fault.New(fault.Invalid, "command-data", "the command needs a folder").Want("##vso[task.prependpath]FOLDER")
	}
	if s.maySet("PATH") {
		s.PrependPath(c.Data)
	}
	return nil
}

func (s *step) setProgress(c command.Command) error {
	n, err := strconv.ParseInt(strings.TrimSpace(c.Properties["value"]), 10, 32)
	if err != nil {
		n = 0 // as on the service
	}
	s.mu.Lock()
	s.report.Percent = max(s.report.Percent, min(int(n), 100)) // it never goes back
	s.mu.Unlock()
	s.send()
	return nil
}

func debugLine(s *step, c command.Command) error {
	if s.debug {
		s.Print("##[debug]" + c.Data)
	}
	return nil
}

func (s *step) logIssue(c command.Command) error {
	kind := strings.ToLower(c.Properties["type"])
	if kind == "" {
		s.Issue("warning", "##vso["+c.Name()+"] has no type, so it is no issue; expected type=error or type=warning")
		return nil
	}
	if kind != "error" && kind != "warning" {
		return fault.New(fault.Invalid, "issue-type", "the type of an issue is error or warning").Got("%q", c.Properties["type"])
	}
	text := c.Data
	if file := c.Properties["sourcepath"]; file != "" {
		text = fmt.Sprintf("%s(%s,%s): %s %s: %s", s.relative(file), c.Properties["linenumber"], c.Properties["columnnumber"], c.Properties["type"], c.Properties["code"], text)
	}
	s.Issue(kind, text)
	return nil
}

// relative is a path as the repository knows it.
func (s *step) relative(file string) string {
	file = s.onMachine(file)
	sources, _ := s.Lookup("Build.SourcesDirectory")
	for _, separator := range []string{"/", `\`} {
		if rest, ok := strings.CutPrefix(file, sources+separator); ok && sources != "" {
			return strings.ReplaceAll(rest, `\`, "/")
		}
	}
	return file
}

// results are written exactly so, as on the service.
var results = map[string]run.Result{"Succeeded": run.Succeeded, "SucceededWithIssues": run.SucceededWithIssues, "Failed": run.Failed,
	"Canceled": run.Canceled, "Skipped": run.Skipped, "Abandoned": run.Abandoned}

func (s *step) complete(c command.Command) error {
	result, known := results[strings.TrimSpace(c.Properties["result"])]
	if !known {
		return fault.New(fault.Invalid, "complete-result", "there is no result %q", c.Properties["result"]).
			Want("Succeeded, SucceededWithIssues, Failed, Canceled or Skipped, in this case")
	}
	s.mu.Lock()
	if s.declared == "" {
		s.declared = result
	} else {
		s.declared = merge(s.declared, result)
	}
	done := s.done
	if c.Is("done") && done != nil {
		select {
		case <-done:
		default:
			close(done)
		}
	}
	s.mu.Unlock()
	switch {
	case c.Data == "" || s.saidAlready(c.Data):
		// The library of tasks says the reason of a failure as an issue, then here.
	case result == run.Failed:
		s.Issue("error", c.Data)
	default:
		s.Print(c.Data)
	}
	return nil
}

// detail is a record below the step, as of a project that a build tool builds.
type detail struct{ name, state, result string }

var guid = pattern.Lazy(`^\{?[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}\}?$`)

// logDetail notes a record below the step. It shows in the log, by a line per
// change.
func (s *step) logDetail(c command.Command) error {
	key, err := needProperty(c, "id")
	if err != nil {
		return err
	}
	if !guid().MatchString(key) {
		return fault.New(fault.Invalid, "detail-id", "the id of a detail is a GUID").Got("%q", key)
	}
	s.mu.Lock()
	d := s.details[strings.ToLower(key)]
	s.mu.Unlock()
	if d == nil {
		name, err := needProperty(c, "name")
		if err != nil {
			return err
		}
		if _, err := needProperty(c, "type"); err != nil {
			return err
		}
		d = &detail{name: name}
		s.mu.Lock()
		if s.details == nil {
			s.details = map[string]*detail{}
		}
		s.details[strings.ToLower(key)] = d
		s.mu.Unlock()
	}
	before := *d
	for property, field := range map[string]*string{"name": &d.name, "state": &d.state, "result": &d.result} {
		if v := c.Properties[property]; v != "" {
			*field = v
		}
	}
	if *d != before || c.Data != "" {
		s.Print(strings.Join(slices.DeleteFunc([]string{d.name + ":", d.state, d.result, c.Data}, func(x string) bool { return x == "" }), " "))
	}
	return nil
}
