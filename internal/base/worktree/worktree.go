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

// Take returns the branch, the commit, and how many files differ from HEAD, -1
// without one.
func (s *Snapshot) Take(ctx context.Context) (branch, commit string, changed int, err error) {
	branch, s.dir = "main", s.Bare
	head := ""
	if found, err := s.run(ctx, "", nil, "rev-parse", "--path-format=absolute", "--git-common-dir", "--git-dir", "--show-toplevel"); err == nil {
		lines := strings.Split(found, "\n")
		if len(lines) == 3 && sameFolder(lines[2], s.Folder) {
			s.own, s.dir = filepath.Join(lines[0], "objects"), lines[1]
			if branch, head, err = s.borrow(ctx); err != nil {
				return "", "", 0, err
			}
		}
	}
	if commit, changed, err = s.commit(ctx, head); err != nil {
		return "", "", 0, fault.Wrap(err, fault.Invalid, "snapshot", "the working tree cannot be read").At("%s", s.Folder)
	}
	_, err = s.run(ctx, s.Bare, nil, "update-ref", "refs/heads/"+branch, commit)
	return branch, commit, changed, err
}

// borrow lets the bare repository see the objects of the folder's own one.
func (s *Snapshot) borrow(ctx context.Context) (branch, head string, err error) {
	if err := rootfs.WriteFile(filepath.Join(s.Bare, "objects", "info", "alternates"), []byte(s.own+"\n"), 0o600); err != nil {
		return "", "", err
	}
	branch = "main"
	if name, err := s.run(ctx, s.dir, nil, "symbolic-ref", "--short", "--quiet", "HEAD"); err == nil && name != "" {
		branch = name
	}
	if commit, err := s.run(ctx, s.dir, nil, "rev-parse", "--verify", "--quiet", "HEAD"); err == nil {
		head = commit
	}
	if index, err := os.ReadFile(filepath.Join(s.dir, "index")); err == nil { // known stat data spares reading every file
		err = os.WriteFile(s.Index, index, 0o600)
		return branch, head, err
	}
	return branch, head, nil
}

func (s *Snapshot) commit(ctx context.Context, head string) (string, int, error) {
	env := []string{"GIT_INDEX_FILE=" + s.Index, "GIT_OBJECT_DIRECTORY=" + filepath.Join(s.Bare, "objects"), "GIT_WORK_TREE=" + s.Folder,
		"GIT_AUTHOR_NAME=penstock", "GIT_AUTHOR_EMAIL=penstock@localhost", "GIT_COMMITTER_NAME=penstock", "GIT_COMMITTER_EMAIL=penstock@localhost"}
	if s.own != "" {
		env = append(env, "GIT_ALTERNATE_OBJECT_DIRECTORIES="+s.own)
	}
	if _, err := s.run(ctx, s.dir, env, "add", "-A", "--", ".", ":(exclude).penstock"); err != nil {
		return "", 0, err
	}
	tree, err := s.run(ctx, s.dir, env, "write-tree")
	if err != nil {
		return "", 0, err
	}
	args, changed := []string{"commit-tree", tree, "-m", cmp.Or(s.Message, "working tree")}, -1
	if head != "" {
		old, err := s.run(ctx, s.dir, env, "rev-parse", head+"^{tree}")
		if err == nil && old == tree && !s.Always {
			return head, 0, nil
		}
		if names, err := s.run(ctx, s.dir, env, "diff-tree", "-r", "--name-only", old, tree); err == nil {
			changed = 0
			for range strings.Lines(names) {
				changed++
			}
		}
		args = append(args, "-p", head)
	}
	commit, err := s.run(ctx, s.dir, env, args...)
	return commit, changed, err
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
