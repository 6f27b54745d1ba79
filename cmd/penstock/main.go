// Command penstock is the product: one binary with every role.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/term"

	"penstock.dev/penstock/internal/agent"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/telemetry"
	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/pipeline/tasklib"
	"penstock.dev/penstock/internal/edge/cli"
	"penstock.dev/penstock/internal/edge/demo"
	"penstock.dev/penstock/internal/edge/localrun"
	"penstock.dev/penstock/internal/server"
)

// version is set when a release is built.
var version = "0.1.0"

func main() {
	agent.Inside()
	os.Exit(execute(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv))
}

// process is what the roles need from this one.
type process struct {
	stdout, stderr io.Writer
	env            func(string) string
}

func execute(args []string, stdin io.Reader, stdout, stderr io.Writer, env func(string) string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p := &process{stdout: stdout, stderr: stderr, env: env}
	return cli.Execute(ctx, args, cli.Deps{Stdin: stdin, Stdout: stdout, Stderr: stderr, Env: env, Version: version,
		Up: p.up, Down: p.down, Demo: p.demo, Agent: p.agent, RunLocal: p.runLocal, TakeTree: takeTree, CheckTasks: p.checkTasks, CheckEngine: agent.EngineError})
}

func (p *process) load(data, ports string, set map[string]string) (server.Config, error) {
	all := map[string]string{}
	for k, v := range set {
		all[k] = v
	}
	if data != "" {
		all["data"] = data
	}
	if ports != "" {
		all["ports"] = ports
	}
	return server.Load(p.env, all)
}

// logger writes text for people and JSON for machines.
func (p *process) logger(l server.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.Level)); err != nil {
		level = slog.LevelInfo
	}
	o := &slog.HandlerOptions{Level: level}
	f, isFile := p.stderr.(*os.File)
	if l.Format == "text" || l.Format == "auto" && isFile && term.IsTerminal(int(f.Fd())) {
		return slog.New(slog.NewTextHandler(p.stderr, o))
	}
	return slog.New(slog.NewJSONHandler(p.stderr, o))
}

func (p *process) up(ctx context.Context, o cli.UpOptions) error {
	cfg, err := p.load(o.Data, o.Ports, o.Set)
	if err != nil {
		return err
	}
	return server.Up(ctx, server.Options{Config: cfg, Version: version, Out: p.stdout, Log: p.logger(cfg.Log)})
}

func (p *process) down(ctx context.Context, o cli.DownOptions) error {
	cfg, err := p.load(o.Data, "", nil)
	if err != nil {
		return err
	}
	return server.Down(ctx, cfg.Data, o.Purge, p.stdout)
}

// demo tells its story on the server of the data folder, starting one if none
// runs. It then keeps running, so that the reader can look around, unless told
// to exit.
func (p *process) demo(ctx context.Context, o cli.DemoOptions) error {
	if o.List {
		fmt.Fprintln(p.stdout, "main    from an empty server to a release that is rolled back by hand")
		return nil
	}
	if o.Story != "" && o.Story != "main" {
		return fault.New(fault.Invalid, "unknown-story", "there is no story %s", o.Story).Want("main")
	}
	cfg, err := p.load(o.Data, o.Ports, o.Set)
	if err != nil {
		return err
	}
	if server.Running(cfg.Data) {
		return p.tell(ctx, cfg, o, "")
	}
	upCtx, stop := context.WithCancel(ctx)
	defer stop()
	told := make(chan error, 1)
	err = server.Up(upCtx, server.Options{Config: cfg, Version: version, Out: p.stdout, Log: p.logger(quiet(cfg.Log)), Ready: func(password string) {
		go func() {
			err := p.tell(upCtx, cfg, o, password)
			told <- err
			if o.Exit || err != nil {
				stop()
			}
		}()
	}})
	select {
	case story := <-told:
		return errors.Join(story, err)
	default:
		return err
	}
}

