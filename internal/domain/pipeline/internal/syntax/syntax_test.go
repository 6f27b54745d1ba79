package syntax

import (
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	keys := []string{"dependsOn", "displayName", "condition", "steps", "pool"}
	for word, want := range map[string]string{
		"dependOn": "dependsOn", "dependson": "dependsOn", "displayname": "displayName", "step": "steps", "setps": "steps",
		"pol": "pool", "zebra": "", "": "", strings.Repeat("x", 500): "",
	} {
		if got := Nearest(word, keys); got != want {
			t.Errorf("Nearest(%.20q) = %q, want %q", word, got, want)
		}
	}
}

func TestReadProblems(t *testing.T) {
	for name, c := range map[string]struct{ text, code string }{
		"size":        {strings.Repeat("#", MaxFileBytes+1), "file-size"},
		"encoding":    {"a: \xff\xfe\n", "file-encoding"},
		"depth flow":  {strings.Repeat("[", 120) + strings.Repeat("]", 120), "yaml-depth"},
		"depth more":  {strings.Repeat("[", 20000), "yaml-depth"},
		"complex key": {"? [a]\n: b\n", "key-type"},
		"merge":       {"a: &x {b: c}\nd:\n  <<: *x\n", "merge-key"},
		"loop":        {"a: &x [*x]\n", "yaml-anchor"},
		"anchor":      {"a: &x b\n", "yaml-anchor"},
		"tag":         {"a: !secret b\n", "yaml-tag"},
		"set":         {"a: !!set {b}\n", "yaml-tag"},
		"tab":         {"a:\n\tb: c\n", "tab"},
		"quote":       {"a: 'b\n", "yaml-syntax"},
		"documents":   {"a: b\n---\nc: d\n", "second-document"},
		"unknown":     {"a: *nowhere\n", "yaml-syntax"},
	} {
		r := &Report{}
		Read(r, "self", "f.yml", []byte(c.text))
		found := []string{}
		for _, p := range r.Problems() {
			found = append(found, p.Code+": "+p.Message)
			if p.Pos.Line < 1 || p.Pos.Column < 1 {
				t.Errorf("%s: place %v", name, p.Pos)
			}
		}
		if !strings.Contains(strings.Join(found, "\n"), c.code) {
			t.Errorf("%s: %v, want %s", name, found, c.code)
		}
	}
}

func TestReadPlaces(t *testing.T) {
	r := &Report{}
	f := Read(r, "self", "f.yml", []byte("\xef\xbb\xbfa: ü\r\nlist:\r\n- k: |\r\n    one\r\n    two\r\n- \"x\"\r\n"))
	if len(r.Problems()) > 0 {
		t.Fatal(r.Problems()[0])
	}
	k := f.Root.Get("LIST").Items[0].Get("k")
	if k.Line != 3 || k.Column != 6 || !k.Block || k.Text != "one\ntwo\n" {
		t.Errorf("%+v", k)
	}
	if x := f.Root.Get("list").Items[1]; !x.Quoted || x.Line != 6 || x.Column != 3 || Width(x) != 3 {
		t.Errorf("%+v", x)
	}
	if f.Line(2) != "list:" || f.Line(0) != "" || f.Line(99) != "" {
		t.Error("lines")
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{"a: b\n", "- x\n- {y: [1, 2]}\n", "a: &x [1]\nb: *x\n", "|\n  x\n", "? a\n: b\n", "%YAML 1.1\n---\n!!set {a}\n", "\t", "a: 'x", "{a: b, a: c}", "<<: *a"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := &Report{}
		file := Read(r, "self", "f.yml", data)
		if file.Root == nil && !r.Failed() && strings.TrimSpace(strings.Trim(string(data), "\ufeff-. \n\r\t#%")) == "" {
			return
		}
		for _, p := range r.Problems() {
			if p.Code == "" || p.Message == "" || p.Pos.Line < 1 {
				t.Fatalf("%+v", p)
			}
		}
	})
}
