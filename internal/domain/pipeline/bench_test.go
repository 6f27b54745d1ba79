package pipeline_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/domain/pipeline"
)

// tree is a root that calls so many templates in all, in two levels, each with
// parameters, conditions and a loop: what real roots look like.
func tree(count int) files {
	src := files{}
	var root strings.Builder
	root.WriteString("parameters:\n- {name: env, default: dev}\nvariables:\n- {name: v, value: x}\nstages:\n- stage: build\n  jobs:\n")
	outer := max(1, (count-1)/4)
	left := count - 1 - outer
	for i := range outer {
		inner := left / outer
		if i < left%outer {
			inner++
		}
		fmt.Fprintf(&root, "  - template: jobs%d.yml\n    parameters: {name: j%d, env: '${{ parameters.env }}'}\n", i, i)
		var job strings.Builder
		fmt.Fprint(&job, "parameters:\n- name: name\n- name: env\n- {name: oses, type: object, default: [linux, windows]}\njobs:\n- ${{ each os in parameters.oses }}:\n  - job: ${{ parameters.name }}_${{ os }}\n    ${{ if eq(os, 'linux') }}:\n      pool: {vmImage: ubuntu-latest}\n    ${{ else }}:\n      pool: {vmImage: windows-latest}\n    steps:\n    - checkout: self\n")
		for k := range inner {
			fmt.Fprintf(&job, "    - template: steps%d_%d.yml\n      parameters: {title: 'On ${{ os }}', on: \"${{ eq(parameters.env, 'dev') }}\"}\n", i, k)
			src[fmt.Sprintf("steps%d_%d.yml", i, k)] = []byte("parameters:\n- name: title\n- {name: on, type: boolean}\nsteps:\n" + strings.Repeat("- ${{ if and(parameters.on, ne(variables['Build.Reason'], 'PullRequest')) }}:\n  - bash: echo ${{ upper(parameters.title) }}\n    displayName: ${{ parameters.title }}\n    env: {A: '${{ variables.v }}'}\n- task: CopyFiles@2\n  inputs: {Contents: '**', TargetFolder: $(Build.ArtifactStagingDirectory)}\n", 3))
		}
		src[fmt.Sprintf("jobs%d.yml", i)] = []byte(job.String())
	}
	src["azure-pipelines.yml"] = []byte(root.String())
	return src
}

func benchmarkCompile(b *testing.B, src files) {
	b.ReportAllocs()
	for b.Loop() {
		plan, diags, err := pipeline.Compile(context.Background(), src, pipeline.Input{File: "azure-pipelines.yml", Variables: map[string]string{"Build.Reason": "Manual"}})
		if plan == nil {
			b.Fatal(err, diags)
		}
	}
}

func BenchmarkCompile8Files(b *testing.B)  { benchmarkCompile(b, tree(8)) }
func BenchmarkCompile52Files(b *testing.B) { benchmarkCompile(b, tree(52)) }

func BenchmarkCompile10000Jobs(b *testing.B) {
	list := func(n int) string {
		return strings.TrimSuffix(strings.Repeat("1,", n), ",")
	}
	benchmarkCompile(b, files{"azure-pipelines.yml": []byte("parameters:\n- {name: s, type: object, default: [" + list(1000) + "]}\n- {name: j, type: object, default: [" + list(10) + "]}\nstages:\n- ${{ each a in parameters.s }}:\n  - stage:\n    dependsOn: []\n    jobs:\n    - ${{ each c in parameters.j }}:\n      - job:\n        steps:\n        - script: echo ${{ a }} ${{ c }}\n")})
}

func BenchmarkExpand8Files(b *testing.B) {
	src := tree(8)
	b.ReportAllocs()
	for b.Loop() {
		e, diags, err := pipeline.Expand(context.Background(), src, pipeline.Input{File: "azure-pipelines.yml"})
		if e == nil {
			b.Fatal(err, diags)
		}
		if _, err := e.YAML(); err != nil {
			b.Fatal(err)
		}
	}
}
