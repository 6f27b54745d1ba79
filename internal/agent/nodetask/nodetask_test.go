package nodetask

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/internal/agent/nodetask/nodetest"
	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline/tasklib"
	"penstock.dev/penstock/internal/domain/run"
)

func TestMain(m *testing.M) { nodetest.Main(m) }

// host records what a task is started with.
type host struct {
	vars  map[string]string
	lines []string
	cmd   task.Command
	code  int
	ran   bool
}

func (h *host) Lookup(name string) (string, bool) {
	v, ok := h.vars[strings.ToLower(name)]
	return v, ok
}
func (h *host) Print(line string) { h.lines = append(h.lines, line) }
func (h *host) Exec(_ context.Context, c task.Command) (int, error) {
	h.cmd, h.ran = c, true
	return h.code, nil
}

func (h *host) env(name string) string {
	for _, e := range h.cmd.Env {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v
		}
	}
	return "(not there)"
}

const connection = "11111111-2222-3333-4444-555555555555"

const sample = `{"id":"0f0e0d0c-1111-2222-3333-444455556666","name":"Sample","friendlyName":"A sample","description":"one\ntwo","version":{"Major":1,"Minor":2,"Patch":3},
"inputs":[{"name":"who","type":"string","required":true,"aliases":["person"]},{"name":"with space.dot","type":"string","defaultValue":"$(x)"},
 {"name":"where","type":"filePath"},{"name":"near","type":"filePath"},{"name":"cloud","type":"connectedService:AzureRM"},{"name":"file","type":"secureFile"}],
"execution":{"Node16":{"target":"main.js"},"Node20_1":{"target":"new.js","workingDirectory":"$(currentDirectory)/$(who)"}},
"postjobexecution":{"Node16":{"target":"sub\\post.js"}}}`

// nodes are some that nobody has to ask for their version.
func nodes(majors ...int) []node {
	list := []node{}
	for _, m := range majors {
		list = append(list, node{fmt.Sprintf("/node%d/bin/node", m), tasklib.Version{Major: m, Minor: 1, Patch: 2}})
	}
	return list
}

