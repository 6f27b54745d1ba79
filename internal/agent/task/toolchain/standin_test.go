package toolchain

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/agent/task/tasktest"
)

// away is an address at which nothing answers.
const away = "http://127.0.0.1:1"

func TestInstalledVersionStandsIn(t *testing.T) {
	for _, tt := range []struct {
		name, task string
		in         map[string]string
		have       map[string]string // program → what it prints
		want       string            // of the warning
	}{
		{"node", "NodeTool@0", map[string]string{"versionSpec": "18.x", "nodejsMirror": away}, map[string]string{"node": "v20.1.2"}, "node 20.1.2 stands in for 18.x"},
		{"python", "UsePythonVersion@0", map[string]string{"versionSpec": "3.8"}, map[string]string{"python3": "Python 3.11.4"}, "Python 3.11.4 stands in for 3.8"},
		{"go", "GoTool@0", map[string]string{"version": "1.13.5", "goDownloadUrl": away}, map[string]string{"go": "go version go1.26.0 linux/amd64"}, "go 1.26.0 stands in for 1.13.5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := tasktest.New(t)
			only(t, d)
			for name, says := range tt.have {
				d.Program(name, "case $1 in -c|-p|env|list) exit 1;; esac; echo "+says)
			}
			err := d.Run(tt.task, tt.in)
			if err == nil || !strings.Contains(err.Error(), "is not installed here") {
				t.Fatalf("nobody said that another version may stand in: %v", err)
			}
			if len(d.Issues) > 0 {
				t.Errorf("issues %v", d.Issues)
			}
			d.Vars["penstock.installedtools"] = "true"
			if err := d.Run(tt.task, tt.in); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(d.Issues, "\n"); !strings.Contains(got, tt.want) {
				t.Errorf("the warning is %q", got)
			}
		})
	}
}

func TestNearest(t *testing.T) {
	d := tasktest.New(t)
	only(t, d)
	for _, v := range []string{"3.6.1", "3.9.1", "3.11.4", "3.13.0"} {
		cached(t, d, "Python", v)
	}
	d.Vars["penstock.installedtools"] = "true"
	for spec, want := range map[string]string{"3.8": "3.9.1", "3.5.x": "3.6.1", "2.7": "3.6.1", "4.0": "3.13.0", ">=3.12 <3.13": "3.13.0"} {
		d.Outputs = map[string]string{}
		if err := d.Run("UsePythonVersion@0", map[string]string{"versionSpec": spec}); err != nil {
			t.Fatalf("%s: %v", spec, err)
		}
		if got := d.Outputs["pythonLocation"]; filepath.Base(filepath.Dir(got)) != want {
			t.Errorf("%s: %s, want %s", spec, got, want)
		}
	}
}

// A pipeline may set GOROOT to a folder of the hosted agents.
func TestGoIsAskedWithoutTheRootOfThePipeline(t *testing.T) {
	d := tasktest.New(t)
	only(t, d)
	d.Env = append(os.Environ(), "GOROOT=/usr/local/go1.11")
	d.Program("go", `[ -z "$GOROOT" ] || { echo "go: cannot find GOROOT directory: $GOROOT" >&2; exit 2; }; echo go version go1.22.3 linux/amd64`)
	if err := d.Run("GoTool@0", map[string]string{"version": "1.22"}); err != nil {
		t.Fatal(err)
	}
}

func TestGoFromTheModuleProxy(t *testing.T) {
	d := tasktest.New(t)
	only(t, d)
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	system := runtime.GOOS + "-" + runtime.GOARCH
	d.Env = []string{"GO111MODULE=auto", "GOPATH=" + d.Dir} // of the pipeline: neither counts
	d.Program("go", `[ "$1" = version ] || [ "$GO111MODULE" = on ] && [ "$GOPATH" != "`+d.Dir+`" ] || exit 1
case "$GOTOOLCHAIN $1" in
"local version") echo go version go1.26.0 x/y;;
"local list") echo golang.org/toolchain v0.0.1-go1.19.3.other-cpu v0.0.1-go1.19.2.`+system+` v0.0.1-go1.19.10.`+system+` v0.0.1-go1.20.1.`+system+`;;
"go1.19.10 env"|"go1.17.3 env") echo `+root+`;;
*) exit 1;;
esac`)
	if err := d.Run("GoTool@0", map[string]string{"version": "1.19.x", "goDownloadUrl": away}); err != nil {
		t.Fatal(err)
	}
	if d.Vars["goroot"] != root || d.Paths[0] != filepath.Join(root, "bin") {
		t.Errorf("GOROOT %s, PATH %v", d.Vars["goroot"], d.Paths)
	}
	if err := d.Run("GoTool@0", map[string]string{"version": "1.17.3", "goDownloadUrl": away}); err != nil {
		t.Errorf("one that the list does not have: %v", err)
	}
	if err := d.Run("GoTool@0", map[string]string{"version": "1.18.x", "goDownloadUrl": away}); err == nil {
		t.Error("a version that the proxy has not")
	}
}

