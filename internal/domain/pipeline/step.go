package pipeline

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/catalog"
	"penstock.dev/penstock/internal/domain/pipeline/internal/grammar"
	"penstock.dev/penstock/internal/domain/pipeline/internal/preview"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

// commonKeys belong to every kind of step.
var commonKeys = (&grammar.Mapping{Keys: grammar.StepKeys}).Names()

// stepKind says how a step is written and which task it becomes.
type stepKind struct {
	key     string
	shape   syntax.Shape
	own     []string          // further keys, all of them inputs of the same name
	task    string            // "" for task:
	version string            //
	value   []string          // inputs that take the key's value
	fixed   map[string]string // inputs that the kind implies
	alias   map[string]string // inputs that repeat another one under a second name
	empty   bool              // the value may be empty
}

var inline = map[string]string{"targetType": "inline"}

var stepKinds = withKeys([]stepKind{
	{key: "task"},
	{key: "script", task: TaskCmdLine, version: "2", value: []string{"script"}, empty: true},
	{key: "bash", task: TaskBash, version: "3", value: []string{"script"}, fixed: inline, empty: true},
	{key: "pwsh", task: TaskPowerShell, version: "2", value: []string{"script"}, fixed: map[string]string{"targetType": "inline", "pwsh": "true"}, empty: true},
	{key: "powershell", task: TaskPowerShell, version: "2", value: []string{"script"}, fixed: inline, empty: true},
	{key: "checkout", task: TaskCheckout, version: "1", value: []string{"repository"}},
	{key: "publish", task: TaskPublish, version: "1", value: []string{"path"}, alias: map[string]string{"path": "targetPath", "artifact": "artifactName"}},
	{key: "upload", task: TaskPublish, version: "1", value: []string{"path"}, alias: map[string]string{"path": "targetPath", "artifact": "artifactName"}},
	{key: "download", task: TaskDownload, version: "1", value: []string{"source"}},
	{key: "downloadBuild", task: "DownloadBuild", version: "1", value: []string{"source"}},
	{key: "getPackage", task: "GetPackage", version: "1", value: []string{"package"}},
	{key: "reviewApp", task: "ReviewApp", version: "0", value: []string{"resourceName"}},
})

// withKeys gives every kind the keys that the language's table has for it.
func withKeys(kinds []stepKind) []stepKind {
	for i := range kinds {
		for _, m := range grammar.Steps {
			if m.First == kinds[i].key {
				kinds[i].shape = m.Shape()
				kinds[i].own = kinds[i].shape.Keys[1 : len(m.Keys)-len(grammar.StepKeys)]
			}
		}
	}
	return kinds
}

// kindKeys are the keys that begin a step, for messages.
func kindKeys() []string {
	out := []string{"template"}
	for _, k := range stepKinds {
		out = append(out, k.key)
	}
	return out
}

// stepCount makes names unique over the steps of one job.
type stepCount struct{ taken map[string]bool }

func (d *decoder) steps(n *syntax.Node, server bool) []Step {
	out := []Step{}
	names := stepCount{taken: map[string]bool{}}
	checkouts, none := 0, (*syntax.Node)(nil)
	for i, item := range d.list(n, "`steps`") {
		leave := d.report.Enter(fmt.Sprintf("step %d", i+1))
		s, ok := d.step(item, &names, server)
		if ok {
			out = append(out, s)
		}
		if s.Task == TaskCheckout {
			checkouts++
			if strings.EqualFold(s.Inputs["repository"], "none") {
				none = item
			}
		}
		leave()
	}
	if none != nil && checkouts > 1 {
		d.report.Error(none, "checkout-none", "`checkout: none` stands next to another checkout").Try("remove one of them")
	}
	return out
}

