package server

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"penstock.dev/penstock/internal/agent"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/outbox"
	"penstock.dev/penstock/internal/base/rootfs"
	"penstock.dev/penstock/internal/base/startstop"
	"penstock.dev/penstock/internal/domain/artifact/tree"
	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/pipeline/reference"
	"penstock.dev/penstock/internal/domain/project"
	"penstock.dev/penstock/internal/domain/repos"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/domain/serviceconnection"
	"penstock.dev/penstock/internal/domain/variablegroup"
)

// LocalOptions are what a run without a server starts from.
type LocalOptions struct {
	Tree         *Tree             // of the checkout, being taken; nil = not yet
	Root, File   string            // checkout, and the pipeline's path in it
	Folder       string            // that receives the work; it is made and stays
	Repositories map[string]string // alias or name → folder
	Parameters   map[string]any
	Variables    map[string]string
	Secrets      map[string]string     // variables, as the pipeline's settings would have them
	Groups       map[string]LocalGroup // variable groups by name
	Connections  []serviceconnection.Spec
	// StubConnections: a stub stands for any other service connection.
	StubConnections bool
	SecureFiles     map[string][]byte    // name → content
	Machines        map[string][]LocalVM // of environments, by name
	Asked           []string             // environments that wait for an approval
	Applications    []string             // files
	Pipelines       []LocalPipeline      // of pipeline resources
	Only            pipeline.Selection
	Reason          run.Reason
	Checkout        func() run.Checkout // whose it is; nil = nobody's
	Jobs            int                 // at a time
	Work            string              // the agent's folder; "" = work in Folder
	Agent           agent.Local         // what the agent does beside its work
	Sandbox         agent.Sandbox
	Tasks           agent.Library // beside the built-in ones
	NodeFolder      string        // see agent.Config
	ToolCache       string        // shared by runs
	CacheDir        string        // of Cache@2; "" = as agent.Config has it
	Version         string
	Log             *slog.Logger
	// Event hears of everything that happens, in order.
	Event func(run.Event)
	// Look sees the run whenever it may have changed; nil = nobody looks.
	Look func(*run.Detail)
	// Approve answers what the run asks a person.
	Approve func(ctx context.Context, q Question) (environment.ApprovalStatus, error)
	// Started is called when the run is queued.
	Started func(number string, changed int, plan *pipeline.Plan)
}

// LocalGroup is a variable group of a local run.
type LocalGroup struct{ Plain, Secret map[string]string }

// Question is an approval that a local run waits for.
type Question struct {
	Stage, Job   string
	Environment  string // whose check asks; "" = a step asks
	Instructions string
}

// LocalResult is how a local run ended.
type LocalResult struct {
	Number  string
	Result  run.Result
	Started time.Time
	Ended   time.Time
	Detail  *run.Detail
}

// RunLocal runs a pipeline of a working tree with the server's own orchestration
// and agent, in this process, and ends when the run has.
func RunLocal(ctx context.Context, o LocalOptions) (*LocalResult, error) {
	sweep(ctx, filepath.Join(filepath.Dir(o.Folder), "*", "data-*"))
	data, err := os.MkdirTemp(o.Folder, "data-")
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "not-writable", "the folder of the run cannot be written").At("%s", o.Folder)
	}
	defer func() { _ = os.RemoveAll(data) }()
	unlock, err := lockData(data)
	if err != nil {
		return nil, err
	}
	defer unlock()
	work := context.WithoutCancel(identity.With(ctx, identity.System())) // a cancelled run still ends in order
	l := &local{o: o, failed: make(chan error, 1), unanswered: map[string]bool{}, bares: map[string]string{}, asIs: map[string]string{}}
	if o.Tree == nil { // git works while the server opens
		o.Tree = TakeTree(work, o.Root, o.Folder, o.File)
	}
	l.tree = o.Tree.take
	defer o.Tree.Wait()
	if err := l.open(work, data); err != nil {
		return nil, err
	}
	group, agents := startstop.New(work), startstop.New(work)
	defer func() {
		close(l.stopping)
		l.pools.Wake()
		// The agent first: it waits for an answer to its last report.
		agents.Stop()
		_ = agents.Wait()
		l.haltAll(work)
		group.Stop()
		_ = l.http.Close()
		_ = group.Wait()
		_ = l.close()
	}()
	l.loops(group)
	if err := l.startAgent(work, agents); err != nil {
		return nil, err
	}
	id, err := l.queue(work)
	if err != nil {
		return nil, err
	}
	d, err := l.follow(ctx, work, id, agents.Context())
	if err != nil {
		return nil, err
	}
	return &LocalResult{Number: d.Run.Number, Result: d.Run.Result, Started: d.Run.Started, Ended: d.Run.Finished, Detail: d}, l.keep(work, d)
}

