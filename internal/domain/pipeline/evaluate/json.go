package evaluate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/expression"
)

// readJSON reads JSON with the order of its keys and the exact value of its
// numbers, which the standard library's any would lose.
func readJSON(raw []byte) (expression.Value, error) {
	if !json.Valid(raw) { // what follows relies on it
		var v any
		return nil, json.Unmarshal(raw, &v)
	}
	r := reader{raw: raw}
	return r.value()
}

// maxDepth is how deep a context may be nested.
const maxDepth = 500

type reader struct {
	raw   []byte
	at    int
	depth int
}

func (r *reader) skip() byte {
	for r.at < len(r.raw) && strings.IndexByte(" \t\r\n", r.raw[r.at]) >= 0 {
		r.at++
	}
	return r.raw[r.at]
}

func (r *reader) value() (expression.Value, error) {
	if r.depth++; r.depth > maxDepth {
		return nil, fmt.Errorf("it is nested deeper than %d levels", maxDepth)
	}
	defer func() { r.depth-- }()
	switch c := r.skip(); c {
	case '{':
		return r.object()
	case '[':
		return r.array()
	case '"':
		return r.text(), nil
	case 't':
		r.at += len("true")
		return true, nil
	case 'f':
		r.at += len("false")
		return false, nil
	case 'n':
		r.at += len("null")
		return nil, nil
	default:
		return r.number()
	}
}

// more goes to the next member, or over the end.
func (r *reader) more(end byte) bool {
	r.at++ // the opening or a comma
	if r.skip() == end {
		r.at++
		return false
	}
	return true
}

func (r *reader) object() (expression.Value, error) {
	var pairs []expression.Pair
	for r.more('}') {
		key := r.text()
		r.skip()
		r.at++ // the colon
		v, err := r.value()
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, expression.Pair{Key: key, Value: v})
		if r.skip() == '}' {
			r.at++
			break
		}
	}
	return expression.NewMap(pairs...), nil
}

func (r *reader) array() (expression.Value, error) {
	var items []expression.Value
	for r.more(']') {
		v, err := r.value()
		if err != nil {
			return nil, err
		}
		items = append(items, v)
		if r.skip() == ']' {
			r.at++
			break
		}
	}
	return expression.NewList(items...), nil
}

func (r *reader) text() string {
	start := r.at
	for r.at++; r.raw[r.at] != '"'; r.at++ {
		if r.raw[r.at] == '\\' {
			r.at++
		}
	}
	r.at++
	quoted := r.raw[start:r.at]
	if bytes.IndexByte(quoted, '\\') < 0 {
		return strings.ToValidUTF8(string(quoted[1:len(quoted)-1]), "\ufffd")
	}
	var s string
	if json.Unmarshal(quoted, &s) != nil { // it is valid
		return ""
	}
	return s
}

// maxExponent is how large an exponent is looked at at all.
const maxExponent = 100

func (r *reader) number() (expression.Value, error) {
	start := r.at
	for r.at < len(r.raw) && strings.IndexByte("+-.eE0123456789", r.raw[r.at]) >= 0 {
		r.at++
	}
	text := string(r.raw[start:r.at])
	mantissa, exponent, scientific := strings.Cut(strings.ToLower(text), "e")
	if scientific {
		var power int
		if _, err := fmt.Sscan(exponent, &power); err != nil || power > maxExponent || power < -maxExponent || len(mantissa) > maxExponent {
			return nil, fmt.Errorf("the number %s is out of range", text)
		}
		exact, _ := new(big.Rat).SetString(text)
		text = exact.FloatString(2 * maxExponent)
	}
	n, ok := expression.ParseNumber(text)
	if !ok {
		return nil, fmt.Errorf("the number %s is out of range", text)
	}
	return n, nil
}
