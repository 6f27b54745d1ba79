// Package blobstore keeps bytes under keys, in a folder.
package blobstore

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/domain/artifact"
)

// Store implements artifact.Blobs in a folder. Writes are confined to it.
type Store struct {
	root *os.Root

	mu     sync.Mutex
	synced map[string]bool // folders whose own name is durable
}

// partial ends the name of what is being written.
const partial = ".partial"

// OpenFolder opens a store in a folder, which is made if missing. What a killed
// process left half written is removed: it was never acknowledged.
func OpenFolder(folder string) (*Store, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "data-not-writable", "cannot write in the data folder").At("%s", folder)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	s := &Store{root: root, synced: map[string]bool{}}
	err = s.walk(".", func(name string, _ fs.FileInfo) error {
		if strings.HasSuffix(name, partial) {
			return root.Remove(filepath.FromSlash(name))
		}
		return nil
	})
	return s, err
}

// Close releases the folder.
func (s *Store) Close() error { return s.root.Close() }

// Put implements artifact.Blobs. The bytes are on the disk before they have
// their name, and the name is before Put returns: they survive a process that is
// killed, and a machine that loses power.
func (s *Store) Put(_ context.Context, key string, write func(io.Writer) error) error {
	name, err := local(key)
	if err != nil {
		return err
	}
	dir := filepath.Dir(name)
	if err := s.root.MkdirAll(dir, 0o700); err != nil {
		return unavailable(err)
	}
	draft := name + "." + id.New() + partial
	if err = s.write(draft, write); err == nil {
		if err = s.root.Rename(draft, name); err != nil {
			err = unavailable(err)
		}
	}
	if err != nil {
		_ = s.root.Remove(draft)
		return err
	}
	return s.syncFolder(dir)
}

func (s *Store) write(name string, write func(io.Writer) error) error {
	f, err := s.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return unavailable(err)
	}
	disk := &sink{f: f}
	out := bufio.NewWriterSize(disk, 256<<10)
	if err = write(out); err == nil {
		err = out.Flush()
	}
	if err == nil {
		disk.err = f.Sync()
	}
	if cerr := f.Close(); err == nil && disk.err == nil {
		disk.err = cerr
	}
	if disk.err != nil {
		return unavailable(disk.err)
	}
	return err // of write: it says itself what it is
}

// sink tells an error of the disk from one of what is written.
type sink struct {
	f   *os.File
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.f.Write(p)
	s.err = err
	return n, err
}

// syncFolder makes the names in a folder durable; the first time also its own
// name, and those of the folders above.
func (s *Store) syncFolder(dir string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		f, err := s.root.Open(dir)
		if err != nil {
			return unavailable(err)
		}
		// Not every system lets a folder be synchronized.
		_ = f.Sync()
		_ = f.Close()
		if s.synced[dir] {
			return nil
		}
		s.synced[dir] = true
		if dir == "." {
			return nil
		}
		dir = filepath.Dir(dir)
	}
}

func unavailable(err error) error {
	return fault.Wrap(err, fault.Unavailable, "blob-store", "the artifact store cannot be written").Try("look at the disk; nothing was lost, try again")
}

// local is the file of a key.
func local(key string) (string, error) {
	if key == "." || path.Clean(key) != key || !filepath.IsLocal(filepath.FromSlash(key)) || strings.HasSuffix(key, partial) || strings.Contains(key, `\`) {
		return "", fault.New(fault.Internal, "blob-key", "%q is no key", key)
	}
	return filepath.FromSlash(key), nil
}

// Open implements artifact.Blobs.
func (s *Store) Open(_ context.Context, key string) (artifact.Blob, error) {
	name, err := local(key)
	if err != nil {
		return nil, err
	}
	f, err := s.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "blob-not-found", "the content %s is not stored (any more)", key)
	}
	if err != nil {
		return nil, unreadable(err)
	}
	return &file{f}, nil
}

func unreadable(err error) error {
	return fault.Wrap(err, fault.Unavailable, "blob-store", "the artifact store cannot be read").Try("look at the disk, then try again")
}

type file struct{ *os.File }

// Size implements artifact.Blob.
func (f *file) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, unreadable(err)
	}
	return info.Size(), nil
}

// List implements artifact.Blobs.
func (s *Store) List(_ context.Context, prefix string) ([]artifact.BlobInfo, error) {
	dir, err := local(strings.TrimSuffix(prefix, "/"))
	if err != nil {
		return nil, err
	}
	var list []artifact.BlobInfo
	err = s.walk(filepath.ToSlash(dir), func(name string, info fs.FileInfo) error {
		if !strings.HasSuffix(name, partial) {
			list = append(list, artifact.BlobInfo{Key: name, Size: info.Size(), Stored: info.ModTime()})
		}
		return nil
	})
	return list, err
}

// walk visits the files below a folder, which may not be there, in their order.
func (s *Store) walk(dir string, visit func(name string, info fs.FileInfo) error) error {
	err := fs.WalkDir(s.root.FS(), dir, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone meanwhile, or never there
		}
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return visit(name, info)
	})
	if err != nil {
		return unreadable(err)
	}
	return nil
}

// Delete implements artifact.Blobs.
func (s *Store) Delete(_ context.Context, key string) error {
	name, err := local(key)
	if err != nil {
		return err
	}
	if err := s.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unavailable(err)
	}
	return nil
}
