package environment

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"penstock.dev/penstock/internal/base/memstore"
)

// Stages come to a lock one after the other; the holder gives it up when all are
// there, and so on. Each ends in the verdict that it has then.
func TestLocks(t *testing.T) {
	gate := func(run, pipeline, branch, stage, behavior string) Gate {
		return Gate{RunID: run, PipelineID: pipeline, Branches: []string{branch}, Stage: stage, Attempt: 1, LockBehavior: behavior}
	}
	for name, c := range map[string]struct {
		resource string
		gates    []Gate
		want     map[string]VerdictState // of run/stage, while the first holds it
		order    []string                // in which they get it
	}{
		"the latest run of a pipeline waits": {"environment/1", []Gate{gate("8", "ci", "main", "s", ""), gate("9", "ci", "main", "s", ""), gate("10", "ci", "other", "s", "")},
			map[string]VerdictState{"8/s": Pass, "9/s": Supersede, "10/s": Wait}, []string{"8/s", "10/s"}},
		"also when it came first": {"environment/1", []Gate{gate("8", "ci", "main", "s", ""), gate("10", "ci", "main", "s", ""), gate("9", "ci", "main", "s", "")},
			map[string]VerdictState{"8/s": Pass, "10/s": Wait, "9/s": Supersede}, []string{"8/s", "10/s"}},
		"in turn": {"environment/1", []Gate{gate("8", "ci", "main", "s", "sequential"), gate("10", "ci", "main", "s", "sequential"), gate("9", "ci", "main", "s", "sequential")},
			map[string]VerdictState{"8/s": Pass, "9/s": Wait, "10/s": Wait}, []string{"8/s", "10/s", "9/s"}},
		"another pipeline is left alone": {"environment/1", []Gate{gate("1", "ci", "main", "s", ""), gate("2", "cd", "main", "s", ""), gate("3", "ci", "main", "s", "")},
			map[string]VerdictState{"1/s": Pass, "2/s": Wait, "3/s": Wait}, []string{"1/s", "2/s", "3/s"}},
		"stages of one run all get their turn": {"environment/1", []Gate{gate("1", "ci", "main", "a", ""), gate("1", "ci", "main", "b", ""), gate("1", "ci", "main", "c", "")},
			map[string]VerdictState{"1/a": Pass, "1/b": Wait, "1/c": Wait}, []string{"1/a", "1/b", "1/c"}},
		"a stage's own lock is of one branch": {"stage/ci/s", []Gate{gate("1", "ci", "main", "s", "runLatest"), gate("2", "ci", "main", "s", "runLatest"), gate("3", "ci", "other", "s", "runLatest"), gate("4", "ci", "main", "s", "runLatest")},
			map[string]VerdictState{"1/s": Pass, "2/s": Supersede, "3/s": Wait, "4/s": Wait}, []string{"1/s", "3/s", "4/s"}},
	} {
		t.Run(name, func(t *testing.T) {
			tx, now := &memstore.Runner{}, time.Unix(1, 0)
			s := &Service{Locks: memstore.NewTable[Lock](tx, "lock"), Tx: tx, Clock: func() time.Time { now = now.Add(time.Second); return now }}
			ask := func() map[string]VerdictState {
				got := map[string]VerdictState{}
				for _, g := range c.gates {
					must(t, tx.InTx(t.Context(), func(ctx context.Context) error {
						v, err := s.lock(ctx, g, c.resource)
						got[g.RunID+"/"+g.Stage] = v.State
						return err
					}))
				}
				return got
			}
			ask()
			if got := ask(); !maps.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
			leave := func(leaves func(name string) bool) {
				c.gates = slices.DeleteFunc(c.gates, func(g Gate) bool {
					if !leaves(g.RunID + "/" + g.Stage) {
						return false
					}
					must(t, tx.InTx(t.Context(), func(ctx context.Context) error { return s.Release(ctx, g.RunID, g.Stage) }))
					return true
				})
			}
			leave(func(name string) bool { return c.want[name] == Supersede })
			for _, holder := range c.order {
				if got := ask(); got[holder] != Pass {
					t.Fatalf("%s has not got it: %v", holder, got)
				}
				leave(func(name string) bool { return name == holder })
			}
		})
	}
}

// Outside of the hours a stage waits until they begin.
func TestBusinessHours(t *testing.T) {
	set := Settings{Days: []string{"Mon", "Tue", "Fri"}, From: "08:30", To: "17:00", Zone: "Europe/Berlin"}
	for at, until := range map[string]string{
		"2026-03-27T08:00:00+01:00": "2026-03-27T08:30:00+01:00", // a Friday, before
		"2026-03-27T08:30:00+01:00": "",
		"2026-03-27T15:59:00Z":      "",
		"2026-03-27T16:00:00Z":      "2026-03-30T08:30:00+02:00", // the clocks change meanwhile
		"2026-03-31T23:00:00+02:00": "2026-04-03T08:30:00+02:00",
	} {
		now, err := time.Parse(time.RFC3339, at)
		must(t, err)
		v := hoursVerdict(set, now)
		if got := v.Until.Format(time.RFC3339); v.State == Wait && got != until || (v.State == Pass) != (until == "") {
			t.Errorf("%s: %s until %s, want %q", at, v.State, got, until)
		}
	}
	if v := hoursVerdict(Settings{From: "08:30", To: "17:00", Zone: "UTC"}, time.Now()); v.State != Wait || !v.Until.IsZero() {
		t.Errorf("without days: %+v", v)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
