package pipeline_test

import (
	"strings"
	"testing"
	"time"

	"penstock.dev/penstock/internal/domain/pipeline"
)

func TestTellCondition(t *testing.T) {
	vars := map[string]string{"build.sourcebranch": "refs/heads/x", "quote": "it's", "long": strings.Repeat("z", 70<<10)}
	rc := pipeline.RuntimeContext{Slot: pipeline.SlotStepCondition, JobStatus: "Succeeded", Now: time.Now(),
		Variables: func(name string) (string, bool) { v, ok := vars[strings.ToLower(name)]; return v, ok }}
	for condition, want := range map[string]string{
		"":             "Evaluating: succeeded()|Result: True",
		"always()":     "Evaluating: always()|Result: True",
		"eq(1, '2')":   "Evaluating: eq(1, '2')|Expanded: eq(1, '2')|Result: False",
		"not(true)":    "Evaluating: not(True)|Expanded: not(True)|Result: False",
		"not a thing(": "",
		"and(succeeded(), eq(variables['Build.SourceBranch'], 'refs/heads/main'))": "Evaluating: and(succeeded(), eq(variables['Build.SourceBranch'], 'refs/heads/main'))|" +
			"Expanded: and(True, eq('refs/heads/x', 'refs/heads/main'))|Result: False",
		"and(failed(), eq(variables.Quote, ''))":      "Evaluating: and(failed(), eq(variables['Quote'], ''))|Expanded: and(False, eq(variables['Quote'], ''))|Result: False",
		"eq(lower(variables.quote), variables['no'])": "Evaluating: eq(lower(variables['quote']), variables['no'])|Expanded: eq('it''s', Null)|Result: False",
		"eq(variables.long, variables.quote)":         "Evaluating: eq(variables['long'], variables['quote'])|Expanded: eq(…, 'it''s')|Result: False",
	} {
		if got := strings.Join(pipeline.TellCondition(condition, rc), "|"); got != want {
			t.Errorf("%s:\n%s, want\n%s", condition, got, want)
		}
	}
}
