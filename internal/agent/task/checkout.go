package task

import (
	"context"
	"encoding/base64"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/run"
)

func init() {
	Register(&Task{Name: "Checkout", Major: []string{"1"}, Run: checkout})
}

// checkout brings a repository to the job's folder with real git. Credentials
// travel in an environment variable, never in the arguments or the
// configuration, unless persistCredentials asks for the latter.
func checkout(ctx context.Context, c *Context) error {
	alias := c.Input("repository")
	if alias == "" {
		alias = "self"
	}
	if strings.EqualFold(alias, "none") {
		return nil
	}
	repo, ok := c.Job.Repositories[alias]
	for name, r := range c.Job.Repositories {
		if strings.EqualFold(name, alias) {
			repo, ok = r, true
		}
	}
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
	w := &gitRun{c: c, git: git, dir: dir, auth: "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("job:"+c.Job.AccessToken))}
	c.Printf("Syncing repository: %s (Git)", repo.Name)
	if err := w.prepare(ctx, repo.URL); err != nil {
		return err
	}
	borrowed, err := w.borrow(repo)
	if err == nil && !borrowed {
		err = w.fetch(ctx, repo)
	}
	if err != nil {
		return err
	}
	if err := w.run(ctx, "-c", "advice.detachedHead=false", "checkout", "--force", "--detach", repo.Commit); err != nil {
		return err
	}
	return w.extras(ctx)
}

func (w *gitRun) fetch(ctx context.Context, repo run.Repository) error {
	c := w.c
	fetch := []string{"fetch", "--force", "--no-recurse-submodules", "--progress"}
	if depth, err := strconv.Atoi(c.Input("fetchDepth")); err == nil && depth > 0 {
		fetch = append(fetch, "--depth="+strconv.Itoa(depth))
	}
	if c.Bool("fetchTags") {
		fetch = append(fetch, "--tags")
	} else {
		fetch = append(fetch, "--no-tags")
	}
	if f := c.Input("fetchFilter"); f != "" {
		fetch = append(fetch, "--filter="+f)
	}
	fetch = append(fetch, "origin", "+"+repo.Commit+":refs/remotes/origin/penstock")
	return w.run(ctx, fetch...)
}

// checkoutDir makes the folder of a repository: the sources' own, or one below
// it for each of several. The only repository of a job takes the variables of
// the sources along to where its path says.
func checkoutDir(c *Context, repo run.Repository) (string, error) {
	workspace, _ := c.Lookup("Pipeline.Workspace")
	dir, _ := c.Lookup("Build.SourcesDirectory")
	several := checkouts(c.Job.Steps) > 1
	path := c.Input("path")
	switch {
	case path != "" && !filepath.IsLocal(path):
		return "", fault.New(fault.Invalid, "path-outside", "checkout: path %q leads outside the workspace", path)
	case path != "":
		dir = filepath.Join(workspace, path)
	case several:
		dir = filepath.Join(dir, repo.Name[strings.LastIndex(repo.Name, "/")+1:])
	}
	if !several && path != "" {
		c.MoveFolder("Build.SourcesDirectory", dir)
		c.MoveFolder("System.DefaultWorkingDirectory", dir)
	}
	if !several || strings.EqualFold(c.Input("repository"), "self") {
		c.MoveFolder("Build.Repository.LocalPath", dir)
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// checkouts counts the steps that bring a repository; the same one twice is
// several, as on the service.
func checkouts(steps []pipeline.Step) int {
	n := 0
	for _, s := range steps {
		if s.Task == pipeline.TaskCheckout && !strings.EqualFold(s.Inputs["repository"], "none") {
			n++
		}
	}
	return n
}

type gitRun struct {
	c              *Context
	git, dir, auth string
}

// run runs git. What it prints may be somebody's commit message: no logging
// command in it is carried out.
func (w *gitRun) run(ctx context.Context, args ...string) error {
	w.c.Print("##[command]git " + strings.Join(args, " "))
	code, err := w.c.Exec(ctx, Command{Path: w.git, Args: args, Dir: w.dir, Plain: true, Env: []string{
		"GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_COUNT=2",
		"GIT_CONFIG_KEY_0=http.extraHeader", "GIT_CONFIG_VALUE_0=" + w.auth,
		"GIT_CONFIG_KEY_1=safe.directory", "GIT_CONFIG_VALUE_1=*"}})
	if err != nil {
		return err
	}
	if code != 0 {
		return fault.New(fault.Invalid, "git-failed", "Git %s failed with exit code: %d", args[0], code)
	}
	return nil
}

// borrow lets the checkout read the objects of a repository on this machine where
// they are. What only a fetch can do is left to one.
func (w *gitRun) borrow(repo run.Repository) (done bool, err error) {
	depth := w.c.Input("fetchDepth")
	if w.c.Borrow == nil || w.c.Bool("fetchTags") || w.c.Input("fetchFilter") != "" || depth != "" && depth != "0" && depth != "1" {
		return false, nil
	}
	bare := w.c.Borrow(repo.URL)
	if bare == "" {
		return false, nil
	}
	files := map[string]string{"objects/info/alternates": filepath.Join(bare, "objects") + "\n", "refs/remotes/origin/penstock": repo.Commit + "\n"}
	if shallow, err := os.ReadFile(filepath.Join(bare, "shallow")); err == nil {
		files["shallow"] = string(shallow)
	}
	if depth == "1" {
		files["shallow"] = repo.Commit + "\n"
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

// configure adds to the configuration of the checkout.
func (w *gitRun) configure(text string) error {
	f, err := os.OpenFile(filepath.Join(w.dir, ".git", "config"), os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// prepare makes the folder a repository with the right remote, emptying what
// belongs to another one.
func (w *gitRun) prepare(ctx context.Context, url string) error {
	config, err := os.ReadFile(filepath.Join(w.dir, ".git", "config"))
	if err == nil && strings.Contains(string(config), "url = "+url+"\n") {
		if err := w.run(ctx, "reset", "--hard", "--quiet"); err == nil {
			if clean := w.c.Input("clean"); clean == "" || strings.EqualFold(clean, "true") {
				return w.run(ctx, "clean", "-ffdx", "--quiet")
			}
			return nil
		}
	}
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(w.dir, e.Name())); err != nil {
			return err
		}
	}
	if err := w.init(ctx); err != nil {
		return err
	}
	return w.configure("[remote \"origin\"]\n\turl = " + url + "\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n")
}

// init makes an empty repository. A local run writes the few files of one itself
// where nothing depends on the file system: a process less.
func (w *gitRun) init(ctx context.Context) error {
	if w.c.Borrow == nil || runtime.GOOS != "linux" {
		return w.run(ctx, "init", "--quiet")
	}
	git := filepath.Join(w.dir, ".git")
	for _, dir := range []string{"objects/info", "objects/pack", "refs/heads", "refs/tags", "info"} {
		if err := os.MkdirAll(filepath.Join(git, filepath.FromSlash(dir)), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(git, "config"), []byte("[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n"), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(git, "HEAD"), []byte("ref: refs/heads/master\n"), 0o644)
}

func (w *gitRun) extras(ctx context.Context) error {
	if s := w.c.Input("submodules"); strings.EqualFold(s, "true") || strings.EqualFold(s, "recursive") {
		args := []string{"submodule", "update", "--init", "--force"}
		if strings.EqualFold(s, "recursive") {
			args = append(args, "--recursive")
		}
		if err := w.run(ctx, args...); err != nil {
			return err
		}
	}
	if w.c.Bool("lfs") {
		if err := w.run(ctx, "lfs", "pull"); err != nil {
			return err
		}
	}
	if w.c.Bool("persistCredentials") {
		return w.configure("[http]\n\textraHeader = " + w.auth + "\n")
	}
	return nil
}
