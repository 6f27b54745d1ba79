package cache

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock.dev/penstock/internal/agent/task/tasktest"
	"penstock.dev/penstock/internal/domain/run"
)

func TestIsFiles(t *testing.T) {
	for text, want := range map[string]bool{
		"npm": false, "package*": false, "1.2.3": true, "go.sum": true, "**/package-lock.json, !node_modules/**": true, "a/b": true, "ends.": false, "$(Agent.OS)": true,
	} {
		if got := isFiles(text); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// resolve is what restore makes of a key.
func resolve(key, base, salt string) ([]string, error) {
	list, err := split(key)
	if err != nil {
		return nil, err
	}
	return segments(list, base, salt, func(string) {})
}

func TestSegments(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"a.lock": "1", "d/b.lock": "2", "skip/c.lock": "3"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sum := func(key string) string {
		parts, err := resolve(key, dir, "")
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		return strings.Join(parts, "|")
	}
	if got := sum(`npm | "1.2.3" | linux`); got != "npm|1.2.3|linux" {
		t.Error(got)
	}
	all, some := sum("**/*.lock"), sum("**/*.lock, !skip/**")
	if all == some || some != sum("a.lock,d/b.lock") || some == sum("a.lock") {
		t.Error("the files do not make the key")
	}
	if err := os.WriteFile(filepath.Join(dir, "a.lock"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if some == sum("a.lock,d/b.lock") {
		t.Error("the content does not count")
	}
	if got := sum(`|npm||"a"|`); got != "npm|a" {
		t.Errorf("segments with nothing count: %s", got)
	}
	for _, bad := range []string{"1.2.3", "missing.lock", "!a.lock", "a| |b", "", "||", "a|*", "**", "'a'|b", "a|`b`"} {
		if _, err := resolve(bad, dir, ""); err == nil {
			t.Errorf("%q is a key", bad)
		}
	}
	if parts, _ := resolve("a", dir, "s"); len(parts) != 2 {
		t.Error("the salt does not count")
	}
}

func TestCache(t *testing.T) {
	d := tasktest.New(t)
	in := map[string]string{"key": "npm | lock.json", "restoreKeys": "npm", "path": "node_modules", "cacheHitVar": "HIT"}
	try := func(lock, want string, result run.Result) {
		t.Helper()
		if err := os.RemoveAll(filepath.Join(d.Dir, "node_modules")); err != nil {
			t.Fatal(err)
		}
		d.Write(map[string]string{"lock.json": lock})
		d.State = map[string]string{}
		d.Result = run.Succeeded
		if err := d.Run("Cache@2", in); err != nil {
			t.Fatal(err)
		}
		if d.Vars["hit"] != want {
			t.Errorf("lock %s: %s, want %s\n%s", lock, d.Vars["hit"], want, d.Log())
		}
		if got := d.Read("node_modules/from"); (got != "") != (want != "false") {
			t.Errorf("lock %s: restored %q", lock, got)
		}
		d.Write(map[string]string{"node_modules/from": lock})
		d.Result = result
		if err := d.After("Cache@2", in); err != nil {
			t.Fatal(err)
		}
	}
	d.Vars["build.sourcebranch"] = "refs/heads/main"
	try("1", "false", run.Failed)
	try("1", "false", run.Succeeded)
	try("1", "true", run.Succeeded)
	try("2", "inexact", run.Succeeded)
	try("2", "true", run.Succeeded)
	d.Vars["build.sourcebranch"] = "refs/heads/feature"
	try("1", "true", run.Succeeded) // of main
	try("3", "inexact", run.Succeeded)
	try("3", "true", run.Succeeded)
	d.Vars["build.sourcebranch"] = "refs/heads/main"
	try("3", "inexact", run.Failed) // not of the feature
	d.State = map[string]string{}
	if err := d.After("Cache@2", in); err != nil {
		t.Errorf("a step that did not run saves: %v", err)
	}
	if err := d.Run("Cache@2", map[string]string{"key": "missing.json", "path": "x"}); err == nil {
		t.Error("a key without files is accepted")
	}
}

func TestWhatTheLogSaysOfAKey(t *testing.T) {
	d := tasktest.New(t)
	d.Write(map[string]string{"a.lock": "1", "d/b.lock": "2"})
	d.Vars["azp_caching_salt"] = "v2"
	if err := d.Run("Cache@2", map[string]string{"key": `npm | "$(Agent.OS)" | a.lock | **/*.lock`, "restoreKeys": "npm\n", "path": "x"}); err != nil {
		t.Fatal(err)
	}
	const one, two = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b", "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35"
	for _, want := range []string{"Resolving key:\n - AZP_CACHING_SALT=v2 [string]\n - npm [string]\n - \"$(Agent.OS)\" [string]\n - a.lock [file] --> " + one +
		"\n - **/*.lock [file pattern; matches: 2]\n   - a.lock --> " + one + "\n   - d/b.lock --> " + two + "\nResolved to: salt=v2|npm|", "Resolving restore key:\n - AZP_CACHING_SALT=v2 [string]\n - npm [string]\nResolved to: salt=v2|npm|**\n"} {
		if !strings.Contains(d.Log(), want) {
			t.Errorf("want\n%s\nin\n%s", want, d.Log())
		}
	}
}

// A key of several lines is one whose segments stand in lines.
func TestOldFormOfAKey(t *testing.T) {
	d := tasktest.New(t)
	d.Write(map[string]string{"a.lock": "1", "x/f": "f"})
	d.Vars["build.sourcebranch"] = "refs/heads/main"
	d.Result = run.Succeeded
	in := map[string]string{"key": "npm\na.lock\n", "path": "x", "cacheHitVar": "HIT"}
	if err := d.Run("Cache@2", in); err != nil || len(d.Issues) != 1 || !strings.Contains(d.Issues[0], "old form") {
		t.Fatal(err, d.Issues)
	}
	if err := d.After("Cache@2", in); err != nil {
		t.Fatal(err)
	}
	in["key"] = "npm | a.lock"
	if err := d.Run("Cache@2", in); err != nil || d.Vars["hit"] != "true" {
		t.Error(err, d.Vars["hit"])
	}
	in["key"], in["restoreKeys"] = "npm\na.lock", "npm"
	if err := d.Run("Cache@2", in); err == nil {
		t.Error("the old form has restore keys")
	}
}

// A job with issues fills a cache if the step says so.
func TestCacheOfAPartialSuccess(t *testing.T) {
	for _, want := range []string{"false", "true"} {
		d := tasktest.New(t)
		d.Write(map[string]string{"x/f": "f"})
		d.Vars["build.sourcebranch"] = "refs/heads/main"
		in := map[string]string{"key": "npm", "path": "x", "cacheHitVar": "HIT", "saveOnPartialSuccess": want}
		if err := d.Run("Cache@2", in); err != nil {
			t.Fatal(err)
		}
		d.Result = run.SucceededWithIssues
		if err := d.After("Cache@2", in); err != nil {
			t.Fatal(err)
		}
		if err := d.Run("Cache@2", in); err != nil || d.Vars["hit"] != want {
			t.Errorf("saveOnPartialSuccess %s: %v, hit %s", want, err, d.Vars["hit"])
		}
	}
}

func TestUnusedEntriesGo(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f := &Folder{Dir: t.TempDir(), Now: func() time.Time { return now }}
	save := func(key string) {
		if err := f.Save("s", []string{key}, func(w io.Writer) error { _, err := io.WriteString(w, key); return err }); err != nil {
			t.Fatal(err)
		}
		e, err := f.Find("s", []string{key}, false)
		if err != nil || e == nil {
			t.Fatalf("%v %v", e, err)
		}
	}
	save("old")
	save("used")
	now = now.Add(5 * 24 * time.Hour)
	if e, _ := f.Find("s", []string{"used"}, false); e == nil {
		t.Fatal("not found")
	}
	now = now.Add(3 * 24 * time.Hour)
	save("new")
	for key, want := range map[string]bool{"old": false, "used": true, "new": true} {
		if e, _ := f.Find("s", []string{key}, false); (e != nil) != want {
			t.Errorf("%s: %v", key, e)
		}
	}
}

// Whatever a key says: it is refused, or has one part for each segment, the same
// each time.
func FuzzSegments(f *testing.F) {
	for _, key := range []string{`npm | "$(Agent.OS)" | package-lock.json`, "**/*.txt, !b.txt", "a|", `"|"`, "!a.txt", "a.txt|v2"} {
		f.Add(key, "")
		f.Add(key, "salt")
	}
	base := f.TempDir()
	for _, name := range []string{"a.txt", "b.txt", "package-lock.json"} {
		if err := os.WriteFile(filepath.Join(base, name), []byte(name), 0o644); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, key, salt string) {
		if strings.Contains(key, "..") || strings.Contains(key, "/") {
			return // other folders of this machine
		}
		parts, err := resolve(key, base, salt)
		if err != nil {
			return
		}
		want := len(slices.DeleteFunc(strings.Split(key, "|"), func(s string) bool { return s == "" }))
		if salt != "" {
			want++
		}
		if len(parts) != want {
			t.Fatalf("%q has %d parts, want %d", key, len(parts), want)
		}
		again, err := resolve(key, base, salt)
		if err != nil || !slices.Equal(again, parts) {
			t.Fatalf("%q: %q, then %q %v", key, parts, again, err)
		}
	})
}
