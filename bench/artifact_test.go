package bench

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/rest"
	"penstock.dev/penstock/internal/base/rootfs"
	"penstock.dev/penstock/internal/domain/artifact/tree"
)

// The tree of the budget.
const (
	treeFiles  = 10_000
	treeFolder = 100 // files
	treeFile   = 20_000
)

// fill writes the tree with content that never was before, and that no
// compression makes smaller.
func fill(b *testing.B, dir string, seed uint64) {
	b.Helper()
	var key [32]byte
	key[0], key[1], key[2] = byte(seed), byte(seed>>8), 1
	random := rand.NewChaCha8(key)
	data := make([]byte, treeFile)
	for i := range treeFiles {
		folder := filepath.Join(dir, fmt.Sprintf("d%03d", i/treeFolder))
		if i%treeFolder == 0 {
			if err := os.MkdirAll(folder, 0o755); err != nil {
				b.Fatal(err)
			}
		}
		_, _ = random.Read(data)
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("f%05d", i)), data, 0o644); err != nil {
			b.Fatal(err)
		}
	}
}

// signedIn makes a project with a run on a started server, and returns what an
// agent needs to write to it.
func signedIn(b *testing.B, bin string, i *instance) (*task.Remote, string) {
	b.Helper()
	home := b.TempDir()
	var password []string
	for began := time.Now(); password == nil; password = regexp.MustCompile(`Password +(\S+)`).FindStringSubmatch(i.out.String()) {
		if time.Since(began) > time.Minute {
			b.Fatalf("no password:\n%s", i.out.String())
		}
		<-time.After(time.Millisecond)
	}
	run := func(stdin, name string, args ...string) string {
		cmd := exec.Command(name, args...)
		cmd.Dir, cmd.Stdin = home, strings.NewReader(stdin)
		cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "PENSTOCK_SERVER="+i.url, "PENSTOCK_PROJECT=shop", "GIT_CONFIG_GLOBAL=/dev/null",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.test", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.test")
		var errs strings.Builder
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			b.Fatalf("%s %v: %v\n%s%s", name, args, err, out, errs.String())
		}
		return strings.TrimSpace(string(out))
	}
	run(password[1]+"\n", bin, "login", i.url, "--user", "admin")
	run("", bin, "project", "create", "shop")
	run("", bin, "repo", "create", "app")
	if err := os.WriteFile(filepath.Join(home, "azure-pipelines.yml"), []byte("trigger: none\nsteps:\n- checkout: none\n"), 0o644); err != nil {
		b.Fatal(err)
	}
	run("", "git", "init", "-q", "-b", "main", ".")
	run("", "git", "add", "azure-pipelines.yml")
	run("", "git", "commit", "-q", "-m", "a")
	token := regexp.MustCompile(`pst_[0-9A-Za-z_-]+`).FindString(run("", bin, "token", "create", "bench", "-o", "json"))
	basic := base64.StdEncoding.EncodeToString([]byte("admin:" + token))
	run("", "git", "-c", "http.extraHeader=Authorization: Basic "+basic, "push", "-q", i.url+"/default/shop/_git/app", "main")
	run("", bin, "pipeline", "create", "ci", "--repo", "app", "--path", "azure-pipelines.yml")
	run("", bin, "pipeline", "run", "ci", "--watch")
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 16
	client := &rest.Client{Base: i.url + "/default/shop", Token: token, HTTP: &http.Client{Transport: transport}}
	return &task.Remote{Client: client}, "1"
}

// BenchmarkArtifact: 10 000 files of 20 kB are published to a server and
// downloaded from it, over HTTP on this machine, and go through tar, cat and tar
// right before and after. Budget: 1.5 times as long as tar. What is published is
// on the disk when it is acknowledged; what tar writes is not.
func BenchmarkArtifact(b *testing.B) {
	bin, dir := build(b), b.TempDir()
	i, _ := start(b, bin, filepath.Join(dir, "data"))
	defer i.stop()
	remote, run := signedIn(b, bin, i)
	var ups, downs, repeats, tars, ratios []float64
	for n := uint64(0); b.Loop(); n++ {
		b.StopTimer()
		source, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
		fill(b, source, n)
		settle(b)
		before := throughTar(b, source, out)
		settle(b)
		b.StartTimer()
		up, down, again := through(b, remote, run, source, out, fmt.Sprint("t", n))
		b.StopTimer()
		settle(b)
		tar := (before + throughTar(b, source, out)) / 2
		b.StartTimer()
		ups, downs, repeats, tars, ratios = append(ups, up), append(downs, down), append(repeats, again), append(tars, tar), append(ratios, (up+down)/tar)
	}
	median := func(list []float64) float64 {
		slices.Sort(list)
		return list[len(list)/2]
	}
	b.ReportMetric(median(ups)*1000, "publish-ms")
	b.ReportMetric(median(downs)*1000, "download-ms")
	b.ReportMetric(median(repeats)*1000, "again-ms")
	b.ReportMetric(median(tars)*1000, "tar-ms")
	b.ReportMetric(median(ratios), "ratio")
	b.ReportMetric(0, "ns/op")
}

// settle lets the disk finish what was written before.
func settle(b *testing.B) {
	b.Helper()
	if err := exec.Command("sync").Run(); err != nil {
		b.Fatal(err)
	}
}

func fresh(b *testing.B, dir string) {
	b.Helper()
	if err := os.RemoveAll(dir); err != nil {
		b.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.Fatal(err)
	}
}

func throughTar(b *testing.B, source, out string) float64 {
	b.Helper()
	fresh(b, out)
	began := time.Now()
	if text, err := exec.Command("sh", "-c", `tar -c -C "$0" . | cat | tar -x -C "$1"`, source, out).CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, text)
	}
	return time.Since(began).Seconds()
}

// through returns the seconds of publishing, of downloading, and of publishing
// the same again under another name.
func through(b *testing.B, remote *task.Remote, run, source, out, name string) (up, down, again float64) {
	b.Helper()
	fresh(b, out)
	var x tree.Transfer
	began := time.Now()
	p, err := x.Publish(b.Context(), source, nil, remote.Sink(run, name, "s"))
	if err != nil || p.Files != treeFiles || p.Sent != treeFiles*treeFile {
		b.Fatalf("%+v %v", p, err)
	}
	up = time.Since(began).Seconds()
	began = time.Now()
	n, err := x.Fetch(b.Context(), tree.Request{Digest: p.Digest.String(), Folder: out, Limits: rootfs.DefaultLimits}, remote.Source(run, name))
	if err != nil || n < treeFiles {
		b.Fatalf("%d %v", n, err)
	}
	down = time.Since(began).Seconds()
	began = time.Now()
	if p, err = x.Publish(b.Context(), source, nil, remote.Sink(run, name+"again", "s")); err != nil || p.Sent != 0 {
		b.Fatalf("%+v %v", p, err)
	}
	return up, down, time.Since(began).Seconds()
}
