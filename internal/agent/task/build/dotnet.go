package build

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rootfs"
)

func init() {
	task.Register(&task.Task{Name: "DotNetCoreCLI", Major: []string{"2"}, Run: dotnet})
}

// dotnetRun is one call of DotNetCoreCLI.
type dotnetRun struct {
	c            *task.Context
	program, dir string
	command      string
	args         []string
}

func dotnet(ctx context.Context, c *task.Context) error {
	w := &dotnetRun{c: c, command: strings.ToLower(cmp.Or(c.Input("command"), "build"))}
	var err error
	if w.dir, err = folder(c, "workingDirectory"); err != nil {
		return err
	}
	if w.program, err = c.Program("dotnet", "install the .NET SDK (https://dot.net), or use UseDotNet@2 before"); err != nil {
		return err
	}
	if w.args, err = task.SplitArgs(strings.ReplaceAll(c.Input("arguments"), "\n", " ")); err != nil {
		return err
	}
	switch w.command {
	case "build", "run":
		return w.each(ctx, nil)
	case "custom":
		custom, err := c.Need("custom")
		if err != nil {
			return err
		}
		words, err := task.SplitArgs(custom)
		if err != nil {
			return err
		}
		w.command, w.args = words[0], append(words[1:], w.args...)
		return w.each(ctx, nil)
	case "restore":
		return w.restore(ctx)
	case "test":
		return w.test(ctx)
	case "publish":
		return w.publish(ctx)
	case "pack":
		return w.pack(ctx)
	case "push":
		return fault.New(fault.Invalid, "unsupported-command", "command: push needs a service connection, which this agent has not").
			Try("run in a script: dotnet nuget push PACKAGE --source URL --api-key $KEY, with KEY in env: from a secret variable")
	}
	return fault.New(fault.Invalid, "unknown-command", "there is no command %q", w.command).Want("build, custom, pack, publish, push, restore, run or test")
}

// projects lists what the patterns select; one empty name where there are none.
func (w *dotnetRun) projects(patterns string) ([]string, error) {
	if strings.TrimSpace(patterns) == "" {
		return []string{""}, nil
	}
	base, _ := w.c.Lookup("System.DefaultWorkingDirectory")
	var lines []string
	for line := range strings.Lines(patterns) {
		lines = append(lines, strings.Split(line, ";")...)
	}
	files, err := task.FindFiles(base, lines...)
	if err == nil && len(files) == 0 {
		text := "Project file(s) matching the specified pattern were not found: " + strings.Join(strings.Fields(patterns), " ")
		if w.command == "test" {
			w.c.Warn("%s", text)
			return nil, nil
		}
		return nil, fault.New(fault.Invalid, "no-projects", "%s", text)
	}
	return files, err
}

// each calls the tool for each project; all are tried, then those that failed
// are named.
func (w *dotnetRun) each(ctx context.Context, extra func(project string) ([]string, error)) error {
	projects, err := w.projects(w.c.Inputs["projects"])
	if err != nil {
		return err
	}
	return w.all(ctx, projects, extra)
}

func (w *dotnetRun) all(ctx context.Context, projects []string, extra func(string) ([]string, error)) error {
	var failed []string
	for _, p := range projects {
		args := []string{w.command}
		if p != "" {
			args = append(args, p)
		}
		if extra != nil {
			more, err := extra(p)
			if err != nil {
				return err
			}
			args = append(args, more...)
		}
		err := call(ctx, w.c, task.Command{Path: w.program, Args: append(args, w.args...), Dir: w.dir})
		if ctx.Err() != nil {
			return err
		}
		if err != nil {
			w.c.Issue("error", err.Error())
			failed = append(failed, cmp.Or(p, w.dir))
		}
	}
	if len(failed) > 0 {
		return fault.New(fault.Invalid, "dotnet-failed", "dotnet %s failed for: %s", w.command, strings.Join(failed, ", "))
	}
	return nil
}

func (w *dotnetRun) restore(ctx context.Context) error {
	for _, input := range []string{"feedRestore", "externalEndpoints"} {
		if err := unsupported(w.c, input, "name the feed in a nuget.config (feedsToUse: config), with its password from a secret variable"); err != nil {
			return err
		}
	}
	more, err := task.SplitArgs(w.c.Input("restoreArguments"))
	if err != nil {
		return err
	}
	w.args = more
	return w.each(ctx, func(string) ([]string, error) {
		var args []string
		if p := w.c.Input("nugetConfigPath"); p != "" && strings.EqualFold(w.c.Input("selectOrConfig"), "config") {
			args = append(args, "--configfile", w.c.Path(p))
		}
		if p := w.c.Input("packagesDirectory"); p != "" {
			args = append(args, "--packages", w.c.Path(p))
		}
		if w.c.Bool("noCache") {
			args = append(args, "--no-cache")
		}
		return args, nil
	})
}

func (w *dotnetRun) test(ctx context.Context) error {
	if strings.EqualFold(w.c.Input("publishTestResults"), "false") {
		return w.each(ctx, nil)
	}
	results, err := os.MkdirTemp(w.c.Temp, "trx-*")
	if err != nil {
		return err
	}
	err = w.each(ctx, func(string) ([]string, error) {
		return []string{"--logger", "trx", "--results-directory", results}, nil
	})
	if ctx.Err() != nil {
		return err
	}
	w.c.Inputs["testrunner"] = "VSTest"
	return errors.Join(err, task.PublishMatching(ctx, w.c, results, "**/*.trx"))
}

