//go:build unix

package cause

import (
	"syscall"

	"golang.org/x/sys/unix"
)

var errQuota error = syscall.EDQUOT

// free is how many bytes and files a file system takes; -1: it does not say.
func free(folder string) (space, files int64) {
	var st unix.Statfs_t
	if unix.Statfs(folder, &st) != nil {
		return -1, -1
	}
	if files = int64(st.Ffree); st.Files == 0 { // it has no fixed number of them
		files = -1
	}
	return int64(st.Bavail) * int64(st.Bsize), files //nolint:unconvert // they have other types on other systems
}
