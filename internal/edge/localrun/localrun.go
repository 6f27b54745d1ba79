// Package localrun prepares a run of a pipeline on a person's machine, talks
// with the person while it runs, and keeps its record below .penstock.
package localrun

import (
	"context"
	"encoding/json"
	"path/filepath"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rootfs"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/domain/serviceconnection"
)

// Request is what a local run asks of the process.
type Request struct {
	Root, File, Folder string
	Checkout           func() run.Checkout // see Look
	Repositories       map[string]string
	Parameters         map[string]any
	Variables          map[string]string
	Settings           map[string]string            // secrets that the pipeline's settings would hold
	Plain, Secret      map[string]map[string]string // variable groups: group → name → value
	Connections        []serviceconnection.Spec
	StubConnections    bool              // a stub stands for any other: steps that name it are left out
	SecureFiles        map[string][]byte // name → content
	VMs                map[string][]VM   // of environments, by name
	Applications       []string          // files
	Tasks              []string          // folders of tasks
	SkipTasks          []string          // NAME@VERSION: their steps are left out
	SkipFiles          []string          // secure files: steps that name them are left out
	Pipelines          []Pipeline        // of pipeline resources
	Only               pipeline.Selection
	Event              string // push, pr, schedule or "" for a person
	Jobs               int
	InPlace            bool   // the working tree itself, not a copy
	Keep               bool   // the work folders, also of jobs that went well
	Sandbox            bool   // every job is closed in
	Work               string // work folder of an earlier run; "" = a new one
	Replay             *run.RecordedStep
	OnStart            func(number string, changed int, plan *pipeline.Plan)
	OnLook             func(*run.Detail) // nil = nobody looks
	OnEvent            func(run.Event)
	// Ask decides an approval: true lets the run go on.
	Ask func(ctx context.Context, q Question) (bool, error)
	// Asked are environments that wait for an answer.
	Asked []string
	// Break decides what becomes of a step; nil = nobody is asked.
	Break  func(ctx context.Context, at *run.Stop) run.Decision
	Record func(run.RecordedStep)
	// Tree is what a TakeTree has begun; nil = nothing yet.
	Tree any
}

// End is how it ended.
type End struct {
	Number string
	Result run.Result
	Took   time.Duration
}

// Record is run.json of a run's folder.
type Record struct {
	Run        string            `json:"run"` // local:N
	Number     string            `json:"number"`
	Result     run.Result        `json:"result"`
	Seconds    float64           `json:"seconds"`
	File       string            `json:"file"`
	Event      string            `json:"event,omitempty"`
	Parameters map[string]any    `json:"parameters"`
	Variables  map[string]string `json:"variables"`
	// SkipMissing says that the run went on without what was not here.
	SkipMissing bool `json:"skipMissing,omitempty"`
}

func notWritable(err error, path string) error {
	return fault.Wrap(err, fault.Invalid, "not-writable", "the checkout cannot be written").At("%s", path)
}

// Keep writes run.json and plan.json into the folder of a run.
func Keep(folder string, r Record, plan *pipeline.Plan) error {
	for name, v := range map[string]any{"run.json": r, "plan.json": plan} {
		data, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return err
		}
		if err := rootfs.ReplaceFile(filepath.Join(folder, name), append(data, '\n'), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Texts are parameters as a command line would give them.
func Texts(values map[string]any) (map[string]string, error) {
	all := map[string]string{}
	for name, v := range values {
		if s, ok := v.(string); ok {
			all[name] = s
			continue
		}
		data, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		all[name] = string(data)
	}
	return all, nil
}

// Relative shows a path from where the person stands, if that is shorter.
func Relative(from, path string) string {
	from, err := filepath.Abs(from)
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(from, path); err == nil && len(rel) < len(path) {
		return rel
	}
	return path
}
