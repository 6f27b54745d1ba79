// Package nodetask runs tasks that come as packages, by the contract that they
// were written for: inputs, variables and connections in the environment, a
// program of the package on Node, logging commands on its output.
package nodetask

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/pipeline/tasklib"
	"penstock.dev/penstock/internal/domain/run"
)

// AgentVersion is what tasks are told when they ask for the version of the
// agent: that of the service whose contract this package keeps. Tasks refuse to
// run on agents that are too old, and know nothing of our versions.
const AgentVersion = "4.248.0"

var keeps, _ = tasklib.ParseVersion(AgentVersion)

// Host is what a task needs of the step that calls it; task.Host has it.
type Host interface {
	Lookup(name string) (string, bool)
	Print(line string)
	Exec(ctx context.Context, c task.Command) (exitCode int, err error)
}

// Call is one call of one part of a task.
type Call struct {
	Host          Host
	Task          *tasklib.Task
	Part          tasklib.Part
	Inputs        map[string]string                // as the step writes them
	Macro         func(name string) (string, bool) // what $(name) stands for in them; nil: the host's variables
	Variables     []run.Variable                   // of the job
	TaskVariables []run.Variable                   // what earlier parts of the same task left
	Endpoints     []Endpoint                       // of the connections that the step may use
	SecureFiles   []SecureFile
	Programs      Programs
	Proxy         Proxy // that the agent itself goes through
	DisplayName   string
	InstanceID    string // of the step
	InstanceName  string
	Warn          func(text string) // an issue of the step; nil = a line of the log
}

// Run runs a part of a task until its program ends. A part that the task does
// not have is no error: nothing is to be done.
func (c *Call) Run(ctx context.Context) error {
	d := c.Task.Definition
	handlers := d.Handlers(c.Part)
	if len(handlers) == 0 {
		return nil
	}
	c.header()
	values := d.Values(c.Inputs, c.expand)
	if c.Part != tasklib.PostJob { // what has begun is also cleaned up
		if err := d.Missing(c.Inputs, values); err != nil {
			return err
		}
	}
	c.resolve(values)
	how, err := choose(ctx, d, handlers, runtime.GOOS, c.Programs)
	if err != nil {
		return err
	}
	cmd, err := c.command(how, values)
	if err != nil {
		return err
	}
	if cmd.Env, err = c.environment(values); err != nil {
		return err
	}
	code, err := c.Host.Exec(ctx, cmd)
	if err == nil && code != 0 {
		// A task says that it failed by a logging command and ends with 0.
		err = fault.New(fault.Invalid, "exit-code", "Exit code %d returned from process: file name '%s', arguments '%s'.", code, cmd.Path, how.Target)
	}
	return err
}

func (c *Call) expand(text string) string {
	if c.Macro == nil {
		return pipeline.ExpandMacros(text, c.Host.Lookup)
	}
	return pipeline.ExpandMacros(text, c.Macro)
}

// header prints what stands at the top of a task's log.
func (c *Call) header() {
	d := c.Task.Definition
	task.Header(c.Host.Print, [][2]string{{"Task", d.Title()}, {"Description", d.Description}, {"Version", d.Version.String()}, {"Author", d.Author}, {"Help", d.Help}})
	if least, ok := tasklib.ParseVersion(d.MinimumAgentVersion); ok && least.Compare(keeps) > 0 {
		c.warn(fmt.Sprintf("task %s asks for version %s of the service's agent; what is newer than %s may be missing here", c.Task.Ref(), least, AgentVersion))
	}
	if d.Deprecated {
		text := "task " + c.Task.Ref() + " is deprecated"
		if d.DeprecationMessage != "" {
			text += ": " + d.DeprecationMessage
		}
		c.warn(text)
	}
}

func flat(text string) string { return strings.Join(strings.Fields(text), " ") }

func (c *Call) warn(text string) {
	if c.Warn == nil {
		c.Host.Print("##[warning]" + flat(text))
		return
	}
	c.Warn(flat(text))
}

// resolve turns inputs into what a task expects to find in them: paths are
// absolute, connections and files are named by their identifiers.
func (c *Call) resolve(values tasklib.Values) {
	for i := range c.Task.Definition.Inputs {
		in := &c.Task.Definition.Inputs[i]
		switch {
		case in.Is("filePath"):
			values[in.Name] = c.rooted(values[in.Name])
		case in.Is("connectedService"):
			values[in.Name] = c.identify(values[in.Name], "service connection", in.Name, c.endpoint)
		case in.Is("secureFile"):
			values[in.Name] = c.identify(values[in.Name], "secure file", in.Name, c.secureFile)
		}
	}
}

// rooted makes a path absolute. An empty one is the folder of the sources: by
// that a task sees that none was given.
func (c *Call) rooted(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	base, _ := c.Host.Lookup("Build.SourcesDirectory")
	if base == "" {
		base, _ = c.Host.Lookup("System.DefaultWorkingDirectory")
	}
	if base == "" || p == "" {
		return base
	}
	full := filepath.Join(base, p)
	if strings.HasSuffix(p, "/") { // some tasks tell a folder by it
		full += string(filepath.Separator)
	}
	return full
}

