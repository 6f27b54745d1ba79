package catalog

import (
	"strconv"
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

// Check warns about a task step that cannot mean what it says: a version that
// does not exist, an input that the task does not have or that is missing. A
// task the catalogue does not know is somebody else's, and fine.
func Check(r *syntax.Report, task, inputs *syntax.Node) {
	if task == nil || task.Bad || task.Kind != syntax.Scalar || computed(task.Text) {
		return
	}
	name, version, ok := strings.Cut(strings.TrimSpace(task.Text), "@")
	if !ok || version == "" || strings.Trim(version, "0123456789.") != "" {
		return // an error of its own
	}
	versions := Versions(name)
	if len(versions) == 0 {
		if near := Near(name); near != "" {
			r.Warn(task, "task-unknown", "no task that comes with the service is called %s", name).Got("%s", name).Want("%s", near).Try("write %s, unless it is a task of your own", near)
		}
		return
	}
	t, ok := Lookup(name, version)
	if !ok && older(version, versions) {
		return // the catalogue holds what is maintained; the service keeps old versions
	}
	if !ok {
		known := make([]string, len(versions))
		for i, v := range versions {
			known[i] = v.Ref()
		}
		r.Warn(task, "task-unknown-version", "%s has no version %s", versions[0].Name, version).
			Want("%s", strings.Join(known, ", ")).Got("%s@%s", name, version).Try("write %s", known[0])
		return
	}
	checkInputs(r, t, task, inputs)
}

// older reports whether a version comes before every known one.
func older(version string, known []*Task) bool {
	major := func(v string) int {
		head, _, _ := strings.Cut(v, ".")
		n, err := strconv.Atoi(head)
		if err != nil {
			return -1
		}
		return n
	}
	for _, t := range known {
		if major(version) >= major(t.Version) {
			return false
		}
	}
	return true
}

func checkInputs(r *syntax.Report, t *Task, task, inputs *syntax.Node) {
	written := map[*Input]string{}
	if inputs != nil {
		if inputs.Bad || inputs.Kind != syntax.Mapping && !inputs.IsEmpty() {
			return
		}
		for _, p := range inputs.Pairs {
			if p.Key.Bad || p.Value.Bad {
				return // what is missing is not known then
			}
			in, ok := t.Input(p.Key.Text)
			if !ok {
				unknownInput(r, t, p.Key)
				continue
			}
			written[in] = p.Value.Text
		}
	}
	given := func(in *Input) (string, bool) { text, ok := written[in]; return text, ok }
	for i := range t.Inputs {
		in := &t.Inputs[i]
		if _, ok := written[in]; ok || !in.Required || in.Default != "" || in.HasDefault || !t.Counts(in, given) {
			continue
		}
		p := r.Warn(task, "task-input-missing", "%s needs the input %s", t.Ref(), in.Name).Try("add %s under inputs:", in.Name)
		if len(in.Options) > 0 {
			p.Want("%s: %s", in.Name, strings.Join(in.Options, ", "))
		}
	}
}

func unknownInput(r *syntax.Report, t *Task, key *syntax.Node) {
	p := r.Warn(key, "task-input", "%s has no input %s", t.Ref(), key.Text).Got("%s", key.Text)
	if near := syntax.Nearest(key.Text, t.Names()); near != "" {
		p.Want("%s", near).Try("write %s", near)
	} else {
		p.Want("one of its %s inputs", strconv.Itoa(len(t.Inputs)))
	}
}