// local is a server that lives as long as one run.
type local struct {
	*Server
	o       LocalOptions
	project *project.Project
	from    run.Checkout
	failed  chan error      // the logs cannot be written
	tree    func() tookTree // of the checkout; waits for it

	unanswered map[string]bool // approvals that were asked for when the run was cancelled

	mu    sync.Mutex
	bares map[string]string // repository → its folder
	asIs  map[string]string // id of a repository given as a folder → its commit
}

// history answers for every branch and tag of a repository that was given as a
// folder with what the folder holds now.
type history struct {
	repos.History
	l *local
}

// Resolve implements repos.History.
func (h history) Resolve(ctx context.Context, repoID, revision string) (string, error) {
	h.l.mu.Lock()
	commit := h.l.asIs[repoID]
	h.l.mu.Unlock()
	if commit != "" {
		return commit, nil
	}
	return h.History.Resolve(ctx, repoID, revision)
}

// watchedLogs tells when a log cannot be written. An agent would try again for
// as long as it takes; here nobody could make that end.
type watchedLogs struct {
	run.Logs
	folder string
	failed chan<- error
}

// Append implements run.Logs.
func (w watchedLogs) Append(ctx context.Context, log string, offset int64, data []byte) (int64, int, error) {
	end, lines, err := w.Logs.Append(ctx, log, offset, data)
	var path *fs.PathError
	if errors.As(err, &path) {
		err = fault.Wrap(err, fault.Unavailable, "record-not-written", "the run was ended: its record cannot be written").At("%s", w.folder).
			Try("make room on the disk, and run it again")
		select {
		case w.failed <- err:
		default:
		}
	}
	return end, lines, err
}

func (l *local) bare(r *repos.Repository) string { return filepath.Join(l.git.Folder, r.ID+".git") }

