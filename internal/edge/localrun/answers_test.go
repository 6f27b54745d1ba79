package localrun

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/edge/language"
)

func TestAnswers(t *testing.T) {
	deploy := func(environment string) pipeline.Job {
		j := pipeline.Job{Name: environment, Deployment: &pipeline.Deployment{}}
		j.Deployment.Environment.Name = environment
		return j
	}
	plan := &pipeline.Plan{Stages: []pipeline.Stage{{Name: "ship", Jobs: []pipeline.Job{deploy("Test"), deploy("production"), deploy("free")}}}}
	local := &language.LocalFile{Environments: map[string]language.LocalEnvironment{"test": {Approve: "yes"}, "production": {Approve: "ask"}, "closed": {Approve: "no"}}}
	for _, c := range []struct {
		name            string
		approve, reject []string
		q               Question
		yes, known      bool
		asked           string
	}{
		{"the file says yes", nil, nil, Question{Stage: "ship", Environment: "Test"}, true, true, "closed,production"},
		{"one is not answered by another", nil, nil, Question{Stage: "ship", Environment: "production"}, false, false, "closed,production"},
		{"the file says no", nil, nil, Question{Stage: "ship", Environment: "Closed"}, false, true, "closed,production"},
		{"a flag by name", []string{"Production"}, nil, Question{Stage: "ship", Environment: "production"}, true, true, "closed,production"},
		{"a flag by stage", []string{"ship"}, nil, Question{Stage: "ship", Environment: "production"}, true, true, "closed,production"},
		{"a no wins", []string{"all"}, []string{"production"}, Question{Stage: "ship", Environment: "production"}, false, true, "closed,production"},
		{"rejecting asks", nil, []string{"FREE"}, Question{Stage: "ship", Environment: "free"}, false, true, "closed,free,production"},
		{"a step takes that of its stage", nil, nil, Question{Stage: "ship", Job: "wait"}, true, true, "closed,production"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := Answers{Approve: c.approve, Reject: c.reject, Local: local}
			yes, known := a.To(c.q, plan)
			asked := a.Asked(plan)
			if yes != c.yes || known != c.known || !strings.EqualFold(strings.Join(asked, ","), c.asked) {
				t.Errorf("yes %v, known %v, asked %v", yes, known, asked)
			}
		})
	}
	questions := slices.Collect(Answers{Local: local}.Questions(plan))
	if want := []Question{{Stage: "ship", Environment: "production"}}; !slices.Equal(questions, want) {
		t.Errorf("questions %v", questions)
	}
}

func TestAskPerson(t *testing.T) {
	q := Question{Stage: "ship", Environment: "production"}
	for typed, want := range map[string]bool{"yes\n": true, "\nye\n Y \n": true, "\r\nNO\n": false} {
		var out bytes.Buffer
		if yes, err := q.AskPerson(context.Background(), strings.NewReader(typed), &out); yes != want || err != nil {
			t.Errorf("%q: %v %v", typed, yes, err)
		}
		if n := strings.Count(out.String(), "waits for you"); n != strings.Count(typed, "\n") {
			t.Errorf("%q: asked %d times", typed, n)
		}
	}
	if _, err := q.AskPerson(context.Background(), strings.NewReader("\n"), io.Discard); fault.CodeOf(err) != "needs-terminal" {
		t.Error(err)
	}
	in, typing := io.Pipe() // nobody types
	defer func() { _ = typing.Close() }()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := q.AskPerson(ctx, in, io.Discard); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestQuestionsNameWhatWaits(t *testing.T) {
	for _, c := range []struct {
		q         Question
		who, name string
	}{
		{Question{Stage: "ship", Environment: "production"}, "stage ship, environment production", "production"},
		{Question{Stage: pipeline.DefaultStage, Environment: "blue green"}, "environment blue green", `"blue green"`},
		{Question{Stage: "ship", Job: "sign"}, "job sign, stage ship", "sign"},
		{Question{Stage: pipeline.DefaultStage, Job: "sign"}, "job sign", "sign"},
		{Question{Stage: "ship"}, "stage ship", "ship"},
	} {
		if c.q.Who() != c.who || c.q.Name() != c.name {
			t.Errorf("%+v: %q, %q", c.q, c.q.Who(), c.q.Name())
		}
		var out bytes.Buffer
		_, err := c.q.AskPerson(context.Background(), strings.NewReader(""), &out)
		if want := strings.ToUpper(c.who[:1]) + c.who[1:] + " waits for you."; !strings.HasPrefix(out.String(), want) {
			t.Errorf("asks %q, want %q", out.String(), want)
		}
		var f *fault.Error
		if !errors.As(err, &f) || !strings.Contains(f.Do, "--approve "+c.name) {
			t.Errorf("no answer: %v", err)
		}
	}
}
