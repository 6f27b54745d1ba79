package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/rootfs"
)

// Entry is one cache.
type Entry struct {
	Scope   string    `json:"scope"`
	Key     []string  `json:"key"`
	Created time.Time `json:"created"`
	file    string
}

// Store keeps caches.
type Store interface {
	// Find returns the entry with exactly this key in a scope, or else, where
	// prefix is true, the newest whose key begins with it; nil: none.
	Find(scope string, key []string, prefix bool) (*Entry, error)
	Open(e *Entry) (io.ReadCloser, error)
	// Save keeps what write writes. A key that is there stays as it is.
	Save(scope string, key []string, write func(io.Writer) error) error
}

// Folder is a Store in a folder. What nobody asked for in a week goes.
type Folder struct {
	Dir string
	Now func() time.Time
}

// unused is how long an entry stays that nobody asks for.
const unused = 7 * 24 * time.Hour

func hash(parts ...string) string {
	h := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(h[:16])
}

func (f *Folder) scope(name string) string { return filepath.Join(f.Dir, hash(name)) }

// Find implements Store.
func (f *Folder) Find(scope string, key []string, prefix bool) (*Entry, error) {
	dir := f.scope(scope)
	if e := f.read(filepath.Join(dir, hash(key...)+".json")); e != nil && slices.Equal(e.Key, key) {
		f.touch(e)
		return e, nil
	}
	if !prefix {
		return nil, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	var newest *Entry
	for _, d := range entries {
		if !strings.HasSuffix(d.Name(), ".json") {
			continue
		}
		e := f.read(filepath.Join(dir, d.Name()))
		if e != nil && len(e.Key) >= len(key) && slices.Equal(e.Key[:len(key)], key) && (newest == nil || e.Created.After(newest.Created)) {
			newest = e
		}
	}
	if newest != nil {
		f.touch(newest)
	}
	return newest, nil
}

// read returns nil for an entry that is not whole.
func (f *Folder) read(name string) *Entry {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	e := &Entry{file: strings.TrimSuffix(name, ".json") + ".tar.gz"}
	if json.Unmarshal(data, e) != nil {
		return nil
	}
	if _, err := os.Stat(e.file); err != nil {
		return nil
	}
	return e
}

// touch notes that somebody asked.
func (f *Folder) touch(e *Entry) { _ = os.Chtimes(e.file, f.Now(), f.Now()) }

// Open implements Store.
func (f *Folder) Open(e *Entry) (io.ReadCloser, error) { return os.Open(e.file) }

// Save implements Store.
func (f *Folder) Save(scope string, key []string, write func(io.Writer) error) error {
	dir := f.scope(scope)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f.sweep()
	name := filepath.Join(dir, hash(key...))
	if f.read(name+".json") != nil {
		return nil
	}
	tmp, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	err = write(tmp)
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), name+".tar.gz")
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
		return err
	}
	data, err := json.Marshal(Entry{Scope: scope, Key: key, Created: f.Now()})
	if err != nil {
		return err
	}
	return rootfs.WriteFile(name+".json", data, 0o600)
}

// sweep deletes what was not asked for in a week, and what a crash left.
func (f *Folder) sweep() {
	files, _ := filepath.Glob(filepath.Join(f.Dir, "*", "*.tar.gz"))
	left, _ := filepath.Glob(filepath.Join(f.Dir, "*", ".new-*"))
	for _, file := range append(files, left...) {
		if info, err := os.Stat(file); err == nil && f.Now().Sub(info.ModTime()) > unused {
			_ = os.Remove(strings.TrimSuffix(file, ".tar.gz") + ".json")
			_ = os.Remove(file)
		}
	}
}
