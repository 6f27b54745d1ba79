package worktree

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	heads  = "refs/heads/"
	origin = "refs/remotes/origin/"
	tags   = "refs/tags/"
)

// refs gives the bare repository the tags and the branches that others know: the
// folder's repository as its origin is known to have it, or its own branches
// where it has no origin. The one that is checked out is not among them.
func (s *Snapshot) refs(ctx context.Context, from, branch string) error {
	all, err := s.known(ctx, from)
	if err != nil {
		return err
	}
	prefix := heads
	for name := range all {
		if strings.HasPrefix(name, origin) {
			prefix = origin
		}
	}
	lines := []string{}
	for name, commit := range all {
		if short, ok := strings.CutPrefix(name, prefix); ok && !overlaps(short, branch) {
			lines = append(lines, heads+short+" "+commit)
		} else if strings.HasPrefix(name, tags) {
			lines = append(lines, name+" "+commit)
		}
	}
	if len(lines) == 0 {
		return nil
	}
	slices.Sort(lines)
	for i, line := range lines {
		name, commit, _ := strings.Cut(line, " ")
		lines[i] = commit + " " + name + "\n"
	}
	return os.WriteFile(filepath.Join(s.Bare, "packed-refs"), []byte("# pack-refs with: sorted \n"+strings.Join(lines, "")), 0o600)
}

// overlaps reports whether two branches cannot stand beside each other.
func overlaps(a, b string) bool {
	return a == b || strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/")
}

// known reads the refs of a repository, packed ones and those in files of their
// own; a process would cost more than the reading.
func (s *Snapshot) known(ctx context.Context, from string) (map[string]string, error) {
	all := map[string]string{}
	note := func(name, commit string) {
		if len(commit) >= 40 && !strings.ContainsAny(commit, " :") && name != origin+"HEAD" { // a ref that points at another
			all[name] = commit
		}
	}
	if _, err := os.Stat(filepath.Join(from, "reftable")); err == nil { // where no one else can read
		text, err := s.run(ctx, from, nil, "for-each-ref", "--format=%(objectname) %(refname)")
		for line := range strings.Lines(text) {
			commit, name, _ := strings.Cut(strings.TrimSpace(line), " ")
			note(name, commit)
		}
		return all, err
	}
	if data, err := os.ReadFile(filepath.Join(from, "packed-refs")); err == nil {
		for line := range strings.Lines(string(data)) {
			if commit, name, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
				note(name, commit)
			}
		}
	}
	root := os.DirFS(from)
	for _, folder := range []string{heads, origin, tags} {
		err := fs.WalkDir(root, strings.TrimSuffix(folder, "/"), func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return nil // there may be none, and one may be gone by now
			}
			if data, err := fs.ReadFile(root, name); err == nil && !strings.HasSuffix(name, ".lock") {
				note(name, strings.TrimSpace(string(data)))
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}
