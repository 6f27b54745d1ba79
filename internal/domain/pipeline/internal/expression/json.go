package expression

import (
	"encoding/json"
	"strings"
	"time"
)

// JSON prints a value as indented JSON. Text stays text.
func JSON(v Value) string {
	var b strings.Builder
	writeJSON(&b, v, "\n", 0)
	return b.String()
}

func writeJSON(b *strings.Builder, v Value, newline string, depth int) {
	if depth > 200 || b.Len() > maxResult {
		b.WriteString("null")
		return
	}
	inner := newline + "  "
	switch v := v.(type) {
	case nil:
		b.WriteString("null")
	case bool:
		if v {
			b.WriteString("true")
		} else {
			b.WriteString("false")
		}
	case Number:
		b.WriteString(v.String())
	case time.Time:
		quoteJSON(b, v.Format(time.RFC3339Nano))
	case Array:
		items := v.Items()
		b.WriteString("[")
		for i, item := range items {
			if i > 0 {
				b.WriteString(",")
			}
			b.WriteString(inner)
			writeJSON(b, item, inner, depth+1)
		}
		if len(items) > 0 {
			b.WriteString(newline)
		}
		b.WriteString("]")
	case Object:
		pairs := v.Pairs()
		b.WriteString("{")
		for i, p := range pairs {
			if i > 0 {
				b.WriteString(",")
			}
			b.WriteString(inner)
			quoteJSON(b, p.Key)
			b.WriteString(": ")
			writeJSON(b, p.Value, inner, depth+1)
		}
		if len(pairs) > 0 {
			b.WriteString(newline)
		}
		b.WriteString("}")
	default:
		s, _ := ToString(v)
		quoteJSON(b, s)
	}
}

func quoteJSON(b *strings.Builder, s string) {
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(s) != nil { // text always encodes
		return
	}
	b.WriteString(strings.TrimSuffix(out.String(), "\n"))
}
