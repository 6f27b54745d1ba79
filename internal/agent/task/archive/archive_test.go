package archive

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/agent/task/tasktest"
	"penstock.dev/penstock/internal/base/fault"
)

func TestPackAndUnpack(t *testing.T) {
	for name, inputs := range map[string]map[string]string{
		"x.zip": {"archiveType": "zip"}, "x.tar.gz": {"archiveType": "tar"}, "x.tar.xz": {"archiveType": "tar", "tarCompression": "xz"},
		"x.tar.bz2": {"archiveType": "tar", "tarCompression": "bz2"}, "x.tar": {"archiveType": "tar", "tarCompression": "none"},
	} {
		for include, want := range map[string]string{"true": "in/.dot in/d/a.txt in/run.sh", "false": ".dot d/a.txt run.sh"} {
			d := tasktest.New(t)
			d.Write(map[string]string{"in/d/a.txt": "a", "in/.dot": "", "in/run.sh": "echo"})
			if err := os.Chmod(filepath.Join(d.Dir, "in/run.sh"), 0o755); err != nil {
				t.Fatal(err)
			}
			inputs["rootFolderOrFile"], inputs["includeRootFolder"], inputs["archiveFile"] = "in", include, name
			if err := d.Run("ArchiveFiles@2", inputs); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if err := d.Run("ExtractFiles@1", map[string]string{"archiveFilePatterns": name, "destinationFolder": "out"}); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got := tasktest.Files(filepath.Join(d.Dir, "out")); got != want {
				t.Errorf("%s, includeRootFolder %s: %s, want %s", name, include, got, want)
			}
			script := strings.Fields(want)[2]
			if info, err := os.Stat(filepath.Join(d.Dir, "out", script)); err != nil || info.Mode()&0o100 == 0 {
				t.Errorf("%s: the script lost its mode: %v", name, err)
			}
		}
	}
}

func TestArchiveDetails(t *testing.T) {
	d := tasktest.New(t)
	d.Write(map[string]string{"in/a": "1", "more/b": "2"})
	zip := map[string]string{"rootFolderOrFile": "in", "includeRootFolder": "false", "archiveFile": "in/self.zip"}
	if err := d.Run("ArchiveFiles@2", zip); err != nil {
		t.Fatal(err)
	}
	zip["rootFolderOrFile"], zip["replaceExistingArchive"] = "more", "false"
	if err := d.Run("ArchiveFiles@2", zip); err != nil {
		t.Fatal(err)
	}
	if err := d.Run("ExtractFiles@1", map[string]string{"archiveFilePatterns": "**/*.zip", "destinationFolder": "out"}); err != nil {
		t.Fatal(err)
	}
	if got := tasktest.Files(filepath.Join(d.Dir, "out")); got != "a b" {
		t.Errorf("added to what was there: %s", got)
	}
	t.Setenv("PATH", t.TempDir())
	err := d.Run("ArchiveFiles@2", map[string]string{"rootFolderOrFile": "in", "archiveType": "7z", "archiveFile": "x.7z"})
	if err == nil || !strings.Contains(err.Error(), "7z") {
		t.Errorf("without the program: %v", err)
	}
	if err := d.Run("ArchiveFiles@2", map[string]string{"rootFolderOrFile": "nowhere", "archiveFile": "x.zip"}); err == nil {
		t.Error("a missing folder is archived")
	}
}

func TestExtractDetails(t *testing.T) {
	d := tasktest.New(t)
	d.Write(map[string]string{"in/a": "new", "in/b": "b", "out/kept": "", "plain.txt": "x"})
	if err := os.Chmod(filepath.Join(d.Dir, "in", "a"), 0o755); err != nil {
		t.Fatal(err)
	}
	for archive, kind := range map[string]string{"x.tgz": "tar", "x.zip": "zip"} {
		d.Write(map[string]string{"out/a": "old"})
		if err := d.Run("ArchiveFiles@2", map[string]string{"rootFolderOrFile": "in", "includeRootFolder": "false", "archiveFile": archive, "archiveType": kind}); err != nil {
			t.Fatal(err)
		}
		in := map[string]string{"archiveFilePatterns": archive, "destinationFolder": "out", "cleanDestinationFolder": "false"}
		if err := d.Run("ExtractFiles@1", in); fault.CodeOf(err) != "extract-exists" || d.Read("out/a") != "old" || d.Read("out/b") != "b" {
			t.Errorf("%s without overwriting: %q %v", archive, d.Read("out/a"), err)
		}
		in["overwriteExistingFiles"] = "true"
		if err := d.Run("ExtractFiles@1", in); err != nil || d.Read("out/a") != "new" {
			t.Errorf("%s overwriting: %q %v", archive, d.Read("out/a"), err)
		}
		if info, err := os.Stat(filepath.Join(d.Dir, "out", "a")); err != nil || info.Mode().Perm()&0o111 == 0 {
			t.Errorf("%s: the mode of what was replaced stays: %v", archive, info)
		}
		if err := os.RemoveAll(filepath.Join(d.Dir, "out")); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(d.Dir, "x.zip")); err != nil {
		t.Fatal(err)
	}
	if err := d.Run("ExtractFiles@1", map[string]string{"archiveFilePatterns": "*.zip", "destinationFolder": "out"}); err != nil || len(d.Issues) != 1 || tasktest.Files(filepath.Join(d.Dir, "out")) != "" {
		t.Errorf("no match is a warning, and cleans: %v %v", err, d.Issues)
	}
	for _, bad := range []map[string]string{
		{"archiveFilePatterns": "missing.zip", "destinationFolder": "out"}, {"archiveFilePatterns": "in", "destinationFolder": "out"},
		{"archiveFilePatterns": "x.tgz", "destinationFolder": "."}, {"archiveFilePatterns": "x.tgz", "destinationFolder": ".."},
	} {
		if err := d.Run("ExtractFiles@1", bad); err == nil {
			t.Errorf("%v is accepted", bad)
		}
	}
	if d.Read("plain.txt") == "" {
		t.Error("the sources are gone")
	}
}
