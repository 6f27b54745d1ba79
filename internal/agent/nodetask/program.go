package nodetask

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline/tasklib"
)

// Programs says where the programs that run tasks are looked for. What steps
// put in front of PATH does not count: it is for the tools of the pipeline.
type Programs struct {
	Folder    string // of the configuration; it, or folders in it, hold bin/node
	ToolCache string // Agent.ToolsDirectory
	Path      string // as PATH

	known []node // instead of looking, in tests
}

// node is a Node that was found.
type node struct {
	path    string
	version tasklib.Version
}

// powerShell3 is the kind of handler that runs on PowerShell.
const powerShell3 = "PowerShell3"

// choice is a handler and the program that runs it.
type choice struct {
	tasklib.Handler
	program string
}

// choose picks how a part is run: on the Node that fits best, else on
// PowerShell. On Windows a handler that is marked for it goes first.
func choose(ctx context.Context, d *tasklib.Definition, handlers []tasklib.Handler, system string, p Programs) (choice, error) {
	script := slices.IndexFunc(handlers, func(h tasklib.Handler) bool { return strings.EqualFold(h.Kind, powerShell3) })
	shell := ""
	if script >= 0 {
		shell = p.shell(system)
	}
	byScript := func() choice {
		h := handlers[script]
		h.Kind = powerShell3
		return choice{h, shell}
	}
	if shell != "" && system == "windows" && slices.ContainsFunc(handlers[script].Platforms, func(s string) bool { return strings.EqualFold(s, system) }) {
		return byScript(), nil
	}
	wanted := onNode(handlers)
	var found []node
	if len(wanted) > 0 {
		found = p.nodes(ctx)
		if c, ok := fit(wanted, found); ok {
			return c, nil
		}
	}
	switch {
	case shell != "":
		return byScript(), nil
	case len(wanted) > 0:
		return choice{}, p.noNode(d, wanted, found)
	}
	return choice{}, noHandler(d, handlers, script >= 0)
}

// wish is a handler for a Node of at least some major version.
type wish struct {
	tasklib.Handler
	major int
}

// onNode lists the handlers that run on Node, the newest first.
func onNode(handlers []tasklib.Handler) []wish {
	var list []wish
	for _, h := range handlers {
		if major, ok := nodeMajor(h.Kind); ok {
			list = append(list, wish{h, major})
		}
	}
	slices.SortStableFunc(list, func(a, b wish) int { return b.major - a.major })
	return list
}

// nodeMajor reads Node, Node10, Node20_1: the first of them is Node 6.
func nodeMajor(kind string) (int, bool) {
	if len(kind) < 4 || !strings.EqualFold(kind[:4], "node") {
		return 0, false
	}
	number, _, _ := strings.Cut(kind[4:], "_")
	if number == "" {
		return 6, true
	}
	n, err := strconv.Atoi(number)
	return n, err == nil && n > 0
}

// fit prefers the newest handler whose own version of Node is there. Otherwise
// the newest handler runs on the next newer Node.
func fit(wanted []wish, found []node) (choice, bool) {
	for _, exactly := range []bool{true, false} {
		for _, w := range wanted {
			best := -1
			for i, n := range found {
				if n.version.Major < w.major || exactly && n.version.Major != w.major {
					continue
				}
				if best < 0 || n.version.Major < found[best].version.Major {
					best = i
				}
			}
			if best >= 0 {
				return choice{w.Handler, found[best].path}, true
			}
		}
	}
	return choice{}, false
}

func (p Programs) noNode(d *tasklib.Definition, wanted []wish, found []node) error {
	var kinds, have []string
	for _, w := range wanted {
		kinds = append(kinds, w.Kind)
	}
	for _, n := range found {
		have = append(have, n.version.String()+" ("+n.path+")")
	}
	least := wanted[len(wanted)-1].major
	e := fault.New(fault.Invalid, "node-missing", "task %s@%s needs Node %d or newer", d.Name, d.Version, least).
		Want("Node %d or newer (the task has %s)", least, strings.Join(kinds, ", "))
	if len(have) == 0 {
		e = e.Got("no Node on the agent's PATH or in its tool cache")
	} else {
		e = e.Got("%s", strings.Join(have, ", "))
	}
	return e.Try("install Node on the agent's machine, or let PENSTOCK_NODE name the folder of one")
}

