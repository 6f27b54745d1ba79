package language

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creachadair/jrpc2"
	"github.com/creachadair/jrpc2/channel"
)

// session is an editor that speaks to the server over pipes.
type session struct {
	t      *testing.T
	dir    string
	client *jrpc2.Client
	found  chan publishParams
	done   chan error
}

func newSession(t *testing.T, files map[string]string, options any) *session {
	t.Helper()
	dir := resolved(t.TempDir())
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	fromEditor, toServer := io.Pipe()
	fromServer, toEditor := io.Pipe()
	s := &session{t: t, dir: dir, found: make(chan publishParams, 100), done: make(chan error, 1)}
	go func() {
		s.done <- Serve(context.Background(), fromEditor, toEditor, Options{Version: "test", Workspace: Workspace{Root: filepath.Join(dir, "main")}})
	}()
	s.client = jrpc2.NewClient(channel.LSP(fromServer, toServer), &jrpc2.ClientOptions{OnNotify: func(r *jrpc2.Request) {
		var p publishParams
		if err := r.UnmarshalParams(&p); err == nil && r.Method() == "textDocument/publishDiagnostics" {
			s.found <- p
		}
	}})
	t.Cleanup(func() { _ = s.client.Close() })
	var answer struct {
		Capabilities map[string]any
		ServerInfo   struct{ Name string }
	}
	s.call("initialize", map[string]any{"capabilities": map[string]any{}, "initializationOptions": options}, &answer)
	if answer.ServerInfo.Name != "penstock" || answer.Capabilities["hoverProvider"] != true || answer.Capabilities["positionEncoding"] != "utf-16" {
		t.Fatalf("initialize: %+v", answer)
	}
	s.notify("initialized", map[string]any{})
	return s
}

func (s *session) call(method string, params, result any) {
	s.t.Helper()
	r, err := s.client.Call(s.t.Context(), method, params)
	if err != nil {
		s.t.Fatalf("%s: %v", method, err)
	}
	if err := r.UnmarshalResult(result); err != nil {
		s.t.Fatalf("%s: %v", method, err)
	}
}

func (s *session) notify(method string, params any) {
	s.t.Helper()
	if err := s.client.Notify(s.t.Context(), method, params); err != nil {
		s.t.Fatal(err)
	}
}

func (s *session) uri(name string) string { return uriOf(filepath.Join(s.dir, "main", name)) }

func (s *session) open(name, text string) {
	s.notify("textDocument/didOpen", map[string]any{"textDocument": map[string]any{"uri": s.uri(name), "languageId": "yaml", "version": 1, "text": text}})
}

func (s *session) edit(name, text string) {
	s.notify("textDocument/didChange", map[string]any{"textDocument": map[string]any{"uri": s.uri(name)}, "contentChanges": []any{map[string]string{"text": text}}})
}

// findings waits until a file has exactly these codes.
func (s *session) findings(name, codes string) publishParams {
	s.t.Helper()
	last := ""
	for {
		select {
		case p := <-s.found:
			if p.URI != s.uri(name) {
				continue
			}
			var got []string
			for _, d := range p.Diagnostics {
				got = append(got, d.Code)
			}
			if last = strings.Join(got, " "); last == codes {
				return p
			}
		case <-time.After(10 * time.Second):
			s.t.Fatalf("%s has %q, want %q", name, last, codes)
		}
	}
}

// place is the position behind a text of a document.
func (s *session) place(name, text, behind string) map[string]any {
	s.t.Helper()
	head, _, ok := strings.Cut(text, behind)
	if !ok {
		s.t.Fatalf("%s is not in %s", behind, name)
	}
	head += behind
	line := strings.Count(head, "\n")
	last := head[strings.LastIndexByte(head, '\n')+1:]
	return map[string]any{"textDocument": map[string]string{"uri": s.uri(name)}, "position": lspPosition{line, character(last, len([]rune(last))+1, false)}}
}

const (
	ciFile    = "trigger: none\nsteps:\n- template: templates/steps.yml\n  parameters:\n    greeting: '😀 hi'\n- template: more.yml@lib\n"
	stepsFile = "parameters:\n- name: greeting\nsteps:\n- script: echo 😀 ${{ parameters.greeting }}\n"
)

