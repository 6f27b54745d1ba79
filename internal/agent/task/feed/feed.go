// Package feed holds the tasks that sign package managers in for the steps that
// follow.
package feed

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rootfs"
	"penstock.dev/penstock/internal/domain/serviceconnection"
)

func init() {
	task.Register(&task.Task{Name: "PipAuthenticate", Major: []string{"0", "1"}, Run: pip})
	task.Register(&task.Task{Name: "npmAuthenticate", Major: []string{"0"}, Run: npm, After: restore})
	task.Register(&task.Task{Name: "NuGetAuthenticate", Major: []string{"0", "1"}, Run: nuget})
}

// account is what a connection to a feed signs in with.
type account struct {
	conn           *serviceconnection.Opened
	url            *url.URL
	user, password string
	token          string // a bearer token where there is no user
}

func accountOf(conn *serviceconnection.Opened) (account, error) {
	a := account{conn: conn}
	var err error
	if a.url, err = url.Parse(strings.TrimSpace(conn.URL)); err != nil || a.url.Host == "" || a.url.Scheme != "https" && a.url.Scheme != "http" {
		return a, fault.New(fault.Invalid, "feed-url", "service connection %s has no usable URL", conn.Name).Want("https://HOST/PATH")
	}
	switch strings.ToLower(conn.Scheme) {
	case "usernamepassword":
		a.user, a.password = conn.Parameter("username"), conn.Parameter("password")
	case "token":
		a.token = cmp.Or(conn.Parameter("apitoken"), conn.Parameter("accessToken"))
	case "none":
		if key := conn.Parameter("nugetkey"); key != "" {
			a.token = key
		}
	default:
		return a, fault.New(fault.Invalid, "feed-scheme", "service connection %s signs in by %s, which a feed does not know", conn.Name, conn.Scheme).Want("UsernamePassword, Token or None")
	}
	return a, nil
}

// accounts are those of the connections that the first given input names.
func accounts(c *task.Context, inputs ...string) ([]account, error) {
	for _, input := range inputs {
		conns, err := c.ConnectAll(input)
		if err != nil {
			return nil, err
		}
		var list []account
		for _, conn := range conns {
			a, err := accountOf(conn)
			if err != nil {
				return nil, err
			}
			list = append(list, a)
		}
		if len(list) > 0 {
			return list, nil
		}
	}
	return nil, nil
}

const nothing = "No service connection is named, and this server has no feeds of its own: there is nothing to sign in to."

// noFeeds says that an input names feeds of the service.
func noFeeds(c *task.Context, input string) {
	if c.Input(input) != "" {
		c.Warn("%s names feeds, and this server has none; nothing is set for %s. Use a service connection to the feed", input, c.Input(input))
	}
}

// pip is PipAuthenticate: the first connection is the index, further ones are
// extra indexes.
func pip(_ context.Context, c *task.Context) error {
	noFeeds(c, "artifactFeeds")
	noFeeds(c, "feedList")
	list, err := accounts(c, "pythonDownloadServiceConnections", "externalSources")
	if err != nil {
		return err
	}
	if len(list) == 0 {
		c.Print(nothing)
		return nil
	}
	var urls []string
	for _, a := range list {
		u := *a.url
		switch {
		case a.user != "" || a.password != "":
			u.User = url.UserPassword(a.user, a.password)
		case a.token != "":
			u.User = url.UserPassword("build", a.token)
		}
		if u.User != nil {
			c.AddSecret(u.User.String())
		}
		urls = append(urls, u.String())
	}
	extra, _ := c.Lookup("PIP_EXTRA_INDEX_URL")
	if index, _ := c.Lookup("PIP_INDEX_URL"); index == "" && !c.Bool("onlyAddExtraIndex") && c.Version != "0" {
		c.Export("PIP_INDEX_URL", urls[0])
		urls = urls[1:]
	}
	if len(urls) > 0 {
		c.Export("PIP_EXTRA_INDEX_URL", strings.TrimSpace(extra+" "+strings.Join(urls, " ")))
	}
	c.Printf("pip is signed in to %d package indexes.", len(list))
	return nil
}

const linesState = "lines"

var registryLine = regexp.MustCompile(`(?m)^\s*(?:@[^:\s]+:)?registry\s*=\s*"?([^"\s]+)"?\s*$`)

// npm is npmAuthenticate: it adds the credentials of each registry of an .npmrc
// to that file, until the job ends.
func npm(_ context.Context, c *task.Context) error {
	name, err := c.Need("workingFile")
	if err != nil {
		return err
	}
	name = c.Path(name)
	info, err := os.Stat(name)
	if err != nil || info.IsDir() || !strings.HasSuffix(name, ".npmrc") {
		return fault.New(fault.Invalid, "no-file", "workingFile is no .npmrc").At("%s", name)
	}
	old, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	list, err := accounts(c, "customEndpoint")
	if err != nil {
		return err
	}
	if len(list) == 0 {
		c.Print(nothing)
		return nil
	}
	var added []string
	for _, m := range registryLine.FindAllStringSubmatch(string(old), -1) {
		i := slices.IndexFunc(list, func(a account) bool { return sameRegistry(a.url, m[1]) })
		if i < 0 {
			c.Printf("No service connection is for the registry %s.", m[1])
			continue
		}
		added = append(added, npmLines(c, list[i])...)
		c.Printf("npm is signed in to %s.", m[1])
	}
	if added = slices.Compact(added); len(added) == 0 {
		c.Warn("no registry of %s belongs to the service connections of this step", name)
		return nil
	}
	text := string(old)
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	c.State[linesState], c.State["file"] = strings.Join(added, "\n"), name
	return rootfs.WriteFile(name, []byte(text+c.State[linesState]+"\n"), info.Mode().Perm())
}

