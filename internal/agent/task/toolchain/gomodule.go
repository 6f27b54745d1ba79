package toolchain

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
)

// goModule gets a version of Go as the module golang.org/toolchain, by an
// installed Go of 1.21 or later: through the proxy of modules, whose checksums
// that Go verifies. Many networks let only that through.
func goModule(ctx context.Context, c *task.Context, spec, arch string) (found, error) {
	none := fault.New(fault.NotFound, "tool-version", "the module proxy has no Go that fits")
	program, err := c.Find("go")
	if err != nil || arch != archOf("") {
		return found{}, none
	}
	limit, err := constraint("go", spec)
	if err != nil {
		return found{}, err
	}
	tools, _ := c.Lookup("Agent.ToolsDirectory")
	// Variables of the pipeline may lead elsewhere: GOPATH into the sources.
	env := []string{"GOROOT=", "GOFLAGS=-modcacherw", "GO111MODULE=on", "GOMODCACHE=", "GOPATH=" + filepath.Join(tools, "go-modules")}
	ask := func(chosen string, args ...string) string {
		var out bytes.Buffer
		code, err := c.Exec(ctx, task.Command{Path: program, Args: args, Env: append(slices.Clone(env), "GOTOOLCHAIN="+chosen), Dir: c.Temp, Quiet: true, Plain: true, Output: &out})
		if err != nil || code != 0 {
			return ""
		}
		return strings.TrimSpace(out.String())
	}
	version, err := semver.StrictNewVersion(spec) // the list of the proxy has gaps
	if err != nil {
		version = newestGo(limit, ask("local", "list", "-m", "-versions", "golang.org/toolchain"))
	}
	if version == nil {
		return found{}, none
	}
	dir := ask("go"+version.Original(), "env", "GOROOT")
	if _, err := os.Stat(filepath.Join(dir, "bin")); dir == "" || err != nil {
		return found{}, none
	}
	c.Printf("go %s: module golang.org/toolchain", version)
	return found{version, dir, "module proxy"}, nil
}

// newestGo reads the versions of the module: v0.0.1-go1.21.5.linux-amd64.
func newestGo(limit *semver.Constraints, versions string) (best *semver.Version) {
	system := "." + runtime.GOOS + "-" + runtime.GOARCH
	for _, name := range strings.Fields(versions) {
		text, fits := strings.CutSuffix(strings.TrimPrefix(name, "v0.0.1-go"), system)
		v, err := semver.NewVersion(text)
		if fits && err == nil && limit.Check(v) && (best == nil || v.GreaterThan(best)) {
			best = v
		}
	}
	return best
}
