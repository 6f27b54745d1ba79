// Package catalog knows the tasks that come with the service and with Penstock:
// names, versions, inputs and when an input counts. It holds facts only, no
// texts of the tasks; tools/taskcatalog writes them.
package catalog

import (
	"bytes"
	_ "embed" // for the tasks
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"

	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

//go:embed tasks.jsonl
var lines []byte

// Task is one major version of a task.
type Task struct {
	Name       string  `json:"n"`
	ID         string  `json:"i"`
	Version    string  `json:"v"` // the newest known
	Deprecated bool    `json:"x"`
	Inputs     []Input `json:"in"`
}

// Input is an input of a task.
type Input struct {
	Name       string   `json:"n"`
	Aliases    []string `json:"a"`
	Type       string   `json:"t"`
	Required   bool     `json:"r"`
	Default    string   `json:"d"`
	HasDefault bool     `json:"h"` // there is one, but too long for Default
	Options    []string `json:"o"`
	Open       bool     `json:"e"` // values beside the options are fine
	Visible    []string `json:"w"` // rules that all have to hold for the input to count
}

// Major is the first part of the version.
func (t *Task) Major() int {
	major, _, _ := strings.Cut(t.Version, ".")
	n, _ := strconv.Atoi(major)
	return n
}

// Ref is how a step names the task.
func (t *Task) Ref() string { return t.Name + "@" + strconv.Itoa(t.Major()) }

// Input finds an input by its name or an alias, ignoring case.
func (t *Task) Input(name string) (*Input, bool) {
	for i := range t.Inputs {
		in := &t.Inputs[i]
		if strings.EqualFold(in.Name, name) || slices.ContainsFunc(in.Aliases, func(a string) bool { return strings.EqualFold(a, name) }) {
			return in, true
		}
	}
	return nil, false
}

// Names lists all names of inputs, and their aliases.
func (t *Task) Names() []string {
	var out []string
	for _, in := range t.Inputs {
		out = append(append(out, in.Name), in.Aliases...)
	}
	return out
}

// index finds the tasks; each is decoded when it is first asked for.
type index struct {
	byName map[string][]func() *Task // lower-case name or identifier → versions
	names  []string
}

// all is read when it is first asked for: most commands never do. Every line
// begins with name and identifier, as its writer puts them.
var all = sync.OnceValue(func() *index {
	x := &index{byName: map[string][]func() *Task{}}
	for line := range bytes.Lines(lines) {
		rest, named := bytes.CutPrefix(line, []byte(`{"n":"`))
		name, rest, closed := bytes.Cut(rest, []byte(`","i":"`))
		id, _, whole := bytes.Cut(rest, []byte(`"`))
		if !named || !closed || !whole {
			panic("the catalogue of tasks is broken: " + string(line)) // a test reads all of it
		}
		x.add(string(name), string(id), sync.OnceValue(func() *Task { return decode(line) }))
	}
	for i := range ownTasks {
		t := &ownTasks[i]
		x.add(t.Name, t.ID, func() *Task { return t })
	}
	slices.SortFunc(x.names, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	return x
})

// notNeeded are inputs that the tasks call required and the service does not
// insist on: pipelines without them run there every day.
var notNeeded = map[string]string{"manualvalidation": "notifyUsers"}

func decode(line []byte) *Task {
	t := &Task{}
	if err := json.Unmarshal(line, t); err != nil {
		panic("the catalogue of tasks is broken: " + err.Error())
	}
	if in, ok := t.Input(notNeeded[strings.ToLower(t.Name)]); ok {
		in.Required = false
	}
	return t
}

func (x *index) add(name, id string, t func() *Task) {
	low := strings.ToLower(name)
	if x.byName[low] == nil {
		x.names = append(x.names, name)
	}
	x.byName[low] = append(x.byName[low], t)
	if id != "" {
		x.byName[id] = append(x.byName[id], t)
	}
}

// versions decodes the versions of a task, the newest first.
func (x *index) versions(name string) []*Task {
	var list []*Task
	for _, t := range x.byName[strings.ToLower(name)] {
		list = append(list, t())
	}
	slices.SortFunc(list, func(a, b *Task) int { return b.Major() - a.Major() })
	return list
}

// Names lists every task by name.
func Names() []string { return all().names }

// Versions returns the versions of a task, the newest first. The task is named
// by its name, its GUID, or a contribution id of the service itself.
func Versions(name string) []*Task {
	if publisher, _, ok := strings.Cut(name, "."); ok && ownPublishers[strings.ToLower(publisher)] {
		name = name[strings.LastIndexByte(name, '.')+1:]
	}
	return all().versions(name)
}

// ownPublishers are those of the service; tasks of others are unknown here.
var ownPublishers = map[string]bool{"ms": true, "microsoft": true}

// Lookup finds a task in a version: "2", or "2.1.0" of which only 2 counts.
func Lookup(name, version string) (*Task, bool) {
	major, _, _ := strings.Cut(version, ".")
	for _, t := range Versions(name) {
		if strconv.Itoa(t.Major()) == major {
			return t, true
		}
	}
	return nil, false
}

// Near returns the task whose name was probably meant, or "". Tasks of others
// have names of their own, so only slips of the finger count.
func Near(name string) string {
	if len(name) < 5 || strings.Contains(name, ".") {
		return ""
	}
	return syntax.Near(name, all().names, 2)
}
