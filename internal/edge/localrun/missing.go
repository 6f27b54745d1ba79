package localrun

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/pipeline/reference"
)

// Missing is what a run needs from outside and nothing here gives.
type Missing struct {
	code  string   // of the error
	lines []string // where, and what
	// What could be written into penstock.local.yml; names.
	groups, connections, files, tasks []string
	written                           []string   // how steps write the names of the files
	pipelines                         []Pipeline // resources; the alias in place of the number
}

func (m *Missing) add(code, line string) {
	if !slices.Contains(m.lines, line) {
		m.lines = append(m.lines, line)
	}
	order := []string{"secret-not-given", "no-connection", "no-secure-file", "no-resource-run", "task-not-found"}
	if m.code == "" || slices.Index(order, code) < slices.Index(order, m.code) {
		m.code = code
	}
}

// Err is all of it in one error, with the lines to paste; nil when nothing is
// missing.
func (m *Missing) Err() error {
	if len(m.lines) == 0 {
		return nil
	}
	slices.SortFunc(m.lines, byPlace)
	return fault.New(fault.Invalid, m.code, "%s", strings.Join(m.lines, "\n")).Want("in penstock.local.yml beside the pipeline, filled in:\n%s", m.paste()).
		Try("write that; or go on without: --skip-missing leaves groups empty and skips the steps concerned, with a warning")
}

// byPlace orders lines that begin with FILE:LINE:COLUMN.
func byPlace(a, b string) int {
	place := func(line string) (file string, n int) {
		file, rest, _ := strings.Cut(line, ":")
		number, _, _ := strings.Cut(rest, ":")
		n, _ = strconv.Atoi(number)
		return file, n
	}
	fileA, lineA := place(a)
	fileB, lineB := place(b)
	return cmp.Or(cmp.Compare(fileA, fileB), cmp.Compare(lineA, lineB), cmp.Compare(a, b))
}

