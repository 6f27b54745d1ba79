// Package gitcli keeps repositories with the git program: bare repositories in
// one folder, no work trees, no configuration but our own.
package gitcli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rootfs"
	"penstock.dev/penstock/internal/domain/repos"
)

// Git runs the git binary on the repositories of a folder.
type Git struct {
	Binary string // git, 2.39 or newer
	Folder string // holds <id>.git
	// Scratch says that the repositories are thrown away with the process.
	Scratch bool

	seen remembered
}

var commitID = regexp.MustCompile(`^[0-9a-f]{40}$`)

func (g *Git) dir(repoID string) string { return filepath.Join(g.Folder, repoID+".git") }

// environment is everything git gets to see: no system or user configuration,
// no prompts.
func environment(extra ...string) []string {
	return append([]string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C.UTF-8",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}, extra...)
}

func (g *Git) command(ctx context.Context, repoID string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, g.Binary, append([]string{"--git-dir", g.dir(repoID)}, args...)...)
	cmd.Env = environment()
	// The whole group ends with the request: upload-pack starts helpers.
	endTogether(cmd)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

func (g *Git) run(ctx context.Context, repoID string, stdin io.Reader, args ...string) ([]byte, error) {
	cmd := g.command(ctx, repoID, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &errs
	if err := cmd.Run(); err != nil {
		return out.Bytes(), &failure{args[0], err, strings.TrimSpace(errs.String())}
	}
	return out.Bytes(), nil
}

// failure is git's exit with what it said.
type failure struct {
	verb string
	err  error
	text string
}

func (f *failure) Error() string { return fmt.Sprintf("git %s: %v: %s", f.verb, f.err, f.text) }
func (f *failure) Unwrap() error { return f.err }

// Init implements repos.Git: the few files that make a bare repository, without
// a process and its templates.
func (g *Git) Init(_ context.Context, repoID, defaultBranch string) error {
	if err := os.MkdirAll(g.Folder, 0o700); err != nil {
		return err
	}
	dir := g.dir(repoID)
	if _, err := os.Stat(filepath.Join(dir, "HEAD")); err == nil {
		return g.configure(filepath.Join(dir, "config")) // made before, and not forgotten
	}
	for _, folder := range []string{"objects/info", "objects/pack", "refs/heads", "refs/tags"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.FromSlash(folder)), 0o700); err != nil {
			return err
		}
	}
	config := "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n" + settings
	write := rootfs.WriteFile
	if g.Scratch {
		write = rootfs.ReplaceFile
	}
	if err := write(filepath.Join(dir, "config"), []byte(config), 0o600); err != nil {
		return err
	}
	// HEAD comes last: a folder without it is no repository.
	return write(filepath.Join(dir, "HEAD"), []byte("ref: refs/heads/"+defaultBranch+"\n"), 0o600)
}

// settings of every repository: bad objects are refused, nothing runs by itself,
// a fetch may name any commit, and a commit is on disk when it is reported.
const settings = `[receive]
	fsckObjects = true
	autogc = false
	denyDeleteCurrent = ignore
[uploadpack]
	allowAnySHA1InWant = true
	allowFilter = true
[core]
	alternateRefsCommand = true
	hooksPath = /dev/null
	fsync = committed
`

// configure adds the settings unless they are there: one write instead of a
// process for each.
func (g *Git) configure(path string) error {
	data, err := os.ReadFile(path)
	if err != nil || bytes.Contains(data, []byte(settings)) {
		return err
	}
	return rootfs.WriteFile(path, append(data, settings...), 0o600)
}

// Refs implements repos.Git.
func (g *Git) Refs(ctx context.Context, repoID string) (map[string]string, error) {
	out, err := g.run(ctx, repoID, nil, "for-each-ref", "--format=%(objectname) %(refname)")
	if err != nil {
		return nil, err
	}
	refs := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if commit, ref, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			refs[ref] = commit
		}
	}
	return refs, nil
}

