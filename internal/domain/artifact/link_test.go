package artifact

import (
	"fmt"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/memstore"
)

func TestLinks(t *testing.T) {
	s, ctx := &Links{Links: memstore.NewTable[Link](&memstore.Runner{}, "Link")}, t.Context()
	for _, c := range []struct{ name, kind, location, wantKind, web, code string }{
		{"a", "", "https://example.test/x", "url", "https://example.test/x", ""},
		{"a", "URL", "https://example.test/x", "url", "https://example.test/x", ""}, // the same again
		{"a", "", "https://example.test/y", "", "", "artifact-exists"},
		{"b", "", `\\server\drop`, "filepath", "", ""},
		{"c", "", "#/12/drop", "container", "", ""},
		{"d", "", "$/project", "versioncontrol", "", ""},
		{"e", "", "refs/tags/v1", "gitref", "", ""},
		{"f", "mine", "javascript:alert(1)", "mine", "", ""},
		{"g", "mine", "https://user:password@example.test/", "mine", "", ""},
		{"h", "", "somewhere", "", "", "artifact-type"},
		{"", "mine", "x", "", "", "invalid-name"},
		{"i", "mine", " ", "", "", "artifact-location"},
		{"i", "mine", "a\nb", "", "", "artifact-location"},
		{"i", "mine", strings.Repeat("x", 5000), "", "", "artifact-location"},
	} {
		l, err := s.Put(ctx, &Link{RunID: "1", Name: c.name, Type: c.kind, Location: c.location})
		switch {
		case err != nil && fault.CodeOf(err) != c.code, err == nil && c.code != "":
			t.Errorf("%+v: %v", c, err)
		case err == nil && (l.Type != c.wantKind || l.Web() != c.web):
			t.Errorf("%+v: %s %s", c, l.Type, l.Web())
		}
	}
	for i := range MaxLinks {
		if err := s.Links.Insert(ctx, &Link{ID: fmt.Sprint("l", i), Key: fmt.Sprint(i), RunID: "2", Name: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Put(ctx, &Link{RunID: "2", Name: "more", Type: "x", Location: "x"}); fault.CodeOf(err) != "too-many-links" {
		t.Error(err)
	}
}
