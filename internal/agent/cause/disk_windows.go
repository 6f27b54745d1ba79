package cause

import "golang.org/x/sys/windows"

var errQuota error = windows.ERROR_DISK_QUOTA_EXCEEDED

// free is how many bytes and files a file system takes; -1: it does not say.
func free(folder string) (space, files int64) {
	name, err := windows.UTF16PtrFromString(folder)
	var bytes uint64
	if err != nil || windows.GetDiskFreeSpaceEx(name, &bytes, nil, nil) != nil {
		return -1, -1
	}
	return int64(min(bytes, 1<<62)), -1
}
