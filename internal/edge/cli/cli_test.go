package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"penstock.dev/penstock/internal/base/fault"
)

var update = flag.Bool("update", false, "write the golden files")

var now = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

// desk is a machine with a server: answers by "METHOD path", in order where
// there are several.
type desk struct {
	t       *testing.T
	server  *httptest.Server
	answers map[string][]string
	asked   []string // "METHOD path body"
	env     map[string]string
	dir     string
	stdin   string
	deps    func(*Deps)
}

func newDesk(t *testing.T, answers map[string]string) *desk {
	t.Helper()
	d := &desk{t: t, answers: map[string][]string{}, dir: t.TempDir()}
	for k, v := range answers {
		d.answers[k] = strings.Split(v, "\x00")
	}
	d.server = httptest.NewServer(http.HandlerFunc(d.serve))
	t.Cleanup(d.server.Close)
	d.env = map[string]string{"PENSTOCK_SERVER": d.server.URL, "PENSTOCK_PROJECT": "shop", "PENSTOCK_TOKEN": "pst_x", "LANG": "C.UTF-8",
		"XDG_CONFIG_HOME": filepath.Join(d.dir, "config"), "XDG_STATE_HOME": filepath.Join(d.dir, "state"), "XDG_DATA_HOME": filepath.Join(d.dir, "data"), "HOME": d.dir}
	return d
}

func (d *desk) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	path := strings.TrimPrefix(r.URL.RequestURI(), "/default")
	d.asked = append(d.asked, strings.TrimSpace(r.Method+" "+path+" "+string(body)))
	key := r.Method + " " + path
	list, ok := d.answers[key]
	if !ok {
		key, _, _ = strings.Cut(key, "?")
		list, ok = d.answers[key]
	}
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprintf(w, `{"message":"no such address in the test: %s","code":"no-route","kind":"notFound"}`, key)
		return
	}
	if len(list) > 1 {
		d.answers[key] = list[1:]
	}
	if rest, isError := strings.CutPrefix(list[0], "!"); isError {
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, rest)
		return
	}
	_, _ = io.WriteString(w, list[0])
}

// run calls the command line as a person would type it.
func (d *desk) run(args ...string) (stdout, stderr string, code int) {
	d.t.Helper()
	var out, errs bytes.Buffer
	deps := Deps{Stdin: strings.NewReader(d.stdin), Stdout: &out, Stderr: &errs, Env: func(k string) string { return d.env[k] }, Dir: d.dir,
		Now: func() time.Time { return now }, Version: "1.0.0"}
	if d.deps != nil {
		d.deps(&deps)
	}
	code = Execute(context.Background(), args, deps)
	return out.String(), errs.String(), code
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || string(want) != got {
		t.Errorf("%s differs (%v); go test ./internal/edge/cli -update writes it. Got:\n%s", file, err, got)
	}
}

func TestEveryCommandHelps(t *testing.T) {
	var b strings.Builder
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Name() == "help" || cmd.Name() == "completion" {
			return
		}
		if !strings.HasSuffix(cmd.Short, ".") || cmd.Example == "" {
			t.Errorf("%s: a sentence and examples, please: %q, %q", cmd.CommandPath(), cmd.Short, cmd.Example)
		}
		fmt.Fprintf(&b, "%s\n    %s\n", strings.TrimSpace(strings.TrimSuffix(cmd.UseLine(), "[flags]")), cmd.Short)
		for _, below := range cmd.Commands() {
			walk(below)
		}
	}
	walk(New(Deps{}))
	golden(t, "commands.golden", b.String())
	d := newDesk(t, nil)
	out, _, code := d.run("--help")
	golden(t, "help.golden", out)
	if code != 0 {
		t.Errorf("--help: exit code %d", code)
	}
	out, _, _ = d.run("swap", "--help")
	golden(t, "swap-help.golden", out)
}

func TestExamplesAreCommands(t *testing.T) {
	root := New(Deps{})
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		for l := range strings.Lines(cmd.Example) {
			_, call, ok := strings.Cut(l, "penstock ")
			if !ok {
				continue
			}
			call, _, _ = strings.Cut(call, " >")
			words := strings.Fields(strings.TrimRight(call, "'\n"))
			found, _, err := root.Find(words)
			if err != nil || found == root && !strings.HasPrefix(words[0], "-") {
				t.Errorf("%s: the example %q names no command", cmd.CommandPath(), strings.TrimSpace(l))
			}
		}
		for _, below := range cmd.Commands() {
			walk(below)
		}
	}
	walk(root)
}

