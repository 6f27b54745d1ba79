package pipeline

import (
	"fmt"

	"penstock.dev/penstock/internal/domain/pipeline/internal/expression"
)

// addStatusFunctions adds always, succeeded, failed, succeededOrFailed and
// canceled: those of steps look at the job so far, the others at dependencies.
func addStatusFunctions(into map[string]expression.Function, slot RuntimeSlot) {
	most := 255
	if slot == SlotStepCondition {
		most = 0
	}
	add := func(name string, most int, f func(rc *RuntimeContext, names []string) bool) {
		into[name] = expression.Function{Max: most, Call: func(state any, args []expression.Value) (expression.Value, error) {
			names := make([]string, len(args))
			for i, a := range args {
				text, ok := expression.ToString(a)
				if !ok {
					return nil, fmt.Errorf("%s takes names, not %s", name, expression.TypeName(a))
				}
				names[i] = text
			}
			return f(state.(*RuntimeContext), names), nil
		}}
	}
	add("always", 0, func(*RuntimeContext, []string) bool { return true })
	add("canceled", 0, func(rc *RuntimeContext, _ []string) bool { return rc.canceled() })
	add("succeeded", most, func(rc *RuntimeContext, names []string) bool { return rc.succeeded(names) })
	add("failed", most, func(rc *RuntimeContext, names []string) bool { return rc.failed(names) })
	add("succeededorfailed", most, func(rc *RuntimeContext, names []string) bool { return rc.succeededOrFailed(names) })
}

func good(r Result) bool { return r == Succeeded || r == SucceededWithIssues }

func (rc *RuntimeContext) canceled() bool {
	return rc.Canceled || rc.Slot == SlotStepCondition && rc.JobStatus == Canceled
}

func (rc *RuntimeContext) succeeded(names []string) bool {
	if rc.canceled() {
		return false
	}
	if rc.Slot == SlotStepCondition {
		return good(rc.JobStatus) || rc.JobStatus == ""
	}
	return rc.all(names, good)
}

func (rc *RuntimeContext) failed(names []string) bool {
	if rc.canceled() {
		return false
	}
	if rc.Slot == SlotStepCondition {
		return rc.JobStatus == Failed
	}
	return !rc.all(names, func(r Result) bool { return r != Failed }) && rc.known(names)
}

func (rc *RuntimeContext) succeededOrFailed(names []string) bool {
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
func (rc *RuntimeContext) all(names []string, test func(Result) bool) bool {
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

func (rc *RuntimeContext) known(names []string) bool {
	for _, name := range names {
		if dep, ok := rc.dependency(name); ok && dep.Result == Failed {
			return true
		}
	}
	return len(names) == 0
}

func (rc *RuntimeContext) dependency(name string) (Dependency, bool) {
	for _, set := range []map[string]Dependency{rc.Dependencies, rc.Ancestors} {
		for key, dep := range set {
			if expression.EqualFold(key, name) {
				return dep, true
			}
		}
	}
	return Dependency{}, false
}
