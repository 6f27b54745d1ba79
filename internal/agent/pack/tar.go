// Package pack writes and reads archives: tar with its compressions, and zip.
// What is read is confined to one folder and bounded.
package pack

import (
	"archive/tar"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/ulikunitz/xz"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rootfs"
)

// Compressor wraps a writer: "", gz or xz.
func Compressor(w io.Writer, kind string) (io.WriteCloser, error) {
	switch kind {
	case "":
		return nopCloser{w}, nil
	case "gz":
		return gzip.NewWriter(w), nil
	case "xz":
		return xz.NewWriter(w)
	}
	return nil, fault.New(fault.Invalid, "unsupported-compression", "compression %s cannot be written", kind).Want("gz or xz")
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// Decompressor wraps a reader: "", gz, xz or bz2.
func Decompressor(r io.Reader, kind string) (io.Reader, error) {
	switch kind {
	case "":
		return r, nil
	case "gz":
		return gzip.NewReader(r)
	case "xz":
		return xz.NewReader(r)
	case "bz2":
		return bzip2.NewReader(r), nil
	}
	return nil, fault.New(fault.Invalid, "unsupported-compression", "compression %s cannot be read", kind).Want("gz, xz or bz2")
}

// Tar writes a file or folder; names begin with prefix.
func Tar(w io.Writer, source, prefix string) error {
	tw := tar.NewWriter(w)
	err := Walk(source, prefix, func(name, file string, info fs.FileInfo) error { return addTar(tw, name, file, info) })
	if cerr := tw.Close(); err == nil {
		err = cerr
	}
	return err
}

// Walk calls fn for a file, or for all in a folder, with slash separated names
// below prefix. Sockets and devices are left out.
func Walk(source, prefix string, fn func(name, file string, info fs.FileInfo) error) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fn(path.Join(prefix, filepath.Base(source)), source, info)
	}
	return filepath.WalkDir(source, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(source, p)
		if err != nil || rel == "." && prefix == "" {
			return err
		}
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() && !info.IsDir() && info.Mode()&fs.ModeSymlink == 0 {
			return err
		}
		return fn(path.Join(prefix, filepath.ToSlash(rel)), p, info)
	})
}

func addTar(tw *tar.Writer, name, file string, info fs.FileInfo) error {
	link := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		var err error
		if link, err = os.Readlink(file); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(info, filepath.ToSlash(link))
	if err != nil {
		return err
	}
	if h.Name = name; info.IsDir() {
		h.Name += "/"
	}
	h.Uid, h.Gid, h.Uname, h.Gname = 0, 0, "", ""
	if err := tw.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
		return err
	}
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(tw, in)
	_ = in.Close()
	return err
}

// Options bound and shape an extraction.
type Options struct {
	Limits rootfs.Limits
	Keep   func(name string) // a file that exists stays, and is told; nil: it is replaced
	Strip  int               // leading folders that are left off
}

// Untar extracts into a folder, which must exist, and returns the number of
// files. Entries and links that lead outside are refused.
func Untar(r io.Reader, folder string, o Options) (int, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return 0, err
	}
	defer func() { _ = root.Close() }()
	tr := tar.NewReader(r)
	files, left := 0, o.Limits.Bytes
	for n := 0; ; n++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return files, fault.Wrap(err, fault.Invalid, "archive-unreadable", "the archive cannot be read")
		}
		if n >= o.Limits.Files {
			return files, fault.New(fault.Invalid, "archive-too-large", "the archive holds too many entries").Want("at most %d", o.Limits.Files)
		}
		name, ok := entryName(h.Name, o.Strip)
		if !ok {
			continue
		}
		if !filepath.IsLocal(name) {
			return files, outside(h.Name)
		}
		size, err := untarOne(root, tr, h, name, o, left)
		if err != nil {
			return files, err
		}
		if h.Typeflag == tar.TypeReg {
			files++
		}
		left -= size
	}
}

func outside(name string) error {
	return fault.New(fault.Invalid, "archive-entry-outside", "the archive has an entry outside its root").Got("%q", name)
}

// entryName cleans a name and takes leading folders off; false: nothing is left.
func entryName(name string, strip int) (string, bool) {
	name = strings.TrimPrefix(path.Clean(strings.TrimPrefix(name, "./")), "./")
	for range strip {
		_, rest, ok := strings.Cut(name, "/")
		if !ok {
			return "", false
		}
		name = rest
	}
	return filepath.FromSlash(name), name != "" && name != "."
}

func untarOne(root *os.Root, tr *tar.Reader, h *tar.Header, name string, o Options, left int64) (int64, error) {
	if h.Typeflag == tar.TypeDir {
		return 0, root.MkdirAll(name, 0o755)
	}
	if dir := filepath.Dir(name); dir != "." {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return 0, fmt.Errorf("make folder of %s: %w", name, err)
		}
	}
	if _, err := root.Lstat(name); err == nil {
		if o.Keep != nil {
			o.Keep(name)
			return 0, nil
		}
		if err := root.Remove(name); err != nil {
			return 0, err
		}
	}
	switch h.Typeflag {
	case tar.TypeSymlink:
		if err := rootfs.CheckLink(root, name, h.Linkname); err != nil {
			return 0, err
		}
		return 0, root.Symlink(filepath.FromSlash(h.Linkname), name)
	case tar.TypeLink:
		to, ok := entryName(h.Linkname, o.Strip)
		if !ok || !filepath.IsLocal(to) {
			return 0, outside(h.Linkname)
		}
		// A link that lies elsewhere would lead elsewhere.
		if info, err := root.Lstat(to); err == nil && !info.Mode().IsRegular() {
			return 0, fault.New(fault.Invalid, "archive-entry-outside", "the archive has a second name for what is no file").Got("%s → %s", h.Name, h.Linkname)
		}
		return 0, root.Link(to, name)
	case tar.TypeReg:
		return copyEntry(root, tr, name, fs.FileMode(h.Mode).Perm(), left)
	}
	return 0, nil // devices and the like
}

func copyEntry(root *os.Root, r io.Reader, name string, mode fs.FileMode, left int64) (int64, error) {
	out, err := root.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode|0o600)
	if err != nil {
		return 0, fmt.Errorf("write %s: %w", name, err)
	}
	n, err := io.Copy(out, io.LimitReader(r, left+1))
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err == nil && n > left {
		err = fault.New(fault.Invalid, "archive-too-large", "the archive unpacks to more than its limit").At("entry %s", name)
	}
	return n, err
}
