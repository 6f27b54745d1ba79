package run

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/base/memstore"
)

// A step that writes more than is shown at once: every line is there, in order,
// in pieces of a bounded size, and the ends come behind the last one.
func TestFollowerOfALargeLog(t *testing.T) {
	logs, err := memstore.OpenLogs(filepath.Join(t.TempDir(), "logs"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = logs.Close() }()
	line := strings.Repeat("x", 1000)
	const many = 3 * atOnce / 1000
	job := &Job{ID: "j1", Stage: "S", Phase: "P", Name: "P", Attempt: 1, State: Completed, Result: Succeeded, Steps: []Step{{Order: 1, DisplayName: "s", State: Completed, Result: Succeeded}}}
	other := &Job{ID: "j2", Stage: "T", Phase: "Q", Name: "Q", Attempt: 1, State: Completed, Result: Succeeded, Steps: []Step{{Order: 1, DisplayName: "s", State: Completed, Result: Succeeded}}}
	var all strings.Builder
	for i := range many {
		fmt.Fprintf(&all, "%d %s\n", i, line)
	}
	for log, text := range map[string]string{job.LogID(1): all.String(), other.LogID(1): "short\n"} {
		if _, _, err := logs.Append(context.Background(), log, -1, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	d := &Detail{Run: &Run{ID: "r", State: Completed, Result: Succeeded}, Jobs: []*Job{job, other},
		Stages: []*Stage{{Name: "S", Attempt: 1, State: Completed, Result: Succeeded}, {Name: "T", Attempt: 1, State: Completed, Result: Succeeded}},
		Phases: []*Phase{{ID: "p", Stage: "S", Name: "P", Attempt: 1, State: Completed, Result: Succeeded}, {ID: "q", Stage: "T", Name: "Q", Attempt: 1, State: Completed, Result: Succeeded}}}
	f := &Follower{Logs: logs}
	var ends []string
	seen := 0
	for calls := 1; ; calls++ {
		events, err := f.Next(context.Background(), d)
		if err != nil {
			t.Fatal(err)
		}
		size := 0
		for _, e := range events {
			size += len(e.Line)
			if e.Type != "log" {
				ends = append(ends, e.Type+" "+e.Stage)
			} else if e.Stage == "S" {
				if !strings.HasPrefix(e.Line, fmt.Sprintf("%d ", seen)) {
					t.Fatalf("line %d is %.20s", seen, e.Line)
				}
				seen++
			}
		}
		if size > atOnce+1<<20 {
			t.Errorf("%d bytes at once", size)
		}
		if calls == 1 && strings.Join(ends, ",") != "step T,job T,stage T" {
			t.Errorf("first the ends of what was shown: %q", ends)
		}
		if !f.Behind() {
			break
		}
	}
	if want := "step T,job T,stage T,step S,job S,stage S,run "; seen != many || strings.Join(ends, ",") != want {
		t.Errorf("%d of %d lines, ends %q", seen, many, ends)
	}
}

// What arrives of a line is shown when the line has ended, or its step.
func TestFollowerOfHalfALine(t *testing.T) {
	logs, err := memstore.OpenLogs(filepath.Join(t.TempDir(), "logs"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = logs.Close() }()
	job := &Job{ID: "j", Stage: "S", Phase: "P", Name: "P", Attempt: 1, Steps: []Step{{Order: 1, DisplayName: "s", State: InProgress}}}
	d := &Detail{Run: &Run{ID: "r"}, Jobs: []*Job{job}, Stages: []*Stage{{Name: "S", Attempt: 1}}, Phases: []*Phase{{ID: "p", Stage: "S", Name: "P", Attempt: 1}}}
	f := &Follower{Logs: logs}
	for _, c := range []struct {
		written string
		state   State
		want    []string
	}{
		{"on", InProgress, nil},
		{"e\ntw", InProgress, []string{"one"}},
		{"o\nthree", InProgress, []string{"two"}},
		{"", InProgress, nil},
		{" and four", Completed, []string{"three and four"}},
	} {
		if _, _, err := logs.Append(context.Background(), job.LogID(1), -1, []byte(c.written)); err != nil {
			t.Fatal(err)
		}
		job.Steps[0].State = c.state
		events, err := f.Next(context.Background(), d)
		var got []string
		for _, e := range events {
			if e.Type == "log" {
				got = append(got, e.Line)
			}
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("after %q: %q, want %q; %v", c.written, got, c.want, err)
		}
	}
}

func TestEventsOfLogsHaveALine(t *testing.T) {
	for want, e := range map[string]Event{
		`{"type":"log","stage":"s","line":""}`:          {Type: "log", Stage: "s"},
		`{"type":"log","line":"x"}`:                     {Type: "log", Line: "x", Order: 3},
		`{"type":"step","step":"x","result":"skipped"}`: {Type: "step", Step: "x", Result: Skipped},
	} {
		got, err := json.Marshal(e)
		var back Event
		if err != nil || string(got) != want || json.Unmarshal(got, &back) != nil || back.Line != e.Line {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
	}
}
