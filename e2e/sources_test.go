package e2e

import (
	"io/fs"
	"path/filepath"
	"testing"
)

// sources looks at all that the program under test is made of. go test goes by
// what a test has looked at when it gives a remembered result; that these tests
// build a program it does not see.
func sources(t *testing.T) {
	t.Helper()
	for _, root := range []string{"../go.mod", "../cmd", "../docs", "../examples", "../internal", "../web"} {
		if err := filepath.WalkDir(root, func(_ string, _ fs.DirEntry, err error) error { return err }); err != nil {
			t.Fatal(err)
		}
	}
}
