package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/edge/language"
	"penstock.dev/penstock/internal/edge/localrun"
	"penstock.dev/penstock/internal/edge/runview"
)

// localFlags are those of run FILE.
type localFlags struct {
	compileFlags
	event, local    string
	secrets         []string
	approve, reject []string
	list, dryRun    bool
	only            pipeline.Selection
	keep, inPlace   bool
	sandbox         bool
	watch, remote   bool
	pipeline        string
	breakOn         string
	skipMissing     bool
	installed       bool
	jobs            int

	again *localrun.Again // a recorded step that is repeated; nil = none
}

func isPipelineFile(arg string) bool {
	return strings.HasSuffix(arg, ".yml") || strings.HasSuffix(arg, ".yaml") || strings.Contains(arg, "/")
}

// asLocal lets the noun run a file: `run list` stays the server's.
func (c *cli) asLocal(cmd *cobra.Command) *cobra.Command {
	o := &localFlags{}
	cmd.Use = "run [FILE]"
	cmd.Short = "Runs a pipeline here, without a server; or shows runs of the server."
	cmd.Example = indent("penstock run\npenstock run pipelines/ci.yml --param env=prod\npenstock run ci.yml --approve production -o json\npenstock run --watch --job build\npenstock run --break-on failure\npenstock run --sandbox\n") + strings.TrimLeft(cmd.Example, " ")
	o.register(cmd)
	f := cmd.Flags()
	f.StringVar(&o.event, "event", "", "`what` starts the run: push, pr or schedule (default: a person)")
	f.StringVar(&o.local, "local", "", "the `file` instead of penstock.local.yml")
	f.StringArrayVar(&o.secrets, "secret", nil, "`NAME=FILE` of a secret; NAME alone takes the environment variable")
	f.StringArrayVar(&o.approve, "approve", nil, "`environment`, stage, job or all: go on without asking")
	f.StringArrayVar(&o.reject, "reject", nil, "`environment`, stage, job or all: say no without asking")
	f.StringArrayVar(&o.only.Stages, "stage", nil, "only this `stage`; may be repeated")
	f.StringArrayVar(&o.only.Jobs, "job", nil, "only this job, as `[stage.]job`; may be repeated")
	f.StringArrayVar(&o.only.Steps, "step", nil, "only this `step`: a name, as written, shown or given by the service (Bash, Bash1), HOOK.NAME in a deployment; may be repeated")
	f.StringArrayVar(&o.only.Skip, "skip-stage", nil, "all but this `stage`; may be repeated")
	f.BoolVar(&o.list, "list", false, "list stages and jobs, and run nothing")
	f.BoolVar(&o.dryRun, "dry-run", false, "check everything that the run needs, and run nothing")
	f.BoolVar(&o.skipMissing, "skip-missing", false, "go on without groups, connections, secure files and tasks that are not here: their steps are skipped")
	f.BoolVar(&o.installed, "installed-tools", false, "let an installed version stand in for one that a step asks for and that cannot be had")
	f.BoolVar(&o.keep, "keep", false, "keep the work folder")
	f.BoolVar(&o.inPlace, "in-place", false, "work in the checkout itself, not in a copy")
	f.BoolVar(&o.sandbox, "sandbox", false, "close every job in: no files but its copy, no network but the internet (Linux)")
	f.BoolVar(&o.watch, "watch", false, "run again whenever a file changes")
	f.BoolVar(&o.remote, "remote", false, "send the working tree to the server and run it on its agents")
	f.StringVar(&o.pipeline, "pipeline", "", "with --remote: the `name` of the pipeline there (default: the one of this file)")
	f.StringVar(&o.breakOn, "break-on", "", "open a shell at a `failure`, or before the step of this name")
	f.IntVarP(&o.jobs, "jobs", "j", 0, "jobs at a time (default 4)")
	inner := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 1 && isPipelineFile(args[0]):
			return c.runFile(cmd.Context(), o, args[0])
		case len(args) == 0:
			file := localrun.UsualFile(c.path("."))
			if file == "" {
				return c.noPipeline(errors.New("no azure-pipelines.yml here, nor above up to the top of the checkout"))
			}
			return c.runFile(cmd.Context(), o, file)
		}
		return inner(cmd, args)
	}
	return cmd
}

// noPipeline is the error of who names no pipeline, with those that are near.
func (c *cli) noPipeline(err error) *fault.Error {
	e := fault.Wrap(err, fault.Invalid, "file-unreadable", "there is no pipeline file here").Try("penstock run FILE; without FILE it is azure-pipelines.yml")
	near := localrun.Candidates(c.path("."))
	if len(near) == 1 {
		e = e.Try("penstock run %s", near[0])
	}
	return e.Got("%s", strings.Join(near, ", "))
}

