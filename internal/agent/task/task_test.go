package task_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/agent/task"
	_ "penstock.dev/penstock/internal/agent/task/archive"
	"penstock.dev/penstock/internal/agent/task/tasktest"
	"penstock.dev/penstock/internal/base/fault"
)

func TestPatterns(t *testing.T) {
	d := tasktest.New(t)
	files := map[string]string{}
	for _, f := range []string{"a.txt", "b.md", ".hidden/x.txt", "d/a.txt", "d/e/a.txt", "d/e/{x}.txt", "d/[1].txt", "d/z.TXT"} {
		files[f] = ""
	}
	d.Write(files)
	outside := filepath.Join(d.Dir, "..", "outside")
	if err := os.MkdirAll(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(outside, "o.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for patterns, want := range map[string]string{
		"*.txt": "a.txt", "**/*.txt": ".hidden/x.txt a.txt d/[1].txt d/a.txt d/e/a.txt d/e/{x}.txt", "**/*.txt\n!d/**": ".hidden/x.txt a.txt", "!**\n*.txt": "a.txt",
		"*.txt\n!a.txt\na.txt": "a.txt", "!!*.md": "b.md", "d/*": "d/[1].txt d/a.txt d/z.TXT", "d/**/a.txt": "d/a.txt d/e/a.txt", "d/?.txt": "d/a.txt", "d/[ab].txt": "d/a.txt",
		"d/[!ab].txt": "", "@(a|b).*": "a.txt b.md", "d/e/{x}.txt": "d/e/{x}.txt", "{a,b}.*": "", "# comment\n  b.md  ": "b.md", "d\\e\\a.txt": "d/e/a.txt", "./a.txt": "a.txt", "d/../a.txt": "a.txt",
		"none": "", "../outside/*.txt": "../outside/o.txt", outside + "/**": "../outside/o.txt", "d/[[]1].txt": "d/[1].txt", "d/[1].txt": "", "+(a|b).txt": "a.txt", "**": ".hidden/x.txt a.txt b.md d/[1].txt d/a.txt d/e/a.txt d/e/{x}.txt d/z.TXT",
	} {
		found, err := task.FindFiles(d.Dir, strings.Split(patterns, "\n")...)
		if err != nil {
			t.Errorf("%q: %v", patterns, err)
			continue
		}
		var got []string
		for _, f := range found {
			rel, err := filepath.Rel(d.Dir, f)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, filepath.ToSlash(rel))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %s, want %s", patterns, strings.Join(got, " "), want)
		}
	}
	if _, err := task.FindFiles(d.Dir, "!(a)*"); err == nil {
		t.Error("a pattern that cannot be read is read")
	}
}

func TestLinksInACircleEnd(t *testing.T) {
	d := tasktest.New(t)
	d.Write(map[string]string{"d/a.txt": ""})
	if err := os.Symlink("..", filepath.Join(d.Dir, "d", "up")); err != nil {
		t.Skip(err)
	}
	found, err := task.FindFiles(d.Dir, "**/a.txt")
	if err != nil || len(found) != 1 {
		t.Errorf("%v %v", found, err)
	}
}

func FuzzPatterns(f *testing.F) {
	f.Add("**/@(a|b)[!c]*?.txt")
	dir := f.TempDir()
	f.Fuzz(func(_ *testing.T, pattern string) { _, _ = task.FindFiles(dir, "x/"+pattern) })
}

func TestCopyFiles(t *testing.T) {
	d := tasktest.New(t)
	d.Write(map[string]string{"in/a.txt": "new", "in/d/b.txt": "b", "out/a.txt": "old", "out/other": "", "file": ""})
	run := func(more ...string) error {
		in := map[string]string{"SourceFolder": "in", "TargetFolder": "out"}
		for i := 0; i < len(more); i += 2 {
			in[more[i]] = more[i+1]
		}
		return d.Run("CopyFiles@2", in)
	}
	if err := run("Contents", "*.none", "CleanTargetFolder", "true", "TargetFolder", "out"); err != nil || d.Read("out/a.txt") != "old" {
		t.Errorf("nothing to copy cleans: %v", err)
	}
	if err := run(); err != nil || d.Read("out/a.txt") != "old" || d.Read("out/d/b.txt") != "b" {
		t.Errorf("%v %s", err, tasktest.Files(filepath.Join(d.Dir, "out")))
	}
	if err := run("OverWrite", "true", "CleanTargetFolder", "true", "flattenFolders", "true"); err != nil || tasktest.Files(filepath.Join(d.Dir, "out")) != "a.txt b.txt" || d.Read("out/a.txt") != "new" {
		t.Errorf("%v %s", err, tasktest.Files(filepath.Join(d.Dir, "out")))
	}
	for _, bad := range [][]string{{"SourceFolder", "none"}, {"TargetFolder", "file"}, {"TargetFolder", ""}} {
		if err := run(bad...); err == nil {
			t.Errorf("%v is accepted", bad)
		}
	}
}

