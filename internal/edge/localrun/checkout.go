package localrun

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"penstock.dev/penstock/internal/base/pattern"
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

// UsualFile is where a pipeline is when nobody says: in a folder or above it, up
// to the root of the checkout; "" where there is none.
func UsualFile(from string) string {
	dir, err := filepath.Abs(from)
	if err != nil {
		return ""
	}
	for {
		for _, name := range []string{"azure-pipelines.yml", "azure-pipelines.yaml", ".azure-pipelines.yml", ".azure-pipelines/azure-pipelines.yml", ".azuredevops/azure-pipelines.yml"} {
			if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode().IsRegular() {
				return Relative(from, filepath.Join(dir, name))
			}
		}
		if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil || dir == filepath.Dir(dir) {
			return ""
		}
		dir = filepath.Dir(dir)
	}
}

// Bounds of a search for pipelines.
const (
	mostEntries    = 5000
	mostCandidates = 5
	mostBytes      = 64 << 10 // of a file that is looked into
)

// pipelineKey begins a line of a pipeline, or of its template.
var pipelineKey = pattern.Lazy(`(?m)^(?:trigger|pr|schedules|steps|jobs|stages|extends)[ \t]*:`)

// Candidates are files below a folder that look like pipelines, the nearest
// first, for who has named none.
func Candidates(folder string) []string {
	var found []string
	entries := 0
	_ = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if entries++; entries > mostEntries {
			return fs.SkipAll
		}
		if err != nil {
			return fs.SkipDir
		}
		name := d.Name()
		switch {
		case name == ".gitlab-ci.yml":
		case d.IsDir() && slices.Contains([]string{".git", ".github", ".penstock", "node_modules", "vendor"}, name):
			return fs.SkipDir
		case d.Type().IsRegular() && (strings.HasSuffix(name, ".yml") || strings.HasSuffix(name, ".yaml")) && isPipeline(path):
			found = append(found, Relative(folder, path))
		}
		return nil
	})
	slices.SortStableFunc(found, func(a, b string) int {
		return strings.Count(a, string(filepath.Separator)) - strings.Count(b, string(filepath.Separator))
	})
	return found[:min(len(found), mostCandidates)]
}

func isPipeline(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, mostBytes))
	return err == nil && pipelineKey().Match(text)
}
