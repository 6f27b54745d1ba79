package webdeploy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"

	"penstock.dev/penstock/internal/base/fault"
)

// write unpacks the package into the stage and counts what differs from the
// target.
func (s *stage) write(ctx context.Context, changes map[string][]change) error {
	if err := s.root.Mkdir(s.fresh, 0o755); err != nil {
		return err
	}
	for _, folder := range s.p.folders {
		if !s.skipped(folder) {
			if err := s.root.MkdirAll(s.fresh+"/"+folder, 0o755); err != nil {
				return err
			}
		}
	}
	for _, f := range s.p.files {
		if err := ctx.Err(); err != nil {
			return interrupted(err)
		}
		if s.skipped(f.Path) {
			continue
		}
		data, err := s.p.content(f)
		if err != nil {
			return err
		}
		if list := changes[f.Path]; len(list) > 0 {
			if data, err = substitute(data, list); err != nil {
				return at(err, f.Path)
			}
		}
		if err := s.writeFile(f, data); err != nil {
			return err
		}
		s.files[f.Path] = true
	}
	return nil
}

// writeFile writes one file to disk for good and counts it.
func (s *stage) writeFile(f File, data []byte) error {
	mode := fs.FileMode(0o644)
	if f.Executable {
		mode = 0o755
	}
	name := s.fresh + "/" + f.Path
	if err := s.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	out, err := s.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = out.Write(data)
	if err = errors.Join(err, out.Chmod(mode), out.Sync(), out.Close()); err != nil {
		return err
	}
	switch same, err := s.same(f.Path, data, mode); {
	case errors.Is(err, fs.ErrNotExist):
		s.report.Added++
	case err == nil && same:
		s.report.Unchanged++
	default:
		s.report.Updated++
	}
	return nil
}

// same compares a file of the target with new content.
func (s *stage) same(rel string, data []byte, mode fs.FileMode) (bool, error) {
	name := s.base + "/" + rel
	info, err := s.root.Lstat(name)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) && !errors.Is(err, fs.ErrPermission) {
			return false, fs.ErrNotExist // a file is where a folder is needed
		}
		return false, err
	}
	if !info.Mode().IsRegular() || info.Size() != int64(len(data)) || info.Mode().Perm() != mode {
		return false, nil
	}
	old, err := s.root.Open(name)
	if err != nil {
		return false, err
	}
	defer func() { _ = old.Close() }()
	buffer, rest := make([]byte, 64<<10), data
	for len(rest) > 0 {
		n, err := old.Read(buffer)
		if n > len(rest) || !bytes.Equal(buffer[:n], rest[:min(n, len(rest))]) {
			return false, nil
		}
		rest = rest[n:]
		if err != nil && len(rest) > 0 {
			return false, nil
		}
	}
	return true, nil
}

// carry takes over what the target has and the package does not, as far as it
// is to stay, and counts the rest as deleted.
func (s *stage) carry(ctx context.Context) error {
	if !s.had {
		return nil
	}
	return fs.WalkDir(s.root.FS(), s.base, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == s.base {
			return err
		}
		if err := ctx.Err(); err != nil {
			return interrupted(err)
		}
		rel := name[len(s.base)+1:]
		if s.files[rel] && !d.IsDir() {
			return nil
		}
		keep := (!s.o.RemoveAdditionalFiles || s.skipped(rel)) && s.fits(rel)
		if d.IsDir() {
			if keep && !s.files[rel] {
				return s.root.MkdirAll(s.fresh+"/"+rel, 0o755)
			}
			return nil // what is in it is looked at one by one
		}
		if !keep {
			s.report.Deleted++
			return nil
		}
		return s.keep(name, rel, d)
	})
}

// fits reports whether a path can stay: it cannot where the package has a file
// above it, or a folder in its place.
func (s *stage) fits(rel string) bool {
	for at := path.Dir(rel); at != "."; at = path.Dir(at) {
		if s.files[at] {
			return false
		}
	}
	info, err := s.root.Lstat(s.fresh + "/" + rel)
	return err != nil || info.IsDir()
}

// keep takes over one file. A hard link costs nothing and goes on sharing what
// a running program still writes, a log for example.
func (s *stage) keep(name, rel string, d fs.DirEntry) error {
	to := s.fresh + "/" + rel
	if info, err := s.root.Lstat(to); err == nil && info.IsDir() {
		s.report.Deleted++ // the package has a folder here now
		return nil
	}
	if err := s.root.MkdirAll(path.Dir(to), 0o755); err != nil {
		return err
	}
	switch {
	case d.Type()&fs.ModeSymlink != 0:
		link, err := s.root.Readlink(name)
		if err != nil {
			return err
		}
		return s.root.Symlink(link, to)
	case !d.Type().IsRegular():
		s.report.Warnings = append(s.report.Warnings, rel+" is neither file nor folder and was not kept")
		return nil
	}
	if s.root.Link(name, to) == nil {
		return nil
	}
	return s.copyFile(name, to, d)
}

// copyFile is for file systems without hard links.
func (s *stage) copyFile(name, to string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	in, err := s.root.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := s.root.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

// twoRenames puts the staged folder in the target's place and the old content
// in the staged folder's, without an atomic exchange.
func twoRenames(root *os.Root, fresh, base string) error {
	aside := fresh + "-old"
	if err := root.Rename(base, aside); err != nil {
		return err
	}
	if err := root.Rename(fresh, base); err != nil {
		return errors.Join(err, root.Rename(aside, base))
	}
	return root.Rename(aside, fresh)
}

func interrupted(err error) error {
	return fault.Wrap(err, fault.Unavailable, "apply-interrupted", "the package was not applied: it was interrupted")
}

// at adds the file to an error that has no place yet.
func at(err error, file string) error {
	var e *fault.Error
	if errors.As(err, &e) && e.Where == "" {
		e.Where = file
	}
	return err
}
