// Package rootfs confines every write that is derived from input to one folder,
// and reads archives with stated limits.
package rootfs

import (
	"archive/zip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
)

// Limits bound an extraction.
type Limits struct {
	Files int   // entries
	Bytes int64 // uncompressed, all together
}

// DefaultLimits are those of artifacts.
var DefaultLimits = Limits{Files: 200_000, Bytes: 20 << 30}

// Unzip extracts an archive into a folder, which is made if missing. Entries
// that point outside, and links that do, are refused; modes keep their
// permission bits.
func Unzip(archive *zip.Reader, folder string, limits Limits) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	defer func() { _ = root.Close() }()
	if len(archive.File) > limits.Files {
		return fault.New(fault.Invalid, "archive-too-large", "the archive holds %d entries", len(archive.File)).
			Want("at most %d", limits.Files)
	}
	left := limits.Bytes
	for _, f := range archive.File {
		n, err := extract(root, f, left)
		if err != nil {
			return err
		}
		left -= n
	}
	return nil
}

func extract(root *os.Root, f *zip.File, left int64) (int64, error) {
	name := strings.TrimSuffix(f.Name, "/")
	if !filepath.IsLocal(filepath.FromSlash(name)) || strings.Contains(name, `\`) {
		return 0, fault.New(fault.Invalid, "archive-entry-outside", "the archive has an entry outside its root").Got("%q", f.Name)
	}
	name = filepath.FromSlash(path.Clean(name))
	if f.FileInfo().IsDir() {
		return 0, root.MkdirAll(name, 0o755)
	}
	if dir := filepath.Dir(name); dir != "." {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return 0, fmt.Errorf("make folder of %s: %w", name, err)
		}
	}
	if f.Mode()&fs.ModeSymlink != 0 {
		return 0, extractLink(root, f, name)
	}
	in, err := f.Open()
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	defer func() { _ = in.Close() }()
	// What is there keeps neither its mode nor, where it is a link, what that leads to.
	if info, err := root.Lstat(name); err == nil && !info.IsDir() {
		if err := root.Remove(name); err != nil {
			return 0, fmt.Errorf("replace %s: %w", name, err)
		}
	}
	out, err := root.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, f.Mode().Perm()|0o600)
	if err != nil {
		return 0, fmt.Errorf("write %s: %w", name, err)
	}
	n, err := io.Copy(out, io.LimitReader(in, left+1))
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err == nil && n > left {
		err = fault.New(fault.Invalid, "archive-too-large", "the archive unpacks to more than its limit").At("entry %s", name)
	}
	return n, err
}

func extractLink(root *os.Root, f *zip.File, name string) error {
	in, err := f.Open()
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	defer func() { _ = in.Close() }()
	target, err := io.ReadAll(io.LimitReader(in, 4096))
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if err := CheckLink(root, name, string(target)); err != nil {
		return err
	}
	_ = root.Remove(name)
	return root.Symlink(filepath.FromSlash(string(target)), name)
}

// CheckLink refuses a link of an archive that would lead outside, at a path of the
// system below the root.
func CheckLink(root *os.Root, name, target string) error {
	if !LinkInside(filepath.ToSlash(name), filepath.ToSlash(target)) || filepath.IsAbs(filepath.FromSlash(target)) {
		return fault.New(fault.Invalid, "archive-entry-outside", "the archive has a link that leads outside its root").Got("%s → %s", name, target)
	}
	// Where a folder above is a link itself, this one would lead elsewhere.
	for dir := filepath.Dir(name); dir != "."; dir = filepath.Dir(dir) {
		if info, err := root.Lstat(dir); err != nil || info.Mode()&fs.ModeSymlink != 0 {
			return fault.New(fault.Invalid, "archive-entry-outside", "the archive has a link below a link").Got("%s → %s", name, target)
		}
	}
	return nil
}

// LinkInside says whether a link at a path below a root stays below it, whatever
// other links are there. Going up is allowed at the start of the target only:
// after the name of a folder that is a link itself, going up leads elsewhere than
// the text says. Both are slash separated.
func LinkInside(link, target string) bool {
	if target == "" || path.IsAbs(target) || strings.ContainsAny(target, "\\\x00") {
		return false
	}
	depth, named := strings.Count(link, "/"), false
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; named || depth < 0 {
				return false
			}
		default:
			named = true
		}
	}
	return true
}

// Zip writes a file or the content of a folder as an archive with reproducible
// order, keeping permission bits, links and empty folders. It returns the
// number of files.
func Zip(w io.Writer, source string) (int, error) { return ZipSome(w, source, nil) }

// ZipSome is Zip of what keep wants: it is asked for each path below a folder,
// slash separated, and a folder that it does not want is not entered.
func ZipSome(w io.Writer, source string, keep func(rel string, dir bool) bool) (int, error) {
	info, err := os.Stat(source)
	if err != nil {
		return 0, err
	}
	zw := zip.NewWriter(w)
	files := 0
	if !info.IsDir() {
		files = 1
		err = addFile(zw, source, filepath.Base(source), info)
	} else {
		err = filepath.WalkDir(source, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(source, p)
			if err != nil || rel == "." {
				return err
			}
			if keep != nil && !keep(filepath.ToSlash(rel), d.IsDir()) {
				if d.IsDir() {
					return filepath.SkipDir
				}
				return nil
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			if !d.IsDir() {
				files++
			}
			return addFile(zw, p, filepath.ToSlash(rel), info)
		})
	}
	if cerr := zw.Close(); err == nil {
		err = cerr
	}
	return files, err
}

func addFile(zw *zip.Writer, p, name string, info fs.FileInfo) error {
	h := &zip.FileHeader{Name: name, Method: zip.Deflate}
	h.SetMode(info.Mode())
	switch {
	case info.IsDir():
		h.Name, h.Method = name+"/", zip.Store
		_, err := zw.CreateHeader(h)
		return err
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(p)
		if err != nil {
			return err
		}
		w, err := zw.CreateHeader(h)
		if err == nil {
			_, err = io.WriteString(w, filepath.ToSlash(target))
		}
		return err
	case !info.Mode().IsRegular():
		return nil // sockets, devices
	}
	w, err := zw.CreateHeader(h)
	if err != nil {
		return err
	}
	in, err := os.Open(p)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, in)
	_ = in.Close()
	return err
}

// WriteFile replaces a file by rename, so that a reader sees the old content or
// the new, and a crash leaves one of them, even one of the machine.
func WriteFile(name string, data []byte, perm os.FileMode) error {
	return replace(name, data, perm, (*os.File).Sync)
}

// ReplaceFile is WriteFile for what can be made again: it does not wait for the
// disk, and a crash of the machine may spoil the file.
func ReplaceFile(name string, data []byte, perm os.FileMode) error {
	return replace(name, data, perm, func(*os.File) error { return nil })
}

func replace(name string, data []byte, perm os.FileMode, flush func(*os.File) error) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Chmod(perm)
	}
	if err == nil {
		err = flush(tmp)
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return err
}