// identify replaces the names of a list by identifiers.
func (c *Call) identify(value, kind, input string, find func(string) (string, bool)) string {
	if strings.TrimSpace(value) == "" {
		return value
	}
	names := strings.Split(value, ",")
	for i, name := range names {
		id, ok := find(strings.TrimSpace(name))
		if !ok {
			c.warn(fmt.Sprintf("the %s that the input %s names is not known to this job: %s", kind, input, name))
			continue
		}
		names[i] = id
	}
	return strings.Join(names, ",")
}

func (c *Call) endpoint(name string) (string, bool) {
	for _, e := range c.Endpoints {
		if e.ID != "" && (strings.EqualFold(e.Name, name) || strings.EqualFold(e.ID, name)) {
			return strings.ToLower(e.ID), true
		}
	}
	return "", false
}

func (c *Call) secureFile(name string) (string, bool) {
	for _, f := range c.SecureFiles {
		if strings.EqualFold(f.Name, name) || strings.EqualFold(f.ID, name) {
			return strings.ToLower(f.ID), true
		}
	}
	return "", false
}

// command is the command line. It holds paths only: whatever a pipeline says
// goes through the environment.
func (c *Call) command(how choice, values tasklib.Values) (task.Command, error) {
	target, err := c.target(how.Handler)
	if err != nil {
		return task.Command{}, err
	}
	cmd := task.Command{Path: how.program, Args: []string{target}}
	if how.Kind == powerShell3 {
		cmd.Dir = filepath.Dir(target)
		cmd.Args, err = c.powerShell(target)
		return cmd, err
	}
	if cmd.Dir, err = c.directory(how.Handler, values); err != nil {
		return cmd, err
	}
	return cmd, nil
}

// target finds the program within the package.
func (c *Call) target(h tasklib.Handler) (string, error) {
	name := strings.ReplaceAll(h.Target, `\`, "/")
	if strings.HasPrefix(strings.ToLower(name), "$(currentdirectory)/") {
		name = name[len("$(currentdirectory)/"):]
	}
	name = filepath.FromSlash(name)
	if name == "" || !filepath.IsLocal(name) {
		return "", fault.New(fault.Invalid, "task-definition", "the %s of task %s has no usable target", h.Kind, c.Task.Ref()).Got("%q", h.Target).Want("a file of the package")
	}
	file := filepath.Join(c.Task.Dir, name)
	if info, err := os.Stat(file); err != nil || info.IsDir() {
		return "", fault.New(fault.Invalid, "task-package", "the package of task %s has no %s", c.Task.Ref(), h.Target).At("%s", c.Task.Dir).
			Try("build the task first; then: penstock task add --force FOLDER")
	}
	return file, nil
}

// directory is where a Node program starts.
func (c *Call) directory(h tasklib.Handler, values tasklib.Values) (string, error) {
	dir := pipeline.ExpandMacros(strings.TrimSpace(h.WorkingDirectory), func(name string) (string, bool) {
		if strings.EqualFold(name, "currentDirectory") {
			return c.Task.Dir, true
		}
		if v, ok := values.Get(name); ok {
			return v, true
		}
		return c.Host.Lookup(name)
	})
	if dir == "" {
		dir, _ = c.Host.Lookup("System.DefaultWorkingDirectory")
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "", fault.New(fault.Invalid, "no-folder", "the folder in which task %s starts is not there", c.Task.Ref()).Got("%s", dir)
	}
	return dir, nil
}

// powerShell is the command line of a PowerShell3 part: the script runs within
// the library that its package brings along.
func (c *Call) powerShell(script string) ([]string, error) {
	library := filepath.Join(filepath.Dir(script), "ps_modules", "VstsTaskSdk", "VstsTaskSdk.psd1")
	if _, err := os.Stat(library); err != nil {
		return nil, fault.New(fault.Invalid, "task-package", "the package of task %s lacks the library of its PowerShell part", c.Task.Ref()).At("%s", library).
			Try("build the task first; then: penstock task add --force FOLDER")
	}
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	verbose := "SilentlyContinue"
	if debug, _ := c.Host.Lookup("System.Debug"); strings.EqualFold(debug, "true") {
		verbose = "Continue"
	}
	lines := []string{"$ErrorActionPreference = 'Stop'", "Import-Module -Name " + quote(library), "$VerbosePreference = " + quote(verbose), "$DebugPreference = " + quote(verbose),
		"Invoke-VstsTaskScript -ScriptBlock ([scriptblock]::Create(" + quote(". "+quote(script)) + "))"}
	return []string{"-NoLogo", "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Unrestricted", "-Command", strings.Join(lines, "; ")}, nil
}
