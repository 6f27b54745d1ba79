package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// condition answers [root] in stories: mounting a small disk needs it.
func condition(name string) (bool, error) {
	if name == "root" {
		return os.Geteuid() == 0, nil
	}
	if name == "sandbox" {
		return closesIn(), nil
	}
	return false, fmt.Errorf("no condition %s", name)
}

// closesIn says whether this kernel lets the program close jobs in.
var closesIn = sync.OnceValue(func() bool {
	dir, err := os.MkdirTemp("", "penstock-sandbox-*")
	if err != nil {
		return false
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.WriteFile(filepath.Join(dir, "ci.yml"), []byte("steps:\n- checkout: none\n- script: exit 0\n"), 0o644); err != nil {
		return false
	}
	cmd := exec.Command(binary, "run", "ci.yml", "--sandbox")
	cmd.Dir = dir
	return cmd.Run() == nil
})

// disk makes the data folder a small disk of its own, fills and empties it, or
// makes it read-only: disk new SIZE | fill | empty | ro | rw
func disk(ts *testscript.TestScript, _ bool, args []string) {
	data := ts.Getenv("DATA")
	stuff := filepath.Join(data, "stuff")
	switch args[0] {
	case "new":
		ts.Check(os.MkdirAll(data, 0o700))
		ts.Check(syscall.Mount("tmpfs", data, "tmpfs", 0, "size="+args[1]))
		ts.Defer(func() {
			_ = exec.Command(binary, "down", "--data", data).Run()
			_ = syscall.Unmount(data, syscall.MNT_DETACH)
		})
	case "fill":
		f, err := os.Create(stuff)
		ts.Check(err)
		for size := 1 << 20; size > 0; size /= 2 {
			for err = nil; err == nil; {
				_, err = f.Write(make([]byte, size))
			}
		}
		if !errors.Is(err, syscall.ENOSPC) {
			ts.Check(err)
		}
		_ = f.Close()
	case "empty":
		ts.Check(os.Remove(stuff))
	case "ro":
		ts.Check(syscall.Mount("tmpfs", data, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	case "rw":
		ts.Check(syscall.Mount("tmpfs", data, "tmpfs", syscall.MS_REMOUNT, ""))
	default:
		ts.Fatalf("disk %s: new, fill, empty, ro or rw", args[0])
	}
}

// exhaust stores large secrets until the server refuses one, which must be for
// the given reason: exhaust TEXT
func exhaust(ts *testscript.TestScript, _ bool, args []string) {
	for n := range 2000 {
		cmd := exec.Command(binary, "vault", "secret", "set", fmt.Sprintf("mini-kv/filler-%d", n))
		cmd.Env, cmd.Dir, cmd.Stdin = environ(ts), ts.MkAbs("."), strings.NewReader(strings.Repeat("x", 24_000))
		out, err := cmd.CombinedOutput()
		if err == nil {
			continue
		}
		ts.Logf("%s", out)
		if !strings.Contains(string(out), args[0]) {
			ts.Fatalf("refused for another reason than %s", args[0])
		}
		return
	}
	ts.Fatalf("the disk is never full")
}
