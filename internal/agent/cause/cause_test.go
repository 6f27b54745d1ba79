package cause

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"penstock.dev/penstock/internal/base/fault"
)

func TestOf(t *testing.T) {
	plain := Facts{Free: 1 << 40, Files: 1000}
	with := func(change func(*Facts)) Facts {
		f := plain
		change(&f)
		return f
	}
	for name, c := range map[string]struct {
		facts Facts
		want  string // beginning; "" = the program's own failure
	}{
		"the program failed":                 {with(func(f *Facts) { f.Code = 1 }), ""},
		"memory of the group":                {with(func(f *Facts) { f.Code, f.GroupKills = 2, 1 }), "out of memory: the kernel ended 1"},
		"memory of the machine":              {with(func(f *Facts) { f.Signal, f.MachineKills = 9, 3 }), "out of memory"},
		"by a shell":                         {with(func(f *Facts) { f.Code, f.MachineKills = 137, 3 }), "out of memory"},
		"somebody else ran out of memory":    {with(func(f *Facts) { f.Code, f.MachineKills = 1, 3 }), ""},
		"killed":                             {with(func(f *Facts) { f.Code, f.Signal = 137, 9 }), "signal: the program was ended by signal 9 (SIGKILL)"},
		"a code beyond all signals":          {with(func(f *Facts) { f.Code = 255 }), ""},
		"terminated, by a shell":             {with(func(f *Facts) { f.Code = 143 }), "signal: exit code 143 says that signal 15 (SIGTERM)"},
		"it crashed":                         {with(func(f *Facts) { f.Code, f.Signal = 139, 11 }), "signal: the program was ended by signal 11 (SIGSEGV)"},
		"our own writes":                     {with(func(f *Facts) { f.Err = fmt.Errorf("write: %w", syscall.ENOSPC) }), "disk full: write"},
		"no bytes are left":                  {with(func(f *Facts) { f.Code, f.Free = 1, 4096 }), "disk full: 4096 bytes"},
		"no files are left":                  {with(func(f *Facts) { f.Code, f.Files = 1, 0 }), "disk full: no further file"},
		"the disk does not say":              {with(func(f *Facts) { f.Code, f.Free, f.Files = 1, -1, -1 }), ""},
		"no server":                          {with(func(f *Facts) { f.Err = fault.New(fault.Unavailable, "server-unreachable", "gone") }), "network lost: gone"},
		"a tool is missing":                  {with(func(f *Facts) { f.Code, f.Absent = 127, "yarn" }), "not installed: yarn is not on the PATH of this machine (npm"},
		"something is missing":               {with(func(f *Facts) { f.Code, f.Absent = 127, "tsc" }), "not installed: tsc is not on the PATH of this machine"},
		"it was missing, and did not matter": {with(func(f *Facts) { f.Code, f.Absent = 1, "yarn" }), ""},
		"another error":                      {with(func(f *Facts) { f.Err = errors.New("no") }), ""},
	} {
		if got := Of(c.facts); c.want == "" && got != "" || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// The kernel's counters, as they lie on machines of different ages.
func TestKillsAreCounted(t *testing.T) {
	write := func(root, name, text string) {
		t.Helper()
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct{ groups, file, before, after string }{
		"version 2":                 {"0::/agents/a\n", "sys/fs/cgroup/agents/a/memory.events", "low 0\noom 1\noom_kill 1\n", "low 0\noom 3\noom_kill 3\n"},
		"version 2, in a container": {"0::/../host/path\n", "sys/fs/cgroup/memory.events", "oom_kill 0\n", "oom_kill 2\n"},
		"version 1":                 {"4:cpu,memory:/agents\n0::/\n", "sys/fs/cgroup/memory/agents/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n", "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"},
	} {
		root := t.TempDir()
		write(root, "proc/self/cgroup", c.groups)
		write(root, "proc/vmstat", "nr_free_pages 9\noom_kill 10\n")
		write(root, c.file, c.before)
		look := begin(root, root)
		write(root, c.file, c.after)
		write(root, "proc/vmstat", "nr_free_pages 9\noom_kill 12\n")
		if f := look.Facts(nil, 1, 0); f.GroupKills != 2 || f.MachineKills != 2 || f.Free <= 0 {
			t.Errorf("%s: %+v", name, f)
		}
	}
	if f := begin("/nowhere/at/all", t.TempDir()).Facts(nil, 1, 0); f.GroupKills != 0 || f.Free != -1 || f.Files != -1 {
		t.Errorf("nothing is known: %+v", f)
	}
}

func TestAbsent(t *testing.T) {
	for line, want := range map[string]string{
		"/w/_temp/1.sh: line 1: yarn: command not found": "yarn", "sh: 1: tsc: not found": "tsc", "bash: line 12: g++: command not found": "g++",
		"yarn: command not found here": "", "error: line 1: a b: not found": "", "404: not found": "", "": "",
	} {
		if got := Absent(line); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}
