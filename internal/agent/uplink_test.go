package agent

import (
	"strings"
	"testing"

	"penstock.dev/penstock/internal/domain/run"
)

// A secret output variable is never on disk: after a restart it is gone.
func TestKeptReports(t *testing.T) {
	a := &Agent{id: Identity{Name: "one"}}
	lost := run.JobReport{Result: run.Succeeded, Outputs: map[string]string{"s.plain": "x"}, Secret: []string{"s.key"}}
	if got := a.kept(lost); got.Result != run.Abandoned || !strings.Contains(got.Cause, "s.key") || !strings.Contains(got.Cause, "agent one was restarted") {
		t.Errorf("%+v", got)
	}
	for name, rep := range map[string]run.JobReport{"no secret": {Result: run.Succeeded, Outputs: map[string]string{"s.plain": "x"}}, "failed": {Result: run.Failed, Secret: []string{"s.key"}}} {
		if got := a.kept(rep); got.Result != rep.Result || got.Cause != "" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
