package gateway

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/routing"
)

// stageSnapshot writes the table beside the snapshot file and waits until it is
// on disk, so that Publish has only to rename.
func (g *Gateway) stageSnapshot(t *routing.Table) error {
	if g.opt.SnapshotFile == "" {
		return nil
	}
	data, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return g.snapshotError(err)
	}
	if err := os.MkdirAll(filepath.Dir(g.opt.SnapshotFile), 0o750); err != nil {
		return g.snapshotError(err)
	}
	f, err := os.OpenFile(g.stagedFile(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return g.snapshotError(err)
	}
	_, err = f.Write(append(data, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return g.snapshotError(err)
	}
	return nil
}

// commitSnapshot makes the staged table the one a restart begins with.
func (g *Gateway) commitSnapshot() error {
	if g.opt.SnapshotFile == "" {
		return nil
	}
	if err := os.Rename(g.stagedFile(), g.opt.SnapshotFile); err != nil {
		return g.snapshotError(err)
	}
	if dir, err := os.Open(filepath.Dir(g.opt.SnapshotFile)); err == nil {
		_ = dir.Sync() // not every file system can; the rename itself is done
		_ = dir.Close()
	}
	return nil
}

func (g *Gateway) stagedFile() string { return g.opt.SnapshotFile + ".next" }

// LoadSnapshot serves the table of the snapshot file. Without a file it does
// nothing. It belongs before Listen.
func (g *Gateway) LoadSnapshot() error {
	if g.opt.SnapshotFile == "" {
		return nil
	}
	data, err := os.ReadFile(g.opt.SnapshotFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return g.snapshotError(err)
	}
	t := new(routing.Table)
	if err := json.Unmarshal(data, t); err != nil {
		return fault.Wrap(err, fault.Invalid, "snapshot-unreadable", "the gateway's snapshot is not a table").
			At("%s", g.opt.SnapshotFile).Try("delete the file; the server sends the table again")
	}
	if err := checkTable(t); err != nil {
		return err
	}
	t = cloneTable(t)
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := g.served.Load(); now != nil && now.table.Generation >= t.Generation {
		return nil
	}
	g.switchTo(g.build(t))
	return nil
}

func (g *Gateway) snapshotError(err error) error {
	return fault.Wrap(err, fault.Unavailable, "snapshot-not-written", "the gateway cannot keep its table").
		At("%s", g.opt.SnapshotFile).Try("make the folder writable; nothing was switched")
}
