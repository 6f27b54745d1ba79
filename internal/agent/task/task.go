// Package task holds the built-in tasks: native implementations with the
// inputs and the observable behaviour of the tasks that pipelines name.
package task

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rest"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/pipeline/tasks"
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

// Changes is what a task changes for the steps that follow, and what it leaves
// in the record of its own.
type Changes interface {
	// Output sets an output variable that the task declares: STEP.NAME.
	Output(name, value string, secret bool)
	// PrependPath puts a folder in front of the PATH of later steps.
	PrependPath(dir string)
	// Issue says a "warning" or an "error" in the log and keeps it.
	Issue(kind, text string)
	// Mask hides what is secret.
	Mask(text string) string
	// Find returns the path of a program on the step's own PATH.
	Find(program string) (string, error)
}

// Folders are the agent's own, such as Build.SourcesDirectory.
type Folders interface {
	// MoveFolder gives one another path.
	MoveFolder(name, path string)
}

// Command is a program to run.
type Command struct {
	Path         string
	Args         []string
	Dir          string
	Env          []string  // added to the step's, NAME=value
	Input        io.Reader // nil: none
	FailOnStderr bool      // an error if anything is written there
	Plain        bool      // logging commands in the output are text
	Quiet        bool      // standard output is not shown
	Output       io.Writer // gets standard output too
	Errors       io.Writer // gets the error stream too
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
	Changes
	Folders
	Resources
	Job       *run.JobMessage
	Step      string     // which one of the job
	JobResult run.Result // so far
	// Borrow is where a repository is on this machine, by its URL; nil = nowhere.
	Borrow   func(url string) string
	Inputs   map[string]string // lower-case names, macros expanded
	Version  string            // major
	State    map[string]string // what the parts of one step tell each other
	Client   *rest.Client
	Records  Records
	Outcomes Outcomes
	Temp     string // emptied after the job
	CacheDir string // of Cache@2
	Environ  func() []string
	After    func(time.Duration) <-chan time.Time
}

// headerFrame stands above and below the header of a task.
var headerFrame = strings.Repeat("=", 78)

// Header prints what stands at the top of a task's log: names and values.
func Header(print func(line string), lines [][2]string) {
	print(headerFrame)
	for _, line := range lines {
		print(fmt.Sprintf("%-13s: %s", line[0], strings.Join(strings.Fields(line[1]), " ")))
	}
	print(headerFrame)
}

// Func runs a task. An error fails the step.
type Func func(ctx context.Context, c *Context) error

// Task is one built-in task.
type Task struct {
	Name     string
	Also     []string // other names
	Major    []string // versions it answers for
	Before   Func     // before the first step of the job; nil: nothing
	Run      Func
	After    Func              // after the last step, in reverse order; nil: nothing
	Left     string            // part of State without which After has nothing to do; "" = none
	Defaults map[string]string // beside those of the catalogue
	Aliases  map[string]string // other name of an input → name, both in lower case
}

var registry = map[string]*Task{}

// Register adds a built-in task. It is called by init functions.
func Register(t *Task) {
	for _, name := range append([]string{t.Name}, t.Also...) {
		registry[strings.ToLower(name)] = t
	}
}

// Find returns the task of a name, such as Bash or bash, of a GUID or of a
// contribution id; nil if there is none.
func Find(name string) *Task {
	if t := registry[strings.ToLower(name)]; t != nil {
		return t
	}
	return registry[strings.ToLower(tasks.Name(name))]
}

// Resolve gives the inputs of a step under the task's own names in lower case,
// with defaults and macros.
func (t *Task) Resolve(version string, given map[string]string, lookup func(string) (string, bool)) map[string]string {
	in, alias := map[string]string{}, map[string]string{}
	for _, i := range tasks.Inputs(t.Name, version) {
		key := strings.ToLower(i.Name)
		if i.Default != "" {
			in[key] = pipeline.ExpandMacros(i.Default, lookup)
		}
		for _, a := range i.Aliases {
			alias[strings.ToLower(a)] = key
		}
	}
	for name, value := range t.Defaults {
		in[name] = pipeline.ExpandMacros(value, lookup)
	}
	maps.Copy(alias, t.Aliases)
	own := map[string]bool{} // a name wins over its aliases
	for name, value := range given {
		key, isAlias := alias[strings.ToLower(name)]
		if !isAlias {
			key = strings.ToLower(name)
		}
		if !own[key] || !isAlias {
			in[key] = pipeline.ExpandMacros(value, lookup)
		}
		own[key] = own[key] || !isAlias
	}
	return in
}

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
	for key, t := range registry {
		if key == strings.ToLower(t.Name) {
			names = append(names, t.Name)
		}
	}
	sort.Strings(names)
	return names
}

// Input returns an input, or its default.
func (c *Context) Input(name string) string {
	return strings.TrimSpace(c.Inputs[strings.ToLower(name)])
}

// getenv is a variable of the step's environment.
func (c *Context) getenv(name string) string {
	if c.Environ == nil {
		return ""
	}
	for _, pair := range c.Environ() {
		if n, v, _ := strings.Cut(pair, "="); n == name {
			return v
		}
	}
	return ""
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
	c.Issue("warning", oneLine(fmt.Sprintf(format, args...)))
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
