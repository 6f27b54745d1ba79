package sshtask

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/pkg/sftp"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
)

// copyFiles is CopyFilesOverSSH.
func copyFiles(ctx context.Context, c *task.Context) error {
	source := c.Path(c.Input("sourceFolder"))
	if source == "" {
		source, _ = c.Lookup("System.DefaultWorkingDirectory")
	}
	if info, err := os.Stat(source); err != nil || !info.IsDir() {
		return fault.New(fault.Invalid, "no-folder", "sourceFolder is no folder").At("%s", source)
	}
	found, err := task.FindFiles(source, patterns(c.Inputs["contents"])...)
	if err != nil {
		return err
	}
	files := make([]string, 0, len(found))
	for _, f := range found {
		if info, err := os.Stat(f); err == nil && info.Mode().IsRegular() {
			files = append(files, f)
		}
	}
	if len(files) == 0 {
		if c.Bool("failOnEmptySource") {
			return fault.New(fault.Invalid, "no-file", "nothing to copy: no file of %s matches, and failOnEmptySource is set", source)
		}
		c.Warn("Nothing to copy: no file of %s matches.", source)
		return nil
	}
	client, err := dial(ctx, c)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = client.Close() })
	defer stop()
	remote, err := sftp.NewClient(client, sftp.UseConcurrentWrites(true))
	if err != nil {
		return noFiles(err)
	}
	defer func() { _ = remote.Close() }()
	u := &upload{c: c, remote: remote, source: source, target: target(c)}
	err = u.all(files)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// patterns puts what excludes behind all that includes, as the task does.
func patterns(text string) []string {
	var include, exclude []string
	for line := range strings.Lines(text) {
		switch line = strings.TrimSpace(line); {
		case line == "":
		case strings.HasPrefix(line, "!"):
			exclude = append(exclude, line)
		default:
			include = append(include, line)
		}
	}
	if len(include) == 0 {
		include = []string{"**"}
	}
	return append(include, exclude...)
}

// target is the folder on the other machine; what is relative is in the home
// folder there.
func target(c *task.Context) string {
	to := c.Input("targetFolder")
	if c.Bool("isWindowsOnTarget") {
		to = strings.ReplaceAll(to, `\`, "/")
		if len(to) > 1 && to[1] == ':' { // C:/x is /C:/x to SFTP
			to = "/" + to
		}
	}
	if to == "" || to == "~" {
		return "."
	}
	if rest, ok := strings.CutPrefix(to, "~/"); ok {
		return path.Clean(rest)
	}
	return path.Clean(to)
}

type upload struct {
	c      *task.Context
	remote *sftp.Client
	source string
	target string
}

func (u *upload) all(files []string) error {
	if u.c.Bool("cleanTargetFolder") {
		if err := u.clean(); err != nil {
			return err
		}
	}
	if err := u.remote.MkdirAll(u.target); err != nil {
		return failed(u.target, err)
	}
	u.c.Printf("Copying %d files to %s on the other machine.", len(files), u.target)
	for _, f := range files {
		name := filepath.Base(f)
		if !u.c.Bool("flattenFolders") {
			rel, err := filepath.Rel(u.source, f)
			if err != nil {
				return err
			}
			name = filepath.ToSlash(rel)
		}
		if err := u.one(f, path.Join(u.target, name)); err != nil {
			return err
		}
	}
	u.c.Printf("%d files were copied.", len(files))
	return nil
}

func failed(name string, err error) error {
	return fault.New(fault.Invalid, "ssh-copy", "the other machine does not take it").At("%s", name).Got("%s", err)
}

func (u *upload) one(from, to string) error {
	if strings.EqualFold(u.c.Input("overwrite"), "false") {
		if _, err := u.remote.Stat(to); err == nil {
			return fault.New(fault.Invalid, "file-exists", "the file is there already, and overwrite is false").At("%s", to)
		}
	}
	if err := u.remote.MkdirAll(path.Dir(to)); err != nil {
		return failed(path.Dir(to), err)
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := u.remote.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC)
	if err != nil {
		return failed(to, err)
	}
	_, err = out.ReadFrom(in)
	if err = errors.Join(err, out.Close()); err != nil {
		return failed(to, err)
	}
	return nil
}

// clean empties the target folder, hidden files only where the step says so. A
// link goes, not what it leads to. The folder one lands in and the root are left
// alone.
func (u *upload) clean() error {
	if u.target == "." || u.target == "/" || u.target == ".." || strings.HasPrefix(u.target, "../") {
		return fault.New(fault.Invalid, "folder-protected", "cleanTargetFolder does not empty %s", u.target).Want("targetFolder names a folder of its own")
	}
	list, err := u.remote.ReadDir(u.target)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return failed(u.target, err)
	}
	for _, f := range list {
		if strings.HasPrefix(f.Name(), ".") && !u.c.Bool("cleanHiddenFilesInTarget") {
			continue
		}
		name := path.Join(u.target, f.Name())
		if f.IsDir() {
			err = u.remote.RemoveAll(name)
		} else {
			err = u.remote.Remove(name)
		}
		if err != nil {
			return failed(name, err)
		}
	}
	return nil
}
