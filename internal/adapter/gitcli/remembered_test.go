package gitcli

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// What was learned is what Commits and ReadFile find out themselves, and they
// do not ask for it again.
func TestLearnedIsWhatGitSays(t *testing.T) {
	w := newWorld(t)
	w.commit("main", "a b.txt", "one\n\n")
	commits := []string{w.do("rev-parse", "HEAD")}
	for _, args := range [][]string{
		{"commit", "-q", "--allow-empty", "-m", "subject\n\nbody with <angles> and ünïcode\n\n\n"},
		{"commit", "-q", "--allow-empty", "--allow-empty-message", "-m", ""},
		{"commit", "-q", "--allow-empty", "-m", "named", "--author", "Ada > Lovelace <ada@example.test>"},
		{"commit", "-q", "--allow-empty", "-m", "west", "--date", "2019-03-04T05:06:07-0800"},
		{"-c", "i18n.commitEncoding=ISO-8859-1", "commit", "-q", "--allow-empty", "-m", "caf\xe9"},
		{"merge", "-q", "--no-ff", "-m", "merged", "-s", "ours", "HEAD~2"},
	} {
		if args[0] == "merge" {
			w.do("checkout", "-q", "-b", "side", "HEAD~3")
			w.do("commit", "-q", "--allow-empty", "-m", "aside")
			w.do("checkout", "-q", "main")
			args[len(args)-1] = "side"
		}
		w.do(args...)
		commits = append(commits, w.do("rev-parse", "HEAD"))
	}
	w.do("push", "-q", "origin", "HEAD:refs/heads/main")
	fresh, learned := &Git{Binary: "git", Folder: w.Folder}, &Git{Binary: "git", Folder: w.Folder}
	for _, commit := range commits {
		want, err := fresh.Commits(w.ctx, "r1", "", commit, 1)
		if err != nil || len(want) != 1 {
			t.Fatal(want, err)
		}
		learned.Learn(w.ctx, "r1", commit, "a b.txt")
		if got, err := learned.Commits(w.ctx, "r1", "", commit, 1); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("learned %+v, %v\nwant    %+v", got, err, want)
		}
	}
	learned.Learn(w.ctx, "r1", commits[0], "nobody")
	if _, err := learned.ReadFile(w.ctx, "r1", commits[0], "nobody"); err == nil {
		t.Error("a file that is not there was read")
	}
	if err := os.RemoveAll(filepath.Join(w.Folder, "r1.git")); err != nil {
		t.Fatal(err)
	}
	if text, err := learned.ReadFile(w.ctx, "r1", commits[0], "a b.txt"); err != nil || string(text) != "one\n\n" {
		t.Errorf("the file is %q, %v", text, err)
	}
	if _, err := learned.Commits(w.ctx, "r1", "", commits[0], 1); err != nil {
		t.Errorf("git is asked again: %v", err)
	}
}
