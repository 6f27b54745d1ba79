// Package build holds the tasks that call a build tool: Go, npm, .NET, Maven,
// Gradle and Docker.
package build

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"strings"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
)

func init() {
	task.Register(&task.Task{Name: "Go", Major: []string{"0"}, Run: goCommand})
	task.Register(&task.Task{Name: "Npm", Major: []string{"1"}, Run: npm})
}

// folder is the working directory that an input names.
func folder(c *task.Context, input string) (string, error) {
	dir := c.Path(c.Input(input))
	if dir == "" {
		dir, _ = c.Lookup("System.DefaultWorkingDirectory")
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "", fault.New(fault.Invalid, "no-folder", "Not found %s: %s", input, dir)
	}
	return dir, nil
}

// call runs a tool and shows how.
func call(ctx context.Context, c *task.Context, cmd task.Command) error {
	name := strings.TrimSuffix(filepath.Base(cmd.Path), ".exe")
	c.Print("##[command]" + name + " " + strings.Join(cmd.Args, " "))
	code, err := c.Exec(ctx, cmd)
	if err == nil && code != 0 {
		err = task.ExitError(name, code)
	}
	return err
}

// unsupported refuses an input that would need something this agent has not.
func unsupported(c *task.Context, input, instead string) error {
	if v := c.Input(input); v != "" && !strings.EqualFold(v, "false") {
		return fault.New(fault.Invalid, "unsupported-input", "input %s is not supported", input).Got("%s", v).Try("%s", instead)
	}
	return nil
}

func goCommand(ctx context.Context, c *task.Context) error {
	command, err := c.Need("command")
	if err != nil {
		return err
	}
	var args []string
	if strings.EqualFold(command, "custom") {
		if command, err = c.Need("customCommand"); err != nil {
			return err
		}
		if args, err = task.SplitArgs(command); err != nil {
			return err
		}
	} else {
		args = []string{command}
	}
	more, err := task.SplitArgs(c.Input("arguments"))
	if err != nil {
		return err
	}
	dir, err := folder(c, "workingDirectory")
	if err != nil {
		return err
	}
	program, err := c.Program("go", "install Go (https://go.dev/dl), or use GoTool@0 before")
	if err != nil {
		return err
	}
	return call(ctx, c, task.Command{Path: program, Args: append(args, more...), Dir: dir})
}

func npm(ctx context.Context, c *task.Context) error {
	command := cmp.Or(strings.ToLower(c.Input("command")), "install")
	const instead = "write the registry and its token into .npmrc, from a secret variable"
	for _, input := range []string{"customFeed", "customEndpoint", "publishFeed", "publishEndpoint"} {
		if err := unsupported(c, input, instead); err != nil {
			return err
		}
	}
	args := []string{command}
	switch command {
	case "install", "ci", "publish":
		if c.Bool("verbose") {
			args = append(args, "--loglevel", "verbose")
		}
	case "custom":
		custom, err := c.Need("customCommand")
		if err != nil {
			return err
		}
		if args, err = task.SplitArgs(custom); err != nil {
			return err
		}
	default:
		return fault.New(fault.Invalid, "unknown-command", "npm has no command %q here", command).Want("install, ci, publish or custom")
	}
	dir, err := folder(c, "workingDir")
	if err != nil {
		return err
	}
	program, err := c.Program("npm", "install Node.js with npm, or use UseNode@1 before")
	if err != nil {
		return err
	}
	return call(ctx, c, task.Command{Path: program, Args: args, Dir: dir})
}
