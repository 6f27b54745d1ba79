package server

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"penstock.dev/penstock/internal/adapter/gitcli"
	"penstock.dev/penstock/internal/base/worktree"
	"penstock.dev/penstock/internal/domain/repos"
	"penstock.dev/penstock/internal/domain/run"
)

// tookTree is a commit of a folder in a bare repository.
type tookTree struct {
	git                  *gitcli.Git
	bare, branch, commit string
	changed              int
	err                  error
}

// treeID is the repository's id until it has one of the server.
const treeID = "tree"

// Tree is a working tree that is being taken for a local run.
type Tree struct{ take func() tookTree }

// TakeTree begins to make the commit of a checkout, in a repository below the
// folder of the run, until ctx ends; file is what the run will ask for first.
func TakeTree(ctx context.Context, root, folder, file string) *Tree {
	t := &Tree{sync.OnceValue(func() tookTree { return takeTree(ctx, root, gitFolder(folder), file) })}
	go t.take()
	return t
}

// Wait returns when git is done, which must not outlive the folder.
func (t *Tree) Wait() { t.take() }

// takeTree makes the commit, in a repository of its own for now.
func takeTree(ctx context.Context, root, folder, file string) tookTree {
	git := &gitcli.Git{Binary: "git", Folder: folder, Scratch: true}
	if err := git.Init(ctx, treeID, "main"); err != nil {
		return tookTree{err: err}
	}
	t := tookTree{git: git, bare: filepath.Join(git.Folder, treeID+".git")}
	s := &worktree.Snapshot{Git: git.Binary, Folder: root, Bare: t.bare, Index: filepath.Join(folder, "index")}
	defer func() { _ = os.Remove(s.Index) }()
	if t.branch, t.commit, t.changed, t.err = s.Take(ctx); t.err == nil {
		git.Learn(ctx, treeID, t.commit, file) // what the run asks first
	}
	return t
}

// gitFolder goes with the work folder, whose checkouts read what is in it.
func gitFolder(folder string) string { return filepath.Join(folder, "work", "_git") }

// self is the repository of the checkout.
func (l *local) self(ctx context.Context) (r *repos.Repository, t tookTree, err error) {
	if r, err = l.repos.Create(ctx, l.project.ID, run.FolderName(filepath.Base(l.o.Root))); err != nil {
		return nil, t, err
	}
	if t = l.tree(); t.err != nil {
		return nil, t, t.err
	}
	if err := errors.Join(os.RemoveAll(l.bare(r)), os.Rename(t.bare, l.bare(r))); err != nil {
		return nil, t, err
	}
	l.git.Adopt(t.git, treeID, r.ID)
	return r, t, l.known(ctx, r, t.branch)
}

// other is the repository of another folder.
func (l *local) other(ctx context.Context, name, folder string) error {
	r, err := l.repos.Create(ctx, l.project.ID, run.FolderName(name))
	if err != nil {
		return err
	}
	s := &worktree.Snapshot{Git: l.cfg.Git.Binary, Folder: folder, Bare: l.bare(r), Index: filepath.Join(l.cfg.Data, "index-"+r.ID)}
	branch, commit, _, err := s.Take(ctx)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.asIs[r.ID] = commit
	l.mu.Unlock()
	return l.known(ctx, r, branch)
}

// known lets the repository be found, with the branch that is checked out.
func (l *local) known(ctx context.Context, r *repos.Repository, branch string) error {
	l.mu.Lock()
	l.bares[strings.ToLower(r.Name)] = l.bare(r)
	l.mu.Unlock()
	if r.DefaultBranch == "refs/heads/"+branch {
		return nil
	}
	r.DefaultBranch = "refs/heads/" + branch
	return l.repos.Repositories.Save(ctx, r)
}