func (c *cli) runFile(ctx context.Context, o *localFlags, file string) error {
	if _, err := os.Stat(c.path(file)); err != nil {
		return c.noPipeline(err).At("%s", file)
	}
	w, err := c.workspace(&o.compileFlags)
	if err != nil {
		return err
	}
	root, rel, err := w.Locate(file)
	if err != nil {
		return err
	}
	w.Cache = filepath.Join(root, ".penstock", "cache", "templates")
	if o.remote {
		return c.runRemote(ctx, o, root, rel)
	}
	if o.again != nil {
		w.Variables = o.again.Record.Variables
		w.Parameters, err = localrun.Texts(o.again.Record.Parameters)
		if err != nil {
			return err
		}
	}
	once := func(ctx context.Context) error {
		local, err := language.ReadLocalFile(root, rel, c.pathOr(o.local))
		if err != nil {
			return err
		}
		local.Vault = c.vaultOf
		if o.list {
			_, plan, err := c.compiled(ctx, o, w, local, root, rel)
			if err != nil {
				return err
			}
			return c.listJobs(plan, false)
		}
		if o.dryRun {
			_, plan, err := c.prepare(ctx, o, w, local, root, rel)
			if err != nil {
				return err
			}
			return c.listJobs(plan, true)
		}
		begun, err := localrun.Begin(ctx, root, rel, c.TakeTree)
		if err != nil {
			return err
		}
		defer begun.End()
		job, plan, err := c.prepare(ctx, o, w, local, root, rel)
		if err != nil {
			return err
		}
		return c.execute(ctx, o, job, local, plan, begun)
	}
	if o.watch && !o.list && !o.dryRun {
		return c.watchFiles(ctx, root, once)
	}
	return once(ctx)
}

// watchFiles runs again and again: a change ends the run that is under way.
func (c *cli) watchFiles(ctx context.Context, root string, once func(context.Context) error) error {
	w, err := localrun.Watch(root)
	if err != nil {
		return err
	}
	defer w.Close()
	for {
		running, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- once(running) }()
		changed := make(chan string, 1)
		go func() { changed <- w.Next(ctx) }()
		var file string
		select {
		case file = <-changed:
			stop()
			err = <-ended
		case err = <-ended:
			if errors.Is(err, errUnread) {
				break
			}
			if err != nil {
				c.report(ctx, err)
			}
			if ctx.Err() == nil {
				c.say("Waiting for a change below %s; Ctrl-C ends this.", root)
			}
			file = <-changed
		}
		stop()
		if ctx.Err() != nil || errors.Is(err, errUnread) {
			return err
		}
		c.say("\n%s has changed.", printable(file))
	}
}

func (c *cli) pathOr(name string) string {
	if name == "" {
		return ""
	}
	return c.path(name)
}

// compiled is what the run would be, without a look at what it needs.
func (c *cli) compiled(ctx context.Context, o *localFlags, w language.Workspace, local *language.LocalFile, root, rel string) (*localrun.Request, *pipeline.Plan, error) {
	for alias, folder := range local.Repositories {
		if w.Repos[alias] == "" {
			w.Repos[alias] = local.Path(folder)
		}
	}
	if _, known := localrun.Reasons[o.event]; !known {
		return nil, nil, usage("there is no event %s", o.event).Want("push, pr or schedule")
	}
	job := &localrun.Request{Root: root, File: rel, Checkout: localrun.Look(ctx, root, o.event), Parameters: w.Input(rel).Parameters, Variables: map[string]string{}, Only: o.only, Event: o.event, Jobs: o.jobs, Keep: o.keep,
		Plain: map[string]map[string]string{}, Secret: map[string]map[string]string{}, SecureFiles: map[string][]byte{}}
	for name, v := range local.Variables {
		if v.Secret == "" {
			job.Variables[name] = v.Text
		}
	}
	maps.Copy(job.Variables, w.Variables)
	w.Variables = job.Visible(ctx)
	plan, diags, err := w.Compile(ctx, filepath.Join(root, rel))
	if err != nil {
		return nil, nil, err
	}
	if plan == nil {
		c.printFindings(diags)
		return nil, nil, exitCode(2)
	}
	return job, plan, plan.Select(o.only)
}

