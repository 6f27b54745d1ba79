package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/edge/language"
	"penstock.dev/penstock/internal/edge/localrun"
)

type approvalRow struct {
	ID, Status, Run, RunNumber, Pipeline, Stage, Environment, WaitsFor, Instructions, Project string
	CanDecide                                                                                 bool
	CreatedOn, Expires                                                                        time.Time
}

func (c *cli) approveCommand() *cobra.Command {
	return c.decideCommand("approve", "approved", "Approves what a run waits for; without RUN, lists what waits.")
}

func (c *cli) rejectCommand() *cobra.Command {
	return c.decideCommand("reject", "rejected", "Rejects what a run waits for; without RUN, lists what waits.")
}

func (c *cli) decideCommand(verb, status, text string) *cobra.Command {
	var stage, comment string
	cmd := command(verb+" [RUN]", text, "penstock "+verb+"\npenstock "+verb+" 1291 --comment 'looks right'\npenstock "+verb+" latest:storefront-cd --stage approve", between(0, 1, "RUN"),
		func(ctx context.Context, args []string) error {
			if len(args) == 0 {
				return c.inbox(ctx)
			}
			return c.decide(ctx, args[0], stage, comment, status)
		})
	cmd.Flags().StringVar(&stage, "stage", "", "of one stage, where several wait")
	cmd.Flags().StringVar(&comment, "comment", "", "why")
	return cmd
}

func (c *cli) inbox(ctx context.Context) error {
	list, err := ofServer[approvalRow](ctx, c, "/_apis/penstock/approvals")
	if err != nil {
		return err
	}
	return printList(c, list, table[approvalRow]{id: func(a approvalRow) string { return a.Run }, empty: "No run waits for a person.", columns: []column[approvalRow]{
		{head: "RUN", text: func(a approvalRow) string { return a.Run }}, {head: "PIPELINE", text: func(a approvalRow) string { return a.Pipeline }},
		{head: "NUMBER", text: func(a approvalRow) string { return a.RunNumber }}, {head: "STAGE", text: func(a approvalRow) string { return a.Stage }},
		{head: "WAITS FOR", text: func(a approvalRow) string {
			return map[bool]string{true: "you: "}[a.CanDecide] + a.WaitsFor
		}},
		{head: "SINCE", text: func(a approvalRow) string { return c.age(a.CreatedOn) }}, {head: "UNTIL", text: func(a approvalRow) string { return c.clock(a.Expires) }},
		{head: "PROJECT", wide: true, text: func(a approvalRow) string { return a.Project }}}})
}

func (c *cli) decide(ctx context.Context, run, stage, comment, status string) error {
	id, err := c.findRun(ctx, run)
	if err != nil {
		return err
	}
	list, err := all[approvalRow](ctx, c, "/_apis/pipelines/approvals?"+url.Values{"run": {id}, "state": {"pending"}}.Encode())
	if err != nil {
		return err
	}
	if stage != "" {
		list = slices.DeleteFunc(list, func(a doc[approvalRow]) bool { return !strings.EqualFold(a.V.Stage, stage) })
	}
	if mine := slices.DeleteFunc(slices.Clone(list), func(a doc[approvalRow]) bool { return !a.V.CanDecide }); len(mine) > 0 {
		list = mine
	}
	switch {
	case len(list) == 0:
		return fault.New(fault.NotFound, "nothing-waits", "run %s waits for nobody", id).Try("penstock why %s", id)
	case len(list) > 1:
		var stages []string
		for _, a := range list {
			stages = append(stages, a.V.Stage)
		}
		return usage("run %s waits at several stages", id).Got("%s", strings.Join(stages, ", ")).Try("add --stage NAME")
	}
	a := list[0].V
	var changed page[approvalRow]
	if err := c.send(ctx, http.MethodPatch, "/_apis/pipelines/approvals", []map[string]string{{"approvalId": a.ID, "status": status, "comment": comment}}, &changed); err != nil {
		return err
	}
	if len(changed.Value) == 1 && changed.Value[0].V.Status == "pending" {
		return c.done(changed.Value[0].Raw, "%s run %s, stage %s; others must answer too: %s", status, id, a.Stage, a.WaitsFor)
	}
	return c.done(changed.Value[0].Raw, "%s run %s, stage %s", status, id, a.Stage)
}

