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
		if err := s.unpack(f, changes[f.Path]); err != nil {
			return err
		}
		s.files[f.Path] = true
	}
	return nil
}

// unpack writes one file of the package. Only a file that parameters change is
// read into memory as a whole.
func (s *stage) unpack(f File, changes []change) error {
	packed, err := s.p.content(f)
	if err != nil {
		return err
	}
	defer func() { _ = packed.Close() }()
	if len(changes) == 0 {
		return s.writeFile(f, packed)
	}
	if f.Size > maxManifest {
		return at(tooLarge("bytes in a file that parameters change", maxManifest, f.Size), f.Path)
	}
	data, err := io.ReadAll(packed)
	if err != nil {
		return err
	}
	if data, err = substitute(data, changes); err != nil {
		return at(err, f.Path)
	}
	return s.writeFile(f, bytes.NewReader(data))
}

// writeFile writes one file to disk for good, compares it with the target's on
// the way, and counts it.
func (s *stage) writeFile(f File, from io.Reader) error {
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
	old := s.openOld(f.Path, mode)
	defer old.close()
	_, err = io.Copy(io.MultiWriter(out, old), from)
	if err = errors.Join(err, out.Chmod(mode), out.Sync(), out.Close()); err != nil {
		return err
	}
	switch {
	case !old.exists:
		s.report.Added++
	case old.equal():
		s.report.Unchanged++
	default:
		s.report.Updated++
	}
	return nil
}

// comparer compares what is written to it with a file.
type comparer struct {
	exists bool
	file   *os.File // nil when it is known to differ
	buffer []byte
}

// openOld makes a comparer for a file of the target. What cannot be read there
// counts as different; a place that leads out of the target, as missing.
func (s *stage) openOld(rel string, mode fs.FileMode) *comparer {
	name := s.base + "/" + rel
	info, err := s.root.Lstat(name)
	if err != nil {
		return &comparer{exists: errors.Is(err, fs.ErrPermission)}
	}
	c := &comparer{exists: true}
	if info.Mode().IsRegular() && info.Mode().Perm() == mode {
		if c.file, err = s.root.Open(name); err != nil {
			c.file = nil
		}
	}
	return c
}

// Write implements io.Writer; it never fails.
func (c *comparer) Write(p []byte) (int, error) {
	if c.file == nil {
		return len(p), nil
	}
	if cap(c.buffer) < len(p) {
		c.buffer = make([]byte, len(p))
	}
	if _, err := io.ReadFull(c.file, c.buffer[:len(p)]); err != nil || !bytes.Equal(p, c.buffer[:len(p)]) {
		c.close()
	}
	return len(p), nil
}

// equal reports whether the file held exactly what was written.
func (c *comparer) equal() bool {
	if c.file == nil {
		return false
	}
	n, err := c.file.Read(make([]byte, 1))
	return n == 0 && errors.Is(err, io.EOF)
}

func (c *comparer) close() {
	if c.file != nil {
		_ = c.file.Close()
		c.file = nil
	}
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
