package run

import "penstock.dev/penstock/internal/base/mask"

// Decision is what a person says about a step.
type Decision int

// Decisions.
const (
	Continue Decision = iota // as if nobody had looked
	Retry                    // run the step again, or for the first time
	Abort                    // end the run
)

// Stop is a step at which a run has stopped.
type Stop struct {
	Stage, Job  string
	Step, Title string // its name in the file, and the one that is shown
	Failed      bool   // false: it has not run yet
	Errors      []string
	Dir         string   // where the step works
	Env         []string // of its processes, its secrets included
	Script      string   // of a script step; else ""
	Log         string   // its last lines
	Variables   []Variable
	Mask        *mask.Stream // for what programs in its environment print
}

// RecordedStep is what a step started from. Secrets are named and not kept.
type RecordedStep struct {
	Stage       string            `json:"stage"`
	Job         string            `json:"job"` // as events name it: JOB, or JOB LEG
	Order       int               `json:"order"`
	Name        string            `json:"name,omitempty"`
	Ref         string            `json:"ref"`              // the name, or that which the service gives it
	Hook        string            `json:"hook,omitempty"`   // of a deployment
	Title       string            `json:"title"`            // the name that is shown
	Task        string            `json:"task"`             // NAME@VERSION
	Inputs      map[string]string `json:"inputs,omitempty"` // as written, macros included
	Env         map[string]string `json:"env,omitempty"`    // as written
	Work        string            `json:"work"`             // folder of the agent
	Variables   map[string]string `json:"variables"`
	SecretNames []string          `json:"secrets,omitempty"`
}
