package memstore

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/store"
)

// Table implements store.Table. The columns key, hash and dedup are unique.
type Table[T any] struct {
	runner *Runner
	noun   string
	cols   map[string][]int
	unique []string
	docs   map[string]*document // guarded by the runner
}

// document is one stored document: its text, and its columns to search by.
type document struct {
	data []byte
	rev  int64
	cols map[string]any
}

// NewTable makes an empty table. Noun is what people call its documents; it
// stands in errors.
func NewTable[T any](r *Runner, noun string) *Table[T] {
	t := &Table[T]{runner: r, noun: noun, docs: map[string]*document{}, cols: map[string][]int{}}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[T]()) {
		c := f.Tag.Get("col")
		if c == "" {
			continue
		}
		t.cols[c] = f.Index
		if c == "key" || c == "hash" || c == "dedup" {
			t.unique = append(t.unique, c)
		}
	}
	return t
}

func (t *Table[T]) columns(doc *T) map[string]any {
	v, all := reflect.ValueOf(doc).Elem(), map[string]any{}
	for name, index := range t.cols {
		all[name] = v.FieldByIndex(index).Interface()
	}
	return all
}

func (t *Table[T]) decode(d *document) (*T, error) {
	doc := new(T)
	if err := json.Unmarshal(d.data, doc); err != nil {
		return nil, err
	}
	any(doc).(store.Document).SetRev(d.rev)
	return doc, nil
}

// seen returns the documents as ctx sees them; the caller only reads.
func (t *Table[T]) seen(ctx context.Context) map[string]*document {
	t.runner.mu.RLock()
	all := maps.Clone(t.docs)
	t.runner.mu.RUnlock()
	if x := t.runner.of(ctx); x != nil {
		for id, d := range t.changed(x) {
			if d == nil {
				delete(all, id)
			} else {
				all[id] = d
			}
		}
	}
	return all
}

// one returns a document as ctx sees it, nil if there is none.
func (t *Table[T]) one(ctx context.Context, id string) *document {
	if x := t.runner.of(ctx); x != nil {
		if d, ok := t.changed(x)[id]; ok {
			return d
		}
	}
	t.runner.mu.RLock()
	defer t.runner.mu.RUnlock()
	return t.docs[id]
}

// changed are the documents that a transaction has written; nil = deleted.
func (t *Table[T]) changed(x *tx) map[string]*document {
	if m, ok := x.changes[t]; ok {
		return m.(map[string]*document)
	}
	m := map[string]*document{}
	x.changes[t] = m
	x.tables[t] = func() {
		for id, d := range m {
			if d == nil {
				delete(t.docs, id)
			} else {
				t.docs[id] = d
			}
		}
	}
	return m
}

// Get implements store.Table.
func (t *Table[T]) Get(ctx context.Context, id string) (*T, error) {
	d := t.one(ctx, id)
	if d == nil {
		return nil, fault.New(fault.NotFound, "not-found", "no %s %s", t.noun, id)
	}
	return t.decode(d)
}

// Insert implements store.Table.
func (t *Table[T]) Insert(ctx context.Context, doc *T) error {
	return t.runner.InTx(ctx, func(ctx context.Context) error {
		cols := t.columns(doc)
		id := cols["id"].(string)
		if t.one(ctx, id) != nil {
			return t.taken()
		}
		if len(t.unique) > 0 {
			for _, other := range t.seen(ctx) {
				for _, u := range t.unique {
					if other.cols[u] == cols[u] {
						return t.taken()
					}
				}
			}
		}
		return t.put(ctx, id, doc, cols, 1)
	})
}

func (t *Table[T]) taken() error {
	return fault.New(fault.Conflict, "already-exists", "a %s of that name exists already", t.noun)
}

func (t *Table[T]) put(ctx context.Context, id string, doc *T, cols map[string]any, rev int64) error {
	data, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	t.changed(t.runner.of(ctx))[id] = &document{data, rev, cols}
	any(doc).(store.Document).SetRev(rev)
	return nil
}

// Save implements store.Table.
func (t *Table[T]) Save(ctx context.Context, doc *T) error {
	return t.runner.InTx(ctx, func(ctx context.Context) error {
		cols := t.columns(doc)
		id := cols["id"].(string)
		d, rev := t.one(ctx, id), any(doc).(store.Document).Rev()
		if d == nil || d.rev != rev {
			return fault.New(fault.Conflict, "changed", "%s %s was changed by somebody else meanwhile", t.noun, id).Try("read it again, then repeat the change")
		}
		return t.put(ctx, id, doc, cols, rev+1)
	})
}

// Delete implements store.Table.
func (t *Table[T]) Delete(ctx context.Context, id string) error {
	return t.runner.InTx(ctx, func(ctx context.Context) error {
		t.changed(t.runner.of(ctx))[id] = nil
		return nil
	})
}

// Find implements store.Table.
func (t *Table[T]) Find(ctx context.Context, q store.Query) ([]*T, error) {
	var found []*document
	for _, d := range t.seen(ctx) {
		if t.matches(d, q.Where) {
			found = append(found, d)
		}
	}
	order := cmp.Or(q.Order, "id")
	slices.SortFunc(found, func(a, b *document) int {
		n := cmp.Or(compare(a.cols[order], b.cols[order]), compare(a.cols["id"], b.cols["id"]))
		if q.Desc {
			return -n
		}
		return n
	})
	if q.Limit > 0 && len(found) > q.Limit {
		found = found[:q.Limit]
	}
	out := make([]*T, 0, len(found))
	for _, d := range found {
		doc, err := t.decode(d)
		if err != nil {
			return nil, err
		}
		out = append(out, doc)
	}
	return out, nil
}

func (t *Table[T]) matches(d *document, where []store.Cond) bool {
	for _, c := range where {
		v, known := d.cols[c.Column]
		if !known {
			panic("memstore: " + t.noun + " has no column " + c.Column)
		}
		if c.Op == store.In {
			if !slices.Contains(c.Value.([]string), fmt.Sprint(v)) {
				return false
			}
			continue
		}
		if !holds(c.Op, compare(v, c.Value)) {
			return false
		}
	}
	return true
}

func holds(op store.Op, n int) bool {
	switch op {
	case store.Eq:
		return n == 0
	case store.Ne:
		return n != 0
	case store.Lt:
		return n < 0
	case store.Le:
		return n <= 0
	case store.Gt:
		return n > 0
	default:
		return n >= 0
	}
}

func compare(a, b any) int {
	switch x := a.(type) {
	case time.Time:
		return x.Truncate(time.Microsecond).Compare(b.(time.Time).Truncate(time.Microsecond))
	case string:
		if y, ok := b.(string); ok {
			return cmp.Compare(x, y)
		}
	}
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	if x.CanInt() && y.CanInt() {
		return cmp.Compare(x.Int(), y.Int())
	}
	return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b))
}