func sameRegistry(u *url.URL, other string) bool {
	o, err := url.Parse(other)
	return err == nil && strings.EqualFold(u.Host, o.Host) && strings.Trim(u.Path, "/") == strings.Trim(o.Path, "/")
}

// npmLines are the credentials of a registry as npm reads them. None of them
// can break out of its line.
func npmLines(c *task.Context, a account) []string {
	place := "//" + a.url.Host + strings.TrimSuffix(a.url.EscapedPath(), "/") + "/"
	flat := func(s string) string { return strings.NewReplacer("\n", "", "\r", "").Replace(s) }
	if a.token != "" {
		return []string{place + ":_authToken=" + flat(a.token), place + ":always-auth=true"}
	}
	if a.user == "" && a.password == "" {
		return nil
	}
	encoded := base64.StdEncoding.EncodeToString([]byte(a.password))
	c.AddSecret(encoded)
	return []string{place + ":username=" + flat(a.user), place + ":_password=" + encoded, place + ":email=" + flat(cmp.Or(a.conn.Parameter("email"), a.user)), place + ":always-auth=true"}
}

// restore takes the credentials out of the .npmrc; what else steps changed in it
// stays.
func restore(_ context.Context, c *task.Context) error {
	name := c.State["file"]
	if name == "" {
		return nil
	}
	info, err := os.Stat(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	added := strings.Split(c.State[linesState], "\n")
	var kept []string
	for line := range strings.Lines(string(text)) {
		if !slices.Contains(added, strings.TrimRight(line, "\r\n")) {
			kept = append(kept, line)
		}
	}
	return rootfs.WriteFile(name, []byte(strings.Join(kept, "")), info.Mode().Perm())
}

// nuget is NuGetAuthenticate. The credentials stand in the variable that the
// credential provider reads, and for every source of a nuget.config with the
// same address in the one that NuGet itself reads.
func nuget(_ context.Context, c *task.Context) error {
	list, err := accounts(c, "nuGetServiceConnections")
	if err != nil {
		return err
	}
	if len(list) == 0 {
		c.Print(nothing)
		return nil
	}
	type credential struct {
		Endpoint string `json:"endpoint"`
		Username string `json:"username"`
		Password string `json:"password"`
	}
	var all struct {
		Endpoints []credential `json:"endpointCredentials"`
	}
	for _, a := range list {
		if a.user == "" && a.password == "" && a.token == "" {
			continue
		}
		if strings.EqualFold(a.conn.Scheme, "None") {
			return fault.New(fault.Invalid, "feed-scheme", "service connection %s has an API key only, which NuGet takes for pushing alone", a.conn.Name).
				Want("UsernamePassword or Token").Try("give the key to the step that pushes")
		}
		all.Endpoints = append(all.Endpoints, credential{a.url.String(), cmp.Or(a.user, "VssSessionToken"), cmp.Or(a.password, a.token)})
	}
	text, err := json.Marshal(all)
	if err != nil {
		return err
	}
	c.Export("VSS_NUGET_EXTERNAL_FEED_ENDPOINTS", string(text))
	sources, err := nugetSources(c)
	if err != nil {
		return err
	}
	for _, s := range sources {
		for _, e := range all.Endpoints {
			if u, err := url.Parse(e.Endpoint); err == nil && sameRegistry(u, s.Value) {
				exportSource(c, s.Key, e.Username, e.Password)
			}
		}
	}
	c.Printf("NuGet is signed in to %d feeds.", len(all.Endpoints))
	return nil
}

var environmentName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func exportSource(c *task.Context, source, user, password string) {
	name := "NuGetPackageSourceCredentials_" + strings.ReplaceAll(source, " ", "_x0020_")
	if !environmentName.MatchString(name) || strings.Contains(password, ";") || strings.Contains(user, ";") {
		c.Warn("the source %s of nuget.config cannot have its credentials in the environment (its name has other characters than letters, digits, - and _, or the password a ;); the credential provider of NuGet is needed for it", source)
		return
	}
	c.Export(name, "Username="+user+";Password="+password)
	c.Printf("The source %s of nuget.config has credentials.", source)
}

type nugetSource struct {
	Key   string `xml:"key,attr"`
	Value string `xml:"value,attr"`
}

// maxConfigs is how many nuget.config files are read, maxConfig how much of one.
const (
	maxConfigs = 200
	maxConfig  = 1 << 20
)

// nugetSources reads the package sources of every nuget.config of the sources.
func nugetSources(c *task.Context) ([]nugetSource, error) {
	root, _ := c.Lookup("System.DefaultWorkingDirectory")
	files, err := task.FindFiles(root, "**/[nN][uU][gG][eE][tT].[cC][oO][nN][fF][iI][gG]")
	if err != nil {
		return nil, err
	}
	var list []nugetSource
	for _, name := range files[:min(len(files), maxConfigs)] {
		list = append(list, readSources(c, name)...)
	}
	return list, nil
}

func readSources(c *task.Context, name string) []nugetSource {
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	var config struct {
		Sources []nugetSource `xml:"packageSources>add"`
	}
	if err := xml.NewDecoder(io.LimitReader(f, maxConfig)).Decode(&config); err != nil {
		c.Warn("%s cannot be read: %v", name, err)
	}
	return config.Sources
}
