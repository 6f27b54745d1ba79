package language

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/pattern"
	"penstock.dev/penstock/internal/domain/pipeline"
)

// fetchTime is how long a repository may take to arrive.
const fetchTime = 5 * time.Minute

// Names and refs that may stand in an address and in git's arguments.
var (
	remoteName = pattern.Lazy(`^[A-Za-z0-9_][A-Za-z0-9._ -]*(/[A-Za-z0-9_][A-Za-z0-9._ -]*){0,2}$`)
	remoteRef  = pattern.Lazy(`^[A-Za-z0-9_][A-Za-z0-9._/-]*$`)
)

// shared are hosts on which anybody may take any owner's name.
var shared = pattern.Lazy(`(?i)(//|@)(www\.)?(github\.com|gitlab\.com|bitbucket\.org|codeberg\.org)[:/]`)

// addressOf is where a repository resource lies, as seen from where the checkout
// was cloned from; "" where that cannot be told.
func addressOf(r pipeline.RepositoryResource, origin string) string {
	name := r.Name
	if !remoteName().MatchString(name) || strings.Contains(name, "..") {
		return ""
	}
	origin = strings.TrimSuffix(strings.TrimSuffix(origin, "/"), ".git")
	switch kind := strings.ToLower(r.Type); {
	case kind == "github" && strings.HasPrefix(origin, "git@github.com:"):
		return "git@github.com:" + name + ".git"
	case kind == "github":
		return "https://github.com/" + name + ".git"
	case kind == "bitbucket":
		return "https://bitbucket.org/" + name + ".git"
	case kind != "git" && kind != "githubenterprise" || origin == "":
		return ""
	}
	if before, _, ok := strings.Cut(origin, "/_git/"); ok { // …/organization/project/_git/repository
		project, repo, both := strings.Cut(name, "/")
		if !both {
			return before + "/_git/" + name
		}
		if i := strings.LastIndexByte(before, '/'); i > 0 {
			return before[:i] + "/" + project + "/_git/" + repo
		}
		return ""
	}
	// Elsewhere repositories lie side by side.
	i := strings.LastIndexAny(origin, "/:")
	if i < 0 {
		return ""
	}
	base, last := origin[:i+1], name[strings.LastIndexByte(name, '/')+1:]
	if shared().MatchString(origin) && strings.Contains(name, "/") && !strings.HasSuffix(strings.ToLower(strings.ReplaceAll(strings.TrimRight(base, "/:"), ":", "/")), "/"+strings.ToLower(name[:strings.IndexByte(name, '/')])) {
		return "" // a project of the service; who has its name there is somebody else
	}
	if owner := strings.LastIndexAny(strings.TrimRight(base, "/:"), "/:"); strings.Contains(name, "/") && strings.Contains(origin, "://") && !strings.HasPrefix(origin, "file:") && owner > 0 {
		return base[:owner+1] + name
	}
	return base + last
}

// BringChecked fetches the repositories that steps of a plan check out and that
// nobody gave a folder for.
func (w Workspace) BringChecked(ctx context.Context, plan *pipeline.Plan, root string) error {
	wanted := map[string]bool{}
	note := func(steps []pipeline.Step) {
		for _, s := range steps {
			if s.Task == pipeline.TaskCheckout {
				wanted[strings.ToLower(s.Inputs["repository"])] = true
			}
		}
	}
	for _, s := range plan.Stages {
		for _, j := range s.Jobs {
			note(j.Steps)
			if j.Deployment != nil {
				for _, h := range j.Deployment.Hooks {
					note(h.Steps)
				}
			}
		}
	}
	for _, r := range plan.Resources.Repositories {
		if !wanted[strings.ToLower(r.Alias)] || w.Repos[r.Alias] != "" || w.Repos[r.Name] != "" {
			continue
		}
		origin := originOf(ctx, root)
		if sameRepository(origin, strings.ToLower(r.Name)) {
			w.Repos[r.Alias] = root
			continue
		}
		if _, err := w.Bring(ctx, r, origin); err != nil {
			return fault.New(fault.Invalid, "repository-not-available", "repository %s (%s) cannot be fetched: %v", r.Alias, r.Name, err).
				At("%s:%d:%d", r.Origin.File, r.Origin.Line, r.Origin.Column).Try("--repo %s=FOLDER", r.Alias)
		}
	}
	return nil
}

// fetched brings a repository into a folder of the cache and returns it. What is
// there already in that commit is not brought again; without a connection the
// last that came is used.
func fetched(ctx context.Context, cache, address, ref string) (string, error) {
	short := strings.TrimPrefix(strings.TrimPrefix(ref, "refs/heads/"), "refs/tags/")
	if short == "" {
		ref = "HEAD"
	} else if !remoteRef().MatchString(short) || strings.Contains(short, "..") {
		return "", fault.New(fault.Invalid, "invalid-ref", "ref %q cannot be fetched", ref)
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	sum := sha256.Sum256([]byte(address + "\x00" + ref))
	folder := filepath.Join(cache, hex.EncodeToString(sum[:8]))
	latest := filepath.Join(folder, "latest")
	known, _ := os.ReadFile(latest)
	out, err := remoteGit(ctx, cache, "ls-remote", "--", address, ref)
	commit, _, _ := strings.Cut(strings.TrimSpace(out), "\t")
	switch {
	case err != nil && len(known) > 0:
		return filepath.Join(folder, string(known)), nil // no connection: what came last
	case err != nil:
		return "", err
	case commit == "":
		return "", fault.New(fault.NotFound, "ref-not-found", "%s has no %s", address, ref)
	}
	target := filepath.Join(folder, commit)
	if _, err := os.Stat(target); err == nil {
		return target, os.WriteFile(latest, []byte(commit), 0o644)
	}
	draft, err := os.MkdirTemp(cache, "fetch-*")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(draft) }()
	for _, args := range [][]string{{"init", "--quiet"}, {"fetch", "--quiet", "--depth=1", "--", address, ref}, {"checkout", "--quiet", "--detach", "FETCH_HEAD"}} {
		if _, err := remoteGit(ctx, draft, args...); err != nil {
			return "", err
		}
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	if err := os.Rename(draft, target); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	return target, os.WriteFile(latest, []byte(commit), 0o644)
}

// remoteGit runs git without questions; credentials come from where the person
// keeps them.
func remoteGit(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_ALLOW_PROTOCOL=https:http:ssh:file", "GIT_SSH_COMMAND=ssh -o BatchMode=yes")
	var problem bytes.Buffer
	cmd.Stderr = &problem
	out, err := cmd.Output()
	if err != nil {
		return "", fault.New(fault.Unavailable, "git-failed", "git %s: %s", args[0], firstCause(problem.String()))
	}
	return string(out), nil
}

// firstCause is the line in which git says what is wrong; hints follow it.
func firstCause(text string) string {
	for line := range strings.Lines(text) {
		if cause, ok := strings.CutPrefix(strings.TrimSpace(line), "fatal: "); ok {
			return cause
		}
	}
	return strings.TrimSpace(text)
}
