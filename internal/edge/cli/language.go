package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/pipeline/evaluate"
	"penstock.dev/penstock/internal/domain/pipeline/schema"
	"penstock.dev/penstock/internal/edge/language"
)

// compileFlags are those of validate and expand.
type compileFlags struct {
	root         string
	repos        []string
	params, vars []string
	strict       bool
}

func (o *compileFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.root, "root", "", "`folder` of the repository (default: that of the checkout)")
	f.StringArrayVar(&o.repos, "repo", nil, "`ALIAS=FOLDER` of another repository")
	f.StringArrayVar(&o.params, "param", nil, "`NAME=VALUE` of a parameter")
	f.StringArrayVar(&o.vars, "var", nil, "`NAME=VALUE` of a variable")
}

// maxMemory is what compiling a file may take on a laptop. The compiler's own
// bounds are below it; this makes the collector keep up with garbage, too.
const maxMemory = 200 << 20

// rareGC makes the collector wait until there is something to collect: a command
// that ends in milliseconds spends a third of them on a heap of a few megabytes
// otherwise.
const rareGC = 400

// workspace is what the flags say.
func (c *cli) workspace(o *compileFlags) (w language.Workspace, err error) {
	debug.SetMemoryLimit(maxMemory)
	debug.SetGCPercent(rareGC)
	w = language.Workspace{Dir: c.Dir, Root: o.root}
	if w.Repos, err = assignments("repo", o.repos); err != nil {
		return w, err
	}
	if w.Parameters, err = assignments("param", o.params); err != nil {
		return w, err
	}
	w.Variables, err = assignments("var", o.vars)
	return w, err
}

func (c *cli) compile(ctx context.Context, o *compileFlags, file string) (*pipeline.Plan, []pipeline.Diagnostic, error) {
	w, err := c.workspace(o)
	if err != nil {
		return nil, nil, err
	}
	return w.Compile(ctx, file)
}

func (c *cli) validateCommand() *cobra.Command {
	o := &compileFlags{}
	cmd := command("validate [FILE…]", "Finds every error and warning of pipeline files at once.", "penstock validate\npenstock validate pipelines/*.yml\npenstock validate azure-pipelines.yml --repo platform=../templates -o json\npenstock validate -o sarif > findings.sarif", between(0, -1, "FILE"),
		func(ctx context.Context, args []string) error {
			if len(args) == 0 {
				args = []string{"azure-pipelines.yml"}
			}
			return c.validate(ctx, o, args)
		})
	o.register(cmd)
	cmd.Annotations = map[string]string{outputs: "text sarif"}
	cmd.Flags().BoolVar(&o.strict, "strict", false, "warnings fail too")
	return cmd
}

