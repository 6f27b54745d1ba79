package detached

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// What tells where tools are goes along; what a shell happens to have does not.
func TestEnvironmentOfAProcess(t *testing.T) {
	t.Setenv("AGENT_TOOLSDIRECTORY", "/tools")
	t.Setenv("JAVA_HOME_17_X64", "/java")
	t.Setenv("DATABASE_PASSWORD", "not for others")
	folder := t.TempDir()
	done := filepath.Join(folder, "fifo")
	if err := syscall.Mkfifo(done, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Start(Spec{Folder: folder, Args: []string{"/bin/sh", "-c", "env > " + done}, Env: []string{"OWN=1"}}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(done) // waits for the writer
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(string(data), "\n")
	for _, want := range []string{"AGENT_TOOLSDIRECTORY=/tools", "JAVA_HOME_17_X64=/java", "OWN=1"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is missing: %q", want, got)
		}
	}
	if strings.Contains(string(data), "not for others") {
		t.Error("the password went along")
	}
}
