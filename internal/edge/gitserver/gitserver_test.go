package gitserver

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/memstore"
	"penstock.dev/penstock/internal/domain/audit"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/project"
	"penstock.dev/penstock/internal/domain/repos"
)

// bare keeps bare repositories in a folder, with the git binary.
type bare struct {
	repos.Git
	folder string
	calls  atomic.Int32 // of receive-pack
}

func clean() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C",
		"GIT_AUTHOR_NAME=ada", "GIT_AUTHOR_EMAIL=ada@localhost", "GIT_COMMITTER_NAME=ada", "GIT_COMMITTER_EMAIL=ada@localhost"}
}

func (b *bare) dir(id string) string { return filepath.Join(b.folder, id+".git") }

func (b *bare) Init(ctx context.Context, id, branch string) error {
	cmd := exec.CommandContext(ctx, "git", "init", "-q", "--bare", "--initial-branch", branch, b.dir(id))
	cmd.Env = clean()
	return cmd.Run()
}

func (b *bare) Refs(ctx context.Context, id string) (map[string]string, error) {
	cmd := exec.CommandContext(ctx, "git", "-C", b.dir(id), "for-each-ref", "--format=%(objectname) %(refname)")
	cmd.Env = clean()
	out, err := cmd.Output()
	refs := map[string]string{}
	for l := range strings.Lines(string(out)) {
		if commit, ref, ok := strings.Cut(strings.TrimSpace(l), " "); ok {
			refs[ref] = commit
		}
	}
	return refs, err
}

func (b *bare) ServePack(ctx context.Context, id, service, protocol string, advertise bool, in io.Reader, out io.Writer) error {
	args := []string{service, "--stateless-rpc"}
	if advertise {
		args = append(args, "--http-backend-info-refs")
	} else if service == "receive-pack" {
		b.calls.Add(1)
	}
	cmd := exec.CommandContext(ctx, "git", append(args, b.dir(id))...)
	cmd.Env = append(clean(), "GIT_PROTOCOL="+protocol)
	cmd.Stdin, cmd.Stdout = in, out
	return cmd.Run()
}

// protected refuses pushes to main once it exists.
type protected struct{ on atomic.Bool }

func (p *protected) Refuses(_ context.Context, _ *repos.Repository, ref string) error {
	if p.on.Load() && ref == "refs/heads/main" {
		return fault.New(fault.Denied, "branch-protected", "main takes changes by pull request only").Try("push another branch, then: penstock pr create")
	}
	return nil
}

type fixture struct {
	t       *testing.T
	url     string // of the server, without credentials
	writer  string // token
	reader  string
	git     *bare
	repos   *repos.Service
	repo    *repos.Repository
	policy  *protected
	work    string
	handler http.Handler
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Fatal(err)
	}
	tx := &memstore.Runner{}
	a := &audit.Service{Records: memstore.NewTable[audit.Record](tx, "audit.Record"), Tx: tx}
	id := identity.NewService(identity.Store{Users: memstore.NewTable[identity.User](tx, "identity.User"), Groups: memstore.NewTable[identity.Group](tx, "identity.Group"), Grants: memstore.NewTable[identity.Grant](tx, "identity.Grant"),
		Tokens: memstore.NewTable[identity.Token](tx, "identity.Token")}, tx, a, nil)
	projects := &project.Service{Projects: memstore.NewTable[project.Project](tx, "project.Project"), Tx: tx, Audit: a}
	f := &fixture{t: t, git: &bare{folder: t.TempDir()}, policy: &protected{}, work: t.TempDir()}
	f.repos = &repos.Service{Repositories: memstore.NewTable[repos.Repository](tx, "repos.Repository"), Pushes: memstore.NewTable[repos.Push](tx, "repos.Push"), Tx: tx, Audit: a, Git: f.git, Protection: f.policy}
	ctx := context.Background()
	p, err := projects.Create(ctx, "My Shop", "")
	f.must(err)
	f.repo, err = f.repos.Create(ctx, p.ID, "storefront")
	f.must(err)
	for name, role := range map[string]identity.Role{"ada": identity.Contributor, "rea": identity.Reader} {
		u, err := id.CreateUser(ctx, name, "", "")
		f.must(err)
		f.must(id.GrantRole(ctx, name, role, p.ID))
		secret, _, err := id.IssueToken(ctx, identity.Token{Kind: identity.PersonalToken, OwnerID: u.ID, Name: name})
		f.must(err)
		if role == identity.Reader {
			f.reader = secret
		} else {
			f.writer = secret
		}
	}
	f.handler = New(projects, f.repos, id, f.git, "default", nil)
	server := httptest.NewServer(f.handler)
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// remote is the repository's address with a token as password.
func (f *fixture) remote(token string) string {
	u, _ := url.Parse(f.url + "/Default/my%20shop/_git/storefront")
	if token != "" {
		u.User = url.UserPassword("x", token)
	}
	return u.String()
}

