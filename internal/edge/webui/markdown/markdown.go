// Package markdown turns Markdown that a pipeline wrote into HTML that is safe to
// stand in a page: nothing runs, nothing is loaded from anywhere, and nothing can
// pass for a part of the page.
package markdown

import (
	"bytes"
	"html"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/microcosm-cc/bluemonday"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/renderer"
	ghtml "github.com/yuin/goldmark/renderer/html"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"

	"penstock.dev/penstock/internal/base/pattern"
)

// Bounds of what is laid out; what lies beyond is shown as it was written.
const (
	MaxText     = 256 << 10 // bytes
	maxOpen     = 64        // quotes and lists that one line opens
	maxDeep     = 100       // elements in each other
	maxCells    = 100       // of a row
	maxBrackets = 1000      // of a block
	maxTable    = 5000      // brackets of a table
	maxHTML     = 4 << 20   // bytes of the result
	topHead     = 2         // so many levels of headings belong to the page
	maxHead     = 6
)

var convert = sync.OnceValue(func() goldmark.Markdown {
	return goldmark.New(
		goldmark.WithExtensions(extension.Linkify, extension.Strikethrough, extension.TaskList,
			extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignAttribute))),
		goldmark.WithParserOptions(parser.WithASTTransformers(util.Prioritized(tame{}, 100))),
		goldmark.WithRendererOptions(ghtml.WithUnsafe(), // what is raw passes the policy below, as all else
			renderer.WithNodeRenderers(util.Prioritized(images{}, 1))),
	)
})

// tame moves headings below those of the page.
type tame struct{}

// Transform implements parser.ASTTransformer.
func (tame) Transform(doc *ast.Document, _ text.Reader, _ parser.Context) {
	for n := ast.Node(doc); n != nil; n = following(doc, n) {
		if h, ok := n.(*ast.Heading); ok {
			h.Level = min(h.Level+topHead, maxHead)
		}
	}
}

// following is the node after n in the order of the text; it goes by pointers,
// because a walk that calls itself is as deep as its input.
func following(top, n ast.Node) ast.Node {
	if c := n.FirstChild(); c != nil {
		return c
	}
	for n != nil && n != top {
		if s := n.NextSibling(); s != nil {
			return s
		}
		n = n.Parent()
	}
	return nil
}

func tooDeep(doc ast.Node) bool {
	depth := map[ast.Node]int{doc: 0}
	for n := following(doc, doc); n != nil; n = following(doc, n) {
		d := depth[n.Parent()] + 1
		if d > maxDeep {
			return true
		}
		if n.FirstChild() != nil {
			depth[n] = d
		}
	}
	return false
}

// images shows the words of an image with a link to it: the page loads nothing.
type images struct{}

// RegisterFuncs implements renderer.NodeRenderer.
func (images) RegisterFuncs(r renderer.NodeRendererFuncRegisterer) {
	r.Register(ast.KindImage, func(w util.BufWriter, _ []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			_, err := w.WriteString("</a>")
			return ast.WalkContinue, err
		}
		dest := string(util.URLEscape(n.(*ast.Image).Destination, true))
		_, err := w.WriteString(`<a href="` + html.EscapeString(dest) + `">`)
		if err == nil && !n.HasChildren() {
			_, err = w.WriteString("image")
		}
		return ast.WalkContinue, err
	})
}

// policy lists what may stand in a page. There are no ids, names and styles: they
// could take the place of the page's own.
var policy = sync.OnceValue(func() *bluemonday.Policy {
	p := bluemonday.NewPolicy()
	p.AllowElements("p", "br", "hr", "h3", "h4", "h5", "h6", "blockquote", "pre", "code", "em", "strong", "b", "i", "u", "s", "del", "ins", "sub", "sup", "kbd", "samp",
		"ul", "ol", "li", "dl", "dt", "dd", "table", "thead", "tbody", "tfoot", "tr", "th", "td", "caption", "details", "summary", "span", "div")
	p.AllowAttrs("align").Matching(regexp.MustCompile(`^(left|right|center)$`)).OnElements("th", "td")
	p.AllowAttrs("colspan", "rowspan").Matching(regexp.MustCompile(`^[1-9][0-9]?$`)).OnElements("th", "td")
	p.AllowAttrs("start").Matching(regexp.MustCompile(`^[0-9]{1,6}$`)).OnElements("ol")
	p.AllowAttrs("open").Matching(regexp.MustCompile(`^(open)?$`)).OnElements("details")
	p.AllowAttrs("type").Matching(regexp.MustCompile(`^checkbox$`)).OnElements("input")
	p.AllowAttrs("checked", "disabled").Matching(regexp.MustCompile(`^$`)).OnElements("input")
	p.AllowAttrs("href").OnElements("a")
	elsewhere := func(u *url.URL) bool { return u.Host != "" } // http:x is a place on this server to browsers
	p.AllowURLSchemeWithCustomPolicy("https", elsewhere)
	p.AllowURLSchemeWithCustomPolicy("http", elsewhere)
	p.AllowURLSchemes("mailto")
	p.AllowRelativeURLs(false)
	p.RequireParseableURLs(true)
	p.RequireNoFollowOnLinks(true)
	p.RequireNoReferrerOnLinks(true)
	return p
})

