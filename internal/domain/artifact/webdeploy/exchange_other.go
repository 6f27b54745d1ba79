//go:build !linux

package webdeploy

import "os"

// exchange swaps two folders.
func exchange(root *os.Root, _, fresh, base string) error { return twoRenames(root, fresh, base) }