// quiet keeps a server's ordinary news out of a story.
func quiet(l server.Log) server.Log {
	if l.Level == "info" {
		l.Level = "warn"
	}
	return l
}

func (p *process) tell(ctx context.Context, cfg server.Config, o cli.DemoOptions, password string) error {
	u, err := server.ReadUpFile(cfg.Data)
	if err != nil {
		return err
	}
	token, err := o.SignIn(ctx, u.URL, password)
	if err != nil {
		return err
	}
	f, isFile := p.stdout.(*os.File)
	return demo.Run(ctx, demo.Options{Server: u.URL, Organization: u.Organization, Token: token, DNS: u.Ports.DNS, Gateway: u.Ports.Gateway,
		Folder: filepath.Join(cfg.Data, "demo"), Out: p.stdout, Fast: o.Fast || o.Exit,
		Color: isFile && term.IsTerminal(int(f.Fd())) && p.env("NO_COLOR") == ""})
}

func (p *process) agent(ctx context.Context, o cli.AgentOptions) error {
	stop, err := telemetry.ToFile(p.env("PENSTOCK_TRACE_FILE"))
	if err != nil {
		return err
	}
	defer stop()
	token := ""
	if o.JoinTokenFile != "" {
		raw, err := os.ReadFile(o.JoinTokenFile)
		if err != nil && !os.IsNotExist(err) {
			return fault.Wrap(err, fault.Invalid, "join-token-unreadable", "the join token cannot be read").At("%s", o.JoinTokenFile)
		}
		token = strings.TrimSpace(string(raw))
	}
	host, _ := os.Hostname()
	data := o.Data
	if data == "" {
		data = "agent"
	}
	if data, err = filepath.Abs(data); err != nil {
		return err
	}
	return agent.Run(ctx, agent.Config{Server: strings.TrimSuffix(o.Server, "/"), Organization: cmp.Or(o.Organization, "default"), Name: cmp.Or(o.Name, host), Folder: data,
		JoinToken: token, Jobs: o.Jobs, VMData: o.VMData, Supervise: o.Supervise, Sandbox: agent.Sandbox{On: o.Sandbox, Restrict: o.RestrictCommands}, ToolCache: filepath.Join(data, "tools"), Version: version,
		Tasks: tasks(filepath.Join(data, "tasks"), p.env("PENSTOCK_TASKS")), NodeFolder: p.env("PENSTOCK_NODE"),
		Log: p.logger(server.Log{Level: "info", Format: "auto"})})
}

// takeTree begins to take a working tree for a local run.
func takeTree(ctx context.Context, root, folder, file string) (any, func()) {
	t := server.TakeTree(ctx, root, folder, file)
	return t, t.Wait
}