func (d *decoder) step(item *syntax.Node, names *stepCount, server bool) (s Step, ok bool) {
	if item.Bad {
		return s, false
	}
	if item.Kind != syntax.Mapping {
		d.report.Error(item, "expected-mapping", "a step is a mapping").Want("%s: …", strings.Join(kindKeys(), ": …, ")).Got("%s", syntax.Describe(item))
		return s, false
	}
	kind, ok := d.stepKind(item)
	if !ok {
		return s, false
	}
	f, ok := syntax.ReadFields(d.report, item, kind.shape)
	if !ok {
		return s, false
	}
	s = Step{Task: kind.task, Version: kind.version, Origin: originOf(item)}
	d.stepProperties(&s, f, names)
	d.stepInputs(&s, f, kind)
	if server && kind.key != "task" {
		d.report.Error(f.Key(kind.key), "server-job-step", "a job on the server only has tasks").Got("%s", kind.key).Try("give the job a pool of agents")
	}
	return s, true
}

func (d *decoder) stepKind(item *syntax.Node) (stepKind, bool) {
	for _, k := range stepKinds {
		if item.Get(k.key) != nil {
			return k, true
		}
	}
	for _, pair := range item.Pairs {
		if knownStepKey(pair.Key.Text) || pair.Key.Bad {
			continue
		}
		p := d.report.Error(pair.Key, "unknown-key", "a step has no key `%s`", pair.Key.Text).Want("%s", strings.Join(kindKeys(), ", ")).Got("%s", pair.Key.Text)
		if near := syntax.Nearest(pair.Key.Text, kindKeys()); near != "" {
			p.Try("write %s", near)
		}
		return stepKind{}, false
	}
	d.report.Error(item, "missing-key", "this step does nothing").Want("%s", strings.Join(kindKeys(), ", "))
	return stepKind{}, false
}

// knownStepKey reports whether any kind of step has the key.
func knownStepKey(key string) bool {
	same := func(k string) bool { return strings.EqualFold(k, key) }
	if slices.ContainsFunc(commonKeys, same) {
		return true
	}
	return slices.ContainsFunc(stepKinds, func(k stepKind) bool { return slices.ContainsFunc(k.own, same) })
}

var stepNameForm = regexp.MustCompile(`^[-_A-Za-z0-9]+$`)

func (d *decoder) stepProperties(s *Step, f syntax.Fields, names *stepCount) {
	if s.Name = d.key(f, "name"); s.Name != "" {
		lower := strings.ToLower(s.Name)
		switch {
		case !stepNameForm.MatchString(s.Name):
			d.report.Error(f.Get("name"), "name-form", "`%s` cannot be the name of a step", s.Name).Want("letters, digits, - and _").Try("write it as displayName")
		case names.taken[lower]:
			d.report.Error(f.Get("name"), "duplicate-name", "the step name '%s' appears more than once", s.Name).Try("rename one of them")
		}
		names.taken[lower] = true
	}
	s.DisplayName = d.key(f, "displayName")
	s.Condition = d.condition(f, SlotStepCondition)
	s.ContinueOnError = d.boolean(f, "continueOnError", false)
	s.Disabled = !d.boolean(f, "enabled", true)
	s.Env = d.textMap(f.Get("env"), "`env`")
	s.TimeoutInMinutes = d.integer(f, "timeoutInMinutes", 0, 0)
	s.RetryCountOnTaskFailure = d.integer(f, "retryCountOnTaskFailure", 0, 0)
	if s.RetryCountOnTaskFailure > 10 {
		d.report.Warn(f.Get("retryCountOnTaskFailure"), "retry-count", "a step is retried ten times at most")
		s.RetryCountOnTaskFailure = 10
	}
	d.target(s, f.Get("target"))
}

var targetShape = grammar.Target.Shape()

