// Package storetest is the contract of the stores: every adapter runs it.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/outbox"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/environment"
)

// Store is what an adapter offers to the suite.
type Store interface {
	store.Runner
	outbox.Queue
}

// Logs is the log side of an adapter.
type Logs interface {
	Append(ctx context.Context, log string, offset int64, data []byte) (int64, int, error)
	Lines(ctx context.Context, log string, from, limit int) ([]string, int, error)
}

// Exercise runs the suite on a fresh store; locks is any of its tables.
func Exercise(t *testing.T, s Store, locks store.Table[environment.Lock], logs Logs) {
	t.Run("documents", func(t *testing.T) { documents(t, locks) })
	t.Run("queries", func(t *testing.T) { queries(t, locks) })
	t.Run("transactions", func(t *testing.T) { transactions(t, s, locks) })
	t.Run("counters", func(t *testing.T) { counters(t, s) })
	t.Run("outbox", func(t *testing.T) { messages(t, s) })
	t.Run("logs", func(t *testing.T) { logLines(t, logs) })
}

func documents(t *testing.T, table store.Table[environment.Lock]) {
	ctx := context.Background()
	at := time.Date(2031, 2, 3, 4, 5, 6, 789_000, time.UTC)
	doc := &environment.Lock{ID: "d1", Resource: "r", Queued: at}
	if err := table.Insert(ctx, doc); err != nil {
		t.Fatal(err)
	}
	if err := table.Insert(ctx, &environment.Lock{ID: "d1"}); !fault.Is(err, fault.Conflict) {
		t.Errorf("a second document of the same id: %v, want Conflict", err)
	}
	one, err := table.Get(ctx, "d1")
	if err != nil || !one.Queued.Equal(at) || one.Queued.Location() != time.UTC {
		t.Fatalf("got %+v, %v; want the time %v in UTC", one, err, at)
	}
	two, err := table.Get(ctx, "d1")
	if err != nil {
		t.Fatal(err)
	}
	one.Stage = "first"
	if err := table.Save(ctx, one); err != nil {
		t.Fatal(err)
	}
	two.Stage = "second"
	if err := table.Save(ctx, two); !fault.Is(err, fault.Conflict) {
		t.Errorf("saving over somebody else's change: %v, want Conflict", err)
	}
	one.Stage = "first again"
	if err := table.Save(ctx, one); err != nil {
		t.Errorf("saving twice: %v", err)
	}
	if err := table.Delete(ctx, "d1"); err != nil {
		t.Fatal(err)
	}
	if err := table.Delete(ctx, "d1"); err != nil {
		t.Errorf("deleting twice: %v", err)
	}
	if _, err := table.Get(ctx, "d1"); !fault.Is(err, fault.NotFound) {
		t.Errorf("a deleted document: %v, want NotFound", err)
	}
	if err := table.Save(ctx, one); !fault.Is(err, fault.Conflict) {
		t.Errorf("saving a deleted document: %v, want Conflict", err)
	}
}

