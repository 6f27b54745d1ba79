package task

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	branches       = "refs/heads/"
	remoteBranches = "refs/remotes/origin/"
)

// bring makes the commit known to the checkout: alone or with a few before it
// where a depth is given, else with the branches and all their commits.
func (w *gitRun) bring(ctx context.Context) error {
	if done, err := w.borrow(); done || err != nil {
		return err
	}
	args := []string{"fetch", "--force", "--no-recurse-submodules", "--progress", "--prune"}
	if w.tags() {
		args = append(args, "--tags", "--prune-tags")
	} else {
		args = append(args, "--no-tags")
	}
	if _, err := os.Stat(w.shallow()); w.depth > 0 {
		args = append(args, "--depth="+strconv.Itoa(w.depth))
	} else if err == nil {
		args = append(args, "--unshallow")
	}
	for filter := range strings.FieldsSeq(w.c.Input("fetchFilter")) {
		args = append(args, "--filter="+filter)
	}
	return w.again(ctx, append(append(args, "origin"), w.wanted()...)...)
}

// tags says whether they are wanted. Pipelines of the service differ in what holds
// where the file does not say; with all commits come their tags here.
func (w *gitRun) tags() bool {
	if w.c.Input("fetchTags") == "" {
		return w.depth == 0
	}
	return w.c.Bool("fetchTags")
}

func (w *gitRun) shallow() string { return filepath.Join(w.dir, ".git", "shallow") }

// wanted are the refs to fetch. The commit is asked for by itself, too: its
// branch may have moved on, or be gone.
func (w *gitRun) wanted() []string {
	if w.depth > 0 {
		return []string{"+" + w.repo.Commit + ":" + remoteBranches + w.repo.Commit}
	}
	refs := []string{"+" + branches + "*:" + remoteBranches + "*", w.repo.Commit}
	if w.repo.PullRequest() {
		refs = append(refs, "+"+w.repo.Ref+":"+remoteName(w.repo.Ref))
	}
	return refs
}

// remoteName is where a ref of the repository stands in the checkout.
func remoteName(ref string) string {
	if name, ok := strings.CutPrefix(ref, branches); ok {
		return remoteBranches + name
	}
	if pull, ok := strings.CutPrefix(ref, "refs/pull/"); ok {
		return "refs/remotes/pull/" + pull
	}
	return ref
}

// borrow lets the checkout read the objects of a repository on this machine where
// they are. What only a fetch can do is left to one.
func (w *gitRun) borrow() (done bool, err error) {
	if w.c.Borrow == nil || w.c.Input("fetchFilter") != "" || w.depth > 1 || w.depth == 1 && w.tags() {
		return false, nil
	}
	bare := w.c.Borrow(w.repo.URL)
	if bare == "" {
		return false, nil
	}
	files := map[string]string{"objects/info/alternates": filepath.Join(bare, "objects") + "\n"}
	if w.depth == 1 {
		files["shallow"], files[remoteBranches+w.repo.Commit] = w.repo.Commit+"\n", w.repo.Commit+"\n"
	} else {
		if shallow, err := os.ReadFile(filepath.Join(bare, "shallow")); err == nil {
			files["shallow"] = string(shallow)
		} else if err := os.Remove(w.shallow()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		if files["packed-refs"], err = w.packed(bare); err != nil {
			return false, err
		}
	}
	for name, text := range files {
		name = filepath.Join(w.dir, ".git", filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return false, err
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return false, err
		}
	}
	return true, nil
}

// packed are the refs of the repository as a fetch would leave them in the
// checkout, sorted as git wants them.
func (w *gitRun) packed(bare string) (string, error) {
	refs := map[string]string{}
	note := func(name, commit string) {
		if strings.HasPrefix(name, branches) || strings.HasPrefix(name, "refs/tags/") && w.tags() {
			refs[remoteName(name)] = commit
		}
	}
	if data, err := os.ReadFile(filepath.Join(bare, "packed-refs")); err == nil {
		for line := range strings.Lines(string(data)) {
			if commit, name, ok := strings.Cut(strings.TrimSpace(line), " "); ok && commit != "#" {
				note(name, commit)
			}
		}
	}
	root := os.DirFS(bare)
	err := fs.WalkDir(root, "refs/heads", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := fs.ReadFile(root, name)
		note(name, strings.TrimSpace(string(data)))
		return err
	})
	if err != nil {
		return "", err
	}
	if w.repo.PullRequest() {
		refs[remoteName(w.repo.Ref)] = w.repo.Commit
	}
	var lines strings.Builder
	for _, name := range slices.Sorted(maps.Keys(refs)) {
		lines.WriteString(refs[name] + " " + name + "\n")
	}
	return "# pack-refs with: sorted \n" + lines.String(), nil
}
