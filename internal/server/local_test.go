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

// A run that is cancelled while it asks does not wait for the answer.
func TestCancelledWhileAsking(t *testing.T) {
	root := t.TempDir()
	file := "jobs:\n- deployment: d\n  environment: production\n  strategy: { runOnce: { deploy: { steps: [ { script: echo hi } ] } } }\n"
	if err := os.WriteFile(filepath.Join(root, "azure-pipelines.yml"), []byte(file), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	asked := 0
	res, err := RunLocal(ctx, LocalOptions{Root: root, File: "azure-pipelines.yml", Folder: t.TempDir(), Jobs: 1, Version: "test",
		Log: slog.New(slog.DiscardHandler), Event: func(run.Event) {}, Reason: run.Manual, Asked: []string{"Production"},
		Approve: func(ctx context.Context, q Question) (environment.ApprovalStatus, error) {
			if asked++; q.Environment != "production" && q.Environment != "Production" {
				t.Errorf("%+v", q)
			}
			cancel()
			<-ctx.Done()
			return environment.Rejected, ctx.Err()
		}})
	if err != nil || res.Result != run.Canceled || asked != 1 {
		t.Errorf("%+v %v, asked %d times", res, err, asked)
	}
}

// What is given to a local run stands for the settings of the pipeline: a step may
// change it.
func TestStepsChangeWhatIsGiven(t *testing.T) {
	root := t.TempDir()
	file := "steps:\n- bash: echo '##vso[task.setvariable variable=level]$(level)er'\n- bash: test $(level) = higher -a $(Build.SourceBranchName) = other\n"
	if err := os.WriteFile(filepath.Join(root, "azure-pipelines.yml"), []byte(file), 0o644); err != nil {
		t.Fatal(err)
	}
	res, err := RunLocal(t.Context(), LocalOptions{Root: root, File: "azure-pipelines.yml", Folder: t.TempDir(), Jobs: 1, Version: "test",
		Log: slog.New(slog.DiscardHandler), Event: func(run.Event) {}, Reason: run.Manual, Variables: map[string]string{"Level": "high", "build.sourceBranchName": "other"}})
	if err != nil || res.Result != run.Succeeded {
		t.Errorf("%+v %v", res, err)
	}
}
