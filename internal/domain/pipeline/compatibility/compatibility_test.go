package compatibility

import (
	"flag"
	"os"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/domain/pipeline/internal/grammar"
)

const document = "../../../../docs/compatibility.md"

var update = flag.Bool("update", false, "write docs/compatibility.md")

func TestDocumentIsUpToDate(t *testing.T) {
	want := Document()
	if *update {
		if err := os.WriteFile(document, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("docs/compatibility.md differs from the tables: run go generate ./...")
	}
}

func TestDocumentHasEverything(t *testing.T) {
	text := string(Document())
	for _, m := range grammar.All() {
		_, section, ok := strings.Cut(text, "\n### "+m.Name+"\n")
		if !ok {
			t.Errorf("%s is missing", m.Name)
			continue
		}
		section, _, _ = strings.Cut(section, "\n### ")
		for _, k := range m.Keys {
			_, common := (&grammar.Mapping{Keys: grammar.StepKeys}).Key(k.Name)
			if !strings.Contains(section, "| `"+k.Name+"` |") && !common {
				t.Errorf("%s.%s is missing", m.Name, k.Name)
			}
		}
	}
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "|") && !strings.HasSuffix(line, " |") && !strings.HasSuffix(line, "---|") {
			t.Errorf("a broken row: %s", line)
		}
	}
	if !strings.Contains(text, "What is not listed here is not supported, and says so when it is used.") {
		t.Error("the promise is missing")
	}
}
