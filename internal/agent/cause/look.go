package cause

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Look is the machine before a step ran.
type Look struct {
	folder         string
	root           string // "" = /, for tests
	group, machine int64
}

// Begin looks at the machine before a step that works in a folder.
func Begin(folder string) *Look { return begin(folder, "") }

func begin(folder, root string) *Look {
	l := &Look{folder: folder, root: root}
	l.group, l.machine = kills(root)
	return l
}

// Facts are what has changed since, about a step that failed.
func (l *Look) Facts(err error, code, signal int) Facts {
	f := Facts{Err: err, Code: code, Signal: signal, Folder: l.folder}
	group, machine := kills(l.root)
	f.GroupKills, f.MachineKills = group-l.group, machine-l.machine
	f.Free, f.Files = free(l.folder)
	return f
}

// kills counts the processes that the kernel has ended for want of memory, in the
// control group of this process and on the machine. What the system does not
// tell is 0.
func kills(root string) (group, machine int64) {
	for _, file := range eventFiles(root) {
		if n, ok := counter(file, "oom_kill"); ok {
			group = n
			break
		}
	}
	machine, _ = counter(root+"/proc/vmstat", "oom_kill")
	return group, machine
}

// eventFiles are where the kernel may count them, the control groups of version 2
// first. In a container the path that a process has may be that of the host; the
// root of what is seen is its own group then.
func eventFiles(root string) []string {
	raw, err := os.ReadFile(root + "/proc/self/cgroup")
	if err != nil {
		return nil
	}
	var second, first []string
	for line := range strings.Lines(string(raw)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 {
			continue
		}
		switch {
		case part[0] == "0" && part[1] == "":
			for _, mount := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
				second = append(second, filepath.Join(root, mount, part[2], "memory.events"), filepath.Join(root, mount, "memory.events"))
			}
		case strings.Contains(","+part[1]+",", ",memory,"):
			first = append(first, filepath.Join(root, "/sys/fs/cgroup/memory", part[2], "memory.oom_control"), filepath.Join(root, "/sys/fs/cgroup/memory/memory.oom_control"))
		}
	}
	return append(second, first...)
}

// counter reads a number of a file whose lines are a name and a number.
func counter(file, name string) (int64, bool) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(raw)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
