package feed_test

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	_ "penstock.dev/penstock/internal/agent/task/feed"
	"penstock.dev/penstock/internal/agent/task/tasktest"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/serviceconnection"
)

func conns() []*serviceconnection.Opened {
	return []*serviceconnection.Opened{
		{Name: "basic", Scheme: "UsernamePassword", URL: "https://feed.example/simple/", Parameters: map[string]string{"username": "me@x", "password": "p/ss:w"}},
		{Name: "token", Scheme: "Token", URL: "https://other.example/npm/", Parameters: map[string]string{"apitoken": "tok-en-1"}},
		{Name: "open", Scheme: "None", URL: "https://open.example/simple"},
		{Name: "key", Scheme: "None", URL: "https://nuget.example/v3/index.json", Parameters: map[string]string{"nugetkey": "key-1"}},
		{Name: "ssh", Scheme: "UsernamePassword", URL: "ssh://x"},
		{Name: "saml", Scheme: "SAML", URL: "https://x.example"},
	}
}

func TestPip(t *testing.T) {
	for name, k := range map[string]struct {
		task         string
		inputs, vars map[string]string
		index, extra string
		code         string
	}{
		"first is the index": {"PipAuthenticate@1", map[string]string{"pythonDownloadServiceConnections": "basic, token,open"}, nil,
			"https://me%40x:p%2Fss%3Aw@feed.example/simple/", "https://build:tok-en-1@other.example/npm/ https://open.example/simple", ""},
		"extra only": {"PipAuthenticate@1", map[string]string{"pythonDownloadServiceConnections": "open", "onlyAddExtraIndex": "true"}, map[string]string{"pip_extra_index_url": "https://a.example"},
			"", "https://a.example https://open.example/simple", ""},
		"index is there already": {"PipAuthenticate@1", map[string]string{"pythonDownloadServiceConnections": "open"}, map[string]string{"pip_index_url": "https://a.example"}, "https://a.example", "https://open.example/simple", ""},
		"version 0":              {"PipAuthenticate@0", map[string]string{"externalFeeds": "open"}, nil, "", "https://open.example/simple", ""},
		"nothing":                {"PipAuthenticate@1", nil, nil, "", "", ""},
		"unknown":                {"PipAuthenticate@1", map[string]string{"pythonDownloadServiceConnections": "none"}, nil, "", "", "no-connection"},
		"no feed":                {"PipAuthenticate@1", map[string]string{"pythonDownloadServiceConnections": "ssh"}, nil, "", "", "feed-url"},
		"no scheme":              {"PipAuthenticate@1", map[string]string{"pythonDownloadServiceConnections": "saml"}, nil, "", "", "feed-scheme"},
	} {
		t.Run(name, func(t *testing.T) {
			d := tasktest.New(t)
			d.Connections = conns()
			for n, v := range k.vars {
				d.Vars[n] = v
			}
			err := d.Run(k.task, k.inputs)
			if (err == nil) != (k.code == "") || err != nil && fault.CodeOf(err) != k.code || d.Vars["pip_index_url"] != k.index || d.Vars["pip_extra_index_url"] != k.extra {
				t.Errorf("%v, want %q; index %q, extra %q", err, k.code, d.Vars["pip_index_url"], d.Vars["pip_extra_index_url"])
			}
			if strings.Contains(d.Log(), "tok-en") || strings.Contains(d.Log(), "ss%3Aw") || strings.Contains(k.index, "ss%3Aw") != strings.Contains(strings.Join(d.Secrets, " "), "me%40x:p%2Fss%3Aw") {
				t.Errorf("log %s, secrets %q", d.Log(), d.Secrets)
			}
			if name == "nothing" && !strings.Contains(d.Log(), "nothing to sign in to") {
				t.Error(d.Log())
			}
			if len(d.Outputs) > 0 {
				t.Errorf("outputs are kept with the run: %v", d.Outputs)
			}
		})
	}
	d := tasktest.New(t)
	if err := d.Run("PipAuthenticate@1", map[string]string{"artifactFeeds": "shop/feed"}); err != nil || len(d.Issues) != 1 || !strings.Contains(d.Issues[0], "this server has none") {
		t.Errorf("a feed of the service: %v %q", err, d.Issues)
	}
}