// A link is copied as a link, as the service's task does since its library stopped
// following them; one that leads nowhere is an error if it is asked for.
func TestCopyFilesCopiesLinks(t *testing.T) {
	d := tasktest.New(t)
	d.Write(map[string]string{"in/a.txt": "a", "in/d/b.txt": "b", "out/link": "old"})
	for name, to := range map[string]string{"link": "a.txt", "folder": "d", "broken": "nowhere"} {
		if err := os.Symlink(to, filepath.Join(d.Dir, "in", name)); err != nil {
			t.Skip(err)
		}
	}
	in := map[string]string{"SourceFolder": "in", "Contents": "**\n!broken", "TargetFolder": "out", "OverWrite": "true"}
	if err := d.Run("CopyFiles@2", in); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(filepath.Join(d.Dir, "out", "link")); err != nil || to != "a.txt" {
		t.Errorf("the link leads to %q: %v", to, err)
	}
	if got := tasktest.Files(filepath.Join(d.Dir, "out")); got != "a.txt d/b.txt folder/b.txt link" {
		t.Errorf("copied %s", got)
	}
	in["Contents"] = "**"
	if err := d.Run("CopyFiles@2", in); fault.CodeOf(err) != "no-path" {
		t.Errorf("a broken link: %v", err)
	}
}

func TestDeleteFiles(t *testing.T) {
	for _, c := range []struct{ contents, dots, want string }{
		{"**/*.txt", "false", "d/.y.txt d/keep keep"}, {"d", "false", "a.txt keep"}, {"**", "true", ""}, {"**/*.txt", "true", "d/keep keep"}, {"d/*", "false", "a.txt d/.y.txt keep"},
		{"*.txt", "false", "d/.y.txt d/keep d/x.txt keep"}, {"{a.txt,d/k*}", "false", "d/.y.txt d/x.txt keep"}, {"d/{x.txt,{keep,none}}\na.{t..z}xt", "false", "a.txt d/.y.txt keep"},
		{"**\n!d/x.txt", "true", "d/x.txt"}, {"*\n!a.txt", "false", "a.txt d/.y.txt d/keep d/x.txt"},
	} {
		d := tasktest.New(t)
		d.Write(map[string]string{"in/a.txt": "", "in/d/x.txt": "", "in/d/.y.txt": "", "in/d/keep": "", "in/keep": "", "out": ""})
		if err := os.Symlink("../out", filepath.Join(d.Dir, "in", "d", "link.txt")); err != nil {
			t.Skip(err)
		}
		if err := d.Run("DeleteFiles@1", map[string]string{"SourceFolder": "in", "Contents": c.contents, "RemoveDotFiles": c.dots}); err != nil {
			t.Fatal(err)
		}
		if got := tasktest.Files(filepath.Join(d.Dir, "in")); strings.ReplaceAll(got, " d/link.txt", "") != c.want && got != c.want {
			t.Errorf("%s (dots %s): %s, want %s", c.contents, c.dots, got, c.want)
		}
		if _, err := os.Stat(filepath.Join(d.Dir, "out")); err != nil {
			t.Errorf("%s: what a link led to is gone", c.contents)
		}
	}
	d := tasktest.New(t)
	if err := d.Run("DeleteFiles@1", map[string]string{"SourceFolder": "none", "Contents": "**"}); err != nil {
		t.Errorf("a missing folder: %v", err)
	}
	d.Write(map[string]string{"in/a": ""})
	if err := d.Run("DeleteFiles@1", map[string]string{"SourceFolder": "in", "Contents": "*", "RemoveSourceFolder": "true"}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(d.Dir, "in")); err == nil {
		t.Error("the empty folder is there")
	}
}

