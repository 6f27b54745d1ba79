package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rootfs"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/pipeline/reference"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/edge/language"
	"penstock.dev/penstock/internal/edge/runview"
)

// LocalRun is what `penstock run FILE` asks of the process.
type LocalRun struct {
	Root, File, Folder string
	Repositories       map[string]string
	Parameters         map[string]any
	Variables          map[string]string
	Plain, Secret      map[string]map[string]string // variable groups: group → name → value
	Only               pipeline.Selection
	Event              string // push, pr, schedule or "" for a person
	Jobs               int
	OnLook             func(*run.Detail) // nil = nobody looks
	OnEvent            func(run.Event)
	OnStart            func(number string, changed int, plan *pipeline.Plan)
	// Ask decides an approval: true lets the run go on.
	Ask func(ctx context.Context, stage, job, instructions string) (bool, error)
}

// LocalEnd is how it ended.
type LocalEnd struct {
	Number string
	Result run.Result
	Took   time.Duration
}

// localFlags are those of run FILE.
type localFlags struct {
	compileFlags
	event, local    string
	secrets         []string
	approve, reject []string
	list, dryRun    bool
	only            pipeline.Selection
	keep            bool
	jobs            int
}

func isPipelineFile(arg string) bool {
	return strings.HasSuffix(arg, ".yml") || strings.HasSuffix(arg, ".yaml") || strings.Contains(arg, "/")
}

// asLocal lets the noun run a file: `run list` stays the server's.
func (c *cli) asLocal(cmd *cobra.Command) *cobra.Command {
	o := &localFlags{}
	cmd.Use = "run [FILE]"
	cmd.Short = "Runs a pipeline here, without a server; or shows runs of the server."
	cmd.Example = indent("penstock run\npenstock run pipelines/ci.yml --param env=prod\npenstock run ci.yml --approve production -o json\n") + cmd.Example
	o.register(cmd)
	f := cmd.Flags()
	f.StringVar(&o.event, "event", "", "what starts the run: `push`, pr or schedule (default: a person)")
	f.StringVar(&o.local, "local", "", "the `file` instead of penstock.local.yml")
	f.StringArrayVar(&o.secrets, "secret", nil, "`NAME=FILE` of a secret; NAME alone takes the environment variable")
	f.StringArrayVar(&o.approve, "approve", nil, "`environment`, stage or all: go on without asking")
	f.StringArrayVar(&o.reject, "reject", nil, "`environment`, stage or all: say no without asking")
	f.StringArrayVar(&o.only.Stages, "stage", nil, "only this `stage`; may be repeated")
	f.StringArrayVar(&o.only.Jobs, "job", nil, "only this job, as `[stage.]job`; may be repeated")
	f.StringArrayVar(&o.only.Steps, "step", nil, "only this `step`, by name or display name; may be repeated")
	f.StringArrayVar(&o.only.Skip, "skip-stage", nil, "all but this `stage`; may be repeated")
	f.BoolVar(&o.list, "list", false, "list stages and jobs, and run nothing")
	f.BoolVar(&o.dryRun, "dry-run", false, "check everything that the run needs, and run nothing")
	f.BoolVar(&o.keep, "keep", false, "keep the work folder")
	f.IntVarP(&o.jobs, "jobs", "j", 4, "jobs at a time")
	inner := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 1 && isPipelineFile(args[0]):
			return c.runFile(cmd.Context(), o, args[0])
		case len(args) == 0:
			if _, err := os.Stat(c.path("azure-pipelines.yml")); err == nil {
				return c.runFile(cmd.Context(), o, "azure-pipelines.yml")
			}
		}
		return inner(cmd, args)
	}
	return cmd
}

