package mask

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Forms returns the texts under which a secret may show: itself and each of its
// lines, as they are and in base64 (also within a longer text), URL, JSON, XML
// and shell encoding. Those shorter than MinLength are left out.
func Forms(secret string) []string {
	var forms []string
	known := map[string]bool{}
	add := func(s string) {
		if len(strings.TrimSpace(s)) >= MinLength && !known[s] {
			known[s] = true
			forms = append(forms, s)
		}
	}
	for _, p := range parts(secret) {
		if len(strings.TrimSpace(p)) < MinLength {
			continue
		}
		add(p)
		for _, encode := range []func(string) []string{base64Forms, urlForms, jsonForms, xmlForms} {
			for _, e := range encode(p) {
				add(e)
			}
		}
		add(strings.ReplaceAll(p, "'", `'\''`)) // as a shell shows it
	}
	return forms
}

// parts are the secret, its lines, and both without what often surrounds a
// value.
func parts(secret string) []string {
	list := []string{secret, strings.TrimSpace(secret), strings.ReplaceAll(secret, "\r\n", "\n")}
	for _, line := range strings.FieldsFunc(secret, func(r rune) bool { return r == '\n' || r == '\r' }) {
		list = append(list, line, strings.TrimSpace(line))
	}
	for _, p := range list {
		for _, quote := range []string{`"`, "'"} {
			if inner, ok := strings.CutPrefix(strings.TrimSpace(p), quote); ok {
				if inner, ok = strings.CutSuffix(inner, quote); ok {
					list = append(list, inner)
				}
			}
		}
	}
	return list
}

// base64Forms covers a secret that is encoded on its own and one that stands
// inside a longer encoded text, where it begins at any of three offsets: only
// the characters that depend on the secret alone are kept.
func base64Forms(s string) []string {
	var forms []string
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		whole := enc.EncodeToString([]byte(s))
		forms = append(forms, whole, whole+strings.Repeat("=", (4-len(whole)%4)%4))
		for offset := range 3 {
			padded := append(make([]byte, offset), s...)
			text := enc.EncodeToString(padded)[(offset*8+5)/6:]
			core := text[:len(padded)*8/6-(offset*8+5)/6]
			forms = append(forms, core, text) // something follows; the secret is the end
		}
	}
	return forms
}

// Sets of characters that programs leave alone in URLs, beside letters and
// digits.
const (
	rfc3986   = "-._~"
	component = "-._~!'()*"            // encodeURIComponent
	wholeURL  = "-._~!'()*;/?:@&=+$,#" // encodeURI
	dotNet    = "-._!()*"              // WebUtility.UrlEncode
	pathPart  = "-._~!'()*;:@&=+$,"    // a segment of a path
	python    = "-._~/"                // urllib.parse.quote
)

func urlForms(s string) []string {
	forms := []string{url.QueryEscape(s), lowerHex(url.QueryEscape(s)), url.PathEscape(s), lowerHex(url.PathEscape(s))}
	for _, keep := range []string{rfc3986, component, wholeURL, dotNet, pathPart, python} {
		for _, hex := range []string{"0123456789ABCDEF", "0123456789abcdef"} {
			e := percent(s, keep, hex)
			forms = append(forms, e, strings.ReplaceAll(e, "%20", "+"))
		}
	}
	return forms
}

func percent(s, keep, hex string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte(keep, c) >= 0:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// lowerHex turns %2B into %2b.
func lowerHex(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:i+3], strings.ToLower(string(b[i+1:i+3])))
			i += 2
		}
	}
	return string(b)
}

// jsonForms covers writers that escape as little as they may, those that also
// escape what matters to HTML, and those that write ASCII only.
func jsonForms(s string) []string {
	plain := jsonEscape(s, "", false, "%04x")
	forms := []string{plain, strings.ReplaceAll(plain, "/", `\/`), jsonEscape(plain, "", false, "%04x")}
	for _, hex := range []string{"%04x", "%04X"} {
		forms = append(forms, jsonEscape(s, "", true, hex), jsonEscape(s, "<>&", false, hex), jsonEscape(s, "<>&'", false, hex),
			jsonEscape(s, "<>&'", true, hex), jsonEscape(s, "<>&'\"+`", true, hex))
	}
	if quoted, err := json.Marshal(s); err == nil {
		forms = append(forms, string(quoted[1:len(quoted)-1]))
	}
	return forms
}

var shortEscapes = map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\b': `\b`, '\f': `\f`}

func jsonEscape(s, special string, ascii bool, hex string) string {
	var b strings.Builder
	for i, r := range s {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				b.WriteByte(s[i]) // not UTF-8: a writer of bytes leaves it
				continue
			}
		}
		short, isShort := shortEscapes[r]
		switch {
		case strings.ContainsRune(special, r), r < 0x20 && !isShort, ascii && r >= 0x7f:
			for _, u := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&b, `\u`+hex, u)
			}
		case isShort:
			b.WriteString(short)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// xmlForms are the secret as text and as the value of an attribute.
func xmlForms(s string) []string {
	text := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
	forms := []string{text, strings.ReplaceAll(text, "&gt;", ">")}
	for _, q := range [][2]string{{"&quot;", "'"}, {"&quot;", "&apos;"}, {"&quot;", "&#39;"}, {"&#34;", "&#39;"}, {"&quot;", "&#x27;"}} {
		forms = append(forms, strings.NewReplacer(`"`, q[0], "'", q[1]).Replace(text))
	}
	for _, f := range forms {
		forms = append(forms, strings.NewReplacer("\n", "&#xA;", "\r", "&#xD;", "\t", "&#x9;").Replace(f),
			strings.NewReplacer("\n", "&#10;", "\r", "&#13;", "\t", "&#9;").Replace(f))
	}
	return forms
}

// longest is how long a form is searched for as one; a longer one is searched
// for in pieces.
const longest = 4096

// pieces cuts a long form into parts that overlap, so that they are masked as
// one where they stand together.
func pieces(form string) []string {
	if len(form) <= longest {
		return []string{form}
	}
	var list []string
	for at := 0; ; at += longest/2 - 1 {
		if at+longest >= len(form) {
			return append(list, form[len(form)-longest:])
		}
		list = append(list, form[at:at+longest/2])
	}
}
