// Package nodetest is a Node for tests on machines that have none: the test's
// own program under another name. It runs no JavaScript, but the lines of a file
// that begin with //> and hold what to do.
package nodetest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Main takes the place of m.Run in TestMain.
func Main(m *testing.M) {
	if filepath.Base(os.Args[0]) == "node" {
		os.Exit(run(os.Args[0], os.Args[1:]))
	}
	os.Exit(m.Run())
}

// Install makes a folder that holds Nodes of the given major versions.
func Install(t testing.TB, majors ...int) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, major := range majors {
		bin := filepath.Join(dir, "node"+strconv.Itoa(major), "bin")
		if err := os.MkdirAll(bin, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(self, filepath.Join(bin, "node")); err != nil {
			t.Skip("this machine has no links: ", err)
		}
	}
	return dir
}

// run is what the stand-in does instead of running a file.
func run(self string, args []string) int {
	if len(args) == 1 && args[0] == "--version" {
		name := filepath.Base(filepath.Dir(filepath.Dir(self)))
		fmt.Println("v" + strings.TrimPrefix(name, "node") + ".1.2")
		return 0
	}
	data, err := os.ReadFile(args[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for line := range strings.Lines(string(data)) {
		order, ok := strings.CutPrefix(strings.TrimSpace(line), "//> ")
		if !ok {
			continue
		}
		if code := obey(order, args); code >= 0 {
			return code
		}
	}
	return 0
}

// obey carries out one line; a result of 0 and more ends the program.
func obey(order string, args []string) int {
	word, rest, _ := strings.Cut(order, " ")
	rest = os.ExpandEnv(rest)
	switch word {
	case "say":
		fmt.Println(rest)
	case "complain":
		fmt.Fprintln(os.Stderr, rest)
	case "dir":
		dir, _ := os.Getwd()
		fmt.Println("dir " + dir)
	case "args":
		fmt.Println("args " + strings.Join(args, " "))
	case "env": // all that begin so
		list := slices.DeleteFunc(os.Environ(), func(s string) bool { return !strings.HasPrefix(s, rest) })
		slices.Sort(list)
		fmt.Println("env " + strings.Join(list, " "))
	case "wait":
		select {}
	case "exit":
		code, _ := strconv.Atoi(rest)
		return code
	default:
		fmt.Fprintln(os.Stderr, "no such order:", order)
		return 99
	}
	return -1
}
