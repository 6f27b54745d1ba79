package sqlstore

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"penstock.dev/penstock/internal/adapter/storetest"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/environment"
)

func TestContract(t *testing.T) {
	db, err := Open(context.Background(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	storetest.Exercise(t, db, NewTable[environment.Lock](db, "locks", "lock"), Logs{DB: db})
}

func TestOpenTwiceKeepsTheData(t *testing.T) {
	dir := t.TempDir()
	for want := 1; want <= 2; want++ {
		db, err := Open(context.Background(), dir)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := db.Next(context.Background(), "opened"); err != nil || n != want {
			t.Errorf("counter %d, %v; want %d", n, err, want)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "penstock.db")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the database is readable by others: %v %v", info.Mode(), err)
	}
}

func TestFolderThatIsNotOne(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), file); fault.CodeOf(err) != "data-not-writable" {
		t.Errorf("got %v, want data-not-writable", err)
	}
}
