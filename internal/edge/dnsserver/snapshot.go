package dnsserver

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/trafficmanager"
)

// stageSnapshot writes the snapshot beside the snapshot file and waits until it is
// on disk, so that Publish has only to rename.
func (s *Server) stageSnapshot(t *trafficmanager.Snapshot) error {
	if s.opt.SnapshotFile == "" {
		return nil
	}
	data, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return s.snapshotError(err)
	}
	if err := os.MkdirAll(filepath.Dir(s.opt.SnapshotFile), 0o750); err != nil {
		return s.snapshotError(err)
	}
	f, err := os.OpenFile(s.stagedFile(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return s.snapshotError(err)
	}
	_, err = f.Write(append(data, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return s.snapshotError(err)
	}
	return nil
}

// commitSnapshot makes the staged snapshot the one a restart begins with.
func (s *Server) commitSnapshot() error {
	if s.opt.SnapshotFile == "" {
		return nil
	}
	if err := os.Rename(s.stagedFile(), s.opt.SnapshotFile); err != nil {
		return s.snapshotError(err)
	}
	if dir, err := os.Open(filepath.Dir(s.opt.SnapshotFile)); err == nil {
		_ = dir.Sync() // not every file system can; the rename itself is done
		_ = dir.Close()
	}
	return nil
}

func (s *Server) stagedFile() string { return s.opt.SnapshotFile + ".next" }

// LoadSnapshot answers by the snapshot file. Without a file it does
// nothing. It belongs before Listen.
func (s *Server) LoadSnapshot() error {
	if s.opt.SnapshotFile == "" {
		return nil
	}
	data, err := os.ReadFile(s.opt.SnapshotFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return s.snapshotError(err)
	}
	snap := new(trafficmanager.Snapshot)
	if err := json.Unmarshal(data, snap); err != nil {
		return fault.Wrap(err, fault.Invalid, "snapshot-unreadable", "the DNS server's snapshot cannot be read").
			At("%s", s.opt.SnapshotFile).Try("delete the file; the server sends the snapshot again")
	}
	packed, err := pack(snap, &s.trackers)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.served.Load().snapshot; now == nil || now.Generation < snap.Generation {
		s.served.Store(packed)
	}
	return nil
}

func (s *Server) snapshotError(err error) error {
	return fault.Wrap(err, fault.Unavailable, "snapshot-not-written", "the DNS server cannot keep its snapshot").
		At("%s", s.opt.SnapshotFile).Try("make the folder writable; nothing was switched")
}
