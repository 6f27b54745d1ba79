package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"penstock.dev/penstock/internal/base/rootfs"
	"penstock.dev/penstock/internal/domain/attachment"
	"penstock.dev/penstock/internal/domain/run"
)

// keepOutcomes writes what a local run leaves beside its artifacts, as plain
// files: what there is none of has no file.
func (l *local) keepOutcomes(ctx context.Context, d *run.Detail) error {
	tests, err := l.tests.WithResults(ctx, d.Run.ID)
	if err == nil && len(tests) > 0 {
		err = l.keepJSON("tests.json", tests)
	}
	if err != nil {
		return err
	}
	coverage, err := l.tests.CoverageWithFiles(ctx, d.Run.ID)
	if err == nil && len(coverage) > 0 {
		err = l.keepJSON("coverage.json", coverage)
	}
	if err != nil {
		return err
	}
	links, err := l.links.Of(ctx, d.Run.ID)
	if err == nil && len(links) > 0 {
		err = l.keepJSON("links.json", links)
	}
	if err != nil {
		return err
	}
	return l.keepAttachments(ctx, d)
}

func (l *local) keepJSON(name string, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	return rootfs.ReplaceFile(filepath.Join(l.o.Folder, name), append(data, '\n'), 0o644)
}

// keepAttachments writes summaries/STAGE.JOB.STEP-NAME and, for all else,
// attachments/TYPE/STAGE.JOB.STEP-NAME.
func (l *local) keepAttachments(ctx context.Context, d *run.Detail) error {
	list, err := l.attachments.Of(ctx, d.Run.ID)
	if err != nil {
		return err
	}
	jobs := map[string]*run.Job{}
	for _, j := range d.Jobs {
		jobs[j.ID] = j
	}
	for _, a := range list {
		dir := filepath.Join("attachments", fileName(a.Type))
		name := fmt.Sprintf("%02d-%s", a.Step, a.Name) // a name that is usable as one was asked for
		if a.Is(attachment.Summary) {
			dir = "summaries"
		}
		if j := jobs[a.JobID]; j != nil {
			parts := []string{fileName(j.Stage), fileName(j.Phase), name}
			if j.Name != j.Phase { // a leg of a matrix, or a hook
				parts = slices.Insert(parts, 2, fileName(j.Name))
			}
			name = strings.Join(parts, ".")
		}
		content, err := l.attachments.Open(ctx, a)
		if err != nil {
			return err
		}
		err = l.keepFile(dir, name, content)
		if err = errors.Join(err, content.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (l *local) keepFile(dir, name string, content io.Reader) error {
	root, err := os.OpenRoot(l.o.Folder)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if err := root.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := root.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	for n := 2; errors.Is(err, fs.ErrExist); n++ { // names of jobs that differ in what no file name may have
		f, err = root.OpenFile(filepath.Join(dir, fmt.Sprintf("%s.%d", name, n)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}

// fileName makes a name one that every system takes for a file.
func fileName(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r == '.' || unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return '-'
	}, name)
}