func TestErrorsLookAlike(t *testing.T) {
	for kind, want := range map[fault.Kind]int{fault.Invalid: 2, fault.Denied: 3, fault.NotFound: 4, fault.Unavailable: 5, fault.Conflict: 6, fault.Internal: 70} {
		body, _ := json.Marshal(map[string]string{"message": "it went wrong", "kind": kind.String(), "code": "denied", "expected": "this", "found": "that", "do": "so", "where": "here"})
		d := newDesk(t, map[string]string{"GET /shop/_apis/pipelines": "!" + string(body)})
		out, errs, code := d.run("pipeline", "list")
		if code != want || out != "" {
			t.Errorf("%s: exit code %d, want %d; stdout %q", kind, code, want, out)
		}
		if wantText := "error denied: it went wrong\n  where     here\n  expected  this\n  found     that\n  do        so\n  see       penstock explain denied\n"; errs != wantText {
			t.Errorf("stderr\n%s\nwant\n%s", errs, wantText)
		}
		_, errs, _ = d.run("pipeline", "list", "-o", "json")
		var e map[string]string
		if err := json.Unmarshal([]byte(errs), &e); err != nil || e["code"] != "denied" || e["kind"] != kind.String() {
			t.Errorf("json: %v %s", err, errs)
		}
	}
	d := newDesk(t, map[string]string{"GET /shop/_apis/pipelines": `!{"message":"bad \u001b[31m name","code":"x","kind":"conflict"}`})
	if _, errs, _ := d.run("pipeline", "list"); strings.Contains(errs, "\x1b") {
		t.Errorf("the terminal would obey: %q", errs)
	}
}

func TestUsageErrors(t *testing.T) {
	d := newDesk(t, nil)
	for line, want := range map[string]string{
		"swep storefront":                     "did you mean",
		"run lst":                             "run list",
		"swap":                                "needs APP",
		"swap a b":                            "one word too many: b",
		"schema app":                          "expected  pipeline",
		"run list --nope":                     "--nope",
		"run list -o xml":                     "table, wide, json or yaml",
		"run show x":                          "latest:PIPELINE",
		"run pipelines/a.yml":                 "error file-unreadable",
		"vault secret set kv/Key --value abc": "there is no flag --value",
		"pipeline run ci --param x":           "no NAME=VALUE",
		"agent":                               "curious call",
		"down --purge":                        "--yes",
	} {
		_, errs, code := d.run(strings.Fields(line)...)
		if code != 2 && code != 5 || !strings.Contains(errs, want) {
			t.Errorf("%s: exit code %d, want 2 and %q:\n%s", line, code, want, errs)
		}
	}
}

func TestWhereACommandGoes(t *testing.T) {
	d := newDesk(t, map[string]string{"GET /shop/_apis/pipelines": `{"value":[]}`, "GET /other/_apis/pipelines": `{"value":[]}`})
	delete(d.env, "PENSTOCK_SERVER")
	delete(d.env, "PENSTOCK_PROJECT")
	if _, errs, code := d.run("pipeline", "list"); code != 2 || !strings.Contains(errs, "no-server") {
		t.Errorf("no server: %d %s", code, errs)
	}
	up := filepath.Join(d.dir, "data", "penstock")
	must(t, os.MkdirAll(up, 0o700))
	must(t, os.WriteFile(filepath.Join(up, "up.json"), fmt.Appendf(nil, `{"pid":1,"url":%q,"organization":"default","project":"shop"}`, d.server.URL), 0o600))
	if _, errs, code := d.run("pipeline", "list", "-v"); code != 0 || !strings.Contains(errs, "penstock up of this machine") {
		t.Errorf("up.json: %d %s", code, errs)
	}
	if _, errs, code := d.run("pipeline", "list", "-v", "-p", "other"); code != 0 || !strings.Contains(errs, "project other") {
		t.Errorf("-p: %d %s", code, errs)
	}
	d.env["PENSTOCK_SERVER"] = "http://127.0.0.1:1"
	if _, errs, code := d.run("pipeline", "list", "-p", "shop"); code != 5 || !strings.Contains(errs, "server-unreachable") {
		t.Errorf("unreachable: %d %s", code, errs)
	}
}