// paste is a penstock.local.yml that names what is missing.
func (m *Missing) paste() string {
	var b strings.Builder
	part := func(head string, names []string, line string) {
		slices.Sort(names)
		if names = slices.Compact(names); len(names) == 0 {
			return
		}
		b.WriteString(head + ":\n")
		for _, name := range names {
			fmt.Fprintf(&b, "  "+line+"\n", quoted(name))
		}
	}
	part("variableGroups", m.groups, "%s: { NAME: value, KEY: { secret: KEY } }")
	if len(m.groups) > 0 || m.code == "secret-not-given" {
		b.WriteString("secrets:\n  KEY: { env: KEY }              # or { file: PATH }, { stub: text }; --secret KEY=FILE does the same\n")
	}
	part("serviceConnections", m.connections, "%s: { stub: true }   # its steps are skipped; or type, url, scheme, parameters, data")
	part("secureFiles", m.files, "%s: { file: PATH }")
	if len(m.pipelines) > 0 {
		b.WriteString("pipelines:\n")
		for _, p := range m.pipelines {
			fmt.Fprintf(&b, "  %s: latest   # or the number of a local run; run the other pipeline first: penstock run FILE\n", quoted(p.Number))
		}
	}
	if slices.Sort(m.tasks); len(m.tasks) > 0 {
		b.WriteString("tasks:\n")
		for _, name := range slices.Compact(m.tasks) {
			fmt.Fprintf(&b, "- { skip: %s }   # or the folder of its package\n", quoted(name))
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

// quoted is a name as YAML takes it for text.
func quoted(name string) string {
	plain := func(r rune) bool {
		return r == '-' || r == '_' || r == '.' || r == '@' || r == ' ' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	if strings.IndexFunc(name, func(r rune) bool { return !plain(r) }) < 0 && strings.IndexAny(name[:1], "-.@ 0123456789") != 0 && name == strings.TrimSpace(name) {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", "''") + "'"
}

// SkipMissing lets the run go on without what is missing: groups are empty, and
// steps that name a connection, a file or a task that is not here are skipped.
// It returns what was passed over.
func (r *Request) SkipMissing(m *Missing) []string {
	for _, name := range m.groups {
		r.Plain[name], r.Secret[name] = map[string]string{}, map[string]string{}
	}
	r.StubConnections = true
	for _, name := range m.files {
		r.SecureFiles[name] = []byte("stub\n") // the file has to be one; no step gets it
	}
	r.SkipFiles = append(r.SkipFiles, m.written...)
	for _, p := range m.pipelines { // a run that has published nothing
		r.Pipelines = append(r.Pipelines, Pipeline{Source: p.Source, Number: "0"})
	}
	r.SkipTasks = append(r.SkipTasks, m.tasks...)
	lines := slices.Clone(m.lines)
	slices.SortFunc(lines, byPlace)
	*m = Missing{}
	return lines
}

// Skip says why a step is left out: its task, or a secure file that it names, is
// not here. "" = it is not left out.
func (r *Request) Skip(s *pipeline.Step) string {
	same := func(name string) func(string) bool {
		return func(other string) bool { return strings.EqualFold(name, other) }
	}
	if ref := s.Task + "@" + s.Version; slices.ContainsFunc(r.SkipTasks, same(ref)) {
		return "there is no task " + ref + " here, and the run goes on without it"
	}
	if len(r.SkipFiles) == 0 {
		return ""
	}
	for _, u := range reference.UsesOf(s) {
		for _, name := range u.Names {
			if u.Kind == reference.SecureFile && slices.ContainsFunc(r.SkipFiles, same(name)) {
				return "there is no secure file " + name + " here, and the run goes on without it"
			}
		}
	}
	return ""
}

// TaskRef is a task as steps name it.
type TaskRef struct{ Name, Version string }

// CheckTasks says of each task why it cannot run on this machine, nil where it
// can. Folders hold packages beside those of the machine.
type CheckTasks func(ctx context.Context, folders []string, refs []TaskRef) ([]error, error)

// NoTasks adds the tasks of the plan that are neither built in nor here as
// packages.
func (r *Request) NoTasks(ctx context.Context, plan *pipeline.Plan, check CheckTasks, m *Missing) error {
	if check == nil {
		return nil
	}
	first := map[TaskRef]*pipeline.Step{}
	for s := range agentSteps(plan) {
		ref := TaskRef{s.Task, s.Version}
		if first[ref] == nil && r.Skip(s) == "" {
			first[ref] = s
		}
	}
	refs := slices.SortedFunc(maps.Keys(first), func(a, b TaskRef) int { return strings.Compare(a.Name+"@"+a.Version, b.Name+"@"+b.Version) })
	list, err := check(ctx, r.Tasks, refs)
	if err != nil {
		return err
	}
	for i, err := range list {
		if err == nil {
			continue
		}
		at := first[refs[i]].Origin
		line := fmt.Sprintf("%s:%d:%d: %s", at.File, at.Line, at.Column, err)
		var e *fault.Error
		if question, _, near := strings.Cut(asFault(err, &e).Do, "?"); near && !reference.Known(first[refs[i]]) {
			line += "; " + question + "?"
		} else if e.Expected != "" {
			line += "; there is " + e.Expected
		}
		m.add("task-not-found", line)
		m.tasks = append(m.tasks, refs[i].Name+"@"+refs[i].Version)
	}
	return nil
}

func asFault(err error, e **fault.Error) *fault.Error {
	if !errors.As(err, e) {
		*e = &fault.Error{}
	}
	return *e
}

// agentSteps yields the steps that an agent may have to run.
func agentSteps(plan *pipeline.Plan) func(yield func(*pipeline.Step) bool) {
	return func(yield func(*pipeline.Step) bool) {
		for i := range plan.Stages {
			for k := range plan.Stages[i].Jobs {
				j := &plan.Stages[i].Jobs[k]
				if j.Pool.Server || strings.EqualFold(j.Condition, "false") || strings.EqualFold(plan.Stages[i].Condition, "false") {
					continue
				}
				lists := [][]pipeline.Step{j.Steps}
				if j.Deployment != nil {
					for _, h := range j.Deployment.Hooks {
						if h.Pool == nil || !h.Pool.Server {
							lists = append(lists, h.Steps)
						}
					}
				}
				for _, list := range lists {
					for n := range list {
						if s := &list[n]; !s.Disabled && !strings.EqualFold(s.Condition, "false") && !yield(s) {
							return
						}
					}
				}
			}
		}
	}
}
