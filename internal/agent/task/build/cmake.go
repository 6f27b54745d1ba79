package build

import (
	"context"
	"os"

	"penstock.dev/penstock/internal/agent/task"
)

func init() {
	task.Register(&task.Task{Name: "CMake", Major: []string{"1"}, Run: cmake})
}

// cmake runs CMake in a folder that it makes, by default build.
func cmake(ctx context.Context, c *task.Context) error {
	if err := unsupported(c, "runInsideShell", "call cmake in a script step, where a shell reads the arguments"); err != nil {
		return err
	}
	args, err := task.SplitArgs(c.Input("cmakeArgs"))
	if err != nil {
		return err
	}
	program, err := c.Program("cmake", "install CMake (package cmake)")
	if err != nil {
		return err
	}
	dir := c.Path(c.Input("cwd"))
	if dir == "" {
		dir, _ = c.Lookup("System.DefaultWorkingDirectory")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return call(ctx, c, task.Command{Path: program, Args: args, Dir: dir})
}
