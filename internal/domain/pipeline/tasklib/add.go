package tasklib

import (
	"archive/zip"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rootfs"
)

// limits are those of one package.
var limits = rootfs.Limits{Files: 100_000, Bytes: 4 << 30}

// AddOptions say how packages are added.
type AddOptions struct {
	Replace bool // what is there already
	Now     time.Time
}

// Add stores the tasks of a folder, of a .zip or of a .vsix, and returns them.
// Either all of them are added or, where one cannot be read, none.
func (s Store) Add(source string, o AddOptions) ([]Entry, error) {
	info, err := os.Stat(source)
	if err == nil {
		source, err = filepath.EvalSymlinks(source) // a link to a folder is that folder
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.NotFound, "task-package", "there is no package").At("%s", source).Want("a folder with a task.json, a .zip or a .vsix")
	}
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "task-store", "the store of tasks cannot be written").At("%s", s.Dir)
	}
	staging, err := os.MkdirTemp(s.Dir, ".adding-")
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "task-store", "the store of tasks cannot be written").At("%s", s.Dir)
	}
	defer func() { _ = os.RemoveAll(staging) }()
	var found []*staged
	if info.IsDir() {
		found, err = stageFolder(source, staging)
	} else {
		found, err = stageArchive(source, staging)
	}
	if err != nil {
		return nil, err
	}
	return s.install(found, o)
}

// staged is a task that has been unpacked beside the store.
type staged struct {
	dir          string
	contribution string
	files        int
	def          *Definition
}

func (p *staged) read() error {
	data, err := readBounded(filepath.Join(p.dir, definition))
	if err != nil {
		return err
	}
	if p.def, err = Parse(data); err != nil {
		return err
	}
	return p.built()
}

// built refuses sources: a part of a task that runs on Node needs one of the
// programs that its definition names.
func (p *staged) built() error {
	for _, part := range []Part{PreJob, Main, PostJob} {
		var missing []string
		for _, h := range p.def.Handlers(part) {
			name := strings.ReplaceAll(h.Target, `\`, "/")
			if !strings.HasPrefix(strings.ToLower(h.Kind), "node") || strings.Contains(name, "$(") {
				continue
			}
			if _, err := os.Stat(filepath.Join(p.dir, filepath.FromSlash(name))); err == nil {
				missing = nil
				break
			}
			missing = append(missing, h.Target)
		}
		if len(missing) > 0 {
			return fault.New(fault.Invalid, "task-package", "the package of task %s@%s has no %s: it is not built", p.def.Name, p.def.Version, missing[0]).
				Try("build it first, as a rule with npm install and npx tsc, and add the folder again")
		}
	}
	return nil
}

// install moves what was staged to its places.
func (s Store) install(found []*staged, o AddOptions) ([]Entry, error) {
	var list []Entry
	seen := map[string]bool{}
	for _, p := range found {
		e := Entry{Name: p.def.Name, ID: p.def.ID, Version: p.def.Version, Contribution: p.contribution, Added: o.Now.UTC().Truncate(time.Second), Files: p.files,
			Dir: filepath.Join(s.folderOf(p.def.Name, p.def.ID), p.def.Version.String())}
		if seen[e.Dir] {
			return nil, fault.New(fault.Invalid, "task-package", "the package holds %s twice", e.Ref()).At("%s", p.contribution)
		}
		seen[e.Dir] = true
		if _, err := os.Stat(e.Dir + marker); err == nil && !o.Replace {
			return nil, fault.New(fault.Conflict, "task-exists", "the store holds %s already", e.Ref()).At("%s", e.Dir).Try("--force replaces it")
		}
		list = append(list, e)
	}
	for i, e := range list {
		if err := s.place(found[i].dir, e); err != nil {
			return nil, err
		}
	}
	sortEntries(list)
	return list, nil
}

// place puts one task where readers look. What lies there without a marker is
// the rest of an attempt that broke off.
func (s Store) place(from string, e Entry) error {
	if err := s.drop(e.Dir); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(e.Dir), 0o755); err != nil {
		return err
	}
	if err := os.Rename(from, e.Dir); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fault.New(fault.Conflict, "task-exists", "somebody else adds %s right now", e.Ref()).At("%s", e.Dir).Try("look with penstock task list, then try again")
		}
		return err
	}
	data, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return err
	}
	return rootfs.WriteFile(e.Dir+marker, append(data, '\n'), 0o644)
}

// stageFolder copies the tasks below a folder by way of an archive, so that
// links are judged as those of any other package.
func stageFolder(source, staging string) ([]*staged, error) {
	var files []string
	err := filepath.WalkDir(source, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(source, p)
		if err != nil {
			return err
		}
		if d.IsDir() && rel != "." && skipped(d.Name()) {
			return filepath.SkipDir
		}
		if !d.IsDir() && d.Name() == definition {
			files = append(files, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var found []*staged
	for i, dir := range roots(files) {
		archive := filepath.Join(staging, "package.zip")
		if err := pack(filepath.Join(source, filepath.FromSlash(dir)), archive); err != nil {
			return nil, err
		}
		p, err := unpack(archive, func(*zip.Reader) ([]taskRoot, error) { return []taskRoot{{prefix: "."}}, nil }, staging, i)
		if err != nil {
			return nil, err
		}
		found = append(found, p...)
	}
	return found, some(found, source)
}

func pack(dir, archive string) error {
	out, err := os.Create(archive)
	if err != nil {
		return err
	}
	_, err = rootfs.Zip(out, dir)
	return errors.Join(err, out.Close())
}

func stageArchive(source, staging string) ([]*staged, error) {
	found, err := unpack(source, taskRoots, staging, 0)
	if err != nil {
		return nil, err
	}
	return found, some(found, source)
}

func some(found []*staged, source string) error {
	if len(found) > 0 {
		return nil
	}
	return fault.New(fault.Invalid, "task-package", "there is no task in the package").At("%s", source).Want("a task.json, and beside it what its execution names").
		Try("give the folder that the build of the task made, or its .zip or .vsix")
}

// skipped are folders that hold tasks of somebody else, if any.
func skipped(name string) bool { return name == "node_modules" || strings.HasPrefix(name, ".") }

// roots are the folders of task.json files, without those within another task.
func roots(files []string) []string {
	var dirs []string
	for _, f := range files {
		if base := path.Base(f); base != definition || slices.ContainsFunc(strings.Split(path.Dir(f), "/"), func(s string) bool { return s != "." && skipped(s) }) {
			continue
		}
		dirs = append(dirs, path.Dir(f))
	}
	slices.SortFunc(dirs, func(a, b string) int { return len(path.Join("/", a)) - len(path.Join("/", b)) }) // what is above is shorter
	var out []string
	for _, d := range dirs {
		if !slices.ContainsFunc(out, func(o string) bool { return within(d, o) }) {
			out = append(out, d)
		}
	}
	slices.Sort(out)
	return out
}

// within reports whether a path is a folder or lies below it.
func within(p, folder string) bool {
	return folder == "." || p == folder || strings.HasPrefix(p, strings.TrimSuffix(folder, "/")+"/")
}