// prepare compiles the file and collects what the run needs from outside. What
// is missing is said at once, before anything starts.
func (c *cli) prepare(ctx context.Context, o *localFlags, w language.Workspace, local *language.LocalFile, root, rel string) (*localrun.Request, *pipeline.Plan, error) {
	job, plan, err := c.compiled(ctx, o, w, local, root, rel)
	if err != nil {
		return nil, nil, err
	}
	if job.Repositories, err = c.foldersOf(ctx, w, plan, root); err != nil {
		return nil, nil, err
	}
	if o.installed {
		job.Variables["Penstock.InstalledTools"] = "true"
	}
	sources := map[string]language.SecretSource{}
	for _, secret := range o.secrets {
		name, file, given := strings.Cut(secret, "=")
		sources[name] = language.SecretSource{Env: name}
		if given {
			sources[name] = language.SecretSource{File: c.path(file)}
		}
	}
	if err := job.Resources(plan, local); err != nil {
		return nil, nil, err
	}
	elsewhere := job.Systems(plan, local, runtime.GOOS)
	if err := plan.Select(pipeline.Selection{Spare: job.Only.Spare, Legs: job.Only.Legs}); err != nil {
		return nil, nil, err
	}
	m, err := job.Outside(ctx, plan, local, sources, c.Env)
	if err != nil {
		return nil, nil, err
	}
	if err := job.NoTasks(ctx, plan, c.CheckTasks, m); err != nil {
		return nil, nil, err
	}
	if o.skipMissing {
		for _, line := range job.SkipMissing(m) {
			c.say("warning: %s; the run goes on without", printable(line))
		}
	}
	if err := m.Err(); err != nil {
		return nil, nil, err
	}
	job.Asked = o.answers(local).Asked(plan)
	c.questions(o, local, plan)
	for _, line := range job.Notes(ctx, plan, elsewhere, c.CheckEngine) {
		c.say("%s", printable(line))
	}
	return job, plan, nil
}

// foldersOf are the folders of the plan's other repositories, by name.
func (c *cli) foldersOf(ctx context.Context, w language.Workspace, plan *pipeline.Plan, root string) (map[string]string, error) {
	if err := w.BringChecked(ctx, plan, root); err != nil {
		return nil, err
	}
	folders := map[string]string{}
	for _, r := range plan.Resources.Repositories {
		for _, key := range []string{r.Alias, r.Name} {
			if folder := w.Repos[key]; folder != "" {
				full, err := filepath.Abs(c.path(folder))
				if err != nil {
					return nil, err
				}
				folders[r.Name] = full
			}
		}
	}
	return folders, nil
}

func (c *cli) listJobs(plan *pipeline.Plan, checked bool) error {
	if c.flags.output == "json" || c.flags.output == "yaml" {
		return c.outValue(plan.Stages)
	}
	text := localrun.List(plan)
	if checked {
		text += "Nothing that a run is given is missing. What its steps call shows when they run. Nothing was run.\n"
	}
	return c.out(text)
}

// execute runs and keeps a record below .penstock.
func (c *cli) execute(ctx context.Context, o *localFlags, job *localrun.Request, local *language.LocalFile, plan *pipeline.Plan, begun *localrun.Begun) error {
	begun.Use(job)
	folder := begun.Folder
	view := &runview.View{Out: c.Stdout, JSON: c.flags.output == "json", Quiet: c.flags.quiet, Mark: c.resultMark, All: c.flags.verbose, Folder: folder}
	job.OnEvent = view.Event
	screen := c.screen()
	if screen != nil {
		view.Out = io.Discard
		job.OnEvent = func(e run.Event) { view.Event(e); screen.Event(e) }
		job.OnLook = screen.Look
	}
	job.OnStart = func(name string, changed int, _ *pipeline.Plan) {
		c.say("%s %s · %s · record in %s", printable(filepath.Base(job.File)), printable(name), o.tree(changed), localrun.Relative(c.path("."), folder))
	}
	job.Ask = func(ctx context.Context, q localrun.Question) (bool, error) {
		if screen != nil {
			defer screen.Below()
		}
		return c.answerLocally(ctx, o.answers(local), plan, q)
	}
	ctx, quit := context.WithCancel(ctx)
	defer quit()
	view.Lost = quit
	defer localrun.Alone(quit)()
	if err := c.observe(o, job, screen, quit); err != nil {
		begun.Drop()
		return err
	}
	debug.SetMemoryLimit(math.MaxInt64) // that was for the compiler
	end, err := c.RunLocal(ctx, *job)
	if err = errors.Join(err, view.Close()); err != nil {
		return err
	}
	record := localrun.Record{Run: "local:" + strconv.Itoa(begun.Number), Number: end.Number, Result: end.Result, Seconds: end.Took.Seconds(), File: job.File,
		Event: job.Event, Parameters: job.Parameters, Variables: job.Variables, SkipMissing: o.skipMissing}
	if err := localrun.Keep(folder, record, plan); err != nil {
		return err
	}
	failed := end.Result != run.Succeeded && end.Result != run.SucceededWithIssues
	if !o.keep && !failed {
		_ = os.RemoveAll(filepath.Join(folder, "work"))
	}
	c.sayEnd(end, view.Warned(), filepath.Join(folder, "logs"))
	switch {
	case view.Unread():
		return errUnread
	case failed:
		return exitCode(1)
	}
	return nil
}

