package toolchain

import (
	"cmp"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
)

func init() {
	task.Register(&task.Task{Name: "UsePythonVersion", Major: []string{"0"}, Run: usePython})
	task.Register(&task.Task{Name: "NodeTool", Major: []string{"0"}, Run: nodeTool})
	task.Register(&task.Task{Name: "UseNode", Major: []string{"1"}, Run: useNode})
	task.Register(&task.Task{Name: "GoTool", Major: []string{"0"}, Run: goTool})
	task.Register(&task.Task{Name: "UseDotNet", Major: []string{"2"}, Run: useDotNet})
	task.Register(&task.Task{Name: "JavaToolInstaller", Major: []string{"0", "1"}, Run: useJava})
}

var (
	python = &tool{name: "Python", programs: []string{"python3", "python"}, ask: []string{"--version"}, bin: "bin",
		tell:    []string{"-c", "import os, sys; print(os.path.realpath(getattr(sys, '_base_executable', sys.executable)))"},
		places:  []string{"~/.pyenv/versions/*", "/opt/hostedtoolcache/Python/*/x64", "/opt/python*", "~/.asdf/installs/python/*", "~/.local/share/mise/installs/python/*", "~/.local/share/uv/python/cpython-*"},
		install: "install the version on the agent's machine (pyenv install VERSION), or put it into the tool cache as Python/VERSION/ARCH with an empty file ARCH.complete beside"}
	node = &tool{name: "node", programs: []string{"node"}, ask: []string{"--version"}, bin: "bin",
		tell:     []string{"-p", "process.execPath"},
		places:   []string{"~/.nvm/versions/node/v*", "~/.local/share/fnm/node-versions/v*/installation", "~/.volta/tools/image/node/*", "~/.asdf/installs/nodejs/*", "~/.local/share/mise/installs/node/*"},
		install:  "install the version on the agent's machine (nvm install VERSION), or let the agent reach the address of the input nodejsMirror",
		releases: nodeReleases}
	golang = &tool{name: "go", programs: []string{"go"}, ask: []string{"version"}, bin: "bin",
		tell:     []string{"env", "GOROOT"},
		env:      []string{"GOROOT=", "GOTOOLCHAIN=local"}, // that of the pipeline may not exist
		places:   []string{"~/sdk/go*", "/usr/local/go*", "/usr/lib/go-*", "~/.local/share/mise/installs/go/*"},
		install:  "install the version on the agent's machine (https://go.dev/dl), or let the agent reach go.dev",
		releases: goReleases, fetch: goModule}
)

func usePython(ctx context.Context, c *task.Context) error {
	spec, err := c.Need("versionSpec")
	if err != nil {
		return err
	}
	f, err := python.get(ctx, c, request{spec: spec, arch: c.Input("architecture")})
	if err != nil {
		return err
	}
	if f.dir, err = pythonFolder(ctx, c, f); err != nil {
		return err
	}
	c.Output("pythonLocation", f.dir, false)
	if strings.EqualFold(c.Input("addToPath"), "false") {
		return nil
	}
	if runtime.GOOS == "windows" {
		c.PrependPath(filepath.Join(f.dir, "Scripts"))
	} else {
		python.prepend(c, f)
	}
	c.PrependPath(f.dir)
	c.Printf("Python %s in %s", f.version, f.dir)
	return nil
}

// nodeTool is the older name of useNode, with other inputs.
func nodeTool(ctx context.Context, c *task.Context) error {
	spec := c.Input("versionSpec")
	if strings.EqualFold(c.Input("versionSource"), "fromFile") {
		p, err := c.Need("versionFilePath")
		if err != nil {
			return err
		}
		data, err := os.ReadFile(c.Path(p))
		if err != nil {
			return fault.New(fault.Invalid, "no-file", "Not found versionFilePath: %s", c.Path(p))
		}
		spec = strings.TrimSpace(string(data))
	}
	return node.use(ctx, c, spec)
}

func useNode(ctx context.Context, c *task.Context) error {
	spec := c.Input("version")
	if spec == "" {
		return nil // the machine's own
	}
	return node.use(ctx, c, spec)
}

func (t *tool) use(ctx context.Context, c *task.Context, spec string) error {
	arch := ""
	if c.Bool("force32bit") {
		arch = "x86"
	}
	f, err := t.get(ctx, c, request{spec: spec, arch: arch, latest: c.Bool("checkLatest"), base: cmp.Or(c.Input("nodejsMirror"), "https://nodejs.org/dist")})
	if err == nil {
		c.Printf("%s %s in %s", t.name, f.version, t.prepend(c, f))
	}
	return err
}

func goTool(ctx context.Context, c *task.Context) error {
	spec, err := c.Need("version")
	if err != nil {
		return err
	}
	f, err := golang.get(ctx, c, request{spec: spec, base: cmp.Or(c.Input("goDownloadUrl"), "https://go.dev/dl")})
	if err != nil {
		return err
	}
	dir := golang.prepend(c, f)
	c.SetVariable("GOROOT", f.dir, false)
	for _, name := range []string{"goPath", "goBin"} {
		if v := c.Input(name); v != "" {
			c.SetVariable(strings.ToUpper(name), v, false)
		}
	}
	c.Printf("Go %s in %s", f.version, dir)
	return nil
}

func useJava(_ context.Context, c *task.Context) error {
	version, err := c.Need("versionSpec")
	if err != nil {
		return err
	}
	if source := c.Input("jdkSourceOption"); !strings.EqualFold(source, "PreInstalled") {
		return fault.New(fault.Invalid, "unsupported-input", "jdkSourceOption %q is not supported", source).Want("PreInstalled").
			Try("install the JDK on the agent's machine and set JAVA_HOME_%s_%s in the agent's environment", version, strings.ToUpper(archOf(c.Input("jdkArchitectureOption"))))
	}
	arch := c.Input("jdkArchitectureOption")
	home, err := JavaHome(c, version, arch)
	if err != nil {
		return err
	}
	c.SetVariable("JAVA_HOME", home, false)
	c.SetVariable(javaVariable(version, arch), home, false)
	c.PrependPath(filepath.Join(home, "bin"))
	c.Printf("Java %s in %s", version, home)
	return nil
}

// globalJSON reads the SDK version that a repository asks for.
func globalJSON(dir string) (string, error) {
	data, err := os.ReadFile(filepath.Join(dir, "global.json"))
	if err != nil {
		return "", fault.New(fault.Invalid, "no-file", "no global.json in %s", dir)
	}
	var g struct {
		SDK struct {
			Version string `json:"version"`
		} `json:"sdk"`
	}
	if err := json.Unmarshal(data, &g); err != nil || g.SDK.Version == "" {
		return "", fault.New(fault.Invalid, "global-json", "global.json in %s names no version", dir).Want(`{"sdk": {"version": "8.0.100"}}`)
	}
	return g.SDK.Version, nil
}
