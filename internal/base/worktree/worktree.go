// Package worktree makes a commit of a folder as it is, without touching the
// repository that the folder belongs to.
package worktree

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rootfs"
)

// Snapshot makes a commit of a folder as it is, uncommitted changes included,
// inside a bare repository. The folder's own repository is only read: new
// objects go to the bare one, old ones stay where they are.
type Snapshot struct {
	Git     string // binary
	Folder  string // what to take
	Bare    string // repository that receives the commit
	Index   string // temporary index file
	Message string // of the commit; "" = working tree
	Always  bool   // a commit also where nothing differs from HEAD

	own string // objects of the folder's repository; "" = it has none
	dir string // its git folder
}

// head is what the folder's repository says of itself.
type head struct {
	branch       string // checked out; "" where none is
	commit, tree string // "" before the first commit
}

// Take returns the branch, the commit, and how many files differ from HEAD, -1
// without one.
func (s *Snapshot) Take(ctx context.Context) (branch, commit string, changed int, err error) {
	s.dir = s.Bare
	h, err := s.look(ctx)
	if err != nil {
		return "", "", 0, err
	}
	if commit, changed, err = s.commit(ctx, h); err != nil {
		return "", "", 0, fault.Wrap(err, fault.Invalid, "snapshot", "the working tree cannot be read").At("%s", s.Folder).Try("git has to be installed, and has to be able to read the folder")
	}
	branch = cmp.Or(h.branch, "main")
	ref := filepath.Join(s.Bare, "refs", "heads", filepath.FromSlash(branch))
	if err := os.MkdirAll(filepath.Dir(ref), 0o755); err != nil {
		return "", "", 0, err
	}
	return branch, commit, changed, os.WriteFile(ref, []byte(commit+"\n"), 0o600)
}

// look asks the folder's repository, if it has one, in one call, and lets the
// bare repository see its objects.
func (s *Snapshot) look(ctx context.Context) (h head, err error) {
	found, err := s.run(ctx, "", nil, "rev-parse", "--path-format=absolute", "--git-common-dir", "--git-dir", "--show-toplevel", "HEAD", "HEAD^{tree}", "--symbolic-full-name", "HEAD")
	lines := strings.Split(found, "\n")
	if len(lines) < 3 || !sameFolder(lines[2], s.Folder) {
		return h, nil
	}
	s.own, s.dir = filepath.Join(lines[0], "objects"), lines[1]
	if err == nil && len(lines) == 6 {
		h.commit, h.tree = lines[3], lines[4]
		h.branch, _ = strings.CutPrefix(lines[5], "refs/heads/")
		if h.branch == "HEAD" {
			h.branch = ""
		}
	} else if data, err := os.ReadFile(filepath.Join(s.dir, "HEAD")); err == nil { // before the first commit
		h.branch, _ = strings.CutPrefix(strings.TrimSpace(string(data)), "ref: refs/heads/")
	}
	if err := rootfs.ReplaceFile(filepath.Join(s.Bare, "objects", "info", "alternates"), []byte(s.own+"\n"), 0o600); err != nil {
		return h, err
	}
	if data, err := os.ReadFile(filepath.Join(lines[0], "shallow")); err == nil { // history ends here, too
		if err := os.WriteFile(filepath.Join(s.Bare, "shallow"), data, 0o600); err != nil {
			return h, err
		}
	}
	if err := s.refs(ctx, lines[0], h.branch); err != nil {
		return h, err
	}
	return h, s.borrowIndex()
}

// borrowIndex begins with the folder's own index: known stat data spares reading
// every file. Its time comes along: git looks into a file again that was written
// in the second in which the index was, and would not in a younger one.
func (s *Snapshot) borrowIndex() error {
	name := filepath.Join(s.dir, "index")
	info, err := os.Stat(name)
	if err != nil {
		return nil // there is none before the first add
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.Index, data, 0o600); err != nil {
		return err
	}
	return os.Chtimes(s.Index, info.ModTime(), info.ModTime())
}

func (s *Snapshot) commit(ctx context.Context, h head) (string, int, error) {
	env := []string{"GIT_INDEX_FILE=" + s.Index, "GIT_OBJECT_DIRECTORY=" + filepath.Join(s.Bare, "objects"), "GIT_WORK_TREE=" + s.Folder,
		"GIT_AUTHOR_NAME=penstock", "GIT_AUTHOR_EMAIL=penstock@localhost", "GIT_COMMITTER_NAME=penstock", "GIT_COMMITTER_EMAIL=penstock@localhost"}
	if s.own != "" {
		env = append(env, "GIT_ALTERNATE_OBJECT_DIRECTORIES="+s.own)
	}
	if err := s.add(ctx, env); err != nil {
		return "", 0, err
	}
	tree, err := s.run(ctx, s.dir, env, "write-tree")
	if err != nil || h.tree == tree && !s.Always {
		return h.commit, 0, err
	}
	args := []string{"commit-tree", tree, "-m", cmp.Or(s.Message, "working tree")}
	if h.commit == "" {
		commit, err := s.run(ctx, s.dir, env, args...)
		return commit, -1, err
	}
	var changed int
	counted := make(chan error, 1)
	go func() { // beside the commit: a process each
		n, err := s.changed(ctx, env, h.tree, tree)
		changed = n
		counted <- err
	}()
	commit, err := s.run(ctx, s.dir, env, append(args, "-p", h.commit)...)
	err = cmp.Or(err, <-counted)
	return commit, changed, err
}

// add takes every file into the index, again where that failed: something else
// may be at work in the folder, and git gives up on a file that vanishes between
// being listed and being read.
func (s *Snapshot) add(ctx context.Context, env []string) (err error) {
	for range 5 {
		if _, err = s.run(ctx, s.dir, env, "add", "-A", "--", "."); err == nil {
			break
		}
	}
	return err
}

// changed counts the files in which two trees differ.
func (s *Snapshot) changed(ctx context.Context, env []string, before, after string) (int, error) {
	if before == after {
		return 0, nil
	}
	names, err := s.run(ctx, s.dir, env, "diff-tree", "-r", "--name-only", before, after)
	return strings.Count(names, "\n") + 1, err
}

// run calls git with a git folder, or with the one that the folder is in.
func (s *Snapshot) run(ctx context.Context, dir string, env []string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.Git, args...)
	cmd.Dir = s.Folder
	cmd.Env = append(os.Environ(), "GIT_OPTIONAL_LOCKS=0")
	if dir != "" {
		cmd.Env = append(cmd.Env, "GIT_DIR="+dir)
	}
	cmd.Env = append(cmd.Env, env...)
	var problem bytes.Buffer
	cmd.Stderr = &problem
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fault.Wrap(err, fault.Unavailable, "git-failed", "git %s: %s", args[0], strings.TrimSpace(problem.String()))
	}
	return strings.TrimRight(string(out), "\n"), err
}

func sameFolder(a, b string) bool {
	x, err := filepath.EvalSymlinks(a)
	y, err2 := filepath.EvalSymlinks(b)
	return err == nil && err2 == nil && x == y
}
