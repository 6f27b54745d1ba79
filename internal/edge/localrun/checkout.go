package localrun

import (
	"cmp"
	"context"
	"os/exec"
	"path/filepath"
	"strings"

	"penstock.dev/penstock/internal/domain/run"
)

// Checkout is what a folder's own repository says of itself.
type Checkout struct {
	Origin         *run.Origin // what it was cloned from; nil = not known
	Branch, Commit string      // full ref; "" before the first commit
	Default        string      // full ref of the branch that pull requests go to
}

// Look asks the repository of a folder.
func Look(ctx context.Context, root string) (c Checkout) {
	ask := func(args ...string) string {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-C", root}, args...)...).Output()
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(out))
	}
	c.Origin = originOf(ask("config", "--get", "remote.origin.url"))
	c.Branch, c.Commit = cmp.Or(ask("symbolic-ref", "-q", "HEAD"), "refs/heads/main"), ask("rev-parse", "-q", "--verify", "HEAD")
	c.Default = "refs/heads/main"
	if head, ok := strings.CutPrefix(ask("symbolic-ref", "-q", "refs/remotes/origin/HEAD"), "refs/remotes/origin/"); ok {
		c.Default = "refs/heads/" + head
	} else if ask("rev-parse", "-q", "--verify", "refs/heads/main") == "" && ask("rev-parse", "-q", "--verify", "refs/heads/master") != "" {
		c.Default = "refs/heads/master"
	}
	return c
}

// originOf reads an address such as https://github.com/OWNER/NAME.git or
// git@github.com:OWNER/NAME.git; nil where it does not say who keeps it.
func originOf(address string) *run.Origin {
	address = strings.TrimSuffix(strings.TrimSuffix(address, "/"), ".git")
	if _, name, ok := strings.Cut(address, "/_git/"); ok {
		return &run.Origin{Name: filepath.Base(name), Provider: "TfsGit"}
	}
	for host, provider := range map[string]string{"github.com": "GitHub", "bitbucket.org": "Bitbucket"} {
		for _, mark := range []string{"//" + host + "/", "@" + host + "/", "@" + host + ":"} {
			if _, name, ok := strings.Cut(address, mark); ok && strings.Count(name, "/") == 1 {
				return &run.Origin{Name: name, Provider: provider}
			}
		}
	}
	return nil
}

// Reasons are the events of the command line as a run knows them.
var Reasons = map[string]run.Reason{"": run.Manual, "push": run.IndividualCI, "pr": run.PullRequestReason, "schedule": run.Schedule}

// PullRequest is what a run for the event pr knows of its pull request; nil for
// other events.
func (c Checkout) PullRequest(event string) *run.PRInfo {
	if event != "pr" {
		return nil
	}
	return &run.PRInfo{SourceBranch: c.Branch, TargetBranch: c.Default, SourceCommit: c.Commit}
}

// Variables are those that the run will have, for templates that read them.
func (c Checkout) Variables(root, event string) map[string]string {
	r := &run.Run{Branch: c.Branch, Commit: c.Commit, Reason: Reasons[event], Origin: c.Origin, PR: c.PullRequest(event)}
	if r.PR != nil {
		r.Branch = run.PullRequestBranch
	}
	if r.Origin == nil {
		r.Origin = &run.Origin{Name: filepath.Base(root), Provider: "TfsGit"}
	}
	v := run.Known(r)
	for name, value := range v {
		if value == "" || name == "Build.BuildId" || name == "Build.BuildUri" {
			delete(v, name)
		}
	}
	return v
}
