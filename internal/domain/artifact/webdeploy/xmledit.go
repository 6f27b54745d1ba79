package webdeploy

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/antchfx/xmlquery"

	"penstock.dev/penstock/internal/base/fault"
)

// element is where an element stands in the bytes of a file.
type element struct {
	name       string
	start      int // of "<"
	inner      int // after the start tag
	end        int // start of the end tag; inner if the tag closes itself
	selfClosed bool
	parent     bool // has elements inside
}

// replaceXML sets everything an XPath finds to the value. Only the bytes of the
// values change: comments, order, quotes, line ends and encoding mark stay.
func replaceXML(data []byte, c change) ([]byte, error) {
	mark := len(data) - len(bytes.TrimPrefix(data, bom))
	text := data[mark:]
	elements, err := locate(text)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "xml-unreadable", "parameter %q is for a file that is not readable XML", c.parameter)
	}
	nodes, err := find(text, c.entry.Match, elements)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "xpath-invalid", "parameter %q has a path that cannot be used", c.parameter).
			Got("%s", c.entry.Match)
	}
	if len(nodes) == 0 {
		return nil, unmatched(c, "a node at "+c.entry.Match)
	}
	var edits []edit
	seen := map[edit]bool{}
	for _, n := range nodes {
		e, err := n.edit(text, c.value)
		if err != nil {
			return nil, fault.Wrap(err, fault.Invalid, "xml-not-replaceable", "parameter %q finds what cannot be replaced", c.parameter).
				At("%s", c.entry.Match).Want("attributes, and elements with nothing but text")
		}
		if !seen[e] {
			seen[e] = true
			edits = append(edits, e)
		}
	}
	out, err := replaceRanges(text, edits)
	if err != nil {
		return nil, err
	}
	return append(append([]byte(nil), data[:mark]...), out...), nil
}

// locate lists the elements in the order of their start tags.
func locate(text []byte) ([]*element, error) {
	d := newDecoder(text)
	var list, open []*element
	for {
		start := int(d.InputOffset())
		t, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			if len(open) > 0 {
				return nil, errors.New("an element has no end")
			}
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		switch tag := t.(type) {
		case xml.StartElement:
			end := int(d.InputOffset())
			e := &element{name: rawName(tag.Name), start: start, inner: end, selfClosed: text[end-2] == '/'}
			if len(open) > 0 {
				open[len(open)-1].parent = true
			}
			list, open = append(list, e), append(open, e)
		case xml.EndElement:
			if len(open) == 0 || open[len(open)-1].name != rawName(tag.Name) {
				return nil, fmt.Errorf("the end of %s is in the wrong place", rawName(tag.Name))
			}
			open[len(open)-1].end = start
			open = open[:len(open)-1]
		}
	}
}

func rawName(n xml.Name) string {
	if n.Space == "" {
		return n.Local
	}
	return n.Space + ":" + n.Local
}

// place is one thing an XPath found.
type place struct {
	element   *element
	attribute string // local name; "" for the element's text
}

// find runs the XPath and maps what it finds to places. Both parsers see the
// same start tags in the same order, which is how a node finds its bytes.
func find(text []byte, expr string, elements []*element) (places []place, err error) {
	defer func() {
		if r := recover(); r != nil { // the library panics on some expressions
			err = fmt.Errorf("%v", r)
		}
	}()
	doc, err := xmlquery.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	order := map[*xmlquery.Node]*element{}
	var walk func(*xmlquery.Node)
	walk = func(n *xmlquery.Node) {
		if n.Type == xmlquery.ElementNode && len(order) < len(elements) {
			order[n] = elements[len(order)]
		}
		for child := n.FirstChild; child != nil; child = child.NextSibling {
			walk(child)
		}
	}
	walk(doc)
	nodes, err := xmlquery.QueryAll(doc, expr)
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		owner, p := n, place{}
		switch n.Type {
		case xmlquery.AttributeNode:
			owner, p.attribute = n.Parent, n.Data
		case xmlquery.TextNode, xmlquery.CharDataNode:
			owner = n.Parent
		}
		p.element = order[owner]
		if p.element == nil || !strings.HasSuffix(p.element.name, owner.Data) {
			return nil, errors.New("the path finds neither elements nor attributes")
		}
		places = append(places, p)
	}
	return places, nil
}

// edit makes the change of one place.
func (p place) edit(text []byte, value string) (edit, error) {
	e := p.element
	if p.attribute != "" {
		start, end, quote, err := attributeRange(text[e.start:e.inner], p.attribute)
		if err != nil {
			return edit{}, err
		}
		return edit{e.start + start, e.start + end, escapeValue(value, quote)}, nil
	}
	if e.parent {
		return edit{}, fmt.Errorf("element %s has elements inside", e.name)
	}
	if e.selfClosed {
		return edit{e.inner - 2, e.inner, ">" + escapeValue(value, 0) + "</" + e.name + ">"}, nil
	}
	return edit{e.inner, e.end, escapeValue(value, 0)}, nil
}

// attributeRange finds the value of an attribute between its quotes.
func attributeRange(tag []byte, name string) (start, end int, quote byte, err error) {
	space := func(b byte) bool { return b == ' ' || b == '\t' || b == '\r' || b == '\n' }
	found := false
	at := bytes.IndexFunc(tag, func(r rune) bool { return r < 128 && space(byte(r)) })
	for at >= 0 && at < len(tag) {
		for at < len(tag) && space(tag[at]) {
			at++
		}
		from := at
		for at < len(tag) && tag[at] != '=' && !space(tag[at]) && tag[at] != '>' && tag[at] != '/' {
			at++
		}
		full := string(tag[from:at])
		for at < len(tag) && (space(tag[at]) || tag[at] == '=') {
			at++
		}
		if full == "" || at >= len(tag) || tag[at] != '"' && tag[at] != '\'' {
			break
		}
		q := tag[at]
		length := bytes.IndexByte(tag[at+1:], q)
		if length < 0 {
			break
		}
		if full == name || strings.HasSuffix(full, ":"+name) && !strings.HasPrefix(full, "xmlns:") {
			if found {
				return 0, 0, 0, fmt.Errorf("two attributes are called %s", name)
			}
			found, start, end, quote = true, at+1, at+1+length, q
		}
		at += length + 2
	}
	if !found {
		err = fmt.Errorf("attribute %s is not there", name)
	}
	return start, end, quote, err
}

// escapeValue writes a value as text (quote 0) or inside quotes.
func escapeValue(value string, quote byte) string {
	pairs := []string{"&", "&amp;", "<", "&lt;"}
	switch quote {
	case 0:
		pairs = append(pairs, ">", "&gt;")
	case '"':
		pairs = append(pairs, `"`, "&quot;")
	default:
		pairs = append(pairs, "'", "&apos;")
	}
	if quote != 0 { // a reader would turn these into spaces
		pairs = append(pairs, "\n", "&#10;", "\r", "&#13;", "\t", "&#9;")
	}
	return strings.NewReplacer(pairs...).Replace(value)
}