func (c *cli) runFile(ctx context.Context, o *localFlags, file string) error {
	if _, err := os.Stat(c.path(file)); err != nil {
		return fault.Wrap(err, fault.Invalid, "file-unreadable", "there is no pipeline file here").At("%s", file).Try("penstock run FILE; without FILE it is azure-pipelines.yml")
	}
	w, err := c.workspace(&o.compileFlags)
	if err != nil {
		return err
	}
	root, rel, err := w.Locate(ctx, file)
	if err != nil {
		return err
	}
	local, err := language.ReadLocalFile(root, rel, c.pathOr(o.local))
	if err != nil {
		return err
	}
	job, plan, err := c.prepare(ctx, o, w, local, root, rel)
	if err != nil {
		return err
	}
	if o.list || o.dryRun {
		return c.listJobs(plan, o.dryRun)
	}
	return c.execute(ctx, o, job, local, plan)
}

func (c *cli) pathOr(name string) string {
	if name == "" {
		return ""
	}
	return c.path(name)
}

// prepare compiles the file and collects what the run needs from outside. What
// is missing is said at once, before anything starts.
func (c *cli) prepare(ctx context.Context, o *localFlags, w language.Workspace, local *language.LocalFile, root, rel string) (*LocalRun, *pipeline.Plan, error) {
	for alias, folder := range local.Repositories {
		if w.Repos[alias] == "" {
			w.Repos[alias] = local.Path(folder)
		}
	}
	plan, diags, err := w.Compile(ctx, filepath.Join(root, rel))
	if err != nil {
		return nil, nil, err
	}
	if plan == nil {
		c.printFindings(diags)
		return nil, nil, exitCode(2)
	}
	if err := plan.Select(o.only); err != nil {
		return nil, nil, err
	}
	switch o.event {
	case "", "push", "pr", "schedule":
	default:
		return nil, nil, usage("there is no event %s", o.event).Want("push, pr or schedule")
	}
	job := &LocalRun{Root: root, File: rel, Parameters: w.Input(rel).Parameters, Variables: map[string]string{}, Only: o.only, Event: o.event, Jobs: o.jobs,
		Repositories: map[string]string{}, Plain: map[string]map[string]string{}, Secret: map[string]map[string]string{}}
	for _, r := range plan.Resources.Repositories {
		for _, key := range []string{r.Alias, r.Name} {
			if folder := w.Repos[key]; folder != "" {
				job.Repositories[r.Name] = c.path(folder)
			}
		}
	}
	for _, values := range []map[string]string{local.Variables, w.Variables} {
		for name, value := range values {
			job.Variables[name] = value
		}
	}
	for _, s := range plan.Stages {
		for _, j := range s.Jobs {
			if len(j.Pool.Demands) > 0 {
				c.say("warning: job %s demands %s; a local run does not check that", j.Name, strings.Join(j.Pool.Demands, ", "))
			}
		}
	}
	return job, plan, c.localGroups(ctx, o, job, local, plan)
}

