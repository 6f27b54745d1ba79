// Package web holds what browsers get besides the pages: styles, scripts, icons
// and vendored libraries, all inside the binary.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"sort"
	"sync"
	"time"
)

//go:embed css js vendor icons.svg favicon.svg
var files embed.FS

// Icons is the sprite that every page carries, so that symbols take the colours
// of the place where they stand.
var Icons = sync.OnceValue(func() string {
	b, err := files.ReadFile("icons.svg")
	if err != nil {
		panic(err) // the file is embedded
	}
	return string(b)
})

// Version changes whenever any asset does; addresses carry it, so that browsers
// keep assets for ever and still never mix two releases.
var Version = sync.OnceValue(version)

func version() string {
	var names []string
	_ = fs.WalkDir(files, ".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, p)
		}
		return err
	})
	sort.Strings(names)
	h := sha256.New()
	for _, n := range names {
		b, _ := files.ReadFile(n)
		h.Write([]byte(n))
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// Path is the address of an asset. The version is a folder of the address, so
// that modules which import each other by relative paths stay in one version.
func Path(name string) string { return "/static/" + Version() + "/" + name }

// Handler serves the assets below /static/{version}/.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := path.Clean(r.PathValue("path"))
		b, err := files.ReadFile(name)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		if t := mime.TypeByExtension(path.Ext(name)); t != "" {
			w.Header().Set("Content-Type", t)
		}
		cache := "no-cache"
		if r.PathValue("version") == Version() {
			cache = "public, max-age=31536000, immutable"
		}
		w.Header().Set("Cache-Control", cache)
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(b))
	})
}
