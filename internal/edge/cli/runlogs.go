package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/edge/language"
	"penstock.dev/penstock/internal/edge/localrun"
)

type logLine struct {
	Stage, Job, Step, Text string
	Line                   int
}

func (c *cli) runLogsCommand() *cobra.Command {
	var job, step, grep string
	var tail int
	var follow, raw bool
	cmd := command("logs RUN", "Prints the log of a run, each line with where it comes from.", "penstock run logs latest -f\npenstock run logs 1291 --grep checkout --tail 20\npenstock run logs 1291 --job to_production --raw", exactly("RUN"),
		func(ctx context.Context, args []string) error {
			id, err := c.findRun(ctx, args[0])
			if err != nil {
				return err
			}
			q := url.Values{}
			for name, value := range map[string]string{"job": job, "step": step, "grep": grep} {
				if value != "" {
					q.Set(name, value)
				}
			}
			if tail > 0 {
				q.Set("tail", strconv.Itoa(tail))
			}
			if follow {
				q.Set("follow", "true")
			}
			return c.logs(ctx, "/_apis/penstock/runs/"+id+"/logs?"+q.Encode(), raw)
		})
	f := cmd.Flags()
	f.StringVar(&job, "job", "", "of one job")
	f.StringVar(&step, "step", "", "of one step, by name or number")
	f.StringVar(&grep, "grep", "", "lines that match a regular `expression`")
	f.IntVar(&tail, "tail", 0, "the last so many lines")
	f.BoolVarP(&follow, "follow", "f", false, "and what follows, until the run ends")
	f.BoolVar(&raw, "raw", false, "text only, without where it comes from")
	return cmd
}

// logs prints lines as they come; a log may be larger than memory.
func (c *cli) logs(ctx context.Context, path string, raw bool) error {
	a, err := c.inProject(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := c.within(ctx)
	defer cancel()
	emit := func(d doc[logLine]) error {
		switch {
		case c.flags.output == "json":
			return c.outln(string(d.Raw))
		case raw:
			return c.outln(printable(d.V.Text))
		}
		return c.outln(printable(fmt.Sprintf("%s/%s/%s  %d  %s", d.V.Stage, d.V.Job, d.V.Step, d.V.Line, d.V.Text)))
	}
	body, err := a.Stream(ctx, http.MethodGet, a.InProject(path), "application/x-ndjson", nil)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	for in := newLines(body); ; {
		text, err := in.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var d doc[logLine]
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			return err
		}
		if err := emit(d); err != nil {
			return err
		}
	}
}

type testRow struct {
	Title   string
	Results []struct {
		Name, Suite, Outcome, Message string
		Duration                      time.Duration
	}
}

func (t testRow) count(outcome string) int {
	n := 0
	for _, r := range t.Results {
		if r.Outcome == outcome {
			n++
		}
	}
	return n
}

func (c *cli) runTests() *cobra.Command {
	return command("tests RUN", "Shows the test results of a run; exit code 1 if a test failed.", "penstock run tests latest:storefront-ci", exactly("RUN"), func(ctx context.Context, args []string) error {
		id, err := c.findRun(ctx, args[0])
		if err != nil {
			return err
		}
		list, err := all[testRow](ctx, c, "/_apis/penstock/runs/"+id+"/tests")
		if err != nil {
			return err
		}
		count := func(outcome string) func(testRow) string {
			return func(t testRow) string { return strconv.Itoa(t.count(outcome)) }
		}
		err = printList(c, list, table[testRow]{id: func(t testRow) string { return t.Title }, empty: "The run published no test results: PublishTestResults@2", columns: []column[testRow]{
			{head: "TESTS", text: func(t testRow) string { return t.Title }}, {head: "TOTAL", text: func(t testRow) string { return strconv.Itoa(len(t.Results)) }},
			{head: "PASSED", text: count("Passed")}, {head: "FAILED", text: count("Failed")}, {head: "SKIPPED", text: count("NotExecuted")}}})
		failed := false
		for _, t := range list {
			for _, r := range t.V.Results {
				if r.Outcome != "Failed" {
					continue
				}
				failed = true
				if err == nil && c.flags.output != "json" && c.flags.output != "yaml" && !c.flags.quiet {
					err = c.outln(printable(fmt.Sprintf("%s %s %s\n    %s", c.mark("FAIL"), r.Suite, r.Name, r.Message)))
				}
			}
		}
		if err == nil && failed {
			return exitCode(1)
		}
		return err
	})
}

type artifactRow struct {
	Name, Digest string
	Size         int64
	Files        int
	Created      time.Time
}

