//go:build linux

package localvm

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"penstock.dev/penstock/internal/adapter/vmtest"
)

func TestContract(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	// It leaves a child behind, as an agent leaves services.
	if err := os.WriteFile(program, []byte("#!/bin/sh\nsleep 1000 &\nwait\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	vmtest.Exercise(t, &Provider{Folder: filepath.Join(dir, "vms"), Addresses: "127.0.9.0/24", Program: program,
		Join: func(context.Context, string) (string, string, string, error) {
			return "http://127.0.0.1:1", "default", "token", nil
		}})
}
