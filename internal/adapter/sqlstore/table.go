package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/store"
)

// Table implements store.Table on one SQL table: the columns named by `col`
// tags, a revision, and the document as JSON.
type Table[T any] struct {
	db      *DB
	name    string
	noun    string
	columns []column
}

type column struct {
	name  string
	index []int
}

var timeType = reflect.TypeFor[time.Time]()

// NewTable binds a document type to its SQL table. Noun is what people call the
// document; it stands in errors.
func NewTable[T any](db *DB, name, noun string) *Table[T] {
	t := &Table[T]{db: db, name: name, noun: noun}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[T]()) {
		if c := f.Tag.Get("col"); c != "" {
			t.columns = append(t.columns, column{c, f.Index})
		}
	}
	if len(t.columns) == 0 || t.columns[0].name != "id" {
		panic("sqlstore: " + name + " has no id column first")
	}
	return t
}

func (t *Table[T]) values(doc *T) []any {
	v := reflect.ValueOf(doc).Elem()
	out := make([]any, len(t.columns))
	for i, c := range t.columns {
		out[i] = bindable(v.FieldByIndex(c.index))
	}
	return out
}

func bindable(v reflect.Value) any {
	if v.Type() == timeType {
		return micros(v.Interface().(time.Time))
	}
	switch v.Kind() {
	case reflect.String:
		return v.String()
	case reflect.Bool:
		if v.Bool() {
			return int64(1)
		}
		return int64(0)
	case reflect.Int, reflect.Int64:
		return v.Int()
	case reflect.Uint64:
		return int64(v.Uint())
	}
	panic("sqlstore: no column type for " + v.Type().String())
}

func revision(doc any) store.Document { return doc.(store.Document) }

func (t *Table[T]) missing(id string) error {
	return fault.New(fault.NotFound, "not-found", "no %s %s", t.noun, id)
}

// Get implements store.Table.
func (t *Table[T]) Get(ctx context.Context, id string) (*T, error) {
	row := t.db.reader(ctx).QueryRowContext(ctx, `SELECT rev, body FROM `+t.name+` WHERE id = $1`, id)
	var rev int64
	var body string
	if err := row.Scan(&rev, &body); err != nil {
		if errors.Is(err, sql.ErrNoRows) {
			return nil, t.missing(id)
		}
		return nil, classify(err)
	}
	return t.decode(rev, body)
}

func (t *Table[T]) decode(rev int64, body string) (*T, error) {
	doc := new(T)
	if err := json.Unmarshal([]byte(body), doc); err != nil {
		return nil, fmt.Errorf("read stored %s: %w", t.noun, err)
	}
	revision(doc).SetRev(rev)
	return doc, nil
}

// Insert implements store.Table.
func (t *Table[T]) Insert(ctx context.Context, doc *T) error {
	body, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("store %s: %w", t.noun, err)
	}
	names := make([]string, len(t.columns))
	marks := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i], marks[i] = c.name, fmt.Sprintf("$%d", i+1)
	}
	query := fmt.Sprintf(`INSERT INTO %s (%s, rev, body) VALUES (%s, 1, $%d)`,
		t.name, strings.Join(names, ", "), strings.Join(marks, ", "), len(names)+1)
	if _, err := t.db.writer(ctx).ExecContext(ctx, query, append(t.values(doc), string(body))...); err != nil {
		err = classify(err)
		if fault.Is(err, fault.Conflict) {
			return fault.Wrap(err, fault.Conflict, "already-exists", "that %s exists already", t.noun)
		}
		return err
	}
	revision(doc).SetRev(1)
	return nil
}

// Save implements store.Table.
func (t *Table[T]) Save(ctx context.Context, doc *T) error {
	body, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("store %s: %w", t.noun, err)
	}
	values := t.values(doc)
	sets := make([]string, 0, len(t.columns))
	for i, c := range t.columns[1:] {
		sets = append(sets, fmt.Sprintf("%s = $%d", c.name, i+2))
	}
	n := len(values)
	sets = append(sets, fmt.Sprintf("body = $%d, rev = rev + 1", n+1))
	query := fmt.Sprintf(`UPDATE %s SET %s WHERE id = $1 AND rev = $%d`, t.name, strings.Join(sets, ", "), n+2)
	res, err := t.db.writer(ctx).ExecContext(ctx, query, append(values, string(body), revision(doc).Rev())...)
	if err != nil {
		return classify(err)
	}
	if rows, err := res.RowsAffected(); err != nil || rows == 0 {
		return fault.New(fault.Conflict, "changed-meanwhile", "%s %v was changed by someone else first", t.noun, values[0]).
			Try("look at it, then try again")
	}
	revision(doc).SetRev(revision(doc).Rev() + 1)
	return nil
}

// Delete implements store.Table.
func (t *Table[T]) Delete(ctx context.Context, id string) error {
	_, err := t.db.writer(ctx).ExecContext(ctx, `DELETE FROM `+t.name+` WHERE id = $1`, id)
	return classify(err)
}

// Find implements store.Table.
func (t *Table[T]) Find(ctx context.Context, q store.Query) ([]*T, error) {
	query, args := t.selectQuery(q)
	rows, err := t.db.reader(ctx).QueryContext(ctx, query, args...)
	if err != nil {
		return nil, classify(err)
	}
	defer func() { _ = rows.Close() }()
	var docs []*T
	for rows.Next() {
		var rev int64
		var body string
		if err := rows.Scan(&rev, &body); err != nil {
			return nil, classify(err)
		}
		doc, err := t.decode(rev, body)
		if err != nil {
			return nil, err
		}
		docs = append(docs, doc)
	}
	return docs, classify(rows.Err())
}

func (t *Table[T]) selectQuery(q store.Query) (string, []any) {
	var b strings.Builder
	var args []any
	b.WriteString(`SELECT rev, body FROM ` + t.name)
	for i, c := range q.Where {
		b.WriteString(map[bool]string{true: " WHERE ", false: " AND "}[i == 0])
		t.mustKnow(c.Column)
		if list, ok := c.Value.([]string); ok {
			if len(list) == 0 {
				b.WriteString("1 = 0") // PostgreSQL has no empty list
				continue
			}
			marks := make([]string, len(list))
			for j, v := range list {
				args = append(args, v)
				marks[j] = fmt.Sprintf("$%d", len(args))
			}
			fmt.Fprintf(&b, "%s IN (%s)", c.Column, strings.Join(marks, ", "))
			continue
		}
		args = append(args, bindable(reflect.ValueOf(c.Value)))
		fmt.Fprintf(&b, "%s %s $%d", c.Column, c.Op, len(args))
	}
	order := q.Order
	if order == "" {
		order = "id"
	}
	t.mustKnow(order)
	dir := map[bool]string{true: "DESC", false: "ASC"}[q.Desc]
	fmt.Fprintf(&b, " ORDER BY %s %s, id %s", order, dir, dir)
	if q.Limit > 0 {
		fmt.Fprintf(&b, " LIMIT %d", q.Limit)
	}
	return b.String(), args
}

// mustKnow keeps column names out of anybody's hands: a query with a column the
// type does not declare is a bug of ours.
func (t *Table[T]) mustKnow(name string) {
	for _, c := range t.columns {
		if c.name == name {
			return
		}
	}
	panic("sqlstore: " + t.name + " has no column " + name)
}
