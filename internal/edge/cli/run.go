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
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
)

type buildRow struct {
	ID                                  int
	BuildNumber, Status, Result, Reason string
	QueueTime, StartTime, FinishTime    time.Time
	SourceBranch, SourceVersion, Cause  string
	Definition                          struct{ Name string }
	RequestedFor                        struct{ DisplayName string }
	Tags                                []string
}

// The detail of a run, as /penstock/runs/{id} and its events have it.
type runDetail struct {
	Run struct {
		ID, Pipeline, Number, State, Result, Branch, Commit, Message, RequestedBy, Cause string
		Started, Finished, Queued                                                        time.Time
		Diagnostics                                                                      []pipeline.Diagnostic
		Tags                                                                             []string
	}
	Stages []stageRow
	Phases []phaseRow
	Jobs   []jobRow
}

type stageRow struct {
	Name, DisplayName, State, Result, Waits, Cause string
	Attempt                                        int
	Started, Finished                              time.Time
}

type phaseRow struct {
	Stage, Name, State, Result, Cause string
	Attempt                           int
}

type jobRow struct {
	ID, Stage, Phase, Name, DisplayName, State, Result, Cause, AgentName string
	Attempt, Until                                                       int // the first and the last attempt of the stage it counts for
	Started, Finished                                                    time.Time
	Steps                                                                []struct {
		DisplayName, State, Result string
		Started, Finished          time.Time
		Errors                     []string
	}
}

// findRun turns a RUN argument into a run's number: 1284, pipeline/1.0.7,
// latest or latest:pipeline.
func (c *cli) findRun(ctx context.Context, arg string) (string, error) {
	if _, err := strconv.Atoi(arg); err == nil {
		return arg, nil
	}
	q := url.Values{"$top": {"1"}}
	switch name, rest, ok := strings.Cut(arg, ":"); {
	case name == "local":
		return "", usage("%s is a run of a checkout; this build knows runs of a server only", arg)
	case name == "latest" && ok:
		q.Set("definitions", rest)
	case name == "latest":
	default:
		pipeline, number, ok := strings.Cut(arg, "/")
		if !ok || number == "" {
			return "", usage("%q names no run", arg).Want("a number, PIPELINE/NUMBER, latest, or latest:PIPELINE")
		}
		q.Set("definitions", pipeline)
		q.Set("buildNumber", number)
	}
	list, err := all[buildRow](ctx, c, "/_apis/build/builds?"+q.Encode())
	if err != nil {
		return "", err
	}
	if len(list) == 0 {
		return "", fault.New(fault.NotFound, "not-found", "no run %s in project %s", arg, c.known.Project).Try("penstock run list --limit 5")
	}
	return strconv.Itoa(list[0].V.ID), nil
}

func (c *cli) runCommand() *cobra.Command {
	cmd := noun("run", "Runs of pipelines.", "penstock run list --state inProgress\npenstock run watch latest\npenstock run logs 1291 --grep checkout",
		c.runList(), c.runShow(),
		command("watch RUN", "Follows a run to its end; its result is the exit code.", "penstock run watch latest:storefront-cd", exactly("RUN"), func(ctx context.Context, args []string) error {
			id, err := c.findRun(ctx, args[0])
			if err != nil {
				return err
			}
			return c.watchRun(ctx, id)
		}),
		command("cancel RUN", "Asks a run to end; steps with always() still run.", "penstock run cancel 1291", exactly("RUN"), func(ctx context.Context, args []string) error {
			id, err := c.findRun(ctx, args[0])
			if err != nil {
				return err
			}
			var d doc[buildRow]
			if err := c.send(ctx, http.MethodPatch, "/_apis/build/builds/"+id, map[string]string{"status": "cancelling"}, &d); err != nil {
				return err
			}
			return c.done(d.Raw, "run %s is being cancelled", id)
		}),
		c.runRerun(), c.runLogsCommand(), c.runTests(), c.runArtifacts())
	return c.asLocal(cmd)
}

