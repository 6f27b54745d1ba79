package run

import (
	"testing"

	"penstock.dev/penstock/internal/domain/pipeline"
)

func TestConditionOfAStageSeesVariables(t *testing.T) {
	plan := &pipeline.Plan{
		Variables: []pipeline.Variable{{Name: "main", Value: "$[eq(variables['Build.SourceBranch'], 'refs/heads/main')]"}, {Name: "numbered", Value: "$[counter('x', 1)]"}},
		Stages:    []pipeline.Stage{{Name: "a", Variables: []pipeline.Variable{{Name: "both", Value: "$[and(eq(variables.main, 'True'), eq(variables.deploy, 'yes'))]"}}}},
	}
	for condition, want := range map[string]bool{
		"eq(variables.deploy, 'yes')":                 true, // of the pipeline's settings
		"eq(variables.main, true)":                    true,
		"eq(variables.both, 'True')":                  true,
		"eq(variables.queued, 'last')":                true, // given with the run, before the settings
		"eq(variables['Build.SourceBranch'], 'mine')": false,
		"eq(variables.numbered, 41)":                  true, // one number for the run, however often it is asked
	} {
		plan.Stages[0].Condition = condition
		g := &graph{run: &Run{ID: "7", Branch: "refs/heads/main", Variables: map[string]string{"queued": "last"}}, plan: plan,
			settings: map[string]string{"Deploy": "yes", "queued": "first", "build.sourcebranch": "mine"}}
		taken := 0
		g.next = func(_ string, first int) int { taken++; return first + 39 + taken }
		g.stageVariables(nil)
		if got, err := g.stageCondition(&Stage{Name: "a"}); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", condition, got, err, want)
		}
	}
}