func noHandler(d *tasklib.Definition, handlers []tasklib.Handler, script bool) error {
	var kinds []string
	for _, h := range handlers {
		kinds = append(kinds, h.Kind)
	}
	e := fault.New(fault.Invalid, "task-handler", "task %s@%s has no part that can run on this machine", d.Name, d.Version).Got("%s", strings.Join(kinds, ", "))
	switch {
	case script:
		return e.Want("PowerShell").Try("install PowerShell 7 (pwsh) on the agent's machine, if the task does not need Windows")
	case slices.Contains(d.RunsOn, "Server") && !slices.Contains(d.RunsOn, "Agent"):
		return e.Try("the task runs on the server: give its job pool: server")
	}
	return e.Want("a Node handler").Try("look for a newer version of the task")
}

func (p Programs) shell(system string) string {
	list := []string{"pwsh", "powershell"}
	if system == "windows" {
		list = []string{"powershell", "pwsh"}
	}
	for _, name := range list {
		for _, dir := range filepath.SplitList(p.Path) {
			if file := filepath.Join(dir, name+extension()); executable(file) {
				return file
			}
		}
	}
	return ""
}

func extension() string {
	if runtime.GOOS == "windows" {
		return ".exe"
	}
	return ""
}

func executable(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular() && (runtime.GOOS == "windows" || info.Mode().Perm()&0o111 != 0) && filepath.IsAbs(file)
}

// nodes lists the Nodes that are there: those of the configuration, of the tool
// cache, of PATH.
func (p Programs) nodes(ctx context.Context) []node {
	if p.known != nil {
		return p.known
	}
	name := "node" + extension()
	var files []string
	if p.Folder != "" {
		files = append(files, filepath.Join(p.Folder, "bin", name), filepath.Join(p.Folder, name))
		files = append(files, below(p.Folder, "bin", name)...)
	}
	if p.ToolCache != "" {
		for _, version := range below(filepath.Join(p.ToolCache, "node")) {
			for _, arch := range below(version) {
				files = append(files, filepath.Join(arch, "bin", name), filepath.Join(arch, name))
			}
		}
	}
	for _, dir := range filepath.SplitList(p.Path) {
		files = append(files, filepath.Join(dir, name))
	}
	var list []node
	for _, file := range files {
		if v, ok := versionOf(ctx, file); ok {
			list = append(list, node{file, v})
		}
	}
	return list
}

// below lists what the folders in a folder have under a path.
func below(dir string, rest ...string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var list []string
	for _, e := range entries {
		list = append(list, filepath.Join(append([]string{dir, e.Name()}, rest...)...))
	}
	return list
}

// stamp identifies a program as it is now.
type stamp struct {
	file string
	size int64
	time time.Time
}

var versions sync.Map // stamp → tasklib.Version

// versionOf asks a program for its version, once as long as it stays the same.
func versionOf(ctx context.Context, file string) (tasklib.Version, bool) {
	if !executable(file) {
		return tasklib.Version{}, false
	}
	info, err := os.Stat(file)
	if err != nil {
		return tasklib.Version{}, false
	}
	id := stamp{file, info.Size(), info.ModTime()}
	if v, ok := versions.Load(id); ok {
		return v.(tasklib.Version), true
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, file, "--version")
	cmd.WaitDelay = time.Second
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "SystemRoot=" + os.Getenv("SystemRoot")} // NODE_OPTIONS could make it do anything
	out, err := cmd.Output()
	v, ok := tasklib.ParseVersion(strings.TrimPrefix(strings.TrimSpace(string(out)), "v"))
	if err != nil || !ok {
		return tasklib.Version{}, false
	}
	versions.Store(id, v)
	return v, true
}
