package localrun

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"penstock.dev/penstock/internal/domain/run"
)

// Look asks git whose a checkout is and where it comes from, beside what else
// there is to do; the answer is waited for where it is needed.
func Look(ctx context.Context, root, event string) func() run.Checkout {
	look := sync.OnceValue(func() run.Checkout {
		known := map[string]string{}
		for entry := range strings.SplitSeq(git(ctx, root, "config", "--null", "--get-regexp", `^(remote\.origin\.url|user\.name|user\.email)$`), "\x00") {
			key, value, _ := strings.Cut(entry, "\n")
			known[key] = value // the last one holds
		}
		c := run.CheckoutOf(root, known["remote.origin.url"], known["user.name"], known["user.email"])
		if event == "pr" {
			if _, head, ok := strings.Cut(git(ctx, root, "symbolic-ref", "-q", "refs/remotes/origin/HEAD"), "refs/remotes/origin/"); ok {
				c.Default = head
			} else if git(ctx, root, "rev-parse", "-q", "--verify", "refs/heads/main") == "" && git(ctx, root, "rev-parse", "-q", "--verify", "refs/heads/master") != "" {
				c.Default = "master"
			}
		}
		return c
	})
	go look()
	return look
}

// Visible are the variables that the file may read while it is expanded, the
// predefined ones included: they cost a call of git, so a file that cannot read
// any gets none of those.
func (r *Request) Visible(ctx context.Context) map[string]string {
	text, err := os.ReadFile(filepath.Join(r.Root, r.File))
	if err != nil || !bytes.Contains(text, []byte("${{")) && !bytes.Contains(text, []byte("template:")) {
		return r.Variables
	}
	branch, commit := "refs/heads/main", ""
	lines := strings.Split(git(ctx, r.Root, "rev-parse", "HEAD", "--symbolic-full-name", "HEAD"), "\n")
	if len(lines) > 1 {
		commit = lines[0]
		if strings.HasPrefix(lines[1], "refs/heads/") {
			branch = lines[1]
		}
	}
	from := r.Checkout()
	q := from.Request(branch, commit, Reasons[r.Event])
	q.Variables = r.Variables
	return from.Visible(run.FilesName(r.Root, r.File), q)
}

// Reasons are the events of the command line as a run knows them.
var Reasons = map[string]run.Reason{"": run.Manual, "push": run.IndividualCI, "pr": run.PullRequestReason, "schedule": run.Schedule}

// git is what git says of a folder; "" where it knows nothing.
func git(ctx context.Context, root string, args ...string) string {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
