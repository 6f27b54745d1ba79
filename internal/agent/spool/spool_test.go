package spool

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/run"
)

func begin(t *testing.T, s Spool) *Entry {
	t.Helper()
	e, err := s.Begin(Job{JobID: "../j", Fence: 3, Mark: "m"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func left(t *testing.T, s Spool) *Entry {
	t.Helper()
	list, err := s.Left()
	if err != nil || len(list) != 1 {
		t.Fatalf("%d jobs are left, %v", len(list), err)
	}
	t.Cleanup(list[0].Close)
	return list[0]
}

// all reads a log from an offset on.
func all(t *testing.T, e *Entry, step int, from int64) string {
	t.Helper()
	var b bytes.Buffer
	for {
		data, err := e.Read(step, from+int64(b.Len()), 7)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) == 0 {
			return b.String()
		}
		b.Write(data)
	}
}

func TestWhatAProcessLeaves(t *testing.T) {
	s := Spool{Dir: filepath.Join(t.TempDir(), "spool")}
	if list, err := s.Left(); len(list) != 0 || err != nil {
		t.Fatalf("%v %v", list, err)
	}
	e := begin(t, s)
	if e.HasBegun() {
		t.Error("nothing has begun")
	}
	for _, err := range []error{e.Begun(), e.Append(1, 0, []byte("a\nb\n")), e.Append(2, 0, []byte("c\n")), e.Append(1, 4, []byte("d\n")),
		e.Report(Said{Report: run.StepReport{Order: 1, State: run.InProgress}}), e.Report(Said{Report: run.StepReport{Order: 1, State: run.Completed, Result: run.Succeeded}}),
		e.Report(Said{Report: run.StepReport{Order: 2, State: run.InProgress}})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	e = left(t, s) // the process is killed: nothing was closed
	if !e.HasBegun() || e.JobID != "../j" || e.Fence != 3 || e.Mark != "m" {
		t.Errorf("%+v", e.Job)
	}
	if r, err := e.Result(); r != nil || err != nil {
		t.Errorf("%v %v", r, err)
	}
	if diff := cmp.Diff([]int{1, 2}, e.Steps()); diff != "" || all(t, e, 1, 0) != "a\nb\nd\n" || all(t, e, 2, 0) != "c\n" {
		t.Errorf("%s %q", diff, all(t, e, 1, 0))
	}
	if r := e.Reports(); len(r) != 2 || r[0].Report.Result != run.Succeeded || r[1].Report.State != run.InProgress {
		t.Errorf("%+v", r)
	}
	if err := e.Finish(Result{Time: time.Now(), Report: run.JobReport{Result: run.Failed, Cause: "why"}}); err != nil {
		t.Fatal(err)
	}
	e = left(t, s)
	if r, err := e.Result(); err != nil || r == nil || r.Report.Cause != "why" {
		t.Errorf("%+v %v", r, err)
	}
	if err := e.Remove(); err != nil {
		t.Fatal(err)
	}
	if list, err := s.Left(); len(list) != 0 || err != nil {
		t.Errorf("%v %v", list, err)
	}
}

// A machine that loses its power loses the end of what was not yet on disk.
func TestTornEnds(t *testing.T) {
	s := Spool{Dir: t.TempDir()}
	e := begin(t, s)
	for _, err := range []error{e.Append(1, 0, []byte("whole\nto")), e.Append(2, 0, []byte("no end")), e.Append(3, 0, append([]byte("kept\n"), make([]byte, 100)...)),
		e.Report(Said{Report: run.StepReport{Order: 1, State: run.InProgress}})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.OpenFile(filepath.Join(e.dir, "reports.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.WriteString(`not json` + "\n" + `{"report":{"order":1,"state":"comple`)
	_ = f.Close()
	e = left(t, s)
	if got := []string{all(t, e, 1, 0), all(t, e, 2, 0), all(t, e, 3, 0)}; got[0] != "whole\n" || got[1] != "" || got[2] != "kept\n" {
		t.Errorf("%q", got)
	}
	if r := e.Reports(); len(r) != 1 || r[0].Report.State != run.InProgress {
		t.Errorf("%+v", r)
	}
	if err := e.Append(1, 6, []byte("on\n")); err != nil || all(t, e, 1, 0) != "whole\non\n" {
		t.Errorf("%v %q", err, all(t, e, 1, 0))
	}
}

func TestUnreadable(t *testing.T) {
	s := Spool{Dir: t.TempDir()}
	for name, content := range map[string]string{"a/job.json": "{", "b/job.json": `{"jobId":"","fence":1}`, "c/log-1-0": "no job.json", "d/job.json": `{"jobId":"d","fence":1}`, "d/log-x-1": ""} {
		if err := os.MkdirAll(filepath.Join(s.Dir, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	whole := begin(t, s)
	list, err := s.Left()
	if len(list) != 1 || list[0].JobID != whole.JobID || err == nil || strings.Count(err.Error(), "cannot be read") != 3 {
		t.Errorf("%v %v", list, err)
	}
	if list, err := s.Left(); len(list) != 1 || err != nil {
		t.Errorf("the second time: %v %v", list, err)
	}
}

// What the server has goes, in pieces; what would be too much is refused.
func TestBounds(t *testing.T) {
	e := begin(t, Spool{Dir: t.TempDir(), Limit: 3 * pieceSize})
	chunk := bytes.Repeat([]byte(strings.Repeat("x", 1023)+"\n"), 1024)
	at := int64(0)
	for fault.CodeOf(e.Append(1, at, chunk)) != "spool-full" {
		at += int64(len(chunk))
	}
	if at != 3*pieceSize || e.size != at {
		t.Errorf("%d bytes, %d are counted", at, e.size)
	}
	e.Release(1, pieceSize-1)
	if first, _ := e.Extent(1); first != 0 {
		t.Errorf("a piece that is not delivered is gone: %d", first)
	}
	e.Release(1, 2*pieceSize+5)
	if first, end := e.Extent(1); first != 2*pieceSize || end != 3*pieceSize {
		t.Errorf("from %d to %d", first, end)
	}
	if err := e.Append(1, at, []byte("more\n")); err != nil {
		t.Error(err)
	}
	e.Release(1, at+5)
	if first, end := e.Extent(1); first != at || end != at+5 {
		t.Errorf("from %d to %d", first, end)
	}
	if files, _ := filepath.Glob(filepath.Join(e.dir, "log-*")); len(files) != 1 {
		t.Errorf("%v", files)
	}
	// What went another way leaves a gap.
	if err := e.Append(1, at+100, []byte("later\n")); err != nil {
		t.Fatal(err)
	}
	if got := all(t, e, 1, at+100); got != "later\n" || all(t, e, 1, at) != "more\n" {
		t.Errorf("%q", got)
	}
}

func TestJournalIsWrittenAnew(t *testing.T) {
	s := Spool{Dir: t.TempDir()}
	e := begin(t, s)
	long := strings.Repeat("y", 64<<10)
	for i := range 200 {
		if err := e.Report(Said{Report: run.StepReport{Order: i % 3, State: run.InProgress, Percent: i, DisplayName: long}}); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(filepath.Join(e.dir, "reports.jsonl")); err != nil || info.Size() > maxJournal+1<<20 {
		t.Errorf("%v %v", info.Size(), err)
	}
	var got []string
	for _, r := range left(t, s).Reports() {
		got = append(got, fmt.Sprint(r.Report.Order, " ", r.Report.Percent))
	}
	if diff := cmp.Diff([]string{"0 198", "1 199", "2 197"}, got); diff != "" {
		t.Error(diff)
	}
}

// FuzzLeft opens a folder whose files hold anything: it is left whole or said to
// be unreadable, and what is read of a log is what lies there.
func FuzzLeft(f *testing.F) {
	f.Add([]byte(`{"jobId":"j","fence":1}`), "log-1-0", []byte("a\nb"), []byte(`{"report":{"order":1,"state":"inProgress"}}`+"\n"), []byte(`{"1":5}`))
	f.Add([]byte(`{"jobId":"j","fence":-1}`), "log-1--5", []byte{}, []byte("{}\n"), []byte(`{`))
	f.Fuzz(func(t *testing.T, job []byte, name string, log, reports, shifts []byte) {
		s := Spool{Dir: t.TempDir()}
		dir := filepath.Join(s.Dir, "x.1")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if filepath.Base(name) != name || len(name) > 100 || strings.ContainsAny(name, "\x00/") || os.WriteFile(filepath.Join(dir, name), log, 0o600) != nil {
			return
		}
		for file, content := range map[string][]byte{"job.json": job, "reports.jsonl": reports, "shifts.json": shifts} {
			if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		list, err := s.Left()
		if len(list) == 0 && err == nil {
			t.Fatal("it is neither there nor said to be unreadable")
		}
		for _, e := range list {
			defer e.Close()
			for _, step := range e.Steps() {
				first, end := e.Extent(step)
				data, err := e.Read(step, first, 1<<20)
				if err != nil || int64(len(data)) != end-first || len(data) > 0 && data[len(data)-1] != '\n' || !bytes.HasPrefix(log, data) {
					t.Fatalf("step %d: %d to %d, %q %v", step, first, end, data, err)
				}
				if err := e.Append(step, end, []byte("more\n")); err != nil {
					t.Fatal(err)
				}
			}
			_ = e.Reports()
		}
	})
}
