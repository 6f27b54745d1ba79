package task

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/run"
)

// fetchTries is how often a fetch is tried: connections fail.
const fetchTries = 3

// gitRun is one checkout.
type gitRun struct {
	c              *Context
	repo           run.Repository
	git, dir, auth string // auth is "" where the machine's git signs in by itself
	host           string // of the repository, as URL: credentials go nowhere else
	depth          int    // 0: all commits
	lfs            bool
	target         string // what is checked out
	extra          []string
}

func newGitRun(c *Context, repo run.Repository, git, dir string) (*gitRun, error) {
	u, err := url.Parse(repo.URL)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "repository-not-available", "checkout: the address of repository %s cannot be read", repo.Name)
	}
	w := &gitRun{c: c, repo: repo, git: git, dir: dir, host: u.Scheme + "://" + u.Host + "/", target: repo.Commit,
		auth: "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("job:"+c.Job.AccessToken))}
	w.depth = w.number(c.Input("fetchDepth"), 0)
	text, _ := c.Lookup("Agent.Source.Git.ShallowFetchDepth")
	w.depth = w.number(text, w.depth)
	w.lfs = c.Bool("lfs")
	if text, set := c.Lookup("Agent.Source.Git.Lfs"); set {
		w.lfs = isTrue(text)
	}
	if text, _ := c.Lookup("System.SelfManageGitCreds"); isTrue(text) {
		c.Print("System.SelfManageGitCreds is set: git gets no credentials from the agent")
		w.auth = ""
	}
	return w, nil
}

// number reads one that is not negative; anything else is the other.
func (w *gitRun) number(text string, other int) int {
	if n, err := strconv.Atoi(strings.TrimSpace(text)); err == nil && n >= 0 {
		return n
	}
	return other
}

// isTrue reads a variable by which a pipeline turns something on.
func isTrue(text string) bool {
	text = strings.TrimSpace(text)
	return text == "1" || strings.EqualFold(text, "true")
}

// run runs git. What it prints may be somebody's commit message: no logging
// command in it is carried out.
func (w *gitRun) run(ctx context.Context, args ...string) error {
	w.c.Print("##[command]git " + strings.Join(args, " "))
	env := []string{"GIT_TERMINAL_PROMPT=0"}
	if !w.lfs {
		env = append(env, "GIT_LFS_SKIP_SMUDGE=1")
	}
	settings := append([]string{"safe.directory", "*"}, w.extra...)
	if w.auth != "" {
		settings = append(settings, "http."+w.host+".extraHeader", w.auth)
	}
	env = append(env, "GIT_CONFIG_COUNT="+strconv.Itoa(len(settings)/2))
	for i := 0; i < len(settings); i += 2 {
		n := strconv.Itoa(i / 2)
		env = append(env, "GIT_CONFIG_KEY_"+n+"="+settings[i], "GIT_CONFIG_VALUE_"+n+"="+settings[i+1])
	}
	code, err := w.c.Exec(ctx, Command{Path: w.git, Args: args, Dir: w.dir, Plain: true, Env: env})
	if err != nil {
		return err
	}
	if code != 0 {
		return fault.New(fault.Invalid, "git-failed", "Git %s failed with exit code: %d", args[0], code)
	}
	return nil
}

// again runs git up to three times, a little later each time.
func (w *gitRun) again(ctx context.Context, args ...string) error {
	for try := 1; ; try++ {
		err := w.run(ctx, args...)
		if err == nil || try == fetchTries || ctx.Err() != nil {
			return err
		}
		wait := time.Duration(try) * time.Second
		w.c.Issue("warning", fmt.Sprintf("%v, back off %s before retry.", err, wait))
		select {
		case <-ctx.Done():
			return err
		case <-w.c.After(wait):
		}
	}
}

