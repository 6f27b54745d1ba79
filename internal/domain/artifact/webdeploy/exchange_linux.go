package webdeploy

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// exchange swaps two folders in one step, so that nobody ever finds the target
// missing. File systems that cannot do that get two renames.
func exchange(root *os.Root, parent, fresh, base string) error {
	err := unix.Renameat2(unix.AT_FDCWD, filepath.Join(parent, fresh), unix.AT_FDCWD, filepath.Join(parent, base), unix.RENAME_EXCHANGE)
	if err == nil {
		return nil
	}
	return twoRenames(root, fresh, base)
}