func TestLoginKeepsTheTokenToItself(t *testing.T) {
	d := newDesk(t, map[string]string{
		"POST /_apis/penstock/sessions":         `{"token":"pst_secret","user":"ada"}`,
		"GET /_apis/connectionData":             `{"authenticatedUser":{"providerDisplayName":"ada"}}`,
		"DELETE /_apis/penstock/tokens/current": "",
		"GET /shop/_apis/penstock/vaults":       `{"value":[]}`,
	})
	delete(d.env, "PENSTOCK_TOKEN")
	d.stdin = "correct horse\n"
	out, errs, code := d.run("login", "--user", "ada")
	if code != 0 || strings.Contains(out+errs, "pst_secret") || strings.Contains(out+errs, "horse") {
		t.Fatalf("login: %d %s%s", code, out, errs)
	}
	file := filepath.Join(d.dir, "state", "penstock", "credentials.yml")
	info, err := os.Stat(file)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %o", info.Mode().Perm())
	}
	d.stdin = "protocol=http\nhost=" + strings.TrimPrefix(d.server.URL, "http://") + "\n\n"
	if out, _, _ := d.run("git-credential", "get"); out != "username=ada\npassword=pst_secret\n" {
		t.Errorf("git-credential: %q", out)
	}
	d.stdin = "protocol=http\nhost=elsewhere.example.test\n\n"
	if out, _, _ := d.run("git-credential", "get"); out != "" {
		t.Errorf("git-credential gives a token to another host: %q", out)
	}
	must(t, os.Chmod(file, 0o644))
	if _, errs, code := d.run("vault", "list"); code != 2 || !strings.Contains(errs, "credentials-readable") {
		t.Errorf("readable by others: %d %s", code, errs)
	}
	must(t, os.Chmod(file, 0o600))
	if _, errs, code := d.run("logout"); code != 0 {
		t.Errorf("logout: %d %s", code, errs)
	}
	if data, err := os.ReadFile(file); err != nil || strings.Contains(string(data), "pst_secret") {
		t.Errorf("the token is still there: %v %s", err, data)
	}
}

func TestOriginOfAStrangerGetsNoToken(t *testing.T) {
	d := newDesk(t, nil)
	delete(d.env, "PENSTOCK_SERVER")
	c := newCLI(Deps{Env: func(k string) string { return d.env[k] }, Dir: d.dir})
	if got := c.git(context.Background(), "init", "-q"); got != "" {
		t.Fatal("git is needed, and answers: " + got)
	}
	c.git(context.Background(), "remote", "add", "origin", d.server.URL+"/default/shop/_git/storefront")
	if _, errs, code := d.run("pipeline", "list"); code != 2 || !strings.Contains(errs, "no-server") || len(d.asked) > 0 {
		t.Errorf("a checkout chose the server: %d %s, asked %v", code, errs, d.asked)
	}
	if _, _, code := d.run("context", "list"); code != 0 {
		t.Errorf("context list: %d", code)
	}
	must(t, os.MkdirAll(filepath.Join(d.dir, "config", "penstock"), 0o700))
	must(t, os.WriteFile(filepath.Join(d.dir, "config", "penstock", "config.yml"), []byte("contexts:\n  here:\n    server: "+d.server.URL+"\n"), 0o600))
	d.answers["GET /shop/_apis/pipelines"] = []string{`{"value":[]}`}
	if _, errs, code := d.run("pipeline", "list", "-v"); code != 0 || !strings.Contains(errs, "origin of the checkout") {
		t.Errorf("a known server is not used: %d %s", code, errs)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// reported finds the codes that the compiler reports.
var reported = regexp.MustCompile(`\.(?:Error|Warn)\([^"\n]*, "([a-z][a-z0-9-]*[a-z0-9])"|Code: "([a-z][a-z0-9-]*[a-z0-9])"|(?:halt|warn)\([^"\n]*, "([a-z][a-z0-9-]+)"|fault\.Invalid, "([a-z][a-z0-9-]+)"`)

func TestExplainKnowsEveryCodeOfTheCompiler(t *testing.T) {
	known, found := explanations(), 0
	err := filepath.WalkDir("../../domain/pipeline", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		data, err := os.ReadFile(path)
		for _, m := range reported.FindAllStringSubmatch(string(data), -1) {
			code := m[1] + m[2] + m[3] + m[4]
			found++
			if known[code] == "" {
				t.Errorf("%s: errors.md does not explain %s", path, code)
			}
		}
		return err
	})
	if err != nil || found < 100 {
		t.Errorf("only %d codes: %v", found, err)
	}
}

func TestExplainKnowsEveryCodeOfTheEdges(t *testing.T) {
	known := explanations()
	for _, folder := range []string{".", "../devopsapi", "../gitserver"} {
		files, _ := filepath.Glob(filepath.Join(folder, "*.go"))
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			data, err := os.ReadFile(f)
			must(t, err)
			for _, part := range strings.Split(string(data), "fault.New(")[1:] {
				words := strings.Split(part, `"`)
				if len(words) > 1 && strings.HasPrefix(words[0], "fault.") && !strings.ContainsAny(words[0], "()") && known[words[1]] == "" {
					t.Errorf("%s: errors.md does not explain %s", f, words[1])
				}
			}
		}
	}
	d := newDesk(t, nil)
	if out, _, code := d.run("explain", "not-healthy"); code != 0 || !strings.Contains(out, "Production was not touched") {
		t.Errorf("explain: %d %s", code, out)
	}
	if out, _, code := d.run("explain", "dependsOn"); code != 0 || !strings.Contains(out, "Stages to wait for") {
		t.Errorf("explain of a key: %d %s", code, out)
	}
	if _, errs, code := d.run("explain", "healthy"); code != 4 || !strings.Contains(errs, "not-healthy") {
		t.Errorf("explain of a part: %d %s", code, errs)
	}
}