// A person opens a pipeline and its template, makes a mistake, looks around,
// renames a parameter and leaves.
func TestSession(t *testing.T) {
	s := newSession(t, map[string]string{
		"main/azure-pipelines.yml":   "resources: {repositories: [{repository: lib, name: lib}]}\n" + ciFile,
		"main/templates/steps.yml":   stepsFile,
		"main/other.yml":             "steps:\n- template: templates/steps.yml\n  parameters: {greeting: x}\n",
		"lib/more.yml":               "steps:\n- script: y\n",
		"main/node_modules/deep.yml": "steps:\n- template: /templates/steps.yml\n  parameters: {greeting: x}\n",
	}, nil)
	root := "resources: {repositories: [{repository: lib, name: lib}]}\n" + ciFile
	s.open("azure-pipelines.yml", root)
	p := s.findings("azure-pipelines.yml", "repository-not-available")
	if d := p.Diagnostics[0]; d.Range.Start.Line != 6 || d.Severity != 1 || !strings.Contains(d.Message, "do: ") {
		t.Errorf("%+v", d)
	}
	s.notify("workspace/didChangeConfiguration", map[string]any{"settings": map[string]any{"penstock": map[string]any{"repositories": map[string]string{"lib": filepath.Join(s.dir, "lib")}}}})
	s.findings("azure-pipelines.yml", "")

	s.open("templates/steps.yml", stepsFile)
	broken := strings.Replace(stepsFile, "- script: echo", "- scrip: x\n- script: echo", 1)
	s.edit("templates/steps.yml", broken)
	p = s.findings("templates/steps.yml", "unknown-key")
	if d := p.Diagnostics[0]; d.Range != (lspRange{lspPosition{3, 2}, lspPosition{3, 7}}) || len(d.Related) != 1 || d.Related[0].Location.URI != s.uri("azure-pipelines.yml") {
		t.Errorf("in the call: %+v", d)
	}
	s.edit("templates/steps.yml", stepsFile)
	s.findings("templates/steps.yml", "")

	var hover hoverResult
	s.call("textDocument/hover", s.place("templates/steps.yml", stepsFile, "parameters.gre"), &hover)
	if want := "`parameters.greeting` = `'😀 hi'` in the call at azure-pipelines.yml:4:3, given at azure-pipelines.yml:6:5"; !strings.Contains(hover.Contents.Value, want) {
		t.Errorf("hover: %s", hover.Contents.Value)
	}
	var places []lspLocation
	s.call("textDocument/definition", s.place("azure-pipelines.yml", root, "more.y"), &places)
	if len(places) != 1 || places[0].URI != uriOf(filepath.Join(s.dir, "lib/more.yml")) {
		t.Errorf("definition: %+v", places)
	}
	s.renames(root)
	s.completes()
	var symbols []documentSymbol
	s.call("textDocument/documentSymbol", s.place("templates/steps.yml", stepsFile, "steps"), &symbols)
	if len(symbols) != 1 || symbols[0].Kind != symbolKinds["step"] || symbols[0].SelectionRange.Start != (lspPosition{3, 2}) {
		t.Errorf("symbols: %+v", symbols)
	}
	s.notify("textDocument/didClose", s.place("azure-pipelines.yml", root, "steps"))
	s.edit("templates/steps.yml", strings.Replace(stepsFile, "steps:", "stepz:", 1))
	s.findings("templates/steps.yml", "unknown-key")
	s.leave()
}

func (s *session) renames(root string) {
	at := s.place("templates/steps.yml", stepsFile, "parameters.gre")
	var prepared prepareResult
	s.call("textDocument/prepareRename", at, &prepared)
	if prepared.Placeholder != "greeting" || prepared.Range.Start != (lspPosition{3, 33}) {
		s.t.Errorf("prepareRename: %+v", prepared)
	}
	at["newName"] = "text"
	var edit workspaceEdit
	s.call("textDocument/rename", at, &edit)
	for name, text := range map[string]string{"templates/steps.yml": stepsFile, "azure-pipelines.yml": root, "other.yml": "steps:\n- template: templates/steps.yml\n  parameters: {greeting: x}\n"} {
		lines := strings.Split(text, "\n")
		edits := edit.Changes[s.uri(name)]
		if want := strings.Count(text, "greeting"); len(edits) != want {
			s.t.Errorf("rename in %s: %d edits, want %d", name, len(edits), want)
		}
		for _, e := range edits {
			line := lines[e.Range.Start.Line]
			from, to := column(line, e.Range.Start.Character, false), column(line, e.Range.End.Character, false)
			if old := string([]rune(line)[from-1 : to-1]); old != "greeting" || e.NewText != "text" {
				s.t.Errorf("rename in %s replaces %q", name, old)
			}
		}
	}
	if len(edit.Changes) != 3 {
		s.t.Errorf("rename: %d files", len(edit.Changes))
	}
	at["newName"] = "a b"
	if _, err := s.client.Call(s.t.Context(), "textDocument/rename", at); err == nil || !strings.Contains(err.Error(), "cannot be the name") {
		s.t.Errorf("rename to nonsense: %v", err)
	}
}

