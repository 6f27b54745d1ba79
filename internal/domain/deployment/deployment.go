// Package deployment carries a deployment job over its targets: which lifecycle
// hook runs where, and when. Every function is pure; run stores the Rollout.
package deployment

import (
	"slices"
	"strconv"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
)

// Target is one VM a deployment runs on. The zero Target is "no resource": the
// hooks run on the job's pool.
type Target struct {
	Resource string `json:"resource,omitempty"` // resource id
	Name     string `json:"name,omitempty"`
	AgentID  string `json:"agentId,omitempty"`
}

// Rollout is how far a deployment job has come.
type Rollout struct {
	Batches     [][]Target `json:"batches"`
	Increments  []int      `json:"increments,omitempty"` // canary: one per batch
	Batch       int        `json:"batch"`
	Hook        string     `json:"hook"`     // the hook under way; "" before the first
	Launched    []string   `json:"launched"` // names of its jobs
	Failed      bool       `json:"failed"`
	Issues      bool       `json:"issues"`
	Canceled    bool       `json:"canceled"`
	Done        bool       `json:"done"`
	Application string     `json:"application,omitempty"` // whose slot the targets are
	Slot        string     `json:"slot,omitempty"`        // pinned when the job started
}

// HookJob is one job to start: a hook on a target.
type HookJob struct {
	Name      string
	Hook      string
	Target    Target
	Increment int
}

// Begin cuts the targets into batches. Rolling and canary need what they need:
// rolling needs VMs, canary takes none.
func Begin(d *pipeline.Deployment, targets []Target) (Rollout, error) {
	if d.Environment.ResourceType != "" || d.Environment.ResourceName != "" {
		if len(targets) == 0 {
			return Rollout{}, noTarget(d)
		}
	} else if d.Strategy != pipeline.Rolling {
		targets = nil
	}
	r := Rollout{}
	switch d.Strategy {
	case pipeline.Canary:
		for _, inc := range d.Increments {
			r.Batches, r.Increments = append(r.Batches, []Target{{}}), append(r.Increments, inc)
		}
		if len(r.Batches) == 0 {
			return r, fault.New(fault.Invalid, "no-increments", "strategy canary has no increments")
		}
	case pipeline.Rolling:
		if len(targets) == 0 {
			return Rollout{}, noTarget(d)
		}
		size, err := BatchSize(d.MaxParallel, len(targets))
		if err != nil {
			return r, err
		}
		for from := 0; from < len(targets); from += size {
			r.Batches = append(r.Batches, targets[from:min(from+size, len(targets))])
		}
	default:
		if len(targets) == 0 {
			targets = []Target{{}}
		}
		r.Batches = [][]Target{targets}
	}
	return r, nil
}

func noTarget(d *pipeline.Deployment) error {
	e := fault.New(fault.Invalid, "no-matching-vm", "environment %s has no VM for this job", d.Environment.Name)
	if len(d.Environment.Tags) > 0 {
		e = e.Want("a VM with all of the tags %s", strings.Join(d.Environment.Tags, ", "))
	}
	return e.Try("look at the environment's VMs: penstock env show %s", d.Environment.Name)
}

// BatchSize is how many of n targets run at once. A percentage is rounded up,
// so that it is never none; nothing means all.
func BatchSize(maxParallel string, n int) (int, error) {
	bad := fault.New(fault.Invalid, "max-parallel", "maxParallel %q is not usable", maxParallel).Want("a number of at least 1, or 1%% to 100%%")
	if maxParallel == "" {
		return n, nil
	}
	percent, isPercent := strings.CutSuffix(maxParallel, "%")
	v, err := strconv.Atoi(strings.TrimSpace(percent))
	if err != nil || v < 1 || isPercent && v > 100 {
		return 0, bad
	}
	if isPercent {
		v = (n*v + 99) / 100
	}
	return min(v, n), nil
}

var forward = []string{pipeline.HookPreDeploy, pipeline.HookDeploy, pipeline.HookRouteTraffic, pipeline.HookPostRouteTraffic}

