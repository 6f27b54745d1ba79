package toolchain

import (
	"archive/zip"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	neturl "net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/Masterminds/semver/v3"

	"penstock.dev/penstock/internal/agent/pack"
	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rootfs"
)

// release is a version that can be downloaded. The checksum, hexadecimal, is
// known before the archive is.
type release struct {
	version *semver.Version
	arch    string
	url     string
	sum     func(ctx context.Context) (string, error)
	strip   int // leading folders of the archive
}

// maxAnswer bounds an index, in bytes.
const maxAnswer = 64 << 20

var limits = rootfs.Limits{Files: 200_000, Bytes: 10 << 30}

func open(ctx context.Context, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		var plain *neturl.Error // says the address again
		if errors.As(err, &plain) {
			err = plain.Err
		}
		return nil, fault.Wrap(err, fault.Unavailable, "download-failed", "%s cannot be reached", url)
	}
	if res.StatusCode != http.StatusOK {
		_ = res.Body.Close()
		return nil, fault.New(fault.Unavailable, "download-failed", "%s answers %s", url, res.Status)
	}
	return res, nil
}

func getText(ctx context.Context, url string) (string, error) {
	res, err := open(ctx, url)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	return string(data), err
}

func getJSON(ctx context.Context, url string, out any) error {
	text, err := getText(ctx, url)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(text), out); err != nil {
		return fault.Wrap(err, fault.Unavailable, "download-failed", "%s does not answer with an index", url)
	}
	return nil
}

// download fetches the newest version that fits into the tool cache.
func (t *tool) download(ctx context.Context, c *task.Context, limit *semver.Constraints, arch, base string) (found, error) {
	list, err := t.releases(ctx, c, base)
	if err != nil {
		return found{}, err
	}
	var best *release
	for i, r := range list {
		if r.arch == arch && limit.Check(r.version) && (best == nil || r.version.GreaterThan(best.version)) {
			best = &list[i]
		}
	}
	if best == nil {
		return found{}, fault.New(fault.NotFound, "tool-version", "%s offers no version that fits", cmp.Or(base, t.name))
	}
	tools, _ := c.Lookup("Agent.ToolsDirectory")
	dir := filepath.Join(tools, t.name, best.version.String(), arch)
	f := found{best.version, dir, toolCache}
	if _, err := os.Stat(dir + ".complete"); err == nil {
		return f, nil
	}
	c.Printf("Downloading %s", best.url)
	if err := best.unpack(ctx, c, dir); err != nil {
		return found{}, err
	}
	return f, os.WriteFile(dir+".complete", nil, 0o644)
}

// unpack puts the archive of a release into a folder, once its checksum is
// known to be right.
func (r *release) unpack(ctx context.Context, c *task.Context, dir string) error {
	want, err := r.sum(ctx)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(c.Temp, "tool-*")
	if err != nil {
		return err
	}
	defer func() {
		_ = file.Close()
		_ = os.Remove(file.Name())
	}()
	res, err := open(ctx, r.url)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	h := sha256.New()
	if len(want) == sha512.Size*2 {
		h = sha512.New()
	}
	size, err := io.Copy(io.MultiWriter(file, h), res.Body)
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "download-failed", "%s broke off", r.url)
	}
	if got := hex.EncodeToString(h.Sum(nil)); !strings.EqualFold(got, want) || want == "" {
		return fault.New(fault.Denied, "checksum", "%s does not have the checksum that its publisher names", r.url).Want("%s", want).Got("%s", got)
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if strings.HasSuffix(r.url, ".zip") {
		return r.unzip(file, size, dir)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	z, err := pack.Decompressor(file, map[bool]string{true: "xz", false: "gz"}[strings.HasSuffix(r.url, ".xz")])
	if err != nil {
		return err
	}
	_, err = pack.Untar(z, dir, pack.Options{Limits: limits, Strip: r.strip})
	return err
}

func (r *release) unzip(file *os.File, size int64, dir string) error {
	z, err := zip.NewReader(file, size)
	if err != nil {
		return err
	}
	for _, f := range z.File {
		for range r.strip {
			_, f.Name, _ = strings.Cut(f.Name, "/")
		}
		if f.Name == "" {
			f.Name = "./"
		}
	}
	return rootfs.Unzip(z, dir, limits)
}

// system and the end of archives' names, as a site writes them.
func platform(names map[string]string) (string, string) {
	end := "tar.gz"
	if runtime.GOOS == "windows" {
		end = "zip"
	}
	return names[runtime.GOOS], end
}

// nodeReleases reads the index of nodejs.org, or of a mirror.
func nodeReleases(ctx context.Context, _ *task.Context, base string) ([]release, error) {
	var index []struct {
		Version string   `json:"version"`
		Files   []string `json:"files"`
	}
	base = strings.TrimSuffix(base, "/")
	if err := getJSON(ctx, base+"/index.json", &index); err != nil {
		return nil, err
	}
	system, end := platform(map[string]string{"linux": "linux", "darwin": "darwin", "windows": "win"})
	var list []release
	for _, v := range index {
		version, err := semver.NewVersion(v.Version)
		if err != nil {
			continue
		}
		for _, arch := range []string{"x64", "x86", "arm64"} {
			name := fmt.Sprintf("node-%s-%s-%s.%s", v.Version, system, arch, end)
			list = append(list, release{version: version, arch: arch, url: base + "/" + v.Version + "/" + name, strip: 1, sum: func(ctx context.Context) (string, error) {
				text, err := getText(ctx, base+"/"+v.Version+"/SHASUMS256.txt")
				for line := range strings.Lines(text) {
					if sum, file, ok := strings.Cut(strings.TrimSpace(line), "  "); ok && file == name {
						return sum, nil
					}
				}
				if err == nil {
					err = fault.New(fault.NotFound, "checksum", "%s names no checksum of %s", base, name)
				}
				return "", err
			}})
		}
	}
	return list, nil
}

// goReleases reads the index of go.dev.
func goReleases(ctx context.Context, _ *task.Context, base string) ([]release, error) {
	var index []struct {
		Version string `json:"version"`
		Files   []struct {
			Name   string `json:"filename"`
			OS     string `json:"os"`
			Arch   string `json:"arch"`
			SHA256 string `json:"sha256"`
			Kind   string `json:"kind"`
		} `json:"files"`
	}
	base = strings.TrimSuffix(base, "/")
	if err := getJSON(ctx, base+"/?mode=json&include=all", &index); err != nil {
		return nil, err
	}
	arch := map[string]string{"amd64": "x64", "386": "x86", "arm64": "arm64"}
	var list []release
	for _, v := range index {
		version, err := semver.NewVersion(strings.TrimPrefix(v.Version, "go"))
		if err != nil {
			continue // betas are written otherwise
		}
		for _, f := range v.Files {
			if f.OS == runtime.GOOS && f.Kind == "archive" && arch[f.Arch] != "" {
				list = append(list, release{version: version, arch: arch[f.Arch], url: base + "/" + f.Name, strip: 1,
					sum: func(context.Context) (string, error) { return f.SHA256, nil }})
			}
		}
	}
	return list, nil
}
