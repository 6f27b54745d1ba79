package tasklib

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rootfs"
)

var now = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

// id of a task of a letter.
func id(letter string) string {
	return strings.Repeat(letter, 8) + "-1111-2222-3333-" + strings.Repeat(letter, 12)
}

func taskJSON(name, id, version string) string {
	n := strings.Split(version, ".")
	return `{"id":"` + id + `","name":"` + name + `","version":{"Major":` + n[0] + `,"Minor":` + n[1] + `,"Patch":` + n[2] + `},"execution":{"Node20_1":{"target":"main.js"}}}`
}

// archive writes a zip; a name that ends in @ is a link.
func archive(t *testing.T, name string, files ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	zw := zip.NewWriter(out)
	for i := 0; i < len(files); i += 2 {
		h := &zip.FileHeader{Name: strings.TrimSuffix(files[i], "@"), Method: zip.Deflate}
		h.SetMode(0o644)
		if strings.HasSuffix(files[i], "@") {
			h.SetMode(os.ModeSymlink | 0o777)
		}
		w, err := zw.CreateHeader(h)
		if err == nil {
			_, err = w.Write([]byte(files[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return file
}

func folder(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		file := filepath.Join(dir, filepath.FromSlash(files[i]))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, file, files[i+1])
	}
	return dir
}

func refs(list []Entry) string {
	var out []string
	for _, e := range list {
		out = append(out, e.Ref())
	}
	return strings.Join(out, " ")
}

func add(t *testing.T, s Store, source string) []Entry {
	t.Helper()
	list, err := s.Add(source, AddOptions{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func find(t *testing.T, s Store, name, version string) string {
	t.Helper()
	got, err := Library{s}.Find(context.Background(), name, version)
	if err != nil {
		return fault.CodeOf(err)
	}
	if got.Definition.Name != got.Name {
		t.Errorf("%s holds %s", got.Dir, got.Definition.Name)
	}
	return got.Ref()
}

func extensionFile(t *testing.T) string {
	return archive(t, "pack.vsix",
		"extension.vsixmanifest", `<PackageManifest xmlns="http://schemas.microsoft.com/developer/vsx-schema/2011"><Metadata><Identity Language="en-US" Id="pack" Version="1.0.0" Publisher="acme"/></Metadata></PackageManifest>`,
		"extension.vsomanifest", "\ufeff"+`{"contributions":[{"id":"greet-task","type":"ms.vss-distributed-task.task","properties":{"name":"greet"}},
			{"id":"part-task","type":"ms.vss-distributed-task.task","properties":{"name":"tasks/part"}},{"id":"hub","type":"ms.vss-web.hub","properties":{"name":"hub"}}]}`,
		"greet/v1/task.json", taskJSON("Greet", id("a"), "1.0.0"), "greet/v1/main.js", "1",
		"greet/v2/task.json", taskJSON("Greet", id("a"), "2.3.4"), "greet/v2/main.js", "2", "greet/v2/node_modules/lib/task.json", "{}",
		"tasks/part/task.json", taskJSON("Part", id("b"), "0.1.0"), "tasks/part/main.js", "3",
		"leftover/task.json", taskJSON("Leftover", id("c"), "1.0.0"))
}

func TestAddOfAnExtension(t *testing.T) {
	s := Store{filepath.Join(t.TempDir(), "deep", "store")}
	if list, err := s.Entries(); err != nil || len(list) != 0 {
		t.Fatalf("a store that is not there: %v %v", list, err)
	}
	if got := refs(add(t, s, extensionFile(t))); got != "Greet@2.3.4 Greet@1.0.0 Part@0.1.0" {
		t.Fatal(got)
	}
	for ask, want := range map[[2]string]string{
		{"greet", ""}: "Greet@2.3.4", {"Greet", "1"}: "Greet@1.0.0", {"Greet", "2.3"}: "Greet@2.3.4", {strings.ToUpper(id("a")), "2"}: "Greet@2.3.4",
		{"acme.pack.greet-task.Greet", "1"}: "Greet@1.0.0", {"ACME.pack.part-task", ""}: "Part@0.1.0", {"acme.pack.part-task.Greet", ""}: "task-not-found",
		{"Greet", "3"}: "task-version", {"Leftover", ""}: "task-not-found", {"other.pack.greet-task.Greet", ""}: "task-not-found",
	} {
		if got := find(t, s, ask[0], ask[1]); got != want {
			t.Errorf("%v: %s, want %s", ask, got, want)
		}
	}
	list, _ := s.Entries()
	if list[0].Contribution != "acme.pack.greet-task" || list[0].Files != 3 || !list[0].Added.Equal(now) {
		t.Errorf("%+v", list[0])
	}
	if data, _ := os.ReadFile(filepath.Join(s.Dir, "greet."+id("a"), "2.3.4", "main.js")); string(data) != "2" {
		t.Errorf("content %q", data)
	}
	if left, _ := filepath.Glob(filepath.Join(s.Dir, ".adding-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAddOfFoldersAndArchives(t *testing.T) {
	s := Store{t.TempDir()}
	dir := folder(t, "a/task.json", taskJSON("A", id("a"), "1.2.3"), "a/main.js", "x", "a/sub/task.json", "not read", "b/task.json", taskJSON("B", id("b"), "1.0.0"), "b/main.js", "",
		"node_modules/c/task.json", "not read", ".git/task.json", "not read")
	if err := os.Symlink("main.js", filepath.Join(dir, "a", "link.js")); err != nil {
		t.Skip("links are not available: ", err)
	}
	if got := refs(add(t, s, dir)); got != "A@1.2.3 B@1.0.0" {
		t.Fatal(got)
	}
	task, err := Library{s}.Find(context.Background(), "A", "1")
	if err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(filepath.Join(task.Dir, "link.js")); to != "main.js" {
		t.Error(to, err)
	}
	if err := os.Symlink(dir, filepath.Join(s.Dir, "to-all")); err != nil {
		t.Fatal(err)
	}
	if list, err := s.Add(filepath.Join(s.Dir, "to-all"), AddOptions{Now: now, Replace: true}); err != nil || refs(list) != "A@1.2.3 B@1.0.0" {
		t.Errorf("a link to a folder: %v %v", list, err)
	}
	one := filepath.Join(dir, "a")
	if _, err := s.Add(one, AddOptions{Now: now}); fault.CodeOf(err) != "task-exists" {
		t.Errorf("added twice: %v", err)
	}
	write(t, filepath.Join(one, "main.js"), "y")
	if _, err := s.Add(one, AddOptions{Now: now, Replace: true}); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(filepath.Join(task.Dir, "main.js")); string(data) != "y" {
		t.Errorf("not replaced: %s", data)
	}
	if got := refs(add(t, s, archive(t, "c.zip", "task.json", taskJSON("C", id("c"), "1.0.0"), "main.js", ""))); got != "C@1.0.0" {
		t.Error(got)
	}
}

func TestAddRefuses(t *testing.T) {
	s := Store{t.TempDir()}
	outside := folder(t, "task.json", taskJSON("A", id("a"), "1.0.0"), "main.js", "")
	if err := os.Symlink("/etc/passwd", filepath.Join(outside, "link")); err != nil {
		t.Skip("links are not available: ", err)
	}
	text := filepath.Join(t.TempDir(), "x.zip")
	write(t, text, "no archive")
	good := taskJSON("A", id("a"), "1.0.0")
	for _, c := range []struct{ name, source, code string }{
		{"nothing", filepath.Join(s.Dir, "none"), "task-package"},
		{"no archive", text, "task-package"},
		{"no task", archive(t, "a.zip", "readme", ""), "task-package"},
		{"empty folder", t.TempDir(), "task-package"},
		{"link outside", outside, "archive-entry-outside"},
		{"link outside of an archive", archive(t, "a.zip", "task.json", good, "l@", "../../x"), "archive-entry-outside"},
		{"entry outside", archive(t, "a.zip", "a/task.json", good, "a/../../evil", "x"), "archive-entry-outside"},
		{"name outside", archive(t, "a.zip", "task.json", taskJSON("../../A", id("a"), "1.0.0")), "task-definition"},
		{"second is broken", archive(t, "a.zip", "a/task.json", good, "a/main.js", "", "b/task.json", "{"), "task-definition"},
		{"not built", archive(t, "a.zip", "task.json", good, "main.ts", ""), "task-package"},
		{"the same twice", archive(t, "a.zip", "a/task.json", good, "a/main.js", "", "b/task.json", good, "b/main.js", ""), "task-package"},
		{"contribution without task", archive(t, "a.vsix", "extension.vsixmanifest", "<P/>", "extension.vsomanifest", `{"contributions":[{"id":"x","type":"ms.vss-distributed-task.task","properties":{"name":"gone"}}]}`, "a/task.json", good), "task-package"},
		{"broken manifest", archive(t, "a.vsix", "extension.vsixmanifest", "<P/>", "extension.vsomanifest", `{`, "a/task.json", good), "task-package"},
	} {
		if _, err := s.Add(c.source, AddOptions{Now: now}); fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", c.name, err, c.code)
		}
	}
	old := limits
	defer func() { limits = old }()
	limits = rootfs.Limits{Files: 10, Bytes: 500}
	if _, err := s.Add(archive(t, "a.zip", "task.json", good, "big", strings.Repeat("x", 1000)), AddOptions{}); fault.CodeOf(err) != "archive-too-large" {
		t.Errorf("too large: %v", err)
	}
	files, err := os.ReadDir(s.Dir)
	if err != nil || len(files) > 0 {
		t.Errorf("the store has %v %v", files, err)
	}
}

// One of the programs for a part is enough, and other hosts than Node need none.
func TestBuilt(t *testing.T) {
	definition := func(more string) string {
		return strings.Replace(taskJSON("A", id("a"), "1.0.0"), `"execution":{"Node20_1":{"target":"main.js"}}`, more, 1)
	}
	for more, want := range map[string]string{
		`"execution":{"Node20_1":{"target":"new\\main.js"},"Node10":{"target":"main.js"}}`:             "",
		`"execution":{"Node20_1":{"target":"new\\main.js"}}`:                                           `has no new\main.js: it is not built`,
		`"execution":{"PowerShell3":{"target":"none.ps1"}}`:                                            "",
		`"execution":{"Node10":{"target":"$(currentDirectory)\\none.js"}}`:                             "",
		`"prejobexecution":{"Node10":{"target":"pre.js"}},"execution":{"Node10":{"target":"main.js"}}`: "has no pre.js",
	} {
		_, err := Store{t.TempDir()}.Add(folder(t, "task.json", definition(more), "main.js", ""), AddOptions{Now: now})
		if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", more, err)
		}
	}
}

func TestRemove(t *testing.T) {
	s := Store{t.TempDir()}
	add(t, s, extensionFile(t))
	if got, err := s.Remove("greet", "2"); err != nil || refs(got) != "Greet@2.3.4" {
		t.Fatal(got, err)
	}
	if got := find(t, s, "Greet", ""); got != "Greet@1.0.0" {
		t.Error(got)
	}
	if _, err := s.Remove("Greet", "2"); fault.CodeOf(err) != "task-version" {
		t.Error(err)
	}
	if _, err := s.Remove("Part", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(s.Dir, "part."+id("b"))); err == nil {
		t.Error("the folder is left")
	}
}

// What has no marker is not there, and does not stand in the way.
func TestHalfAdded(t *testing.T) {
	s := Store{t.TempDir()}
	list := add(t, s, extensionFile(t))
	if err := os.Remove(list[0].Dir + marker); err != nil {
		t.Fatal(err)
	}
	if got := find(t, s, "Greet", "2"); got != "task-version" {
		t.Error(got)
	}
	write(t, list[1].Dir+marker, "{")
	if got := find(t, s, "Greet", ""); got != "task-not-found" {
		t.Error(got)
	}
	add(t, s, extensionFileOf(t, "2.3.4"))
	if got := find(t, s, "Greet", "2"); got != "Greet@2.3.4" {
		t.Error(got)
	}
	write(t, filepath.Join(list[0].Dir, definition), "{")
	if got := find(t, s, "Greet", "2"); got != "task-definition" {
		t.Error(got)
	}
}

func extensionFileOf(t *testing.T, version string) string {
	return archive(t, "a.zip", "task.json", taskJSON("Greet", id("a"), version), "main.js", "")
}

func TestLibrary(t *testing.T) {
	one, two := Store{t.TempDir()}, Store{t.TempDir()}
	add(t, one, extensionFileOf(t, "2.0.0"))
	add(t, two, extensionFileOf(t, "2.0.0"))
	add(t, two, extensionFileOf(t, "2.1.0"))
	l := Library{one, two}
	all, err := l.Entries()
	if err != nil || refs(all) != "Greet@2.1.0 Greet@2.0.0" || all[1].Dir[:len(one.Dir)] != one.Dir {
		t.Errorf("%v %v", all, err)
	}
	if diff := cmp.Diff([]string{"Greet", "Regreet"}, l.Near("x.y.Greet", "Regreet", "Bash")); diff != "" {
		t.Error(diff)
	}
	_, err = l.Find(context.Background(), "Gret", "1")
	if err == nil || !strings.Contains(err.(*fault.Error).Do, "Greet") {
		t.Errorf("%v", err)
	}
	add(t, one, archive(t, "a.zip", "task.json", taskJSON("Greet", id("b"), "1.0.0"), "main.js", ""))
	_, err = l.Find(context.Background(), "Greet", "2")
	if fault.CodeOf(err) != "task-ambiguous" || !strings.Contains(err.(*fault.Error).Found, id("b")) {
		t.Errorf("%v", err)
	}
	if got := find(t, two, "acme.pack.greet-task.Greet", "2"); got != "Greet@2.1.0" {
		t.Errorf("a full name of what was added from a folder: %s", got)
	}
}

// The store's path is no pattern.
func TestStoreInAFolderWithBrackets(t *testing.T) {
	s := Store{filepath.Join(t.TempDir(), "a[b]*")}
	add(t, s, extensionFileOf(t, "2.0.0"))
	if got := find(t, s, "Greet", "2"); got != "Greet@2.0.0" {
		t.Error(got)
	}
}

func TestExample(t *testing.T) {
	d := parse(t, strings.Replace(greet, `"defaultValue": 3`, `"defaultValue": "a: b\n- c"`, 1))
	want := `- task: Greet@2
  inputs:
    Name: "" # string, required
    kind: text # text | file | 9
    loud: true # boolean
    times: "a: b\n- c" # int
    target: "" # connectedService:AzureRM
`
	if diff := cmp.Diff(want, d.Example()); diff != "" {
		t.Error(diff)
	}
}

func TestDefinitionAsJSON(t *testing.T) {
	data, err := json.Marshal(parse(t, greet))
	if err != nil || !strings.Contains(string(data), `"version":"2.10.0"`) {
		t.Error(string(data), err)
	}
}

// FuzzTaskRoots: whatever an archive holds, tasks are looked for within it, and
// none of them within another.
func FuzzTaskRoots(f *testing.F) {
	for _, seed := range [][2]string{{"a/task.json", "a"}, {"../task.json", ".."}, {"/x/y/task.json", `a\b`}, {"node_modules/x/task.json", ""}, {"a/./task.json\nb/task.json\na/b/task.json", "./a/"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, names, folder string) {
		manifest, err := json.Marshal(map[string]any{"contributions": []any{map[string]any{"id": "x", "type": taskType, "properties": map[string]any{"name": folder}}}})
		if err != nil {
			return
		}
		var buf bytes.Buffer
		zw := zip.NewWriter(&buf)
		files := map[string]string{"extension.vsixmanifest": "<P/>", "extension.vsomanifest": string(manifest)}
		for name := range strings.SplitSeq(names, "\n") {
			files[name] = "{}"
		}
		for name, text := range files {
			if w, err := zw.Create(name); err == nil {
				_, _ = w.Write([]byte(text))
			}
		}
		if err := zw.Close(); err != nil {
			return
		}
		r, err := zip.NewReader(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
		if err != nil {
			return
		}
		roots, err := taskRoots(r)
		if err != nil {
			return
		}
		for i, a := range roots {
			if strings.HasPrefix(a.prefix, "..") || strings.Contains("/"+a.prefix+"/", "/node_modules/") {
				t.Errorf("%q gives %q", names, a.prefix)
			}
			for _, b := range roots[i+1:] {
				if a.contribution == b.contribution && within(b.prefix, a.prefix) {
					t.Errorf("%q lies in %q", b.prefix, a.prefix)
				}
			}
			if part := below(r, a.prefix); len(part.File) == 0 {
				t.Errorf("%q has no files", a.prefix)
			}
		}
	})
}
