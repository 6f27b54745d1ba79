package task

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/run"
)

func init() {
	Register(&Task{Name: "Checkout", Major: []string{"1"}, Run: checkout, After: forgetCredentials, Left: credentialsState})
}

// checkout brings a repository to the job's folder with real git. Credentials
// travel in an environment variable, never in the arguments or the
// configuration, unless persistCredentials asks for the latter, and go to no
// host but the repository's.
func checkout(ctx context.Context, c *Context) error {
	alias := c.Input("repository")
	if strings.EqualFold(alias, "none") {
		return nil
	}
	skip, _ := c.Lookup("Agent.Source.Skip")
	if sync, set := c.Lookup("Build.SyncSources"); isTrue(skip) || set && !isTrue(sync) {
		c.Print("Agent.Source.Skip or Build.SyncSources says so: the sources are not fetched")
		return nil
	}
	repo, ok := c.Job.Repository(alias)
	if !ok {
		return fault.New(fault.Invalid, "repository-not-available", "checkout: repository %s is not available", alias).
			Try("declare it under resources: repositories:, and make sure it is on this server")
	}
	git, err := c.Program("git", "install git (package git), version 2.39 or newer")
	if err != nil {
		return err
	}
	dir, err := checkoutDir(c, repo)
	if err != nil {
		return err
	}
	w, err := newGitRun(c, repo, git, dir)
	if err != nil {
		return err
	}
	c.Printf("Syncing repository: %s (Git)", repo.Name)
	return firstError(ctx, w.prepare, w.sparse, w.bring, w.largeFiles, w.switchTo, w.submodules, w.persist)
}

// firstError calls one function after the other, up to the first that fails.
func firstError(ctx context.Context, fns ...func(context.Context) error) error {
	for _, fn := range fns {
		if err := fn(ctx); err != nil {
			return err
		}
	}
	return nil
}

// checkoutDir makes the folder of a repository: the sources' own, or one below
// it for each of several. The only repository of a job takes the variables of
// the sources along to where its path says.
func checkoutDir(c *Context, repo run.Repository) (string, error) {
	workspace, _ := c.Lookup("Pipeline.Workspace")
	dir, _ := c.Lookup("Build.SourcesDirectory")
	several, path := c.Job.Checkouts() > 1, c.Input("path")
	switch {
	case path != "" && !filepath.IsLocal(path):
		return "", fault.New(fault.Invalid, "path-outside", "checkout: path %q leads outside the workspace", path)
	case path != "":
		dir = filepath.Join(workspace, path)
	case several:
		dir = filepath.Join(dir, repo.Folder())
	}
	if !several && path != "" {
		c.MoveFolder("Build.SourcesDirectory", dir)
		c.MoveFolder("System.DefaultWorkingDirectory", dir)
	}
	if several && c.Bool("workspaceRepo") {
		c.MoveFolder("System.DefaultWorkingDirectory", dir)
	}
	if !several || strings.EqualFold(c.Input("repository"), "self") {
		c.MoveFolder("Build.Repository.LocalPath", dir)
	}
	return dir, os.MkdirAll(dir, 0o755)
}
