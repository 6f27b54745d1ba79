package mask

import (
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html"
	"math/rand"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestLine(t *testing.T) {
	var m Masker
	if short := m.Add("s3cr3t-value", "two\nlines-of-it", "abc", "cdefgh", "abcdef", "ab\nc", "  "); short != 2 {
		t.Errorf("short = %d, want 2", short)
	}
	for in, want := range map[string]string{
		"nothing here":                  "nothing here",
		"key=s3cr3t-value;":             "key=***;",
		"s3cr3t-values3cr3t-value":      "******",
		"lines-of-it":                   "***",
		"two\nlines-of-it":              "***",
		"abcdefgh":                      "***",
		"x abc y":                       "x abc y",
		"b64 czNjcjN0LXZhbHVl":          "b64 ***",
		`json "two\nlines-of-it" ok`:    `json "***" ok`,
		"basic dXNlcjpzM2NyM3QtdmFsdWU": "basic dXNlcjp***",
	} {
		if got := m.Line(in); got != want {
			t.Errorf("Line(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestEveryForm(t *testing.T) {
	secret := "p@ss <w>'ö\"/+&\\1"
	var m Masker
	m.Add(secret)
	var asXML strings.Builder
	if err := xml.EscapeText(&asXML, []byte(secret)); err != nil {
		t.Fatal(err)
	}
	goJSON, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	for name, form := range map[string]string{
		"query": url.QueryEscape(secret), "query, lower hex": "p%40ss+%3cw%3e%27%c3%b6%22%2f%2b%26%5c1", "component": "p%40ss%20%3Cw%3E'%C3%B6%22%2F%2B%26%5C1",
		"json": string(goJSON[1 : len(goJSON)-1]), "json, ascii": `p@ss <w>'\u00f6\"/+&\\1`, "json, ascii, upper": `p@ss \u003Cw\u003E\u0027\u00F6\u0022/\u002B\u0026\\1`,
		"json, slash": `p@ss <w>'ö\"\/+&\\1`, "xml": asXML.String(), "html": html.EscapeString(secret), "xml, named": "p@ss &lt;w&gt;&apos;ö&quot;/+&amp;\\1",
		"shell": `p@ss <w>'\''ö"/+&\1`, "base64": base64.StdEncoding.EncodeToString([]byte(secret)), "base64, url": base64.RawURLEncoding.EncodeToString([]byte(secret)),
	} {
		if got := m.Line("x " + form + " y"); got != "x *** y" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// encodings of a secret, as it may stand in an output; core says that only what
// depends on the secret alone can be asked for.
func encode(secret string, which, offset int) string {
	switch which % 6 {
	case 1:
		return url.QueryEscape(secret)
	case 2:
		return url.PathEscape(secret)
	case 3:
		quoted, _ := json.Marshal(secret)
		return string(quoted[1 : len(quoted)-1])
	case 4:
		return html.EscapeString(secret)
	case 5:
		padded := strings.Repeat("#", offset%3) + secret
		from, to := (offset%3*8+5)/6, len(padded)*8/6
		return base64.RawStdEncoding.EncodeToString([]byte(padded))[from:max(from, to)] // nothing depends on a secret of no bytes alone
	}
	return secret
}

// No encoding of a secret survives, wherever it stands and however the text is
// cut into pieces; and the pieces give what the whole gives.
func TestNothingSurvives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secrets := rapid.SliceOfN(rapid.StringMatching(`[!-)+-~äö]{4,20}( [!-)+-~]{1,8})?`), 1, 4).Draw(t, "secrets")
		var m Masker
		m.Add(secrets...)
		text := ""
		var forms []string
		for range rapid.IntRange(1, 5).Draw(t, "count") {
			secret := rapid.SampledFrom(secrets).Draw(t, "secret")
			form := encode(secret, rapid.IntRange(0, 5).Draw(t, "encoding"), rapid.IntRange(0, 2).Draw(t, "offset"))
			forms = append(forms, form)
			text += rapid.StringMatching(`[ -)+-~]{0,6}`).Draw(t, "between") + form
		}
		whole := m.Line(text)
		for _, form := range forms {
			if strings.Contains(whole, form) {
				t.Fatalf("%q survives in %q", form, whole)
			}
		}
		s, cut := m.Stream(), ""
		for rest := text; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "piece")
			cut += s.Write(rest[:n])
			rest = rest[n:]
		}
		if cut += s.Close(); cut != whole {
			t.Fatalf("in pieces %q, as a whole %q", cut, whole)
		}
	})
}

// The search finds what a search for one text after the other finds.
func TestScanAgainstPlainSearch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		forms := map[string]bool{}
		for _, f := range rapid.SliceOfN(rapid.StringMatching(`[ab]{1,6}`), 1, 6).Draw(t, "forms") {
			forms[f] = true
		}
		text := rapid.StringMatching(`[abc]{0,40}`).Draw(t, "text")
		covered := make([]bool, len(text))
		for f := range forms {
			for i := range text {
				if strings.HasPrefix(text[i:], f) {
					for k := range f {
						covered[i+k] = true
					}
				}
			}
		}
		got := make([]bool, len(text))
		spans, _ := build(forms).scan(text, nil)
		for _, s := range spans {
			for i := s.from; i < s.to; i++ {
				got[i] = true
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(covered) {
			t.Fatalf("%q: %v, want %v", text, got, covered)
		}
	})
}

