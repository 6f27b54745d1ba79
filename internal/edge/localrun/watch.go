package localrun

import (
	"context"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"penstock.dev/penstock/internal/base/fault"
)

// settle is how long files must be quiet before their change counts: editors
// write several times.
const settle = 200 * time.Millisecond

// Watcher tells when the files of a checkout change.
type Watcher struct {
	root string
	w    *fsnotify.Watcher
}

// Watch begins. What git ignores, and the record of runs, is not watched.
func Watch(root string) (*Watcher, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "watch", "files cannot be watched")
	}
	x := &Watcher{root: root, w: w}
	if err := x.add(root); err != nil {
		_ = w.Close()
		return nil, fault.Wrap(err, fault.Unavailable, "watch", "the checkout cannot be watched").At("%s", root).
			Try("raise fs.inotify.max_user_watches, or watch a smaller checkout with --root")
	}
	return x, nil
}

// Close ends it.
func (x *Watcher) Close() { _ = x.w.Close() }

func (x *Watcher) add(folder string) error {
	return filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil // it went away meanwhile
		}
		if name := d.Name(); name == ".git" || name == ".penstock" || path != x.root && x.ignored(path) {
			return filepath.SkipDir
		}
		return x.w.Add(path)
	})
}

// ignored asks git; without one nothing is.
func (x *Watcher) ignored(path string) bool {
	cmd := exec.Command("git", "check-ignore", "--quiet", "--", path)
	cmd.Dir = x.root
	return cmd.Run() == nil
}

// Next waits for a change and returns the path of the first file, relative to
// the checkout; "" when ctx has ended.
func (x *Watcher) Next(ctx context.Context) string {
	first := ""
	var quiet <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return ""
		case <-quiet:
			return first
		case _, open := <-x.w.Errors: // too many at once: something has changed
			if !open {
				return ""
			}
			if first == "" {
				first = "."
			}
		case e, open := <-x.w.Events:
			if !open {
				return ""
			}
			if e.Has(fsnotify.Create) {
				_ = x.add(e.Name)
			}
			rel, err := filepath.Rel(x.root, e.Name)
			if err != nil || e.Op == fsnotify.Chmod || strings.HasPrefix(rel, ".git"+string(filepath.Separator)) || rel == ".penstock" || x.ignored(e.Name) {
				continue
			}
			if first == "" {
				first = rel
			}
		}
		if first != "" {
			quiet = time.After(settle)
		}
	}
}
