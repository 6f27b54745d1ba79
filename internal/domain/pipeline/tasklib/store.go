package tasklib

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
)

// Store is a folder of tasks:
//
//	<name>.<id>/<version>/            what the package holds, task.json on top
//	<name>.<id>/<version>.complete    written last: without it there is nothing
//
// A reader needs no lock: it sees a version once all of it is there.
type Store struct{ Dir string }

// Entry is one version of a task in a store.
type Entry struct {
	Name    string  `json:"name"`
	ID      string  `json:"id"`
	Version Version `json:"version"`
	// Contribution is the full name, publisher.extension.contribution, of a task
	// that came with an extension.
	Contribution string    `json:"contribution,omitempty"`
	Added        time.Time `json:"added"`
	Files        int       `json:"files"`
	Dir          string    `json:"folder"`
}

// Ref is how a step names the entry.
func (e Entry) Ref() string { return e.Name + "@" + e.Version.String() }

// Task is a version of a task with what it says of itself.
type Task struct {
	Entry
	Definition *Definition `json:"definition"`
}

const (
	marker     = ".complete"
	definition = "task.json"
)

// folderOf is where a task's versions are.
func (s Store) folderOf(name, id string) string {
	return filepath.Join(s.Dir, strings.ToLower(name)+"."+id)
}

// Entries lists what the store holds, by name and the newest version first. A
// store that was never written to is empty.
func (s Store) Entries() ([]Entry, error) {
	markers, err := filepath.Glob(filepath.Join(escape(s.Dir), "*", "*"+marker))
	if err != nil {
		return nil, err
	}
	var list []Entry
	for _, file := range markers {
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, fault.Wrap(err, fault.Invalid, "task-store", "the store of tasks cannot be read").At("%s", file)
		}
		e := Entry{}
		if json.Unmarshal(data, &e) != nil || e.Name == "" {
			continue // not ours
		}
		e.Dir = strings.TrimSuffix(file, marker)
		list = append(list, e)
	}
	sortEntries(list)
	return list, nil
}

// escape keeps characters of a folder's name from being a pattern.
func escape(dir string) string {
	if filepath.Separator == '\\' {
		return dir // a backslash escapes nothing there
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

func sortEntries(list []Entry) {
	slices.SortStableFunc(list, func(a, b Entry) int {
		if c := strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)); c != 0 {
			return c
		}
		if c := strings.Compare(a.ID, b.ID); c != 0 {
			return c
		}
		return b.Version.Compare(a.Version)
	})
}

// Open reads the definition of an entry.
func (e Entry) Open() (*Task, error) {
	data, err := readBounded(filepath.Join(e.Dir, definition))
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "task-store", "the task %s cannot be read", e.Ref()).At("%s", e.Dir).Try("penstock task add it again with --force")
	}
	d, err := Parse(data)
	if err != nil {
		return nil, err
	}
	return &Task{e, d}, nil
}

func readBounded(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxDefinition {
		return make([]byte, maxDefinition+1), nil // Parse says so
	}
	return os.ReadFile(name)
}

// Remove takes versions of a task away and returns them. Without a version it
// is all of them.
func (s Store) Remove(name, version string) ([]Entry, error) {
	all, err := s.Entries()
	if err != nil {
		return nil, err
	}
	found, err := match(all, name, version)
	if err != nil {
		return nil, err
	}
	for _, e := range found {
		if err := s.drop(e.Dir); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// drop removes a version: its marker first, so that nobody begins to use what
// goes away.
func (s Store) drop(dir string) error {
	rel, err := filepath.Rel(s.Dir, dir)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(s.Dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if err := root.Remove(rel + marker); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := root.RemoveAll(rel); err != nil {
		return err
	}
	_ = root.Remove(filepath.Dir(rel)) // if it was the last one
	return nil
}
