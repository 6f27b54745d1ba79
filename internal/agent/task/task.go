// Package task holds the built-in tasks: native implementations with the
// inputs and the observable behaviour of the tasks that pipelines name.
package task

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rest"
	"penstock.dev/penstock/internal/domain/run"
)

// Host is what a task may do beyond its own process: the job it belongs to.
type Host interface {
	// Lookup returns a variable of the job.
	Lookup(name string) (string, bool)
	// SetVariable sets one for later steps.
	SetVariable(name, value string, secret bool)
	// Print writes a line to the step's log, commands included.
	Print(line string)
	// Exec runs a program in the step's environment until it ends or ctx does;
	// its output goes to the step's log.
	Exec(ctx context.Context, c Command) (exitCode int, err error)
	// Service manages what runs on this machine; nil where the agent serves no
	// VM.
	Service() Services
}

// Command is a program to run.
type Command struct {
	Path         string
	Args         []string
	Dir          string
	Env          []string // added to the step's, NAME=value
	FailOnStderr bool     // an error if anything is written there
	Quiet        bool     // the output is not printed, but returned to Output
	Output       io.Writer
}

// Services starts and stops long-lived processes of a machine.
type Services interface {
	Apply(ctx context.Context, s ServiceSpec, action string) (ServiceState, error)
	// Data is the machine's folder for what is deployed.
	Data() string
}

// ServiceSpec says how a service runs.
type ServiceSpec struct {
	Name     string
	Command  []string
	Dir      string
	User     string
	Env      map[string]string
	Signal   string
	GraceSec int
}

// ServiceState is what is known of a service.
type ServiceState struct {
	State string // running, stopped, failed
	PID   int
	Log   []string // since its last start
}

// Context is one call of a task.
type Context struct {
	Host
	Job    *run.JobMessage
	Inputs map[string]string // lower-case names, macros expanded
	Client *rest.Client
	Temp   string // emptied after the job
}

// Func runs a task. An error fails the step.
type Func func(ctx context.Context, c *Context) error

// Task is one built-in task.
type Task struct {
	Name     string
	Major    []string // versions it answers for
	Run      Func
	Before   Func // before the first step of the job; nil = nothing
	After    Func // after the last one, whatever happened; nil = nothing
	Defaults map[string]string
	Aliases  map[string]string // other name of an input → name
}

var registry = map[string]*Task{}

func register(t *Task) { registry[strings.ToLower(t.Name)] = t }

// Find returns the task of a name, such as Bash or bash; nil if there is none.
func Find(name string) *Task { return registry[strings.ToLower(name)] }

// Has reports whether the task answers for a version such as 2 or 2.1.0.
func (t *Task) Has(version string) bool {
	major, _, _ := strings.Cut(version, ".")
	return slices.Contains(t.Major, major)
}

// Near lists built-in tasks whose names look like the one that was not found.
func Near(name string) []string {
	var near []string
	for key, t := range registry {
		n := strings.ToLower(name)
		if strings.Contains(key, n) || strings.Contains(n, key) || len(n) > 4 && strings.HasPrefix(key, n[:4]) {
			near = append(near, t.Name)
		}
	}
	sort.Strings(near)
	return near
}

// Names lists the built-in tasks.
func Names() []string {
	var names []string
	for _, t := range registry {
		names = append(names, t.Name)
	}
	sort.Strings(names)
	return names
}

// Input returns an input, or its default.
func (c *Context) Input(name string) string {
	return strings.TrimSpace(c.Inputs[strings.ToLower(name)])
}

// Bool reads a boolean input.
func (c *Context) Bool(name string) bool { return strings.EqualFold(c.Input(name), "true") }

// Need returns an input that must not be empty.
func (c *Context) Need(name string) (string, error) {
	v := c.Input(name)
	if v == "" {
		return "", fault.New(fault.Invalid, "input-missing", "Input required: %s", name)
	}
	return v, nil
}

// Path resolves a path input against the job's sources.
func (c *Context) Path(p string) string {
	p = filepath.FromSlash(strings.ReplaceAll(p, `\`, "/"))
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	base, _ := c.Lookup("System.DefaultWorkingDirectory")
	return filepath.Join(base, p)
}

// Printf prints a line.
func (c *Context) Printf(format string, args ...any) { c.Print(fmt.Sprintf(format, args...)) }

// Warn prints a warning that counts as an issue of the step.
func (c *Context) Warn(format string, args ...any) {
	c.Print("##vso[task.logissue type=warning]" + oneLine(fmt.Sprintf(format, args...)))
}

func oneLine(s string) string { return strings.ReplaceAll(strings.ReplaceAll(s, "\r", ""), "\n", " ") }

// TempFile makes a file that goes with the job.
func (c *Context) TempFile(pattern, content string, perm os.FileMode) (string, error) {
	f, err := os.CreateTemp(c.Temp, pattern)
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(content)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Chmod(f.Name(), perm)
	}
	return f.Name(), err
}