func queries(t *testing.T, table store.Table[environment.Lock]) {
	ctx := context.Background()
	base := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 5 {
		if err := table.Insert(ctx, &environment.Lock{ID: fmt.Sprintf("q%d", i), Resource: "q", RunID: fmt.Sprint(i % 2), Queued: base.Add(time.Duration(5-i) * time.Hour)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		q    store.Query
		want string
	}{
		{"all of a column, by time", store.Where("resource", "q").By("queued"), "q4 q3 q2 q1 q0"},
		{"latest first, two", store.Where("resource", "q").Latest("queued").Top(2), "q0 q1"},
		{"two conditions", store.Where("resource", "q").And("run_id", "1"), "q1 q3"},
		{"a range of times", store.Where("resource", "q").AndOp("queued", store.Lt, base.Add(3*time.Hour)), "q3 q4"},
		{"one of a list", store.Where("resource", "q").AndOp("id", store.In, []string{"q0", "q3", "x"}), "q0 q3"},
		{"one of an empty list", store.Where("resource", "q").AndOp("id", store.In, []string{}), ""},
		{"not equal", store.Where("resource", "q").AndOp("run_id", store.Ne, "0"), "q1 q3"},
	} {
		found, err := table.Find(ctx, c.q)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var ids []string
		for _, d := range found {
			ids = append(ids, d.ID)
		}
		if got := strings.Join(ids, " "); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	first, err := store.First(ctx, table, store.Where("resource", "nobody"))
	if err != nil || first != nil {
		t.Errorf("First of nothing: %v, %v", first, err)
	}
}

func transactions(t *testing.T, s Store, table store.Table[environment.Lock]) {
	ctx := context.Background()
	stop := errors.New("stop")
	err := s.InTx(ctx, func(ctx context.Context) error {
		if err := table.Insert(ctx, &environment.Lock{ID: "t1", Resource: "t"}); err != nil {
			return err
		}
		if err := s.InTx(ctx, func(ctx context.Context) error { return table.Insert(ctx, &environment.Lock{ID: "t2", Resource: "t"}) }); err != nil {
			return err
		}
		if found, err := table.Find(ctx, store.Where("resource", "t")); err != nil || len(found) != 2 {
			t.Errorf("inside the transaction: %d documents, %v", len(found), err)
		}
		return stop
	})
	if !errors.Is(err, stop) {
		t.Errorf("got %v, want the function's error", err)
	}
	if found, err := table.Find(ctx, store.Where("resource", "t")); err != nil || len(found) != 0 {
		t.Errorf("%d documents survive a rollback, %v", len(found), err)
	}
}

func counters(t *testing.T, s Store) {
	ctx := context.Background()
	var mu sync.Mutex
	seen := map[int]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 10 {
				n, err := s.Next(ctx, "storetest")
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if seen[n] {
					t.Errorf("%d was given twice", n)
				}
				seen[n] = true
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	for i, first := range []int{7, 0, 100} { // what comes after the first is counted on
		if n, err := s.NextFrom(ctx, "storetest from", first); err != nil || n != 7+i {
			t.Errorf("from %d: %d, %v", first, n, err)
		}
	}
	for _, first := range []int{0, -3} {
		if n, err := s.NextFrom(ctx, fmt.Sprint("storetest ", first), first); err != nil || n != first {
			t.Errorf("from %d: %d, %v", first, n, err)
		}
	}
	for n := 1; n <= 80; n++ {
		if !seen[n] {
			t.Errorf("%d was left out", n)
		}
	}
}

func messages(t *testing.T, s Store) {
	ctx := context.Background()
	now := time.Now().UTC()
	_ = s.InTx(ctx, func(ctx context.Context) error {
		if err := s.Emit(ctx, outbox.New("t", "rolled back", 1)); err != nil {
			t.Error(err)
		}
		return errors.New("no")
	})
	select {
	case <-s.Committed():
		t.Error("a rollback is signalled")
	default:
	}
	if err := s.Emit(ctx, outbox.New("t", "now", 1), outbox.New("t", "later", 2).At(now.Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	<-s.Committed()
	due, next, err := s.DueMessages(ctx, now, 10)
	if err != nil || len(due) != 1 || due[0].Key != "now" || !next.Equal(now.Add(time.Hour).Truncate(time.Microsecond)) {
		t.Fatalf("due %v, next %v, %v", due, next, err)
	}
	if err := s.Postpone(ctx, due[0].ID, now.Add(time.Minute), "try later"); err != nil {
		t.Fatal(err)
	}
	if due, _, err := s.DueMessages(ctx, now, 10); err != nil || len(due) != 0 {
		t.Errorf("a postponed message is due: %v, %v", due, err)
	}
	due, _, err = s.DueMessages(ctx, now.Add(2*time.Minute), 10)
	if err != nil || len(due) != 1 || due[0].Attempts != 1 {
		t.Fatalf("after its time: %v, %v", due, err)
	}
	if err := s.Done(ctx, due[0].ID); err != nil {
		t.Fatal(err)
	}
	if due, _, err := s.DueMessages(ctx, now.Add(2*time.Minute), 10); err != nil || len(due) != 0 {
		t.Errorf("a delivered message is due: %v, %v", due, err)
	}
}

func logLines(t *testing.T, logs Logs) {
	ctx := context.Background()
	appendAt := func(offset int64, text string, wantEnd int64) {
		t.Helper()
		end, _, err := logs.Append(ctx, "l", offset, []byte(text))
		if err != nil || end != wantEnd {
			t.Fatalf("Append(%d, %q) = %d, %v; want %d", offset, text, end, err, wantEnd)
		}
	}
	appendAt(0, "one\ntw", 6)
	appendAt(0, "one\ntw", 6)          // repeated
	appendAt(4, "two\nthree\n", 14)    // overlaps
	appendAt(-1, "four\nfive\nsi", 26) // at the end
	if _, _, err := logs.Append(ctx, "l", 99, []byte("x")); !fault.Is(err, fault.Conflict) {
		t.Errorf("a gap: %v, want Conflict", err)
	}
	for _, c := range []struct {
		from, limit int
		want        string
	}{{1, 100, "one two three four five si"}, {2, 2, "two three"}, {3, 1, "three"}, {4, 2, "four five"}, {6, 5, "si"}, {7, 5, ""}, {99, 1, ""}} {
		lines, total, err := logs.Lines(ctx, "l", c.from, c.limit)
		if got := strings.Join(lines, " "); err != nil || got != c.want || total != 5 {
			t.Errorf("Lines(%d, %d) = %q, %d, %v; want %q, 5", c.from, c.limit, got, total, err, c.want)
		}
	}
	if lines, total, err := logs.Lines(ctx, "nobody", 1, 10); err != nil || len(lines) != 0 || total != 0 {
		t.Errorf("a log that does not exist: %v, %d, %v", lines, total, err)
	}
}
