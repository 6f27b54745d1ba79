package localrun

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/mask"
)

// What a program prints of a secret stays hidden however it is cut; what a
// person types is seen at once where it is shorter than any secret.
func TestScreenMasks(t *testing.T) {
	const secret = "hunter-22"
	for cut := 1; cut <= len(secret); cut++ {
		for _, rested := range []bool{false, true} {
			m := &mask.Masker{}
			m.Add(secret)
			var out bytes.Buffer
			s := &screen{out: &out, stream: m.Stream()}
			text := "key " + secret + " and hum"
			for len(text) > 0 {
				n := min(cut, len(text))
				_, _ = s.Write([]byte(text[:n]))
				if rested {
					s.rest()
				}
				text = text[n:]
			}
			if rested && !strings.HasSuffix(out.String(), " and hum") {
				t.Errorf("cut %d: what was typed last is not seen: %q", cut, out.String())
			}
			s.Close()
			shown := strings.ReplaceAll(out.String(), "hun***", "***")
			shown = strings.ReplaceAll(strings.ReplaceAll(shown, "hu***", "***"), "h***", "***")
			if shown != "key *** and hum" {
				t.Errorf("cut %d, rested %v: %q", cut, rested, out.String())
			}
		}
	}
}

func TestWatch(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"src", "out"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string) {
		t.Helper()
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(".gitignore", "out/\n*.o\n")
	cmd := exec.Command("git", "init", "-q")
	cmd.Dir = root
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	w, err := Watch(root)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	// What is ignored comes first: had it counted, it would be the answer.
	write("out/binary", "1")
	write("main.o", "1")
	write(".penstock/runs/1/run.json", "{}")
	write("src/main.c", "int main;")
	if got := w.Next(t.Context()); got != filepath.Join("src", "main.c") {
		t.Errorf("changed: %q", got)
	}
	write("new/deep.txt", "1") // a folder that did not exist is watched from then on
	if got := w.Next(t.Context()); !strings.HasPrefix(got, "new") {
		t.Errorf("changed: %q", got)
	}
	write("new/deep.txt", "2")
	if got := w.Next(t.Context()); got != filepath.Join("new", "deep.txt") {
		t.Errorf("changed: %q", got)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if got := w.Next(ended); got != "" {
		t.Errorf("after the end: %q", got)
	}
}

func TestCommandsQuote(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is not installed")
	}
	dir := filepath.Join(t.TempDir(), "it's $(here)")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	rc := filepath.Join(dir, "rc")
	if err := os.WriteFile(rc, []byte(commands(dir, "st'age/$(touch x)`touch y`")), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bash, "-c", `. "$1"; for i in 1; do retry; done; echo not reached`, "-", rc)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	said, readErr := os.ReadFile(filepath.Join(dir, "decision"))
	if err != nil || readErr != nil || string(said) != "retry" || len(out) > 0 {
		t.Errorf("%v %v %q %q", err, readErr, said, out)
	}
	for _, made := range []string{"x", "y"} {
		if _, err := os.Stat(filepath.Join(dir, made)); err == nil {
			t.Errorf("the prompt ran a command: %s", made)
		}
	}
}

// A checkout in which no run can be recorded is the person's to repair.
func TestFolderThatCannotBeMade(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, ".penstock"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := newFolder(root); fault.CodeOf(err) != "not-writable" {
		t.Error(err)
	}
	if os.Geteuid() == 0 {
		t.Skip("root writes everywhere")
	}
	root = t.TempDir()
	if _, _, err := newFolder(root); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(root, ".penstock", "runs"), 0o555); err != nil {
		t.Fatal(err)
	}
	if _, _, err := newFolder(root); fault.CodeOf(err) != "not-writable" {
		t.Error(err)
	}
}

func TestCandidates(t *testing.T) {
	folder := t.TempDir()
	for name, text := range map[string]string{
		"build/deep/ci.yml": "trigger: none\n", "build/ci.yaml": "pool: x\nsteps :\n- bash: x\n", "docs.yml": "title: steps\n  steps: no\n", "ci.txt": "steps:\n",
		".azure/pr.yml": "# a comment\nextends:\n  template: x\n", ".github/workflows/a.yml": "jobs:\n", ".gitlab-ci.yml": "stages:\n", "node_modules/x/ci.yml": "jobs:\n",
	} {
		path := filepath.Join(folder, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got := Candidates(folder)
	for i := range got {
		got[i] = filepath.ToSlash(got[i])
	}
	if want := []string{".azure/pr.yml", "build/ci.yaml", "build/deep/ci.yml"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := Candidates(filepath.Join(folder, "nowhere")); got != nil {
		t.Errorf("of a folder that is not there: %v", got)
	}
}
