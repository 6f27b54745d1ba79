// Package tasktest runs tasks in tests, without a job around them.
package tasktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/rest"
	"penstock.dev/penstock/internal/base/rootfs"
	"penstock.dev/penstock/internal/domain/artifact"
	"penstock.dev/penstock/internal/domain/artifact/artifacttest"
	"penstock.dev/penstock/internal/domain/artifact/tree"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/domain/securefile"
	"penstock.dev/penstock/internal/domain/serviceconnection"
	"penstock.dev/penstock/internal/domain/testresult"
)

// Desk is a job for tasks; its folders are those of the test.
type Desk struct {
	t       *testing.T
	Dir     string            // the default working directory
	Vars    map[string]string // by lower-case name
	Outputs map[string]string
	Paths   []string
	Issues  []string
	Env     []string
	State   map[string]string
	Result  run.Result
	Secrets []string // that were masked
	Client  *rest.Client
	VM      task.Services // nil: the agent serves no VM
	// Job is the message that the job was started with.
	Job run.JobMessage
	// Connections and Files are what the job has been given.
	Connections []*serviceconnection.Opened
	Files       []securefile.Grant

	mu        sync.Mutex
	log       strings.Builder
	artifacts *artifact.Service
	calls     int
	Tests     []*testresult.TestRun
	Coverage  []*testresult.Coverage
}

// New makes a desk.
func New(t *testing.T) *Desk {
	t.Helper()
	root := t.TempDir()
	d := &Desk{t: t, Job: run.JobMessage{RunID: "7", JobID: "j"}, Dir: filepath.Join(root, "s"), Outputs: map[string]string{}, State: map[string]string{}, artifacts: artifacttest.NewService(), Result: run.Succeeded}
	d.Vars = map[string]string{"system.defaultworkingdirectory": d.Dir, "build.sourcesdirectory": d.Dir, "pipeline.workspace": root, "agent.tempdirectory": filepath.Join(root, "_temp"),
		"agent.toolsdirectory": filepath.Join(root, "_tool"), "build.artifactstagingdirectory": filepath.Join(root, "a"), "build.binariesdirectory": filepath.Join(root, "b"),
		"system.artifactsdirectory": filepath.Join(root, "a"), "build.buildid": "7"}
	for _, dir := range []string{"s", "_temp", "_tool", "a", "b"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// Write makes files below the working directory.
func (d *Desk) Write(files map[string]string) {
	d.t.Helper()
	for name, content := range files {
		p := filepath.Join(d.Dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			d.t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			d.t.Fatal(err)
		}
	}
}

// Program puts a shell script on the PATH under a name.
func (d *Desk) Program(name, script string) {
	d.t.Helper()
	dir := filepath.Join(d.Dir, "..", "bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		d.t.Fatal(err)
	}
	if len(d.Paths) == 0 || d.Paths[0] != dir {
		d.Paths = append([]string{dir}, d.Paths...)
	}
}

// Read returns a file below the working directory; "" if there is none.
func (d *Desk) Read(name string) string {
	data, _ := os.ReadFile(filepath.Join(d.Dir, filepath.FromSlash(name)))
	return string(data)
}

// Files lists what lies below a folder, slash separated.
func Files(dir string) string {
	var list []string
	_ = filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if rel, rerr := filepath.Rel(dir, p); err == nil && rerr == nil && !e.IsDir() {
			list = append(list, filepath.ToSlash(rel))
		}
		return nil
	})
	return strings.Join(list, " ")
}

// Log is all that was printed.
func (d *Desk) Log() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.String()
}

// Run runs a task, as Name@1, and After runs its last part.
func (d *Desk) Run(name string, inputs map[string]string) error {
	return d.part(name, inputs, func(t *task.Task) task.Func { return t.Run })
}

// Before runs the part of a task before all steps.
func (d *Desk) Before(name string, inputs map[string]string) error {
	return d.part(name, inputs, func(t *task.Task) task.Func { return t.Before })
}

// After runs the part of a task after all steps.
func (d *Desk) After(name string, inputs map[string]string) error {
	return d.part(name, inputs, func(t *task.Task) task.Func { return t.After })
}

func (d *Desk) part(name string, inputs map[string]string, part func(*task.Task) task.Func) error {
	d.t.Helper()
	name, major, _ := strings.Cut(name, "@")
	t := task.Find(name)
	if t == nil {
		d.t.Fatalf("no task %s", name)
	}
	c := &task.Context{Host: d, Changes: d, Folders: d, Resources: d, Client: d.Client, Job: &d.Job, JobResult: d.Result, Inputs: t.Resolve(major, inputs, d.Lookup), Version: major, State: d.State,
		Records: d.records(), Outcomes: &outcomes{d}, Temp: d.Vars["agent.tempdirectory"], CacheDir: filepath.Join(d.Dir, "..", "cache"), After: func(time.Duration) <-chan time.Time {
			c := make(chan time.Time)
			close(c)
			return c
		}}
	return part(t)(d.t.Context(), c)
}

// Connection implements task.Resources.
func (d *Desk) Connection(name string) *serviceconnection.Opened {
	for _, c := range d.Connections {
		if strings.EqualFold(c.Name, name) {
			return c
		}
	}
	return nil
}

// SecureFile implements task.Resources.
func (d *Desk) SecureFile(name string) *securefile.Grant {
	for i := range d.Files {
		if strings.EqualFold(d.Files[i].Name, name) {
			return &d.Files[i]
		}
	}
	return nil
}