// completes asks in a file that is not YAML just then.
func (s *session) completes() {
	half := stepsFile + "- task: CopyFiles@2\n  inputs:\n    Tar"
	s.edit("templates/steps.yml", half)
	var list completionList
	s.call("textDocument/completion", s.place("templates/steps.yml", half, "    Tar"), &list)
	found := false
	for _, item := range list.Items {
		if item.Label == "TargetFolder" {
			found = item.TextEdit.NewText == "TargetFolder: " && item.TextEdit.Range == lspRange{lspPosition{6, 4}, lspPosition{6, 7}}
		}
	}
	if !found {
		s.t.Errorf("completion: %+v", list.Items)
	}
	s.edit("templates/steps.yml", stepsFile)
}

func (s *session) leave() {
	s.t.Helper()
	var none any
	s.call("shutdown", nil, &none)
	s.notify("exit", nil)
	select {
	case err := <-s.done:
		if err != nil {
			s.t.Errorf("the server ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		s.t.Error("the server goes on after exit")
	}
}

func TestServerEndsWithoutShutdown(t *testing.T) {
	s := newSession(t, nil, map[string]any{"repositories": map[string]string{"nope": "nowhere"}})
	_ = s.client.Close()
	select {
	case err := <-s.done:
		if err == nil {
			t.Error("an editor that vanishes is no good end")
		}
	case <-time.After(10 * time.Second):
		t.Error("the server goes on without an editor")
	}
}

func TestColumns(t *testing.T) {
	line := "a😀ü b"
	for col := 1; col <= 6; col++ {
		if got := column(line, character(line, col, false), false); got != col {
			t.Errorf("column %d comes back as %d", col, got)
		}
		if got := column(line, character(line, col, true), true); got != col {
			t.Errorf("column %d comes back as %d", col, got)
		}
	}
	if character(line, 3, false) != 3 || column(line, 3, false) != 3 || column(line, 99, false) != 6 {
		t.Error("a character beyond the basic plane counts twice")
	}
}

// A pipeline with seven templates is compiled again after every pause in
// typing: 30 ms is what a person does not notice.
func BenchmarkRecheck(b *testing.B) {
	files := map[string]string{}
	root := "parameters:\n- name: go\n  default: true\n  type: boolean\nstages:\n"
	for i := range 7 {
		root += fmt.Sprintf("- stage: s%d\n  jobs:\n  - template: templates/jobs%d.yml\n    parameters: {count: %d, names: [a, b, c, d]}\n", i, i, i)
		text := "parameters:\n- name: count\n  type: number\n- name: names\n  type: object\njobs:\n- ${{ each name in parameters.names }}:\n  - job: j_${{ name }}\n    variables:\n      who: ${{ name }}\n    steps:\n"
		for j := range 12 {
			text += fmt.Sprintf("    - ${{ if ge(parameters.count, %d) }}:\n      - script: echo ${{ upper(variables.who) }} $(Build.BuildId)\n        displayName: Step %d of ${{ name }}\n        condition: and(succeeded(), eq(variables['who'], '${{ name }}'))\n    - task: CopyFiles@2\n      inputs:\n        SourceFolder: $(Build.SourcesDirectory)\n        Contents: '**/*.${{ name }}'\n        TargetFolder: out/%d\n", j%7, j, j)
		}
		files[fmt.Sprintf("templates/jobs%d.yml", i)] = text
	}
	dir := b.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "templates"), 0o755); err != nil {
		b.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	s := &server{opt: Options{Workspace: Workspace{Root: dir}}, ctx: b.Context(), docs: map[string]*document{}, places: map[string]*checkout{}, checks: map[string]check{}, shown: map[string]string{}}
	path := filepath.Join(resolved(dir), "azure-pipelines.yml")
	changed := filepath.Join(resolved(dir), "templates", "jobs3.yml")
	s.docs[path] = &document{uri: uriOf(path), path: path, text: []byte(root)}
	text := files["templates/jobs3.yml"]
	b.ResetTimer()
	for i := range b.N {
		s.docs[changed] = &document{uri: uriOf(changed), path: changed, text: []byte(text + fmt.Sprintf("    - script: last %d\n", i))}
		s.outdate(changed)
		if !s.refresh(b.Context()) {
			b.Fatal("not checked")
		}
		for uri, diags := range s.findings() {
			if len(diags) > 0 {
				b.Fatalf("%s: %+v", uri, diags)
			}
		}
	}
	b.StopTimer()
	if c := s.checks[path]; len(c.result.Read) != 8 {
		b.Fatalf("%d files were read", len(c.result.Read))
	}
	s.forget()
}
