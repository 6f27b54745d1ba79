package transform

import (
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
)

// sections of a configuration file whose entries are named.
var sections = map[string]bool{"appsettings": true, "applicationsettings": true, "connectionstrings": true, "parameters": true}

// edit replaces a part of a text.
type edit struct {
	from, to int
	text     string
}

// substituteXML replaces the values of entries in appSettings,
// applicationSettings, connectionStrings and of parameters that have the name of
// a variable. Everything else stays as it was written.
func substituteXML(text string, find lookup) (string, int, error) {
	d := xml.NewDecoder(strings.NewReader(text))
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil } // the text is UTF-8 already
	var stack []string
	var edits []edit
	pending, inValue := "", -1 // value of a setting whose <value> comes; where that begins
	for {
		from := int(d.InputOffset())
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", 0, fault.Wrap(err, fault.Invalid, "xml-unreadable", "the file is not XML")
		}
		to := int(d.InputOffset())
		switch t := token.(type) {
		case xml.StartElement:
			name := strings.ToLower(t.Name.Local)
			if name == "value" && pending != "" && !strings.HasSuffix(text[from:to], "/>") {
				inValue = to
			}
			if inside(stack) {
				if value, ok := named(t, find); ok {
					if e, ok := attributeEdit(text, from, to, value); ok {
						edits = append(edits, e)
					} else {
						pending = "\x00" + value
					}
				}
			}
			stack = append(stack, name)
		case xml.EndElement:
			if inValue >= 0 && strings.EqualFold(t.Name.Local, "value") {
				edits = append(edits, edit{inValue, from, escapeText.Replace(pending[1:])})
				pending, inValue = "", -1
			}
			if len(stack) > 0 {
				stack = stack[:len(stack)-1]
			}
		}
	}
	var b strings.Builder
	at := 0
	for _, e := range edits {
		b.WriteString(text[at:e.from])
		b.WriteString(e.text)
		at = e.to
	}
	return b.String() + text[at:], len(edits), nil
}

func inside(stack []string) bool {
	for _, name := range stack {
		if sections[name] {
			return true
		}
	}
	return false
}

func named(t xml.StartElement, find lookup) (string, bool) {
	for _, a := range t.Attr {
		if a.Name.Local == "key" || a.Name.Local == "name" {
			if v, ok := find(a.Value); ok {
				return v, true
			}
		}
	}
	return "", false
}

var (
	valueAttribute = regexp.MustCompile(`\s(?:value|connectionString|defaultValue)\s*=\s*("[^"]*"|'[^']*')`)
	escapeText     = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	escapeQuoted   = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "\n", "&#xA;", "\r", "&#xD;", "\t", "&#x9;")
)

// attributeEdit replaces the attribute that holds the value of an entry.
func attributeEdit(text string, from, to int, value string) (edit, bool) {
	m := valueAttribute.FindStringSubmatchIndex(text[from:to])
	if m == nil {
		return edit{}, false
	}
	return edit{from + m[2], from + m[3], `"` + escapeQuoted.Replace(value) + `"`}, true
}
