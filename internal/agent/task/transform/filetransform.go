package transform

import (
	"archive/zip"
	"cmp"
	"context"
	"os"
	"path/filepath"
	"strings"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rootfs"
)

func init() {
	task.Register(&task.Task{Name: "FileTransform", Major: []string{"1", "2"}, Run: fileTransform})
}

func fileTransform(_ context.Context, c *task.Context) error {
	folder, err := c.Need("folderPath")
	if err != nil {
		return err
	}
	found := []string{c.Path(folder)} // what is there is meant as it is written
	if _, err := os.Stat(found[0]); err != nil {
		base, _ := c.Lookup("System.DefaultWorkingDirectory")
		if found, err = (task.MatchOptions{}).Find(base, folder); err != nil {
			return err
		}
	}
	if len(found) != 1 {
		return fault.New(fault.Invalid, "no-package", "folderPath %s selects %d files or folders", folder, len(found)).Want("exactly one").
			Got("%s", cmp.Or(strings.Join(found[:min(len(found), 5)], ", "), "none"))
	}
	info, err := os.Stat(found[0])
	if err != nil {
		return err
	}
	if info.IsDir() {
		return transformFolder(c, found[0])
	}
	return transformPackage(c, found[0])
}

// transformPackage unpacks an archive, changes it and packs it again.
func transformPackage(c *task.Context, file string) error {
	dir, err := os.MkdirTemp(c.Temp, "transform-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	r, err := zip.OpenReader(file)
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "archive-unreadable", "%s is neither a folder nor a zip archive", file)
	}
	err = rootfs.Unzip(&r.Reader, dir, rootfs.DefaultLimits)
	_ = r.Close()
	if err != nil {
		return err
	}
	if err := transformFolder(c, dir); err != nil {
		return err
	}
	out, err := os.CreateTemp(filepath.Dir(file), ".transform-*")
	if err != nil {
		return err
	}
	_, err = rootfs.Zip(out, dir)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(out.Name(), file)
	}
	if err != nil {
		_ = os.Remove(out.Name())
	}
	return err
}

func transformFolder(c *task.Context, dir string) error {
	if err := refuseXDT(c, dir); err != nil {
		return err
	}
	jsonFiles, xmlFiles := c.Inputs["jsontargetfiles"], c.Inputs["xmltargetfiles"]
	if c.Version == "1" {
		switch targets := c.Inputs["targetfiles"]; strings.ToLower(c.Input("fileType")) {
		case "json":
			jsonFiles = targets
		case "xml":
			xmlFiles = targets
		}
	}
	find := userVariables(c.Lookup)
	total := 0
	for _, kind := range []struct {
		targets    string
		substitute func(string, lookup) (string, int, error)
	}{{jsonFiles, substituteJSON}, {xmlFiles, substituteXML}} {
		if strings.TrimSpace(kind.targets) == "" {
			continue
		}
		files, err := task.FindFiles(dir, strings.Split(kind.targets, "\n")...)
		if err != nil {
			return err
		}
		if len(files) == 0 {
			return fault.New(fault.Invalid, "no-files", "no files match %s below %s", strings.TrimSpace(kind.targets), dir)
		}
		for _, f := range files {
			n, err := transformFile(f, find, kind.substitute)
			if err != nil {
				return err
			}
			name, err := filepath.Rel(dir, f)
			if err != nil {
				return err
			}
			c.Printf("%s: %d values replaced", name, n)
			total += n
		}
	}
	if total == 0 && strings.TrimSpace(jsonFiles+xmlFiles) != "" {
		text := "no value was replaced: no variable has the name of one"
		if c.Version == "2" && c.Bool("errorOnInvalidSubstitution") {
			return fault.New(fault.Invalid, "nothing-replaced", "%s", text)
		}
		c.Warn("%s", text)
	}
	return nil
}

func transformFile(name string, find lookup, substitute func(string, lookup) (string, int, error)) (int, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	text, enc := decode(data)
	text, n, err := substitute(text, find)
	if err != nil {
		return 0, fault.Wrap(err, fault.Invalid, fault.CodeOf(err), "%s", name)
	}
	if n == 0 {
		return 0, nil
	}
	perm := os.FileMode(0o644)
	if info, err := os.Stat(name); err == nil {
		perm = info.Mode().Perm()
	}
	return n, rootfs.ReplaceFile(name, enc.encode(text), perm)
}

// refuseXDT says so where a transformation of configuration files was meant:
// only where there are files it would read.
func refuseXDT(c *task.Context, dir string) error {
	if !c.Bool("enableXmlTransform") {
		return nil
	}
	for line := range strings.Lines(c.Inputs["xmltransformationrules"]) {
		words := strings.Fields(line)
		for i, w := range words {
			if !strings.EqualFold(w, "-transform") || i+1 == len(words) {
				continue
			}
			pattern := strings.Trim(words[i+1], `"'`)
			if strings.HasPrefix(strings.ReplaceAll(pattern, `\`, "/"), "**/") || strings.HasPrefix(pattern, `**\`) {
				pattern = "**/" + strings.TrimLeft(pattern[2:], `/\`)
			}
			if files, err := task.FindFiles(dir, pattern); err == nil && len(files) > 0 {
				return fault.New(fault.Invalid, "xdt-unsupported", "XML transformation (XDT) is not supported").Got("%s", files[0]).
					Try("set enableXmlTransform to false, and transform when building: dotnet publish does it for web projects")
			}
		}
	}
	return nil
}