// errUnread ends a run that nobody reads any more.
var errUnread = fmt.Errorf("nobody reads the output: %w", exitCode(1))

// sayEnd is the last line of a run: its result, how many of its steps warned, and
// where the logs are.
func (c *cli) sayEnd(end localrun.End, warned int, logs string) {
	warnings := ""
	if warned > 0 {
		warnings = " · warnings in " + count(warned, "step")
	}
	c.say("%s %s in %.1f s%s · logs in %s", c.resultMark(end.Result), end.Result, end.Took.Seconds(), warnings, localrun.Relative(c.path("."), logs))
}

// tree says what the run works on; changed is how many files differ from the
// last commit, below 0 where there is none.
func (o *localFlags) tree(changed int) string {
	switch {
	case o.again != nil && o.again.Work != "":
		return "work folder of " + o.again.Record.Run
	case o.inPlace:
		return "in the checkout itself"
	case changed > 0:
		return "working tree with " + count(changed, "changed file")
	case changed < 0:
		return "folder as it is, nothing committed"
	}
	return "working tree as committed"
}

// observe says how the run is looked at: which steps are recorded, where a
// person may stop it, and what an earlier run gives.
func (c *cli) observe(o *localFlags, job *localrun.Request, screen *runview.Screen, quit func()) error {
	if o.sandbox && (o.inPlace || o.breakOn != "" || o.again != nil) {
		return usage("--sandbox keeps everybody out of the job").Want("neither --in-place nor --break-on beside it")
	}
	job.InPlace, job.Sandbox = o.inPlace, o.sandbox
	job.Record = func(s run.RecordedStep) {
		if err := localrun.KeepStep(job.Folder, s); err != nil {
			c.say("warning: a step could not be recorded: %v", err)
		}
	}
	if a := o.again; a != nil {
		job.Replay, job.Work = a.Step, a.Work
		if a.Work == "" {
			c.say("%s left no work folder: the step works on the working tree as it is now.", a.Record.Run)
		}
	}
	if o.breakOn == "" {
		return nil
	}
	var terminal sync.Mutex
	shell := &localrun.Shell{When: o.breakOn, Out: c.Stdout, Say: c.say, Folder: job.Folder, InPlace: o.inPlace, Quit: quit, Only: &terminal}
	if f, ok := c.Stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		shell.Tty = f
	}
	if err := shell.Check(); err != nil {
		return err
	}
	// While the shell has the terminal the run's own lines wait.
	event, look, ask := job.OnEvent, job.OnLook, job.Ask
	job.OnEvent = func(e run.Event) { terminal.Lock(); defer terminal.Unlock(); event(e) }
	if look != nil {
		job.OnLook = func(d *run.Detail) { terminal.Lock(); defer terminal.Unlock(); look(d) }
	}
	job.Ask = func(ctx context.Context, q localrun.Question) (bool, error) {
		terminal.Lock()
		defer terminal.Unlock()
		return ask(ctx, q)
	}
	job.Break = func(ctx context.Context, at *run.Stop) run.Decision {
		decision := shell.Stop(ctx, at)
		if screen != nil {
			terminal.Lock()
			screen.Below()
			terminal.Unlock()
		}
		return decision
	}
	return nil
}

// screen is the live view, where there is a terminal for it.
func (c *cli) screen() *runview.Screen {
	f, ok := c.Stdout.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || !c.unicode() || c.flags.output != "" && c.flags.output != "table" || c.flags.quiet || c.Env("TERM") == "dumb" {
		return nil
	}
	return &runview.Screen{Out: f, Plain: c.Env("NO_COLOR") != "", Now: c.Now, Size: func() (int, int) {
		columns, rows, err := term.GetSize(int(f.Fd()))
		if err != nil || columns < 20 || rows < 5 {
			return 80, 24
		}
		return columns, rows
	}}
}

func (c *cli) resultMark(r run.Result) string { return c.markOf("completed", string(r)) }