func (c *cli) runArtifacts() *cobra.Command {
	var download, to string
	cmd := command("artifacts RUN", "Lists the artifacts of a run, or downloads one.", "penstock run artifacts latest:storefront-ci\npenstock run artifacts 1291 --download package --to package.zip", exactly("RUN"), func(ctx context.Context, args []string) error {
		id, err := c.findRun(ctx, args[0])
		if err != nil {
			return err
		}
		if download != "" {
			return c.download(ctx, id, download, to)
		}
		list, err := all[artifactRow](ctx, c, "/_apis/penstock/runs/"+id+"/artifacts")
		if err != nil {
			return err
		}
		return printList(c, list, table[artifactRow]{id: func(a artifactRow) string { return a.Name }, empty: "The run published nothing: publish: FOLDER", columns: []column[artifactRow]{
			{head: "NAME", text: func(a artifactRow) string { return a.Name }}, {head: "FILES", text: func(a artifactRow) string { return strconv.Itoa(a.Files) }},
			{head: "SIZE", text: func(a artifactRow) string { return bytesText(a.Size) }}, {head: "AGE", text: func(a artifactRow) string { return c.age(a.Created) }},
			{head: "DIGEST", text: func(a artifactRow) string { return a.Digest }}}})
	})
	cmd.Flags().StringVar(&download, "download", "", "`name` of an artifact to fetch, as a zip")
	cmd.Flags().StringVar(&to, "to", "", "file to write; - is stdout (default: NAME.zip)")
	return cmd
}

func bytesText(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

// download fetches an artifact; the file appears when it is complete.
func (c *cli) download(ctx context.Context, run, name, to string) error {
	a, err := c.inProject(ctx)
	if err != nil {
		return err
	}
	body, err := a.Stream(ctx, http.MethodGet, a.InProject("/_apis/penstock/runs/"+run+"/artifacts/"+url.PathEscape(name)+"/content"), "application/zip", nil)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	if to == "-" {
		_, err := io.Copy(c.Stdout, body)
		return err
	}
	if to == "" {
		to = filepath.Base(filepath.Clean("/"+name)) + ".zip"
	}
	file := c.path(to)
	f, err := os.CreateTemp(filepath.Dir(file), ".download-*")
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "not-writable", "the artifact cannot be written here").At("%s", file)
	}
	n, err := io.Copy(f, body)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fault.Wrap(err, fault.Unavailable, "download-broken", "the download broke off").Try("try again")
	}
	return c.done(map[string]any{"file": to, "bytes": n}, "%s (%s)", to, bytesText(n))
}

// rerunCommand repeats a step of a local run.
func (c *cli) rerunCommand() *cobra.Command {
	o := &localFlags{}
	var step, job string
	var shell bool
	cmd := &cobra.Command{Use: "rerun RUN --step NAME", Short: "Repeats one step of a local run with what it started from.",
		Long: "Repeats one step of a local run with the parameters and variables that it had. The work folder is that of the run if it was kept (it failed, or --keep); " +
			"else the step works on a fresh copy of the working tree as it is now.",
		Example: indent("penstock rerun latest --step 'Unit tests'\npenstock rerun local:7 --step build --shell"),
		Args:    cobra.ExactArgs(1)}
	f := cmd.Flags()
	f.StringVar(&step, "step", "", "`name` of the step, or HOOK.NAME in a deployment: as written, as shown, or the service's (Bash, Bash1)")
	f.StringVar(&job, "job", "", "where several jobs have such a step: `[stage.]job`")
	f.BoolVar(&shell, "shell", false, "open a shell in the step's environment before it runs")
	f.StringVar(&o.local, "local", "", "the `file` instead of penstock.local.yml")
	f.StringArrayVar(&o.secrets, "secret", nil, "`NAME=FILE` of a secret; NAME alone takes the environment variable")
	f.StringArrayVar(&o.repos, "repo", nil, "`ALIAS=FOLDER` of another repository")
	_ = cmd.MarkFlagRequired("step")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		root, _, err := (language.Workspace{Dir: c.Dir}).Locate("x.yml")
		if err != nil {
			return err
		}
		if o.again, err = localrun.Repeat(root, args[0], step, job); err != nil {
			return err
		}
		at := o.again.Step
		o.only.Jobs, o.only.Steps = []string{o.again.Job()}, []string{localrun.Part(at)}
		o.only.Legs = o.again.Legs
		o.event, o.keep, o.jobs, o.skipMissing = o.again.Record.Event, true, 1, o.again.Record.SkipMissing
		if shell {
			o.breakOn = cmp.Or(at.Name, at.Title)
		}
		return c.runFile(cmd.Context(), o, filepath.Join(root, o.again.Record.File))
	}
	return cmd
}
