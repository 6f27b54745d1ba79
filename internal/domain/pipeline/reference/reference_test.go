package reference_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/pipeline/reference"
)

type file string

func (f file) ReadFile(context.Context, string, string) ([]byte, error) { return []byte(f), nil }

func TestOf(t *testing.T) {
	const text = `
resources:
  repositories:
  - { repository: lib, type: github, name: o/lib, endpoint: hub }
  pipelines:
  - { pipeline: up, source: build }
  containers:
  - { container: c, image: alpine, endpoint: registry }
  webhooks:
  - { webhook: w, connection: hooks }
variables:
- group: all
stages:
- stage: a
  variables: [{ group: all }, { group: mine }]
  pool: linux
  jobs:
  - job: x
    uses: { repositories: [other], pools: [arm] }
    steps:
    - task: AzureCLI@2
      inputs: { azureSubscription: prod, scriptType: bash, scriptLocation: inlineScript, inlineScript: x }
    - task: AzureCLI@2
      inputs: { AZURESUBSCRIPTION: Prod, scriptType: bash, scriptLocation: inlineScript, inlineScript: x }
    - task: DownloadSecureFile@1
      inputs: { secureFile: cert.pfx }
  - deployment: d
    environment: production
    strategy: { runOnce: { deploy: { pool: windows, steps: [ { script: x } ] } } }
`
	plan, diags, err := pipeline.Compile(t.Context(), file(text), pipeline.Input{File: "azure-pipelines.yml"})
	if plan == nil {
		t.Fatal(err, diags)
	}
	var got []string
	for _, r := range reference.Of(plan) {
		got = append(got, strings.TrimSpace(string(r.Kind)+" "+r.Name+" "+r.Stage))
		if r.Origin.Line == 0 {
			t.Errorf("%v has no place", r)
		}
	}
	want := []string{
		"environment production a", "pipeline build", "pool arm a", "pool linux a", "pool windows a", "repository o/lib", "repository other a",
		"secureFile cert.pfx a", "serviceConnection hooks", "serviceConnection hub", "serviceConnection prod a", "serviceConnection registry",
		"variableGroup all", "variableGroup all a", "variableGroup mine a",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