// Export implements task.Resources.
func (d *Desk) Export(name, value string) { d.SetVariable(name, value, false) }

// AddSecret implements task.Resources.
func (d *Desk) AddSecret(value string) { d.Secrets = append(d.Secrets, value) }

// Interpret implements task.Resources.
func (d *Desk) Interpret(line string) { d.Print("interpreted: " + line) }

// Lookup implements task.Host.
func (d *Desk) Lookup(name string) (string, bool) {
	v, ok := d.Vars[strings.ToLower(name)]
	return v, ok
}

// SetVariable implements task.Host.
func (d *Desk) SetVariable(name, value string, secret bool) {
	if d.Vars[strings.ToLower(name)] = value; secret {
		d.AddSecret(value)
	}
}

// Print implements task.Host.
func (d *Desk) Print(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log.WriteString(line + "\n")
}

// Exec implements task.Host.
func (d *Desk) Exec(ctx context.Context, c task.Command) (int, error) {
	cmd := exec.CommandContext(ctx, c.Path, c.Args...)
	cmd.Dir, cmd.Stdin = c.Dir, c.Input
	cmd.Env = append(append(os.Environ(), "PATH="+strings.Join(append(append([]string{}, d.Paths...), os.Getenv("PATH")), string(os.PathListSeparator))), append(d.Env, c.Env...)...)
	var out bytes.Buffer
	cmd.Stderr = &out
	if cmd.Stdout = &out; c.Output != nil {
		cmd.Stdout = c.Output
	}
	err := cmd.Run()
	d.Print(out.String())
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// Service implements task.Host.
func (d *Desk) Service() task.Services { return d.VM }

// Output implements task.Changes.
func (d *Desk) Output(name, value string, _ bool) { d.Outputs[name] = value }

// MoveFolder implements task.Folders.
func (d *Desk) MoveFolder(name, path string) { d.SetVariable(name, path, false) }

// PrependPath implements task.Changes.
func (d *Desk) PrependPath(dir string) { d.Paths = append([]string{dir}, d.Paths...) }

// Issue implements task.Changes.
func (d *Desk) Issue(kind, text string) { d.Issues = append(d.Issues, kind+": "+text) }

// Mask implements task.Changes.
func (d *Desk) Mask(text string) string { return text }

// Find implements task.Changes.
func (d *Desk) Find(program string) (string, error) {
	for _, dir := range append(append([]string{}, d.Paths...), filepath.SplitList(os.Getenv("PATH"))...) {
		if p, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return p, nil
		}
	}
	return "", exec.ErrNotFound
}

func (d *Desk) records() task.Records { return &records{d} }

type records struct{ d *Desk }

func (r *records) Artifacts(ctx context.Context, run string) ([]task.Artifact, error) {
	var list []task.Artifact
	found, err := r.d.artifacts.Of(ctx, run)
	for _, a := range found {
		list = append(list, task.Artifact{Name: a.Name, Digest: a.Digest})
	}
	return list, err
}

func (r *records) Sink(run, name, step string) tree.Sink {
	r.d.calls++ // each call of a task is a step of its own
	return r.d.artifacts.Sink(artifact.Publication{ProjectID: "p", RunID: run, Name: name, Step: fmt.Sprint(step, r.d.calls)})
}

func (r *records) Source(run, name string) tree.Source { return &source{r.d, run, name} }

// source looks an artifact up when it is asked for.
type source struct {
	d         *Desk
	run, name string
}

func (s *source) Manifest(ctx context.Context) ([]byte, error) {
	a, err := s.d.artifacts.Find(ctx, s.run, s.name)
	if err != nil {
		return nil, err
	}
	return s.d.artifacts.Manifest(ctx, a)
}

func (s *source) Chunks(ctx context.Context, ranges []tree.Range) (io.ReadCloser, error) {
	a, err := s.d.artifacts.Find(ctx, s.run, s.name)
	if err != nil {
		return nil, err
	}
	return s.d.artifacts.Source(a).Chunks(ctx, ranges)
}

// Artifact lists the files of an artifact of the job's run; "none" if it was not
// published.
func (d *Desk) Artifact(name string) string {
	d.t.Helper()
	a, err := d.artifacts.Find(d.t.Context(), "7", name)
	if err != nil {
		return "none"
	}
	dir := d.t.TempDir()
	if _, err := (tree.Transfer{}).Fetch(d.t.Context(), tree.Request{Digest: a.Digest, Folder: dir, Limits: rootfs.DefaultLimits}, d.artifacts.Source(a)); err != nil {
		d.t.Fatal(err)
	}
	return Files(dir)
}

func (r *records) Tests(_ context.Context, _ string, t *testresult.TestRun) error {
	r.d.Tests = append(r.d.Tests, t)
	return nil
}

// outcomes keeps coverage; no built-in task leaves anything else.
type outcomes struct{ d *Desk }

func (o *outcomes) Attach(context.Context, string, task.Attachment, io.ReadSeeker) error {
	return errors.New("no task attaches files")
}

func (o *outcomes) Cover(_ context.Context, _ string, c *testresult.Coverage) error {
	o.d.Coverage = append(o.d.Coverage, c)
	return nil
}

func (o *outcomes) Tag(context.Context, string, string) error { return errors.New("no task tags runs") }

func (o *outcomes) Link(context.Context, string, task.Link) error {
	return errors.New("no task links artifacts")
}
