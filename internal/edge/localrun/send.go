package localrun

import (
	"bytes"
	"context"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/worktree"
)

// Branch takes a working tree to a server, as a branch of a repository there.
type Branch struct {
	Root  string // checkout
	URL   string // repository of the server
	Token string // of the person
	Name  string // refs/heads/…
}

// Push makes a commit of the tree as it is and pushes it. Its message keeps
// triggers quiet. It returns how many files differ from HEAD, -1 without one.
func (b *Branch) Push(ctx context.Context) (changed int, err error) {
	dir, err := os.MkdirTemp("", "penstock-send-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	bare := filepath.Join(dir, "tree.git")
	if err := b.git(ctx, dir, "init", "--quiet", "--bare", bare); err != nil {
		return 0, err
	}
	s := &worktree.Snapshot{Git: "git", Folder: b.Root, Bare: bare, Index: filepath.Join(dir, "index"), Message: "working tree of a person [skip ci]", Always: true}
	_, commit, changed, err := s.Take(ctx)
	if err != nil {
		return 0, err
	}
	return changed, b.git(ctx, bare, "push", "--quiet", b.URL, commit+":"+b.Name)
}

// Remove deletes the branch.
func (b *Branch) Remove(ctx context.Context) error {
	return b.git(ctx, b.Root, "push", "--quiet", b.URL, "--delete", b.Name)
}

// git runs git with the person's token in its environment, not its arguments.
func (b *Branch) git(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0")
	if b.Token != "" {
		cmd.Env = append(cmd.Env, "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http.extraHeader",
			"GIT_CONFIG_VALUE_0=Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte("penstock:"+b.Token)))
	}
	var problem bytes.Buffer
	cmd.Stderr = &problem
	if err := cmd.Run(); err != nil {
		return fault.Wrap(err, fault.Unavailable, "git-failed", "git %s: %s", args[0], strings.TrimSpace(problem.String())).At("%s", b.URL)
	}
	return nil
}
