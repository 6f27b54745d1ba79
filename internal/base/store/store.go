// Package store is what the domain needs from a database: tables of documents
// with a few indexed columns, guarded saves, and transactions that carry the
// outbox with them. Adapters implement it; storetest holds the contract.
package store

import (
	"context"
	"time"

	"penstock.dev/penstock/internal/base/outbox"
)

// Revision guards a document against lost updates. Embed it: Save succeeds only
// if the stored revision is still the one that was read.
type Revision struct {
	rev int64
}

// Rev returns the revision that was read; 0 = never stored.
func (r *Revision) Rev() int64 { return r.rev }

// SetRev is for adapters.
func (r *Revision) SetRev(n int64) { r.rev = n }

// Document is a pointer to a struct that embeds Revision. Fields with a `col`
// tag are indexed columns; the column tagged `col:"id"` is the primary key.
type Document interface {
	Rev() int64
	SetRev(int64)
}

// Table is one collection of documents.
type Table[T any] interface {
	// Get returns the document; fault.NotFound if there is none.
	Get(ctx context.Context, id string) (*T, error)
	// Insert stores a new document; fault.Conflict if a unique column is taken.
	Insert(ctx context.Context, doc *T) error
	// Save replaces a document; fault.Conflict if it changed since it was read.
	Save(ctx context.Context, doc *T) error
	// Delete removes a document; deleting what is not there is no error.
	Delete(ctx context.Context, id string) error
	// Find returns the documents that satisfy every condition.
	Find(ctx context.Context, q Query) ([]*T, error)
}

// Op compares a column with a value.
type Op string

// The comparisons every engine offers.
const (
	Eq Op = "="
	Ne Op = "<>"
	Lt Op = "<"
	Le Op = "<="
	Gt Op = ">"
	Ge Op = ">="
	In Op = "IN" // value is []string
)

// Cond is one condition of a query.
type Cond struct {
	Column string
	Op     Op
	Value  any // string, int, int64, bool, time.Time; []string for In
}

// Query selects documents.
type Query struct {
	Where []Cond
	Order string // a column; "" = id
	Desc  bool
	Limit int // 0 = no limit
}

// Where starts a query with column = value.
func Where(column string, value any) Query { return Query{}.And(column, value) }

// And adds column = value.
func (q Query) And(column string, value any) Query { return q.AndOp(column, Eq, value) }

// AndOp adds a comparison.
func (q Query) AndOp(column string, op Op, value any) Query {
	q.Where = append(append([]Cond(nil), q.Where...), Cond{column, op, value})
	return q
}

// By orders by a column, ascending.
func (q Query) By(column string) Query { q.Order, q.Desc = column, false; return q }

// Latest orders by a column, descending.
func (q Query) Latest(column string) Query { q.Order, q.Desc = column, true; return q }

// Top limits the result.
func (q Query) Top(n int) Query { q.Limit = n; return q }

// Runner runs functions in one transaction. Table calls made with the inner
// context belong to it; a nested InTx joins the outer one. An error rolls
// everything back. No I/O other than the store's belongs inside.
type Runner interface {
	InTx(ctx context.Context, fn func(ctx context.Context) error) error
	// Emit appends messages to the outbox in the transaction of ctx, or in one
	// of its own.
	Emit(ctx context.Context, messages ...outbox.Message) error
	// Next returns 1, 2, 3, … for each name, without gaps on success.
	Next(ctx context.Context, name string) (int, error)
	// NextFrom does as Next, but a name without a number yet begins with first.
	NextFrom(ctx context.Context, name string, first int) (int, error)
}

// First returns the first match; fault.NotFound is the caller's to make, so a
// missing document is nil without an error.
func First[T any](ctx context.Context, t Table[T], q Query) (*T, error) {
	docs, err := t.Find(ctx, q.Top(1))
	if err != nil || len(docs) == 0 {
		return nil, err
	}
	return docs[0], nil
}

// Clock tells the time; the zero value is the system's, in UTC with the
// precision that every engine keeps.
type Clock func() time.Time

// Now returns the current time in UTC, truncated to microseconds.
func (c Clock) Now() time.Time {
	if c == nil {
		return time.Now().UTC().Truncate(time.Microsecond)
	}
	return c().UTC().Truncate(time.Microsecond)
}