// runLocal runs a pipeline of a working tree with the server's own parts.
func (p *process) runLocal(ctx context.Context, r localrun.Request) (localrun.End, error) {
	groups := map[string]server.LocalGroup{}
	for name, plain := range r.Plain {
		groups[name] = server.LocalGroup{Plain: plain, Secret: r.Secret[name]}
	}
	data := cmp.Or(p.env("PENSTOCK_DATA"), server.DefaultData(p.env))
	library, err := p.library(r.Tasks, filepath.Join(r.Folder, "tasks"))
	if err != nil {
		return localrun.End{}, err
	}
	machines := map[string][]server.LocalVM{}
	for name, list := range r.VMs {
		for _, vm := range list {
			machines[name] = append(machines[name], server.LocalVM{Name: vm.Name, Tags: vm.Tags})
		}
	}
	var pipelines []server.LocalPipeline
	for _, given := range r.Pipelines {
		pipelines = append(pipelines, server.LocalPipeline{Source: given.Source, Number: given.Number, Folder: given.Folder})
	}
	watched := agent.Local{Own: true, Keep: r.Keep, Kept: r.Work != "", Break: r.Break, Record: r.Record, Replay: r.Replay, Skip: r.Skip}
	if r.InPlace {
		watched.Sources = r.Root
	}
	tree, _ := r.Tree.(*server.Tree)
	finished := make(chan struct{})
	defer close(finished)
	go endAtOnce(ctx, finished)
	res, err := server.RunLocal(ctx, server.LocalOptions{
		Tasks: library, Machines: machines, Asked: r.Asked, Applications: r.Applications, Pipelines: pipelines, NodeFolder: p.env("PENSTOCK_NODE"), ToolCache: filepath.Join(data, "tools"),
		CacheDir: filepath.Join(r.Root, ".penstock", "cache"),
		Tree:     tree, Root: r.Root, File: r.File, Folder: r.Folder, Work: r.Work, Agent: watched, Sandbox: agent.Sandbox{On: r.Sandbox}, Repositories: r.Repositories, Parameters: r.Parameters, Variables: r.Variables, Secrets: r.Settings, Groups: groups, Connections: r.Connections, StubConnections: r.StubConnections, SecureFiles: r.SecureFiles, Only: r.Only,
		Reason: localrun.Reasons[r.Event], Checkout: r.Checkout, Jobs: cmp.Or(r.Jobs, 4), Version: version, Log: p.logger(server.Log{Level: "error", Format: "text"}), Event: r.OnEvent, Look: r.OnLook, Started: r.OnStart,
		Approve: func(ctx context.Context, q server.Question) (environment.ApprovalStatus, error) {
			yes, err := r.Ask(ctx, localrun.Question{Stage: q.Stage, Job: q.Job, Environment: q.Environment, Instructions: q.Instructions})
			if yes {
				return environment.Approved, err
			}
			return environment.Rejected, err
		},
	})
	if err != nil {
		return localrun.End{}, err
	}
	return localrun.End{Number: res.Number, Result: res.Result, Took: res.Ended.Sub(res.Started)}, nil
}

// library is where a local run finds tasks: folders of packages, which are added
// to a store of the run, and the stores of the machine.
func (p *process) library(folders []string, store string) (tasklib.Library, error) {
	data := cmp.Or(p.env("PENSTOCK_DATA"), server.DefaultData(p.env))
	library := tasks(filepath.Join(data, "tasks"), p.env("PENSTOCK_TASKS"))
	if len(folders) == 0 {
		return library, nil
	}
	own := tasklib.Store{Dir: store}
	for _, folder := range folders {
		if _, err := own.Add(folder, tasklib.AddOptions{}); err != nil {
			return nil, err
		}
	}
	return append(tasklib.Library{own}, library...), nil
}

// checkTasks says of tasks why a local run could not run them.
func (p *process) checkTasks(ctx context.Context, folders []string, refs []localrun.TaskRef) ([]error, error) {
	store, err := os.MkdirTemp("", "penstock-tasks-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(store) }()
	library, err := p.library(folders, store)
	if err != nil {
		return nil, err
	}
	list := make([]error, len(refs))
	for i, ref := range refs {
		list[i] = agent.TaskError(ctx, library, ref.Name, ref.Version)
	}
	return list, nil
}

// endAtOnce waits for a second request to end, which does not wait for anything:
// what the jobs have started is killed.
func endAtOnce(ctx context.Context, finished <-chan struct{}) {
	select {
	case <-finished:
		return
	case <-ctx.Done():
	}
	again := make(chan os.Signal, 1)
	signal.Notify(again, os.Interrupt, syscall.SIGTERM)
	select {
	case <-finished:
	case <-again:
		agent.EndAll()
		os.Exit(130)
	}
}

// tasks are the stores that an agent looks through: its own, and those of the
// machine.
func tasks(own, list string) tasklib.Library {
	stores := tasklib.Library{{Dir: own}}
	for _, dir := range filepath.SplitList(list) {
		if full, err := filepath.Abs(dir); err == nil && dir != "" {
			stores = append(stores, tasklib.Store{Dir: full})
		}
	}
	return stores
}
