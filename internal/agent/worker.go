package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"penstock.dev/penstock/internal/agent/confine"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/mask"
	"penstock.dev/penstock/internal/base/rest"
	"penstock.dev/penstock/internal/domain/pipeline/tasklib"
	"penstock.dev/penstock/internal/domain/run"
)

// Sandbox says how an agent closes in the jobs that it runs.
type Sandbox struct {
	On       bool
	Restrict bool // logging commands: only those that `target: commands: restricted` leaves
	Limits   confine.Limits
}

// workerRole is what a confined process is told to do: to run one job.
const workerRole = "job"

// workerJob is the first line of its input.
type workerJob struct {
	Message    *run.JobMessage
	Client     string // base of the REST routes, as it is reached from inside
	Name, ID   string
	Work       string
	Tasks      []string
	NodeFolder string
	Mark       string // by which what is left of the job is found
}

// frame is one line of what a worker says; one of its fields is set.
type frame struct {
	Step   int             `json:"step,omitempty"` // of Log
	Log    string          `json:"log,omitempty"`
	Report *run.StepReport `json:"report,omitempty"`
	End    *run.JobReport  `json:"end,omitempty"`
}

// maxFrame is the longest line that is taken from a worker, in bytes.
const maxFrame = 8 << 20

// Inside runs the job of a confined process and ends it; in any other process it
// returns. It comes first in main.
func Inside() {
	role, inside := confine.Inside()
	if !inside {
		return
	}
	if role != workerRole {
		os.Exit(2)
	}
	if err := work(os.Stdin, confine.Output()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// work runs a job as its input describes it. The job is cancelled by the end of
// the input.
func work(in io.Reader, out io.Writer) error {
	r := bufio.NewReader(in)
	line, err := r.ReadBytes('\n')
	if err != nil {
		return err
	}
	var w workerJob
	if err := json.Unmarshal(line, &w); err != nil {
		return err
	}
	proxy, err := url.Parse(os.Getenv("PENSTOCK_PROXY"))
	if err != nil {
		return err
	}
	transport := transport().(*http.Transport)
	transport.Proxy = http.ProxyURL(proxy)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, r)
		cancel()
	}()
	var stores tasklib.Library
	for _, dir := range w.Tasks {
		stores = append(stores, tasklib.Store{Dir: dir})
	}
	link := &frames{out: json.NewEncoder(out)}
	rep := RunJob(ctx, w.Message, Machine{AgentName: w.Name, AgentID: w.ID, Work: w.Work, Tasks: stores, NodeFolder: w.NodeFolder, Mark: w.Mark,
		Client: &rest.Client{Base: w.Client, Token: w.Message.AccessToken, HTTP: &http.Client{Timeout: 2 * time.Minute, Transport: transport}}}, link)
	link.send(frame{End: &rep})
	return link.err
}

// frames is the Link of a worker.
type frames struct {
	mu  sync.Mutex
	out *json.Encoder
	err error
}

func (l *frames) send(f frame) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.out.Encode(f); err != nil && l.err == nil {
		l.err = err
	}
}

// Log implements Link.
func (l *frames) Log(step int, text string) { l.send(frame{Step: step, Log: text}) }

// Step implements Link.
func (l *frames) Step(r run.StepReport) { l.send(frame{Report: &r}) }

// confined runs a job in a cell. What the cell says is looked at before it is
// passed on: whoever has broken out of the job inside speaks with its voice.
func (a *Agent) confined(ctx context.Context, m *run.JobMessage, machine Machine, link Link) run.JobReport {
	failed := func(err error) run.JobReport {
		return run.JobReport{Result: run.Failed, Cause: "the job could not be closed in: " + message(err)}
	}
	if err := confine.Check(); err != nil {
		return failed(err)
	}
	if machine.Services != nil {
		return failed(fault.New(fault.Invalid, "cannot-confine", "a job on a VM works on the VM itself").Try("deploy from a pool whose agents are not confined"))
	}
	if len(m.Containers) > 0 {
		return failed(fault.New(fault.Invalid, "cannot-confine", "a container engine would let the job out").Try("run jobs in containers on agents that are not confined"))
	}
	// Nothing that one job has left reaches the next.
	machine.Work += "-confined"
	if err := errors.Join(os.RemoveAll(machine.Work), os.MkdirAll(machine.Work, 0o700)); err != nil {
		return failed(err)
	}
	start := workerJob{Message: m, Client: machine.Client.Base, Name: machine.AgentName, ID: machine.AgentID, Work: machine.Work, NodeFolder: machine.NodeFolder, Mark: machine.Mark}
	if stores, ok := machine.Tasks.(tasklib.Library); ok {
		for _, s := range stores {
			start.Tasks = append(start.Tasks, s.Dir)
		}
	}
	if a.cfg.Sandbox.Restrict {
		m.Steps = slices.Clone(m.Steps)
		for i := range m.Steps {
			m.Steps[i].TargetCommands = "restricted"
		}
	}
	console := &tailBuffer{}
	cell, err := confine.Start(confine.Spec{Role: workerRole, Work: machine.Work, ReadOnly: append(slices.Clone(start.Tasks), filepath.SplitList(machine.NodeFolder)...),
		Env: harmless(), Reach: reach(a.id.Server, m.ServerURL), Limits: a.cfg.Sandbox.Limits, Console: console})
	if err != nil {
		return failed(err)
	}
	defer func() { _ = os.RemoveAll(machine.Work) }()
	if cell.Unlimited != "" {
		a.cfg.Log.Warn("the memory and processes of confined jobs are not bounded here", "because", cell.Unlimited)
	}
	return relay(ctx, cell, start, link, console)
}

