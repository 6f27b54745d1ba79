package tasklib

import (
	"archive/zip"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rootfs"
)

// taskRoot is a folder of an archive with a task.
type taskRoot struct {
	prefix       string // "." is all of it
	contribution string
}

// unpack extracts the tasks of an archive, each to a folder of its own. The
// limits hold for all of them together.
func unpack(archive string, find func(*zip.Reader) ([]taskRoot, error), staging string, n int) ([]*staged, error) {
	r, err := zip.OpenReader(archive)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "task-package", "the package is no archive").At("%s", archive).Want("a .zip or .vsix")
	}
	defer func() { _ = r.Close() }()
	list, err := find(&r.Reader)
	if err != nil {
		return nil, err
	}
	left := limits
	var found []*staged
	for i, root := range list {
		part := below(&r.Reader, root.prefix)
		p := &staged{dir: filepath.Join(staging, fmt.Sprintf("%d-%d", n, i)), contribution: root.contribution}
		if err := rootfs.Unzip(part, p.dir, left); err != nil {
			return nil, err
		}
		for _, f := range part.File {
			if !f.FileInfo().IsDir() {
				p.files++
			}
			left.Bytes -= int64(f.UncompressedSize64)
		}
		left.Files -= len(part.File)
		if err := p.read(); err != nil {
			return nil, err
		}
		found = append(found, p)
	}
	return found, nil
}

// below is the part of an archive in one folder, as an archive.
func below(r *zip.Reader, folder string) *zip.Reader {
	if folder == "." {
		return r
	}
	part := &zip.Reader{}
	for _, f := range r.File {
		name := f.Name
		if !strings.Contains("/"+name+"/", "/../") { // that is refused when it is extracted
			name = path.Clean(name) // as the folder was found
			if strings.HasSuffix(f.Name, "/") {
				name += "/"
			}
		}
		if rest, ok := strings.CutPrefix(name, strings.TrimSuffix(folder, "/")+"/"); ok && rest != "" {
			moved := *f
			moved.Name = rest
			part.File = append(part.File, &moved)
		}
	}
	return part
}

// taskRoots finds the tasks of an archive: those an extension contributes, or
// every folder with a task.json.
func taskRoots(r *zip.Reader) ([]taskRoot, error) {
	var files []string
	for _, f := range r.File {
		files = append(files, f.Name)
	}
	dirs := roots(files)
	x, err := readExtension(r)
	if err != nil {
		return nil, err
	}
	var list []taskRoot
	for _, c := range x.tasks {
		before := len(list)
		for _, dir := range dirs {
			if within(dir, c.folder) {
				list = append(list, taskRoot{dir, x.name + "." + c.id})
			}
		}
		if len(list) == before {
			return nil, fault.New(fault.Invalid, "task-package", "the extension contributes %s, but the folder %s has no task.json", c.id, c.folder)
		}
	}
	if len(x.tasks) > 0 {
		return list, nil
	}
	for _, dir := range dirs {
		list = append(list, taskRoot{prefix: dir})
	}
	return list, nil
}

// extension is what the two manifests of a .vsix say.
type extension struct {
	name  string // publisher.extension
	tasks []contribution
}

type contribution struct{ id, folder string }

// taskType is the type of contributions that are tasks.
const taskType = "ms.vss-distributed-task.task"

// readExtension reads the manifests; an archive without them is no extension.
func readExtension(r *zip.Reader) (extension, error) {
	var x extension
	var identity struct {
		Metadata struct {
			Identity struct {
				ID        string `xml:"Id,attr"`
				Publisher string `xml:"Publisher,attr"`
			}
		}
	}
	var manifest struct {
		Contributions []struct {
			ID         string `json:"id"`
			Type       string `json:"type"`
			Properties struct {
				Name string `json:"name"`
			} `json:"properties"`
		} `json:"contributions"`
	}
	described, err := readEntry(r, "extension.vsixmanifest", func(data []byte) error { return xml.Unmarshal(data, &identity) })
	if err != nil || !described {
		return x, err
	}
	if _, err := readEntry(r, "extension.vsomanifest", func(data []byte) error {
		return json.Unmarshal([]byte(strings.TrimPrefix(string(data), "\ufeff")), &manifest)
	}); err != nil {
		return x, err
	}
	x.name = identity.Metadata.Identity.Publisher + "." + identity.Metadata.Identity.ID
	for _, c := range manifest.Contributions {
		folder := path.Clean(strings.ReplaceAll(strings.Trim(c.Properties.Name, `/\`), `\`, "/"))
		if strings.EqualFold(c.Type, taskType) && c.Properties.Name != "" {
			x.tasks = append(x.tasks, contribution{c.ID, folder})
		}
	}
	return x, nil
}

// readEntry hands an entry of an archive to read; false: there is none.
func readEntry(r *zip.Reader, name string, read func([]byte) error) (bool, error) {
	for _, f := range r.File {
		if f.Name != name {
			continue
		}
		in, err := f.Open()
		if err != nil {
			return true, err
		}
		defer func() { _ = in.Close() }()
		data, err := io.ReadAll(io.LimitReader(in, maxDefinition))
		if err == nil {
			err = read(data)
		}
		if err != nil {
			return true, fault.Wrap(err, fault.Invalid, "task-package", "%s cannot be read", name)
		}
		return true, nil
	}
	return false, nil
}
