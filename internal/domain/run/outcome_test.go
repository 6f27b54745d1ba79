package run

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"penstock.dev/penstock/internal/base/broadcast"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/memstore"
)

func TestTags(t *testing.T) {
	tx := &memstore.Runner{}
	s := &Service{Store: Store{Runs: memstore.NewTable[Run](tx, "run")}, Tx: tx, Hub: &broadcast.Hub{}}
	ctx := t.Context()
	if err := s.Runs.Insert(ctx, &Run{ID: "1", Num: 1, Dedup: "1"}); err != nil {
		t.Fatal(err)
	}
	many := make([]string, MaxTags+1)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	for _, c := range []struct {
		add, remove []string
		want, code  string
	}{
		{[]string{"a", "B", "A"}, nil, "a B", ""},
		{[]string{"b", "with, comma"}, nil, "a B with, comma", ""},
		{nil, []string{"WITH, comma", "none"}, "a B", ""},
		{[]string{"c"}, []string{"a"}, "B c", ""},
		{[]string{""}, nil, "B c", "invalid-tag"},
		{[]string{" x"}, nil, "B c", "invalid-tag"},
		{[]string{"x\ny"}, nil, "B c", "invalid-tag"},
		{[]string{strings.Repeat("x", 257)}, nil, "B c", "invalid-tag"},
		{many, nil, "B c", "too-many-tags"},
	} {
		_, err := s.Tag(ctx, "1", c.add, c.remove)
		if err != nil && fault.CodeOf(err) != c.code || err == nil && c.code != "" {
			t.Errorf("%v: %v", c.add, err)
		}
		r, err := s.Runs.Get(ctx, "1")
		if err != nil || strings.Join(r.Tags, " ") != c.want {
			t.Errorf("%q: %q, want %q", c.add, r.Tags, c.want)
		}
	}
	if _, err := s.Tag(ctx, "2", []string{"a"}, nil); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
}

func TestTagsOfSeveralJobsAreAllKept(t *testing.T) {
	tx := &memstore.Runner{}
	s := &Service{Store: Store{Runs: memstore.NewTable[Run](tx, "run")}, Tx: tx, Hub: &broadcast.Hub{}}
	if err := s.Runs.Insert(t.Context(), &Run{ID: "1", Num: 1, Dedup: "1"}); err != nil {
		t.Fatal(err)
	}
	var jobs sync.WaitGroup
	for i := range 20 {
		jobs.Go(func() {
			if _, err := s.Tag(t.Context(), "1", []string{fmt.Sprint(i)}, nil); err != nil {
				t.Error(err)
			}
		})
	}
	jobs.Wait()
	if r, err := s.Runs.Get(t.Context(), "1"); err != nil || len(r.Tags) != 20 {
		t.Errorf("%v %v", r.Tags, err)
	}
}

type pagedLogs struct{ lines int }

func (pagedLogs) Append(context.Context, string, int64, []byte) (int64, int, error) { return 0, 0, nil }

func (p pagedLogs) Lines(_ context.Context, log string, from, limit int) ([]string, int, error) {
	var out []string
	for i := from; i <= p.lines && len(out) < limit; i++ {
		out = append(out, fmt.Sprintf("%s %d", log, i))
	}
	return out, p.lines, nil
}

func TestLogArchive(t *testing.T) {
	var buf bytes.Buffer
	step := func(name string) Step { return Step{Order: 1, DisplayName: name, State: Completed} }
	d := &Detail{Jobs: []*Job{{ID: "a", Stage: "build", Name: "one", Attempt: 1, Steps: []Step{step("../../etc/passwd"), step("../../etc/passwd"), {Order: 3, State: Pending}}},
		{ID: "b", Stage: "build", Name: "one", Attempt: 2, Steps: []Step{step(strings.Repeat("long", 100))}}}}
	a := &LogArchive{Zip: zip.NewWriter(&buf), Logs: pagedLogs{archivePage + 1}}
	for _, err := range []error{a.Add(t.Context(), d), a.File(d, "b", 1, "x.txt", strings.NewReader("x")), a.File(d, "../gone", 1, "..", strings.NewReader("x")), a.Zip.Close()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	r, err := zip.NewReader(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range r.File {
		names = append(names, f.Name)
	}
	want := []string{"build/one/01--..-etc-passwd.txt", "build/one/01--..-etc-passwd.txt.2", "build/one attempt 2/01-" + strings.Repeat("long", 25) + ".txt", "build/one attempt 2/files/01-x.txt", "-gone/files/01--"}
	if !slices.Equal(names, want) {
		t.Errorf("%q", names)
	}
	content, err := r.Open(names[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = content.Close() }()
	var text bytes.Buffer
	if _, err := text.ReadFrom(content); err != nil || strings.Count(text.String(), "\n") != archivePage+1 || !strings.HasSuffix(text.String(), fmt.Sprintf(" %d\n", archivePage+1)) {
		t.Errorf("%d lines %v", strings.Count(text.String(), "\n"), err)
	}
}
