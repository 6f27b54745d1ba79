// Package mask removes secrets from text. It works on whole lines, so that how
// a program chunks its output changes nothing: a secret of several lines is
// masked line by line.
package mask

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"sort"
	"strings"
	"sync/atomic"
)

// Text stands in the place of a secret.
const Text = "***"

// MinLength is the shortest value that is masked, in bytes: shorter ones occur
// in ordinary text by chance. Add reports those it leaves alone.
const MinLength = 4

// Masker knows a set of secrets. It is safe for concurrent use.
type Masker struct {
	forms atomic.Pointer[[]string] // longest first
}

// Add makes the values secret, in each of their usual encodings. It returns how
// many were too short to mask.
func (m *Masker) Add(values ...string) (short int) {
	set := map[string]bool{}
	if old := m.forms.Load(); old != nil {
		for _, f := range *old {
			set[f] = true
		}
	}
	for _, v := range values {
		if v == "" {
			continue
		}
		if len(strings.TrimSpace(v)) < MinLength {
			short++
			continue
		}
		for _, f := range Forms(v) {
			set[f] = true
		}
	}
	forms := make([]string, 0, len(set))
	for f := range set {
		forms = append(forms, f)
	}
	sort.Slice(forms, func(i, j int) bool {
		if len(forms[i]) != len(forms[j]) {
			return len(forms[i]) > len(forms[j])
		}
		return forms[i] < forms[j]
	})
	m.forms.Store(&forms)
	return short
}

// Forms returns the texts under which a secret may show: itself, each of its
// lines, and their base64, URL and JSON encodings, those of MinLength and more.
func Forms(secret string) []string {
	var forms []string
	add := func(s string) {
		if len(s) >= MinLength && !slices.Contains(forms, s) {
			forms = append(forms, s)
		}
	}
	parts := []string{secret}
	for line := range strings.Lines(secret) {
		parts = append(parts, strings.TrimRight(line, "\r\n"), strings.TrimSpace(line))
	}
	for _, p := range parts {
		if len(strings.TrimSpace(p)) < MinLength {
			continue
		}
		if !strings.ContainsAny(p, "\r\n") {
			add(p)
		}
		for _, e := range base64Forms(p) {
			add(e)
		}
		add(url.QueryEscape(p))
		add(url.PathEscape(p))
		if quoted, err := json.Marshal(p); err == nil {
			add(strings.Trim(string(quoted), `"`))
		}
	}
	return forms
}

// base64Forms covers a secret that is encoded on its own and one that stands
// inside a longer encoded text, where it begins at any of three offsets: only
// the characters that depend on the secret alone are kept.
func base64Forms(s string) []string {
	forms := []string{}
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		forms = append(forms, enc.EncodeToString([]byte(s)), strings.TrimRight(enc.EncodeToString([]byte(s)), "="))
		for offset := range 3 {
			padded := append(make([]byte, offset), s...)
			text := strings.TrimRight(enc.EncodeToString(padded), "=")
			from := (offset*8 + 5) / 6
			to := len(padded) * 8 / 6
			if to-from >= 8 { // shorter cores would hide ordinary text
				forms = append(forms, text[from:to])
			}
		}
	}
	return forms
}

// Line returns the text with every secret replaced. Overlapping secrets are
// replaced as one.
func (m *Masker) Line(text string) string {
	p := m.forms.Load()
	if p == nil || len(*p) == 0 {
		return text
	}
	var hits [][2]int
	for _, f := range *p {
		for at := 0; ; {
			i := strings.Index(text[at:], f)
			if i < 0 {
				break
			}
			hits = append(hits, [2]int{at + i, at + i + len(f)})
			at += i + 1
		}
	}
	if len(hits) == 0 {
		return text
	}
	sort.Slice(hits, func(i, j int) bool { return hits[i][0] < hits[j][0] })
	var b strings.Builder
	end := 0
	for i := 0; i < len(hits); {
		from, to := hits[i][0], hits[i][1]
		for i++; i < len(hits) && hits[i][0] < to; i++ {
			to = max(to, hits[i][1])
		}
		b.WriteString(text[end:from])
		b.WriteString(Text)
		end = to
	}
	b.WriteString(text[end:])
	return b.String()
}
