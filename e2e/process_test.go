package e2e

import (
	"os"
	"strconv"
	"strings"
)

// ended reports whether a process is gone with all its threads. The first
// thread is a zombie while others still hold the files of the process, its lock
// among them.
func ended(pid int) bool {
	folder := "/proc/" + strconv.Itoa(pid)
	state, err := os.ReadFile(folder + "/stat")
	if err != nil {
		return true
	}
	threads, err := os.ReadDir(folder + "/task")
	return err != nil || strings.Contains(string(state), ") Z ") && len(threads) <= 1
}
