// Package language is what a person at a terminal or in an editor asks of the
// pipeline language: files from folders, findings, the expanded file. It holds
// no rules of the language; those are the compiler's.
package language

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
)

// Workspace is a checkout, and what stands beside it: the folders of other
// repositories, values of parameters and variables.
type Workspace struct {
	Dir        string            // where relative names begin; "" = the working folder
	Root       string            // top of the checkout; "" = found from the file
	Repos      map[string]string // alias → folder
	Parameters map[string]string
	Variables  map[string]string
	Revision   string // of the checkout's own files; "" = as they are in the folder
	// Cache receives repositories that nobody gave a folder for, fetched from
	// beside the checkout's origin, or from GitHub; "" = nothing is fetched. They
	// are added to Repos.
	Cache string
}

// Source is an open workspace. It reads nothing outside of its folders.
type Source struct {
	roots    map[string]*os.Root
	checkout string // top of the own repository
	revision string
	origin   func() string // address that the checkout was cloned from; "" = not known
	fetch    func(r pipeline.RepositoryResource) (folder string, err error)
	declared map[string]pipeline.RepositoryResource // by alias: those that may be fetched
}

// ReadFile implements pipeline.Source.
func (s *Source) ReadFile(ctx context.Context, repository, path string) ([]byte, error) {
	if s.revision != "" && strings.EqualFold(repository, "self") {
		return readRevision(ctx, s.checkout, s.revision, path)
	}
	root := s.roots[strings.ToLower(repository)]
	if r, known := s.declared[strings.ToLower(repository)]; root == nil && known {
		var err error
		if root, err = s.bring(r); err != nil {
			return nil, fault.New(fault.NotFound, "repository-not-available", "%v", err).Try("add --repo %s=FOLDER", repository)
		}
	}
	if root == nil {
		return nil, fault.New(fault.NotFound, "repository-not-available", "no checkout and no remote for it").
			Try("add --repo %s=FOLDER", repository)
	}
	data, err := root.ReadFile(filepath.FromSlash(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(err, fault.NotFound, "file-not-found", "there is no file %s", path)
	}
	return data, err
}

// Declare implements pipeline.Declarer: a repository whose folder was given by
// its name, or that is the checkout itself, needs no folder under its alias.
func (s *Source) Declare(r pipeline.RepositoryResource) {
	alias, name := strings.ToLower(r.Alias), strings.ToLower(r.Name)
	if s.roots[alias] != nil || name == "" {
		return
	}
	if root := s.roots[name]; root != nil {
		s.roots[alias] = root
	} else if sameRepository(s.origin(), name) {
		s.roots[alias] = s.roots["self"]
	} else if s.fetch != nil {
		s.declared[alias] = r
	}
}

// bring fetches a repository when the first file of it is read; nil = it has no
// address.
func (s *Source) bring(r pipeline.RepositoryResource) (*os.Root, error) {
	folder, err := s.fetch(r)
	if err != nil || folder == "" {
		return nil, err
	}
	root, err := os.OpenRoot(folder)
	if err == nil {
		s.roots[strings.ToLower(r.Alias)] = root
	}
	return root, err
}

// sameRepository reports whether an address ends in owner/name, the way hosts
// write it.
func sameRepository(address, name string) bool {
	address = strings.ToLower(strings.TrimSuffix(strings.TrimSuffix(address, "/"), ".git"))
	address = strings.ReplaceAll(strings.ReplaceAll(address, "/_git/", "/"), ":", "/")
	return strings.Contains(name, "/") && strings.HasSuffix(address, "/"+name)
}

// originOf is the address that a checkout was cloned from; "" = not known.
func originOf(ctx context.Context, folder string) string {
	cmd := exec.CommandContext(ctx, "git", "config", "--get", "remote.origin.url")
	cmd.Dir = folder
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// Close closes the folders.
func (s *Source) Close() {
	for _, root := range s.roots { // a folder may stand under two names; closing it twice does no harm
		_ = root.Close()
	}
}

func (w Workspace) path(name string) string {
	if w.Dir == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(w.Dir, name)
}

// Open opens the folders and returns the file's path inside its repository. The
// file may be named from where the person stands or from the top of the root.
func (w Workspace) Open(ctx context.Context, file string) (*Source, string, error) {
	root, rel, err := w.locate(file)
	if err != nil {
		return nil, "", err
	}
	src := &Source{roots: map[string]*os.Root{}, checkout: root, revision: w.Revision, origin: sync.OnceValue(func() string { return originOf(ctx, root) })}
	if w.Cache != "" {
		src.declared, src.fetch = map[string]pipeline.RepositoryResource{}, func(r pipeline.RepositoryResource) (string, error) { return w.Bring(ctx, r, src.origin()) }
	}
	folders := map[string]string{"self": root}
	for alias, folder := range w.Repos {
		folders[strings.ToLower(alias)] = w.path(folder)
	}
	for alias, folder := range folders {
		r, err := os.OpenRoot(folder)
		if err != nil {
			src.Close()
			return nil, "", fault.Wrap(err, fault.Invalid, "folder-unreadable", "the folder of repository %s cannot be opened", alias).At("%s", folder)
		}
		src.roots[alias] = r
	}
	return src, filepath.ToSlash(rel), nil
}

// Bring fetches a repository that has an address, as seen from the checkout's
// origin, and adds its folder to Repos; "" = it has none.
func (w Workspace) Bring(ctx context.Context, r pipeline.RepositoryResource, origin string) (string, error) {
	address := addressOf(r, origin)
	if address == "" {
		return "", nil
	}
	if err := os.MkdirAll(w.Cache, 0o755); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(w.Cache, ".gitignore"), []byte("*\n"), 0o644); err != nil {
		return "", err
	}
	folder, err := fetched(ctx, w.Cache, address, r.Ref)
	if err == nil {
		w.Repos[r.Alias] = folder
	}
	return folder, err
}

// Locate finds the top of the repository and the file's path below it, slash
// separated.
func (w Workspace) Locate(file string) (root, rel string, err error) {
	root, rel, err = w.locate(file)
	return root, filepath.ToSlash(rel), err
}

// locate finds the top of the repository and the file below it.
func (w Workspace) locate(file string) (root, rel string, err error) {
	absolute, err := filepath.Abs(w.path(file))
	if err != nil {
		return "", "", err
	}
	if w.Root != "" {
		if root, err = filepath.Abs(w.path(w.Root)); err != nil {
			return "", "", err
		}
		if _, err := os.Stat(absolute); err != nil && !filepath.IsAbs(file) && filepath.IsLocal(filepath.FromSlash(file)) {
			return root, file, nil // named from the top of the root
		}
	} else if root = checkoutOf(filepath.Dir(absolute)); root == "" {
		root = filepath.Dir(absolute)
	}
	absolute, root = resolved(absolute), resolved(root)
	rel, err = filepath.Rel(root, absolute)
	if err != nil || !filepath.IsLocal(rel) {
		return filepath.Dir(absolute), filepath.Base(absolute), nil
	}
	return root, rel, nil
}

func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// checkoutOf is the top of the checkout that holds a folder, or "". A worktree
// and a submodule have a file where others have a folder.
func checkoutOf(folder string) string {
	for {
		if _, err := os.Lstat(filepath.Join(folder, ".git")); err == nil {
			return folder
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return ""
		}
		folder = parent
	}
}

// Input is what the compiler is asked for a file of the workspace.
func (w Workspace) Input(file string) pipeline.Input {
	values := make(map[string]any, len(w.Parameters))
	for name, value := range w.Parameters {
		values[name] = value
	}
	return pipeline.Input{File: file, Parameters: values, Variables: w.Variables}
}

// Compile compiles one file of the workspace.
func (w Workspace) Compile(ctx context.Context, file string) (*pipeline.Plan, []pipeline.Diagnostic, error) {
	src, rel, err := w.Open(ctx, file)
	if err != nil {
		return nil, nil, err
	}
	defer src.Close()
	plan, diags, err := pipeline.Compile(ctx, src, w.Input(rel))
	return plan, w.withTop(src, diags), err
}

// Expand expands one file of the workspace.
func (w Workspace) Expand(ctx context.Context, file string) (*pipeline.Expanded, []pipeline.Diagnostic, error) {
	src, rel, err := w.Open(ctx, file)
	if err != nil {
		return nil, nil, err
	}
	defer src.Close()
	expanded, diags, err := pipeline.Expand(ctx, src, w.Input(rel))
	return expanded, w.withTop(src, diags), err
}

// withTop says of a file that is not there which folder counted as the top, where
// no repository and nobody says it.
func (w Workspace) withTop(src *Source, diags []pipeline.Diagnostic) []pipeline.Diagnostic {
	if w.Root != "" || checkoutOf(src.checkout) != "" {
		return diags
	}
	for i := range diags {
		if d := &diags[i]; d.Code == "file-not-found" {
			d.Do += fmt.Sprintf("; that is %s here, as no repository holds the pipeline: --root FOLDER names another", src.checkout)
		}
	}
	return diags
}