// A program on the PATH may be a shim; what it starts counts.
func TestShimLeadsToItsVersion(t *testing.T) {
	d := tasktest.New(t)
	only(t, d)
	real := filepath.Join(t.TempDir(), "3.11.4", "bin")
	if err := os.MkdirAll(real, 0o755); err != nil {
		t.Fatal(err)
	}
	script := []byte("#!/bin/sh\ncase $1 in -c) case $2 in *executable*) echo " + filepath.Join(real, "python3") + ";; esac;; *) echo Python 3.11.4;; esac\n")
	if err := os.WriteFile(filepath.Join(real, "python3"), script, 0o755); err != nil {
		t.Fatal(err)
	}
	d.Program("python3", `exec `+filepath.Join(real, "python3")+` "$@"`)
	if err := d.Run("UsePythonVersion@0", map[string]string{"versionSpec": "3.x"}); err != nil {
		t.Fatal(err)
	}
	where := d.Outputs["pythonLocation"]
	for _, p := range []string{"python", "bin/python", "bin/python3"} {
		if got, err := filepath.EvalSymlinks(filepath.Join(where, p)); err != nil || got != mustReal(t, filepath.Join(real, "python3")) {
			t.Errorf("%s leads to %s, %v", p, got, err)
		}
	}
}

func mustReal(t *testing.T, p string) string {
	t.Helper()
	real, err := filepath.EvalSymlinks(p)
	if err != nil {
		t.Fatal(err)
	}
	return real
}

// jdk makes a JDK that says its version.
func jdk(t *testing.T, folder, version string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(folder, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"release": "IMPLEMENTOR=\"x\"\nJAVA_VERSION=\"" + version + "\"\n", "bin/java": "#!/bin/sh\n"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func TestJavaIsFoundByWhatItSays(t *testing.T) {
	d := tasktest.New(t)
	only(t, d)
	places := javaPlaces
	t.Cleanup(func() { javaPlaces = places })
	dir := mustReal(t, t.TempDir())
	javaPlaces = []string{dir + "/*"}
	jdk(t, filepath.Join(dir, "a-strange-name"), "1.8.0_402")
	jdk(t, filepath.Join(dir, "temurin"), "17.0.15")
	in := map[string]string{"jdkSourceOption": "PreInstalled", "jdkArchitectureOption": "x64"}
	for version, want := range map[string]string{"8": "a-strange-name", "1.8": "a-strange-name", "17": "temurin", "1.17": "temurin"} {
		in["versionSpec"] = version
		if err := d.Run("JavaToolInstaller@0", in); err != nil || filepath.Base(d.Vars["java_home"]) != want {
			t.Errorf("%s: %s, %v", version, d.Vars["java_home"], err)
		}
	}
	in["versionSpec"] = "11"
	if err := d.Run("JavaToolInstaller@0", in); err == nil {
		t.Error("Java 11 is installed")
	}
	d.Vars["penstock.installedtools"] = "true"
	if err := d.Run("JavaToolInstaller@0", in); err != nil || filepath.Base(d.Vars["java_home"]) != "temurin" {
		t.Errorf("%s, %v", d.Vars["java_home"], err)
	}
}

func TestRuby(t *testing.T) {
	d := tasktest.New(t)
	only(t, d)
	cached(t, d, "Ruby", "3.1.2")
	if err := d.Run("UseRubyVersion@0", map[string]string{"versionSpec": ">= 2.4"}); err != nil {
		t.Fatal(err)
	}
	if got := d.Outputs["rubyLocation"]; !strings.Contains(got, "3.1.2") || d.Paths[0] != filepath.Join(got, "bin") {
		t.Errorf("%s, PATH %v", got, d.Paths)
	}
	if err := d.Run("UseRubyVersion@0", map[string]string{"versionSpec": "2.7"}); err == nil {
		t.Error("2.7 is installed")
	}
}

// What steps find already is not put in front: /usr/bin there would hide other
// tools.
func TestPathStaysWhereTheToolIsFirst(t *testing.T) {
	d := tasktest.New(t)
	only(t, d)
	d.Program("node", "echo v20.1.2")
	before := strings.Join(d.Paths, ":")
	d.Paths = append([]string{t.TempDir()}, d.Paths...)
	want := d.Paths[0] + ":" + before
	if err := d.Run("UseNode@1", map[string]string{"version": "20.x"}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(d.Paths, ":"); got != want {
		t.Errorf("PATH %s, want %s", got, want)
	}
}
