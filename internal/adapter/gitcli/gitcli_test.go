package gitcli

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/repos"
)

type world struct {
	*Git
	t    *testing.T
	ctx  context.Context
	work string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Git: &Git{Binary: "git", Folder: t.TempDir()}, t: t, ctx: context.Background(), work: t.TempDir()}
	if err := w.Init(w.ctx, "r1", "main"); err != nil {
		t.Fatal(err)
	}
	w.do("init", "-q", "-b", "main", ".")
	w.do("remote", "add", "origin", filepath.Join(w.Folder, "r1.git"))
	return w
}

func (w *world) do(args ...string) string {
	w.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = w.work
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@x", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@x")
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (w *world) commit(branch, file, text string) string {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.work, file), []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	w.do("add", "-A")
	w.do("commit", "-q", "-m", "change "+file)
	w.do("push", "-q", "origin", "HEAD:refs/heads/"+branch)
	return w.do("rev-parse", "HEAD")
}

func TestReadAndMerge(t *testing.T) {
	w := newWorld(t)
	base := w.commit("main", "a.txt", "one\n")
	w.do("checkout", "-q", "-b", "side")
	side := w.commit("side", "b.txt", "two\n")
	w.do("checkout", "-q", "main")
	main := w.commit("main", "c.txt", "three\n")
	merged, err := w.Merge(w.ctx, "r1", repos.MergeRequest{Target: main, Source: side, Message: "m", Author: "ada", Email: "ada@x"})
	if err != nil {
		t.Fatal(err)
	}
	if text, err := w.ReadFile(w.ctx, "r1", merged, "b.txt"); err != nil || string(text) != "two\n" {
		t.Errorf("b.txt of the merge: %q, %v", text, err)
	}
	if _, err := w.ReadFile(w.ctx, "r1", merged, "nobody"); !fault.Is(err, fault.NotFound) {
		t.Errorf("a file that is not there: %v", err)
	}
	if err := w.UpdateRef(w.ctx, "r1", "refs/heads/main", merged, base); !fault.Is(err, fault.Conflict) {
		t.Errorf("a ref that moved: %v, want Conflict", err)
	}
	if err := w.UpdateRef(w.ctx, "r1", "refs/heads/main", merged, main); err != nil {
		t.Error(err)
	}
	if got, err := w.Resolve(w.ctx, "r1", "main"); err != nil || got != merged {
		t.Errorf("main is %s, %v; want %s", got, err, merged)
	}
	paths, err := w.ChangedPaths(w.ctx, "r1", base, merged)
	if err != nil || !slices.Equal(paths, []string{"b.txt", "c.txt"}) {
		t.Errorf("changed %v, %v", paths, err)
	}
	if all, err := w.ChangedPaths(w.ctx, "r1", repos.Zero, merged); err != nil || len(all) != 3 {
		t.Errorf("all files %v, %v", all, err)
	}
	commits, err := w.Commits(w.ctx, "r1", base, merged, 10)
	if err != nil || len(commits) != 3 || commits[0].Author != "ada" || len(commits[0].Parents) != 2 {
		t.Errorf("commits %+v, %v", commits, err)
	}
	if diff, err := w.Diff(w.ctx, "r1", main, side); err != nil || !strings.Contains(diff, "+two") || strings.Contains(diff, "three") {
		t.Errorf("diff since the branches parted:\n%s%v", diff, err)
	}
	if tree, err := w.Tree(w.ctx, "r1", merged, ""); err != nil || len(tree) != 3 {
		t.Errorf("tree %v, %v", tree, err)
	}
}

func TestMergeConflict(t *testing.T) {
	w := newWorld(t)
	w.commit("main", "a.txt", "one\n")
	w.do("checkout", "-q", "-b", "side")
	side := w.commit("side", "a.txt", "two\n")
	w.do("checkout", "-q", "main")
	main := w.commit("main", "a.txt", "three\n")
	_, err := w.Merge(w.ctx, "r1", repos.MergeRequest{Target: main, Source: side, Message: "m", Author: "a", Email: "a@x"})
	if fault.CodeOf(err) != "merge-conflict" {
		t.Errorf("got %v, want merge-conflict", err)
	}
}

// What people write as a revision is never an option of git.
func TestNothingIsAnOption(t *testing.T) {
	w := newWorld(t)
	w.commit("main", "a.txt", "one\n")
	for _, rev := range []string{"--help", "-h", "--output=/tmp/x", "main;id", "$(id)", "../../etc", "main^{/x"} {
		if _, err := w.Resolve(w.ctx, "r1", rev); !fault.Is(err, fault.NotFound) {
			t.Errorf("Resolve(%q): %v, want NotFound", rev, err)
		}
		if err := w.UpdateRef(w.ctx, "r1", rev, repos.Zero, ""); !fault.Is(err, fault.Invalid) {
			t.Errorf("UpdateRef(%q): %v, want Invalid", rev, err)
		}
		if _, err := w.ReadFile(w.ctx, "r1", rev, "a.txt"); !fault.Is(err, fault.Invalid) {
			t.Errorf("ReadFile(%q): %v, want Invalid", rev, err)
		}
	}
}
