package server

import (
	"context"
	"path/filepath"

	"penstock.dev/penstock/internal/adapter/sqlstore"
	"penstock.dev/penstock/internal/base/memstore"
	"penstock.dev/penstock/internal/base/outbox"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/run"
)

// runner is what all stores offer beside their tables.
type runner interface {
	store.Runner
	outbox.Queue
}

// storage is where documents, messages and logs are kept.
type storage struct {
	runner
	logs   run.Logs
	db     *sqlstore.DB // nil where memory holds the documents
	memory *memstore.Runner
	close  func() error
}

// opener opens the storage of a data folder.
type opener func(ctx context.Context, folder string) (*storage, error)

// onDisk keeps everything for good.
func onDisk(ctx context.Context, folder string) (*storage, error) {
	db, err := sqlstore.Open(ctx, folder)
	if err != nil {
		return nil, err
	}
	return &storage{runner: db, logs: sqlstore.Logs{DB: db}, db: db, close: db.Close}, nil
}

// inMemory keeps documents for as long as the process lives, and logs in a file
// that ends with it.
func inMemory(_ context.Context, folder string) (*storage, error) {
	logs, err := memstore.OpenLogs(filepath.Join(folder, "logs"))
	if err != nil {
		return nil, err
	}
	r := &memstore.Runner{}
	return &storage{runner: r, logs: logs, memory: r, close: logs.Close}, nil
}

// table is a collection of documents. Noun is what people call one of them.
func table[T any](s *storage, name, noun string) store.Table[T] {
	if s.memory != nil {
		return memstore.NewTable[T](s.memory, noun)
	}
	return sqlstore.NewTable[T](s.db, name, noun)
}
