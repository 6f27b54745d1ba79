package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/artifact/webdeploy"
	"penstock.dev/penstock/internal/domain/pipeline"
)

// files is a pipeline's source in folders: its own repository, and those that
// aliases were given for. Nothing outside of them is read.
type files map[string]*os.Root

// ReadFile implements pipeline.Source.
func (f files) ReadFile(_ context.Context, repository, path string) ([]byte, error) {
	root := f[repository]
	if root == nil {
		return nil, fault.New(fault.NotFound, "repository-not-available", "repository %s is not at hand", repository).
			Try("add --repo %s=FOLDER", repository)
	}
	data, err := root.ReadFile(filepath.FromSlash(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(err, fault.NotFound, "file-not-found", "there is no file %s", path)
	}
	return data, err
}

func (f files) close() {
	for _, root := range f {
		_ = root.Close()
	}
}

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

// open opens the folders. The root is the checkout's, else that of the file.
func (c *cli) open(ctx context.Context, o *compileFlags, file string) (files, string, error) {
	root := o.root
	if root == "" {
		root = c.git(ctx, "rev-parse", "--show-toplevel")
	}
	absolute, err := filepath.Abs(c.path(file))
	if err != nil {
		return nil, "", err
	}
	if real, err := filepath.EvalSymlinks(absolute); err == nil {
		absolute = real
	}
	if root == "" {
		root = filepath.Dir(absolute)
	}
	if root, err = filepath.Abs(c.path(root)); err != nil {
		return nil, "", err
	}
	if real, err := filepath.EvalSymlinks(root); err == nil {
		root = real
	}
	rel, err := filepath.Rel(root, absolute)
	if err != nil || !filepath.IsLocal(rel) {
		root, rel = filepath.Dir(absolute), filepath.Base(absolute)
	}
	open := files{}
	named, err := assignments("repo", o.repos)
	if err != nil {
		return nil, "", err
	}
	named["self"] = root
	for alias, folder := range named {
		r, err := os.OpenRoot(c.path(folder))
		if err != nil {
			open.close()
			return nil, "", fault.Wrap(err, fault.Invalid, "folder-unreadable", "the folder of repository %s cannot be opened", alias).At("%s", folder)
		}
		open[alias] = r
	}
	return open, filepath.ToSlash(rel), nil
}

func (c *cli) compile(ctx context.Context, o *compileFlags, file string) (*pipeline.Plan, []pipeline.Diagnostic, error) {
	src, rel, err := c.open(ctx, o, file)
	if err != nil {
		return nil, nil, err
	}
	defer src.close()
	given, err := assignments("param", o.params)
	if err != nil {
		return nil, nil, err
	}
	vars, err := assignments("var", o.vars)
	if err != nil {
		return nil, nil, err
	}
	values := map[string]any{}
	for name, value := range given {
		values[name] = value
	}
	return pipeline.Compile(ctx, src, pipeline.Input{File: rel, Parameters: values, Variables: vars})
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

func (c *cli) webdeployCommand() *cobra.Command {
	return noun("webdeploy", "Web Deploy packages, by hand.", "penstock webdeploy pack ./site --site storefront --to storefront.zip\npenstock webdeploy show storefront.zip",
		c.webdeployPack(), c.webdeployApply(),
		command("show PACKAGE", "Shows what a package holds and asks for.", "penstock webdeploy show storefront.zip", exactly("PACKAGE"), func(_ context.Context, args []string) error {
			p, err := webdeploy.Open(c.path(args[0]))
			if err != nil {
				return err
			}
			defer func() { _ = p.Close() }()
			var size int64
			for _, f := range p.Files() {
				size += f.Size
			}
			type shape struct {
				Digest     string                `json:"digest"`
				Files      int                   `json:"files"`
				Bytes      int64                 `json:"bytes"`
				Parameters []webdeploy.Parameter `json:"parameters"`
			}
			d := local(shape{p.Digest(), len(p.Files()), size, p.Parameters()})
			return printOne(c, d, p.Digest(), func() string {
				text := pairs("digest", p.Digest(), "files", fmt.Sprint(len(p.Files())), "size", bytesText(size))
				for _, x := range p.Parameters() {
					text += "parameter  " + printable(x.Name) + map[bool]string{true: " = " + printable(x.Default)}[x.HasDefault] + "\n"
				}
				return text
			})
		}))
}

func (c *cli) webdeployPack() *cobra.Command {
	var site, to, parameters string
	cmd := command("pack FOLDER", "Makes a package of a folder.", "penstock webdeploy pack ./site --site storefront --to storefront.zip", exactly("FOLDER"), func(_ context.Context, args []string) error {
		if to == "" {
			return usage("where to?").Want("--to PACKAGE.zip")
		}
		o := webdeploy.PackOptions{Source: c.path(args[0]), Site: site}
		if parameters != "" {
			f, err := os.Open(c.path(parameters))
			if err != nil {
				return fault.Wrap(err, fault.Invalid, "file-unreadable", "the file cannot be read").At("%s", parameters)
			}
			defer func() { _ = f.Close() }()
			o.Parameters = f
		}
		out, err := os.CreateTemp(filepath.Dir(c.path(to)), ".package-*")
		if err != nil {
			return fault.Wrap(err, fault.Invalid, "not-writable", "the package cannot be written here").At("%s", to)
		}
		digest, err := webdeploy.Pack(out, o)
		if err = errors.Join(err, out.Close()); err == nil {
			err = os.Rename(out.Name(), c.path(to))
		}
		if err != nil {
			_ = os.Remove(out.Name())
			return err
		}
		return c.done(map[string]string{"package": to, "digest": digest}, "%s %s", to, digest)
	})
	cmd.Flags().StringVar(&site, "site", "", "name of the site")
	cmd.Flags().StringVar(&to, "to", "", "`file` to write")
	cmd.Flags().StringVar(&parameters, "parameters", "", "parameters.xml to declare")
	return cmd
}

func (c *cli) webdeployApply() *cobra.Command {
	var o webdeploy.ApplyOptions
	var set []string
	cmd := command("apply PACKAGE FOLDER", "Writes a package's content to a folder, as a whole.", "penstock webdeploy apply storefront.zip /srv/storefront --set-parameters-file storefront.SetParameters.xml --remove-additional", exactly("PACKAGE", "FOLDER"),
		func(ctx context.Context, args []string) error {
			p, err := webdeploy.Open(c.path(args[0]))
			if err != nil {
				return err
			}
			defer func() { _ = p.Close() }()
			o.Target = c.path(args[1])
			if o.SetParameters, err = assignments("set", set); err != nil {
				return err
			}
			if o.SetParametersFile != "" {
				o.SetParametersFile = c.path(o.SetParametersFile)
			}
			r, err := webdeploy.Apply(ctx, p, o)
			if err != nil {
				return err
			}
			for _, w := range r.Warnings {
				c.say("warning: %s", printable(w))
			}
			return c.done(r, "%d added, %d updated, %d deleted, %d unchanged", r.Added, r.Updated, r.Deleted, r.Unchanged)
		})
	f := cmd.Flags()
	f.StringArrayVar(&set, "set", nil, "`NAME=VALUE` of a parameter; no secret: those belong into the file")
	f.StringVar(&o.SetParametersFile, "set-parameters-file", "", "SetParameters.xml")
	f.BoolVar(&o.RemoveAdditionalFiles, "remove-additional", false, "delete what the package does not have")
	f.BoolVar(&o.TakeAppOffline, "take-offline", false, "put app_offline.htm there meanwhile")
	f.StringArrayVar(&o.Skip, "skip", nil, "path to leave as it is")
	return cmd
}

func (c *cli) explainCommand() *cobra.Command {
	return command("explain [CODE]", "Prints the documentation of an error, offline.", "penstock explain not-healthy\npenstock explain", between(0, 1, "CODE"), func(_ context.Context, args []string) error {
		all := explanations()
		if len(args) == 0 {
			return c.outln(strings.Join(slices.Sorted(maps.Keys(all)), "\n"))
		}
		text, ok := all[strings.ToLower(args[0])]
		if !ok {
			var near []string
			for code := range all {
				if strings.Contains(code, strings.ToLower(args[0])) {
					near = append(near, code)
				}
			}
			slices.Sort(near)
			return fault.New(fault.NotFound, "no-explanation", "there is no explanation of %s", args[0]).Got("%s", cmp.Or(strings.Join(near, ", "), "nothing like it")).Try("penstock explain lists all")
		}
		return c.outln(args[0] + "\n\n" + text)
	})
}