func TestSchemaIsPrinted(t *testing.T) {
	d := newDesk(t, nil)
	out, errs, code := d.run("schema")
	var doc map[string]any
	if err := json.Unmarshal([]byte(out), &doc); err != nil || code != 0 || doc["$schema"] != "https://json-schema.org/draft/2020-12/schema" {
		t.Errorf("schema: %d %v %s", code, err, errs)
	}
}

func TestLanguageServerNeedsAnEditor(t *testing.T) {
	d := newDesk(t, nil)
	if out, errs, code := d.run("language-server"); code != 5 || out != "" || !strings.Contains(errs, "editor-gone") {
		t.Errorf("language-server: %d %s %s", code, out, errs)
	}
}

func TestRolesGetTheirOptions(t *testing.T) {
	d := newDesk(t, nil)
	var up UpOptions
	var demo DemoOptions
	var down DownOptions
	var agent AgentOptions
	d.deps = func(x *Deps) {
		x.Up = func(_ context.Context, o UpOptions) error { up = o; return nil }
		x.Demo = func(_ context.Context, o DemoOptions) error { demo = o; return nil }
		x.Down = func(_ context.Context, o DownOptions) error { down = o; return nil }
		x.Agent = func(_ context.Context, o AgentOptions) error { agent = o; return nil }
	}
	for _, line := range []string{"up --data /d --ports default --set agent.jobs=2", "demo release --fast --exit", "down --data /d --purge --yes", "agent --server http://h --join-token-file t --data /a --jobs 3"} {
		if _, errs, code := d.run(strings.Fields(line)...); code != 0 {
			t.Errorf("%s: %d %s", line, code, errs)
		}
	}
	if up.Data != "/d" || up.Ports != "default" || up.Set["agent.jobs"] != "2" {
		t.Errorf("up %+v", up)
	}
	if demo.Story != "release" || !demo.Fast || !demo.Exit || down.Data != "/d" || !down.Purge {
		t.Errorf("demo %+v, down %+v", demo, down)
	}
	if agent.Server != "http://h" || agent.JoinTokenFile != filepath.Join(d.dir, "t") || agent.Jobs != 3 || agent.Data != "/a" {
		t.Errorf("agent %+v", agent)
	}
}

func TestCompletionKnowsNames(t *testing.T) {
	d := newDesk(t, map[string]string{"GET /shop/_apis/pipelines": `{"value":[{"name":"storefront-ci"}]}`, "GET /shop/_apis/penstock/applications": `{"value":[{"application":{"name":"storefront"}}]}`})
	for line, want := range map[string]string{"__complete pipeline run ": "storefront-ci\n", "__complete swap ": "storefront\n", "__complete pipeline ru": "run\t", "__complete vm start ": ":4\n"} {
		if out, errs, code := d.run(strings.Split(line, " ")...); code != 0 || !strings.Contains(out, want) {
			t.Errorf("%s: %d %q %s", line, code, out, errs)
		}
	}
}