// HTML is the safe HTML of a text. What is too long or too deep for that comes
// as it was written.
func HTML(source string) string {
	if len(source) > MaxText || costly(source) {
		return plain(source)
	}
	src := []byte(source)
	doc := convert().Parser().Parse(text.NewReader(src))
	if tooDeep(doc) {
		return plain(source)
	}
	var out bytes.Buffer
	if err := convert().Renderer().Render(&out, src, doc); err != nil || out.Len() > maxHTML {
		return plain(source)
	}
	return boxes(policy().SanitizeBytes(out.Bytes()))
}

// boxes makes the check boxes of task lists what they look like: signs.
var box = pattern.Lazy(`<input[^>]*>`)

func boxes(out []byte) string {
	return box().ReplaceAllStringFunc(string(out), func(tag string) string {
		if !strings.Contains(tag, "checkbox") {
			return ""
		}
		if strings.Contains(tag, "checked") {
			return "☑"
		}
		return "☐"
	})
}

func plain(source string) string {
	return "<pre>" + html.EscapeString(source[:min(len(source), MaxText)]) + "</pre>"
}

// opener is what begins a quote or a list.
var opener = pattern.Lazy(`>|(?:[-+*]|[0-9]{1,9}[.)])[ \t]`)

// item is what begins a block of its own where a paragraph could go on.
var item = pattern.Lazy(`^ {0,3}(?:[-+*]|1[.)])[ \t]+[^ \t\r\n]`)

// delimiter is the line below the head of a table; each row after it is a block, unless the head does not fit.
var delimiter = pattern.Lazy(`^[ \t>]*\|?[ \t]*:?-+:?[ \t]*(\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*\r?\n?$`)

// costly finds what the parser takes too long for, or too deep: lines that open
// many quotes and lists, each one more call; rows of very many cells, which every
// row of a table is filled up to; and very many brackets in one block, because
// each that stays open is looked at again for each that follows.
func costly(source string) bool {
	brackets, most := 0, maxBrackets
	for line := range strings.Lines(source) {
		head := line
		if at := strings.IndexFunc(line, func(r rune) bool { return !strings.ContainsRune("> \t-+*.)0123456789", r) }); at >= 0 {
			head = line[:at]
		}
		if len(head) > maxOpen && len(opener().FindAllStringIndex(head, maxOpen+1)) > maxOpen || strings.Count(line, "|") > maxCells {
			return true
		}
		switch {
		case strings.TrimSpace(line) == "":
			brackets, most = 0, maxBrackets
		case strings.Contains(line, "|") && delimiter().MatchString(line):
			most = maxTable
		case item().MatchString(line):
			brackets = 0
		}
		if brackets += strings.Count(line, "["); brackets > most {
			return true
		}
	}
	return false
}

// Cache keeps what was laid out, by a key that stands for the text for ever.
type Cache struct {
	mu   sync.Mutex
	html map[string]string
	size int
}

// maxCache bounds what a cache holds, in bytes.
const maxCache = 16 << 20

// HTML lays out a text that read returns, if the key is not known yet.
func (c *Cache) HTML(key string, read func() (string, error)) (string, error) {
	c.mu.Lock()
	known, ok := c.html[key]
	c.mu.Unlock()
	if ok {
		return known, nil
	}
	source, err := read()
	if err != nil {
		return "", err
	}
	out := HTML(source)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.html == nil || c.size+len(out) > maxCache {
		c.html, c.size = map[string]string{}, 0
	}
	if _, twice := c.html[key]; !twice {
		c.html[key], c.size = out, c.size+len(out)
	}
	return out, nil
}
