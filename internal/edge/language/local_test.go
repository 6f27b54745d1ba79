package language

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"penstock.dev/penstock/internal/base/fault"
)

func TestLocalFileIsFoundAbove(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "penstock.local.yml"), "repositories: { platform: ../platform }\nsecrets:\n  A: { file: a.txt }\n  B: { env: B }\n  C: { command: [printf, 'see\\n'] }\n  D: { stub: dee }\n")
	write(t, filepath.Join(root, "a.txt"), "eh\r\n")
	f, err := ReadLocalFile(root, "deep/down/ci.yml", "")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := f.Path(f.Repositories["platform"]), filepath.Join(filepath.Dir(root), "platform"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	env := func(name string) string { return map[string]string{"B": "bee"}[name] }
	for name, want := range map[string]string{"A": "eh", "B": "bee", "C": "see", "D": "dee"} {
		if got, ok, err := f.Value(context.Background(), f.Secrets[name], env); err != nil || !ok || got != want {
			t.Errorf("%s: %q %v %v, want %q", name, got, ok, err, want)
		}
	}
	if _, ok, err := f.Value(context.Background(), SecretSource{Env: "NONE"}, env); ok || err != nil {
		t.Errorf("an unset variable: %v %v", ok, err)
	}
	if _, _, err := f.Value(context.Background(), SecretSource{Command: []string{"false"}}, env); fault.CodeOf(err) != "secret-command" {
		t.Errorf("a failing command: %v", err)
	}
}

func TestLocalFileMistakes(t *testing.T) {
	for text, code := range map[string]string{
		"secrets: { A: value }":                                        "secret-in-file",
		"secret: {}":                                                   "local-file",
		"environments: { a: { approve: maybe } }":                      "local-file",
		"secrets: { A: { evn: B } }":                                   "local-file",
		"variableGroups: { g: { A: { env: B } } }":                     "local-file",
		"serviceConnections: { c: { parameters: { A: { env: B } } } }": "local-file",
		"pools: { p: { job: 1 } }":                                     "local-file",
		"tasks: [ { skipp: a@1 } ]":                                    "local-file",
		"variables: [1]":                                               "local-file",
		"variables: { a: 1 }\nvariables: {}":                           "local-file",
	} {
		file := filepath.Join(t.TempDir(), "x.yml")
		write(t, file, text)
		if _, err := ReadLocalFile(filepath.Dir(file), "ci.yml", file); fault.CodeOf(err) != code {
			t.Errorf("%s: %v, want %s", text, err, code)
		}
	}
	if f, err := ReadLocalFile(t.TempDir(), "ci.yml", ""); err != nil || len(f.Secrets) > 0 {
		t.Errorf("without a file: %v %v", f, err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
