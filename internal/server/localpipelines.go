package server

import (
	"context"
	"os"
	"path/filepath"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/artifact"
	"penstock.dev/penstock/internal/domain/artifact/tree"
	"penstock.dev/penstock/internal/domain/repos"
	"penstock.dev/penstock/internal/domain/run"
)

// LocalPipeline is an earlier local run that stands for the run of a pipeline
// resource.
type LocalPipeline struct {
	Source string // name of the pipeline
	Number string // of the run
	Folder string // record of the run; its artifacts lie in artifacts/NAME. "" = there are none
}

// pipelinesOf makes the pipelines that the run's resources name, each with the
// one run that it is given.
func (l *local) pipelinesOf(ctx context.Context, repo *repos.Repository, branch, commit string) error {
	for _, given := range l.o.Pipelines {
		p, err := l.runs.CreatePipeline(ctx, l.project.ID, given.Source, repo, l.o.File, nil)
		if fault.Is(err, fault.Conflict) { // two resources name one pipeline
			p, err = l.runs.FindPipeline(ctx, l.project.ID, given.Source)
		}
		if err != nil {
			return err
		}
		n, err := l.db.Next(ctx, "run")
		if err != nil {
			return err
		}
		id, now := itoa(n), l.clock.Now()
		err = l.runs.Runs.Insert(ctx, &run.Run{ID: id, Num: n, ProjectID: l.project.ID, PipelineID: p.ID, Pipeline: p.Name, Number: given.Number, State: run.Completed, Result: run.Succeeded,
			Reason: run.Manual, Dedup: "run/" + id, RepoID: repo.ID, Branch: "refs/heads/" + branch, Commit: commit, RequestedBy: "you", Queued: now, Started: now, Finished: now})
		if err != nil {
			return err
		}
		if given.Folder == "" {
			continue // it published nothing
		}
		if err := l.publishAll(ctx, id, filepath.Join(given.Folder, "artifacts")); err != nil {
			return err
		}
	}
	return nil
}

func (l *local) publishAll(ctx context.Context, runID, folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	for _, e := range entries {
		to := l.artifacts.Sink(artifact.Publication{ProjectID: l.project.ID, RunID: runID, Name: e.Name()})
		if _, err := (tree.Transfer{}).Publish(ctx, filepath.Join(folder, e.Name()), nil, to); err != nil {
			return err
		}
	}
	return nil
}