// objects finds a repository of this run by its URL.
func (l *local) objects(url string) string {
	name, ours := strings.CutPrefix(url, l.URL()+"/"+l.cfg.Organization+"/"+l.project.Name+"/_git/")
	if !ours {
		return ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bares[strings.ToLower(name)]
}

func (l *local) open(ctx context.Context, data string) error {
	cfg, err := Load(func(string) string { return "" }, map[string]string{"data": data, "ports": "auto",
		"http.listen": "127.0.0.1:0", "gateway.http": "127.0.0.1:0", "dns.listen": "127.0.0.1:0"})
	if err != nil {
		return err
	}
	if l.Server, err = open(ctx, cfg, inMemory, l.o.Version, l.o.Log); err != nil {
		return err
	}
	l.runs.Logs = watchedLogs{l.runs.Logs, l.o.Folder, l.failed}
	l.git.Scratch, l.git.Folder = true, gitFolder(l.o.Folder) // it goes with the work folder, whose checkouts read it
	l.repos.History = history{l.repos.History, l}
	// What a job pushes stays in the run, and starts nothing.
	l.identity.JobsWrite = true
	l.outbox.Handle(repos.TopicPushed, func(context.Context, outbox.Message) error { return nil })
	l.connections.Remedy = "serviceConnections: in penstock.local.yml"
	l.runs.StubConnections = l.o.StubConnections
	l.runs.OnePool, l.Server.environments.OnePerson = "default", true
	if err := l.listenFor(ctx); err != nil {
		return err
	}
	if err := l.start(ctx); err != nil {
		return err
	}
	l.from = run.CheckoutOf(l.o.Root, "", "", "")
	if l.o.Checkout != nil {
		l.from = l.o.Checkout()
	}
	l.project, err = l.projects.Create(ctx, l.from.Project, "")
	return err
}

// listenFor opens what the run needs: the gateway and DNS only for applications.
func (l *local) listenFor(ctx context.Context) error {
	if len(l.o.Applications) == 0 {
		return l.listenHTTP()
	}
	_, err := l.listen(ctx)
	return err
}

func (l *local) startAgent(ctx context.Context, group *startstop.Group) error {
	if _, err := l.pools.EnsurePool(ctx, "default"); err != nil {
		return err
	}
	token, _, err := l.identity.IssueToken(ctx, identity.Token{Kind: identity.JoinToken, Pool: "default"})
	if err != nil {
		return err
	}
	work := cmp.Or(l.o.Work, filepath.Join(l.o.Folder, "work"))
	if err := os.Remove(filepath.Join(work, "agent.json")); err != nil && !os.IsNotExist(err) { // of an earlier run
		return err
	}
	watched := l.o.Agent
	watched.Objects = l.objects
	group.Go("agent", func(ctx context.Context) error {
		return agent.Run(ctx, agent.Config{Server: l.URL(), Organization: l.cfg.Organization, Name: "local", Folder: work, Scratch: true, Local: watched, Sandbox: l.o.Sandbox,
			JoinToken: token, Jobs: l.o.Jobs, Version: l.o.Version, Log: l.o.Log, Tasks: l.o.Tasks, NodeFolder: l.o.NodeFolder, ToolCache: l.o.ToolCache, CacheDir: l.o.CacheDir})
	})
	return nil
}

// queue puts the working tree into a repository and queues the run of it.
func (l *local) queue(ctx context.Context) (string, error) {
	repo, taken, err := l.self(ctx)
	if err != nil {
		return "", err
	}
	branch, commit := taken.branch, taken.commit
	for name, folder := range l.o.Repositories {
		if err := l.other(ctx, name[strings.LastIndex(name, "/")+1:], folder); err != nil {
			return "", err
		}
	}
	if err := l.groupsOf(ctx); err != nil {
		return "", err
	}
	if err := l.pipelinesOf(ctx, repo, branch, commit); err != nil {
		return "", err
	}
	settings, given := l.variables()
	p, err := l.runs.CreatePipeline(ctx, l.project.ID, run.FilesName(l.o.Root, l.o.File), repo, l.o.File, settings)
	if err != nil {
		return "", err
	}
	if len(l.o.Secrets) > 0 {
		if _, err := l.Server.groups.Put(ctx, &variablegroup.Group{ProjectID: l.project.ID, Name: secretSettings}, l.o.Secrets); err != nil {
			return "", err
		}
		p.Groups = []string{secretSettings}
		if err := l.runs.Pipelines.Save(ctx, p); err != nil {
			return "", err
		}
	}
	q := l.from.Request("refs/heads/"+branch, commit, l.o.Reason)
	q.Pipeline, q.Parameters, q.Variables, q.Only, q.Strict = p, l.o.Parameters, given, l.o.Only, true
	if err := l.environmentsOf(ctx, q); err != nil {
		return "", err
	}
	r, err := l.runs.QueueRun(ctx, q)
	if err != nil {
		return "", err
	}
	d, err := l.runs.Load(ctx, r.ID)
	if err != nil {
		return "", err
	}
	if l.o.Started != nil {
		l.o.Started(d.Run.Number, taken.changed, d.Plan)
	}
	return r.ID, nil
}

// secretSettings is the group in which secrets of the pipeline's settings stand.
const secretSettings = "secrets of the settings"

// variables tells what stands for the settings of the pipeline, which steps may
// set, from what takes the place of predefined variables.
func (l *local) variables() (settings, given map[string]string) {
	settings, given = map[string]string{}, map[string]string{}
	for name, value := range l.o.Variables {
		if run.Predefined(name) {
			given[name] = value
		} else {
			settings[name] = value
		}
	}
	return settings, given
}

func (l *local) groupsOf(ctx context.Context) error {
	for _, spec := range l.o.Connections {
		if _, err := l.connections.Create(ctx, l.project.ID, spec); err != nil {
			return err
		}
	}
	for name, content := range l.o.SecureFiles {
		if _, err := l.secureFiles.Upload(ctx, l.project.ID, name, content); err != nil {
			return err
		}
	}
	for name, g := range l.o.Groups {
		if _, err := l.Server.groups.Put(ctx, &variablegroup.Group{ProjectID: l.project.ID, Name: name, Variables: g.Plain}, g.Secret); err != nil {
			return err
		}
	}
	return nil
}

// environmentsOf makes the environments that the pipeline names, and their VMs.
func (l *local) environmentsOf(ctx context.Context, q run.QueueRequest) error {
	plan, err := l.runs.Plan(ctx, q)
	if err != nil {
		return err
	}
	if err := l.applicationsOf(ctx); err != nil {
		return err
	}
	if err := l.ask(ctx); err != nil {
		return err
	}
	made := map[string]bool{}
	for _, r := range reference.Of(plan) {
		name := strings.ToLower(r.Name)
		if r.Kind != reference.Environment || made[name] || strings.Contains(name, "$(") {
			continue
		}
		made[name] = true
		env, err := l.environment(ctx, r.Name)
		if err != nil {
			return err
		}
		if err := l.machinesOf(ctx, plan, env); err != nil {
			return err
		}
	}
	return l.joined(ctx)
}

// follow reports what happens until the run has ended. When ctx ends, the run
// is cancelled: its always() steps still run.
func (l *local) follow(ctx, work context.Context, id string, agents context.Context) (*run.Detail, error) {
	sub := l.hub.Subscribe("runs", "run/"+id, "approvals", "logs/"+id)
	defer sub.Close()
	tick := time.NewTicker(50 * time.Millisecond) // log lines come without a signal
	defer tick.Stop()
	always := make(chan time.Time)
	close(always)
	follower := &run.Follower{Logs: l.runs.Logs}
	cancelled := ctx.Done()
	for {
		d, err := l.runs.Load(work, id)
		if err != nil {
			return nil, err
		}
		events, err := follower.Next(work, d)
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			l.o.Event(e)
		}
		if l.o.Look != nil {
			l.o.Look(d)
		}
		if d.Run.State == run.Completed && !follower.Behind() {
			return d, nil
		}
		if err := l.answer(ctx, work, d); err != nil {
			return nil, err
		}
		ready := tick.C
		if follower.Behind() {
			ready = always
		}
		select {
		case <-sub.C:
		case <-ready:
		case <-agents.Done():
			return nil, context.Cause(agents)
		case err := <-l.failed:
			return nil, err
		case <-cancelled:
			cancelled = nil
			if _, err := l.runs.Cancel(work, id); err != nil && !fault.Is(err, fault.Conflict) {
				return nil, err
			}
		}
	}
}

