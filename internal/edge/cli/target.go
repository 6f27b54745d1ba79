package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"

	"penstock.dev/penstock/internal/base/fault"
)

// target is where a command goes, and who said so.
type target struct {
	server, org, project string
	source               string
}

// settings is the configuration file. It holds no secret.
type settings struct {
	Current  string                `yaml:"current,omitempty"`
	Contexts map[string]*savedSite `yaml:"contexts,omitempty"`
}

type savedSite struct {
	Server       string `yaml:"server"`
	Organization string `yaml:"organization,omitempty"`
	Project      string `yaml:"project,omitempty"`
}

// credentials is the file of tokens, by server.
type credentials struct {
	Tokens map[string]*savedToken `yaml:"tokens"`
}

type savedToken struct {
	Token        string `yaml:"token"`
	User         string `yaml:"user"`
	Organization string `yaml:"organization"`
}

func (c *cli) home(variable, fallback string) string {
	if v := c.Env(variable); v != "" {
		return filepath.Join(v, "penstock")
	}
	home := c.Env("HOME")
	if home == "" {
		home, _ = os.UserHomeDir()
	}
	return filepath.Join(home, filepath.FromSlash(fallback), "penstock")
}

func (c *cli) settingsFile() string {
	return cmp.Or(c.Env("PENSTOCK_CONFIG"), filepath.Join(c.home("XDG_CONFIG_HOME", ".config"), "config.yml"))
}

func (c *cli) credentialsFile() string {
	return filepath.Join(c.home("XDG_STATE_HOME", ".local/state"), "credentials.yml")
}

// dataFolder is where `penstock up` keeps its data unless --data says otherwise.
func (c *cli) dataFolder() string {
	return cmp.Or(c.Env("PENSTOCK_DATA"), c.Env("STATE_DIRECTORY"), c.home("XDG_DATA_HOME", ".local/share"))
}

func (c *cli) settings() (*settings, error) {
	s := &settings{Contexts: map[string]*savedSite{}}
	err := readYAML(c.settingsFile(), s)
	return s, err
}

func readYAML(name string, into any) error {
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = yaml.Unmarshal(data, into)
	}
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "config-unreadable", "a file of yours cannot be read").At("%s", name)
	}
	return nil
}

// writeYAML replaces a file of the user's at once.
func writeYAML(name string, v any) error {
	data, err := yaml.Marshal(v)
	if err != nil {
		return err
	}
	failed := func(err error) error {
		return fault.Wrap(err, fault.Invalid, "config-not-writable", "a file of yours cannot be written").At("%s", name)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return failed(err)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*") // mode 0600
	if err != nil {
		return failed(err)
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(f.Name())
		return failed(err)
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return failed(err)
	}
	return nil
}

// credentials reads the tokens; a file that others can read is refused.
func (c *cli) credentials() (*credentials, error) {
	k := &credentials{Tokens: map[string]*savedToken{}}
	name := c.credentialsFile()
	if info, err := os.Stat(name); err == nil && !c.windows() && info.Mode().Perm()&0o077 != 0 {
		return nil, fault.New(fault.Invalid, "credentials-readable", "others can read your tokens").At("%s", name).
			Want("mode 0600").Got("mode %04o", info.Mode().Perm()).Try("chmod 600 %s, then revoke what may have leaked: penstock token list", name)
	}
	err := readYAML(name, k)
	if k.Tokens == nil {
		k.Tokens = map[string]*savedToken{}
	}
	return k, err
}

// parseAddress splits an address into server and, if it is there, organization
// and project.
func parseAddress(text string) (target, error) {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return target{}, usage("%q is no address of a server", text).Want("for instance http://localhost:7420")
	}
	t := target{server: u.Scheme + "://" + strings.ToLower(u.Host)}
	path := strings.FieldsFunc(u.Path, func(r rune) bool { return r == '/' })
	if len(path) > 0 {
		t.org = path[0]
	}
	if len(path) > 1 && path[1] != "_apis" && path[1] != "_git" {
		t.project = path[1]
	}
	return t, nil
}

// resolve finds out where a command goes. The first source that names a server
// decides; organization and project come from the first source that names them
// for that server.
func (c *cli) resolve(ctx context.Context) (target, error) {
	sources, err := c.sources(ctx)
	if err != nil {
		return target{}, err
	}
	var t target
	for _, s := range sources {
		if s.server != "" && t.server == "" {
			t.server, t.source = s.server, s.source
		}
	}
	if t.server == "" {
		return t, fault.New(fault.Invalid, "no-server", "there is no server to ask").Want("--server URL, PENSTOCK_SERVER, a context, or a running penstock up").
			Try("penstock up, or penstock login URL")
	}
	for _, s := range sources {
		if s.server != "" && s.server != t.server {
			continue
		}
		t.org, t.project = cmp.Or(t.org, s.org), cmp.Or(t.project, s.project)
	}
	t.org = cmp.Or(t.org, "default")
	return t, nil
}

