package server

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/domain/agentpool"
	"penstock.dev/penstock/internal/domain/application"
	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/pullrequest"
	"penstock.dev/penstock/internal/domain/run"
)

var update = flag.Bool("update", false, "write again what the tests compare with: diagrams, conformance cases")

// The diagrams in docs/states are printed from the tables of legal moves.
func TestStateDiagrams(t *testing.T) {
	for name, d := range map[string]struct{ title, diagram string }{
		"run":          {"Run, stage, phase, job and step", run.Moves.Mermaid(run.Pending)},
		"job-request":  {"Job request", agentpool.RequestMoves.Mermaid(agentpool.Queued)},
		"approval":     {"Approval", environment.ApprovalMoves.Mermaid(environment.Pending)},
		"pull-request": {"Pull request", pullrequest.Moves.Mermaid(pullrequest.Active)},
		"swap":         {"Swap", application.SwapMoves.Mermaid(application.SwapPreparing)},
	} {
		want := "# " + d.title + "\n\nPrinted from the table of legal moves; `go test ./internal/server -run StateDiagrams -update` prints it again.\n\n```mermaid\n" + d.diagram + "```\n"
		file := filepath.Join("..", "..", "docs", "states", name+".md")
		if *update {
			if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got, err := os.ReadFile(file)
		if err != nil || strings.TrimSpace(string(got)) != strings.TrimSpace(want) {
			t.Errorf("%s is not what the table says (%v)", file, err)
		}
	}
}
