// Package toolchain holds the tasks that choose a version of a tool: from the
// tool cache, from what is installed, or from the tool's own site.
package toolchain

import (
	"bytes"
	"cmp"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
)

// tool is how one tool is found.
type tool struct {
	name     string   // folder of the tool cache
	programs []string // that tell the version
	ask      []string // arguments for that
	tell     []string // arguments that print the path of the program itself, or its folder; a shim is not it
	env      []string // for both: what would lead them astray
	bin      string   // folder of the programs below that of the tool
	places   []string // patterns of folders of installed versions
	install  string   // what a person can do
	releases func(ctx context.Context, c *task.Context, base string) ([]release, error)
	fetch    func(ctx context.Context, c *task.Context, spec, arch string) (found, error) // where the site gives nothing; nil = nowhere
}

// found is an installed version.
type found struct {
	version *semver.Version
	dir     string // holds bin
	where   string // how it was found
}

// archOf is the architecture that inputs name, by default the machine's.
func archOf(input string) string {
	return cmp.Or(strings.ToLower(input), map[string]string{"amd64": "x64", "386": "x86", "arm64": "arm64"}[runtime.GOARCH])
}

// constraint reads 3.x, 3.11, >=1.2 <2, ^18, lts/* and exact versions.
func constraint(tool, spec string) (*semver.Constraints, error) {
	text := strings.TrimSpace(spec)
	if strings.EqualFold(text, "latest") || strings.HasPrefix(strings.ToLower(text), "lts") || text == "" {
		text = "*"
	}
	limit, err := semver.NewConstraint(strings.TrimPrefix(text, "v"))
	if err != nil {
		return nil, fault.New(fault.Invalid, "version-spec", "version %q of %s cannot be read", spec, tool).Want("such as 3.x, 3.11, 3.11.4 or >=3.9 <3.12")
	}
	return limit, nil
}

// toolCache is where of what lies in Agent.ToolsDirectory.
const toolCache = "tool cache"

// installed lists what the machine has, the newest first: that of the cache, then
// the rest.
func (t *tool) installed(ctx context.Context, c *task.Context, arch string) []found {
	var list []found
	tools, _ := c.Lookup("Agent.ToolsDirectory")
	versions, _ := os.ReadDir(filepath.Join(tools, t.name))
	for _, v := range versions {
		dir := filepath.Join(tools, t.name, v.Name(), arch)
		if _, err := os.Stat(dir + ".complete"); err != nil {
			continue
		}
		if version, err := semver.NewVersion(v.Name()); err == nil {
			list = append(list, found{version, dir, toolCache})
		}
	}
	for _, p := range t.programs {
		file, err := c.Find(p)
		if err != nil {
			continue
		}
		if v := t.version(ctx, c, file); v != nil {
			list = append(list, found{v, t.home(ctx, c, file), file})
		}
	}
	for _, pattern := range t.places {
		for _, dir := range globHome(pattern) {
			if v, err := semver.NewVersion(number.FindString(filepath.Base(dir))); err == nil && t.usable(dir) {
				list = append(list, found{v, dir, dir})
			}
		}
	}
	sortNewest(list)
	seen := map[string]bool{}
	return slices.DeleteFunc(list, func(f found) bool {
		again := seen[f.dir]
		seen[f.dir] = true
		return again
	})
}

// home is the folder of the version that a program on the PATH starts.
func (t *tool) home(ctx context.Context, c *task.Context, file string) string {
	if real := t.run(ctx, c, file, t.tell); real != "" {
		if info, err := os.Stat(real); err == nil && info.IsDir() {
			return real // it prints its folder
		} else if err == nil {
			file = real
		}
	}
	dir := filepath.Dir(file)
	if real, err := filepath.EvalSymlinks(file); err == nil && filepath.Base(filepath.Dir(real)) == t.bin {
		dir = filepath.Dir(real)
	}
	if t.bin != "" && filepath.Base(dir) == t.bin {
		dir = filepath.Dir(dir)
	}
	return dir
}

