package catalog

import (
	"strings"
	"testing"

	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

func TestLookup(t *testing.T) {
	for name, want := range map[string]string{
		"CopyFiles@2": "CopyFiles@2", "copyfiles@2.1.0": "CopyFiles@2", "5BFB729A-a7c8-4a78-a7c3-8d717bb7c13c@2": "CopyFiles@2",
		"ms.vss-build.tasks.CopyFiles@2": "CopyFiles@2", "other.extension.tasks.CopyFiles@2": "", "CopyFiles@9": "", "Bash@3": "Bash@3", "PenstockSwap@1": "PenstockSwap@1", "Nothing@1": "",
	} {
		ref, version, _ := strings.Cut(name, "@")
		got := ""
		if task, ok := Lookup(ref, version); ok {
			got = task.Ref()
		}
		if got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if v := Versions("DownloadPipelineArtifact"); len(v) != 3 || v[0].Major() != 2 {
		t.Errorf("versions: %d", len(v))
	}
	if len(Names()) < 150 {
		t.Errorf("only %d tasks", len(Names()))
	}
}

func TestNear(t *testing.T) {
	for name, want := range map[string]string{
		"CopyFile": "CopyFiles", "PublishTestResult": "PublishTestResults", "Powershel": "PowerShell", "SonarQubePrepare": "", "replacetokens": "",
		"PenstockAnalysis": "", "a.b.c.CopyFile": "", "Bsh": "",
	} {
		if got := Near(name); got != want {
			t.Errorf("Near(%s) = %q, want %q", name, got, want)
		}
	}
}

func TestHolds(t *testing.T) {
	values := map[string]string{"type": "deployment", "operation": "whatIf", "name": "two words", "flag": "True", "empty": ""}
	value := func(name string) (string, bool) { v, ok := values[name]; return v, ok }
	for text, want := range map[string]truth{
		"type = deployment": yes, "type=deployment": yes, "type == other": no, "type != other": yes, "flag = true": yes, "name = two words": yes,
		"type = deployment && operation = create": no, "type = other || operation = whatIf": yes,
		"type = deployment && (operation = validate || operation = whatIf)": yes, "type = deployment || (type = x && nope = y)": yes,
		"nope = x": unknown, "nope = x && type = other": no, "nope = x || type = other": unknown, "empty = ": yes, `empty != ""`: no, "name contains two": yes,
		"name startsWith wo": no, "name NotContains two": no, "type ~ x": unknown, "": unknown, "(type = deployment": unknown, "type": unknown,
	} {
		if got := holds(text, value); got != want {
			t.Errorf("holds(%q) = %d, want %d", text, got, want)
		}
	}
}

// Every rule of the catalogue is understood: with all inputs known the answer
// is never unknown.
func TestAllRulesAreUnderstood(t *testing.T) {
	rules := 0
	for _, name := range Names() {
		for _, task := range Versions(name) {
			for _, in := range task.Inputs {
				for _, rule := range in.Visible {
					rules++
					if holds(rule, func(string) (string, bool) { return "x", true }) == unknown {
						t.Errorf("%s: %s: %s", task.Ref(), in.Name, rule)
					}
				}
			}
		}
	}
	if rules < 1000 {
		t.Errorf("only %d rules", rules)
	}
}

func check(t *testing.T, step string) string {
	t.Helper()
	r := &syntax.Report{}
	f := syntax.Read(r, "self", "f.yml", []byte(step))
	Check(r, f.Root.Get("task"), f.Root.Get("inputs"))
	var out []string
	for _, p := range r.Problems() {
		if !p.Warning {
			t.Errorf("%s: an error: %s", step, p.Message)
		}
		out = append(out, p.Code+": "+p.Message+" → "+p.Do)
	}
	return strings.Join(out, "\n")
}

func TestCheck(t *testing.T) {
	for step, want := range map[string]string{
		"task: CopyFiles@2\ninputs: {Contents: '**', TargetFolder: x}": "",
		"task: copyfiles@2\ninputs: {CONTENTS: '**', targetfolder: x}": "",
		"task: CopyFiles@2\ninputs: {Content: a, TargetFolder: x}":     "task-input: CopyFiles@2 has no input Content → write Contents",
		"task: CopyFiles@2\ninputs: {Contents: a}":                     "task-input-missing: CopyFiles@2 needs the input TargetFolder → add TargetFolder under inputs:",
		"task: CopyFiles@2":                                     "task-input-missing: CopyFiles@2 needs the input TargetFolder → add TargetFolder under inputs:",
		"task: CopyFiles@7\ninputs: {nope: a}":                  "task-unknown-version: CopyFiles has no version 7 → write CopyFiles@2",
		"task: CopyFile@2":                                      "task-unknown: no task that comes with the service is called CopyFile → write CopyFiles, unless it is a task of your own",
		"task: SonarQubePrepare@5\ninputs: {a: b}":              "",
		"task: ManualValidation@1\ninputs: {instructions: x}":   "",
		"task: Bash@3\ninputs: {targetType: inline, script: x}": "",
		"task: Bash@3":                                          "task-input-missing: Bash@3 needs the input filePath → add filePath under inputs:",
		"task: CopyFiles@x":                                     "", "task: CopyFiles@": "",
		"task: Bash@3\ninputs: {targetType: $(kind)}":                                                                             "",
		"task: Bash@3\ninputs: {targetType: filePath, filePath: x}":                                                               "",
		"task: AzureCLI@2\ninputs: {azureSubscription: a, scriptType: bash, scriptLocation: scriptPath, scriptPath: x}":           "",
		"task: AzureCLI@2\ninputs: {connectedServiceNameARM: a, scriptType: bash, scriptLocation: inlineScript, inlineScript: x}": "",
		"task: PenstockWebDeploy@1\ninputs: {action: show, package: x}":                                                           "",
		"task: PenstockWebDeploy@1\ninputs: {action: pack, package: x}":                                                           "task-input-missing: PenstockWebDeploy@1 needs the input source → add source under inputs:",
	} {
		if got := check(t, step); got != want {
			t.Errorf("%s:\n got %s\nwant %s", step, got, want)
		}
	}
}
