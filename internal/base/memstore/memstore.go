// Package memstore keeps documents in memory, for a process that needs no more
// than its own lifetime: a run without a server, a test. It behaves as a database
// does: one transaction at a time, nobody sees what is not committed, and what
// fails leaves nothing behind.
package memstore

import (
	"context"
	"slices"
	"sync"
	"time"

	"penstock.dev/penstock/internal/base/outbox"
)

// Runner implements store.Runner and outbox.Queue.
type Runner struct {
	writing sync.Mutex // one transaction at a time

	mu        sync.RWMutex // guards what is committed, tables included
	counters  map[string]int
	messages  []outbox.Message
	committed chan struct{}
}

// tx is what a transaction has changed so far.
type tx struct {
	runner   *Runner
	tables   map[any]func() // table → what commits its changes
	changes  map[any]any    // table → its changes
	counters map[string]int
	emitted  []outbox.Message
}

type txKey struct{}

func (r *Runner) of(ctx context.Context) *tx {
	if t, ok := ctx.Value(txKey{}).(*tx); ok && t.runner == r {
		return t
	}
	return nil
}

// InTx implements store.Runner.
func (r *Runner) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	if r.of(ctx) != nil {
		return fn(ctx)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	r.writing.Lock()
	defer r.writing.Unlock()
	t := &tx{runner: r, tables: map[any]func(){}, changes: map[any]any{}, counters: map[string]int{}}
	if err := fn(context.WithValue(ctx, txKey{}, t)); err != nil {
		return err
	}
	r.commit(t)
	return nil
}

func (r *Runner) commit(t *tx) {
	r.mu.Lock()
	for _, apply := range t.tables {
		apply()
	}
	for name, n := range t.counters {
		if r.counters == nil {
			r.counters = map[string]int{}
		}
		r.counters[name] = n
	}
	r.messages = append(r.messages, t.emitted...)
	r.mu.Unlock()
	if len(t.emitted) > 0 {
		select {
		case r.signal() <- struct{}{}:
		default:
		}
	}
}

func (r *Runner) signal() chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.committed == nil {
		r.committed = make(chan struct{}, 1)
	}
	return r.committed
}

// Emit implements store.Runner.
func (r *Runner) Emit(ctx context.Context, messages ...outbox.Message) error {
	return r.InTx(ctx, func(ctx context.Context) error {
		t := r.of(ctx)
		for _, m := range messages {
			m.Due = m.Due.UTC().Truncate(time.Microsecond)
			t.emitted = append(t.emitted, m)
		}
		return nil
	})
}

// Next implements store.Runner.
func (r *Runner) Next(ctx context.Context, name string) (n int, err error) {
	return r.NextFrom(ctx, name, 1)
}

// NextFrom implements store.Runner.
func (r *Runner) NextFrom(ctx context.Context, name string, first int) (n int, err error) {
	err = r.InTx(ctx, func(ctx context.Context) error {
		t := r.of(ctx)
		r.mu.RLock()
		given, ok := r.counters[name]
		r.mu.RUnlock()
		if own, mine := t.counters[name]; mine {
			given, ok = own, true
		}
		if n = first; ok {
			n = given + 1
		}
		t.counters[name] = n
		return nil
	})
	return n, err
}

// DueMessages implements outbox.Queue.
func (r *Runner) DueMessages(_ context.Context, now time.Time, limit int) ([]outbox.Message, time.Time, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.SortStableFunc(r.messages, func(a, b outbox.Message) int { return a.Due.Compare(b.Due) })
	for i, m := range r.messages {
		if m.Due.After(now) {
			return slices.Clone(r.messages[:i]), m.Due, nil
		}
		if i == limit {
			return slices.Clone(r.messages[:i]), time.Time{}, nil
		}
	}
	return slices.Clone(r.messages), time.Time{}, nil
}

// Done implements outbox.Queue.
func (r *Runner) Done(_ context.Context, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = slices.DeleteFunc(r.messages, func(m outbox.Message) bool { return m.ID == id })
	return nil
}

// Postpone implements outbox.Queue.
func (r *Runner) Postpone(_ context.Context, id string, due time.Time, _ string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.messages {
		if r.messages[i].ID == id {
			r.messages[i].Attempts++
			r.messages[i].Due = due.UTC().Truncate(time.Microsecond)
		}
	}
	return nil
}

// Committed implements outbox.Queue.
func (r *Runner) Committed() <-chan struct{} { return r.signal() }
