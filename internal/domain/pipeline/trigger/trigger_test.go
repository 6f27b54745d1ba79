package trigger_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/pipeline/trigger"
)

func at(text string) time.Time {
	t, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		panic(err)
	}
	return t
}

// TestAlwaysAndBatch is the table of the two switches of a schedule.
func TestAlwaysAndBatch(t *testing.T) {
	tip, older := trigger.Source{Commit: "b", Definition: "1"}, trigger.Source{Commit: "a", Definition: "1"}
	other := trigger.Source{Commit: "b", Definition: "2"}
	for _, c := range []struct {
		name          string
		always, batch bool
		h             trigger.History
		want          trigger.Reason
	}{
		{"first", false, false, trigger.History{}, trigger.Starts},
		{"first, batch", false, true, trigger.History{}, trigger.Starts},
		{"first, batch, in progress", false, true, trigger.History{Running: true}, trigger.InProgress},
		{"changed", false, false, trigger.History{Succeeded: &older}, trigger.Starts},
		{"changed, in progress", false, false, trigger.History{Succeeded: &older, Running: true}, trigger.Starts},
		{"changed, batch", false, true, trigger.History{Succeeded: &older}, trigger.Starts},
		{"changed, batch, in progress", false, true, trigger.History{Succeeded: &older, Running: true}, trigger.InProgress},
		{"definition changed", false, false, trigger.History{Succeeded: &other}, trigger.Starts},
		{"same", false, false, trigger.History{Succeeded: &tip}, trigger.Unchanged},
		{"same, in progress", false, false, trigger.History{Succeeded: &tip, Running: true}, trigger.Unchanged},
		{"same, batch", false, true, trigger.History{Succeeded: &tip}, trigger.Unchanged},
		{"same, always", true, false, trigger.History{Succeeded: &tip, Running: true}, trigger.Starts},
		{"same, always, batch", true, true, trigger.History{Succeeded: &tip, Running: true}, trigger.Starts},
	} {
		s := pipeline.Schedule{Cron: "0 3 * * *", Always: c.always, Batch: c.batch}
		due := trigger.DueSchedules([]pipeline.Schedule{s}, "refs/heads/main", at("2026-01-01 00:00"), at("2026-01-01 03:00"), tip, c.h)
		if len(due) != 1 || due[0].Skipped != c.want || !due[0].At.Equal(at("2026-01-01 03:00")) {
			t.Errorf("%s: %+v", c.name, due)
		}
	}
}

// TestDue is which schedules come due when, for which branch.
func TestDue(t *testing.T) {
	schedules := []pipeline.Schedule{
		{Cron: "0 3 * * *", DisplayName: "night", Always: true, Branches: pipeline.Filters{Include: []string{"main", "releases/*"}, Exclude: []string{"releases/old*"}}},
		{Cron: "*/10 * * * *", DisplayName: "often", Branches: pipeline.Filters{Include: []string{"main"}}},
		{Cron: "5 * * * *", DisplayName: "batched", Batch: true},
		{Cron: "wrong", DisplayName: "wrong", Always: true},
	}
	for _, c := range []struct{ branch, from, to, want string }{
		{"main", "2026-01-01 02:59", "2026-01-01 03:00", "night 03:00, often 03:00"},
		{"main", "2026-01-01 03:00", "2026-01-01 03:09", "batched 03:05"},
		{"main", "2026-01-01 02:30", "2026-01-01 03:30", "night 03:00, often 03:30, batched skipped"}, // one each, and the others run by then
		{"main", "2026-01-01 03:00", "2026-01-01 03:00", ""},
		{"main", "2026-01-01 03:00", "2026-01-01 02:00", ""},
		{"releases/1", "2026-01-01 02:59", "2026-01-03 03:00", "night 03:00, batched skipped"},
		{"releases/old1", "2026-01-01 02:59", "2026-01-01 03:01", ""},
		{"other", "2026-01-01 03:01", "2026-01-01 03:59", "batched 03:05"},
	} {
		var got []string
		for _, d := range trigger.DueSchedules(schedules, "refs/heads/"+c.branch, at(c.from), at(c.to), trigger.Source{Commit: "x"}, trigger.History{}) {
			text := d.Schedule.DisplayName + d.At.Format(" 15:04")
			if d.Skipped != trigger.Starts {
				text = d.Schedule.DisplayName + " skipped"
			}
			got = append(got, text)
		}
		if text := strings.Join(got, ", "); text != c.want {
			t.Errorf("%s from %s to %s: %q, want %q", c.branch, c.from, c.to, text, c.want)
		}
	}
}

// TestDueInPieces: however often one looks, no instant is lost or found twice.
func TestDueInPieces(t *testing.T) {
	s := []pipeline.Schedule{{Cron: "*/7 * * * *", Always: true}}
	rapid.Check(t, func(t *rapid.T) {
		looks := rapid.SliceOfN(rapid.IntRange(0, 600), 1, 20).Draw(t, "minutes")
		slices.Sort(looks)
		begin := at("2026-01-01 00:00")
		from, found := begin, map[time.Time]bool{}
		for _, minutes := range looks {
			to := begin.Add(time.Duration(minutes) * time.Minute)
			for _, d := range trigger.DueSchedules(s, "main", from, to, trigger.Source{}, trigger.History{}) {
				if found[d.At] || !d.At.After(from) || d.At.After(to) || d.At.Minute()%7 != 0 {
					t.Fatalf("%s is found again, or outside of %s to %s", d.At, from, to)
				}
				found[d.At] = true
			}
			from = to
		}
	})
}

