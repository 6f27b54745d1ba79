package worktree

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=a", "-c", "user.email=a@example.test"}, args...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestSnapshotTakesTheTreeAsItIs(t *testing.T) {
	tree := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(tree, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	git(t, tree, "init", "-q", "-b", "topic")
	put("kept.txt", "old")
	put("gone.txt", "x")
	put(".gitignore", "*.log\n")
	take := func() (string, string, int, string) {
		t.Helper()
		bare := filepath.Join(t.TempDir(), "r.git")
		git(t, tree, "init", "-q", "--bare", bare)
		s := &Snapshot{Git: "git", Folder: tree, Bare: bare, Index: filepath.Join(t.TempDir(), "index")}
		branch, commit, changed, err := s.Take(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return branch, commit, changed, bare
	}
	if branch, _, changed, _ := take(); branch != "topic" || changed != -1 {
		t.Errorf("before the first commit: %s, %d", branch, changed)
	}
	git(t, tree, "add", ".")
	git(t, tree, "commit", "-qm", "one")
	head := git(t, tree, "rev-parse", "HEAD")
	if _, commit, changed, _ := take(); commit != head || changed != 0 {
		t.Errorf("an unchanged tree: %s with %d, want its own commit %s", commit, changed, head)
	}
	git(t, tree, "tag", "packed/one")
	git(t, tree, "tag", "-a", "-m", "annotated", "packed-two")
	git(t, tree, "pack-refs", "--all")
	git(t, tree, "tag", "loose/three")
	if _, _, _, bare := take(); git(t, bare, "tag") != "loose/three\npacked-two\npacked/one" {
		t.Errorf("tags: %s", git(t, bare, "tag"))
	} else if git(t, bare, "rev-parse", "packed-two^{commit}") != head {
		t.Error("an annotated tag leads elsewhere")
	}
	put("kept.txt", "new")
	put("fresh.txt", "hi")
	put("noise.log", "x")
	if err := os.Remove(filepath.Join(tree, "gone.txt")); err != nil {
		t.Fatal(err)
	}
	before := git(t, tree, "status", "--porcelain")
	objects := git(t, tree, "count-objects")
	_, commit, changed, bare := take()
	if changed != 3 {
		t.Errorf("%d changed files, want 3", changed)
	}
	if got := git(t, bare, "show", commit+":kept.txt"); got != "new" {
		t.Errorf("kept.txt is %q", got)
	}
	if got := git(t, bare, "ls-tree", "--name-only", commit); got != ".gitignore\nfresh.txt\nkept.txt" {
		t.Errorf("the tree has %q", got)
	}
	if got := git(t, bare, "rev-parse", commit+"^"); got != head {
		t.Errorf("the parent is %s, want %s", got, head)
	}
	if after := git(t, tree, "status", "--porcelain"); after != before {
		t.Errorf("the checkout changed:\n%s\nfrom\n%s", after, before)
	}
	if after := git(t, tree, "count-objects"); after != objects {
		t.Errorf("objects went into the checkout: %s, before %s", after, objects)
	}
}

// A file that is written in the second in which the index was, to the same size,
// has changed all the same.
func TestChangeWithinASecond(t *testing.T) {
	tree := t.TempDir()
	name := filepath.Join(tree, "note.txt")
	now := time.Now().Add(-time.Hour).Truncate(time.Second) // the copy is not made in that second
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, now, now); err != nil {
			t.Fatal(err)
		}
	}
	git(t, tree, "init", "-q")
	git(t, tree, "config", "core.trustctime", "false")
	put("one")
	git(t, tree, "add", ".")
	git(t, tree, "commit", "-qm", "one")
	if err := os.Chtimes(filepath.Join(tree, ".git", "index"), now, now); err != nil {
		t.Fatal(err)
	}
	put("two")
	bare := filepath.Join(t.TempDir(), "r.git")
	git(t, tree, "init", "-q", "--bare", bare)
	s := &Snapshot{Git: "git", Folder: tree, Bare: bare, Index: filepath.Join(t.TempDir(), "index")}
	_, commit, changed, err := s.Take(context.Background())
	if err != nil || changed != 1 || git(t, bare, "show", commit+":note.txt") != "two" {
		t.Errorf("%d changed files, %v", changed, err)
	}
}