func (d *decoder) target(s *Step, n *syntax.Node) {
	if n == nil || n.IsEmpty() || n.Bad {
		return
	}
	if n.Kind == syntax.Scalar {
		s.Target = n.Text
		return
	}
	f, ok := syntax.ReadFields(d.report, n, targetShape)
	if !ok {
		return
	}
	s.Target = d.key(f, "container")
	s.TargetCommands = d.choice(f, "commands", "any", "restricted")
	if settable := f.Get("settableVariables"); settable != nil {
		s.SettableRestricted = true
		if s.SettableVariables = d.texts(settable, "`settableVariables`"); settable.Kind == syntax.Scalar && strings.EqualFold(settable.Text, "none") {
			s.SettableVariables = nil
		}
	}
}

var taskReference = regexp.MustCompile(`^([^@\s]+)@([0-9]+(?:\.[0-9]+){0,2})$`)

func (d *decoder) stepInputs(s *Step, f syntax.Fields, kind stepKind) {
	value := d.key(f, kind.key)
	if kind.key == "task" {
		m := taskReference.FindStringSubmatch(strings.TrimSpace(value))
		if m == nil {
			if n := f.Get("task"); !n.Bad && n.Kind == syntax.Scalar {
				d.report.Error(n, "task-reference", "`%s` does not name a task", value).Want("Name@1").Try("add the version of the task, as in Bash@3")
			}
			m = []string{"", value, ""}
		}
		s.Task, s.Version = m[1], m[2]
		s.Inputs = d.inputs(f.Get("inputs"))
		s.nameTask()
		catalog.Check(d.report, f.Get("task"), f.Get("inputs"))
		return
	}
	if n := f.Get(kind.key); value == "" && !kind.empty && !n.Bad && n.Kind == syntax.Scalar {
		d.report.Error(n, "missing-value", "`%s` needs a value", kind.key)
	}
	s.Inputs = map[string]string{}
	for name, v := range kind.fixed {
		s.Inputs[name] = v
	}
	for _, name := range kind.value {
		s.Inputs[name] = value
	}
	for _, name := range kind.own {
		if name == "inputs" {
			for k, v := range d.inputs(f.Get(name)) {
				s.Inputs[k] = v
			}
		} else if n := f.Get(name); n != nil && !n.IsEmpty() {
			s.Inputs[name] = d.key(f, name)
		}
	}
	for name, second := range kind.alias {
		if v, ok := s.Inputs[name]; ok {
			s.Inputs[second] = v
		}
	}
}

// inputs reads the inputs of a task; names are compared ignoring case.
func (d *decoder) inputs(n *syntax.Node) map[string]string {
	if n != nil && n.Kind == syntax.Mapping {
		seen := map[string]bool{}
		for _, p := range n.Pairs {
			lower := strings.ToLower(p.Key.Text)
			if seen[lower] {
				syntax.DuplicateKey(d.report, p.Key)
			}
			seen[lower] = true
		}
	}
	return d.textMap(n, "`inputs`")
}

// taskIDs are the identifiers under which an expanded file names what a step
// of the language becomes.
var taskIDs = map[string]string{
	preview.CheckoutID: TaskCheckout, preview.DownloadID: TaskDownload, preview.PublishID: TaskPublish,
	"d9bafed4-0b18-4f58-968d-86655b4d2ce9": TaskCmdLine, "6c731c3c-3c68-459a-a5c9-bde6e6595b5b": TaskBash,
	"e213ff0f-5d5c-4791-802d-52ea3e7be1f1": TaskPowerShell,
}

// nameTask gives a step that is written by its identifier the name and the
// inputs that its shorthand has.
func (s *Step) nameTask() {
	name, ok := taskIDs[strings.ToLower(s.Task)]
	if !ok {
		return
	}
	s.Task = name
	if source, ok := s.Inputs["alias"]; ok && name == TaskDownload {
		s.Inputs["source"] = source
		delete(s.Inputs, "alias")
	}
	for from, to := range map[string]string{"path": "targetPath", "artifactName": "artifact"} {
		if v, ok := s.Inputs[from]; ok && name == TaskPublish && s.Inputs[to] == "" {
			s.Inputs[to] = v
		}
	}
}
