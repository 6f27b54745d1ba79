package pipeline_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/internal/domain/pipeline"
)

func lookupIn(values map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := values[strings.ToLower(name)]; return v, ok }
}

func TestResolve(t *testing.T) {
	rc := pipeline.RuntimeContext{
		Slot: pipeline.SlotJobVariable, Variables: lookupIn(map[string]string{"t": "7", "p": "linux", "yes": "true", "img": "alpine", "empty": ""}),
		Dependencies: map[string]pipeline.Dependency{"a": {Result: pipeline.Succeeded, Outputs: map[string]string{"s.n": "3"}}},
	}
	job := &pipeline.Job{
		Name: "j", DisplayName: "On $(p)", TimeoutInMinutes: 60, CancelTimeoutInMinutes: 5, Pool: pipeline.Pool{Name: "$(p)", Demands: []string{"os -equals $(p)"}},
		Container: &pipeline.Container{Image: "$[ variables.img ]"}, Services: map[string]string{"db": "$[ variables.img ]", "none": "$[ variables.empty ]"},
		Strategy: &pipeline.Strategy{}, Deferred: map[string]string{
			"timeoutInMinutes": "$[ variables.t ]", "cancelTimeoutInMinutes": "$(t)", "continueOnError": "$(yes)",
			"parallel": "$[ dependencies.a.outputs['s.n'] ]", "maxParallel": "$[ variables.nothing ]",
		},
	}
	before := *job
	got, err := job.Resolve(rc)
	if err != nil {
		t.Fatal(err)
	}
	want := &pipeline.Job{
		Name: "j", DisplayName: "On linux", TimeoutInMinutes: 7, CancelTimeoutInMinutes: 7, ContinueOnError: true, Pool: pipeline.Pool{Name: "linux", Demands: []string{"os -equals linux"}},
		Container: job.Container, Services: job.Services, Strategy: &pipeline.Strategy{Parallel: 3},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(&before, job); diff != "" {
		t.Error("the plan was changed", diff)
	}
	if same, err := got.Resolve(rc); err != nil || same != got {
		t.Errorf("a job with nothing to compute is itself: %v %v", same, err)
	}
}

func TestContainersOfALeg(t *testing.T) {
	rc := pipeline.RuntimeContext{Slot: pipeline.SlotJobVariable, Variables: lookupIn(map[string]string{"img": "alpine", "empty": ""})}
	for image, want := range map[string]*pipeline.Container{
		"$[ variables.img ]": {Image: "alpine"}, "$(img):3": {Image: "alpine:3"}, "debian": {Image: "debian"}, "$[ variables.empty ]": nil, "$[ variables.nobody ]": nil,
	} {
		job := &pipeline.Job{Container: &pipeline.Container{Image: image}, Services: map[string]string{"db": "$[ variables.img ]", "none": "$[ variables.empty ]"}}
		got, services, err := job.Containers(rc)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", image, err, diff)
		}
		if diff := cmp.Diff(map[string]string{"db": "alpine"}, services); diff != "" {
			t.Error(diff)
		}
	}
	alias := &pipeline.Job{Container: &pipeline.Container{Alias: "tools"}}
	if got, _, err := alias.Containers(rc); err != nil || got.Alias != "tools" {
		t.Errorf("%v %v", got, err)
	}
	if _, _, err := (&pipeline.Job{Container: &pipeline.Container{Image: "$[ gt(1, 'x') ]"}}).Containers(rc); err == nil || !strings.Contains(err.Error(), "container") {
		t.Errorf("%v", err)
	}
}

func TestResolveMistakes(t *testing.T) {
	rc := pipeline.RuntimeContext{Slot: pipeline.SlotJobVariable, Variables: lookupIn(map[string]string{"word": "abc"})}
	for key, text := range map[string]string{"timeoutInMinutes": "$(word)", "parallel": "$[ variables.word ]", "maxParallel": "$(unknown)", "continueOnError": "$(word)", "cancelTimeoutInMinutes": "$[ gt(1, 'x') ]"} {
		job := &pipeline.Job{Strategy: &pipeline.Strategy{}, Deferred: map[string]string{key: text}}
		if got, err := job.Resolve(rc); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v, %v", key, got, err)
		}
	}
}
