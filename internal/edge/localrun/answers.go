package localrun

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/edge/language"
)

// Question is an approval that a run waits for.
type Question struct {
	Stage        string
	Job          string // of a step that asks; "" = a stage waits
	Environment  string // "" = a step asks, or the stage is started by hand
	Instructions string
}

// Who is what waits: a job, or else a stage and its environment.
func (q Question) Who() string {
	var parts []string
	if q.Job != "" && q.Environment == "" {
		parts = append(parts, "job "+q.Job)
	}
	if q.Stage != pipeline.DefaultStage {
		parts = append(parts, "stage "+q.Stage)
	}
	if q.Environment != "" {
		parts = append(parts, "environment "+q.Environment)
	}
	return strings.Join(parts, ", ")
}

// Name is that of the nearest thing by which flags give the answer.
func (q Question) Name() string {
	name := cmp.Or(q.Environment, q.Job, q.Stage)
	if strings.Contains(name, " ") {
		return strconv.Quote(name)
	}
	return name
}

// sentence begins one.
func sentence(words string) string { return strings.ToUpper(words[:1]) + words[1:] }

// Answers are those that flags and the local file give.
type Answers struct {
	Approve, Reject []string // names of environments, stages and jobs; all
	Local           *language.LocalFile
}

// To answers a question. A no wins over a yes.
func (a Answers) To(q Question, plan *pipeline.Plan) (yes, known bool) {
	names := []string{"all", q.Stage, q.Job, q.Environment}
	if q.Environment == "" && q.Job != "" {
		names = append(names, environmentsOf(plan, q.Stage)...)
	}
	said := func(list []string, answer string) bool {
		return slices.ContainsFunc(names, func(name string) bool {
			return name != "" && (has(list, name) || a.local(name) == answer)
		})
	}
	switch {
	case said(a.Reject, "no"):
		return false, true
	case said(a.Approve, "yes"):
		return true, true
	}
	return false, false
}

// local is what the local file says of an environment.
func (a Answers) local(environment string) string {
	for name, e := range a.Local.Environments {
		if strings.EqualFold(name, environment) {
			return e.Approve
		}
	}
	return ""
}

// Asked are the environments that wait for an answer, as those with an approval do
// on a server: the local file says ask or no, or a flag rejects them by name.
func (a Answers) Asked(plan *pipeline.Plan) []string {
	var asked []string
	for name, e := range a.Local.Environments {
		if e.Approve == "ask" || e.Approve == "no" {
			asked = append(asked, name)
		}
	}
	for _, s := range plan.Stages {
		for _, name := range environmentsOf(plan, s.Name) {
			if has(a.Reject, name) && !has(asked, name) {
				asked = append(asked, name)
			}
		}
	}
	slices.Sort(asked)
	return asked
}

func has(list []string, name string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, name) })
}

func environmentsOf(plan *pipeline.Plan, stage string) []string {
	var names []string
	if s := plan.Stage(stage); s != nil {
		for _, j := range s.Jobs {
			if j.Deployment != nil {
				names = append(names, j.Deployment.Environment.Name)
			}
		}
	}
	return names
}

// Questions yields what the run may ask a person.
func (a Answers) Questions(plan *pipeline.Plan) iter.Seq[Question] {
	return func(yield func(Question) bool) {
		asked := a.Asked(plan)
		asks := func(step pipeline.Step) bool {
			return strings.EqualFold(step.Task, "ManualValidation") && !step.Disabled
		}
		for _, s := range plan.Stages {
			if s.Manual && !yield(Question{Stage: s.Name}) {
				return
			}
			for _, j := range s.Jobs {
				if j.Pool.Server && slices.ContainsFunc(j.Steps, asks) && !yield(Question{Stage: s.Name, Job: j.Name}) {
					return
				}
				if j.Deployment != nil && has(asked, j.Deployment.Environment.Name) && !yield(Question{Stage: s.Name, Environment: j.Deployment.Environment.Name}) {
					return
				}
			}
		}
	}
}

// AskPerson asks on a terminal until there is a yes or a no, for as long as ctx
// lasts. When ctx ends, a line is still read: who waits for it ends before long.
func (q Question) AskPerson(ctx context.Context, in io.Reader, out io.Writer) (bool, error) {
	if q.Instructions != "" {
		_, _ = fmt.Fprintln(out, q.Instructions)
	}
	lines, failed := make(chan string), make(chan error, 1)
	more := make(chan struct{}, 1)
	defer close(more)
	go func() {
		reader := bufio.NewReader(io.LimitReader(in, 64<<10))
		for range more {
			line, err := reader.ReadString('\n')
			if err != nil {
				failed <- err
				return
			}
			select {
			case lines <- line:
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		_, _ = fmt.Fprintf(out, "%s waits for you. Type yes to go on, no to reject: ", sentence(q.Who()))
		more <- struct{}{}
		select {
		case <-ctx.Done():
			_, _ = fmt.Fprintln(out)
			return false, ctx.Err()
		case err := <-failed:
			_, _ = fmt.Fprintln(out)
			return false, fault.Wrap(err, fault.Invalid, "needs-terminal", "%s waits for an answer, and stdin has none", q.Who()).
				Try("answer beforehand: --approve %s, or --reject %s", q.Name(), q.Name())
		case line := <-lines:
			switch strings.ToLower(strings.TrimSpace(line)) {
			case "yes", "y":
				return true, nil
			case "no", "n":
				return false, nil
			}
		}
	}
}