// localGroups gives every variable group of the plan its values.
func (c *cli) localGroups(ctx context.Context, o *localFlags, job *LocalRun, local *language.LocalFile, plan *pipeline.Plan) error {
	sources := map[string]language.SecretSource{}
	for name, s := range local.Secrets {
		sources[name] = s
	}
	for _, s := range o.secrets {
		name, file, given := strings.Cut(s, "=")
		sources[name] = language.SecretSource{Env: name}
		if given {
			sources[name] = language.SecretSource{File: c.path(file)}
		}
	}
	var missing []string
	for _, r := range reference.Of(plan) {
		if r.Kind != reference.VariableGroup || job.Plain[r.Name] != nil {
			continue
		}
		group, known := local.VariableGroups[r.Name]
		if !known { // one that the file does not name holds the given secrets that are used
			group = usedSecrets(plan, sources)
			known = len(group) > 0
		}
		if !known {
			missing = append(missing, fmt.Sprintf("%s:%d:%d: variable group %s has no values", r.Origin.File, r.Origin.Line, r.Origin.Column, r.Name))
			continue
		}
		job.Plain[r.Name], job.Secret[r.Name] = map[string]string{}, map[string]string{}
		for name, v := range group {
			if v.Secret == "" {
				job.Plain[r.Name][name] = v.Text
				continue
			}
			value, ok, err := local.Value(ctx, sources[v.Secret], c.Env)
			if err != nil {
				return err
			}
			if !ok {
				missing = append(missing, fmt.Sprintf("%s:%d:%d: variable group %s has no value for %s", r.Origin.File, r.Origin.Line, r.Origin.Column, r.Name, name))
			}
			job.Secret[r.Name][name] = value
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return fault.New(fault.Invalid, "secret-not-given", "%s", strings.Join(missing, "\n")).Want("values in penstock.local.yml; secrets from a file, an environment variable or a stub").
		Try("variableGroups: { NAME: { key: value, KEY: { secret: KEY } } } and secrets: { KEY: { env: KEY } }, or --secret KEY=FILE")
}

// usedSecrets are those that the plan mentions as variables.
func usedSecrets(plan *pipeline.Plan, sources map[string]language.SecretSource) map[string]language.GroupValue {
	text, err := json.Marshal(plan)
	if err != nil {
		return nil
	}
	low := strings.ToLower(string(text))
	group := map[string]language.GroupValue{}
	for name := range sources {
		n := strings.ToLower(name)
		if strings.Contains(low, "$("+n+")") || strings.Contains(low, "variables."+n) || strings.Contains(low, "variables['"+n+"']") {
			group[name] = language.GroupValue{Secret: name}
		}
	}
	return group
}

func (c *cli) listJobs(plan *pipeline.Plan, checked bool) error {
	if c.flags.output == "json" || c.flags.output == "yaml" {
		return c.outValue(plan.Stages)
	}
	var b strings.Builder
	for _, s := range plan.Stages {
		fmt.Fprintf(&b, "%s%s\n", s.Name, after(s.DependsOn))
		for _, j := range s.Jobs {
			fmt.Fprintf(&b, "  %s%s  %s\n", j.Name, after(j.DependsOn), count(len(j.Steps), "step"))
		}
	}
	if checked {
		b.WriteString("Everything that the run needs is there. Nothing was run.\n")
	}
	return c.out(b.String())
}

func after(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "  after " + strings.Join(names, ", ")
}

// execute runs and keeps a record below .penstock.
func (c *cli) execute(ctx context.Context, o *localFlags, job *LocalRun, local *language.LocalFile, plan *pipeline.Plan) error {
	folder, number, err := newRunFolder(job.Root)
	if err != nil {
		return err
	}
	job.Folder = folder
	view := &runview.View{Out: c.Stdout, JSON: c.flags.output == "json", Quiet: c.flags.quiet, Mark: c.resultMark, Now: c.Now, Folder: folder}
	job.OnEvent = view.Event
	screen := c.screen()
	if screen != nil {
		view.Out = io.Discard
		job.OnEvent = func(e run.Event) { view.Event(e); screen.Event(e) }
		job.OnLook = screen.Look
	}
	job.OnStart = func(name string, changed int, _ *pipeline.Plan) {
		tree := "working tree as committed"
		switch {
		case changed > 0:
			tree = "working tree with " + count(changed, "changed file")
		case changed < 0:
			tree = "folder as it is, nothing committed"
		}
		c.say("%s %s · %s · record in %s", printable(filepath.Base(job.File)), printable(name), tree, relative(c.path("."), folder))
	}
	job.Ask = func(ctx context.Context, stage, jobName, instructions string) (bool, error) {
		if screen != nil {
			defer screen.Below()
		}
		return c.answerLocally(ctx, o, local, plan, stage, jobName, instructions)
	}
	end, err := c.RunLocal(ctx, *job)
	if err = errors.Join(err, view.Close()); err != nil {
		return err
	}
	record := map[string]any{"run": "local:" + strconv.Itoa(number), "number": end.Number, "result": end.Result, "seconds": end.Took.Seconds(), "file": job.File, "parameters": job.Parameters, "variables": job.Variables}
	if data, err := json.MarshalIndent(record, "", "  "); err == nil {
		_ = rootfs.WriteFile(filepath.Join(folder, "run.json"), append(data, '\n'), 0o644)
	}
	if data, err := json.MarshalIndent(plan, "", "  "); err == nil {
		_ = rootfs.WriteFile(filepath.Join(folder, "plan.json"), append(data, '\n'), 0o644)
	}
	failed := end.Result != run.Succeeded && end.Result != run.SucceededWithIssues
	if !o.keep && !failed {
		_ = os.RemoveAll(filepath.Join(folder, "work"))
	}
	c.say("%s %s in %.1f s · logs in %s", c.resultMark(end.Result), end.Result, end.Took.Seconds(), relative(c.path("."), filepath.Join(folder, "logs")))
	if failed {
		return exitCode(1)
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

// newRunFolder makes .penstock/runs/N and keeps the newest twenty.
func newRunFolder(root string) (string, int, error) {
	base := filepath.Join(root, ".penstock", "runs")
	if err := os.MkdirAll(base, 0o755); err != nil {
		return "", 0, fault.Wrap(err, fault.Invalid, "not-writable", "the checkout cannot be written").At("%s", base)
	}
	if err := rootfs.WriteFile(filepath.Join(root, ".penstock", ".gitignore"), []byte("*\n"), 0o644); err != nil {
		return "", 0, err
	}
	list, err := os.ReadDir(base)
	if err != nil {
		return "", 0, err
	}
	var numbers []int
	for _, e := range list {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	next := 1
	if len(numbers) > 0 {
		next = numbers[len(numbers)-1] + 1
	}
	const kept = 20
	for _, n := range numbers[:max(0, len(numbers)-kept+1)] {
		_ = os.RemoveAll(filepath.Join(base, strconv.Itoa(n)))
	}
	folder := filepath.Join(base, strconv.Itoa(next))
	for {
		err := os.Mkdir(folder, 0o755)
		if !os.IsExist(err) {
			return folder, next, err
		}
		next++
		folder = filepath.Join(base, strconv.Itoa(next))
	}
}

// relative shows a path from where the person stands, if that is shorter.
func relative(from, path string) string {
	from, err := filepath.Abs(from)
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(from, path); err == nil && len(rel) < len(path) {
		return rel
	}
	return path
}

// answerLocally answers an approval: by flags, by the local file, by the person.
func (c *cli) answerLocally(_ context.Context, o *localFlags, local *language.LocalFile, plan *pipeline.Plan, stage, job, instructions string) (bool, error) {
	names := []string{"all", stage, job}
	if s := plan.Stage(stage); s != nil {
		for _, j := range s.Jobs {
			if j.Deployment != nil {
				names = append(names, j.Deployment.Environment.Name)
			}
		}
	}
	for _, name := range names {
		same := func(s string) bool { return name != "" && strings.EqualFold(s, name) }
		switch answer := local.Environments[name].Approve; {
		case slices.ContainsFunc(o.reject, same), answer == "no":
			return false, nil
		case slices.ContainsFunc(o.approve, same), answer == "yes":
			return true, nil
		}
	}
	if _, person := c.terminal(); !person {
		return false, fault.New(fault.Invalid, "needs-terminal", "stage %s waits for an answer, and stdin is not a terminal", stage).Got("%s", instructions).
			Try("--approve %s, or --reject %s", stage, stage)
	}
	if instructions != "" {
		c.say("%s", printable(instructions))
	}
	_, _ = fmt.Fprintf(c.Stderr, "Stage %s waits for you. Type yes to go on, no to reject: ", printable(stage))
	answer, err := c.firstLine("answer")
	return strings.EqualFold(answer, "yes") || strings.EqualFold(answer, "y"), err
}
