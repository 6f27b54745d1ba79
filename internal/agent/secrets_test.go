package agent

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"penstock.dev/penstock/internal/agent/command"
	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/mask"
	"penstock.dev/penstock/internal/domain/run"
)

// No form of a secret leaves a step: not in the log, nor in an issue, the title
// or an error, whatever the pieces in which a program writes it.
func TestNoFormOfASecretLeavesAStep(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringMatching(`[!-)+-~äö]{4,16}`).Draw(t, "secret")
		quoted, err := json.Marshal(secret)
		if err != nil {
			t.Fatal(err)
		}
		forms := []string{secret, url.QueryEscape(secret), url.PathEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret)), string(quoted[1 : len(quoted)-1])}
		m := newMemory()
		j := &job{masker: &mask.Masker{}, vars: map[string]run.Variable{}, link: m, m: &run.JobMessage{}}
		s := &step{job: j, order: 1, done: make(chan struct{})}
		s.report.Order, s.report.DisplayName = 1, "title "+secret
		s.output(command.Command{Area: "task", Action: "setsecret", Data: secret}.String())
		o := &output{step: s, command: task.Command{FailOnStderr: rapid.Bool().Draw(t, "failOnStderr")}}
		long := &longLine{}
		for _, f := range forms {
			s.output("before " + f + " after")
			s.output(command.Command{Area: "task", Action: "logissue", Properties: map[string]string{"type": "error", "sourcepath": f, "code": f}, Data: f}.String())
			s.output(command.Command{Area: "task", Action: "complete", Properties: map[string]string{"result": "Failed"}, Data: f}.String())
			s.output(command.Command{Area: "nobody", Action: f}.String())
			s.fail("it failed: " + f)
			at := rapid.IntRange(0, len(f)).Draw(t, "cut")
			o.show(long, "long "+f[:at], true, false)
			o.show(long, f[at:]+" line", false, true)
		}
		s.end(run.Failed)
		all := m.logs[1] + m.steps[1].DisplayName + strings.Join(m.steps[1].Errors, "\n") + strings.Join(m.steps[1].Warnings, "\n")
		for _, f := range forms {
			if strings.Contains(all, f) {
				t.Fatalf("%q is readable in\n%s", f, all)
			}
		}
	})
}

// What is too short to be masked everywhere is named, once, where the job begins.
func TestShortSecretsAreNamed(t *testing.T) {
	vars := []run.Variable{{Name: "pin", Value: "007", Secret: true}, {Name: "Code", Value: "x", Secret: true}, {Name: "none", Secret: true}, {Name: "key", Value: "hunter-22", Secret: true}}
	_, m := runSteps(t, context.Background(), vars, bash("echo 1007 hunter-22"), bash("echo '##vso[task.setsecret]abc'"))
	want := "secret variable Code, pin has fewer than 4 characters"
	if got := m.steps[1].Warnings; len(got) != 1 || !strings.Contains(got[0], want) || !strings.Contains(m.logs[1], "##[warning]"+want) {
		t.Errorf("%q, want %q\n%s", got, want, m.logs[1])
	}
	if !strings.Contains(m.logs[1], "1007 ***") || len(m.steps[2].Warnings) != 0 {
		t.Errorf("%q\n%s", m.steps[2].Warnings, m.logs[1])
	}
	if _, m := runSteps(t, context.Background(), vars[2:], bash("true")); len(m.steps[1].Warnings) != 0 {
		t.Errorf("without a short one: %q", m.steps[1].Warnings)
	}
}
