package localrun

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"penstock.dev/penstock/internal/base/pattern"
	"penstock.dev/penstock/internal/domain/pipeline"
)

var (
	macroName   = pattern.Lazy(`\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)`)
	setInScript = pattern.Lazy(`(?i)task\.setvariable[^\]\n]*variable=([A-Za-z0-9_.-]+)`)
)

// shellWords are commands of a shell that are no programs.
var shellWords = []string{"pwd", "cd", "echo", "date", "ls", "cat", "command", "type", "hostname", "whoami", "uname", "nproc", "dirs", "jobs", "set", "times", "umask", "history"}

// predefinedGroups begin the names of variables that the service sets.
var predefinedGroups = []string{"build.", "system.", "agent.", "pipeline.", "environment.", "common.", "strategy.", "resources.", "checks.", "rev:", "date:", "release."}

// Undefined lists macros of the steps that nothing gives a value to, each with
// where it is used first: on the service they are variables of the pipeline's
// settings. Names in scripts count unless a program or a step of the run could
// mean them.
func (r *Request) Undefined(plan *pipeline.Plan) []string {
	known := r.defined(plan)
	var list []string
	seen := map[string]bool{}
	for s := range agentSteps(plan) {
		for _, text := range textsOf(s) {
			for _, m := range macroName().FindAllStringSubmatch(text, -1) {
				low := strings.ToLower(m[1])
				if seen[low] || known[low] || isPredefined(low) || isCommand(m[1]) || inEnvironment(m[1]) {
					continue
				}
				seen[low] = true
				list = append(list, fmt.Sprintf("%s (%s:%d)", m[1], s.Origin.File, s.Origin.Line))
			}
		}
	}
	return list
}

// textsOf are the texts of a step in which macros count; PowerShell writes
// expressions of its own in $( ).
func textsOf(s *pipeline.Step) []string {
	if strings.EqualFold(s.Task, "PowerShell") {
		return nil
	}
	var list []string
	for _, values := range []map[string]string{s.Inputs, s.Env} {
		for _, v := range values {
			list = append(list, v)
		}
	}
	slices.Sort(list)
	return list
}

func isPredefined(low string) bool {
	return low == "tf_build" || slices.ContainsFunc(predefinedGroups, func(p string) bool { return strings.HasPrefix(low, p) })
}

func isCommand(name string) bool {
	if slices.Contains(shellWords, strings.ToLower(name)) {
		return true
	}
	_, err := exec.LookPath(name)
	return err == nil
}

// inEnvironment says whether a macro stands for what the agent's environment has.
// Jobs do not see Penstock's own.
func inEnvironment(name string) bool {
	_, ok := os.LookupEnv(name)
	return ok && !strings.HasPrefix(name, "PENSTOCK_")
}

// defined are the names, in lower case, that something of the run gives a value:
// the file, the person, a group, a matrix, or a step.
func (r *Request) defined(plan *pipeline.Plan) map[string]bool {
	known := map[string]bool{}
	add := func(name string) { known[strings.ToLower(name)] = true }
	for name := range r.Settings {
		add(name)
	}
	for name := range r.Variables {
		add(name)
	}
	for _, groups := range []map[string]map[string]string{r.Plain, r.Secret} {
		for _, g := range groups {
			for name := range g {
				add(name)
			}
		}
	}
	lists := [][]pipeline.Variable{plan.Variables}
	for i := range plan.Stages {
		lists = append(lists, plan.Stages[i].Variables)
		for k := range plan.Stages[i].Jobs {
			j := &plan.Stages[i].Jobs[k]
			lists = append(lists, j.Variables)
			if j.Strategy != nil {
				for _, leg := range j.Strategy.Matrix {
					for name := range leg.Variables {
						add(name)
					}
				}
			}
		}
	}
	for _, list := range lists {
		for _, v := range list {
			add(v.Name)
		}
	}
	for s := range agentSteps(plan) {
		if strings.EqualFold(s.Task, "TwineAuthenticate") {
			add("PYPIRC_PATH")
		}
		for input, name := range s.Inputs {
			if strings.EqualFold(input, "cacheHitVar") {
				add(name)
			}
		}
		for _, text := range s.Inputs {
			for _, m := range setInScript().FindAllStringSubmatch(text, -1) {
				add(m[1])
				if s.Name != "" {
					add(s.Name + "." + m[1])
				}
			}
		}
		outputs(plan, s, add)
	}
	return known
}

// outputs are the names that steps read as outputs of a step: those of tasks are
// not known before.
func outputs(plan *pipeline.Plan, s *pipeline.Step, add func(string)) {
	for other := range agentSteps(plan) {
		for _, text := range textsOf(other) {
			for _, m := range macroName().FindAllStringSubmatch(text, -1) {
				if outputOf(s, m[1]) {
					add(m[1])
				}
			}
		}
	}
}

// outputOf says whether a name may be that of an output variable of a step. One
// without a name has its task's, with a number where there are several.
func outputOf(s *pipeline.Step, name string) bool {
	step, _, found := strings.Cut(name, ".")
	if s.Name == "" {
		return found && strings.EqualFold(strings.TrimRight(step, "0123456789"), s.Task)
	}
	return found && strings.EqualFold(step, s.Name)
}
