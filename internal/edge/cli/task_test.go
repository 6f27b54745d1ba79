package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTasks keeps a task on this machine: added, listed, shown, removed.
func TestTasks(t *testing.T) {
	d := newDesk(t, nil)
	dir := filepath.Join(d.dir, "greet")
	must(t, os.MkdirAll(dir, 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "main.js"), nil, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "task.json"), []byte(`{"id":"0f0e0d0c-1111-2222-3333-444455556666","name":"Greet","description":"Says\nhello \u001b[31m","version":{"Major":2,"Minor":1,"Patch":0},
		"inputs":[{"name":"who","aliases":["person"],"type":"string","required":true},{"name":"kind","type":"pickList","defaultValue":"loud","options":{"loud":"Loud","low":"Low"}},{"name":"tone","type":"string","required":true,"visibleRule":"kind = low"}],
		"outputVariables":[{"name":"greeting","description":"what was said"}],"execution":{"Node20_1":{"target":"main.js"}},"postjobexecution":{"Node16":{"target":"main.js"}}}`), 0o600))
	for _, c := range []struct {
		line   string
		prints []string
		says   string
		code   int
	}{
		{line: "task list", says: "penstock task add"},
		{line: "task show Greet", says: "penstock task add", code: 4},
		{line: "task add greet", prints: []string{"Greet  2.1.0"}},
		{line: "task add greet", says: "--force", code: 6},
		{line: "task add greet --force -q", prints: []string{"Greet@2.1.0\n"}},
		{line: "task add nowhere", says: "task-package", code: 4},
		{line: "task list -q", prints: []string{"Greet@2.1.0\n"}},
		{line: "task list --store other", says: "Nothing here yet"},
		{line: "task show greet@2", prints: []string{"about          Says hello", "after the job  Node16", "who, person  string             yes", "yes if kind = low", "loud, low", "greeting  what was said",
			"- task: Greet@2\n  inputs:\n    person: \"\" # string, required\n    kind: loud # loud | low\n"}},
		{line: "task show greet@1", says: "has no version 1", code: 4},
		{line: "task show gret", says: "did you mean Greet", code: 4},
		{line: "task remove greet@2", says: "--yes", code: 2},
		{line: "task remove greet@2 --yes", prints: []string{"Greet"}},
		{line: "task list", says: "Nothing here yet"},
	} {
		out, errs, code := d.run(strings.Fields(c.line)...)
		if code != c.code || !strings.Contains(errs, c.says) {
			t.Errorf("%s: code %d, says %s", c.line, code, errs)
		}
		for _, p := range c.prints {
			if !strings.Contains(out, p) {
				t.Errorf("%s: %q is missing in\n%s", c.line, p, out)
			}
		}
		if strings.Contains(out, "\x1b[31m") {
			t.Errorf("%s: a package writes to the terminal", c.line)
		}
	}
	d.run("task", "add", "greet", "--store", "other")
	out, _, _ := d.run("task", "show", "Greet", "--store", "other", "-o", "json")
	var shown struct {
		Version    string
		Folder     string
		Definition struct{ Inputs []struct{ Name string } }
	}
	if err := json.Unmarshal([]byte(out), &shown); err != nil || shown.Version != "2.1.0" || len(shown.Definition.Inputs) != 3 || !strings.HasPrefix(shown.Folder, filepath.Join(d.dir, "other")) {
		t.Errorf("%v %+v\n%s", err, shown, out)
	}
	d.env["PENSTOCK_TASKS"] = filepath.Join(d.dir, "other")
	if out, _, _ := d.run("task", "list", "-q"); out != "Greet@2.1.0\n" {
		t.Errorf("PENSTOCK_TASKS: %q", out)
	}
}