func (c *cli) runList() *cobra.Command {
	var pipeline, branch, state, result, by, tag string
	var since time.Duration
	var limit int
	cmd := command("list", "Lists the runs of a project, latest first.", "penstock run list --pipeline storefront-ci --limit 5\npenstock run list --state inProgress\npenstock run list --result failed --since 24h", noArgs,
		func(ctx context.Context, _ []string) error {
			q := url.Values{"$top": {strconv.Itoa(limit)}}
			for name, value := range map[string]string{"definitions": pipeline, "branchName": branch, "statusFilter": state, "resultFilter": strings.ReplaceAll(result, "succeededWithIssues", "partiallySucceeded"), "requestedFor": by, "tagFilters": tag} {
				if value != "" {
					q.Set(name, value)
				}
			}
			if since > 0 {
				q.Set("minTime", c.Now().Add(-since).UTC().Format(time.RFC3339))
			}
			list, err := all[buildRow](ctx, c, "/_apis/build/builds?"+q.Encode())
			if err != nil {
				return err
			}
			return printList(c, list, table[buildRow]{id: func(b buildRow) string { return strconv.Itoa(b.ID) }, empty: "penstock pipeline run NAME", columns: []column[buildRow]{
				{head: "RUN", text: func(b buildRow) string { return strconv.Itoa(b.ID) }}, {head: "PIPELINE", text: func(b buildRow) string { return b.Definition.Name }},
				{head: "NUMBER", text: func(b buildRow) string { return b.BuildNumber }}, {head: "BRANCH", text: func(b buildRow) string { return short(b.SourceBranch) }},
				{head: "STATE", text: func(b buildRow) string { return cmp.Or(b.Result, b.Status) }}, {head: "BY", text: func(b buildRow) string { return b.RequestedFor.DisplayName }},
				{head: "AGE", text: func(b buildRow) string { return c.age(b.QueueTime) }}, {head: "TOOK", text: func(b buildRow) string { return took(b.StartTime, b.FinishTime) }},
				{head: "REASON", wide: true, text: func(b buildRow) string { return b.Reason }}, {head: "COMMIT", wide: true, text: func(b buildRow) string { return abbreviated(b.SourceVersion) }},
				{head: "TAGS", wide: true, text: func(b buildRow) string { return strings.Join(b.Tags, ", ") }}}})
		})
	f := cmd.Flags()
	f.StringVar(&pipeline, "pipeline", "", "of one pipeline, or several with commas")
	f.StringVar(&branch, "branch", "", "of one branch")
	f.StringVar(&state, "state", "", "notStarted, inProgress, cancelling, completed")
	f.StringVar(&result, "result", "", "succeeded, succeededWithIssues, failed, canceled")
	f.StringVar(&by, "by", "", "requested by somebody")
	f.StringVar(&tag, "tag", "", "with this tag, or with each of several with commas")
	f.DurationVar(&since, "since", 0, "queued within this time")
	f.IntVar(&limit, "limit", 30, "at most so many")
	return cmd
}

func (c *cli) runShow() *cobra.Command {
	return command("show RUN", "Shows a run with its stages and jobs.", "penstock run show latest\npenstock run show 1291 -o json", exactly("RUN"), func(ctx context.Context, args []string) error {
		id, err := c.findRun(ctx, args[0])
		if err != nil {
			return err
		}
		d, err := get[runDetail](ctx, c, "/_apis/penstock/runs/"+id)
		if err != nil {
			return err
		}
		return printOne(c, d, id, func() string { return c.runText(d.V) })
	})
}

func (c *cli) runHead(d runDetail) string {
	r := d.Run
	return fmt.Sprintf("%s %s (run %s) · %s at %s · requested by %s\n", r.Pipeline, r.Number, r.ID, short(r.Branch), abbreviated(r.Commit), r.RequestedBy)
}

func (c *cli) runText(d runDetail) string {
	var b strings.Builder
	b.WriteString(c.runHead(d))
	if len(d.Run.Tags) > 0 {
		b.WriteString("Tags: " + strings.Join(d.Run.Tags, ", ") + "\n")
	}
	pipeline.Render(&b, d.Run.Diagnostics)
	var rows [][]string
	for _, st := range d.Stages {
		rows = append(rows, []string{c.markOf(st.State, st.Result) + " " + st.Name, cmp.Or(st.DisplayName, st.Name), cmp.Or(st.Result, st.Waits, st.State), took(st.Started, st.Finished), st.Cause})
		for _, p := range d.Phases {
			if p.Cause != "" && p.Stage == st.Name && p.Attempt == st.Attempt {
				rows = append(rows, []string{"  " + c.markOf(p.State, p.Result) + " " + p.Name, "", p.Result, "", p.Cause})
			}
		}
		for _, j := range d.Jobs {
			if j.Stage != st.Name || j.Attempt > st.Attempt || max(j.Attempt, j.Until) < st.Attempt {
				continue
			}
			rows = append(rows, []string{"  " + c.markOf(j.State, j.Result) + " " + j.Name, cmp.Or(j.DisplayName, j.Name), cmp.Or(j.Result, j.State), took(j.Started, j.Finished), cmp.Or(j.Cause, j.AgentName)})
		}
	}
	b.WriteString(align(rows))
	b.WriteString(c.runEnd(d))
	return printable(b.String())
}

func (c *cli) runEnd(d runDetail) string {
	r := d.Run
	if r.State != "completed" {
		return ""
	}
	text := fmt.Sprintf("%s %s", c.markOf(r.State, r.Result), r.Result)
	if t := took(r.Queued, r.Finished); t != "" {
		text += " after " + t
	}
	if r.Cause != "" {
		text += " · cause: " + r.Cause
	}
	if r.Result == "failed" {
		text += " · penstock run logs " + r.ID
	}
	return text + "\n"
}