func push(commit string, changed ...string) trigger.Push {
	return trigger.Push{Ref: "refs/heads/main", Commit: commit, Changed: changed}
}

// TestBatch tells stories: p:commit:path is a push, e the end of a run. What
// starts is commit[paths].
func TestBatch(t *testing.T) {
	batched := pipeline.Trigger{Batch: true, Paths: pipeline.Filters{Include: []string{"src"}}}
	for _, c := range []struct {
		name, story, want string
		t                 pipeline.Trigger
	}{
		{"one", "p:1:src/a e", "1[src/a] -", batched},
		{"while a run goes on", "p:1:src/a p:2:src/b p:3:src/c e e", "1[src/a] - - 3[src/b src/c] -", batched},
		{"again and again", "p:1:src/a p:2:src/b e p:3:src/c e e", "1[src/a] - 2[src/b] - 3[src/c] -", batched},
		{"paths together", "p:1:src/a p:2:docs/b p:3:src/c p:4:docs/d e", "1[src/a] - - - 4[docs/b docs/d src/c]", batched},
		{"none of the paths", "p:1:src/a p:2:docs/b e p:3:src/c", "1[src/a] - - 3[src/c]", batched},
		{"nothing runs, no path", "p:1:docs/a p:2:src/b", "- 2[src/b]", batched},
		{"skipped", "p:1:src/a s:2:src/b e", "1[src/a] - -", batched},
		{"without batch", "p:1:src/a p:2:src/b p:3:docs/c e", "1[src/a] 2[src/b] - -", pipeline.Trigger{Paths: batched.Paths}},
		{"none", "p:1:src/a", "-", pipeline.Trigger{None: true, Batch: true}},
	} {
		var b trigger.Batch
		var got []string
		for _, event := range strings.Fields(c.story) {
			var start *trigger.Push
			if parts := strings.Split(event, ":"); parts[0] == "e" {
				b, start = b.Ended(c.t)
			} else {
				p := push(parts[1], parts[2])
				if parts[0] == "s" {
					p.Message = "x [skip ci]"
				}
				b, start = b.Pushed(c.t, p)
			}
			if start == nil {
				got = append(got, "-")
			} else {
				got = append(got, start.Commit+fmt.Sprint(start.Changed))
			}
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s: %s, want %s", c.name, text, c.want)
		}
	}
}

// TestBatchLosesNothing: with batch at most one run goes on, and the last one
// that starts has the last commit.
func TestBatchLosesNothing(t *testing.T) {
	tr := pipeline.Trigger{Batch: true}
	rapid.Check(t, func(t *rapid.T) {
		var b trigger.Batch
		running, last, pushed := 0, "", ""
		take := func(start *trigger.Push) {
			if start != nil {
				running++
				last = start.Commit
			}
		}
		for i := range rapid.IntRange(1, 30).Draw(t, "events") {
			var start *trigger.Push
			if running > 0 && rapid.Bool().Draw(t, "ends") {
				running--
				b, start = b.Ended(tr)
			} else {
				pushed = fmt.Sprint(i)
				b, start = b.Pushed(tr, push(pushed, "a"))
			}
			take(start)
			if running > 1 {
				t.Fatal("two runs at the same time")
			}
		}
		for running > 0 {
			var start *trigger.Push
			running--
			b, start = b.Ended(tr)
			take(start)
		}
		if last != pushed || b.Pending != nil {
			t.Fatalf("the last run is of %s, the last push was %s", last, pushed)
		}
	})
}

func TestPullRequests(t *testing.T) {
	defaults := pipeline.Trigger{AutoCancel: true, Drafts: true, Branches: pipeline.Filters{Include: []string{"main"}}, Paths: pipeline.Filters{Exclude: []string{"docs"}}}
	noDrafts, keep := defaults, defaults
	noDrafts.Drafts, keep.AutoCancel = false, false
	for _, c := range []struct {
		name          string
		t             pipeline.Trigger
		p             trigger.PullRequest
		start, cancel bool
	}{
		{"plain", defaults, trigger.PullRequest{Target: "refs/heads/main", Changed: []string{"a"}}, true, true},
		{"draft", defaults, trigger.PullRequest{Target: "refs/heads/main", Changed: []string{"a"}, Draft: true}, true, true},
		{"no drafts", noDrafts, trigger.PullRequest{Target: "refs/heads/main", Changed: []string{"a"}, Draft: true}, false, false},
		{"no longer a draft", noDrafts, trigger.PullRequest{Target: "refs/heads/main", Changed: []string{"a"}}, true, true},
		{"keep older runs", keep, trigger.PullRequest{Target: "refs/heads/main", Changed: []string{"a"}}, true, false},
		{"other branch", defaults, trigger.PullRequest{Target: "refs/heads/x", Changed: []string{"a"}}, false, false},
		{"documents", defaults, trigger.PullRequest{Target: "refs/heads/main", Changed: []string{"docs/a"}}, false, false},
		{"none", pipeline.Trigger{None: true, AutoCancel: true, Drafts: true}, trigger.PullRequest{Target: "refs/heads/main"}, false, false},
	} {
		if start, cancel := trigger.PullRequestUpdated(c.t, c.p); start != c.start || cancel != c.cancel {
			t.Errorf("%s: %v, %v", c.name, start, cancel)
		}
	}
}