// sortNewest puts the newest first; what the cache has goes before the rest,
// because it is what the machine's owner means tasks to use.
func sortNewest(list []found) {
	slices.SortStableFunc(list, func(a, b found) int {
		switch inA, inB := a.where == toolCache, b.where == toolCache; {
		case inA == inB:
			return b.version.Compare(a.version)
		case inA:
			return -1
		}
		return 1
	})
}

// globHome lists the folders of a pattern that may begin with ~.
func globHome(pattern string) []string {
	if rest, ok := strings.CutPrefix(pattern, "~"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil
		}
		pattern = home + rest
	}
	dirs, _ := filepath.Glob(pattern)
	return dirs
}

func (t *tool) usable(dir string) bool {
	for _, p := range t.programs {
		for _, ext := range []string{"", ".exe"} {
			if _, err := os.Stat(filepath.Join(dir, t.bin, p+ext)); err == nil {
				return true
			}
		}
	}
	return false
}

// leading is the number that a wanted version begins with, such as 3.8 of 3.8.x.
var leading = regexp.MustCompile(`\d+(\.\d+)*`)

var number = regexp.MustCompile(`\d+\.\d+(\.\d+)?(-[0-9A-Za-z.-]+)?`)

func (t *tool) version(ctx context.Context, c *task.Context, file string) *semver.Version {
	v, err := semver.NewVersion(number.FindString(t.run(ctx, c, file, t.ask)))
	if err != nil {
		return nil
	}
	return v
}

// run is what a program prints when it is asked about itself; "" if it does not
// answer.
func (t *tool) run(ctx context.Context, c *task.Context, file string, ask []string) string {
	if len(ask) == 0 {
		return ""
	}
	var out bytes.Buffer
	code, err := c.Exec(ctx, task.Command{Path: file, Args: ask, Env: t.env, Quiet: true, Plain: true, Output: &out, Dir: c.Temp})
	if err != nil || code != 0 {
		return ""
	}
	return strings.TrimSpace(out.String())
}

// request is what a task wants of a tool.
type request struct {
	spec, arch string
	latest     bool   // ask the tool's site first
	base       string // of the tool's site
}

// get finds or downloads a version.
func (t *tool) get(ctx context.Context, c *task.Context, r request) (found, error) {
	limit, err := constraint(t.name, r.spec)
	if err != nil {
		return found{}, err
	}
	arch := archOf(r.arch)
	have := t.installed(ctx, c, arch)
	if !r.latest {
		for _, f := range have {
			if limit.Check(f.version) {
				c.Printf("%s %s: %s", t.name, f.version, f.where)
				return f, nil
			}
		}
	}
	var cause error
	if t.releases != nil {
		f, err := t.download(ctx, c, limit, arch, r.base)
		if err == nil {
			return f, nil
		}
		cause = err
		if ctx.Err() != nil {
			return found{}, err
		}
		if t.fetch != nil {
			if f, err := t.fetch(ctx, c, r.spec, arch); err == nil {
				return f, nil
			}
		}
	}
	for _, f := range have {
		if limit.Check(f.version) {
			c.Warn("The newest version of %s is not known (%s); %s is used.", t.name, cause, f.version)
			return f, nil
		}
	}
	return t.standIn(c, r, arch, have, cause)
}

// prepend puts the tool's programs in front of the PATH.
func (t *tool) prepend(c *task.Context, f found) string {
	dir := filepath.Join(f.dir, t.bin)
	if runtime.GOOS == "windows" && t.name != "go" {
		dir = f.dir
	}
	if t.first(c, dir) {
		return dir // a folder such as /usr/bin in front would hide more than this tool
	}
	c.PrependPath(dir)
	return dir
}

// first says whether the program of a folder is the one that steps find already.
func (t *tool) first(c *task.Context, dir string) bool {
	for _, p := range t.programs {
		if at, err := c.Find(p); err == nil && filepath.Dir(at) == dir {
			return true
		}
	}
	return false
}
