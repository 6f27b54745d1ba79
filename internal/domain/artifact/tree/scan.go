package tree

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
)

// scanned is an entry and where its bytes are read.
type scanned struct {
	Entry
	file string
	size int64 // when it was looked at
}

// scan lists a file, or what a folder holds. Keep is asked for each path below
// the folder; a folder that it does not want is not entered. A link that leads
// outside the folder becomes the file that it leads to, as does every link on
// the service. What is neither file, folder nor link is left out.
func scan(source string, keep func(rel string, dir bool) bool) ([]scanned, error) {
	info, err := os.Stat(source)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		name := filepath.Base(source)
		list := []scanned{{Entry{Path: name, Kind: File, Mode: uint32(info.Mode().Perm())}, source, info.Size()}}
		return list, CheckPath(name)
	}
	var list []scanned
	err = filepath.WalkDir(source, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(source, p)
		if err != nil || rel == "." {
			return err
		}
		rel = filepath.ToSlash(rel)
		if keep != nil && !keep(rel, d.IsDir()) {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if list, err = add(list, p, rel, d); err == nil && len(list) > MaxEntries {
			err = tooLarge("files and folders", MaxEntries)
		}
		return err
	})
	slices.SortFunc(list, func(a, b scanned) int { return strings.Compare(a.Path, b.Path) })
	return list, err
}

func add(list []scanned, p, rel string, d fs.DirEntry) ([]scanned, error) {
	if err := CheckPath(rel); err != nil {
		return nil, err
	}
	info, err := d.Info()
	if err != nil {
		return nil, err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		target, err := os.Readlink(p)
		if err != nil {
			return nil, err
		}
		if target = filepath.ToSlash(target); Inside(rel, target) {
			return append(list, scanned{Entry{Path: rel, Kind: Link, Target: target}, "", 0}), nil
		}
		if info, err = os.Stat(p); err != nil || !info.Mode().IsRegular() {
			return nil, fault.New(fault.Invalid, "artifact-link-outside", "a link leads outside of the artifact, and not to a file").Got("%s → %s", rel, target).
				Try("copy what it leads to, or leave it out with .artifactignore")
		}
	}
	e := Entry{Path: rel, Mode: uint32(info.Mode().Perm())}
	switch {
	case info.IsDir():
		e.Kind = Folder
	case info.Mode().IsRegular():
		e.Kind = File
	default:
		return list, nil
	}
	return append(list, scanned{e, p, info.Size()}), nil
}
