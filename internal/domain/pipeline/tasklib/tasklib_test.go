package tasklib

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/internal/base/fault"
)

const greet = `{
  "id": "0F0E0D0C-1111-2222-3333-444455556666", "name": "Greet", "friendlyName": "Greet somebody",
  "version": {"Major": "2", "Minor": 10, "Patch": "0"}, "instanceNameFormat": "Greet $(who) $(other)",
  "minimumAgentVersion": "2.144.0", "demands": "node", "runsOn": ["Agent"],
  "inputs": [
    {"name": "who", "aliases": ["Name", "person"], "type": "string", "required": true},
    {"name": "kind", "type": "pickList", "defaultValue": "text", "options": {"text": "Text", "file": "File", "9": "nine"}},
    {"name": "file", "type": "filePath", "required": "true", "visibleRule": "kind = file"},
    {"name": "loud", "type": "boolean", "defaultValue": true},
    {"name": "times", "type": "int", "defaultValue": 3},
    {"name": "target", "type": "connectedService:AzureRM", "defaultValue": null}
  ],
  "dataSourceBindings": [{"target": "target"}],
  "OutputVariables": [{"name": "greeting", "description": "What was said"}],
  "restrictions": {"commands": {"mode": "Restricted"}, "settableVariables": {"allowed": ["greeting"]}},
  "prejobexecution": {"Node10": {"target": "pre.js", "argumentFormat": ""}},
  "execution": {"Node20_1": {"target": "main.js"}, "Node10": {"target": "old.js", "workingDirectory": "$(currentDirectory)"}, "PowerShell3": {"target": "main.ps1", "platforms": ["windows"]}},
  "postjobexecution": {"Node10": {"target": "post.js"}}
}`

func parse(t *testing.T, text string) *Definition {
	t.Helper()
	d, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestParse(t *testing.T) {
	d := parse(t, "\xef\xbb\xbf"+greet)
	if d.ID != "0f0e0d0c-1111-2222-3333-444455556666" || d.Version != (Version{2, 10, 0}) || d.Title() != "Greet somebody" {
		t.Errorf("%+v", d)
	}
	if diff := cmp.Diff([]Option{{"text", "Text"}, {"file", "File"}, {"9", "nine"}}, d.Inputs[1].Options); diff != "" {
		t.Error(diff)
	}
	if d.Inputs[3].Default != "true" || d.Inputs[4].Default != "3" || d.Inputs[5].Default != "" || !d.Inputs[2].Required {
		t.Errorf("%+v", d.Inputs)
	}
	if len(d.Demands) != 1 || !d.Sets("GREETING") || d.Sets("other") || !d.Restrictions.Limited || d.Restrictions.Commands != "restricted" {
		t.Errorf("%+v", d)
	}
	if diff := cmp.Diff([]Handler{{Kind: "Node10", Target: "old.js", WorkingDirectory: "$(currentDirectory)"}, {Kind: "Node20_1", Target: "main.js"},
		{Kind: "PowerShell3", Target: "main.ps1", Platforms: []string{"windows"}}}, d.Handlers(Main)); diff != "" {
		t.Error(diff)
	}
	if len(d.Handlers(PreJob)) != 1 || d.Handlers(PostJob)[0].Target != "post.js" {
		t.Errorf("%+v %+v", d.PreJob, d.PostJob)
	}
}

func TestParseRefuses(t *testing.T) {
	for change, want := range map[[2]string]string{
		{`"name": "Greet"`, `"name": "../Greet"`}:    "name",
		{`"name": "Greet"`, `"name": ""`}:            "name",
		{`"name": "Greet"`, `"name": "a/b"`}:         "name",
		{`0F0E0D0C-`, ``}:                            "id",
		{`"Minor": 10`, `"Minor": "ten"`}:            "version",
		{`"Minor": 10`, `"Minor": -1`}:               "version",
		{`"inputs": [`, `"inputs": [[`}:              "cannot be read",
		{`execution": {"Node`, `nothing": {"Node10`}: "execution",
	} {
		text := strings.ReplaceAll(greet, change[0], change[1])
		if text == greet {
			t.Fatalf("%v changes nothing", change)
		}
		if _, err := Parse([]byte(text)); fault.CodeOf(err) != "task-definition" || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", change, err)
		}
	}
	if _, err := Parse(make([]byte, maxDefinition+1)); err == nil {
		t.Error("a huge file is read")
	}
	many := strings.Replace(greet, `"inputs": [`, `"inputs": [`+strings.Repeat(`{"name":"x"},`, maxInputs), 1)
	if _, err := Parse([]byte(many)); err == nil {
		t.Error("any number of inputs is read")
	}
}

