package toolchain

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/agent/pack"
	"penstock.dev/penstock/internal/agent/task/tasktest"
)

// only leaves nothing of the machine's own tools.
func only(t *testing.T, d *tasktest.Desk) {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	dir := t.TempDir()
	for _, p := range []string{"sh", "cat", "echo", "basename"} {
		for _, from := range []string{"/bin/", "/usr/bin/"} {
			if _, err := os.Stat(from + p); err == nil {
				_ = os.Symlink(from+p, filepath.Join(dir, p))
			}
		}
	}
	t.Setenv("PATH", dir)
	for _, tl := range []*tool{python, node, golang} {
		places := tl.places
		tl.places = nil
		t.Cleanup(func() { tl.places = places })
	}
	_ = d
}

func cached(t *testing.T, d *tasktest.Desk, tool, version string) string {
	t.Helper()
	dir := filepath.Join(d.Vars["agent.toolsdirectory"], tool, version, archOf(""))
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+".complete", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestUsePythonVersion(t *testing.T) {
	d := tasktest.New(t)
	only(t, d)
	for _, v := range []string{"3.9.1", "3.11.4", "3.12.0"} {
		cached(t, d, "Python", v)
	}
	for spec, want := range map[string]string{"3.x": "3.12.0", "3.11": "3.11.4", ">=3.9 <3.12": "3.11.4", "3.9.1": "3.9.1"} {
		d.Outputs = map[string]string{}
		if err := d.Run("UsePythonVersion@0", map[string]string{"versionSpec": spec, "architecture": archOf("")}); err != nil {
			t.Fatalf("%s: %v", spec, err)
		}
		if got := d.Outputs["pythonLocation"]; filepath.Base(filepath.Dir(got)) != want {
			t.Errorf("%s: %s, want %s", spec, got, want)
		}
		if !strings.Contains(strings.Join(d.Paths, ":"), filepath.Join(want, archOf(""), "bin")) {
			t.Errorf("%s: PATH %v", spec, d.Paths)
		}
	}
	err := d.Run("UsePythonVersion@0", map[string]string{"versionSpec": "2.7", "architecture": archOf("")})
	if err == nil || !strings.Contains(err.Error(), "2.7") {
		t.Errorf("a version that is not there: %v", err)
	}
	if err := d.Run("UsePythonVersion@0", map[string]string{"versionSpec": "three"}); err == nil {
		t.Error("nonsense is a version")
	}
}

// What the cache has wins over a newer one of the machine.
func TestTheCacheGoesBeforeTheMachine(t *testing.T) {
	d := tasktest.New(t)
	only(t, d)
	cached(t, d, "Python", "3.12.0")
	d.Program("python3", "echo Python 3.13.1")
	if err := d.Run("UsePythonVersion@0", map[string]string{"versionSpec": "3.x", "architecture": archOf("")}); err != nil {
		t.Fatal(err)
	}
	if got := d.Outputs["pythonLocation"]; filepath.Base(filepath.Dir(got)) != "3.12.0" {
		t.Errorf("it is %s", got)
	}
}

func TestProgramOfTheMachine(t *testing.T) {
	d := tasktest.New(t)
	only(t, d)
	d.Program("node", "echo v20.1.2")
	if err := d.Run("UseNode@1", map[string]string{"version": "20.x"}); err != nil {
		t.Fatal(err)
	}
	d.Program("go", "echo go version go1.22.3 linux/amd64")
	if err := d.Run("GoTool@0", map[string]string{"version": "1.22", "goPath": "/gp"}); err != nil {
		t.Fatal(err)
	}
	if d.Vars["goroot"] == "" || d.Vars["gopath"] != "/gp" {
		t.Errorf("%v", d.Vars)
	}
}

// archive is a tar.gz with one program in a folder.
func archive(t *testing.T, name string) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	if err := pack.Tar(z, dir, ""); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestNodeIsDownloadedAndChecked(t *testing.T) {
	data := archive(t, "node-top/bin/node")
	sum := sha256.Sum256(data)
	answer := hex.EncodeToString(sum[:])
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := fmt.Sprintf("node-v18.2.0-%s-%s.tar.gz", map[string]string{"linux": "linux", "darwin": "darwin"}[runtime.GOOS], archOf(""))
		switch r.URL.Path {
		case "/index.json":
			_, _ = w.Write([]byte(`[{"version":"v19.0.0"},{"version":"v18.2.0"},{"version":"v18.1.0"}]`))
		case "/v18.2.0/SHASUMS256.txt":
			_, _ = fmt.Fprintf(w, "00  other\n%s  %s\n", answer, name)
		case "/v18.2.0/" + name:
			asked++
			_, _ = w.Write(data)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	d := tasktest.New(t)
	only(t, d)
	in := map[string]string{"versionSpec": "18.x", "nodejsMirror": server.URL + "/"}
	for range 2 { // the second time it is there
		if err := d.Run("NodeTool@0", in); err != nil {
			t.Fatal(err)
		}
	}
	want := filepath.Join(d.Vars["agent.toolsdirectory"], "node", "18.2.0", archOf(""), "bin")
	if d.Paths[0] != want || tasktest.Files(want) != "node" || asked != 1 {
		t.Errorf("PATH %s, files %s, downloaded %d times", d.Paths[0], tasktest.Files(want), asked)
	}
	answer = strings.Repeat("0", 64)
	d2 := tasktest.New(t)
	if err := d2.Run("NodeTool@0", in); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("a wrong checksum: %v", err)
	}
	if files := tasktest.Files(d2.Vars["agent.toolsdirectory"]); files != "" {
		t.Errorf("a wrong archive is left: %s", files)
	}
}

func TestDotNetIsDownloadedBesideAnother(t *testing.T) {
	data := archive(t, "dotnet")
	sum := sha512.Sum512(data)
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/releases-index.json":
			_, _ = fmt.Fprintf(w, `{"releases-index":[{"channel-version":"9.0","releases.json":"%s/none"},{"channel-version":"8.0","releases.json":"%s/8"}]}`, server.URL, server.URL)
		case "/8":
			rid := map[string]string{"linux": "linux", "darwin": "osx"}[runtime.GOOS] + "-" + archOf("")
			_, _ = fmt.Fprintf(w, `{"releases":[{"sdk":{"version":"8.0.101","files":[{"rid":"%s","name":"dotnet-sdk-%s.tar.gz","url":"%s/a.tar.gz","hash":"%x"}]}},{"sdk":{"version":"8.0.200-preview.1"}}]}`, rid, rid, server.URL, sum)
		case "/a.tar.gz":
			_, _ = w.Write(data)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	d := tasktest.New(t)
	only(t, d)
	d.Vars["dotnet_release_index"] = server.URL
	home := filepath.Join(d.Vars["agent.toolsdirectory"], "dotnet")
	if err := os.MkdirAll(home, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "dotnet"), []byte("#!/bin/sh\necho 7.0.100 [x]\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	d.Write(map[string]string{"global.json": `{"sdk":{"version":"8.0.101"}}`})
	if err := d.Run("UseDotNet@2", map[string]string{"useGlobalJson": "true"}); err != nil {
		t.Fatal(err)
	}
	if d.Vars["dotnet_root"] != home || d.Vars["dotnet_multilevel_lookup"] != "0" || !strings.Contains(strings.Join(d.Paths, ":"), home) {
		t.Errorf("%v %v", d.Vars, d.Paths)
	}
	if err := d.Run("UseDotNet@2", map[string]string{"version": "6.x"}); err == nil {
		t.Error("6.x is installed")
	}
}

func TestJava(t *testing.T) {
	d := tasktest.New(t)
	only(t, d)
	in := map[string]string{"versionSpec": "17", "jdkArchitectureOption": "x64", "jdkSourceOption": "PreInstalled"}
	d.Vars["java_home_17_x64"] = "/jdk17"
	if err := d.Run("JavaToolInstaller@0", in); err != nil || d.Vars["java_home"] != "/jdk17" || d.Paths[0] != "/jdk17/bin" {
		t.Errorf("%v %v", err, d.Paths)
	}
	in["versionSpec"] = "99"
	if err := d.Run("JavaToolInstaller@0", in); err == nil {
		t.Error("Java 99 is installed")
	}
	in["jdkSourceOption"] = "AzureStorage"
	if err := d.Run("JavaToolInstaller@0", in); err == nil || !strings.Contains(err.Error(), "AzureStorage") {
		t.Errorf("%v", err)
	}
}
