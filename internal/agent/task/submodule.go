package task

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// submoduleInput is "", "true" or "recursive".
func (w *gitRun) submoduleInput() string {
	switch s := strings.ToLower(w.c.Input("submodules")); s {
	case "true", "recursive":
		return s
	}
	return ""
}

func (w *gitRun) submodules(ctx context.Context) error {
	in := w.submoduleInput()
	if in == "" {
		return nil
	}
	sync, update := []string{"submodule", "sync"}, []string{"submodule", "update", "--init", "--force"}
	if w.depth > 0 {
		update = append(update, "--depth="+strconv.Itoa(w.depth))
	}
	if in == "recursive" {
		sync, update = append(sync, "--recursive"), append(update, "--recursive")
	}
	w.extra = append(w.fromOrigin(), w.clones(ctx)...)
	defer func() { w.extra = nil }()
	if err := w.run(ctx, sync...); err != nil {
		return err
	}
	return w.run(ctx, update...)
}

// fromOrigin lets addresses such as ../library count from where the checkout of
// a local run came from.
func (w *gitRun) fromOrigin() []string {
	if w.repo.Origin == "" || w.repo.Origin == w.repo.URL {
		return nil
	}
	return []string{"url." + parent(w.repo.Origin) + ".insteadOf", parent(w.repo.URL)}
}

// clones names the submodules that the checkout of a local run has at hand: what
// was committed there counts, pushed or not. Those with submodules of their own
// are left out, whose addresses count from the true place.
func (w *gitRun) clones(ctx context.Context) []string {
	if w.c.Borrow == nil {
		return nil
	}
	objects, err := os.ReadFile(filepath.Join(w.c.Borrow(w.repo.URL), "objects", "info", "alternates"))
	if err != nil {
		return nil
	}
	modules := filepath.Join(filepath.Dir(strings.TrimSpace(string(objects))), "modules")
	var names bytes.Buffer
	_, _ = w.c.Exec(ctx, Command{Path: w.git, Args: []string{"config", "-z", "-f", ".gitmodules", "--name-only", "--get-regexp", `\.path$`}, Dir: w.dir, Quiet: true, Output: &names})
	var settings []string
	for key := range strings.SplitSeq(names.String(), "\x00") {
		name := strings.TrimSuffix(strings.TrimPrefix(key, "submodule."), ".path")
		folder := filepath.Join(modules, filepath.FromSlash(name))
		_, missing := os.Stat(filepath.Join(folder, "HEAD"))
		_, single := os.Stat(filepath.Join(folder, "modules"))
		if name != "" && filepath.IsLocal(name) && missing == nil && single != nil {
			settings = append(settings, "submodule."+name+".url", folder)
		}
	}
	if settings != nil {
		settings = append(settings, "protocol.file.allow", "always")
	}
	return settings
}

// parent is an address without its last part.
func parent(address string) string { return address[:strings.LastIndex(address, "/")+1] }
