package toolchain

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"penstock.dev/penstock/internal/agent/task"
)

// pythonFolder is what steps find as pythonLocation: a folder with the program
// `python` in it and in its bin, as the tool cache of hosted agents has it. An
// installed Python seldom looks so; a folder of links that goes with the job
// makes up for that. A Python in which its distribution forbids pip to install
// gets a virtual environment instead.
func pythonFolder(ctx context.Context, c *task.Context, f found) (string, error) {
	if runtime.GOOS == "windows" {
		return f.dir, nil
	}
	if _, err := os.Stat(filepath.Join(f.dir, "python")); err == nil {
		return f.dir, nil
	}
	program := pythonProgram(f.dir)
	if program == "" {
		return f.dir, nil
	}
	folder := filepath.Join(c.Temp, "Python", f.version.String())
	if _, err := os.Lstat(filepath.Join(folder, "python")); err == nil {
		return folder, nil
	}
	if managed(ctx, c, program) && venv(ctx, c, program, folder) {
		return folder, os.Symlink(filepath.Join("bin", "python"), filepath.Join(folder, "python"))
	}
	return folder, linkPython(f.dir, program, folder)
}

func pythonProgram(dir string) string {
	for _, name := range []string{"python3", "python"} {
		if p := filepath.Join(dir, "bin", name); isFile(p) {
			return p
		}
	}
	return ""
}

func isFile(p string) bool {
	info, err := os.Stat(p)
	return err == nil && info.Mode().IsRegular()
}

// managed says whether pip refuses to install into this Python.
func managed(ctx context.Context, c *task.Context, program string) bool {
	var out bytes.Buffer
	code, err := c.Exec(ctx, task.Command{Path: program, Args: []string{"-c", "import sys, sysconfig; print(sys.prefix == sys.base_prefix and sysconfig.get_path('stdlib') or '')"},
		Dir: c.Temp, Quiet: true, Plain: true, Output: &out})
	stdlib := strings.TrimSpace(out.String())
	return err == nil && code == 0 && stdlib != "" && isFile(filepath.Join(stdlib, "EXTERNALLY-MANAGED"))
}

// venv makes a virtual environment that sees the packages of the machine, so
// that pip works in it with and without --user.
func venv(ctx context.Context, c *task.Context, program, folder string) bool {
	code, err := c.Exec(ctx, task.Command{Path: program, Args: []string{"-m", "venv", "--system-site-packages", folder}, Dir: c.Temp, Quiet: true, Plain: true})
	if err == nil && code == 0 && isFile(filepath.Join(folder, "bin", "pip")) {
		c.Printf("The distribution keeps pip out of its Python: a virtual environment of the job stands for it.")
		return true
	}
	_ = os.RemoveAll(folder)
	c.Warn("pip will refuse to install into this Python, and a virtual environment could not be made; install the package python3-venv")
	return false
}

// linkPython makes a folder of links to an installed Python. Its bin is the
// installed one where that has the program `python`: what pip installs later is
// found there too.
func linkPython(dir, program, folder string) error {
	bin := filepath.Join(folder, "bin")
	links := map[string]string{filepath.Join(folder, "python"): program}
	if own := filepath.Join(dir, "bin"); isFile(filepath.Join(own, "python")) {
		links[bin] = own
	} else {
		links[filepath.Join(bin, "python")], links[filepath.Join(bin, "python3")] = program, program
		if pip := filepath.Join(own, "pip3"); isFile(pip) {
			links[filepath.Join(bin, "pip")], links[filepath.Join(bin, "pip3")] = pip, pip
		}
	}
	for _, name := range []string{"include", "lib", "share"} {
		links[filepath.Join(folder, name)] = filepath.Join(dir, name)
	}
	for at, to := range links {
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(to, at); err != nil && !os.IsExist(err) {
			return err
		}
	}
	return nil
}