func (c *cli) sources(ctx context.Context) ([]target, error) {
	var list []target
	add := func(source, server, org, project string) error {
		t := target{org: org, project: project, source: source}
		if server != "" {
			parsed, err := parseAddress(server)
			if err != nil {
				return err
			}
			t.server, t.org, t.project = parsed.server, cmp.Or(org, parsed.org), cmp.Or(project, parsed.project)
		}
		list = append(list, t)
		return nil
	}
	s, err := c.settings()
	if err != nil {
		return nil, err
	}
	err = errors.Join(add("flags", c.flags.server, c.flags.org, c.flags.project),
		add("environment", c.Env("PENSTOCK_SERVER"), c.Env("PENSTOCK_ORG"), c.Env("PENSTOCK_PROJECT")),
		add("pipeline job", c.Env("SYSTEM_COLLECTIONURI"), "", c.Env("SYSTEM_TEAMPROJECT")))
	if err != nil {
		return nil, err
	}
	name := cmp.Or(c.flags.context, c.Env("PENSTOCK_CONTEXT"))
	if name != "" && s.Contexts[name] == nil {
		return nil, fault.New(fault.NotFound, "no-context", "there is no context %s", name).At("%s", c.settingsFile()).Try("penstock context list")
	}
	up := c.runningServer()
	if name == "" {
		if origin := c.origin(ctx); origin.server != "" && c.trusted(origin.server, s, up) {
			list = append(list, origin)
		}
		name = s.Current
	}
	if site := s.Contexts[name]; site != nil {
		if err := add("context "+name, site.Server, site.Organization, site.Project); err != nil {
			return nil, err
		}
	}
	if up != nil {
		list = append(list, *up)
	}
	return list, nil
}

// trusted reports whether a server is one the user knows: the origin of a
// checkout must not make a token go to whoever wrote it.
func (c *cli) trusted(server string, s *settings, up *target) bool {
	if up != nil && up.server == server {
		return true
	}
	for _, site := range s.Contexts {
		if t, err := parseAddress(site.Server); err == nil && t.server == server {
			return true
		}
	}
	k, err := c.credentials()
	return err == nil && k.Tokens[server] != nil
}

// origin is the server of the checkout the user stands in.
func (c *cli) origin(ctx context.Context) target {
	cmd := exec.CommandContext(ctx, "git", "remote", "get-url", "origin")
	cmd.Dir = c.Dir
	out, err := cmd.Output()
	address := strings.TrimSpace(string(out))
	if err != nil || !strings.Contains(address, "/_git/") || !strings.HasPrefix(address, "http") {
		return target{}
	}
	t, err := parseAddress(address)
	if err != nil {
		return target{}
	}
	t.source = "origin of the checkout"
	return t
}

// runningServer is the `penstock up` of the data folder.
func (c *cli) runningServer() *target {
	data, err := os.ReadFile(filepath.Join(c.dataFolder(), "up.json"))
	if err != nil {
		return nil
	}
	var up struct{ URL, Organization, Project string }
	if json.Unmarshal(data, &up) != nil || up.URL == "" {
		return nil
	}
	t, err := parseAddress(up.URL)
	if err != nil {
		return nil
	}
	t.org, t.project, t.source = up.Organization, up.Project, "penstock up of this machine"
	return &t
}

// tokenFor finds the token for a server; "" = nobody.
func (c *cli) tokenFor(t target) (string, error) {
	if v := c.Env("PENSTOCK_TOKEN"); v != "" {
		return strings.TrimSpace(v), nil
	}
	if name := c.Env("PENSTOCK_TOKEN_FILE"); name != "" {
		data, err := os.ReadFile(c.path(name))
		if err != nil {
			return "", fault.Wrap(err, fault.Invalid, "token-unreadable", "the file of PENSTOCK_TOKEN_FILE cannot be read")
		}
		return strings.TrimSpace(string(data)), nil
	}
	k, err := c.credentials()
	if err != nil {
		return "", err
	}
	if saved := k.Tokens[t.server]; saved != nil {
		return saved.Token, nil
	}
	if t.source == "pipeline job" {
		return c.Env("SYSTEM_ACCESSTOKEN"), nil
	}
	return "", nil
}

// named says where the names come from that a command's first argument takes.
var named = map[string]string{
	"pipeline show": "/_apis/pipelines", "pipeline run": "/_apis/pipelines",
	"repo show": "/_apis/git/repositories", "repo clone": "/_apis/git/repositories",
	"app show": apiApps, "app history": apiApps, "swap": apiApps, "rollback": apiApps,
	"env show": apiEnvs, "env history": apiEnvs, "env check list": apiEnvs, "env check add": apiEnvs, "env check remove": apiEnvs,
	"vm show": apiVMs, "vm start": apiVMs, "vm stop": apiVMs, "vm restart": apiVMs, "vm kill": apiVMs, "vm reimage": apiVMs, "drain": apiVMs,
	"vault secret list": "/_apis/penstock/vaults", "variable-group show": "/_apis/distributedtask/variablegroups",
}

const (
	apiApps = "/_apis/penstock/applications"
	apiEnvs = "/_apis/distributedtask/environments"
	apiVMs  = "/_apis/penstock/vms"
)

// patience is how long a completion waits for the server; then it is silent.
const patience = 300 * time.Millisecond

func (c *cli) completeNames(root *cobra.Command) {
	for path, address := range named {
		cmd, _, err := root.Find(strings.Fields(path))
		if err != nil {
			continue
		}
		cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			ctx := cmd.Context()
			if ctx == nil {
				ctx = context.Background()
			}
			c.flags.timeout = patience
			list, err := all[struct {
				Name        string
				Application struct{ Name string }
			}](ctx, c, address)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, d := range list {
				names = append(names, d.V.Name+d.V.Application.Name)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		}
	}
}