func TestPublish(t *testing.T) {
	d := tasktest.New(t)
	d.Vars["system.jobidentifier"] = "build.web app.__default"
	d.Write(map[string]string{"out/a.txt": "", "out/d/b.log": "", "out/d/keep.log": "", "out/skip/x": "", "out/.artifactignore": "*.log\n!keep.log\n/skip/\n.artifactignore\n", "empty/d/.gitkeep": ""})
	for _, c := range []struct{ task, path, name, artifact, want string }{
		{"PublishPipelineArtifact@1", "out", "drop", "drop", "a.txt d/keep.log"},
		{"PublishPipelineArtifact@1", "out", "", "build.web app", "a.txt d/keep.log"},
		{"PublishPipelineArtifact@1", "out/a.txt", "one", "one", "a.txt"},
		{"PublishBuildArtifacts@1", "out/a.txt", "two", "two", "a.txt"},
	} {
		in := map[string]string{"targetPath": c.path, "artifactName": c.name}
		if strings.HasPrefix(c.task, "PublishBuild") {
			in = map[string]string{"PathtoPublish": c.path, "ArtifactName": c.name}
		}
		if err := d.Run(c.task, in); err != nil {
			t.Fatalf("%v: %v", c, err)
		}
		if got := d.Artifact(c.artifact); got != c.want {
			t.Errorf("%v: %s", c, got)
		}
	}
	if err := d.Run("PublishBuildArtifacts@1", map[string]string{"PathtoPublish": "out", "ArtifactName": "t", "StoreAsTar": "true"}); err != nil || d.Artifact("t") != "t.tar" {
		t.Errorf("%v", err)
	}
	for _, bad := range []map[string]string{{"targetPath": "none", "artifact": "x"}, {"targetPath": "out", "artifact": "a/b"}, {"targetPath": "out", "publishLocation": "filepath"}} {
		if err := d.Run("PublishPipelineArtifact@1", bad); err == nil {
			t.Errorf("%v is accepted", bad)
		}
	}
}

