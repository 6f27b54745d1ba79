package pipeline

import (
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/expression"
)

// statusFunctions adds always, succeeded, failed, succeededOrFailed and
// canceled: those of steps look at the job so far, the others at dependencies.
func (rc RuntimeContext) statusFunctions(into map[string]expression.Function) {
	most := 255
	if rc.Slot == SlotStepCondition {
		most = 0
	}
	add := func(name string, most int, f func(names []string) bool) {
		into[name] = expression.Function{Max: most, Call: func(args []expression.Value) (expression.Value, error) {
			names := make([]string, len(args))
			for i, a := range args {
				names[i], _ = expression.ToString(a)
			}
			return f(names), nil
		}}
	}
	add("always", 0, func([]string) bool { return true })
	add("canceled", 0, func([]string) bool { return rc.canceled() })
	add("succeeded", most, rc.succeeded)
	add("failed", most, rc.failed)
	add("succeededorfailed", most, rc.succeededOrFailed)
}

func good(r Result) bool { return r == Succeeded || r == SucceededWithIssues }

func (rc RuntimeContext) canceled() bool {
	return rc.Canceled || rc.Slot == SlotStepCondition && rc.JobStatus == Canceled
}

func (rc RuntimeContext) succeeded(names []string) bool {
	if rc.canceled() {
		return false
	}
	if rc.Slot == SlotStepCondition {
		return good(rc.JobStatus) || rc.JobStatus == ""
	}
	return rc.all(names, good)
}

func (rc RuntimeContext) failed(names []string) bool {
	if rc.canceled() {
		return false
	}
	if rc.Slot == SlotStepCondition {
		return rc.JobStatus == Failed
	}
	return !rc.all(names, func(r Result) bool { return r != Failed }) && rc.known(names)
}

func (rc RuntimeContext) succeededOrFailed(names []string) bool {
	if rc.canceled() {
		return false
	}
	if rc.Slot == SlotStepCondition {
		return good(rc.JobStatus) || rc.JobStatus == "" || rc.JobStatus == Failed
	}
	if len(names) == 0 {
		return rc.all(nil, func(r Result) bool { return r != Skipped })
	}
	return rc.all(names, func(r Result) bool { return good(r) || r == Failed })
}

// all tests the named dependencies, or every node before this one. A name that
// is no dependency fails the test.
func (rc RuntimeContext) all(names []string, test func(Result) bool) bool {
	if len(names) == 0 {
		before := rc.Ancestors
		if before == nil {
			before = rc.Dependencies
		}
		for _, dep := range before {
			if !test(dep.Result) {
				return false
			}
		}
		return true
	}
	for _, name := range names {
		dep, ok := rc.dependency(name)
		if !ok || !test(dep.Result) {
			return false
		}
	}
	return true
}

func (rc RuntimeContext) known(names []string) bool {
	for _, name := range names {
		if dep, ok := rc.dependency(name); ok && dep.Result == Failed {
			return true
		}
	}
	return len(names) == 0
}

func (rc RuntimeContext) dependency(name string) (Dependency, bool) {
	for _, set := range []map[string]Dependency{rc.Dependencies, rc.Ancestors} {
		for key, dep := range set {
			if strings.EqualFold(key, name) {
				return dep, true
			}
		}
	}
	return Dependency{}, false
}