func (c *cli) validate(ctx context.Context, o *compileFlags, names []string) error {
	found := []pipeline.Diagnostic{}
	bad, errs, warnings := 0, map[string]bool{}, map[string]bool{}
	for _, name := range names {
		plan, diags, err := c.compile(ctx, o, name)
		if err != nil {
			return err
		}
		found = append(found, diags...)
		for _, d := range diags {
			if d.Severity == pipeline.Error {
				errs[d.String()] = true
			} else {
				warnings[d.String()] = true
			}
		}
		if plan == nil {
			bad++
		} else if !slices.Contains([]string{"json", "yaml", "sarif"}, c.flags.output) {
			if err := c.outln(fmt.Sprintf("%s: ok (%s)", name, sizeOf(plan))); err != nil {
				return err
			}
		}
	}
	switch c.flags.output {
	case "json", "yaml":
		if err := c.outValue(found); err != nil {
			return err
		}
	case "sarif":
		data, err := language.SARIF(found, c.Version, func(code string) string { return explanations()[code] })
		if err != nil {
			return err
		}
		if err := c.out(string(data)); err != nil {
			return err
		}
	default:
		var b strings.Builder
		pipeline.Render(&b, found)
		if len(found) > 0 {
			fmt.Fprintf(&b, "%s, %s in %d of %s\n", count(len(errs), "error"), count(len(warnings), "warning"), bad, count(len(names), "pipeline"))
		}
		if err := c.out(b.String()); err != nil {
			return err
		}
	}
	if len(errs) > 0 || o.strict && len(warnings) > 0 {
		return exitCode(1)
	}
	return nil
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func sizeOf(p *pipeline.Plan) string {
	jobs, steps := 0, 0
	for _, st := range p.Stages {
		for _, j := range st.Jobs {
			jobs++
			steps += len(j.Steps)
			if j.Deployment != nil {
				for _, h := range j.Deployment.Hooks {
					steps += len(h.Steps)
				}
			}
		}
	}
	return count(len(p.Stages), "stage") + ", " + count(jobs, "job") + ", " + count(steps, "step")
}

func (c *cli) expandCommand() *cobra.Command {
	o := &compileFlags{}
	var plan, origin bool
	var diff string
	cmd := command("expand FILE", "Prints a pipeline after its templates, as one file.",
		"penstock expand azure-pipelines.yml\npenstock expand pipelines/ci.yml --origin\npenstock expand pipelines/ci.yml --diff main\npenstock expand azure-pipelines.yml --repo platform=../templates --param env=prod -o json", exactly("FILE"),
		func(ctx context.Context, args []string) error {
			w, err := c.workspace(o)
			if err != nil {
				return err
			}
			switch {
			case plan && (origin || diff != ""):
				return usage("--plan stands alone").Try("leave --origin and --diff out; the plan holds the origins")
			case plan:
				return c.expandPlan(ctx, w, args[0])
			case diff != "":
				return c.expandDiff(ctx, w, args[0], diff)
			}
			e, err := c.expand(ctx, w, args[0])
			if err != nil {
				return err
			}
			return c.printExpanded(e, origin)
		})
	o.register(cmd)
	f := cmd.Flags()
	f.BoolVar(&plan, "plan", false, "the plan instead: stages, jobs, steps with their places in the files")
	f.BoolVar(&origin, "origin", false, "a comment at each line says where it comes from")
	f.StringVar(&diff, "diff", "", "show what changed since this `revision`")
	return cmd
}

// expand prints what was found to stderr; a file with errors is invalid input.
func (c *cli) expand(ctx context.Context, w language.Workspace, file string) (*pipeline.Expanded, error) {
	e, diags, err := w.Expand(ctx, file)
	if err != nil {
		return nil, err
	}
	c.printFindings(diags)
	if e == nil {
		return nil, exitCode(2)
	}
	return e, nil
}

func (c *cli) printFindings(diags []pipeline.Diagnostic) {
	var b strings.Builder
	pipeline.Render(&b, diags)
	_, _ = fmt.Fprint(c.Stderr, b.String())
}

func (c *cli) printExpanded(e *pipeline.Expanded, origin bool) error {
	var text string
	var err error
	switch {
	case c.flags.output == "json":
		var data []byte
		data, err = e.JSON()
		text = string(data)
	case origin:
		text, err = e.Annotated()
	default:
		text, err = e.YAML()
	}
	if err != nil {
		return err
	}
	return c.out(text)
}

func (c *cli) expandPlan(ctx context.Context, w language.Workspace, file string) error {
	p, diags, err := w.Compile(ctx, file)
	if err != nil {
		return err
	}
	c.printFindings(diags)
	if p == nil {
		return exitCode(2)
	}
	if c.flags.output != "json" {
		c.flags.output = "yaml"
	}
	return c.outValue(p)
}

func (c *cli) expandDiff(ctx context.Context, w language.Workspace, file, revision string) error {
	now, err := c.expand(ctx, w, file)
	if err != nil {
		return err
	}
	w.Revision = revision
	before, err := c.expand(ctx, w, file)
	if err != nil {
		return err
	}
	text, err := language.Diff(before, now, file+" at "+revision, file)
	if err != nil {
		return err
	}
	if text == "" {
		c.say("no difference to %s", printable(revision))
	}
	return c.out(text)
}

// schemas are what `schema` can print.
var schemas = map[string]func() []byte{"pipeline": schema.Pipeline, "plan": schema.Plan}

func (c *cli) schemaCommand() *cobra.Command {
	return command("schema [NAME]", "Prints the JSON Schema of a kind of file.", "penstock schema pipeline > azure-pipelines.schema.json\npenstock schema", between(0, 1, "NAME"), func(_ context.Context, args []string) error {
		name := "pipeline"
		if len(args) > 0 {
			name = args[0]
		}
		print, ok := schemas[name]
		if !ok {
			return fault.New(fault.Invalid, "unknown-schema", "there is no schema of %s", name).Got("%s", name).
				Want("%s", strings.Join(slices.Sorted(maps.Keys(schemas)), ", ")).Try("penstock schema pipeline")
		}
		return c.out(string(print()))
	})
}

func (c *cli) languageServerCommand() *cobra.Command {
	o := &compileFlags{}
	cmd := command("language-server", "Speaks the Language Server Protocol on stdin and stdout, for editors.", "penstock language-server\npenstock language-server --repo platform=../templates", exactly(), func(ctx context.Context, _ []string) error {
		w, err := c.workspace(o)
		if err != nil {
			return err
		}
		return language.Serve(ctx, c.Stdin, nopCloser{c.Stdout}, language.Options{Workspace: w, Version: c.Version, Delay: language.Delay})
	})
	o.register(cmd)
	return cmd
}

// nopCloser leaves stdout open: the end of a conversation is not its end.
type nopCloser struct{ io.Writer }

// Close implements io.Closer.
func (nopCloser) Close() error { return nil }

func (c *cli) evalCommand() *cobra.Command {
	var slot, file string
	var trace, stdin bool
	example := "penstock eval \"eq('ABC', 'abc')\"\npenstock eval \"and(succeeded(), eq(variables.x, 'y'))\" --slot job-condition --context context.json --trace\npenstock eval --stdin < expressions.jsonl"
	cmd := command("eval 'EXPR' | --stdin", "Computes one expression and shows its value with its type.", example, between(0, 1, "EXPR"), func(_ context.Context, args []string) error {
		switch {
		case stdin && (len(args) > 0 || slot != "" || file != "" || trace):
			return usage("--stdin reads everything from its lines").Want(`{"id","expr","slot","context"} on each line`)
		case stdin:
			return language.EvalLines(c.Stdin, c.Stdout, c.Now())
		case len(args) == 0:
			return usage("eval needs an expression").Try("penstock eval \"eq('a', 'A')\"")
		}
		known, err := c.evalContext(file)
		if err != nil {
			return err
		}
		return c.eval(evaluate.Request{Expr: args[0], Slot: evaluate.Slot(slot), Context: known, Trace: trace, Now: c.Now()})
	})
	f := cmd.Flags()
	f.StringVar(&slot, "slot", "", "`place` of the expression in a pipeline (default any)")
	f.StringVar(&file, "context", "", "JSON `FILE` with parameters, variables, dependencies, … (- is standard input)")
	f.BoolVar(&trace, "trace", false, "show each part that is computed")
	f.BoolVar(&stdin, "stdin", false, "one expression on each line of standard input, as JSON")
	slots := make([]string, len(evaluate.Slots))
	for i, s := range evaluate.Slots {
		slots[i] = string(s)
	}
	_ = cmd.RegisterFlagCompletionFunc("slot", cobra.FixedCompletions(slots, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// evalContext reads the file of --context.
func (c *cli) evalContext(file string) (*evaluate.Context, error) {
	var data []byte
	var err error
	switch file {
	case "":
	case "-":
		data, err = io.ReadAll(c.Stdin)
	default:
		data, err = os.ReadFile(c.path(file))
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "context-unreadable", "the context cannot be read")
	}
	return evaluate.ParseContext(data)
}

// eval prints a value. The parts of a traced one are shown also if there is none.
func (c *cli) eval(r evaluate.Request) error {
	result, evalErr := evaluate.Evaluate(r)
	if c.flags.output == "json" || c.flags.output == "yaml" {
		if evalErr != nil {
			return evalErr
		}
		type step struct {
			Depth      int    `json:"depth"`
			Expression string `json:"expression"`
			Value      string `json:"value"`
		}
		answer := struct {
			Type  string          `json:"type"`
			Value json.RawMessage `json:"value"`
			Trace []step          `json:"trace,omitempty"`
		}{Type: result.Type, Value: json.RawMessage(result.JSON())}
		for _, s := range result.Steps {
			answer.Trace = append(answer.Trace, step{s.Depth, s.Expression, s.Value})
		}
		return c.outValue(answer)
	}
	var b strings.Builder
	for _, s := range result.Steps {
		if s.Failed {
			s.Value = "error"
		}
		fmt.Fprintf(&b, "%s%s => %s\n", strings.Repeat("  ", s.Depth), s.Expression, s.Value)
	}
	if evalErr == nil {
		b.WriteString(strings.TrimRight(fmt.Sprintf("%-7s %s", result.Type, result.Text), " ") + "\n")
	}
	if err := c.out(b.String()); err != nil {
		return err
	}
	return evalErr
}
