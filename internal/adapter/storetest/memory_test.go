package storetest_test

import (
	"path/filepath"
	"testing"

	"penstock.dev/penstock/internal/adapter/storetest"
	"penstock.dev/penstock/internal/base/memstore"
	"penstock.dev/penstock/internal/domain/environment"
)

func TestMemory(t *testing.T) {
	logs, err := memstore.OpenLogs(filepath.Join(t.TempDir(), "logs"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = logs.Close() }()
	r := &memstore.Runner{}
	storetest.Exercise(t, r, memstore.NewTable[environment.Lock](r, "lock"), logs)
}