// prepare makes the folder a repository with the right remote, emptying what
// belongs to another one or cannot be cleaned.
func (w *gitRun) prepare(ctx context.Context) error {
	config, err := os.ReadFile(filepath.Join(w.dir, ".git", "config"))
	if err == nil && strings.Contains(string(config), "url = "+w.repo.URL+"\n") {
		if w.unlock(); w.clean(ctx, string(config)) == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		w.c.Issue("warning", "the folder of the checkout cannot be cleaned by git; it is emptied and filled anew")
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
	return w.configure("[remote \"origin\"]\n\turl = " + w.repo.URL + "\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n[gc]\n\tauto = 0\n")
}

// unlock takes away the locks of a git that was ended, such as by a cancel: no
// other works in the folder now.
func (w *gitRun) unlock() {
	for _, name := range []string{"index.lock", "shallow.lock", "config.lock", "HEAD.lock"} {
		_ = os.Remove(filepath.Join(w.dir, ".git", name))
	}
}

// clean undoes what earlier jobs left in the folder, credentials first.
func (w *gitRun) clean(ctx context.Context, config string) error {
	config = strings.ToLower(config)
	if strings.Contains(config, "extraheader") {
		for _, key := range []string{w.header(), "http.extraHeader"} {
			_ = w.run(ctx, "config", "--unset-all", key) // it may be the other
		}
	}
	if strings.Contains(config, "proxy") {
		_ = w.run(ctx, "config", "--unset-all", "http.proxy") // its address may have a password
	}
	if clean := w.c.Input("clean"); clean != "" && !strings.EqualFold(clean, "true") {
		return nil
	}
	if err := w.run(ctx, "clean", "-ffdx", "--quiet"); err != nil {
		return err
	}
	if err := w.run(ctx, "reset", "--hard", "--quiet"); err != nil || w.submoduleInput() == "" {
		return err
	}
	if err := w.run(ctx, "submodule", "--quiet", "foreach", "--recursive", "git clean -ffdx --quiet"); err != nil {
		return err
	}
	return w.run(ctx, "submodule", "--quiet", "foreach", "--recursive", "git reset --hard --quiet")
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

// sparse says which files are wanted, before any are fetched or written. What an
// earlier checkout of this folder said no longer counts.
func (w *gitRun) sparse(ctx context.Context) error {
	mode, wanted := "--cone", strings.Fields(w.c.Input("sparseCheckoutDirectories"))
	if len(wanted) == 0 {
		mode, wanted = "--no-cone", strings.Fields(w.c.Input("sparseCheckoutPatterns"))
	}
	if len(wanted) == 0 {
		if _, err := os.Stat(filepath.Join(w.dir, ".git", "info", "sparse-checkout")); err != nil {
			return nil
		}
		return w.run(ctx, "sparse-checkout", "disable")
	}
	if err := w.run(ctx, "sparse-checkout", "init", mode); err != nil {
		return err
	}
	return w.run(ctx, append([]string{"sparse-checkout", "set", "--"}, wanted...)...)
}

// largeFiles fetches what large file storage keeps, all at once: the checkout
// would fetch one after the other.
func (w *gitRun) largeFiles(ctx context.Context) error {
	if !w.lfs {
		return nil
	}
	if err := w.run(ctx, "lfs", "install", "--local"); err != nil {
		return err
	}
	return w.again(ctx, "lfs", "fetch", "origin", w.target)
}

func (w *gitRun) switchTo(ctx context.Context) error {
	return w.run(ctx, "-c", "advice.detachedHead=false", "checkout", "--force", "--detach", w.target)
}

// header is the setting that holds credentials for later steps.
func (w *gitRun) header() string { return "http." + w.repo.URL + ".extraHeader" }

const credentialsState = "credentials"

// persist leaves the credentials to the steps that follow, if asked to.
func (w *gitRun) persist(context.Context) error {
	if !w.c.Bool("persistCredentials") || w.auth == "" {
		return nil
	}
	w.c.State[credentialsState] = w.dir
	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(w.repo.URL)
	return w.configure("[http \"" + quoted + "\"]\n\textraHeader = " + w.auth + "\n")
}

// forgetCredentials takes away what persist left, when all steps are done.
func forgetCredentials(ctx context.Context, c *Context) error {
	dir := c.State[credentialsState]
	if dir == "" {
		return nil
	}
	repo, _ := c.Job.Repository(c.Input("repository"))
	c.Printf("Cleaning any cached credential from repository: %s (Git)", repo.Name)
	if _, err := os.Stat(filepath.Join(dir, ".git")); err != nil {
		return nil // a step has removed it all
	}
	git, err := c.Program("git", "install git")
	if err != nil {
		return err
	}
	w, err := newGitRun(c, repo, git, dir)
	if err != nil {
		return err
	}
	return w.run(ctx, "config", "--unset-all", w.header())
}
