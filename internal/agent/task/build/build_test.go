package build

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/agent/task/tasktest"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/serviceconnection"
)

// echo is a program that notes its arguments, and fails where one of them says
// so.
const echo = `echo "$(basename $0) $@" >> "$CALLS"; case "$*" in *fail*) exit 3;; esac`

func desk(t *testing.T, programs ...string) (*tasktest.Desk, func() string) {
	t.Helper()
	d := tasktest.New(t)
	calls := filepath.Join(d.Dir, "..", "calls")
	d.Env = append(d.Env, "CALLS="+calls)
	for _, p := range programs {
		d.Program(p, echo)
	}
	return d, func() string {
		data, _ := os.ReadFile(calls)
		_ = os.Remove(calls)
		return strings.ReplaceAll(strings.TrimSpace(string(data)), d.Dir, "DIR")
	}
}

func TestArguments(t *testing.T) {
	d, calls := desk(t, "go", "npm", "dotnet", "docker", "mvn", "cmake")
	d.Write(map[string]string{"a/a.csproj": "<Project Sdk=\"Microsoft.NET.Sdk.Web\"/>", "b/b.csproj": "<Project/>", "app/Dockerfile": "", "pom.xml": ""})
	d.Vars["build.buildnumber"], d.Vars["v"] = "ci 1.2.3", "9.9.9"
	d.Connections = []*serviceconnection.Opened{{Name: "acr", Type: "dockerregistry", Scheme: "UsernamePassword", Parameters: map[string]string{"registry": "https://example.io/", "username": "me", "password": "hidden-password"}}}
	for _, c := range []struct {
		task   string
		inputs map[string]string
		want   string // of the calls; "!": an error that has it
	}{
		{"Go@0", map[string]string{"command": "build", "arguments": `-o "a b" ./...`}, "go build -o a b ./..."},
		{"Go@0", map[string]string{"command": "custom", "customCommand": "mod download"}, "go mod download"},
		{"Go@0", map[string]string{"command": "fail"}, "!go exited with code '3'"},
		{"Npm@1", map[string]string{"command": "ci"}, "npm ci"},
		{"Npm@1", map[string]string{"command": "custom", "customCommand": "run build -- --prod"}, "npm run build -- --prod"},
		{"Npm@1", map[string]string{"command": "install", "customRegistry": "useFeed", "customFeed": "x"}, "!customFeed"},
		{"DotNetCoreCLI@2", map[string]string{"command": "build", "arguments": "-c Release"}, "dotnet build -c Release"},
		{"DotNetCoreCLI@2", map[string]string{"command": "build", "projects": "**/*.csproj"}, "dotnet build DIR/a/a.csproj\ndotnet build DIR/b/b.csproj"},
		{"DotNetCoreCLI@2", map[string]string{"command": "build", "projects": "none/*.csproj"}, "!were not found"},
		{"DotNetCoreCLI@2", map[string]string{"command": "restore", "feedsToUse": "config", "nugetConfigPath": "nuget.config", "noCache": "true"}, "dotnet restore --configfile DIR/nuget.config --no-cache"},
		{"DotNetCoreCLI@2", map[string]string{"command": "custom", "custom": "tool", "arguments": "restore"}, "dotnet tool restore"},
		{"DotNetCoreCLI@2", map[string]string{"command": "publish", "arguments": "-o /out -c Release", "zipAfterPublish": "false"}, "dotnet publish DIR/a/a.csproj --output /out/a -c Release"},
		{"DotNetCoreCLI@2", map[string]string{"command": "publish", "publishWebProjects": "false", "projects": "b/*.csproj", "modifyOutputPath": "false", "arguments": "--output /out", "zipAfterPublish": "false"}, "dotnet publish DIR/b/b.csproj --output /out"},
		{"DotNetCoreCLI@2", map[string]string{"command": "pack", "packagesToPack": "b/*.csproj", "packDirectory": "/p", "versioningScheme": "byBuildNumber"}, "dotnet pack DIR/b/b.csproj --output /p -p:PackageVersion=1.2.3"},
		{"DotNetCoreCLI@2", map[string]string{"command": "pack", "packagesToPack": "b/*.csproj", "packDirectory": "/p", "versioningScheme": "byEnvVar", "versionEnvVar": "v", "configuration": "Debug"}, "dotnet pack DIR/b/b.csproj --output /p --configuration Debug -p:PackageVersion=9.9.9"},
		{"DotNetCoreCLI@2", map[string]string{"command": "push"}, "!secret variable"},
		{"Docker@2", map[string]string{"command": "build", "repository": "Shop/Web", "tags": "1\nlatest, 2", "addPipelineData": "false"}, "docker build -f DIR/app/Dockerfile -t shop/web:1 -t shop/web:latest -t shop/web:2 DIR/app"},
		{"Docker@2", map[string]string{"containerRegistry": "acr", "repository": "web", "tags": "1", "addPipelineData": "false", "buildContext": "."},
			"docker login --username me --password-stdin example.io\ndocker build -f DIR/app/Dockerfile -t example.io/web:1 DIR\ndocker push example.io/web:1"},
		{"Docker@2", map[string]string{"command": "push", "containerRegistry": "nobody", "repository": "web"}, "!no service connection nobody"},
		{"Docker@2", map[string]string{"command": "start", "container": "c1"}, "docker start c1"},
		{"Maven@4", map[string]string{"mavenPomFile": "pom.xml", "goals": "clean verify", "options": "-B", "publishJUnitResults": "false"}, "mvn -version\nmvn -f DIR/pom.xml -B clean verify"},
		{"Maven@3", map[string]string{"jdkVersionOption": "1.99"}, "!JAVA_HOME_99_X64"},
		{"Maven@4", map[string]string{"mavenPomFile": "none.xml"}, "!none.xml"},
		{"Gradle@3", map[string]string{}, "!gradlew"},
		{"CMake@1", map[string]string{"cmakeArgs": `.. -G "Unix Makefiles" -DA=b`}, "cmake .. -G Unix Makefiles -DA=b"},
		{"CMake@1", map[string]string{"workingDirectory": "app", "cmakeArgs": "."}, "cmake ."},
		{"CMake@1", map[string]string{"runInsideShell": "true"}, "!runInsideShell"},
	} {
		err := d.Run(c.task, c.inputs)
		got := calls()
		if want, isErr := strings.CutPrefix(c.want, "!"); isErr {
			if err == nil || !strings.Contains(err.Error()+expected(err), want) {
				t.Errorf("%s %v: %v, want %s", c.task, c.inputs, err, want)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("%s %v: %v\n%s\nwant\n%s", c.task, c.inputs, err, got, c.want)
		}
	}
	if strings.Contains(d.Log(), "hidden-password") {
		t.Error("the password shows")
	}
}

func TestTestsArePublishedAlsoWhenTheyFail(t *testing.T) {
	d, _ := desk(t)
	d.Program("dotnet", `dir=""; while [ $# -gt 0 ]; do [ "$1" = --results-directory ] && dir="$2"; shift; done
echo '<TestRun><Results><UnitTestResult testName="a" outcome="Failed"/></Results></TestRun>' > "$dir/x.trx"; exit 1`)
	if err := d.Run("DotNetCoreCLI@2", map[string]string{"command": "test", "testRunTitle": "mine"}); err == nil {
		t.Error("tests that fail are no failure")
	}
	if len(d.Tests) != 1 || len(d.Tests[0].Results) != 1 || d.Tests[0].Results[0].Outcome != "Failed" {
		t.Errorf("%+v", d.Tests)
	}
	d.Write(map[string]string{"gradlew": "#!/bin/sh\nmkdir -p out; echo '<testsuite><testcase name=\"g\"/></testsuite>' > out/TEST-x.xml"})
	if err := d.Run("Gradle@3", map[string]string{"tasks": "build"}); err != nil {
		t.Fatal(err)
	}
	if len(d.Tests) != 2 || d.Tests[1].Results[0].Name != "g" {
		t.Errorf("%+v", d.Tests)
	}
}

func TestMissingTools(t *testing.T) {
	d := tasktest.New(t)
	t.Setenv("PATH", t.TempDir())
	d.Write(map[string]string{"pom.xml": ""})
	for task, inputs := range map[string]map[string]string{"Go@0": {}, "Npm@1": {}, "DotNetCoreCLI@2": {}, "Docker@2": {}, "Maven@4": {}} {
		if err := d.Run(task, inputs); err == nil || !strings.Contains(err.Error(), "Unable to locate executable file") {
			t.Errorf("%s: %v", task, err)
		}
	}
}

func TestZipAfterPublish(t *testing.T) {
	d, _ := desk(t)
	d.Program("dotnet", `while [ $# -gt 0 ]; do [ "$1" = --output ] && mkdir -p "$2" && echo x > "$2/app.dll"; shift; done`)
	d.Write(map[string]string{"web/web.csproj": "<Project/>", "web/wwwroot/i.html": ""})
	if err := d.Run("DotNetCoreCLI@2", map[string]string{"command": "publish", "arguments": "--output out"}); err != nil {
		t.Fatal(err)
	}
	if got := tasktest.Files(filepath.Join(d.Dir, "out")); got != "web.zip" {
		t.Errorf("%s", got)
	}
}

// expected is what an error says beside its message.
func expected(err error) string {
	var e *fault.Error
	if errors.As(err, &e) {
		return e.Expected + e.Do
	}
	return ""
}
