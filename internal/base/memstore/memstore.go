// Package memstore keeps documents in memory, for tests of what needs a store but
// not a database. Its tables behave like real ones; its transactions do not roll
// back.
package memstore

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/outbox"
	"penstock.dev/penstock/internal/base/store"
)

// Runner implements store.Runner without rolling back.
type Runner struct {
	mu       sync.Mutex
	counters map[string]int
	Messages []outbox.Message
}

// InTx implements store.Runner.
func (r *Runner) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	return fn(ctx)
}

// Emit implements store.Runner.
func (r *Runner) Emit(_ context.Context, messages ...outbox.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Messages = append(r.Messages, messages...)
	return nil
}

// Next implements store.Runner.
func (r *Runner) Next(_ context.Context, name string) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counters == nil {
		r.counters = map[string]int{}
	}
	r.counters[name]++
	return r.counters[name], nil
}

// Table implements store.Table.
type Table[T any] struct {
	mu   sync.Mutex
	docs map[string]storedDoc
	cols map[string][]int
}

type storedDoc struct {
	data []byte
	rev  int64
}

// NewTable makes an empty table.
func NewTable[T any]() *Table[T] {
	t := &Table[T]{docs: map[string]storedDoc{}, cols: map[string][]int{}}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[T]()) {
		if c := f.Tag.Get("col"); c != "" {
			t.cols[c] = f.Index
		}
	}
	return t
}

func (t *Table[T]) column(doc *T, name string) any {
	index, ok := t.cols[name]
	if !ok {
		panic("Table: no column " + name)
	}
	return reflect.ValueOf(doc).Elem().FieldByIndex(index).Interface()
}

func (t *Table[T]) open(s storedDoc) (*T, error) {
	doc := new(T)
	if err := json.Unmarshal(s.data, doc); err != nil {
		return nil, err
	}
	any(doc).(store.Document).SetRev(s.rev)
	return doc, nil
}

// Get implements store.Table.
func (t *Table[T]) Get(_ context.Context, id string) (*T, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, ok := t.docs[id]
	if !ok {
		return nil, fault.New(fault.NotFound, "not-found", "no %T %s", *new(T), id)
	}
	return t.open(s)
}

// Insert implements store.Table; key, hash and dedup are unique.
func (t *Table[T]) Insert(_ context.Context, doc *T) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	id := t.column(doc, "id").(string)
	if _, taken := t.docs[id]; taken {
		return fault.New(fault.Conflict, "already-exists", "%T %s exists", *doc, id)
	}
	for _, unique := range []string{"key", "hash", "dedup"} {
		if _, has := t.cols[unique]; !has {
			continue
		}
		for _, s := range t.docs {
			other, err := t.open(s)
			if err != nil {
				return err
			}
			if t.column(other, unique) == t.column(doc, unique) {
				return fault.New(fault.Conflict, "already-exists", "%T with that %s exists", *doc, unique)
			}
		}
	}
	return t.put(id, doc, 1)
}

func (t *Table[T]) put(id string, doc *T, rev int64) error {
	data, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	t.docs[id] = storedDoc{data, rev}
	any(doc).(store.Document).SetRev(rev)
	return nil
}

// Save implements store.Table.
func (t *Table[T]) Save(_ context.Context, doc *T) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	id := t.column(doc, "id").(string)
	rev := any(doc).(store.Document).Rev()
	if t.docs[id].rev != rev {
		return fault.New(fault.Conflict, "changed", "%T %s changed", *doc, id)
	}
	return t.put(id, doc, rev+1)
}

// Delete implements store.Table.
func (t *Table[T]) Delete(_ context.Context, id string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.docs, id)
	return nil
}

// Find implements store.Table.
func (t *Table[T]) Find(_ context.Context, q store.Query) ([]*T, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var found []*T
	for _, s := range t.docs {
		doc, err := t.open(s)
		if err != nil {
			return nil, err
		}
		if t.matches(doc, q.Where) {
			found = append(found, doc)
		}
	}
	order := cmp.Or(q.Order, "id")
	slices.SortFunc(found, func(a, b *T) int {
		n := compareValues(t.column(a, order), t.column(b, order))
		if q.Desc {
			return -n
		}
		return n
	})
	if q.Limit > 0 && len(found) > q.Limit {
		found = found[:q.Limit]
	}
	return found, nil
}

func (t *Table[T]) matches(doc *T, where []store.Cond) bool {
	for _, c := range where {
		v := t.column(doc, c.Column)
		if c.Op == store.In {
			if !slices.Contains(c.Value.([]string), fmt.Sprint(v)) {
				return false
			}
			continue
		}
		n := compareValues(v, c.Value)
		ok := map[store.Op]bool{store.Eq: n == 0, store.Ne: n != 0, store.Lt: n < 0, store.Le: n <= 0, store.Gt: n > 0, store.Ge: n >= 0}[c.Op]
		if !ok {
			return false
		}
	}
	return true
}

func compareValues(a, b any) int {
	if x, ok := a.(time.Time); ok {
		return x.Compare(b.(time.Time))
	}
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	if x.CanInt() && y.CanInt() {
		return cmp.Compare(x.Int(), y.Int())
	}
	return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b))
}