// UpdateRef implements repos.Git.
func (g *Git) UpdateRef(ctx context.Context, repoID, ref, to, from string) error {
	if err := repos.CheckRef(ref); err != nil {
		return err
	}
	args := []string{"update-ref", "--end-of-options", ref, to, from}
	if to == repos.Zero {
		args = []string{"update-ref", "-d", "--end-of-options", ref, from}
	}
	if from == "" {
		args = args[:len(args)-1]
	}
	if _, err := g.run(ctx, repoID, nil, args...); err != nil {
		return fault.Wrap(err, fault.Conflict, "ref-moved", "%s was moved by someone else first", ref).Try("look at it, then try again")
	}
	return nil
}

// Merge implements repos.Git without a work tree.
func (g *Git) Merge(ctx context.Context, repoID string, m repos.MergeRequest) (string, error) {
	if !commitID.MatchString(m.Target) || !commitID.MatchString(m.Source) {
		return "", fault.New(fault.Invalid, "invalid-ref", "a merge takes commit ids").Got("%s, %s", m.Target, m.Source)
	}
	out, err := g.run(ctx, repoID, nil, "merge-tree", "--write-tree", "--name-only", "--no-messages", m.Target, m.Source)
	tree, files, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == 1 {
			return "", fault.New(fault.Conflict, "merge-conflict", "the branches do not merge by themselves").
				Got("%s", strings.ReplaceAll(strings.TrimSpace(files), "\n", ", ")).Try("merge the target into your branch, resolve, and push")
		}
		return "", err
	}
	args := []string{"commit-tree", tree, "-p", m.Target}
	if !m.Squash {
		args = append(args, "-p", m.Source)
	}
	cmd := g.command(ctx, repoID, args...)
	cmd.Env = append(cmd.Env, "GIT_AUTHOR_NAME="+m.Author, "GIT_AUTHOR_EMAIL="+m.Email, "GIT_COMMITTER_NAME="+m.Author, "GIT_COMMITTER_EMAIL="+m.Email)
	cmd.Stdin = strings.NewReader(m.Message)
	commit, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git commit-tree: %w", err)
	}
	return strings.TrimSpace(string(commit)), nil
}

// ReadFile implements repos.Git.
func (g *Git) ReadFile(ctx context.Context, repoID, commit, path string) ([]byte, error) {
	if !commitID.MatchString(commit) {
		return nil, fault.New(fault.Invalid, "invalid-ref", "%q is not a commit id", commit)
	}
	key := blobKey(repoID, commit, path)
	if known, ok := g.seen.get(key); ok {
		return bytes.Clone(known), nil
	}
	out, err := g.run(ctx, repoID, nil, "cat-file", "blob", commit+":"+path)
	if err != nil {
		return nil, fault.Wrap(err, fault.NotFound, "file-not-found", "no file %s at %.7s", path, commit)
	}
	g.seen.put(key, out)
	return bytes.Clone(out), nil
}

// Resolve implements repos.History.
func (g *Git) Resolve(ctx context.Context, repoID, revision string) (string, error) {
	candidates := []string{revision}
	if !strings.HasPrefix(revision, "refs/") && !commitID.MatchString(revision) {
		candidates = []string{"refs/heads/" + revision, "refs/tags/" + revision, revision}
	}
	for _, c := range candidates {
		if out, err := g.run(ctx, repoID, nil, "rev-parse", "--verify", "--quiet", "--end-of-options", c+"^{commit}"); err == nil {
			return strings.TrimSpace(string(out)), nil
		}
	}
	return "", fault.New(fault.NotFound, "ref-not-found", "no branch, tag or commit %s", revision)
}

// ChangedPaths implements repos.History.
func (g *Git) ChangedPaths(ctx context.Context, repoID, from, to string) ([]string, error) {
	args := []string{"diff-tree", "-r", "--name-only", "-z", "--no-renames", from, to}
	if from == repos.Zero || from == "" {
		args = []string{"ls-tree", "-r", "--name-only", "-z", to}
	}
	out, err := g.run(ctx, repoID, nil, args...)
	if err != nil {
		return nil, err
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 }), nil
}