// answer asks the person what the run asks. When ctx ends meanwhile, the question
// stays open: the run is cancelled, and what is asked after that is another one.
func (l *local) answer(ctx, work context.Context, d *run.Detail) error {
	open, err := l.Server.environments.OfRun(work, d.Run.ID)
	if err != nil {
		return err
	}
	for _, a := range open {
		if a.Status != environment.Pending || l.unanswered[a.ID] {
			continue
		}
		q := Question{Stage: a.Stage, Environment: a.Environment, Instructions: a.Instructions}
		if a.JobID != "" {
			known := slices.IndexFunc(d.Jobs, func(j *run.Job) bool { return j.ID == a.JobID })
			if known < 0 {
				continue // it began after the run was read, and is there at the next look
			}
			q.Job = d.Jobs[known].Phase
		}
		asking := ctx
		if ctx.Err() != nil {
			asking = work
		}
		status, err := l.o.Approve(asking, q)
		if err != nil && asking.Err() != nil {
			l.unanswered[a.ID] = true
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := l.Server.environments.Decide(identity.With(work, identity.Subject{Kind: identity.UserKind, ID: "local", Name: "you"}), a.ID, status, "answered on the terminal"); err != nil {
			return err
		}
	}
	return nil
}

// keep writes what the run published into the folder of the run.
func (l *local) keep(ctx context.Context, d *run.Detail) error {
	list, err := l.artifacts.Of(ctx, d.Run.ID)
	if err != nil {
		return err
	}
	for _, a := range list {
		q := tree.Request{Digest: a.Digest, Folder: filepath.Join(l.o.Folder, "artifacts", fileName(a.Name)), Limits: rootfs.DefaultLimits}
		if _, err := (tree.Transfer{}).Fetch(ctx, q, l.artifacts.Source(a)); err != nil {
			return err
		}
	}
	return l.keepOutcomes(ctx, d)
}