// relay hands the job to the cell and passes on what comes back.
func relay(ctx context.Context, cell *confine.Cell, start workerJob, link Link, console *tailBuffer) run.JobReport {
	text, err := json.Marshal(start)
	if err == nil {
		_, err = cell.In.Write(append(text, '\n'))
	}
	ended := make(chan struct{})
	go func() {
		select {
		case <-ended:
			return
		case <-ctx.Done():
			_ = cell.In.Close() // that cancels the job inside
		}
		// Inside it takes as long as steps after a cancel may; then it is over.
		timer := time.NewTimer(time.Duration(max(start.Message.CancelTimeoutInMinutes, 1))*time.Minute + 30*time.Second)
		defer timer.Stop()
		select {
		case <-ended:
		case <-timer.C:
			cell.Kill()
		}
	}()
	var end *run.JobReport
	if err == nil {
		end, err = listen(cell.Out, start.Message, link)
	}
	cell.Kill() // its work is done; nothing stays behind
	close(ended)
	waitErr := cell.Wait()
	_ = cell.Out.Close()
	switch {
	case end != nil:
		return *end
	case ctx.Err() != nil:
		return run.JobReport{Result: run.Canceled}
	case err == nil:
		err = waitErr
	}
	return run.JobReport{Result: run.Failed, Cause: fmt.Sprintf("the confined job ended without a result (%v); if it used too much memory, the kernel ended it. %s", err, console)}
}

// listen reads the frames of a worker until the last one.
func listen(out io.Reader, m *run.JobMessage, link Link) (*run.JobReport, error) {
	masker := &mask.Masker{}
	masker.Add(m.AccessToken)
	for _, v := range m.Variables {
		if v.Secret {
			masker.Add(v.Value)
		}
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, maxFrame)
	for lines.Scan() {
		var f frame
		if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
			return nil, fmt.Errorf("what it says cannot be read: %w", err)
		}
		switch {
		case f.End != nil:
			f.End.Cause = masker.Line(f.End.Cause)
			return f.End, nil
		case f.Report != nil && f.Report.Order >= 1 && f.Report.Order <= len(m.Steps):
			for _, list := range [][]string{f.Report.Errors, f.Report.Warnings} {
				for i := range list {
					list[i] = masker.Line(list[i])
				}
			}
			f.Report.DisplayName = masker.Line(f.Report.DisplayName)
			link.Step(*f.Report)
		case f.Log != "" && f.Step >= 1 && f.Step <= len(m.Steps) && strings.HasSuffix(f.Log, "\n"):
			for line := range strings.Lines(f.Log) {
				link.Log(f.Step, masker.Line(strings.TrimSuffix(line, "\n"))+"\n")
			}
		default:
			return nil, errors.New("it says something that no job says")
		}
	}
	return nil, lines.Err()
}

// harmless is the part of this process's environment that untrusted code may see.
func harmless() []string {
	env := []string{"USER=job", "LOGNAME=job", "SHELL=/bin/sh"}
	for _, name := range []string{"PATH", "LANG", "LC_ALL", "TZ", "TERM"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// reach are the addresses of servers.
func reach(urls ...string) []string {
	var list []string
	for _, text := range urls {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" {
			continue
		}
		port := u.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
		}
		list = append(list, net.JoinHostPort(u.Hostname(), port))
	}
	return list
}

// tailBuffer keeps the end of what was written.
type tailBuffer struct {
	mu   sync.Mutex
	text []byte
}

// Write implements io.Writer.
func (t *tailBuffer) Write(p []byte) (int, error) {
	const kept = 2000
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-kept):]
	return len(p), nil
}

// String returns what was kept.
func (t *tailBuffer) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}
