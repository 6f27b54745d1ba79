package server

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"penstock.dev/penstock/internal/base/worktree"
	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/repos"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/edge/runview"
)

// TestConformance runs every pipeline of testdata/conformance twice, without a
// server and on one, and wants the same lines and results of both: those that
// stand behind `-- want --`. Lines of checkouts are left out, they name commits,
// and so is what every log begins and ends with.
func TestConformance(t *testing.T) {
	paths, err := filepath.Glob("testdata/conformance/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatal("no cases", err)
	}
	w := newWorld(t)
	if _, err := w.environments.Create(w.ctx, w.project.ID, "test", ""); err != nil { // without a server it is made
		t.Fatal(err)
	}
	t.Run("cases", func(t *testing.T) {
		for _, path := range paths {
			t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
				t.Parallel()
				conformanceCase(t, w, path)
			})
		}
	})
}

func conformanceCase(t *testing.T, w *world, path string) {
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	name, want := strings.TrimSuffix(filepath.Base(path), ".txtar"), ""
	folder := filepath.Join(t.TempDir(), name)
	archive.Files = slices.DeleteFunc(archive.Files, func(f txtar.File) bool {
		if f.Name == "want" {
			want = string(f.Data)
		}
		return f.Name == "want"
	})
	for _, f := range archive.Files {
		file := filepath.Join(folder, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	local := runLocally(t, folder)
	remote := w.runCase(t, name, folder)
	if remote != local {
		t.Errorf("on a server:\n%s\nwithout one:\n%s", remote, local)
	}
	if *update {
		archive.Files = append(archive.Files, txtar.File{Name: "want", Data: []byte(local)})
		if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if local != want {
		t.Errorf("got:\n%s\nwant:\n%s", local, want)
	}
}

func runLocally(t *testing.T, folder string) string {
	t.Helper()
	var o conformanceOutline
	_, err := RunLocal(context.Background(), LocalOptions{Root: folder, File: "azure-pipelines.yml", Folder: t.TempDir(), Reason: run.Manual, Jobs: 2, Version: "test",
		Log: slog.New(slog.DiscardHandler), Event: o.event,
		Approve: func(context.Context, Question) (environment.ApprovalStatus, error) { return environment.Approved, nil }})
	if err != nil {
		t.Fatal(err)
	}
	return o.String()
}

// runCase runs the folder as a repository of the server.
func (w *world) runCase(t *testing.T, name, folder string) string {
	t.Helper()
	id := w.queueCase(t, name, folder)
	follower, o := &run.Follower{Logs: w.runs.Logs}, &conformanceOutline{}
	w.until("the end of "+name, func() bool {
		d, err := w.runs.Load(w.ctx, id)
		if err != nil {
			return false
		}
		events, err := follower.Next(w.ctx, d)
		for _, e := range events {
			o.event(e)
		}
		return err == nil && d.Run.State == run.Completed && !follower.Behind()
	})
	return o.String()
}

func (w *world) queueCase(t *testing.T, name, folder string) string {
	t.Helper()
	repo, err := w.repos.Create(w.ctx, w.project.ID, name)
	if err != nil {
		t.Fatal(err)
	}
	s := &worktree.Snapshot{Git: "git", Folder: folder, Bare: filepath.Join(w.cfg.Data, "git", repo.ID+".git"), Index: filepath.Join(t.TempDir(), "index")}
	branch, commit, _, err := s.Take(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	p, err := w.runs.CreatePipeline(w.ctx, w.project.ID, name, repo, "azure-pipelines.yml", nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := w.runs.QueueRun(w.ctx, run.QueueRequest{Pipeline: p, Branch: repos.FullBranch(branch), Commit: commit, Reason: run.Manual, By: identity.System(), Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	return r.ID
}

// What differs between two runs: where the agent works, the number of the run,
// and when an archive was packed.
var (
	workFolder = regexp.MustCompile(`/[^ '"]*work/[0-9]+/([0-9]+|_temp)`)
	digest     = regexp.MustCompile(`sha256:[0-9a-f]{64}`)
	size       = regexp.MustCompile(`: [0-9]+ bytes`)
	build      = regexp.MustCompile(`build [0-9]+`)
	called     = regexp.MustCompile(`^\[command\]\S*/`) // where programs are differs from machine to machine
	header     = regexp.MustCompile(`^(={78}|(Task|Description|Version|Author|Help) {2,}: .*)$`)
	script     = regexp.MustCompile(`WORK/[0-9]+\.`)
)

func steady(line string) string {
	line = digest.ReplaceAllString(workFolder.ReplaceAllString(line, "WORK"), "sha256:…")
	line = script.ReplaceAllString(called.ReplaceAllString(line, "[command]"), "WORK/N.")
	line = strings.Replace(line, "[command]python3 ", "[command]python ", 1) // what there is
	return build.ReplaceAllString(size.ReplaceAllString(line, ": N bytes"), "build N")
}

// conformanceOutline orders events by place: jobs run beside each other.
type conformanceOutline struct{ places map[string]*strings.Builder }

func (o *conformanceOutline) event(e run.Event) {
	if o.places == nil {
		o.places = map[string]*strings.Builder{}
	}
	if e.Type == "log" && (strings.HasPrefix(e.Step, "Checkout ") || runview.Frames(e.Line) || header.MatchString(e.Line)) {
		return
	}
	place := strings.Join(slices.DeleteFunc([]string{e.Stage, e.Job}, func(s string) bool { return s == "" }), "/")
	if o.places[place] == nil {
		o.places[place] = &strings.Builder{}
	}
	where := cmp.Or(strings.TrimPrefix(place+"/"+e.Step, "/"), e.Type)
	where = strings.TrimSuffix(where, "/")
	switch {
	case e.Type == "log":
		fmt.Fprintf(o.places[place], "%s | %s\n", where, steady(e.Line))
	case e.Issues != nil && e.Issues.Errors+e.Issues.Warnings > 0:
		fmt.Fprintf(o.places[place], "%s: %s, %d errors, %d warnings\n", where, e.Result, e.Issues.Errors, e.Issues.Warnings)
	default:
		fmt.Fprintf(o.places[place], "%s: %s%s\n", where, e.Result, strings.TrimRight(" "+e.Cause, " "))
	}
}

// String has jobs before their stage, and the run last.
func (o *conformanceOutline) String() string {
	var b strings.Builder
	depth := func(place string) int { return strings.Count(place, "/") }
	for _, place := range slices.SortedFunc(maps.Keys(o.places), func(x, y string) int {
		return cmp.Or(cmp.Compare(depth(y), depth(x)), strings.Compare(x, y))
	}) {
		if place != "" {
			b.WriteString(o.places[place].String())
		}
	}
	if end := o.places[""]; end != nil {
		b.WriteString(end.String())
	}
	return b.String()
}
