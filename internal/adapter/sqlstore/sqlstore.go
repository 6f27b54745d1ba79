// Package sqlstore implements the stores on SQL. The statements are portable;
// what differs between engines is the opening of the database.
package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite" // also registers the driver

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/outbox"
)

//go:embed migrations/*.sql
var migrations embed.FS

// DB is an open database: one writer, and readers that never wait for it.
type DB struct {
	write     *sql.DB
	read      *sql.DB
	committed chan struct{}
}

// Open opens or makes the SQLite database of a data folder and brings its
// schema up to date. A folder that cannot be written is fault.Invalid with code
// data-not-writable.
func Open(ctx context.Context, folder string) (*DB, error) {
	file := filepath.Join(folder, "penstock.db")
	dsn := "file:" + file + "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_pragma=busy_timeout(10000)&_pragma=cache_size(-4000)"
	write, err := sql.Open("sqlite", dsn+"&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	write.SetMaxOpenConns(1)
	read, err := sql.Open("sqlite", dsn+"&_pragma=query_only(1)")
	if err != nil {
		return nil, err
	}
	read.SetMaxOpenConns(4)
	db := &DB{write: write, read: read, committed: make(chan struct{}, 1)}
	if err := db.migrate(ctx); err != nil {
		_ = db.Close()
		return nil, notWritable(file, err)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		_ = db.Close()
		return nil, notWritable(file, err)
	}
	return db, nil
}

func notWritable(file string, err error) error {
	return fault.Wrap(err, fault.Invalid, "data-not-writable", "cannot write in the data folder").At("%s", file).
		Want("a folder this user can write, with 200 MB free").
		Try("make it writable, free some space, or choose another: penstock up --data DIR. Nothing was changed")
}

func (db *DB) migrate(ctx context.Context) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db.write, files, goose.WithSlog(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

// Close closes the database; the write-ahead log is folded in.
func (db *DB) Close() error { return errors.Join(db.read.Close(), db.write.Close()) }

type txKey struct{}

type tx struct {
	*sql.Tx
	emitted bool
}

type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func (db *DB) reader(ctx context.Context) querier {
	if t, ok := ctx.Value(txKey{}).(*tx); ok {
		return t
	}
	return db.read
}

func (db *DB) writer(ctx context.Context) querier {
	if t, ok := ctx.Value(txKey{}).(*tx); ok {
		return t
	}
	return db.write
}

// InTx implements store.Runner.
func (db *DB) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	if _, inside := ctx.Value(txKey{}).(*tx); inside {
		return fn(ctx)
	}
	t, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return classify(err)
	}
	carried := &tx{Tx: t}
	done := false
	defer func() {
		if !done {
			_ = t.Rollback()
		}
	}()
	if err := fn(context.WithValue(ctx, txKey{}, carried)); err != nil {
		return err
	}
	if err := t.Commit(); err != nil {
		return classify(err)
	}
	done = true
	if carried.emitted {
		db.signal()
	}
	return nil
}

func (db *DB) signal() {
	select {
	case db.committed <- struct{}{}:
	default:
	}
}

// Next implements store.Runner.
func (db *DB) Next(ctx context.Context, name string) (int, error) {
	return db.NextFrom(ctx, name, 1)
}

// NextFrom implements store.Runner.
func (db *DB) NextFrom(ctx context.Context, name string, first int) (int, error) {
	var n int
	err := db.writer(ctx).QueryRowContext(ctx,
		`INSERT INTO counters (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = counters.value + 1 RETURNING value`, name, first).Scan(&n)
	return n, classify(err)
}

// Emit implements store.Runner.
func (db *DB) Emit(ctx context.Context, messages ...outbox.Message) error {
	for _, m := range messages {
		if _, err := db.writer(ctx).ExecContext(ctx,
			`INSERT INTO outbox (id, topic, key, payload, due, attempts, cause) VALUES ($1, $2, $3, $4, $5, 0, '')`,
			m.ID, m.Topic, m.Key, string(m.Payload), micros(m.Due)); err != nil {
			return classify(err)
		}
	}
	if t, ok := ctx.Value(txKey{}).(*tx); ok {
		t.emitted = true
	} else {
		db.signal()
	}
	return nil
}

// DueMessages implements outbox.Queue.
func (db *DB) DueMessages(ctx context.Context, now time.Time, limit int) ([]outbox.Message, time.Time, error) {
	rows, err := db.read.QueryContext(ctx,
		`SELECT id, topic, key, payload, due, attempts FROM outbox ORDER BY due, id LIMIT $1`, limit)
	if err != nil {
		return nil, time.Time{}, classify(err)
	}
	defer func() { _ = rows.Close() }()
	var due []outbox.Message
	for rows.Next() {
		var m outbox.Message
		var payload string
		var at int64
		if err := rows.Scan(&m.ID, &m.Topic, &m.Key, &payload, &at, &m.Attempts); err != nil {
			return nil, time.Time{}, classify(err)
		}
		m.Payload, m.Due = []byte(payload), fromMicros(at)
		if m.Due.After(now) {
			return due, m.Due, nil
		}
		due = append(due, m)
	}
	return due, time.Time{}, classify(rows.Err())
}

// Done implements outbox.Queue.
func (db *DB) Done(ctx context.Context, id string) error {
	_, err := db.write.ExecContext(ctx, `DELETE FROM outbox WHERE id = $1`, id)
	return classify(err)
}

// Postpone implements outbox.Queue.
func (db *DB) Postpone(ctx context.Context, id string, due time.Time, cause string) error {
	_, err := db.write.ExecContext(ctx, `UPDATE outbox SET attempts = attempts + 1, due = $1, cause = $2 WHERE id = $3`, micros(due), cause, id)
	return classify(err)
}

// Committed implements outbox.Queue.
func (db *DB) Committed() <-chan struct{} { return db.committed }

// micros is how times are stored: microseconds since 1970 in UTC; 0 = no time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

// classify gives a database error its kind.
func classify(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var se *sqlite.Error
	if !errors.As(err, &se) {
		return err
	}
	const constraint, full, readOnly, ioErr, busy = 19, 13, 8, 10, 5
	switch se.Code() & 0xff {
	case constraint:
		return fault.Wrap(err, fault.Conflict, "already-exists", "an object of that name exists already")
	case full:
		return fault.Wrap(err, fault.Unavailable, "disk-full", "the disk that holds the data folder is full").
			Try("free some space; what was acknowledged is kept, and work goes on by itself")
	case readOnly:
		return fault.Wrap(err, fault.Unavailable, "data-not-writable", "the data folder cannot be written").
			Try("make it writable again; work goes on by itself")
	case ioErr:
		return fault.Wrap(err, fault.Unavailable, "data-not-writable", "the data folder cannot be read or written").
			Try("look at the disk; work goes on by itself once it answers")
	case busy:
		return fault.Wrap(err, fault.Unavailable, "database-busy", "the database is busy").Try("try again")
	}
	if strings.Contains(err.Error(), "no such table") {
		return fmt.Errorf("schema out of date: %w", err)
	}
	return err
}