// newCall makes a call of the sample, whose package has all files.
func newCall(t *testing.T, text string, majors ...int) (*Call, *host) {
	t.Helper()
	d, err := tasklib.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	dir, sources := t.TempDir(), t.TempDir()
	for _, name := range []string{"main.js", "new.js", "sub/post.js", "ada/x", "main.ps1", "ps_modules/VstsTaskSdk/VstsTaskSdk.psd1"} {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h := &host{vars: map[string]string{"x": "an x", "build.sourcesdirectory": sources, "system.defaultworkingdirectory": sources}}
	return &Call{Host: h, Task: &tasklib.Task{Entry: tasklib.Entry{Name: d.Name, Version: d.Version, Dir: dir}, Definition: d},
		Inputs: map[string]string{"person": "ada"}, Programs: Programs{known: nodes(majors...)}, DisplayName: "Show", InstanceName: "show", InstanceID: connection}, h
}

func TestEnvironment(t *testing.T) {
	c, h := newCall(t, sample, 20)
	sources := h.vars["build.sourcesdirectory"]
	c.Inputs = map[string]string{"PERSON": " ada ", "near": "a/b/", "cloud": "my cloud, gone", "file": "cert.pfx", "Other Thing": "$(x)"}
	c.Variables = []run.Variable{{Name: "My.Var name", Value: "v"}, {Name: "key.one", Value: "s3cret", Secret: true}, {Name: "path", Value: "/nowhere"},
		{Name: "Agent.JobStatus", Value: "Succeeded"}, {Name: "Agent.Version", Value: "0.1.0"}, {Name: "System.DefaultWorkingDirectory", Value: sources}}
	c.TaskVariables = []run.Variable{{Name: "kept", Value: "k"}, {Name: "hidden", Value: "h", Secret: true}}
	c.Endpoints = []Endpoint{System("http://server/default/", "job-token"), {ID: strings.ToUpper("aaaaaaaa-2222-3333-4444-555555555555"), Name: "My Cloud", URL: "https://cloud", Scheme: "ServicePrincipal",
		Auth: map[string]string{"ServicePrincipalKey": "k3y"}, Data: map[string]string{"Subscription.Id": "s"}}, {ID: connection, Name: "unused", URL: "https://unused", Auth: map[string]string{"p": "secret of another"}}}
	c.SecureFiles = []SecureFile{{ID: connection, Name: "cert.pfx", Ticket: "t1cket"}, {ID: "x", Name: "other"}}
	var warned []string
	c.Warn = func(text string) { warned = append(warned, text) }
	if err := c.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	id := "aaaaaaaa-2222-3333-4444-555555555555"
	for name, want := range map[string]string{
		"INPUT_WHO": "ada", "INPUT_WITH_SPACE_DOT": "an x", "INPUT_WHERE": sources, "INPUT_NEAR": sources + "/a/b/", "INPUT_OTHER_THING": "an x",
		"INPUT_CLOUD": id + ", gone", "INPUT_FILE": connection, "INPUT_PERSON": "(not there)",
		"MY_VAR_NAME": "v", "SECRET_KEY_ONE": "s3cret", "KEY_ONE": "(not there)", "PATH": "(not there)", "agent.jobstatus": "Succeeded", "AGENT_JOBSTATUS": "Succeeded",
		"AGENT_VERSION": AgentVersion, "TF_BUILD": "True", "TASK_DISPLAYNAME": "Show", "SYSTEM_TASKINSTANCENAME": "show", "SYSTEM_TASKINSTANCEID": connection,
		"VSTS_SECRET_VARIABLES": `["key.one"]`, "VSTS_TASKVARIABLE_KEPT": "k", "VSTS_TASKVARIABLE_HIDDEN": "h",
		"ENDPOINT_URL_SYSTEMVSSCONNECTION": "http://server/default/", "ENDPOINT_AUTH_SCHEME_SYSTEMVSSCONNECTION": "OAuth", "ENDPOINT_AUTH_PARAMETER_SYSTEMVSSCONNECTION_ACCESSTOKEN": "job-token",
		"ENDPOINT_AUTH_SYSTEMVSSCONNECTION": `{"parameters":{"AccessToken":"job-token"},"scheme":"OAuth"}`, "ENDPOINT_DATA_SYSTEMVSSCONNECTION": "(not there)",
		"ENDPOINT_URL_" + id: "https://cloud", "ENDPOINT_AUTH_PARAMETER_" + id + "_SERVICEPRINCIPALKEY": "k3y", "ENDPOINT_DATA_" + id: `{"Subscription.Id":"s"}`, "ENDPOINT_DATA_" + id + "_SUBSCRIPTION_ID": "s",
		"ENDPOINT_URL_" + connection: "(not there)", "SECUREFILE_NAME_" + connection: "cert.pfx", "SECUREFILE_TICKET_" + connection: "t1cket", "SECUREFILE_NAME_x": "(not there)",
	} {
		if got := h.env(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if public := h.env("VSTS_PUBLIC_VARIABLES"); !strings.Contains(public, `"My.Var name"`) || strings.Contains(public, "key.one") {
		t.Error(public)
	}
	if len(warned) != 1 || !strings.Contains(warned[0], "gone") {
		t.Errorf("warned %q", warned)
	}
	if line := strings.Join(append([]string{h.cmd.Path}, h.cmd.Args...), " "); strings.Contains(line, "ada") || strings.Contains(line, "s3cret") {
		t.Errorf("the command line says what belongs into the environment: %s", line)
	}
}

func TestCommandLine(t *testing.T) {
	c, h := newCall(t, sample, 16, 20)
	if err := c.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	want := []string{"/node20/bin/node", filepath.Join(c.Task.Dir, "new.js"), filepath.Join(c.Task.Dir, "ada")}
	if diff := cmp.Diff(want, []string{h.cmd.Path, strings.Join(h.cmd.Args, "|"), h.cmd.Dir}); diff != "" {
		t.Error(diff)
	}
	if !slices.Contains(h.lines, "Task         : A sample") || !slices.Contains(h.lines, "Description  : one two") || !slices.Contains(h.lines, "Version      : 1.2.3") {
		t.Errorf("%q", h.lines)
	}
	c.Part = tasklib.PostJob
	c.Inputs = nil // what has begun is cleaned up, whatever is missing
	if err := c.Run(context.Background()); err != nil || h.cmd.Args[0] != filepath.Join(c.Task.Dir, "sub", "post.js") || h.cmd.Dir != h.vars["system.defaultworkingdirectory"] {
		t.Errorf("%v %+v", err, h.cmd)
	}
	h.ran, c.Part = false, tasklib.PreJob
	if err := c.Run(context.Background()); err != nil || h.ran {
		t.Errorf("a part that the task does not have: %v %v", err, h.ran)
	}
}

func TestRunRefuses(t *testing.T) {
	for _, c := range []struct {
		name, from, to, code, says string
		change                     func(*Call, *host)
	}{
		{name: "input", code: "input-missing", says: "Input required: who", change: func(c *Call, _ *host) { c.Inputs = nil }},
		{name: "exit", code: "exit-code", says: "Exit code 3", change: func(_ *Call, h *host) { h.code = 3 }},
		{name: "no node", code: "node-missing", says: "Node 16 or newer", change: func(c *Call, _ *host) { c.Programs.known = []node{} }},
		{name: "not built", from: "new.js", to: "gone.js", code: "task-package", says: "gone.js"},
		{name: "target outside", from: "new.js", to: "../new.js", code: "task-definition", says: "target"},
		{name: "no target", from: `"target":"new.js",`, code: "task-definition", says: "target"},
		{name: "folder", from: "/$(who)", to: "/gone", code: "no-folder", says: "not there"},
		{name: "long input", code: "input-too-long", says: "INPUT_WHO", change: func(c *Call, _ *host) {
			c.Inputs = map[string]string{"who": strings.Repeat("x", maxEntry)}
			c.Task.Definition.Main[1].WorkingDirectory = ""
		}},
	} {
		text := sample
		if c.from != "" {
			if text = strings.Replace(sample, c.from, c.to, 1); text == sample {
				t.Fatal(c.name)
			}
		}
		call, h := newCall(t, text, 20)
		if c.change != nil {
			c.change(call, h)
		}
		err := call.Run(context.Background())
		if fault.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v (%s), want %s", c.name, err, fault.CodeOf(err), c.code)
		}
	}
}

func TestChoose(t *testing.T) {
	h := func(kinds ...string) (list []tasklib.Handler) {
		for _, k := range kinds {
			kind, platform, _ := strings.Cut(k, "/")
			handler := tasklib.Handler{Kind: kind}
			if platform != "" {
				handler.Platforms = []string{platform}
			}
			list = append(list, handler)
		}
		return list
	}
	shell := t.TempDir()
	for _, name := range []string{"pwsh", "powershell"} {
		if err := os.WriteFile(filepath.Join(shell, name), nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		handlers []tasklib.Handler
		nodes    []int
		shell    bool
		system   string
		want     string
	}{
		{h("Node10", "Node16", "Node20_1"), []int{10, 16, 20}, false, "linux", "Node20_1 node20"},
		{h("Node10", "Node16", "Node20_1"), []int{16, 24}, false, "linux", "Node16 node16"},
		{h("Node10", "Node16"), []int{24, 20}, false, "linux", "Node16 node20"},
		{h("Node20_1", "Node24"), []int{22}, false, "linux", "Node20_1 node22"},
		{h("Node"), []int{24}, false, "linux", "Node node24"},
		{h("Node20_1", "Node24"), []int{18}, false, "linux", "node-missing"},
		{h("Node20_1", "PowerShell3"), []int{18}, true, "linux", "PowerShell3 pwsh"},
		{h("Node20_1", "PowerShell3/windows"), []int{20}, true, "linux", "Node20_1 node20"},
		{h("Node20_1", "PowerShell3/windows"), []int{20}, true, "windows", "PowerShell3 powershell"},
		{h("Node20_1", "PowerShell3"), []int{20}, true, "windows", "Node20_1 node20"},
		{h("powershell3"), nil, true, "linux", "PowerShell3 pwsh"},
		{h("PowerShell3"), []int{20}, false, "linux", "task-handler"},
		{h("AgentPlugin", "PowerShell", "HttpRequest"), []int{20}, true, "linux", "task-handler"},
	} {
		p := Programs{known: nodes(c.nodes...)}
		if c.shell {
			p.Path = shell
		}
		got, err := choose(context.Background(), &tasklib.Definition{Name: "X"}, c.handlers, c.system, p)
		text := fault.CodeOf(err)
		if err == nil {
			program := filepath.Base(got.program)
			if program == "node" {
				program = filepath.Base(filepath.Dir(filepath.Dir(got.program)))
			}
			text = got.Kind + " " + program
		}
		if text != c.want {
			t.Errorf("%v with %v: %s (%v), want %s", c.handlers, c.nodes, text, err, c.want)
		}
	}
}

func TestNoNodeSaysWhatThereIs(t *testing.T) {
	c, _ := newCall(t, sample, 12)
	err := c.Run(context.Background())
	var e *fault.Error
	if !errors.As(err, &e) || !strings.Contains(e.Expected, "Node20_1, Node16") || !strings.Contains(e.Found, "12.1.2") || !strings.Contains(e.Do, "PENSTOCK_NODE") {
		t.Errorf("%+v", err)
	}
}

func TestNodeOfTheToolCache(t *testing.T) {
	cache := t.TempDir()
	if err := os.MkdirAll(filepath.Join(cache, "node", "18.1.2"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(nodetest.Install(t, 18), "node18"), filepath.Join(cache, "node", "18.1.2", "node18")); err != nil {
		t.Fatal(err)
	}
	found := Programs{ToolCache: cache, Path: t.TempDir() + string(os.PathListSeparator) + "relative"}.nodes(context.Background())
	if len(found) != 1 || found[0].version != (tasklib.Version{Major: 18, Minor: 1, Patch: 2}) {
		t.Errorf("%+v", found)
	}
}

// What stands in for PowerShell is given a script that quotes the paths.
func TestPowerShell(t *testing.T) {
	text := strings.Replace(sample, `"Node16":{"target":"main.js"},"Node20_1":{"target":"new.js","workingDirectory":"$(currentDirectory)/$(who)"}`, `"PowerShell3":{"target":"main.ps1"}`, 1)
	c, h := newCall(t, text)
	h.vars["system.debug"] = "true"
	odd := filepath.Join(t.TempDir(), "it's")
	if err := os.Rename(c.Task.Dir, odd); err != nil {
		t.Fatal(err)
	}
	c.Task.Dir = odd
	c.Programs.Path = t.TempDir()
	if err := os.WriteFile(filepath.Join(c.Programs.Path, "pwsh"), nil, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := c.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	script := h.cmd.Args[len(h.cmd.Args)-1]
	if h.cmd.Dir != odd || !strings.Contains(script, "it''s/ps_modules") || !strings.Contains(script, "it''''s/main.ps1") || !strings.Contains(script, "'Continue'") {
		t.Errorf("%s in %s", script, h.cmd.Dir)
	}
	if err := os.RemoveAll(filepath.Join(odd, "ps_modules")); err != nil {
		t.Fatal(err)
	}
	if err := c.Run(context.Background()); fault.CodeOf(err) != "task-package" {
		t.Error(err)
	}
}

func TestDeprecated(t *testing.T) {
	c, h := newCall(t, strings.Replace(sample, `"inputs"`, `"deprecated":true,"deprecationMessage":"use\nother","inputs"`, 1), 20)
	if err := c.Run(context.Background()); err != nil || !slices.Contains(h.lines, "##[warning]task Sample@1.2.3 is deprecated: use other") {
		t.Errorf("%v %q", err, h.lines)
	}
}

func TestMinimumAgentVersion(t *testing.T) {
	for version, warns := range map[string]bool{"2.144.0": false, AgentVersion: false, "5.0.0": true, "soon": false, "": false} {
		c, _ := newCall(t, strings.Replace(sample, `"inputs"`, `"minimumAgentVersion":"`+version+`","inputs"`, 1), 20)
		warned := ""
		c.Warn = func(text string) { warned += text }
		if err := c.Run(context.Background()); err != nil || (warned != "") != warns {
			t.Errorf("%q: %v %q", version, err, warned)
		}
	}
}