// Advance decides what follows. Results holds the result of every launched job
// that has ended. It returns the new state and the jobs to start now; nothing
// to start with Done unset means: wait. Repeating it with the same input gives
// the same answer.
func Advance(d *pipeline.Deployment, r Rollout, results map[string]pipeline.Result, canceled bool) (Rollout, []HookJob) {
	if r.Done {
		return r, nil
	}
	failedNow := false
	for _, name := range r.Launched {
		switch results[name] {
		case "":
			return r, nil // still running
		case "Failed", "Skipped":
			failedNow = true
		case "Canceled":
			r.Canceled = true
		case "SucceededWithIssues":
			r.Issues = true
		}
	}
	r.Launched = nil
	outcome := r.Hook == pipeline.HookOnFailure || r.Hook == pipeline.HookOnSuccess
	r.Failed = r.Failed || failedNow
	switch {
	case failedNow && !outcome:
		return launch(d, r, pipeline.HookOnFailure)
	case r.Canceled || canceled:
		r.Canceled, r.Done = true, true
		return r, nil
	case r.Failed:
		r.Done = true
		return r, nil
	}
	return r.proceed(d, outcome)
}

func (r Rollout) proceed(d *pipeline.Deployment, outcome bool) (Rollout, []HookJob) {
	if !outcome {
		for _, h := range forward[hookIndex(r.Hook)+1:] {
			if r.skips(h) || d.Hook(h) == nil {
				continue
			}
			return launch(d, r, h)
		}
		if last := r.Batch == len(r.Batches)-1; d.Strategy != pipeline.Canary || last {
			if d.Hook(pipeline.HookOnSuccess) != nil {
				return launch(d, r, pipeline.HookOnSuccess)
			}
		}
	}
	if r.Batch < len(r.Batches)-1 {
		r.Batch++
		r.Hook = ""
		return r.proceed(d, false)
	}
	r.Done = true
	return r, nil
}

// skips: a canary prepares once, before its first increment.
func (r Rollout) skips(hook string) bool {
	return hook == pipeline.HookPreDeploy && len(r.Increments) > 0 && r.Batch > 0
}

func hookIndex(name string) int {
	for i, h := range forward {
		if h == name {
			return i
		}
	}
	return -1
}

func launch(d *pipeline.Deployment, r Rollout, hook string) (Rollout, []HookJob) {
	if d.Hook(hook) == nil {
		r.Done = true
		return r, nil
	}
	r.Hook = hook
	var jobs []HookJob
	for _, t := range r.Batches[r.Batch] {
		j := HookJob{Name: jobName(hook, t, r), Hook: hook, Target: t}
		if len(r.Increments) > 0 && slices.Contains(forward[1:], hook) { // the others are for all increments
			j.Increment = r.Increments[r.Batch]
		}
		r.Launched = append(r.Launched, j.Name)
		jobs = append(jobs, j)
	}
	return r, jobs
}

func jobName(hook string, t Target, r Rollout) string {
	if hook == pipeline.HookOnFailure || hook == pipeline.HookOnSuccess {
		hook = "on_" + hook
	}
	switch {
	case t.Name != "":
		return hook + "_" + t.Name
	case len(r.Increments) > 0:
		return hook + "_" + strconv.Itoa(r.Increments[r.Batch])
	}
	return hook
}

// Result is the deployment's result once it is done. A hook `on: failure` that
// succeeds repairs production, not the result.
func (r Rollout) Result() pipeline.Result {
	switch {
	case r.Failed:
		return "Failed"
	case r.Canceled:
		return "Canceled"
	case r.Issues:
		return "SucceededWithIssues"
	}
	return "Succeeded"
}

// CycleName is the value of Strategy.CycleName in a hook's jobs.
func CycleName(hook string) string {
	switch hook {
	case pipeline.HookPreDeploy:
		return "PreIteration"
	case pipeline.HookDeploy, pipeline.HookRouteTraffic, pipeline.HookPostRouteTraffic:
		return "Iteration"
	}
	return "PostIteration"
}

// Action is the value of strategy.action in a hook's jobs of a canary: what its
// tasks do with the new version.
func Action(hook string) string {
	switch hook {
	case pipeline.HookOnSuccess:
		return "promote"
	case pipeline.HookOnFailure:
		return "reject"
	}
	return "deploy"
}
