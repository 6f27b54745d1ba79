package localrun

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

func TestBegunRun(t *testing.T) {
	root := t.TempDir()
	for n := 3; n <= 30; n++ {
		if err := os.MkdirAll(filepath.Join(runsFolder(root), strconv.Itoa(n), "work"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	left := filepath.Join(runsFolder(root), "2"+goneMark) // of a process that was killed
	if err := os.MkdirAll(filepath.Join(left, "work"), 0o755); err != nil {
		t.Fatal(err)
	}
	taken := ""
	take := func(ctx context.Context, _, folder, file string) (any, func()) {
		return "the tree", func() {
			if taken != "" { // by the first; the others are in vain
				<-ctx.Done()
			}
			taken = folder + " " + file
		}
	}
	b, err := Begin(t.Context(), root, "ci.yml", take)
	if err != nil {
		t.Fatal(err)
	}
	r := &Request{}
	b.Use(r)
	b.End()
	if want := filepath.Join(runsFolder(root), "31"); r.Folder != want || b.Number != 31 || r.Tree != "the tree" || taken != want+" ci.yml" {
		t.Errorf("run %d in %s with %v; taken %q", b.Number, r.Folder, r.Tree, taken)
	}
	all, err := numbers(root)
	if err != nil || len(all) != kept || all[0] != 12 || all[kept-1] != 31 {
		t.Errorf("kept are %v, %v", all, err)
	}
	if _, err := os.Stat(left); err == nil {
		t.Error("what a killed process left is still there")
	}
	for _, drop := range []func(*Begun){func(*Begun) {}, func(b *Begun) { b.Use(r); b.Drop() }} {
		b, err := Begin(t.Context(), root, "ci.yml", take)
		if err != nil {
			t.Fatal(err)
		}
		drop(b)
		b.End()
		if _, err := os.Stat(b.Folder); err == nil || b.Number != 32 {
			t.Errorf("run %d that never was has a folder", b.Number)
		}
	}
}
