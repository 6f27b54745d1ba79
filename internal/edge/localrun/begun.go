package localrun

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"penstock.dev/penstock/internal/base/rootfs"
)

// TakeTree begins to take the working tree as it is into the folder of a run. The
// result goes into the request; wait returns when the work is done.
type TakeTree func(ctx context.Context, root, folder, file string) (tree any, wait func())

// Begun is a run whose folder is there and whose working tree is being taken,
// while its file is still looked at.
type Begun struct {
	Folder string // .penstock/runs/N
	Number int    // N
	tree   any
	kept   bool
	stop   context.CancelFunc // the work is in vain
	wait   sync.WaitGroup
}

// Begin makes the folder of a run and sets to work what can be done beside the
// rest. Old runs beyond the newest twenty go.
func Begin(ctx context.Context, root, file string, take TakeTree) (*Begun, error) {
	b := &Begun{}
	var err error
	if b.Folder, b.Number, err = newFolder(root); err != nil {
		return nil, err
	}
	ctx, b.stop = context.WithCancel(context.WithoutCancel(ctx)) // a cancelled run still ends in order
	var taken func()
	b.tree, taken = take(ctx, root, b.Folder, file)
	b.wait.Go(taken)
	b.wait.Go(func() { sweep(root) })
	return b, nil
}

// Use gives the request what has begun; the folder stays from now on.
func (b *Begun) Use(r *Request) { r.Folder, r.Tree, b.kept = b.Folder, b.tree, true }

// Drop forgets the run, as if it had never been: its folder goes.
func (b *Begun) Drop() { b.kept = false }

// End waits for what was begun, or ends it if it was in vain.
func (b *Begun) End() {
	if !b.kept {
		b.stop()
	}
	b.wait.Wait()
	b.stop()
	if !b.kept {
		_ = os.RemoveAll(b.Folder)
	}
}

// goneMark ends the name of a folder that is being removed. What a process leaves
// of it when it ends the next run removes.
const goneMark = ".gone"

// sweep removes the oldest runs. A work folder can be large: nothing waits for this
// but the end of the run.
func sweep(root string) {
	base := runsFolder(root)
	all, err := numbers(root)
	if err != nil {
		return
	}
	for _, n := range all[:max(0, len(all)-kept)] {
		name := filepath.Join(base, strconv.Itoa(n))
		_ = os.Rename(name, name+goneMark)
	}
	list, _ := os.ReadDir(base)
	for _, e := range list {
		if strings.HasSuffix(e.Name(), goneMark) {
			_ = os.RemoveAll(filepath.Join(base, e.Name()))
		}
	}
}

// kept is how many runs keep their records.
const kept = 20

func runsFolder(root string) string { return filepath.Join(root, ".penstock", "runs") }

// numbers lists the runs of a checkout, oldest first.
func numbers(root string) ([]int, error) {
	list, err := os.ReadDir(runsFolder(root))
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	var all []int
	for _, e := range list {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all, nil
}

// newFolder makes .penstock/runs/N.
func newFolder(root string) (string, int, error) {
	base := runsFolder(root)
	if err := os.MkdirAll(base, 0o755); err != nil {
		return "", 0, notWritable(err, base)
	}
	ignore := filepath.Join(root, ".penstock", ".gitignore")
	if _, err := os.Stat(ignore); err != nil {
		if err := rootfs.ReplaceFile(ignore, []byte("*\n"), 0o644); err != nil {
			return "", 0, notWritable(err, ignore)
		}
	}
	all, err := numbers(root)
	if err != nil {
		return "", 0, err
	}
	next := 1
	if len(all) > 0 {
		next = all[len(all)-1] + 1
	}
	for {
		folder := filepath.Join(base, strconv.Itoa(next))
		err := os.Mkdir(folder, 0o755)
		if err == nil {
			return folder, next, nil
		}
		if !os.IsExist(err) {
			return "", 0, notWritable(err, folder)
		}
		next++
	}
}
