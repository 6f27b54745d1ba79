package diffview

import (
	"strings"
	"testing"
)

const sample = `diff --git a/prices/bulk.go b/prices/bulk.go
index 111..222 100644
--- a/prices/bulk.go
+++ b/prices/bulk.go
@@ -38,4 +38,5 @@ func (s *Prices) Bulk()
 	var in []Price
-	for _, p := range in { s.store.Put("<b>", p) }
+	for _, p := range in { tx.Put("<b>", p) }
+	// done
 	return nil
-- a line that begins with a dash
diff --git a/old.bin b/old.bin
deleted file mode 100644
Binary files a/old.bin and /dev/null differ
diff --git a/new.txt b/new.txt
new file mode 100644
--- /dev/null
+++ b/new.txt
@@ -0,0 +1 @@
+hello
\ No newline at end of file
`

func TestParse(t *testing.T) {
	files := Parse(sample)
	if len(files) != 3 {
		t.Fatalf("%d files", len(files))
	}
	f := files[0]
	if f.Path() != "prices/bulk.go" || f.Added != 2 || f.Removed != 2 || f.Lines[1].Old != 38 || f.Lines[1].New != 38 || f.Lines[3].New != 39 || f.Lines[4].New != 40 {
		t.Errorf("%+v", f)
	}
	if !strings.Contains(f.Lines[4].HTML, `class="cc"`) || strings.Contains(f.Lines[3].HTML, "<b>") {
		t.Errorf("%q %q", f.Lines[4].HTML, f.Lines[3].HTML)
	}
	if !files[1].Binary || files[1].New != "" || files[1].Path() != "old.bin" {
		t.Errorf("%+v", files[1])
	}
	if files[2].Old != "" || len(files[2].Lines) != 2 || files[2].Lines[1].New != 1 {
		t.Errorf("%+v", files[2])
	}
}

func TestWordsAreMarkedAcrossSpans(t *testing.T) {
	got := mark(`a<span class="cs">&lt;b</span>c`, 1, 3)
	if got != `a<span class="cs"><mark>&lt;b</mark></span><mark>c`+`</mark>` && got != `a<span class="cs"><mark>&lt;b</mark></span>c` {
		t.Error(got)
	}
	f := Parse("diff --git a/x.txt b/x.txt\n--- a/x.txt\n+++ b/x.txt\n@@ -1 +1 @@\n-the old word stays\n+the new word stays\n")[0]
	if !strings.Contains(f.Lines[1].HTML, "<mark>old</mark>") || !strings.Contains(f.Lines[2].HTML, "<mark>new</mark>") {
		t.Errorf("%q %q", f.Lines[1].HTML, f.Lines[2].HTML)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample)
	f.Fuzz(func(t *testing.T, s string) { Parse(s) })
}
