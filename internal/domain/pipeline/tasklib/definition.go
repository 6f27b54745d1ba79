// Package tasklib knows tasks that come as packages: what their task.json says,
// and the store that holds them, one folder per version. It reads and writes
// files; running a task is the agent's business.
package tasklib

import (
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/pattern"
)

// Definition is what a task.json says, as far as it matters when the task runs.
// What only drop-down lists of a page need is passed over.
type Definition struct {
	ID                  string        `json:"id"`
	Name                string        `json:"name"`
	FriendlyName        string        `json:"friendlyName,omitempty"`
	Description         string        `json:"description,omitempty"`
	Author              string        `json:"author,omitempty"`
	Help                string        `json:"help,omitempty"` // address or text
	Version             Version       `json:"version"`
	InstanceNameFormat  string        `json:"instanceNameFormat,omitempty"`
	MinimumAgentVersion string        `json:"minimumAgentVersion,omitempty"`
	Deprecated          bool          `json:"deprecated,omitempty"`
	DeprecationMessage  string        `json:"deprecationMessage,omitempty"`
	RunsOn              []string      `json:"runsOn,omitempty"`
	Demands             []string      `json:"demands,omitempty"`
	Inputs              []Input       `json:"inputs"`
	OutputVariables     []Output      `json:"outputVariables,omitempty"`
	Restrictions        *Restrictions `json:"restrictions,omitempty"`
	PreJob              []Handler     `json:"preJobExecution,omitempty"`
	Main                []Handler     `json:"execution,omitempty"`
	PostJob             []Handler     `json:"postJobExecution,omitempty"`
}

// Input is an input of a task.
type Input struct {
	Name        string   `json:"name"`
	Aliases     []string `json:"aliases,omitempty"`
	Type        string   `json:"type"`
	Label       string   `json:"label,omitempty"`
	Default     string   `json:"defaultValue,omitempty"`
	Required    bool     `json:"required,omitempty"`
	VisibleRule string   `json:"visibleRule,omitempty"`
	GroupRule   string   `json:"groupRule,omitempty"` // of the group that it stands in
	Options     []Option `json:"options,omitempty"`
}

// Option is one value of a list of choices.
type Option struct {
	Value string `json:"value"`
	Label string `json:"label,omitempty"`
}

// Output is a variable that the task sets for other steps.
type Output struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
}

// Restrictions say which logging commands the task needs, and nothing more.
type Restrictions struct {
	Commands  string   `json:"commands,omitempty"` // any, restricted
	Variables []string `json:"settableVariables,omitempty"`
	Limited   bool     `json:"settableVariablesLimited,omitempty"` // true: only Variables
}

// Handler says how a part of the task is run on one kind of host program.
type Handler struct {
	Kind             string   `json:"kind"`   // Node20_1, PowerShell3, …
	Target           string   `json:"target"` // file, relative to the task's folder
	WorkingDirectory string   `json:"workingDirectory,omitempty"`
	ArgumentFormat   string   `json:"argumentFormat,omitempty"`
	Platforms        []string `json:"platforms,omitempty"`
}

// Part is one of the three times at which a task may run in a job.
type Part int

// The parts, in the order in which they run.
const (
	Main Part = iota // zero: what a step is unless said otherwise
	PreJob
	PostJob
)

// Handlers returns how a part may be run; empty where the task has no such part.
func (d *Definition) Handlers(p Part) []Handler {
	switch p {
	case PreJob:
		return d.PreJob
	case PostJob:
		return d.PostJob
	default:
		return d.Main
	}
}

// Input finds an input by its name or an alias, ignoring case; nil if there is
// none.
func (d *Definition) Input(name string) *Input {
	for i := range d.Inputs {
		in := &d.Inputs[i]
		if strings.EqualFold(in.Name, name) {
			return in
		}
	}
	for i := range d.Inputs {
		for _, a := range d.Inputs[i].Aliases {
			if strings.EqualFold(a, name) {
				return &d.Inputs[i]
			}
		}
	}
	return nil
}

// Sets reports whether the task declares an output variable of the name.
func (d *Definition) Sets(variable string) bool {
	for _, o := range d.OutputVariables {
		if strings.EqualFold(o.Name, variable) {
			return true
		}
	}
	return false
}

// Title is how people call the task.
func (d *Definition) Title() string {
	if d.FriendlyName != "" {
		return d.FriendlyName
	}
	return d.Name
}

// Is reports whether the input names things of a kind, such as connectedService.
func (in *Input) Is(kind string) bool {
	head, _, _ := strings.Cut(in.Type, ":")
	return strings.EqualFold(head, kind)
}

var (
	validName = pattern.Lazy(`^[A-Za-z][A-Za-z0-9._-]{0,99}$`)
	validID   = pattern.Lazy(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
)

// check refuses what cannot be stored or named. Names become folders, so that
// this is also what keeps them within the store.
func (d *Definition) check() error {
	bad := func(field, got, want string) error {
		return fault.New(fault.Invalid, "task-definition", "the task.json has no usable %s", field).Got("%q", got).Want("%s", want)
	}
	switch {
	case !validName().MatchString(d.Name) || strings.HasSuffix(d.Name, "."):
		return bad("name", d.Name, "letters, digits and -")
	case !validID().MatchString(d.ID):
		return bad("id", d.ID, "a GUID")
	case d.Version.Major < 0 || d.Version.Minor < 0 || d.Version.Patch < 0:
		return bad("version", d.Version.String(), "Major, Minor and Patch")
	case len(d.PreJob)+len(d.Main)+len(d.PostJob) == 0:
		return bad("execution", "", "a handler such as Node20_1 under execution, prejobexecution or postjobexecution")
	}
	return nil
}
