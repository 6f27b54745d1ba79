package task

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"penstock.dev/penstock/internal/base/fault"
)

func init() {
	register(&Task{Name: "CopyFiles", Major: []string{"2"}, Run: copyFiles, Defaults: map[string]string{"contents": "**"}})
	register(&Task{Name: "DeleteFiles", Major: []string{"1"}, Run: deleteFiles, Defaults: map[string]string{"contents": "myFileShare"}})
}

// Match lists the files and folders below a folder that patterns select, in
// order. A pattern is one line; one that begins with ! takes away again. A
// pattern that is a folder's name selects nothing below it.
func Match(root, patterns string) ([]string, error) {
	selected := map[string]bool{}
	fsys := os.DirFS(root)
	for _, p := range strings.Split(patterns, "\n") {
		p = strings.TrimSpace(strings.ReplaceAll(p, `\`, "/"))
		if p == "" || strings.HasPrefix(p, "#") {
			continue
		}
		exclude := strings.HasPrefix(p, "!")
		p = strings.TrimPrefix(strings.TrimPrefix(p, "!"), "./")
		if filepath.IsAbs(p) {
			rel, err := filepath.Rel(root, p)
			if err != nil || strings.HasPrefix(rel, "..") {
				continue // selects nothing below root
			}
			p = filepath.ToSlash(rel)
		}
		if !doublestar.ValidatePattern(p) {
			return nil, fault.New(fault.Invalid, "invalid-pattern", "pattern %q cannot be read", p)
		}
		found, err := doublestar.Glob(fsys, p, doublestar.WithNoFollow())
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			if exclude {
				delete(selected, f)
			} else if f != "." {
				selected[f] = true
			}
		}
	}
	list := make([]string, 0, len(selected))
	for f := range selected {
		list = append(list, filepath.FromSlash(f))
	}
	sort.Strings(list)
	return list, nil
}

func copyFiles(_ context.Context, c *Context) error {
	target, err := c.Need("TargetFolder")
	if err != nil {
		return err
	}
	source := c.Path(c.Input("SourceFolder"))
	if source == "" {
		source, _ = c.Lookup("System.DefaultWorkingDirectory")
	}
	if info, err := os.Stat(source); err != nil || !info.IsDir() {
		return fault.New(fault.Invalid, "no-folder", "Not found SourceFolder: %s", source)
	}
	target = c.Path(target)
	if c.Bool("CleanTargetFolder") {
		if err := os.RemoveAll(target); err != nil {
			return err
		}
	}
	found, err := Match(source, c.Inputs["contents"])
	if err != nil {
		return err
	}
	files := 0
	for _, f := range found {
		info, err := os.Stat(filepath.Join(source, f))
		if err != nil || info.IsDir() {
			continue
		}
		to := filepath.Join(target, f)
		if c.Bool("flattenFolders") {
			to = filepath.Join(target, filepath.Base(f))
		}
		if _, err := os.Stat(to); err == nil && !c.Bool("OverWrite") {
			c.Printf("File %s already exists at %s", f, to)
			continue
		}
		if err := copyFile(filepath.Join(source, f), to, info.Mode().Perm()); err != nil {
			return err
		}
		c.Printf("Copying %s to %s", filepath.Join(source, f), to)
		files++
	}
	c.Printf("Found %d files; copied %d", countFiles(source, found), files)
	return nil
}

func countFiles(root string, found []string) int {
	n := 0
	for _, f := range found {
		if info, err := os.Stat(filepath.Join(root, f)); err == nil && !info.IsDir() {
			n++
		}
	}
	return n
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
	found, err := Match(source, c.Inputs["contents"])
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(source)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	// Deepest first, so that a folder is empty when its turn comes.
	for i := len(found) - 1; i >= 0; i-- {
		if err := root.RemoveAll(found[i]); err != nil {
			return err
		}
	}
	c.Printf("Removed %d entries below %s", len(found), source)
	return nil
}
