package archive

import (
	"archive/zip"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ulikunitz/xz"

	"penstock.dev/penstock/internal/agent/pack"
	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rootfs"
)

// limits bound what one archive may unpack to.
var limits = rootfs.Limits{Files: 1_000_000, Bytes: 100 << 30}

func extractFiles(ctx context.Context, c *task.Context) error {
	to, err := c.Need("destinationFolder")
	if err != nil {
		return err
	}
	to = c.Path(to)
	archives, err := findArchives(c)
	if err != nil {
		return err
	}
	if c.Bool("cleanDestinationFolder") {
		c.Printf("Cleaning destination folder: %s", to)
		if err := cleanFolder(c, to); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	if len(archives) == 0 {
		c.Warn("No archives match %s.", strings.ReplaceAll(strings.TrimSpace(c.Input("archiveFilePatterns")), "\n", ", "))
	}
	for _, a := range archives {
		c.Printf("Extracting %s to %s", a, to)
		var stayed kept
		if !c.Bool("overwriteExistingFiles") {
			stayed = kept{}
		}
		if err := extract(ctx, c, a, to, stayed); err != nil {
			return err
		}
		if err := stayed.fault(to); err != nil {
			return err
		}
	}
	return nil
}

// kept are the files that are there already and stay; nil where nothing stays.
type kept map[string]bool

func (k kept) add(name string) { k[name] = true }

// fault fails the step where files stayed, as the tools of the service do on
// Linux once the rest is extracted.
func (k kept) fault(dir string) error {
	if len(k) == 0 {
		return nil
	}
	first := slices.Min(slices.Collect(maps.Keys(k)))
	return fault.New(fault.Conflict, "extract-exists", "%d files of the archive are there already and were not replaced", len(k)).At("%s", dir).Got("%s", first).
		Try("set overwriteExistingFiles or cleanDestinationFolder to true")
}

// cleanFolder deletes the destination, unless that is a folder nobody can mean.
func cleanFolder(c *task.Context, dir string) error {
	sources, _ := c.Lookup("Build.SourcesDirectory")
	workspace, _ := c.Lookup("Pipeline.Workspace")
	for _, kept := range []string{sources, workspace, c.Temp} {
		if rel, err := filepath.Rel(dir, kept); kept != "" && err == nil && (rel == "." || filepath.IsLocal(rel)) {
			return fault.New(fault.Invalid, "clean-refused", "destinationFolder %s holds the job's own folder %s and is not deleted", dir, kept).
				Try("choose a folder below it, or set cleanDestinationFolder to false")
		}
	}
	return os.RemoveAll(dir)
}

func findArchives(c *task.Context) ([]string, error) {
	base, _ := c.Lookup("System.DefaultWorkingDirectory")
	text := c.Inputs["archivefilepatterns"]
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.ContainsAny(line, "*?[!") || strings.HasPrefix(line, "#") {
			continue
		}
		if info, err := os.Stat(c.Path(line)); err != nil || info.IsDir() {
			return nil, fault.New(fault.Invalid, "no-file", "Specified archive: %s can not be extracted because it does not exist or is a folder.", line)
		}
	}
	found, err := task.MatchOptions{Base: true}.Find(base, strings.Split(text, "\n")...)
	var files []string
	for _, f := range found {
		if info, err := os.Stat(f); err == nil && !info.IsDir() {
			files = append(files, f)
		}
	}
	return files, err
}

// kinds of archives by the end of the name: tar inside or not, and compression.
var kinds = []struct {
	end         string
	tar         bool
	compression string
}{
	{".tar.gz", true, "gz"}, {".tgz", true, "gz"}, {".taz", true, "gz"}, {".tar.bz2", true, "bz2"}, {".tbz", true, "bz2"}, {".tbz2", true, "bz2"}, {".tb2", true, "bz2"},
	{".tar.xz", true, "xz"}, {".txz", true, "xz"}, {".tar", true, ""}, {".gz", false, "gz"}, {".bz2", false, "bz2"}, {".xz", false, "xz"},
}

func extract(ctx context.Context, c *task.Context, file, to string, stayed kept) error {
	name := strings.ToLower(filepath.Base(file))
	for _, end := range []string{".zip", ".jar", ".war", ".ear"} {
		if strings.HasSuffix(name, end) {
			return unzip(file, to, stayed)
		}
	}
	for _, k := range kinds {
		if !strings.HasSuffix(name, k.end) {
			continue
		}
		in, err := os.Open(file)
		if err != nil {
			return err
		}
		defer func() { _ = in.Close() }()
		if !k.tar {
			return single(in, k.compression, filepath.Base(file[:len(file)-len(k.end)]), to, stayed)
		}
		r, err := pack.Decompressor(in, k.compression)
		if err != nil {
			return fault.Wrap(err, fault.Invalid, "archive-unreadable", "%s cannot be read", file)
		}
		o := pack.Options{Limits: limits}
		if stayed != nil {
			o.Keep = stayed.add
		}
		_, err = pack.Untar(r, to, o)
		return err
	}
	program, err := findSevenZip(c)
	if err != nil {
		return err
	}
	mode := "-aoa"
	if stayed != nil {
		mode = "-aos"
	}
	code, err := c.Exec(ctx, task.Command{Path: program, Args: []string{"x", mode, "-o" + to, "--", file}, Dir: to, Plain: true})
	if err == nil && code != 0 {
		err = task.ExitError("7z", code)
	}
	return err
}

func unzip(file, to string, stayed kept) error {
	r, err := zip.OpenReader(file)
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "archive-unreadable", "%s cannot be read", file)
	}
	defer func() { _ = r.Close() }()
	if stayed != nil {
		var fresh []*zip.File
		for _, f := range r.File {
			if _, err := os.Lstat(filepath.Join(to, filepath.FromSlash(f.Name))); err != nil || strings.HasSuffix(f.Name, "/") {
				fresh = append(fresh, f)
			} else {
				stayed.add(f.Name)
			}
		}
		r.File = fresh
	}
	return rootfs.Unzip(&r.Reader, to, limits)
}

// single extracts a file that is compressed alone.
func single(in io.Reader, compression, name, to string, stayed kept) error {
	var r io.Reader
	var err error
	switch compression {
	case "gz":
		r, err = gzip.NewReader(in)
	case "xz":
		r, err = xz.NewReader(in)
	default:
		r = bzip2.NewReader(in)
	}
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "archive-unreadable", "the archive cannot be read")
	}
	root, err := os.OpenRoot(to)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if _, err := root.Lstat(name); err == nil && stayed != nil {
		stayed.add(name)
		return nil
	}
	out, err := root.Create(name)
	if err != nil {
		return err
	}
	n, err := io.Copy(out, io.LimitReader(r, limits.Bytes+1))
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err == nil && n > limits.Bytes {
		err = fault.New(fault.Invalid, "archive-too-large", "the archive unpacks to more than its limit").Want("at most %d bytes", limits.Bytes)
	}
	return err
}
