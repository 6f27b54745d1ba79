package toolchain

import (
	"bytes"
	"cmp"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
)

// dotnetIndex is where the releases of .NET are listed.
const dotnetIndex = "https://builds.dotnet.microsoft.com/dotnet/release-metadata"

func useDotNet(ctx context.Context, c *task.Context) error {
	spec, err := dotnetSpec(c)
	if err != nil {
		return err
	}
	target := c.Path(c.Input("installationPath"))
	if target == "" {
		return fault.New(fault.Invalid, "input-missing", "Input required: installationPath")
	}
	if spec != "" {
		limit, err := constraint(".NET", spec)
		if err != nil {
			return err
		}
		kind := strings.ToLower(c.Input("packageType"))
		home, have := installedDotNet(ctx, c, target, limit, kind)
		if home == "" {
			base, _ := c.Lookup("DOTNET_RELEASE_INDEX")
			if err := installDotNet(ctx, c, target, limit, kind, cmp.Or(base, dotnetIndex)); err != nil {
				return fault.Wrap(err, fault.NotFound, "tool-version", ".NET %s %s is not installed", kind, spec).Got("%s", cmp.Or(strings.Join(have, ", "), "none installed")).
					Try("install it on the agent's machine, or let the agent reach %s", dotnetIndex)
			}
			home = target
		}
		c.PrependPath(home)
		c.SetVariable("DOTNET_ROOT", home, false)
		c.Printf(".NET %s %s in %s", kind, spec, home)
	}
	if !c.Bool("performMultiLevelLookup") {
		c.SetVariable("DOTNET_MULTILEVEL_LOOKUP", "0", false)
	}
	if home, err := os.UserHomeDir(); err == nil {
		c.PrependPath(filepath.Join(home, ".dotnet", "tools"))
	}
	return nil
}

func dotnetSpec(c *task.Context) (string, error) {
	if c.Bool("useGlobalJson") && !strings.EqualFold(c.Input("packageType"), "runtime") {
		dir := c.Path(c.Input("workingDirectory"))
		if dir == "" {
			dir, _ = c.Lookup("System.DefaultWorkingDirectory")
		}
		return globalJSON(dir)
	}
	return c.Input("version"), nil
}

// installedDotNet looks into the folder that the task fills and at the
// machine's own.
func installedDotNet(ctx context.Context, c *task.Context, target string, limit *semver.Constraints, kind string) (home string, have []string) {
	candidates := []string{filepath.Join(target, "dotnet")}
	if p, err := c.Find("dotnet"); err == nil {
		candidates = append(candidates, p)
	}
	for _, program := range candidates {
		if runtime.GOOS == "windows" && filepath.Ext(program) == "" {
			program += ".exe"
		}
		if _, err := os.Stat(program); err != nil {
			continue
		}
		var out bytes.Buffer
		if code, err := c.Exec(ctx, task.Command{Path: program, Args: []string{"--list-" + kind + "s"}, Dir: c.Temp, Quiet: true, Plain: true, Output: &out}); err != nil || code != 0 {
			continue
		}
		for line := range strings.Lines(out.String()) {
			v, err := semver.NewVersion(number.FindString(line))
			if err != nil {
				continue
			}
			have = append(have, v.String())
			if home == "" && limit.Check(v) {
				if real, err := filepath.EvalSymlinks(program); err == nil {
					program = real
				}
				home = filepath.Dir(program)
			}
		}
	}
	return home, have
}

type dotnetFile struct {
	RID  string `json:"rid"`
	Name string `json:"name"`
	URL  string `json:"url"`
	Hash string `json:"hash"`
}

type dotnetPart struct {
	Version string       `json:"version"`
	Files   []dotnetFile `json:"files"`
}

// installDotNet downloads the newest version that fits; several versions share
// a folder.
func installDotNet(ctx context.Context, c *task.Context, target string, limit *semver.Constraints, kind, base string) error {
	var index struct {
		Channels []struct {
			Version  string `json:"channel-version"`
			Releases string `json:"releases.json"`
		} `json:"releases-index"`
	}
	if err := getJSON(ctx, strings.TrimSuffix(base, "/")+"/releases-index.json", &index); err != nil {
		return err
	}
	system, end := platform(map[string]string{"linux": "linux", "darwin": "osx", "windows": "win"})
	rid := system + "-" + archOf("")
	var best *semver.Version
	var file dotnetFile
	for _, ch := range index.Channels {
		if !channelFits(limit, ch.Version) {
			continue
		}
		var releases struct {
			Releases []struct {
				SDK     dotnetPart   `json:"sdk"`
				SDKs    []dotnetPart `json:"sdks"`
				Runtime dotnetPart   `json:"runtime"`
			} `json:"releases"`
		}
		if err := getJSON(ctx, ch.Releases, &releases); err != nil {
			return err
		}
		for _, r := range releases.Releases {
			parts := slices.Concat(r.SDKs, []dotnetPart{r.SDK})
			if kind == "runtime" {
				parts = []dotnetPart{r.Runtime}
			}
			for _, p := range parts {
				v, err := semver.NewVersion(p.Version)
				if err != nil || !limit.Check(v) || best != nil && !v.GreaterThan(best) || v.Prerelease() != "" && !c.Bool("includePreviewVersions") {
					continue
				}
				for _, f := range p.Files {
					if f.RID == rid && strings.HasSuffix(f.Name, end) && strings.HasPrefix(f.Name, "dotnet-"+kind+"-") {
						best, file = v, f
					}
				}
			}
		}
	}
	if best == nil {
		return fault.New(fault.NotFound, "tool-version", "%s offers no version that fits for %s", base, rid)
	}
	c.Printf("Downloading %s", file.URL)
	return addTo(ctx, c, release{version: best, url: file.URL, sum: func(context.Context) (string, error) { return file.Hash, nil }}, target)
}

// channelFits says whether a channel such as 8.0 can hold what is wanted.
func channelFits(limit *semver.Constraints, channel string) bool {
	for _, patch := range []string{".0", ".1", ".50", ".100", ".200", ".300", ".400", ".999"} {
		if v, err := semver.NewVersion(channel + patch); err == nil && limit.Check(v) {
			return true
		}
	}
	// An exact version beyond those.
	text := limit.String()
	return strings.HasPrefix(strings.TrimLeft(text, "=v^~><! "), channel+".")
}

// addTo unpacks beside what is in a folder already.
func addTo(ctx context.Context, c *task.Context, r release, target string) error {
	fresh := filepath.Join(c.Temp, "dotnet-"+r.version.String())
	defer func() { _ = os.RemoveAll(fresh) }()
	if err := r.unpack(ctx, c, fresh); err != nil {
		return err
	}
	// The program that starts all versions is always the newest one's.
	err := filepath.WalkDir(fresh, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(fresh, p)
		if err != nil {
			return err
		}
		if err := os.Remove(filepath.Join(target, rel)); err != nil && !os.IsNotExist(err) {
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	return os.CopyFS(target, os.DirFS(fresh))
}
