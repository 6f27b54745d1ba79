package task_test

import (
	"fmt"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"penstock.dev/penstock/internal/agent/task/tasktest"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/run"
)

// forge serves real repositories with real git, and keeps what was sent to it.
type forge struct {
	*httptest.Server
	t      *testing.T
	folder string

	mu       sync.Mutex
	sent     []string // Authorization of the requests
	failures int      // how many requests are still to fail
}

func newForge(t *testing.T) *forge {
	t.Helper()
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	for _, who := range []string{"AUTHOR", "COMMITTER"} {
		t.Setenv("GIT_"+who+"_NAME", "ada")
		t.Setenv("GIT_"+who+"_EMAIL", "ada@example.test")
	}
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	f := &forge{t: t, folder: t.TempDir()}
	backend := &cgi.Handler{Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"), Env: []string{"GIT_PROJECT_ROOT=" + f.folder, "GIT_HTTP_EXPORT_ALL=1"}}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.sent = append(f.sent, r.Header.Get("Authorization"))
		fail := f.failures > 0
		f.failures--
		f.mu.Unlock()
		if fail {
			http.Error(w, "not now", http.StatusBadGateway)
			return
		}
		backend.ServeHTTP(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

// git runs git in the folder of a repository and returns what it said.
func (f *forge) git(folder string, args ...string) string {
	f.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = folder
	out, err := cmd.CombinedOutput()
	if err != nil {
		f.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// repository makes one with a commit for each message, and a tag v1 at the first.
func (f *forge) repository(name string, messages ...string) (folder, url string) {
	f.t.Helper()
	folder = filepath.Join(f.folder, name)
	f.git(f.folder, "init", "-q", "-b", "main", name)
	for i, m := range messages {
		for _, file := range []string{"a/" + m, "b/" + m, m} {
			file = filepath.Join(folder, filepath.FromSlash(file))
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				f.t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(m), 0o644); err != nil {
				f.t.Fatal(err)
			}
		}
		f.git(folder, "add", "-A")
		f.git(folder, "commit", "-q", "-m", m)
		if i == 0 {
			f.git(folder, "tag", "v1")
		}
	}
	return folder, f.URL + "/" + name
}

// desk is a job that checks the head of a repository's main branch out.
func (f *forge) desk(folder, url string) *tasktest.Desk {
	d := tasktest.New(f.t)
	d.Job.AccessToken = "token-of-the-job"
	d.Job.Steps = []pipeline.Step{{Task: pipeline.TaskCheckout}}
	d.Job.Repositories = map[string]run.Repository{"self": {Name: "acme/app", URL: url, Ref: "refs/heads/main", Commit: f.git(folder, "rev-parse", "main")}}
	return d
}

func (f *forge) refs(d *tasktest.Desk) string {
	return strings.ReplaceAll(f.git(d.Dir, "for-each-ref", "--format=%(refname) %(subject)"), "\n", ", ")
}

func TestCheckoutBringsWhatItsDepthSays(t *testing.T) {
	f := newForge(t)
	folder, url := f.repository("app", "one", "two", "three")
	f.git(folder, "branch", "release", "HEAD~1")
	d := f.desk(folder, url)
	commit := d.Job.Repositories["self"].Commit
	for _, step := range []struct {
		inputs    map[string]string
		refs, log string
	}{
		{map[string]string{"fetchDepth": "1"}, "refs/remotes/origin/" + commit + " three", "three"},
		{map[string]string{"fetchDepth": "2"}, "refs/remotes/origin/" + commit + " three", "three two"},
		{map[string]string{"fetchDepth": "0", "fetchTags": "false"}, "refs/remotes/origin/main three, refs/remotes/origin/release two", "three two one"},
		{map[string]string{"fetchDepth": "0"}, "refs/remotes/origin/main three, refs/remotes/origin/release two, refs/tags/v1 one", "three two one"},
		{nil, "refs/remotes/origin/main three, refs/remotes/origin/release two, refs/tags/v1 one", "three two one"},
	} {
		if err := d.Run("Checkout@1", step.inputs); err != nil {
			t.Fatalf("%v: %v\n%s", step.inputs, err, d.Log())
		}
		if got := f.refs(d); got != step.refs {
			t.Errorf("%v: refs %s, want %s", step.inputs, got, step.refs)
		}
		if got := strings.ReplaceAll(f.git(d.Dir, "log", "--format=%s"), "\n", " "); got != step.log {
			t.Errorf("%v: history %q, want %q", step.inputs, got, step.log)
		}
	}
}

func TestCheckoutOfPullRequestAndOfCommitThatItsBranchHasLeft(t *testing.T) {
	f := newForge(t)
	folder, url := f.repository("app", "one", "two")
	f.git(folder, "update-ref", "refs/pull/7/merge", "main")
	f.git(folder, "reset", "-q", "--hard", "HEAD~1")
	d := f.desk(folder, url)
	merge := f.git(folder, "rev-parse", "refs/pull/7/merge")
	d.Job.Repositories["self"] = run.Repository{Name: "app", URL: url, Ref: "refs/pull/7/merge", Commit: merge}
	if err := d.Run("Checkout@1", map[string]string{"fetchDepth": "0"}); err != nil {
		t.Fatal(err, d.Log())
	}
	if got, want := f.refs(d), "refs/remotes/origin/main one, refs/remotes/pull/7/merge two, refs/tags/v1 one"; got != want {
		t.Errorf("refs %s, want %s", got, want)
	}
	d = f.desk(folder, url)
	d.Job.Repositories["self"] = run.Repository{Name: "app", URL: url, Ref: "refs/heads/main", Commit: merge}
	if err := d.Run("Checkout@1", map[string]string{"fetchDepth": "0"}); err != nil {
		t.Fatal(err, d.Log())
	}
	if got := f.git(d.Dir, "log", "-1", "--format=%s"); got != "two" {
		t.Errorf("checked out %s", got)
	}
}

func TestCheckoutOfSomeFolders(t *testing.T) {
	f := newForge(t)
	folder, url := f.repository("app", "one", "two")
	d := f.desk(folder, url)
	for _, step := range []struct{ key, value, want string }{
		{"sparseCheckoutDirectories", "a", "a/one a/two one two"},
		{"sparseCheckoutPatterns", "/b/one two", "a/two b/one b/two two"},
		{"fetchDepth", "1", "a/one a/two b/one b/two one two"},
	} {
		if err := d.Run("Checkout@1", map[string]string{step.key: step.value}); err != nil {
			t.Fatal(err, d.Log())
		}
		if got := strings.ReplaceAll(f.git(d.Dir, "ls-files", "-t"), "\n", " "); strings.ReplaceAll(kept(got), "H ", "") != step.want {
			t.Errorf("%s %q: %q, want %q", step.key, step.value, kept(got), step.want)
		}
	}
}

// kept are the files of a listing that are in the folder.
func kept(listing string) string {
	var list []string
	fields := strings.Fields(listing)
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] == "H" {
			list = append(list, fields[i+1])
		}
	}
	return strings.Join(list, " ")
}

func TestCheckoutTriesAgain(t *testing.T) {
	f := newForge(t)
	folder, url := f.repository("app", "one")
	d := f.desk(folder, url)
	f.failures = 2
	if err := d.Run("Checkout@1", map[string]string{"fetchDepth": "1"}); err != nil {
		t.Fatal(err, d.Log())
	}
	if got := strings.Join(d.Issues, "; "); got != "warning: Git fetch failed with exit code: 128, back off 1s before retry.; warning: Git fetch failed with exit code: 128, back off 2s before retry." {
		t.Errorf("issues %s", got)
	}
	f.failures = 3
	d = f.desk(folder, url)
	if err := d.Run("Checkout@1", nil); err == nil {
		t.Error("a fetch that fails three times: the checkout went well")
	}
}

func TestCredentialsGoToTheirHostAlone(t *testing.T) {
	f, other := newForge(t), newForge(t)
	_, library := other.repository("library", "code")
	library = strings.Replace(library, "127.0.0.1", "localhost", 1)
	folder, url := f.repository("app", "one")
	f.git(folder, "submodule", "--quiet", "add", library, "library")
	f.git(folder, "commit", "-q", "-m", "library")
	d := f.desk(folder, url)
	f.sent, other.sent = nil, nil
	in := map[string]string{"submodules": "true", "persistCredentials": "true", "fetchDepth": "1"}
	for range 2 { // the second time the folder has what the first one left
		if err := d.Run("Checkout@1", in); err != nil {
			t.Fatal(err, d.Log())
		}
	}
	if got := d.Read("library/code"); got != "code" {
		t.Errorf("the submodule has %q", got)
	}
	for _, a := range f.sent {
		if !strings.HasPrefix(a, "Basic ") {
			t.Errorf("the repository's own host got %q", a)
		}
	}
	if len(f.sent) == 0 || len(other.sent) == 0 || strings.Join(other.sent, "") != "" {
		t.Errorf("own host %d requests, the other %d with %q", len(f.sent), len(other.sent), other.sent)
	}
	key := "http." + url + ".extraheader"
	if got := f.git(d.Dir, "config", "--get-all", key); !strings.HasPrefix(got, "Authorization: Basic ") || strings.Contains(got, "\n") {
		t.Errorf("kept for later steps: %q", got)
	}
	if strings.Contains(d.Log(), "token-of-the-job") {
		t.Error("the token is in the log")
	}
	if err := d.After("Checkout@1", in); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(strings.ToLower(d.Read(".git/config")), "extraheader") {
		t.Errorf("left after the job:\n%s", d.Read(".git/config"))
	}
}

func TestSeveralCheckoutsAndTheWorkspaceRepository(t *testing.T) {
	f := newForge(t)
	folder, url := f.repository("app", "one")
	d := f.desk(folder, url)
	d.Job.Steps = []pipeline.Step{{Task: pipeline.TaskCheckout, Inputs: map[string]string{"repository": "self"}}, {Task: pipeline.TaskCheckout, Inputs: map[string]string{"repository": "tools"}}}
	tools := d.Job.Repositories["self"]
	tools.Name = "tools"
	d.Job.Repositories["tools"] = tools
	for _, in := range []map[string]string{{"repository": "self"}, {"repository": "Tools", "workspaceRepo": "true"}} {
		if err := d.Run("Checkout@1", in); err != nil {
			t.Fatal(err, d.Log())
		}
	}
	got := fmt.Sprint(d.Vars["system.defaultworkingdirectory"], d.Vars["build.sourcesdirectory"], d.Vars["build.repository.localpath"])
	if want := fmt.Sprint(filepath.Join(d.Dir, "tools"), d.Dir, filepath.Join(d.Dir, "app")); got != want {
		t.Errorf("folders %s, want %s", got, want)
	}
	if title := d.Job.CheckoutTitle(d.Job.Steps[0]); title != "Checkout acme/app@main to s/app" {
		t.Errorf("title %q", title)
	}
}

func TestRelativeSubmoduleOfAFolderThatWasClonedElsewhere(t *testing.T) {
	f, home := newForge(t), newForge(t)
	_, library := home.repository("library", "code")
	folder, url := f.repository("app", "one")
	f.git(folder, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", library, "library")
	f.git(folder, "config", "-f", ".gitmodules", "submodule.library.url", "../library")
	f.git(folder, "commit", "-q", "-a", "-m", "library")
	d := f.desk(folder, url)
	self := d.Job.Repositories["self"]
	self.Origin = home.URL + "/app"
	d.Job.Repositories["self"] = self
	if err := d.Run("Checkout@1", map[string]string{"submodules": "recursive"}); err != nil {
		t.Fatal(err, d.Log())
	}
	if got := d.Read("library/code"); got != "code" {
		t.Errorf("the submodule has %q\n%s", got, d.Log())
	}
}

// What a pipeline sets as a variable counts more than what the step says.
func TestVariablesOfACheckout(t *testing.T) {
	f := newForge(t)
	folder, url := f.repository("app", "one", "two", "three")
	for _, c := range []struct{ variable, value, depth, want string }{
		{"agent.source.git.shallowfetchdepth", "2", "0", "2"},
		{"agent.source.git.shallowfetchdepth", "0", "1", "3"},
		{"agent.source.git.shallowfetchdepth", "all", "1", "1"},
		{"agent.source.skip", "true", "1", ""},
		{"build.syncsources", "false", "1", ""},
		{"build.syncsources", "true", "1", "1"},
	} {
		d := f.desk(folder, url)
		d.Vars[c.variable] = c.value
		if err := d.Run("Checkout@1", map[string]string{"fetchDepth": c.depth}); err != nil {
			t.Fatal(err, d.Log())
		}
		got := ""
		if d.Read("one") != "" {
			got = f.git(d.Dir, "rev-list", "--count", "HEAD")
		}
		if got != c.want {
			t.Errorf("%s = %s: %q commits, want %q", c.variable, c.value, got, c.want)
		}
	}
}

func TestCheckoutWithoutCredentialsOfTheAgent(t *testing.T) {
	f := newForge(t)
	folder, url := f.repository("app", "one")
	d := f.desk(folder, url)
	d.Vars["system.selfmanagegitcreds"] = "true"
	in := map[string]string{"persistCredentials": "true"}
	if err := d.Run("Checkout@1", in); err != nil {
		t.Fatal(err, d.Log())
	}
	if err := d.After("Checkout@1", in); err != nil {
		t.Fatal(err)
	}
	if len(f.sent) == 0 || strings.Join(f.sent, "") != "" || strings.Contains(strings.ToLower(d.Read(".git/config")), "extraheader") {
		t.Errorf("%d requests with %q, configuration\n%s", len(f.sent), f.sent, d.Read(".git/config"))
	}
}

// A git that was ended leaves locks; a folder that git cannot clean is filled anew.
func TestCheckoutAfterOneThatWasEnded(t *testing.T) {
	f := newForge(t)
	folder, url := f.repository("app", "one")
	d := f.desk(folder, url)
	again := func(clean string) {
		t.Helper()
		d.Issues = nil
		if err := d.Run("Checkout@1", map[string]string{"fetchDepth": "1", "clean": clean}); err != nil || d.Read("one") != "one" {
			t.Fatal(err, d.Log())
		}
	}
	again("true")
	d.Write(map[string]string{".git/index.lock": "", ".git/shallow.lock": "", ".git/config.lock": "", ".git/HEAD.lock": "", "own": "kept"})
	again("false")
	if d.Read("own") == "" || len(d.Issues) != 0 {
		t.Errorf("the folder was emptied: %q", d.Issues)
	}
	f.git(d.Dir, "config", "http.proxy", "http://ada:hunter-22@127.0.0.1:1")
	again("true")
	if d.Read("own") != "" || len(d.Issues) != 0 || strings.Contains(d.Read(".git/config"), "hunter-22") {
		t.Errorf("issues %q, configuration\n%s", d.Issues, d.Read(".git/config"))
	}
	d.Write(map[string]string{".git/HEAD": "nonsense", "own": "of before"})
	again("true")
	if d.Read("own") != "" || len(d.Issues) != 1 || !strings.Contains(d.Issues[0], "cannot be cleaned") {
		t.Errorf("issues %q, own %q", d.Issues, d.Read("own"))
	}
}
