// Package template expands `${{ }}`: parameters, conditions, loops, inserts and
// template calls. What comes out is a tree without expressions, in which every
// node still knows where it was written and which calls led there.
package template

import "strings"

// slot is where in the pipeline language a node stands. Only the places that
// matter to expansion have one: those that hold template calls or variables.
type slot int

const (
	slotAny  slot = iota
	slotData      // arguments of a template: lists are kept as they are
	slotRoot
	slotStages
	slotStage
	slotJobs
	slotJob
	slotSteps
	slotStep
	slotVariables
	slotVariable
	slotStrategy // of a deployment: strategies, hooks and their steps
)

// child is the slot of a mapping's value.
func (s slot) child(key string) slot {
	key = strings.ToLower(key)
	switch {
	case s == slotData:
		return slotData
	case key == "variables" && (s == slotRoot || s == slotStage || s == slotJob):
		return slotVariables
	case key == "stages" && s == slotRoot:
		return slotStages
	case (key == "jobs" || key == "phases") && (s == slotRoot || s == slotStage):
		return slotJobs
	case key == "steps" && (s == slotRoot || s == slotJob || s == slotStrategy):
		return slotSteps
	case key == "strategy" && s == slotJob:
		return slotStrategy
	case s == slotStrategy:
		return slotStrategy
	case key == "parameters" || key == "templatecontext":
		return slotData
	}
	return slotAny
}

// item is the slot of a sequence's members.
func (s slot) item() slot {
	switch s {
	case slotStages:
		return slotStage
	case slotJobs:
		return slotJob
	case slotSteps:
		return slotStep
	case slotVariables:
		return slotVariable
	case slotData:
		return slotData
	default:
		return slotAny
	}
}

// calls reports whether a sequence may hold template calls.
func (s slot) calls() bool {
	return s == slotStages || s == slotJobs || s == slotSteps || s == slotVariables
}

// key is the content key of a template file for the list.
func (s slot) key() string {
	switch s {
	case slotStages:
		return "stages"
	case slotJobs:
		return "jobs"
	case slotSteps:
		return "steps"
	default:
		return "variables"
	}
}