// run calls the git client and returns what it printed.
func (f *fixture) run(dir string, args ...string) (string, error) {
	f.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env = dir, clean()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (f *fixture) ok(dir string, args ...string) string {
	f.t.Helper()
	out, err := f.run(dir, args...)
	if err != nil {
		f.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(out)
}

func (f *fixture) commit(dir, name, text string) string {
	f.t.Helper()
	f.must(os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	f.ok(dir, "add", ".")
	f.ok(dir, "commit", "-qm", "change "+name)
	return f.ok(dir, "rev-parse", "HEAD")
}

// clone makes a checkout that pushes as the writer.
func (f *fixture) clone(name string) string {
	f.t.Helper()
	dir := filepath.Join(f.work, name)
	f.ok(f.work, "clone", "-q", f.remote(f.writer), dir)
	return dir
}

func (f *fixture) recorded() map[string]string {
	f.t.Helper()
	r, err := f.repos.Repositories.Get(context.Background(), f.repo.ID)
	f.must(err)
	return r.Refs
}

func TestCloneAndPush(t *testing.T) {
	f := newFixture(t)
	a := f.clone("a")
	head := f.commit(a, "README", "one")
	f.ok(a, "push", "-q", "origin", "HEAD:refs/heads/main")
	if got := f.recorded()["refs/heads/main"]; got != head {
		t.Fatalf("recorded main is %q, pushed %s", got, head)
	}
	b := f.clone("b")
	if got := f.ok(b, "rev-parse", "HEAD"); got != head {
		t.Errorf("clone has %s, want %s", got, head)
	}
	f.ok(a, "tag", "v1")
	f.ok(a, "push", "-q", "origin", "v1", "HEAD:refs/heads/topic")
	if r := f.recorded(); r["refs/tags/v1"] != head || r["refs/heads/topic"] != head {
		t.Errorf("tag and branch are not recorded: %v", r)
	}
	f.ok(a, "commit", "-q", "--amend", "-m", "other")
	if out, err := f.run(a, "push", "origin", "HEAD:refs/heads/topic"); err == nil {
		t.Errorf("a push that is no fast-forward went through: %s", out)
	}
	f.ok(a, "push", "-q", "--force", "origin", "HEAD:refs/heads/topic")
	if got, want := f.recorded()["refs/heads/topic"], f.ok(a, "rev-parse", "HEAD"); got != want {
		t.Errorf("forced push recorded as %s, want %s", got, want)
	}
	f.ok(a, "push", "-q", "origin", "--delete", "topic")
	if got := f.recorded()["refs/heads/topic"]; got != "" {
		t.Errorf("deleted branch is still at %s", got)
	}
}

func TestProtocolVersionsAndShallowClones(t *testing.T) {
	f := newFixture(t)
	a := f.clone("a")
	f.commit(a, "one", "1")
	f.commit(a, "two", "2")
	f.ok(a, "push", "-q", "origin", "HEAD:refs/heads/main")
	for _, version := range []string{"0", "1", "2"} {
		dir := filepath.Join(f.work, "v"+version)
		f.ok(f.work, "-c", "protocol.version="+version, "clone", "-q", "--depth", "1", f.remote(f.reader), dir)
		if got := f.ok(dir, "rev-list", "--count", "HEAD"); got != "1" {
			t.Errorf("version %s: shallow clone has %s commits", version, got)
		}
		f.ok(dir, "-c", "protocol.version="+version, "fetch", "-q", "--unshallow")
		if got := f.ok(dir, "rev-list", "--count", "HEAD"); got != "2" {
			t.Errorf("version %s: after --unshallow %s commits", version, got)
		}
	}
	// From a shallow clone the client tells what it lacks.
	dir := filepath.Join(f.work, "push-shallow")
	f.ok(f.work, "clone", "-q", "--depth", "1", f.remote(f.writer), dir)
	f.commit(dir, "three", "3")
	f.ok(dir, "push", "-q", "origin", "HEAD:refs/heads/shallow")
}

func TestRefusedPushSaysWhyAndMovesNothing(t *testing.T) {
	f := newFixture(t)
	a := f.clone("a")
	first := f.commit(a, "one", "1")
	f.ok(a, "push", "-q", "origin", "HEAD:refs/heads/main")
	f.policy.on.Store(true)
	f.commit(a, "two", strings.Repeat("large ", 100_000))
	calls := f.git.calls.Load()
	out, err := f.run(a, "push", "origin", "HEAD:refs/heads/main", "HEAD:refs/heads/topic")
	if err == nil {
		t.Fatal("the push went through")
	}
	for _, want := range []string{"main takes changes by pull request only", "whole push refused", "remote: push another branch, then: penstock pr create"} {
		if !strings.Contains(out, want) {
			t.Errorf("git does not print %q:\n%s", want, out)
		}
	}
	if f.git.calls.Load() != calls {
		t.Error("git ran for a push that was refused")
	}
	if r := f.recorded(); r["refs/heads/main"] != first || r["refs/heads/topic"] != "" {
		t.Errorf("refs moved: %v", r)
	}
}

func TestLargePushInChunks(t *testing.T) {
	f := newFixture(t)
	a := f.clone("a")
	f.ok(a, "config", "http.postBuffer", "65536")
	noise := make([]byte, 3<<20)
	seed := uint32(1)
	for i := range noise {
		seed = seed*1664525 + 1013904223
		noise[i] = byte(seed >> 24)
	}
	head := f.commit(a, "noise", string(noise))
	f.ok(a, "push", "-q", "origin", "HEAD:refs/heads/main")
	if got := f.recorded()["refs/heads/main"]; got != head {
		t.Errorf("recorded %s, want %s", got, head)
	}
}

func TestWhoMayDoWhat(t *testing.T) {
	f := newFixture(t)
	a := f.clone("a")
	f.commit(a, "one", "1")
	cases := []struct {
		token string
		want  string
	}{
		{f.reader, "403"},
		{"pst_wrong", "Authentication failed"},
		{"", "could not read Username"},
	}
	for _, k := range cases {
		if out, err := f.run(a, "push", f.remote(k.token), "HEAD:refs/heads/main"); err == nil || !strings.Contains(out, k.want) {
			t.Errorf("push with token %.8q: %v, want %s:\n%s", k.token, err, k.want, out)
		}
	}
	get := func(path, token string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", path, nil)
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		rec := httptest.NewRecorder()
		f.handler.ServeHTTP(rec, r)
		return rec
	}
	const refs = "/info/refs?service=git-upload-pack"
	if rec := get("/default/My%20Shop/_git/storefront.git"+refs, f.reader); rec.Code != 200 {
		t.Errorf("with .git: %d %s", rec.Code, rec.Body)
	}
	if rec := get("/default/My%20Shop/_git/storefront"+refs, ""); rec.Code != 401 || rec.Header().Get("WWW-Authenticate") != `Basic realm="Penstock"` {
		t.Errorf("nobody: %d %v", rec.Code, rec.Header())
	}
	for path, want := range map[string]int{"/default/Elsewhere/_git/storefront" + refs: 404, "/default/My%20Shop/_git/other" + refs: 404,
		"/default/My%20Shop/_git/storefront/info/refs": 400, "/default/My%20Shop/_git/storefront/HEAD": 404, "/x/y/_git/z" + refs: 404, "/default/_git": 404} {
		if rec := get(path, f.reader); rec.Code != want {
			t.Errorf("%s: %d, want %d", path, rec.Code, want)
		}
	}
}

// failing refuses to record.
type failing struct{ *memstore.Table[repos.Push] }

func (failing) Insert(context.Context, *repos.Push) error { return errors.New("disk full") }

func TestNoAnswerBeforeThePushIsRecorded(t *testing.T) {
	f := newFixture(t)
	a := f.clone("a")
	f.commit(a, "one", "1")
	f.repos.Pushes = failing{memstore.NewTable[repos.Push](&memstore.Runner{}, "push")}
	if out, err := f.run(a, "push", "origin", "HEAD:refs/heads/main"); err == nil {
		t.Errorf("the client was told of success although nothing was recorded:\n%s", out)
	}
}

func TestGzippedRequestIsOpened(t *testing.T) {
	f := newFixture(t)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = fmt.Fprint(z, flushPacket)
	f.must(z.Close())
	r := httptest.NewRequest("POST", "/default/My%20Shop/_git/storefront/git-receive-pack", &packed)
	r.Header.Set("Content-Type", "application/x-git-receive-pack-request")
	r.Header.Set("Content-Encoding", "gzip")
	r.SetBasicAuth("", f.writer)
	rec := httptest.NewRecorder()
	f.handler.ServeHTTP(rec, r)
	if rec.Code != 200 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}
