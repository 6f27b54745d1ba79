package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
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

// workspace is what the flags say.
func (c *cli) workspace(o *compileFlags) (w language.Workspace, err error) {
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
	cmd := command("validate [FILE…]", "Finds every error and warning of pipeline files at once.", "penstock validate\npenstock validate pipelines/*.yml\npenstock validate azure-pipelines.yml --repo platform=../templates -o json", between(0, -1, "FILE"),
		func(ctx context.Context, args []string) error {
			if len(args) == 0 {
				args = []string{"azure-pipelines.yml"}
			}
			return c.validate(ctx, o, args)
		})
	o.register(cmd)
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
		} else if c.flags.output == "table" || c.flags.output == "wide" {
			if err := c.outln(fmt.Sprintf("%s: ok (%s)", name, sizeOf(plan))); err != nil {
				return err
			}
		}
	}
	if c.flags.output == "json" || c.flags.output == "yaml" {
		if err := c.outValue(found); err != nil {
			return err
		}
	} else {
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
	var plan bool
	cmd := command("expand FILE", "Prints the plan of a pipeline: the file after its templates.", "penstock expand azure-pipelines.yml --plan\npenstock expand pipelines/ci.yml --plan -o json", exactly("FILE"), func(ctx context.Context, args []string) error {
		if !plan {
			return fault.New(fault.Unavailable, "plan-only", "this build prints the plan, not the file after templates").Try("penstock expand %s --plan", args[0])
		}
		p, diags, err := c.compile(ctx, o, args[0])
		if err != nil {
			return err
		}
		var b strings.Builder
		pipeline.Render(&b, diags)
		_, _ = fmt.Fprint(c.Stderr, b.String())
		if p == nil {
			return exitCode(2)
		}
		if c.flags.output != "json" {
			c.flags.output = "yaml"
		}
		return c.outValue(p)
	})
	o.register(cmd)
	cmd.Flags().BoolVar(&plan, "plan", false, "the plan: stages, jobs, steps with their places in the files")
	return cmd
}

// schemas are what `schema` can print.
var schemas = map[string]func() []byte{"pipeline": schema.Pipeline}

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