func TestSnapshotKnowsWhatTheOriginHas(t *testing.T) {
	up, tree := t.TempDir(), filepath.Join(t.TempDir(), "tree")
	git(t, up, "init", "-q", "-b", "main")
	git(t, up, "commit", "-q", "--allow-empty", "-m", "one")
	one := git(t, up, "rev-parse", "HEAD")
	for _, branch := range []string{"release/1", "release/2", "topic/x"} {
		git(t, up, "branch", branch)
	}
	git(t, up, "clone", "-q", up, tree)
	git(t, tree, "pack-refs", "--all")
	git(t, tree, "branch", "-r", "-d", "origin/release/2")
	git(t, tree, "checkout", "-q", "-b", "topic") // beside origin/topic/x it could not stand
	git(t, tree, "branch", "mine")
	refs := func() string {
		t.Helper()
		bare := filepath.Join(t.TempDir(), "r.git")
		git(t, tree, "init", "-q", "--bare", bare)
		s := &Snapshot{Git: "git", Folder: tree, Bare: bare, Index: filepath.Join(t.TempDir(), "index")}
		if _, _, _, err := s.Take(t.Context()); err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(git(t, bare, "for-each-ref", "--format=%(refname)"), "\n", " ")
	}
	if got, want := refs(), "refs/heads/main refs/heads/release/1 refs/heads/topic"; got != want {
		t.Errorf("with an origin: %s, want %s", got, want)
	}
	git(t, tree, "remote", "remove", "origin")
	if got, want := refs(), "refs/heads/main refs/heads/mine refs/heads/topic"; got != want {
		t.Errorf("without one: %s, want %s", got, want)
	}
	git(t, tree, "update-ref", "refs/heads/later", one)
	if got := refs(); !strings.Contains(got, "refs/heads/later") {
		t.Errorf("a branch in a file of its own is missing: %s", got)
	}
}

// Where something else is at work in the folder, git gives up on a file that
// vanishes while it is read.
func TestSnapshotTriesAgainWhereAFileVanished(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("git is replaced by a shell script")
	}
	for problems, want := range map[string]bool{"1": true, "4": true, "5": false} {
		tree, tools := t.TempDir(), t.TempDir()
		git(t, tree, "init", "-q", "-b", "main")
		if err := os.WriteFile(filepath.Join(tree, "kept.txt"), []byte("kept"), 0o644); err != nil {
			t.Fatal(err)
		}
		script := `#!/bin/sh
if [ "$1" = add ] && [ "$(cat "$0.tries" 2>/dev/null | wc -l)" -lt ` + problems + ` ]; then
	echo try >> "$0.tries"
	echo "fatal: unable to stat 'gone.txt'" >&2
	exit 128
fi
exec git "$@"
`
		if err := os.WriteFile(filepath.Join(tools, "flaky"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		bare := filepath.Join(t.TempDir(), "r.git")
		git(t, tree, "init", "-q", "--bare", bare)
		s := &Snapshot{Git: filepath.Join(tools, "flaky"), Folder: tree, Bare: bare, Index: filepath.Join(t.TempDir(), "index")}
		_, commit, _, err := s.Take(context.Background())
		if (err == nil) != want {
			t.Fatalf("%s problems: %v", problems, err)
		}
		if err == nil && git(t, bare, "show", commit+":kept.txt") != "kept" {
			t.Errorf("%s problems: the file is missing", problems)
		}
		if err != nil && !strings.Contains(err.Error(), "unable to stat") {
			t.Errorf("the cause is missing: %v", err)
		}
	}
}
