// Package agent is the worker: it asks the server for jobs over one outbound
// connection, runs their steps, and reports what happens. It knows nothing of
// how the server decides.
package agent

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"penstock.dev/penstock/internal/agent/spool"
	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/base/rest"
	"penstock.dev/penstock/internal/base/rootfs"
	"penstock.dev/penstock/internal/domain/pipeline/tasklib"
	"penstock.dev/penstock/internal/domain/run"
)

// Config says which server an agent works for, and how.
type Config struct {
	Server       string // http://localhost:7420
	Organization string
	Name         string
	Folder       string // holds agent.json and the work folder
	JoinToken    string // used once, where agent.json does not exist
	Jobs         int    // at a time
	VMData       string // folder of the VM it serves; "" = it serves none
	Supervise    bool   // run the VM's services itself also where systemd runs
	ToolCache    string
	CacheDir     string  // of Cache@2; "" = beside ToolCache
	Tasks        Library // beside the built-in ones; nil = the store in Folder
	NodeFolder   string  // of a Node, or several, for tasks that come as packages
	Version      string
	Log          *slog.Logger
	Local        Local
	Scratch      bool // what the agent keeps need not outlive the machine
	Sandbox      Sandbox
}

// Identity is what registration leaves in agent.json.
type Identity struct {
	ID           string `json:"id"`
	Key          string `json:"key"`
	Server       string `json:"server"`
	Organization string `json:"organization"`
	Name         string `json:"name"`
}

// Held names a job an agent runs.
type Held struct {
	JobID string `json:"jobId"`
	Fence int    `json:"fence"`
}

// PollRequest and PollAnswer are the long poll.
type PollRequest struct {
	Session string `json:"session"` // one process of the agent
	Number  int    `json:"number"`  // counts its polls
	Free    int    `json:"free"`
	Held    []Held `json:"held"`
}

// PollAnswer carries a job, or what became of those that run.
type PollAnswer struct {
	Message *run.JobMessage `json:"message,omitempty"`
	Cancel  []string        `json:"cancel,omitempty"`
	Lost    []string        `json:"lost,omitempty"`
}

// Agent is a running worker.
type Agent struct {
	cfg      Config
	id       Identity
	client   *rest.Client
	services task.Services
	stopping context.Context // ends when the agent is to stop
	spool    spool.Spool
	session  string
	polls    int

	mu      sync.Mutex
	running map[string]*running
	again   func()         // ends the question that waits without room; nil = none does
	left    map[string]int // fences of jobs of an earlier process that are delivered
	slots   []bool
	begun   int // jobs, so far
	wg      sync.WaitGroup
}

type running struct {
	fence  int
	cancel context.CancelCauseFunc
	lost   bool
}

// Why a job's context ended.
var (
	errCanceled = errors.New("the run was canceled")
	errLost     = errors.New("the job is not this agent's any more")
)

// Run works until ctx ends; it then cancels its jobs and waits for them.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Jobs < 1 {
		cfg.Jobs = 1
	}
	if cfg.Tasks == nil {
		cfg.Tasks = tasklib.Library{{Dir: filepath.Join(cfg.Folder, "tasks")}}
	}
	if err := os.MkdirAll(cfg.Folder, 0o700); err != nil {
		return fault.Wrap(err, fault.Invalid, "data-not-writable", "cannot write in the agent's folder").At("%s", cfg.Folder)
	}
	unlock, err := lock(filepath.Join(cfg.Folder, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	a := &Agent{cfg: cfg, stopping: ctx, running: map[string]*running{}, left: map[string]int{}, slots: make([]bool, cfg.Jobs), session: id.New(),
		spool:  spool.Spool{Dir: filepath.Join(cfg.Folder, "spool"), Scratch: cfg.Scratch},
		client: &rest.Client{Base: cfg.Server, HTTP: &http.Client{Timeout: 2 * time.Minute, Transport: transport()}}}
	switch {
	case cfg.VMData == "":
	case hasSystemd() && !cfg.Supervise:
		a.services = &Systemd{data: cfg.VMData}
	default:
		supervisor, err := NewSupervisor(cfg.VMData, cfg.Log)
		if err != nil {
			return err
		}
		defer supervisor.Close()
		a.services = supervisor
	}
	if err := a.identify(ctx); err != nil {
		return err
	}
	a.recover(ctx)
	a.work(ctx)
	a.wg.Wait()
	return nil
}

func transport() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 16
	return t
}

// identify reads the agent's identity, or registers with the join token. The
// server's address may have changed since; the configuration wins.
func (a *Agent) identify(ctx context.Context) error {
	file := filepath.Join(a.cfg.Folder, "agent.json")
	data, err := os.ReadFile(file)
	if err == nil {
		if err := json.Unmarshal(data, &a.id); err != nil {
			return fault.Wrap(err, fault.Invalid, "agent-identity", "the agent's identity cannot be read").At("%s", file).
				Try("remove the file and register again with a join token")
		}
		if a.cfg.Server != "" {
			a.id.Server = a.cfg.Server
		}
	} else {
		if !errors.Is(err, os.ErrNotExist) || a.cfg.JoinToken == "" {
			return fault.New(fault.Invalid, "not-registered", "this agent is not registered").At("%s", file).
				Try("make a join token on the server: penstock agent join-token --pool default; then: penstock agent --join-token-file FILE --server URL")
		}
		if err := a.register(ctx, file); err != nil {
			return err
		}
	}
	a.client.Base, a.client.Token = a.id.Server, a.id.Key
	return nil
}