// TestNpm lets npm itself read the file.
func TestNpm(t *testing.T) {
	d := tasktest.New(t)
	d.Connections = conns()
	const before = "registry=https://feed.example/simple\n@shop:registry=\"https://other.example/npm/\"\n@x:registry=https://third.example/\nfund=false"
	d.Write(map[string]string{".npmrc": before})
	inputs := map[string]string{"workingFile": ".npmrc", "customEndpoint": "basic,token"}
	if err := d.Run("npmAuthenticate@0", inputs); err != nil {
		t.Fatal(err)
	}
	want := before + `
//feed.example/simple/:username=me@x
//feed.example/simple/:_password=cC9zczp3
//feed.example/simple/:email=me@x
//feed.example/simple/:always-auth=true
//other.example/npm/:_authToken=tok-en-1
//other.example/npm/:always-auth=true
`
	if got := d.Read(".npmrc"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if !strings.Contains(strings.Join(d.Secrets, " "), "cC9zczp3") || strings.Contains(d.Log(), "tok-en") || !strings.Contains(d.Log(), "No service connection is for the registry https://third.example/") {
		t.Errorf("secrets %q, log %s", d.Secrets, d.Log())
	}
	if npm, err := exec.LookPath("npm"); err == nil {
		cmd := exec.Command(npm, "config", "get", "@shop:registry", "--userconfig", filepath.Join(d.Dir, ".npmrc"))
		cmd.Dir = t.TempDir()
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "https://other.example/npm/") {
			t.Errorf("npm reads %s, %v", out, err)
		}
	}
	d.Write(map[string]string{".npmrc": d.Read(".npmrc") + "added=by-a-step\n"})
	if err := d.After("npmAuthenticate@0", inputs); err != nil || d.Read(".npmrc") != before+"\nadded=by-a-step\n" {
		t.Errorf("afterwards %q, %v", d.Read(".npmrc"), err)
	}
	d.State = map[string]string{}
	if err := d.Run("npmAuthenticate@0", map[string]string{"workingFile": "package.json"}); fault.CodeOf(err) != "no-file" {
		t.Errorf("another file: %v", err)
	}
	if err := d.Run("npmAuthenticate@0", map[string]string{"workingFile": ".npmrc"}); err != nil || !strings.Contains(d.Log(), "nothing to sign in to") {
		t.Errorf("no connection: %v", err)
	}
}

func TestNuGet(t *testing.T) {
	d := tasktest.New(t)
	d.Connections = conns()
	d.Write(map[string]string{"src/NuGet.Config": `<configuration><packageSources><add key="My Feed" value="https://feed.example/simple"/><add key="other.feed" value="https://other.example/npm"/><add key="public" value="https://api.nuget.org/v3/index.json"/></packageSources></configuration>`,
		"broken/nuget.config": "<configuration"})
	if err := d.Run("NuGetAuthenticate@1", map[string]string{"nuGetServiceConnections": "basic,token,open"}); err != nil {
		t.Fatal(err)
	}
	var got struct {
		EndpointCredentials []struct{ Endpoint, Username, Password string }
	}
	if err := json.Unmarshal([]byte(d.Vars["vss_nuget_external_feed_endpoints"]), &got); err != nil || len(got.EndpointCredentials) != 2 ||
		got.EndpointCredentials[0].Username != "me@x" || got.EndpointCredentials[0].Password != "p/ss:w" || got.EndpointCredentials[1].Endpoint != "https://other.example/npm/" {
		t.Errorf("%+v, %v", got, err)
	}
	if v := d.Vars["nugetpackagesourcecredentials_my_x0020_feed"]; v != "Username=me@x;Password=p/ss:w" {
		t.Errorf("credentials of the source: %q in %v", v, d.Vars)
	}
	if issues := strings.Join(d.Issues, "\n"); len(d.Issues) != 2 || !strings.Contains(issues, "other.feed") || !strings.Contains(issues, "broken") {
		t.Errorf("issues %q", d.Issues)
	}
	if err := d.Run("NuGetAuthenticate@0", map[string]string{"nuGetServiceConnections": "key"}); fault.CodeOf(err) != "feed-scheme" {
		t.Errorf("an API key: %v", err)
	}
	if err := d.Run("NuGetAuthenticate@1", nil); err != nil {
		t.Error(err)
	}
}
