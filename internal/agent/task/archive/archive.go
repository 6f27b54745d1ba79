// Package archive holds the tasks that pack and unpack.
package archive

import (
	"archive/zip"
	"cmp"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"penstock.dev/penstock/internal/agent/pack"
	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
)

func init() {
	task.Register(&task.Task{Name: "ArchiveFiles", Major: []string{"1", "2"}, Run: archiveFiles})
	task.Register(&task.Task{Name: "ExtractFiles", Major: []string{"1"}, Run: extractFiles})
}

func archiveFiles(ctx context.Context, c *task.Context) error {
	root, err := c.Need("rootFolderOrFile")
	if err != nil {
		return err
	}
	target, err := c.Need("archiveFile")
	if err != nil {
		return err
	}
	root, target = c.Path(root), c.Path(target)
	info, err := os.Stat(root)
	if err != nil {
		return fault.New(fault.Invalid, "no-path", "Not found rootFolderOrFile: %s", root)
	}
	prefix := ""
	if info.IsDir() && !strings.EqualFold(c.Input("includeRootFolder"), "false") {
		prefix = filepath.Base(root)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	if c.Bool("replaceExistingArchive") {
		if err := os.Remove(target); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	// An archive that lies in what it packs must not hold itself.
	draft, err := os.CreateTemp(c.Temp, "archive-*")
	if err != nil {
		return err
	}
	defer func() {
		_ = draft.Close()
		_ = os.Remove(draft.Name())
	}()
	switch kind := strings.ToLower(c.Input("archiveType")); kind {
	case "zip":
		err = writeZip(draft, target, root, prefix)
	case "tar":
		err = writeTar(ctx, c, draft, target, root, prefix)
	case "7z", "wim":
		return sevenZip(ctx, c, kind, target, root, prefix)
	default:
		return fault.New(fault.Invalid, "archive-type", "there is no archiveType %q", kind).Want("zip, tar, 7z or wim")
	}
	if err != nil {
		return err
	}
	if err := moveFile(draft, target); err != nil {
		return err
	}
	size := int64(0)
	if info, err := os.Stat(target); err == nil {
		size = info.Size()
	}
	c.Printf("Archived %s to %s: %d bytes", root, target, size)
	return nil
}

func moveFile(draft *os.File, target string) error {
	if _, err := draft.Seek(0, io.SeekStart); err != nil {
		return err
	}
	out, err := os.Create(target)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, draft)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	return err
}

// writeZip packs, and keeps what an archive at the target has already, except
// under the same names.
func writeZip(w io.Writer, target, root, prefix string) error {
	zw := zip.NewWriter(w)
	fresh := map[string]bool{}
	err := pack.Walk(root, prefix, func(name, file string, info fs.FileInfo) error {
		fresh[name] = true
		return addZip(zw, name, file, info)
	})
	if err != nil {
		return err
	}
	if old, err := zip.OpenReader(target); err == nil {
		for _, f := range old.File {
			if !fresh[strings.TrimSuffix(f.Name, "/")] {
				if err := zw.Copy(f); err != nil {
					_ = old.Close()
					return err
				}
			}
		}
		_ = old.Close()
	} else if !os.IsNotExist(err) {
		return fault.Wrap(err, fault.Invalid, "archive-unreadable", "cannot add to %s", target).Try("set replaceExistingArchive to true")
	}
	return zw.Close()
}

func addZip(zw *zip.Writer, name, file string, info fs.FileInfo) error {
	if info.Mode()&fs.ModeSymlink != 0 {
		// As zip -r does: what a link leads to is packed, if it is a file.
		followed, err := os.Stat(file)
		if err != nil || followed.IsDir() {
			return nil
		}
		info = followed
	}
	h, err := zip.FileInfoHeader(info)
	if err != nil {
		return err
	}
	h.Name, h.Method = name, zip.Deflate
	if info.IsDir() {
		h.Name, h.Method = name+"/", zip.Store
		_, err := zw.CreateHeader(h)
		return err
	}
	w, err := zw.CreateHeader(h)
	if err != nil {
		return err
	}
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, in)
	_ = in.Close()
	return err
}

func writeTar(ctx context.Context, c *task.Context, w *os.File, target, root, prefix string) error {
	if _, err := os.Stat(target); err == nil {
		return fault.New(fault.Invalid, "archive-exists", "%s exists, and nothing can be added to a tar archive", target).Try("set replaceExistingArchive to true")
	}
	kind := strings.ToLower(c.Input("tarCompression"))
	switch kind {
	case "bz2":
		return bzip(ctx, c, w, root, prefix)
	case "none":
		kind = ""
	case "gz", "xz":
	default:
		return fault.New(fault.Invalid, "archive-compression", "there is no tarCompression %q", kind).Want("gz, bz2, xz or none")
	}
	z, err := pack.Compressor(w, kind)
	if err != nil {
		return err
	}
	err = pack.Tar(z, root, prefix)
	if cerr := z.Close(); err == nil {
		err = cerr
	}
	return err
}

// bzip compresses with the machine's own program.
func bzip(ctx context.Context, c *task.Context, w io.Writer, root, prefix string) error {
	program, err := c.Program("bzip2", "install bzip2, or choose tarCompression: gz or xz, which need no program")
	if err != nil {
		return err
	}
	plain, err := os.CreateTemp(c.Temp, "archive-*.tar")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(plain.Name() + ".bz2") }()
	err = pack.Tar(plain, root, prefix)
	if cerr := plain.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = os.Remove(plain.Name())
		return err
	}
	if code, err := c.Exec(ctx, task.Command{Path: program, Args: []string{"-z", plain.Name()}, Dir: c.Temp, Plain: true}); err != nil || code != 0 {
		return cmp.Or(err, task.ExitError("bzip2", code))
	}
	in, err := os.Open(plain.Name() + ".bz2")
	if err != nil {
		return err
	}
	_, err = io.Copy(w, in)
	_ = in.Close()
	return err
}

// sevenZip packs with the machine's own program: there is no other.
func sevenZip(ctx context.Context, c *task.Context, kind, target, root, prefix string) error {
	program, err := findSevenZip(c)
	if err != nil {
		return err
	}
	dir, what := root, []string{"."}
	if info, err := os.Stat(root); prefix != "" || err == nil && !info.IsDir() {
		dir, what = filepath.Dir(root), []string{filepath.Base(root)}
	}
	args := []string{"a", "-t" + kind}
	if level, ok := map[string]string{"none": "0", "fastest": "1", "fast": "3", "normal": "5", "maximum": "7", "ultra": "9"}[strings.ToLower(c.Input("sevenZipCompression"))]; ok && kind == "7z" {
		args = append(args, "-mx="+level)
	}
	code, err := c.Exec(ctx, task.Command{Path: program, Args: append(append(args, "--", target), what...), Dir: dir, Plain: true})
	if err == nil && code != 0 {
		err = task.ExitError("7z", code)
	}
	return err
}

func findSevenZip(c *task.Context) (string, error) {
	if p := c.Input("pathToSevenZipTool"); p != "" {
		return c.Program(c.Path(p), "check the input pathToSevenZipTool")
	}
	for _, name := range []string{"7z", "7zz", "7za"} {
		if p, err := c.Find(name); err == nil {
			return p, nil
		}
	}
	return c.Program("7z", "install 7-Zip (package 7zip or p7zip-full), or choose archiveType: zip or tar, which need no program")
}
