package server

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/run"
)

// BenchmarkRunLocal is a one-step file, without the start of the process.
func BenchmarkRunLocal(b *testing.B) {
	root := b.TempDir()
	if err := os.WriteFile(filepath.Join(root, "azure-pipelines.yml"), []byte("steps:\n- script: echo hi\n"), 0o644); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		res, err := RunLocal(context.Background(), LocalOptions{Root: root, File: "azure-pipelines.yml", Folder: b.TempDir(), Jobs: 1, Version: "test",
			Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Event: func(run.Event) {}, Reason: run.Manual,
			Approve: func(context.Context, Question) (environment.ApprovalStatus, error) { return environment.Approved, nil }})
		if err != nil || res.Result != run.Succeeded {
			b.Fatal(res, err)
		}
	}
}