// watcher prints what changed between two states of a run.
type watcher struct {
	c     *cli
	seen  map[string]string
	began bool
}

func (w *watcher) show(d runDetail) error {
	var b strings.Builder
	if !w.began {
		b.WriteString(w.c.runHead(d))
		w.began = true
	}
	for _, st := range d.Stages {
		w.line(&b, fmt.Sprintf("stage/%s/%d", st.Name, st.Attempt), st.State, st.Result, st.Waits, cmp.Or(st.Cause, took(st.Started, st.Finished)), st.Name)
	}
	for _, p := range d.Phases {
		if p.Cause != "" {
			w.line(&b, fmt.Sprintf("phase/%s/%s/%d", p.Stage, p.Name, p.Attempt), p.State, p.Result, "", p.Cause, p.Stage+"/"+p.Name)
		}
	}
	for _, j := range d.Jobs {
		name := j.Stage + "/" + j.Name
		if w.line(&b, "job/"+j.ID, j.State, j.Result, "", cmp.Or(j.Cause, took(j.Started, j.Finished)), name) && j.Result == "failed" {
			for _, s := range j.Steps {
				for i, text := range s.Errors {
					if i < 3 {
						fmt.Fprintf(&b, "    %s: %s\n", s.DisplayName, text)
					}
				}
			}
		}
	}
	return w.c.out(printable(b.String()))
}

// line writes one line if the state of something is new.
func (w *watcher) line(b *strings.Builder, key, state, result, waits, note, name string) bool {
	now := state + result + waits
	if state == "pending" && waits == "" || w.seen[key] == now {
		return false
	}
	w.seen[key] = now
	word := cmp.Or(result, state)
	if waits != "" && state == "pending" {
		word, note = "waits for", waits
	}
	fmt.Fprintf(b, "%s %s: %s%s\n", w.c.markOf(state, result), name, word, map[bool]string{true: " (" + note + ")"}[note != ""])
	return true
}

// watchRun follows a run by its events. A broken connection is made again.
func (c *cli) watchRun(ctx context.Context, id string) error {
	a, err := c.inProject(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := c.within(ctx)
	defer cancel()
	w := &watcher{c: c, seen: map[string]string{}}
	result := ""
	for attempt := 0; result == ""; attempt++ {
		body, err := a.Stream(ctx, http.MethodGet, a.InProject("/_apis/penstock/runs/"+id+"/events"), "text/event-stream", nil)
		if err == nil {
			attempt = 0
			err = events(body, func(e event) error {
				var told error
				result, told = c.tell(w, e)
				return told
			})
			_ = body.Close()
		}
		var closed exitCode
		switch {
		case result != "":
		case errors.As(err, &closed):
			return err
		case ctx.Err() != nil:
			c.say("Run %s goes on without you. Come back: penstock run watch %s", id, id)
			return ctx.Err()
		case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !fault.Is(err, fault.Unavailable) && fault.CodeOf(err) != "internal" || attempt > 30:
			return err
		default:
			if err := pause(ctx, time.Second); err != nil {
				return err
			}
		}
	}
	if !slices.Contains([]string{"succeeded", "succeededWithIssues"}, result) {
		return exitCode(1)
	}
	return nil
}

var errEnd = errors.New("the run has ended")

// tell prints one event; the result is not empty at the end.
func (c *cli) tell(w *watcher, e event) (result string, err error) {
	var d doc[runDetail]
	switch e.name {
	case "end":
		if err := json.Unmarshal([]byte(e.data), &result); err != nil {
			return "", err
		}
		return cmp.Or(result, "failed"), errEnd
	case "run":
		if err := json.Unmarshal([]byte(e.data), &d); err != nil {
			return "", err
		}
	default:
		return "", nil
	}
	if c.flags.output == "json" {
		return "", c.jsonLine(d.Raw)
	}
	if err := w.show(d.V); err != nil {
		return "", err
	}
	return "", c.out(printable(c.runEnd(d.V)))
}

func (c *cli) runRerun() *cobra.Command {
	var stage string
	var failed bool
	cmd := command("rerun RUN", "Makes a new attempt of what did not succeed, or of one stage.", "penstock run rerun 1291\npenstock run rerun 1291 --stage release", exactly("RUN"), func(ctx context.Context, args []string) error {
		id, err := c.findRun(ctx, args[0])
		if err != nil {
			return err
		}
		var raw doc[struct{}]
		if err := c.send(ctx, http.MethodPost, "/_apis/penstock/runs/"+id+"/rerun", map[string]string{"stage": stage}, &raw); err != nil {
			return err
		}
		return c.done(raw.Raw, "run %s goes on; follow it: penstock run watch %s", id, id)
	})
	cmd.Flags().StringVar(&stage, "stage", "", "one stage, with those that depend on it")
	cmd.Flags().BoolVar(&failed, "failed", false, "every stage that did not succeed (the default)")
	return cmd
}
