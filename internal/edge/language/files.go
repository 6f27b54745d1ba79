package language

import (
	"context"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf16"

	"penstock.dev/penstock/internal/domain/pipeline/editor"
)

// checkout is one repository on disk, with the folders of the others, as the
// editor changes it.
type checkout struct {
	root    string
	folders map[string]string // by alias in small letters; "self" is root
	disk    *Source
	overlay func(path string) (text []byte, open bool)
}

// ReadFile implements pipeline.Source: what is open in the editor hides the
// file on disk.
func (c *checkout) ReadFile(ctx context.Context, repository, path string) ([]byte, error) {
	if folder, ok := c.folders[strings.ToLower(repository)]; ok {
		if text, open := c.overlay(filepath.Join(folder, filepath.FromSlash(path))); open {
			return text, nil
		}
	}
	return c.disk.ReadFile(ctx, repository, path)
}

// path is where a file of the checkout is on disk.
func (c *checkout) path(f editor.FileID) string {
	return filepath.Join(c.folders[strings.ToLower(f.Repository)], filepath.FromSlash(f.Path))
}

// own is the name of a file of the checkout itself.
func (c *checkout) own(path string) editor.FileID {
	rel, err := filepath.Rel(c.root, path)
	if err != nil {
		rel = filepath.Base(path)
	}
	return editor.FileID{Repository: "self", Path: filepath.ToSlash(rel)}
}

// Bounds of a search for files that may call templates.
const (
	mostEntries = 20_000
	mostFiles   = 1000
)

// files lists the YAML files of all folders.
func (c *checkout) files() []editor.FileID {
	var out []editor.FileID
	entries := 0
	for alias, folder := range c.folders {
		_ = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if entries++; err != nil || entries > mostEntries || len(out) >= mostFiles {
				return fs.SkipAll
			}
			name := d.Name()
			if d.IsDir() {
				if name == ".git" || name == "node_modules" || name == ".penstock" {
					return fs.SkipDir
				}
				return nil
			}
			if ext := strings.ToLower(filepath.Ext(name)); ext == ".yml" || ext == ".yaml" {
				if rel, err := filepath.Rel(folder, path); err == nil {
					out = append(out, editor.FileID{Repository: alias, Path: filepath.ToSlash(rel)})
				}
			}
			return nil
		})
	}
	return out
}

// checkout finds the checkout of a file. Folders that are not there are left out,
// so that a template in them is reported where it is named.
func (w Workspace) checkout(ctx context.Context, file string, folders []string, overlay func(string) ([]byte, bool)) (*checkout, error) {
	root := checkoutOf(filepath.Dir(file))
	if w.Root != "" {
		root = w.path(w.Root)
	}
	for _, folder := range folders { // where there is no git, what the editor opened is the repository
		if rel, err := filepath.Rel(folder, file); root == "" && err == nil && filepath.IsLocal(rel) {
			root = folder
		}
	}
	if root == "" {
		root = filepath.Dir(file)
	}
	root = resolved(root)
	if rel, err := filepath.Rel(root, file); err != nil || !filepath.IsLocal(rel) {
		root = filepath.Dir(file)
	}
	c := &checkout{root: root, folders: map[string]string{"self": root}, overlay: overlay}
	repos := map[string]string{}
	for alias, folder := range w.Repos {
		if folder = resolved(w.path(folder)); isFolder(folder) {
			repos[alias], c.folders[strings.ToLower(alias)] = folder, folder
		}
	}
	w.Root, w.Repos = root, repos
	disk, _, err := w.Open(ctx, file)
	c.disk = disk
	return c, err
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// pathOf is the file of a URI; only files are read.
func pathOf(uri string) (string, bool) {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "file" {
		return "", false
	}
	path := u.Path
	if len(path) > 2 && path[0] == '/' && path[2] == ':' {
		path = path[1:] // /C:/…
	}
	return resolved(filepath.FromSlash(path)), true
}

func uriOf(path string) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return (&url.URL{Scheme: "file", Path: path}).String()
}

// column turns a client's character (from 0) into a column (from 1).
func column(line string, character int, utf32 bool) int {
	if utf32 {
		return character + 1
	}
	col := 1
	for _, r := range line {
		if character -= max(1, utf16.RuneLen(r)); character < 0 {
			break
		}
		col++
	}
	return col
}

// character turns a column into what the client counts.
func character(line string, column int, utf32 bool) int {
	if utf32 {
		return column - 1
	}
	at := 0
	for _, r := range line {
		if column--; column < 1 {
			break
		}
		at += max(1, utf16.RuneLen(r))
	}
	return at
}