// logOf asks for that many commits, with the parts of each behind each other.
func logOf(limit int) []string {
	return []string{"log", "-z", "--format=%H%x1f%P%x1f%an%x1f%ae%x1f%at%x1f%B", "--max-count=" + strconv.Itoa(limit)}
}

// Commits implements repos.History.
func (g *Git) Commits(ctx context.Context, repoID, from, to string, limit int) ([]repos.Commit, error) {
	args := logOf(limit)
	if from != "" && from != repos.Zero {
		args = append(args, "^"+from)
	}
	out, err := g.history(ctx, repoID, append(args, to, "--"), commitID.MatchString(to) && limit == 1)
	if err != nil {
		return nil, err
	}
	var list []repos.Commit
	for _, rec := range strings.Split(strings.TrimRight(string(out), "\x00"), "\x00") {
		f := strings.SplitN(rec, "\x1f", 6)
		if len(f) < 6 {
			continue
		}
		seconds, _ := strconv.ParseInt(f[4], 10, 64)
		list = append(list, repos.Commit{ID: f[0], Parents: strings.Fields(f[1]), Author: f[2], Email: f[3],
			Time: time.Unix(seconds, 0).UTC(), Message: strings.TrimSpace(f[5])})
	}
	return list, nil
}

// history runs git log; what it says of one commit never changes.
func (g *Git) history(ctx context.Context, repoID string, args []string, fixed bool) ([]byte, error) {
	key := historyKey(repoID, args)
	if known, ok := g.seen.get(key); ok && fixed {
		return known, nil
	}
	out, err := g.run(ctx, repoID, nil, args...)
	if err == nil && fixed {
		g.seen.put(key, out)
	}
	return out, err
}

// Diff implements repos.History.
func (g *Git) Diff(ctx context.Context, repoID, from, to string) (string, error) {
	out, err := g.run(ctx, repoID, nil, "diff", "--no-color", "--no-ext-diff", "--find-renames", from+"..."+to, "--")
	return string(out), err
}

// Tree implements repos.History.
func (g *Git) Tree(ctx context.Context, repoID, commit, path string) ([]repos.TreeEntry, error) {
	path = strings.Trim(path, "/")
	out, err := g.run(ctx, repoID, nil, "ls-tree", "-z", "-l", "--end-of-options", commit+":"+path)
	if err != nil {
		return nil, fault.Wrap(err, fault.NotFound, "file-not-found", "no folder %s at %.7s", path, commit)
	}
	var entries []repos.TreeEntry
	for _, rec := range strings.Split(strings.TrimRight(string(out), "\x00"), "\x00") {
		meta, name, ok := strings.Cut(rec, "\t")
		f := strings.Fields(meta)
		if !ok || len(f) < 4 {
			continue
		}
		size, _ := strconv.ParseInt(f[3], 10, 64)
		entries = append(entries, repos.TreeEntry{Name: name, Folder: f[1] == "tree", Size: size})
	}
	return entries, nil
}

// ServePack runs upload-pack or receive-pack for one smart-HTTP request.
// Advertise answers the first request (info/refs).
func (g *Git) ServePack(ctx context.Context, repoID, service, protocol string, advertise bool, in io.Reader, out io.Writer) error {
	if service != "upload-pack" && service != "receive-pack" {
		return fault.New(fault.Invalid, "invalid-service", "no Git service %q", service)
	}
	args := []string{service, "--stateless-rpc"}
	if advertise {
		args = append(args, "--http-backend-info-refs")
	}
	cmd := exec.CommandContext(ctx, g.Binary, append(args, g.dir(repoID))...)
	cmd.Env = environment()
	if protocol == "version=1" || protocol == "version=2" {
		cmd.Env = append(cmd.Env, "GIT_PROTOCOL="+protocol)
	}
	endTogether(cmd)
	cmd.WaitDelay = 5 * time.Second
	var errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, &errs
	if err := cmd.Run(); err != nil {
		return &failure{service, err, strings.TrimSpace(errs.String())}
	}
	return nil
}