// publish builds web projects, or those named, and packs each output.
func (w *dotnetRun) publish(ctx context.Context) error {
	projects, err := w.projects(w.c.Inputs["projects"])
	if !strings.EqualFold(w.c.Input("publishWebProjects"), "false") {
		projects, err = w.webProjects()
	}
	if err != nil {
		return err
	}
	output, at := "", -1
	for i, a := range w.args {
		if (a == "--output" || a == "-o") && i+1 < len(w.args) {
			output, at = w.args[i+1], i
		}
	}
	if at >= 0 {
		w.args = append(w.args[:at:at], w.args[at+2:]...)
		if !filepath.IsAbs(output) {
			output = filepath.Join(w.dir, output)
		}
	}
	target := func(project string) string {
		if output != "" && project != "" && !strings.EqualFold(w.c.Input("modifyOutputPath"), "false") {
			return filepath.Join(output, filepath.Base(filepath.Dir(project)))
		}
		return output
	}
	err = w.all(ctx, projects, func(project string) ([]string, error) {
		if output == "" {
			return nil, nil
		}
		return []string{"--output", target(project)}, nil
	})
	if err != nil || output == "" || strings.EqualFold(w.c.Input("zipAfterPublish"), "false") {
		return err
	}
	done := map[string]bool{}
	for _, p := range projects {
		if dir := target(p); !done[dir] {
			done[dir] = true
			if err := zipFolder(dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// zipFolder puts a folder's content into an archive beside it, and deletes the
// folder.
func zipFolder(dir string) error {
	f, err := os.Create(dir + ".zip")
	if err != nil {
		return err
	}
	_, err = rootfs.Zip(f, dir)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.RemoveAll(dir)
	}
	return err
}

// webProjects lists projects of web applications.
func (w *dotnetRun) webProjects() ([]string, error) {
	all, err := w.projects("**/*.csproj\n**/*.vbproj\n**/*.fsproj")
	if err != nil {
		return nil, err
	}
	var web []string
	for _, p := range all {
		dir := filepath.Dir(p)
		text, err := os.ReadFile(p)
		_, err1 := os.Stat(filepath.Join(dir, "web.config"))
		_, err2 := os.Stat(filepath.Join(dir, "wwwroot"))
		if err == nil && strings.Contains(strings.ToLower(string(text)), "microsoft.net.sdk.web") || err1 == nil || err2 == nil {
			web = append(web, p)
		}
	}
	if len(web) == 0 {
		return nil, fault.New(fault.Invalid, "no-projects", "No web project was found in the repository.").Want("a project with web.config, a folder wwwroot, or the SDK Microsoft.NET.Sdk.Web").
			Try("set publishWebProjects to false and name the projects")
	}
	return web, nil
}

func (w *dotnetRun) pack(ctx context.Context) error {
	projects, err := w.projects(cmp.Or(w.c.Inputs["searchpatternpack"], w.c.Inputs["packagestopack"], "**/*.csproj"))
	if err != nil {
		return err
	}
	var args []string
	if dir := cmp.Or(w.c.Input("outputDir"), w.c.Input("packDirectory")); dir != "" {
		args = append(args, "--output", w.c.Path(dir))
	}
	if v := cmp.Or(w.c.Input("configurationToPack"), w.c.Input("configuration")); v != "" && !strings.Contains(v, "$(") {
		args = append(args, "--configuration", v)
	}
	for input, flag := range map[string]string{"nobuild": "--no-build", "includesymbols": "--include-symbols", "includesource": "--include-source"} {
		if w.c.Bool(input) {
			args = append(args, flag)
		}
	}
	version, err := w.packageVersion()
	if err != nil {
		return err
	}
	if version != "" {
		args = append(args, "-p:PackageVersion="+version)
	}
	for p := range strings.SplitSeq(w.c.Input("buildProperties"), ";") {
		if p = strings.TrimSpace(p); p != "" {
			args = append(args, "-p:"+p)
		}
	}
	w.args = nil
	return w.all(ctx, projects, func(string) ([]string, error) { return args, nil })
}

var versionIn = regexp.MustCompile(`\d+\.\d+(\.\d+)?(\.\d+)?`)

// packageVersion is the version that versioningScheme gives.
func (w *dotnetRun) packageVersion() (string, error) {
	switch scheme := strings.ToLower(w.c.Input("versioningScheme")); scheme {
	case "", "off":
		return "", nil
	case "byenvvar":
		name := w.c.Input("versionEnvVar")
		v, ok := w.c.Lookup(name)
		if !ok || v == "" {
			return "", fault.New(fault.Invalid, "no-version", "variable %q, which versionEnvVar names, has no value", name)
		}
		return v, nil
	case "bybuildnumber":
		number, _ := w.c.Lookup("Build.BuildNumber")
		if v := versionIn.FindString(number); v != "" {
			return v, nil
		}
		return "", fault.New(fault.Invalid, "no-version", "the run number %q holds no version", number).Want("such as 1.2.3").Try("set name: of the pipeline, such as $(Major).$(Minor).$(Rev:r)")
	case "byprereleasenumber":
		parts := []string{}
		for _, input := range []string{"major", "minor", "patch"} {
			parts = append(parts, cmp.Or(w.c.Input("requested"+strings.ToUpper(input[:1])+input[1:]+"Version"), w.c.Input(input+"Version"), "0"))
		}
		build, _ := w.c.Lookup("Build.BuildId")
		return strings.Join(parts, ".") + "-CI-" + build, nil
	default:
		return "", fault.New(fault.Invalid, "versioning-scheme", "versioningScheme %q is not supported", scheme).Want("off, byPrereleaseNumber, byEnvVar or byBuildNumber")
	}
}