func TestValues(t *testing.T) {
	d := parse(t, greet)
	expand := func(s string) string { return strings.ReplaceAll(s, "$(x)", "X") }
	got := d.Values(map[string]string{"PERSON": " Ada $(x) ", "Loud": "false", "unknown": "kept"}, expand)
	want := Values{"who": "Ada X", "kind": "text", "file": "", "loud": "false", "times": "3", "target": "", "unknown": "kept"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for range 20 { // maps have no order
		if got := d.Values(map[string]string{"who": "name", "person": "alias"}, expand)["who"]; got != "name" {
			t.Fatalf("alias wins: %s", got)
		}
	}
}

func TestMissing(t *testing.T) {
	d := parse(t, greet)
	for _, c := range []struct {
		step map[string]string
		want string
	}{
		{nil, "Input required: who"},
		{map[string]string{"name": "ada"}, ""},
		{map[string]string{"name": ""}, ""}, // written
		{map[string]string{"name": "ada", "Kind": "File"}, "Input required: file"},
		{map[string]string{"name": "ada", "kind": "file", "file": "x"}, ""},
	} {
		err := d.Missing(c.step, d.Values(c.step, func(s string) string { return s }))
		if (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
			t.Errorf("%v: %v, want %q", c.step, err, c.want)
		}
	}
}

// What is not offered need not be there: an input whose choice is hidden itself,
// and one in a group that is.
func TestHiddenInputsAreNotMissing(t *testing.T) {
	d := parse(t, `{"id": "0F0E0D0C-1111-2222-3333-444455556666", "name": "Push", "version": {"Major": 1, "Minor": 0, "Patch": 0}, "execution": {"Node20_1": {"target": "main.js"}},
  "groups": [{"name": "pushing", "visibleRule": "command = push"}],
  "inputs": [
    {"name": "command", "type": "pickList", "required": true, "defaultValue": "build"},
    {"name": "registry", "type": "radio", "required": true, "defaultValue": "outside", "visibleRule": "command = push"},
    {"name": "outside", "type": "string", "required": true, "visibleRule": "registry = outside"},
    {"name": "tag", "type": "string", "required": true, "groupName": "pushing"}]}`)
	for _, c := range []struct {
		step map[string]string
		want string
	}{
		{nil, ""}, {map[string]string{"command": "push"}, "Input required: outside"}, {map[string]string{"command": "push", "outside": "x"}, "Input required: tag"},
		{map[string]string{"command": "push", "registry": "here", "tag": "1"}, ""},
	} {
		if err := d.Missing(c.step, d.Values(c.step, func(s string) string { return s })); (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
			t.Errorf("%v: %v, want %q", c.step, err, c.want)
		}
	}
	if example := d.Example(); strings.Contains(example, "outside:") || strings.Contains(example, "tag:") {
		t.Errorf("the example shows what is hidden:\n%s", example)
	}
}

func TestInstanceName(t *testing.T) {
	d := parse(t, greet)
	if got := d.InstanceName(map[string]string{"person": "$(me)\nsecond line"}); got != "Greet $(me) $(other)" {
		t.Errorf("%q", got)
	}
	d.InstanceNameFormat = ""
	if got := d.InstanceName(nil); got != "Greet somebody" {
		t.Errorf("%q", got)
	}
	d.InstanceNameFormat = "open $(who"
	if got := d.InstanceName(nil); got != "open $(who" {
		t.Errorf("%q", got)
	}
}

func TestVersions(t *testing.T) {
	v := Version{2, 10, 3}
	for wanted, ok := range map[string]bool{"": true, "2": true, "2.10": true, "2.10.3": true, "1": false, "2.1": false, "2.10.30": false, "x": false, "02": false, "2.10.3.0": false} {
		if v.Matches(wanted) != ok {
			t.Errorf("%s matches %q: %v", v, wanted, !ok)
		}
	}
	if (Version{2, 9, 9}).Compare(v) >= 0 || v.Compare(v) != 0 {
		t.Error("order")
	}
}

// FuzzParse: any file is either refused or gives a definition that can be
// asked everything.
func FuzzParse(f *testing.F) {
	f.Add([]byte(greet))
	f.Add([]byte(`{"inputs":[{"options":["a",1,null],"aliases":"b"}],"execution":null,"version":3}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := Parse(data)
		if err != nil {
			return
		}
		step := map[string]string{}
		for _, in := range d.Inputs {
			step[in.Name] = in.Default
		}
		values := d.Values(step, func(s string) string { return s })
		if err := d.Missing(step, values); err != nil {
			t.Errorf("every input is written, and yet: %v", err)
		}
		for _, in := range d.Inputs {
			d.Visible(in.Name, values)
		}
		_ = d.InstanceName(step)
		if strings.ContainsAny(d.Name+d.ID, "/\\") || d.Version.String() == "" {
			t.Errorf("unsafe %q %q", d.Name, d.ID)
		}
	})
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
