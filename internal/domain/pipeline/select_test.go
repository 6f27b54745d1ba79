package pipeline_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
)

const selectable = `stages:
- stage: build
  jobs:
  - job: lint
    steps: [{script: a, displayName: Look}]
  - job: make
    dependsOn: lint
    steps: [{checkout: self}, {script: b, name: compile}, {script: c}]
  - job: pack
    dependsOn: make
    steps: [{script: d}]
- stage: test
  isSkippable: false
  jobs: [{job: unit, steps: [{script: e}]}]
- stage: ship
  jobs:
  - deployment: web
    environment: prod
    strategy: {runOnce: {preDeploy: {steps: [{script: f}]}, deploy: {steps: [{script: g, name: push}]}}}
`

func TestSelect(t *testing.T) {
	for _, c := range []struct {
		name string
		sel  pipeline.Selection
		want string // stage(after)[job(after):steps …] …, or the code of an error
	}{
		{"nothing asked", pipeline.Selection{}, "build[lint:2 make(lint):3 pack(make):2] test(build)[unit:2] ship(test)[web:0+1+2]"},
		{"one stage", pipeline.Selection{Stages: []string{"SHIP"}}, "ship[web:0+1+2]"},
		{"the middle is spliced", pipeline.Selection{Stages: []string{"build", "ship"}}, "build[lint:2 make(lint):3 pack(make):2] ship(build)[web:0+1+2]"},
		{"a job of a stage", pipeline.Selection{Jobs: []string{"lint", "build.pack"}}, "build[lint:2 pack(lint):2]"},
		{"a step and its checkout", pipeline.Selection{Steps: []string{"compile"}}, "build[make:2]"},
		{"a step by display name", pipeline.Selection{Steps: []string{"look"}}, "build[lint:2]"},
		{"a step of a hook", pipeline.Selection{Steps: []string{"push"}}, "ship[web:0+1]"},
		{"a step without a name", pipeline.Selection{Steps: []string{"CmdLine"}, Stages: []string{"test"}}, "test[unit:2]"},
		{"the second without a name", pipeline.Selection{Steps: []string{"cmdline1"}, Stages: []string{"two"}}, "no-such-part"},
		{"a step of one hook", pipeline.Selection{Steps: []string{"preDeploy.CmdLine"}}, "ship[web:0+1]"},
		{"leave one out", pipeline.Selection{Skip: []string{"build"}}, "test[unit:2] ship(test)[web:0+1+2]"},
		{"not skippable", pipeline.Selection{Skip: []string{"test"}}, "stage-not-skippable"},
		{"unknown", pipeline.Selection{Stages: []string{"biuld"}}, "no-such-part"},
		{"unknown to skip", pipeline.Selection{Skip: []string{"none"}}, "no-such-part"},
		{"nothing left", pipeline.Selection{Stages: []string{"ship"}, Jobs: []string{"lint"}}, "no-such-part"},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan, diags, err := pipeline.Compile(context.Background(), files{"a.yml": []byte(selectable)}, pipeline.Input{File: "a.yml"})
			if err != nil || plan == nil {
				t.Fatal(err, diags)
			}
			got := ""
			if err := plan.Select(c.sel); err != nil {
				got = fault.CodeOf(err)
			} else {
				got = outline(plan)
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func outline(p *pipeline.Plan) string {
	after := func(names []string) string {
		if len(names) == 0 {
			return ""
		}
		return "(" + strings.Join(names, ",") + ")"
	}
	var stages []string
	for _, s := range p.Stages {
		var jobs []string
		for _, j := range s.Jobs {
			text := fmt.Sprintf("%s%s:%d", j.Name, after(j.DependsOn), len(j.Steps))
			if j.Deployment != nil {
				for _, h := range j.Deployment.Hooks {
					text += fmt.Sprintf("+%d", len(h.Steps))
				}
			}
			jobs = append(jobs, text)
		}
		stages = append(stages, s.Name+after(s.DependsOn)+"["+strings.Join(jobs, " ")+"]")
	}
	return strings.Join(stages, " ")
}