func TestDownload(t *testing.T) {
	d := tasktest.New(t)
	d.Write(map[string]string{"one/a.txt": "", "one/d/b.md": "", "two/c.txt": ""})
	for _, n := range []string{"one", "two"} {
		if err := d.Run("PublishPipelineArtifact@1", map[string]string{"path": n, "artifact": n}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		task   string
		inputs map[string]string
		want   string
	}{
		{"DownloadPipelineArtifact@2", map[string]string{"artifact": "one"}, "a.txt d/b.md"},
		{"DownloadPipelineArtifact@2", map[string]string{"artifactName": "one", "itemPattern": "**/*.md"}, "d/b.md"},
		{"DownloadPipelineArtifact@2", map[string]string{}, "one/a.txt one/d/b.md two/c.txt"},
		{"DownloadPipelineArtifact@2", map[string]string{"patterns": "one/*.txt\ntwo/**"}, "one/a.txt two/c.txt"},
		{"DownloadPipelineArtifact@2", map[string]string{"patterns": "**/*.txt\n!two/**"}, "one/a.txt"},
		{"DownloadPipelineArtifact@2", map[string]string{"artifact": "none"}, "!"},
		{"DownloadPipelineArtifact@2", map[string]string{"source": "specific"}, "!"},
		{"DownloadPipelineArtifact@0", map[string]string{"artifactName": "one"}, "a.txt d/b.md"},
		{"DownloadPipelineArtifact@0", map[string]string{}, "!"}, // there is no artifact drop
		{"DownloadPipelineArtifact@1", map[string]string{"artifactName": "one", "itemPattern": "**/*.md"}, "d/b.md"},
		{"DownloadPipelineArtifact@1", map[string]string{"itemPattern": "*.txt"}, "one/a.txt two/c.txt"},
		{"DownloadPipelineArtifact@1", map[string]string{"buildType": "specific"}, "!"},
		{"DownloadBuildArtifacts@0", map[string]string{"artifactName": "one"}, "one/a.txt one/d/b.md"},
		{"DownloadBuildArtifacts@1", map[string]string{"artifactName": "one", "itemPattern": "one/**/*.md"}, "one/d/b.md"},
		{"DownloadBuildArtifacts@1", map[string]string{"downloadType": "specific", "itemPattern": "*/c.txt"}, "two/c.txt"},
		{"DownloadPipelineSource@1", map[string]string{"source": "current", "artifact": "two", "path": "OUT"}, "c.txt"},
		{"DownloadPipelineSource@1", map[string]string{"source": "nobody"}, "!"},
	} {
		out := t.TempDir()
		switch {
		case strings.HasSuffix(c.task, "Artifact@0"):
			c.inputs["targetPath"] = out
		case strings.HasPrefix(c.task, "DownloadBuild") || strings.HasSuffix(c.task, "Artifact@1"):
			c.inputs["downloadPath"] = out
		default:
			c.inputs["path"] = out
		}
		err := d.Run(c.task, c.inputs)
		got := tasktest.Files(out)
		if err != nil {
			got = "!"
		}
		if got != c.want {
			t.Errorf("%s %v: %s %v, want %s", c.task, c.inputs, got, err, c.want)
		}
	}
}

func TestPublishTestResults(t *testing.T) {
	d := tasktest.New(t)
	d.Write(map[string]string{"r/TEST-a.xml": `<testsuite><testcase name="a"/></testsuite>`, "r/TEST-b.xml": `<testsuite><testcase name="b"><failure/></testcase></testsuite>`, "r/TEST-c.xml": "broken"})
	if err := d.Run("PublishTestResults@2", nil); err != nil || len(d.Tests) != 2 || len(d.Issues) != 1 {
		t.Errorf("%v %d %v", err, len(d.Tests), d.Issues)
	}
	d.Tests = nil
	if err := d.Run("PublishTestResults@2", map[string]string{"mergeTestResults": "true", "testRunTitle": "all", "buildPlatform": "x64"}); err != nil || len(d.Tests) != 1 || len(d.Tests[0].Results) != 2 || d.Tests[0].Title != "all" || d.Tests[0].Platform != "x64" {
		t.Errorf("%v %+v", err, d.Tests)
	}
	if err := d.Run("PublishTestResults@2", map[string]string{"failTaskOnFailedTests": "true"}); fault.CodeOf(err) != "tests-failed" {
		t.Errorf("%v", err)
	}
	d.Issues = nil
	if err := d.Run("PublishTestResults@2", map[string]string{"testResultsFiles": "none*.xml"}); err != nil || len(d.Issues) != 1 {
		t.Errorf("%v %v", err, d.Issues)
	}
	if err := d.Run("PublishTestResults@2", map[string]string{"testResultsFiles": "none*.xml", "failTaskOnMissingResultsFile": "true"}); fault.CodeOf(err) != "no-results" {
		t.Errorf("%v", err)
	}
	if err := d.Run("PublishTestResults@2", map[string]string{"testResultsFormat": "Other"}); err == nil {
		t.Error("another format is read")
	}
	d.Tests = nil
	if err := d.Run("PublishTestResults@2", map[string]string{"searchFolder": filepath.Join(d.Dir, "r"), "testResultsFiles": "TEST-a.xml"}); err != nil || len(d.Tests) != 1 {
		t.Errorf("%v %v", err, d.Tests)
	}
}

func TestPublishCoverage(t *testing.T) {
	d := tasktest.New(t)
	d.Write(map[string]string{"c/cobertura.xml": `<coverage lines-covered="1" lines-valid="4"/>`, "d/cobertura.xml": `<coverage lines-covered="3" lines-valid="4"/>`, "html/index.html": ""})
	if err := d.Run("PublishCodeCoverageResults@2", map[string]string{"summaryFileLocation": "**/cobertura.xml"}); err != nil || !strings.Contains(d.Log(), "Lines 50.0 % (4 of 8)") {
		t.Errorf("%v %s", err, d.Log())
	}
	if err := d.Run("PublishCodeCoverageResults@1", map[string]string{"codeCoverageTool": "Cobertura", "summaryFileLocation": "**/cobertura.xml", "reportDirectory": "html"}); err != nil || len(d.Issues) != 1 || d.Artifact("Code Coverage Report_7") != "index.html" {
		t.Errorf("%v %v", err, d.Issues)
	}
	if err := d.Run("PublishCodeCoverageResults@2", map[string]string{"summaryFileLocation": "none", "failIfCoverageEmpty": "true"}); err == nil {
		t.Error("no coverage is no failure")
	}
}

func TestInputsByAnyName(t *testing.T) {
	task.Find("DownloadPipelineArtifact")
	lookup := func(n string) (string, bool) { return "<" + n + ">", n == "Pipeline.Workspace" }
	for _, given := range []map[string]string{{"TARGETPATH": "x"}, {"downloadPath": "x"}, {"Path": "x"}, {"path": "x", "targetPath": "y"}} {
		if in := task.Find("DownloadPipelineArtifact").Resolve("2", given, lookup); in["path"] != "x" || in["patterns"] != "**" || in["source"] != "current" {
			t.Errorf("%v gives %v", given, in)
		}
	}
	if in := task.Find("DownloadPipelineArtifact").Resolve("2", nil, lookup); in["path"] != "<Pipeline.Workspace>" {
		t.Errorf("%v", in)
	}
	for name, want := range map[string]string{"copyfiles": "CopyFiles", "5bfb729a-a7c8-4a78-a7c3-8d717bb7c13c": "CopyFiles", "ms.vss-build.tasks.CopyFiles": "CopyFiles", "other.CopyFiles": "", "CopyFile": ""} {
		got := ""
		if x := task.Find(name); x != nil {
			got = x.Name
		}
		if got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestScripts(t *testing.T) {
	d := tasktest.New(t)
	d.Write(map[string]string{"s.sh": "echo arg=$1", "s.py": "import sys; print('py', sys.argv[1])"})
	for _, c := range []struct {
		task   string
		inputs map[string]string
		want   string // in the log; "!": in the error
	}{
		{"Bash@3", map[string]string{"filePath": "s.sh", "arguments": `"a b"`}, "arg=a b"},
		{"CmdLine@2", map[string]string{"script": "false; echo last"}, "last"},
		{"CmdLine@2", map[string]string{"script": ""}, "Starting Command Output"},
		{"CmdLine@2", map[string]string{"script": "exit 4"}, "!Bash exited with code '4'."},
		{"CmdLine@2", map[string]string{"script": "echo x", "workingDirectory": "none"}, "!Not found workingDirectory"},
		{"Bash@3", map[string]string{"filePath": "none.sh"}, "!none.sh"},
		{"ShellScript@2", map[string]string{"scriptPath": "s.sh", "args": "z"}, "arg=z"},
		{"PythonScript@0", map[string]string{"scriptSource": "inline", "script": "print(6*7)"}, "42"},
		{"PythonScript@0", map[string]string{"scriptPath": "s.py", "arguments": "q"}, "py q"},
		{"PythonScript@0", map[string]string{"scriptPath": "none.py"}, "!none.py"},
		{"PythonScript@0", map[string]string{"scriptSource": "inline", "script": "x", "pythonInterpreter": "no-such-python"}, "!no-such-python"},
		{"PowerShell@2", map[string]string{"targetType": "inline", "script": "x"}, "!pwsh"},
		{"PowerShell@2", map[string]string{"targetType": "inline", "script": "x", "warningPreference": "Ignore"}, "!warningPreference cannot be"},
		{"PowerShell@2", map[string]string{"targetType": "file"}, "!targetType cannot be"},
	} {
		if strings.HasPrefix(c.task, "Python") && c.want[0] != '!' {
			if _, err := d.Find("python3"); err != nil {
				continue
			}
		}
		if _, err := d.Find("pwsh"); err == nil && c.task == "PowerShell@2" {
			continue
		}
		err := d.Run(c.task, c.inputs)
		if want, isErr := strings.CutPrefix(c.want, "!"); isErr {
			var e *fault.Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s %v: %v", c.task, c.inputs, err)
			}
		} else if err != nil || !strings.Contains(d.Log(), c.want) {
			t.Errorf("%s %v: %v\n%s", c.task, c.inputs, err, d.Log())
		}
	}
}