func TestLongSecretIsOneMask(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	secret := make([]byte, 3*longest+17)
	for i := range secret {
		secret[i] = "abcdefghijklmnopqrstuvwxyz0123456789"[random.Intn(36)]
	}
	var m Masker
	m.Add(string(secret))
	if got := m.Line("[" + string(secret) + "]"); got != "[***]" {
		t.Errorf("%d bytes: %.80q", len(got), got)
	}
}

// What a stream holds back is bounded, also where everything is a secret.
func TestStreamIsBounded(t *testing.T) {
	var m Masker
	m.Add("aaaa")
	s, out := m.Stream(), ""
	for range 1000 {
		out += s.Write(strings.Repeat("a", 100))
		if len(s.held) > 200 {
			t.Fatalf("%d bytes are held", len(s.held))
		}
	}
	if out += s.Close(); out != Text {
		t.Errorf("%.80q", out)
	}
}

// The end of a secret whose mask was given out stays covered while another secret
// may begin in it, however long that is not decided.
func TestStreamForgetsNoMask(t *testing.T) {
	var m Masker
	m.Add("abcdefgh", "fghijklmn")
	s := m.Stream()
	got := s.Write("abcdefgh")
	for _, piece := range []string{"i", "j", "k"} {
		got += s.Write(piece)
		if held := s.Held(); strings.Contains(held, "fgh") {
			t.Errorf("%q is shown after %q", held, piece)
		}
	}
	if got += s.Write(".") + s.Close(); got != "***ijk." {
		t.Errorf("%q", got)
	}
}

func FuzzStream(f *testing.F) {
	f.Add("secret", "a secret line", uint64(3), uint8(0))
	f.Add("two\nlines of it", "lines of it", uint64(7), uint8(5))
	f.Fuzz(func(t *testing.T, secret, line string, cuts uint64, encoding uint8) {
		if len(secret) > 200 || len(line) > 2000 {
			return
		}
		var m Masker
		m.Add(secret)
		form := encode(secret, int(encoding), int(encoding)/6)
		text := line + form + line
		whole := m.Line(text)
		if len(strings.TrimSpace(secret)) >= MinLength && len(strings.TrimSpace(form)) >= MinLength && !strings.ContainsAny(form, "*\r\n") && strings.Contains(whole, form) {
			t.Fatalf("%q survives in %q", form, whole)
		}
		s, cut := m.Stream(), ""
		for random := rand.New(rand.NewSource(int64(cuts))); text != ""; {
			n := 1 + random.Intn(len(text))
			cut += s.Write(text[:n])
			text = text[n:]
		}
		if cut += s.Close(); cut != whole {
			t.Fatalf("in pieces %q, as a whole %q", cut, whole)
		}
	})
}

func BenchmarkLine(b *testing.B) {
	var m Masker
	random := rand.New(rand.NewSource(1))
	for range 50 {
		secret := make([]byte, 40)
		for i := range secret {
			secret[i] = byte('!' + random.Intn(90))
		}
		m.Add(string(secret))
	}
	line := strings.Repeat("ordinary output of a build ", 4)
	m.Line(line)
	b.ReportAllocs()
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		m.Line(line)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}

func BenchmarkBuild(b *testing.B) {
	for b.Loop() {
		var m Masker
		for n := range 50 {
			m.Add(fmt.Sprintf("a-secret-of-usual-length-%d-%x", n, n*7919))
		}
		m.Line("")
	}
}
