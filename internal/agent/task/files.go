package task

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
)

func init() {
	Register(&Task{Name: "CopyFiles", Major: []string{"2"}, Run: copyFiles})
	Register(&Task{Name: "DeleteFiles", Major: []string{"1"}, Run: deleteFiles})
}

// copying is one run of CopyFiles.
type copying struct {
	c              *Context
	source, target string
	retries        int
	delay          time.Duration
}

func copyFiles(ctx context.Context, c *Context) error {
	to, err := c.Need("TargetFolder")
	if err != nil {
		return err
	}
	w := &copying{c: c, source: c.Path(c.Input("SourceFolder")), target: c.Path(to)}
	w.retries, _ = strconv.Atoi(c.Input("retryCount"))
	delay, _ := strconv.Atoi(c.Input("delayBetweenRetries"))
	w.delay = time.Duration(delay) * time.Millisecond
	if w.source == "" {
		w.source, _ = c.Lookup("System.DefaultWorkingDirectory")
	}
	if info, err := os.Stat(w.source); err != nil || !info.IsDir() {
		return fault.New(fault.Invalid, "no-folder", "Not found SourceFolder: %s", w.source)
	}
	found, err := Match(w.source, c.Inputs["contents"])
	if err != nil {
		return err
	}
	var files []string
	for _, f := range found {
		info, err := os.Stat(filepath.Join(w.source, f))
		if err != nil {
			return fault.New(fault.Invalid, "no-path", "Entry \"%s\" does not exist", filepath.Join(w.source, f)).Want("a file, or a link that leads to one").Try("leave it out by a line !%s of Contents", filepath.ToSlash(f))
		}
		if !info.IsDir() {
			files = append(files, f)
		}
	}
	c.Printf("found %d files", len(files))
	if len(files) == 0 {
		return nil
	}
	if info, err := os.Stat(w.target); err == nil && !info.IsDir() {
		return fault.New(fault.Invalid, "not-a-folder", "TargetFolder %s is a file", w.target).Want("a folder, or a path that does not exist")
	}
	if c.Bool("CleanTargetFolder") {
		c.Printf("Cleaning target folder: %s", w.target)
		if err := emptyFolder(w.target); err != nil {
			return err
		}
	}
	for _, f := range files {
		if err := w.again(ctx, func() error { return w.one(f) }); err != nil {
			return err
		}
	}
	return nil
}

// again tries something as often as retryCount allows.
func (w *copying) again(ctx context.Context, do func() error) error {
	for n := 0; ; n++ {
		err := do()
		if err == nil || n >= w.retries || ctx.Err() != nil {
			return err
		}
		w.c.Printf("%s; trying again in %s", err, w.delay)
		select {
		case <-ctx.Done():
		case <-w.c.After(w.delay):
		}
	}
}

func (w *copying) one(f string) error {
	from, to := filepath.Join(w.source, f), filepath.Join(w.target, f)
	if w.c.Bool("flattenFolders") {
		to = filepath.Join(w.target, filepath.Base(f))
	}
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if old, err := os.Stat(to); err == nil {
		if old.IsDir() {
			return fault.New(fault.Invalid, "not-a-file", "cannot copy %s: %s is a folder", from, to)
		}
		if !w.c.Bool("OverWrite") {
			w.c.Printf("File %s already exists at %s", f, to)
			return nil
		}
	}
	w.c.Printf("Copying %s to %s", from, to)
	if link, err := os.Readlink(from); err == nil {
		return copyLink(link, to)
	}
	if err := copyFile(from, to, info.Mode().Perm()); err != nil {
		return err
	}
	if w.c.Bool("preserveTimestamp") {
		return os.Chtimes(to, info.ModTime(), info.ModTime())
	}
	return nil
}

// copyLink makes a link that says what the one in the sources says.
func copyLink(link, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := os.Remove(to); err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.Symlink(link, to)
}

func copyFile(from, to string, perm fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, perm)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	return err
}

func deleteFiles(_ context.Context, c *Context) error {
	source := c.Path(c.Input("SourceFolder"))
	if source == "" {
		source, _ = c.Lookup("System.DefaultWorkingDirectory")
	}
	if _, err := os.Stat(source); err != nil {
		c.Printf("Nothing to delete: %s does not exist", source)
		return nil
	}
	absolute, err := deletable(source, c.Inputs["contents"], !c.Bool("RemoveDotFiles"))
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(source)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	count := 0
	// Deepest first, so that a folder is empty when its turn comes.
	for i := len(absolute) - 1; i >= 0; i-- {
		rel, err := filepath.Rel(source, absolute[i])
		if err != nil || rel == "." || !filepath.IsLocal(rel) {
			continue
		}
		if err := root.RemoveAll(rel); err != nil {
			return fault.Wrap(err, fault.Invalid, "cannot-delete", "cannot delete %s", absolute[i])
		}
		count++
	}
	c.Printf("Removed %d entries below %s", count, source)
	if left, err := os.ReadDir(source); c.Bool("RemoveSourceFolder") && err == nil && len(left) == 0 {
		return os.Remove(source)
	}
	return nil
}

// deletable lists what DeleteFiles takes away. Its patterns know braces, and
// where one of them takes something away again, a folder stays with anything in
// it that stays.
func deletable(source, contents string, noDot bool) ([]string, error) {
	var lines []string
	excludes := false
	for line := range strings.SplitSeq(contents, "\n") {
		expanded, err := braces(strings.TrimSpace(line))
		if err != nil {
			return nil, err
		}
		lines = append(lines, expanded...)
		line = strings.TrimSpace(line)
		excludes = excludes || (len(line)-len(strings.TrimLeft(line, "!")))%2 == 1
	}
	o := MatchOptions{NoDot: noDot, Stay: true}
	found, err := o.Find(source, lines...)
	if err != nil || !excludes {
		return found, err
	}
	goes := map[string]bool{}
	for _, f := range found {
		goes[filepath.ToSlash(f)] = true
	}
	stays := map[string]bool{} // and all folders above
	walk(source, true, func(p string, _ fs.FileInfo) {
		for dir := p; !goes[p] && len(dir) > len(source); dir = path.Dir(dir) {
			stays[dir] = true
		}
	})
	return slices.DeleteFunc(found, func(f string) bool { return stays[filepath.ToSlash(f)] }), nil
}
