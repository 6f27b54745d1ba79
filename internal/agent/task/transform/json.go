package transform

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
)

// lookup returns the value that replaces what has a name; names that belong to
// the service never do.
type lookup func(name string) (string, bool)

var servicePrefixes = []string{"agent.", "build.", "common.", "release.", "system.", "tf_", "azure_http_user_agent", "environment.", "strategy."}

func userVariables(find lookup) lookup {
	return func(name string) (string, bool) {
		lower := strings.ToLower(name)
		for _, p := range servicePrefixes {
			if strings.HasPrefix(lower, p) {
				return "", false
			}
		}
		return find(name)
	}
}

// member keeps the order of an object.
type member struct {
	key   string
	value any
}

// substituteJSON replaces the values whose dotted paths are names of variables.
// Keys are never made; a value keeps its type where the new one allows it.
func substituteJSON(text string, find lookup) (string, int, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	v, err := readValue(d)
	if err == nil {
		if _, extra := d.Token(); extra != io.EOF {
			err = fault.New(fault.Invalid, "json-unreadable", "something follows the JSON value")
		}
	}
	if err != nil {
		return "", 0, fault.Wrap(err, fault.Invalid, "json-unreadable", "the file is not JSON")
	}
	count := 0
	v = substitute(v, "", find, &count)
	if count == 0 {
		return text, 0, nil
	}
	var b bytes.Buffer
	if err := writeValue(&b, v, ""); err != nil {
		return "", 0, err
	}
	return b.String(), count, nil
}

func readValue(d *json.Decoder) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		object := []member{}
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			value, err := readValue(d)
			if err != nil {
				return nil, err
			}
			object = append(object, member{key.(string), value})
		}
		_, err := d.Token()
		return object, err
	case json.Delim('['):
		list := []any{}
		for d.More() {
			value, err := readValue(d)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		_, err := d.Token()
		return list, err
	}
	return token, nil
}

func substitute(v any, name string, find lookup, count *int) any {
	if name != "" {
		if text, ok := find(name); ok {
			*count++
			return typed(v, text)
		}
		name += "."
	}
	switch v := v.(type) {
	case []member:
		for i := range v {
			v[i].value = substitute(v[i].value, name+v[i].key, find, count)
		}
	case []any:
		for i := range v {
			v[i] = substitute(v[i], name+strconv.Itoa(i), find, count)
		}
	}
	return v
}

// typed is text as a value like the one it replaces.
func typed(old any, text string) any {
	var v any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	v, err := readValue(d)
	if err != nil || d.More() {
		return text
	}
	same := false
	switch old.(type) {
	case json.Number:
		_, same = v.(json.Number)
	case bool:
		_, same = v.(bool)
	case nil:
		same = true
	case []member, []any:
		switch v.(type) {
		case []member, []any:
			same = true
		}
	}
	if same {
		return v
	}
	return text
}

const indentation = "    "

func writeValue(b *bytes.Buffer, v any, indent string) error {
	deeper := indent + indentation
	switch v := v.(type) {
	case []member:
		return writeList(b, '{', '}', len(v), indent, func(i int) error {
			if err := writeScalar(b, v[i].key); err != nil {
				return err
			}
			b.WriteString(": ")
			return writeValue(b, v[i].value, deeper)
		})
	case []any:
		return writeList(b, '[', ']', len(v), indent, func(i int) error { return writeValue(b, v[i], deeper) })
	}
	return writeScalar(b, v)
}

func writeList(b *bytes.Buffer, open, end byte, n int, indent string, one func(int) error) error {
	b.WriteByte(open)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n" + indent + indentation)
		if err := one(i); err != nil {
			return err
		}
	}
	if n > 0 {
		b.WriteString("\n" + indent)
	}
	b.WriteByte(end)
	return nil
}

func writeScalar(b *bytes.Buffer, v any) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1) // the newline
	return nil
}
