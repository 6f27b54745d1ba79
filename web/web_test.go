package web

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// What is vendored is exactly what the manifest names, byte by byte, with its
// licence beside it.
func TestVendoredFilesAreWhatTheManifestSays(t *testing.T) {
	raw, err := files.ReadFile("vendor/manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []struct {
		Name, Version, Licence, LicenceFile string
		Files                               map[string]string
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"vendor/manifest.json": true}
	for _, lib := range list {
		if lib.Version == "" || lib.Licence == "" {
			t.Errorf("%s: version and licence are missing", lib.Name)
		}
		if _, err := files.ReadFile("vendor/" + lib.LicenceFile); err != nil {
			t.Errorf("%s: %v", lib.Name, err)
		}
		known["vendor/"+lib.LicenceFile] = true
		for name, want := range lib.Files {
			b, err := files.ReadFile("vendor/" + name)
			if err != nil {
				t.Error(err)
				continue
			}
			if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != want {
				t.Errorf("%s is not the file that was vendored", name)
			}
			known["vendor/"+name] = true
		}
	}
	folders, err := files.ReadDir("vendor")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		if !f.IsDir() {
			continue
		}
		inside, _ := files.ReadDir("vendor/" + f.Name())
		for _, i := range inside {
			if name := "vendor/" + f.Name() + "/" + i.Name(); !known[name] {
				t.Errorf("%s is in no manifest entry", name)
			}
		}
	}
}

// No script or style needs a place that the content security policy forbids.
func TestAssetsReferToNothingElsewhere(t *testing.T) {
	remote := regexp.MustCompile(`(?i)(https?:)?//[a-z0-9.-]+\.[a-z]{2,}/`)
	for _, folder := range []string{"css", "js"} {
		list, err := files.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range list {
			b, _ := files.ReadFile(folder + "/" + f.Name())
			if m := remote.Find(b); m != nil {
				t.Errorf("%s/%s refers to %s", folder, f.Name(), m)
			}
		}
	}
}

type pair struct {
	text, ground string
	want         float64
}

func pairs() []pair {
	grounds, states := []string{"paper", "surface", "sunken", "hover"}, []string{"ok", "warn", "bad", "run", "wait"}
	var list []pair
	for _, f := range append([]string{"ink", "ink-2", "ink-3", "water"}, states...) {
		for _, g := range grounds {
			list = append(list, pair{f, g, 4.5})
		}
	}
	for _, s := range append(states, "water") {
		list = append(list, pair{s, s + "-soft", 4.5}, pair{"ink", s + "-soft", 7}, pair{"ink-2", s + "-soft", 4.5})
	}
	for _, s := range states {
		list = append(list, pair{"on-state", s, 4.5})
	}
	list = append(list, pair{"on-water", "water", 4.5}, pair{"on-ink", "ink", 7}, pair{"water-fill", "surface", 3}, pair{"water-fill", "sunken", 3},
		pair{"line-firm", "paper", 3}, pair{"line-firm", "surface", 3})
	for _, g := range grounds {
		list = append(list, pair{"focus", g, 3})
	}
	for _, c := range strings.Fields("a-black a-red a-green a-yellow a-blue a-magenta a-cyan a-white c-keyword c-string c-comment c-number c-name") {
		list = append(list, pair{c, "log", 4.5})
		if strings.HasPrefix(c, "c-") {
			list = append(list, pair{c, "surface", 4.5}, pair{c, "ok-soft", 4.5}, pair{c, "bad-soft", 4.5})
		}
	}
	return list
}

// Text has 4.5:1, graphics and borders of controls 3:1, in both themes.
func TestContrast(t *testing.T) {
	css, err := files.ReadFile("css/tokens.css")
	if err != nil {
		t.Fatal(err)
	}
	tokens := map[string][2]string{}
	for _, m := range regexp.MustCompile(`--([\w-]+):\s*light-dark\((#\w{6}),\s*(#\w{6})\)`).FindAllStringSubmatch(string(css), -1) {
		tokens[m[1]] = [2]string{m[2], m[3]}
	}
	for _, p := range pairs() {
		text, ok := tokens[p.text]
		ground, ok2 := tokens[p.ground]
		if !ok || !ok2 {
			t.Errorf("no token %s or %s", p.text, p.ground)
			continue
		}
		for i, theme := range []string{"light", "dark"} {
			if r := ratio(text[i], ground[i]); r < p.want {
				t.Errorf("%s: %s on %s has %.2f, want %.1f", theme, p.text, p.ground, r, p.want)
			}
		}
	}
}

func ratio(a, b string) float64 {
	x, y := luminance(a), luminance(b)
	return (max(x, y) + .05) / (min(x, y) + .05)
}

func luminance(hex string) float64 {
	part := func(from int) float64 {
		v, _ := strconv.ParseUint(hex[from:from+2], 16, 8)
		c := float64(v) / 255
		if c <= .03928 {
			return c / 12.92
		}
		return math.Pow((c+.055)/1.055, 2.4)
	}
	return .2126*part(1) + .7152*part(3) + .0722*part(5)
}