type whyDetail struct {
	Run struct {
		ID, Pipeline, Number string
		Queued               time.Time
	}
	State, Result, Cause string
	Waits                []struct {
		What, Stage, Job, Reason, Who string
		Until                         time.Time
		Stuck, Yours                  bool
	}
	Agents []struct {
		Name, Status string
		Lacks        []string
	}
	Running []string
}

func (c *cli) whyCommand() *cobra.Command {
	return command("why RUN", "Says what a run waits for, who can act, and until when; exit code 1 if somebody must.", "penstock why 1291\npenstock why latest:storefront-cd", exactly("RUN"), func(ctx context.Context, args []string) error {
		id, err := c.findRun(ctx, args[0])
		if err != nil {
			return err
		}
		d, err := get[whyDetail](ctx, c, "/_apis/penstock/runs/"+id+"/why")
		if err != nil {
			return err
		}
		if err := printOne(c, d, id, func() string { return printable(c.whyText(d.V)) }); err != nil {
			return err
		}
		for _, w := range d.V.Waits {
			if w.Stuck {
				return exitCode(1)
			}
		}
		return nil
	})
}

func (c *cli) whyText(w whyDetail) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Run %s (%s %s) ", w.Run.ID, w.Run.Pipeline, w.Run.Number)
	switch {
	case w.State == "completed":
		fmt.Fprintf(&b, "has ended: %s.\n", w.Result)
		if w.Cause != "" {
			fmt.Fprintf(&b, "  cause     %s\n", w.Cause)
		}
		return b.String()
	case len(w.Waits) == 0 && len(w.Running) > 0:
		fmt.Fprintf(&b, "waits for nothing: %s runs.\n", strings.Join(w.Running, ", "))
		return b.String()
	case len(w.Waits) == 0:
		b.WriteString("waits for nothing; it goes on in a moment.\n")
		return b.String()
	}
	b.WriteString("waits:\n")
	for _, x := range w.Waits {
		fmt.Fprintf(&b, "  %s %-9s stage %s%s: %s", c.mark("hold"), x.What, x.Stage, map[bool]string{true: ", job " + x.Job}[x.Job != ""], x.Reason)
		if !x.Until.IsZero() {
			fmt.Fprintf(&b, ", until %s", c.clock(x.Until))
		}
		b.WriteString("\n")
		if x.Yours {
			fmt.Fprintf(&b, "              you can answer: penstock approve %s --stage %s\n", w.Run.ID, x.Stage)
		}
	}
	for _, a := range w.Agents {
		fmt.Fprintf(&b, "    agent %s: %s%s\n", a.Name, a.Status, map[bool]string{true: ", lacks " + strings.Join(a.Lacks, ", ")}[len(a.Lacks) > 0])
	}
	return b.String()
}

// answers are what flags and the local file say to the questions of a run.
func (o *localFlags) answers(local *language.LocalFile) localrun.Answers {
	return localrun.Answers{Approve: o.approve, Reject: o.reject, Local: local}
}

// questions warns of what the run may ask when nobody is there to answer. It is
// no error: a condition may leave the question out.
func (c *cli) questions(o *localFlags, local *language.LocalFile, plan *pipeline.Plan) {
	if _, person := c.terminal(); person {
		return
	}
	answers := o.answers(local)
	for q := range answers.Questions(plan) {
		if _, known := answers.To(q, plan); !known {
			name := printable(q.Name())
			c.say("warning: %s may wait for an answer that nobody gives: --approve %s, or --reject %s", printable(q.Who()), name, name)
		}
	}
}

// answerLocally answers an approval: by flags, by the local file, by the person.
func (c *cli) answerLocally(ctx context.Context, answers localrun.Answers, plan *pipeline.Plan, q localrun.Question) (bool, error) {
	if yes, known := answers.To(q, plan); known {
		return yes, nil
	}
	q.Stage, q.Job, q.Environment, q.Instructions = printable(q.Stage), printable(q.Job), printable(q.Environment), printable(q.Instructions)
	if _, person := c.terminal(); !person {
		return false, fault.New(fault.Invalid, "needs-terminal", "%s waits for an answer, and stdin is not a terminal", q.Who()).Got("%s", q.Instructions).
			Try("--approve %s, or --reject %s", q.Name(), q.Name())
	}
	return q.AskPerson(ctx, c.Stdin, c.Stderr)
}