func (a *Agent) register(ctx context.Context, file string) error {
	in := map[string]any{"token": a.cfg.JoinToken, "name": a.cfg.Name, "version": a.cfg.Version, "capabilities": capabilities(), "jobs": a.cfg.Jobs}
	a.client.Token = a.cfg.JoinToken
	if err := a.client.JSON(ctx, http.MethodPost, "/"+a.cfg.Organization+"/_apis/penstock/agent/register", in, &a.id); err != nil {
		return err
	}
	a.id.Server, a.id.Organization, a.id.Name = a.cfg.Server, a.cfg.Organization, a.cfg.Name
	data, err := json.MarshalIndent(a.id, "", "  ")
	if err != nil {
		return err
	}
	return rootfs.WriteFile(file, data, 0o600)
}

// capabilities are the programs and the system that demands can ask for.
func capabilities() map[string]string {
	host, _ := os.Hostname()
	c := map[string]string{"Agent.OS": map[string]string{"linux": "Linux", "darwin": "Darwin", "windows": "Windows_NT"}[runtime.GOOS],
		"Agent.OSArchitecture": map[string]string{"amd64": "X64", "arm64": "ARM64"}[runtime.GOARCH], "Agent.ComputerName": host}
	for _, name := range []string{"bash", "sh", "git", "go", "node", "npm", "python3", "python", "java", "mvn", "gradle", "dotnet", "docker", "podman", "make", "gcc", "pwsh", "curl", "kubectl", "helm", "terraform",
		"ant", "bundler", "clang", "cmake", "gulp", "JDK", "maven", "node.js", "PowerShell", "rake", "ruby", "svn", "subversion"} {
		program, other := programs[name]
		if !other {
			program = name
		}
		if p, err := exec.LookPath(program); err == nil {
			c[name] = p
		}
	}
	return c
}

// programs are those of capabilities that the service calls otherwise.
var programs = map[string]string{"bundler": "bundle", "JDK": "javac", "maven": "mvn", "node.js": "node", "PowerShell": "pwsh", "subversion": "svn"}

func (a *Agent) path(rest string) string {
	return "/" + a.id.Organization + "/_apis/penstock/agent/" + rest
}

// work polls for jobs. A server that does not answer is asked again and again:
// what runs goes on meanwhile.
func (a *Agent) work(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		var answer PollAnswer
		err := a.poll(ctx, &answer)
		if err != nil {
			if ctx.Err() != nil {
				break
			}
			if failures++; failures == 1 || failures%60 == 0 {
				a.cfg.Log.Warn("no answer from the server", "server", a.id.Server, "error", err)
			}
			pause(ctx, min(time.Duration(failures)*200*time.Millisecond, 2*time.Second))
			continue
		}
		failures = 0
		a.react(ctx, answer)
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (a *Agent) poll(ctx context.Context, answer *PollAnswer) error {
	a.polls++
	in := PollRequest{Session: a.session, Number: a.polls}
	a.mu.Lock()
	for id, r := range a.running {
		in.Held = append(in.Held, Held{id, r.fence})
	}
	for id, fence := range a.left {
		in.Held = append(in.Held, Held{id, fence})
	}
	in.Free = a.cfg.Jobs - len(a.running)
	waiting, again := context.WithCancel(ctx)
	defer again()
	if in.Free <= 0 {
		a.again = again // who has no room is given nothing, and so nothing is missed
	}
	a.mu.Unlock()
	err := a.client.Once(waiting, http.MethodPost, a.path("poll"), in, answer)
	if err != nil && waiting.Err() != nil && ctx.Err() == nil {
		*answer, err = PollAnswer{}, nil // there is room now
	}
	a.mu.Lock()
	a.again = nil
	a.mu.Unlock()
	return err
}

func (a *Agent) react(ctx context.Context, answer PollAnswer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range answer.Cancel {
		if r := a.running[id]; r != nil {
			r.cancel(errCanceled)
		}
	}
	for _, id := range answer.Lost {
		if r := a.running[id]; r != nil {
			r.lost = true
			r.cancel(errLost)
		}
	}
	m := answer.Message
	if m == nil || a.running[m.JobID] != nil {
		return
	}
	slot := 0
	for slot < len(a.slots) && a.slots[slot] {
		slot++
	}
	if slot == len(a.slots) {
		return // the server hands out only what was free; without being accepted it goes back
	}
	a.slots[slot] = true
	place := slot + 1
	if a.cfg.Local.Own {
		a.begun++
		place = a.begun
	}
	jobCtx, cancel := context.WithCancelCause(ctx)
	r := &running{fence: m.Fence, cancel: cancel}
	a.running[m.JobID] = r
	a.wg.Add(1)
	go func() {
		defer a.wg.Done()
		a.runJob(jobCtx, m, place, r)
		cancel(nil)
		a.vacate(m.JobID, slot)
	}()
}

// vacate gives up the place of a job that has ended. A question that waits
// without room ends, so that the next one says that there is some.
func (a *Agent) vacate(jobID string, slot int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.running, jobID)
	a.slots[slot] = false
	if a.again != nil {
		a.again()
	}
}

// rebase turns a URL of the server as it sees itself into one this agent can
// reach.
func (a *Agent) rebase(projectURL string) string {
	if _, path, ok := strings.Cut(projectURL, "://"); ok {
		if _, rest, ok := strings.Cut(path, "/"); ok {
			return a.id.Server + "/" + rest
		}
	}
	return projectURL
}
