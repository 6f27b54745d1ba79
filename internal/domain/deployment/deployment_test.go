package deployment

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"penstock.dev/penstock/internal/domain/pipeline"
)

func hooks(names ...string) []pipeline.Hook {
	var list []pipeline.Hook
	for _, n := range names {
		list = append(list, pipeline.Hook{Name: n})
	}
	return list
}

func vms(n int) []Target {
	var list []Target
	for i := range n {
		list = append(list, Target{Resource: fmt.Sprint(i), Name: fmt.Sprintf("vm-%d", i+1)})
	}
	return list
}

// play runs a rollout to its end; verdict says how a job ends.
func play(t testing.TB, d *pipeline.Deployment, targets []Target, verdict func(name string) pipeline.Result) (order []string, result pipeline.Result) {
	t.Helper()
	r, err := Begin(d, targets)
	if err != nil {
		t.Fatal(err)
	}
	results := map[string]pipeline.Result{}
	for range 1000 {
		var next []HookJob
		r, next = Advance(d, r, results, false)
		if r.Done {
			return order, r.Result()
		}
		for _, j := range next {
			order = append(order, j.Name)
			results[j.Name] = verdict(j.Name)
		}
	}
	t.Fatal("the rollout never ends")
	return nil, ""
}

func TestOrder(t *testing.T) {
	vm := pipeline.Environment{Name: "staging", ResourceType: "VirtualMachine"}
	for _, c := range []struct {
		name    string
		d       pipeline.Deployment
		targets int
		fails   string
		want    []string
		result  pipeline.Result
	}{
		{"runOnce without resource", pipeline.Deployment{Strategy: "runOnce", Hooks: hooks("preDeploy", "deploy", "success", "failure")}, 0, "",
			[]string{"preDeploy", "deploy", "on_success"}, "Succeeded"},
		{"runOnce on every VM at once", pipeline.Deployment{Strategy: "runOnce", Environment: vm, Hooks: hooks("deploy")}, 2, "",
			[]string{"deploy_vm-1", "deploy_vm-2"}, "Succeeded"},
		{"a failed hook skips the rest and repairs", pipeline.Deployment{Strategy: "runOnce", Hooks: hooks("deploy", "routeTraffic", "postRouteTraffic", "success", "failure")}, 0, "routeTraffic",
			[]string{"deploy", "routeTraffic", "on_failure"}, "Failed"},
		{"rolling one by one", pipeline.Deployment{Strategy: "rolling", MaxParallel: "50%", Environment: vm, Hooks: hooks("deploy", "postRouteTraffic")}, 2, "",
			[]string{"deploy_vm-1", "postRouteTraffic_vm-1", "deploy_vm-2", "postRouteTraffic_vm-2"}, "Succeeded"},
		{"rolling stops at the failing batch", pipeline.Deployment{Strategy: "rolling", MaxParallel: "1", Environment: vm, Hooks: hooks("deploy", "failure")}, 3, "deploy_vm-2",
			[]string{"deploy_vm-1", "deploy_vm-2", "on_failure_vm-2"}, "Failed"},
		{"a batch ends before its failure counts, on all of its VMs", pipeline.Deployment{Strategy: "rolling", MaxParallel: "34%", Environment: vm, Hooks: hooks("deploy", "postRouteTraffic", "success", "failure")}, 5, "deploy_vm-3",
			[]string{"deploy_vm-1", "deploy_vm-2", "postRouteTraffic_vm-1", "postRouteTraffic_vm-2", "on_success_vm-1", "on_success_vm-2", "deploy_vm-3", "deploy_vm-4", "on_failure_vm-3", "on_failure_vm-4"}, "Failed"},
		{"a canary stops at the failing increment", pipeline.Deployment{Strategy: "canary", Increments: []int{10, 50}, Hooks: hooks("deploy", "postRouteTraffic", "success", "failure")}, 0, "postRouteTraffic_10",
			[]string{"deploy_10", "postRouteTraffic_10", "on_failure_10"}, "Failed"},
		{"canary prepares once", pipeline.Deployment{Strategy: "canary", Increments: []int{10, 50}, Hooks: hooks("preDeploy", "deploy", "success")}, 0, "",
			[]string{"preDeploy_10", "deploy_10", "deploy_50", "on_success_50"}, "Succeeded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, result := play(t, &c.d, vms(c.targets), func(name string) pipeline.Result {
				if name == c.fails {
					return "Failed"
				}
				return "Succeeded"
			})
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if result != c.result {
				t.Errorf("result %s, want %s", result, c.result)
			}
		})
	}
}

func TestBatchSize(t *testing.T) {
	for n, want := range map[int]int{1: 1, 2: 1, 3: 2, 5: 2, 6: 3} {
		if got, err := BatchSize("34%", n); err != nil || got != want {
			t.Errorf("34%% of %d = %d, %v; want %d", n, got, err, want)
		}
	}
	for in, want := range map[string]int{"": 5, "2": 2, "9": 5, "1%": 1, "50%": 3, "100%": 5} {
		if got, err := BatchSize(in, 5); err != nil || got != want {
			t.Errorf("BatchSize(%q, 5) = %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"0", "-1", "101%", "0%", "x", "1.5"} {
		if _, err := BatchSize(in, 5); err == nil {
			t.Errorf("BatchSize(%q) is accepted", in)
		}
	}
}

func TestNoTarget(t *testing.T) {
	for _, d := range []pipeline.Deployment{
		{Strategy: "rolling", Hooks: hooks("deploy")},
		{Strategy: "runOnce", Environment: pipeline.Environment{Name: "x", ResourceType: "VirtualMachine"}, Hooks: hooks("deploy")},
	} {
		if _, err := Begin(&d, nil); err == nil {
			t.Errorf("%s without a VM begins", d.Strategy)
		}
	}
}

// A rolling deployment never works on more VMs at once than allowed, starts no
// batch after a failed one, and touches each VM at most once per hook.
func TestRollingProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "vms")
		size := rapid.IntRange(1, 12).Draw(t, "maxParallel")
		bad := rapid.IntRange(0, 12).Draw(t, "failing")
		d := &pipeline.Deployment{Strategy: "rolling", MaxParallel: fmt.Sprint(size),
			Environment: pipeline.Environment{ResourceType: "VirtualMachine"}, Hooks: hooks("deploy", "postRouteTraffic")}
		r, err := Begin(d, vms(n))
		if err != nil {
			t.Fatal(err)
		}
		results, seen, failed := map[string]pipeline.Result{}, map[string]bool{}, false
		for !r.Done {
			var next []HookJob
			r, next = Advance(d, r, results, false)
			if len(next) > size {
				t.Fatalf("%d at once, %d allowed", len(next), size)
			}
			if failed && len(next) > 0 {
				t.Fatal("a job starts after a failure")
			}
			for _, j := range next {
				if seen[j.Name] {
					t.Fatalf("%s runs twice", j.Name)
				}
				seen[j.Name] = true
				results[j.Name] = "Succeeded"
				if j.Name == fmt.Sprintf("deploy_vm-%d", bad) {
					results[j.Name], failed = "Failed", true
				}
			}
		}
		if want := map[bool]pipeline.Result{true: "Failed", false: "Succeeded"}[failed]; r.Result() != want {
			t.Fatalf("result %s, want %s", r.Result(), want)
		}
	})
}
