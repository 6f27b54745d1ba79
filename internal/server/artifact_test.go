package server

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"penstock.dev/penstock/internal/adapter/blobstore"
	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/rest"
	"penstock.dev/penstock/internal/base/rootfs"
	"penstock.dev/penstock/internal/domain/artifact"
	"penstock.dev/penstock/internal/domain/artifact/tree"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/run"
)

// cutting passes connections on to a server, and breaks each after so many bytes
// of either direction.
type cutting struct {
	listener net.Listener
	to       string
	after    int64
	cuts     atomic.Int64
}

func newCutting(t *testing.T, to string, after int64) *cutting {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutting{listener: l, to: to, after: after}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { c.pass(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return c
}

func (c *cutting) pass(client net.Conn) {
	server, err := net.Dial("tcp", c.to)
	if err != nil {
		_ = client.Close()
		return
	}
	left := c.after
	var mu sync.Mutex
	end := func() { _, _ = client.Close(), server.Close() }
	spend := func(n int) bool {
		mu.Lock()
		defer mu.Unlock()
		if left -= int64(n); left <= 0 && left+int64(n) > 0 {
			c.cuts.Add(1)
		}
		return left > 0
	}
	half := func(to, from net.Conn) {
		defer end()
		buf := make([]byte, 32<<10)
		for {
			n, err := from.Read(buf)
			if n > 0 && !spend(n) {
				return
			}
			if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
				return
			}
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { half(server, client) })
	wg.Go(func() { half(client, server) })
	wg.Wait()
}

// remote is what an agent has of the server, at an address.
func (w *world) remote(address string) (*task.Remote, string) {
	w.t.Helper()
	if _, err := w.identity.CreateUser(w.ctx, "agent", "", ""); err != nil {
		w.t.Fatal(err)
	}
	if err := w.identity.GrantRole(w.ctx, "agent", identity.ProjectAdministrator, w.project.ID); err != nil {
		w.t.Fatal(err)
	}
	u, err := w.identity.UserByName(w.ctx, "agent")
	if err != nil {
		w.t.Fatal(err)
	}
	token, _, err := w.identity.IssueToken(w.ctx, identity.Token{Kind: identity.PersonalToken, OwnerID: u.ID, Name: "test", Expires: time.Now().Add(time.Hour)})
	if err != nil {
		w.t.Fatal(err)
	}
	p := w.pipeline("ci", "azure-pipelines.yml")
	w.push("main", map[string]string{"azure-pipelines.yml": "trigger: none\nsteps:\n- checkout: none\n"})
	r, err := w.runs.QueueRun(w.ctx, run.QueueRequest{Pipeline: p, Branch: "refs/heads/main", Reason: run.Manual, By: identity.System()})
	if err != nil {
		w.t.Fatal(err)
	}
	w.wait(r.ID)
	transport := &http.Transport{}
	w.t.Cleanup(transport.CloseIdleConnections)
	return &task.Remote{Client: &rest.Client{Base: "http://" + address + "/default/shop", Token: token, HTTP: &http.Client{Transport: transport}}}, r.ID
}

// bulk writes files that do not repeat: one of many chunks, and many of one.
func bulk(t *testing.T, dir string) {
	t.Helper()
	noise := func(n, seed int) []byte {
		data, x := make([]byte, n), uint64(seed)*0x9e3779b97f4a7c15+1
		for i := range data {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
			data[i] = byte(x)
		}
		return data
	}
	for i := range 300 {
		if err := os.WriteFile(filepath.Join(dir, "f"+strconv.Itoa(i)), noise(10_000, i), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "large"), noise(24<<20, 4711), 0o755); err != nil {
		t.Fatal(err)
	}
}

// Connections that break again and again lose nothing: what has arrived does not
// travel twice, and what comes down is what went up.
func TestArtifactsThroughBrokenConnections(t *testing.T) {
	w := newWorld(t)
	server := strings.TrimPrefix(strings.Replace(w.URL(), "localhost", "127.0.0.1", 1), "http://")
	cut := newCutting(t, server, 6<<20)
	remote, id := w.remote(cut.listener.Addr().String())
	in, out := t.TempDir(), t.TempDir()
	bulk(t, in)
	x := tree.Transfer{} // with its pauses: the server may still be keeping what arrived before the cut
	p, err := x.Publish(t.Context(), in, nil, remote.Sink(id, "drop", "1"))
	if err != nil {
		t.Fatal(err)
	}
	up := cut.cuts.Load()
	n, err := x.Fetch(t.Context(), tree.Request{Digest: p.Digest.String(), Folder: out, Limits: rootfs.DefaultLimits}, remote.Source(id, "drop"))
	if err != nil || n != 301 {
		t.Fatalf("%d entries, %v", n, err)
	}
	if down := cut.cuts.Load() - up; up < 2 || down < 2 {
		t.Errorf("%d connections were cut on the way up, %d on the way down", up, down)
	}
	same(t, in, out)
	// The same once more brings no chunk, and no other step may publish it.
	again, err := x.Publish(t.Context(), in, nil, remote.Sink(id, "drop", "1"))
	if err != nil || again.Sent != 0 || again.Digest != p.Digest {
		t.Errorf("again: %+v %v", again, err)
	}
	if _, err := x.Publish(t.Context(), in, nil, remote.Sink(id, "drop", "2")); err == nil || !strings.Contains(err.Error(), "Artifact drop already exists for build") {
		t.Errorf("another step: %v", err)
	}
}

func same(t *testing.T, a, b string) {
	t.Helper()
	for _, dir := range [][2]string{{a, b}, {b, a}} {
		entries, err := os.ReadDir(dir[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			one, err := os.ReadFile(filepath.Join(dir[0], e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			other, err := os.ReadFile(filepath.Join(dir[1], e.Name()))
			if err != nil || string(one) != string(other) {
				t.Errorf("%s differs: %v", e.Name(), err)
			}
			i, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			if j, err := os.Stat(filepath.Join(dir[1], e.Name())); err != nil || i.Mode() != j.Mode() {
				t.Errorf("%s: %v %v", e.Name(), i.Mode(), err)
			}
		}
	}
}

// A server that starts on a folder has the artifacts that were published there.
func TestArtifactsOutliveTheServer(t *testing.T) {
	w := newWorld(t)
	remote, id := w.remote(strings.TrimPrefix(w.URL(), "http://"))
	in := t.TempDir()
	bulk(t, in)
	p, err := (tree.Transfer{}).Publish(t.Context(), in, nil, remote.Sink(id, "drop", "1"))
	if err != nil {
		t.Fatal(err)
	}
	// The copy is what a kill at this moment leaves; the database is not copied.
	killed := t.TempDir()
	if err := os.CopyFS(killed, os.DirFS(filepath.Join(w.cfg.Data, "blobs"))); err != nil {
		t.Fatal(err)
	}
	blobs, err := blobstore.OpenFolder(killed)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = blobs.Close() }()
	next := &artifact.Service{Artifacts: w.artifacts.Artifacts, Uses: w.artifacts.Uses, Tx: w.artifacts.Tx, Blobs: blobs}
	a, err := next.Find(w.ctx, id, "drop")
	if err != nil || a.Digest != p.Digest.String() {
		t.Fatalf("%+v %v", a, err)
	}
	if err := next.Zip(w.ctx, a, io.Discard); err != nil {
		t.Error(err)
	}
}

// A download of another pipeline's newest run takes what its inputs allow.
func TestDownloadOfTheNewestRun(t *testing.T) {
	w := newWorld(t)
	maker, reader := w.pipeline("make", "make.yml"), w.pipeline("read", "read.yml")
	files := map[string]string{"make.yml": `
trigger: none
parameters: [{ name: good, type: boolean, default: true }]
steps:
- checkout: none
- bash: echo "by $BUILD_BUILDID" > "$PIPELINE_WORKSPACE/made.txt"; echo "##vso[build.addbuildtag]good-${{ parameters.good }}"
- publish: $(Pipeline.Workspace)/made.txt
  artifact: drop
- bash: '[ ${{ parameters.good }} = True ]'
`, "read.yml": `
trigger: none
parameters: [{ name: inputs, type: object, default: {} }]
steps:
- checkout: none
- task: DownloadPipelineArtifact@2
  inputs:
    source: specific
    artifact: drop
    ${{ insert }}: ${{ parameters.inputs }}
- bash: echo "made $(cat "$PIPELINE_WORKSPACE/made.txt")"
`}
	w.push("main", files)
	w.push("side", map[string]string{"other": "x"})
	start := func(p *run.Pipeline, branch string, parameters map[string]any) *run.Detail {
		t.Helper()
		r, err := w.runs.QueueRun(w.ctx, run.QueueRequest{Pipeline: p, Branch: "refs/heads/" + branch, Parameters: parameters, Reason: run.Manual, By: identity.System()})
		if err != nil {
			t.Fatal(err)
		}
		return w.wait(r.ID)
	}
	for i, c := range []struct {
		branch string
		good   bool
	}{{"main", true}, {"main", false}, {"side", true}} {
		if d := start(maker, c.branch, map[string]any{"good": c.good}); (d.Run.Result == run.Succeeded) != c.good {
			t.Fatalf("%d: %s\n%s", i, d.Run.Result, w.log(d))
		}
	}
	for _, c := range []struct{ inputs, want string }{
		{"pipeline=make", "made by 3"},
		{"pipeline=make;runVersion=latestFromBranch;runBranch=refs/heads/main", "made by 1"},
		{"pipeline=make;runVersion=latestFromBranch;runBranch=refs/heads/main;allowFailedBuilds=true", "made by 2"},
		{"pipeline=1;tags=good-False;allowFailedBuilds=true", "made by 2"},
		{"pipeline=make;tags=never", "has no run to download from"},
		{"pipeline=nobody", "nobody"},
		{"pipeline=make;project=other", "is not the project of this run"},
		{"runId=2", "made by 2"},
		{"runVersion=latest", "not known which run"},
	} {
		inputs := map[string]any{"project": "$(System.TeamProjectId)"}
		for pair := range strings.SplitSeq(c.inputs, ";") {
			name, value, _ := strings.Cut(pair, "=")
			inputs[name] = value
		}
		d := start(reader, "main", map[string]any{"inputs": inputs})
		if text := w.log(d); !strings.Contains(text, c.want) || (d.Run.Result == run.Succeeded) != strings.HasPrefix(c.want, "made") {
			t.Errorf("%s: %s, want %s\n%s", c.inputs, d.Run.Result, c.want, text)
		}
	}
}
