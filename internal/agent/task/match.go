package task

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"sort"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
)

// Patterns of file tasks, as the service's tasks read them: one per line; a
// line that begins with ! takes away again, so their order counts; * and ?
// stay within a folder, ** does not; [ab] and @(a|b) choose; braces are text;
// files whose names begin with a point are files.

// pattern is one line.
type pattern struct {
	exclude bool
	text    string // slash separated
	re      *regexp.Regexp
}

type patterns []pattern

// MatchOptions change how patterns are read.
type MatchOptions struct {
	Base  bool // a pattern without a slash counts in every folder
	NoDot bool // wildcards do not match names that begin with a point
	Stay  bool // links are not followed
}

func parsePatterns(text string) (patterns, error) {
	return MatchOptions{}.parse(strings.Split(text, "\n"), "")
}

// parse reads patterns; with a root they are made absolute.
func (o MatchOptions) parse(lines []string, root string) (patterns, error) {
	var list patterns
	for _, line := range lines {
		p := strings.TrimSpace(line)
		if p == "" || strings.HasPrefix(p, "#") {
			continue
		}
		exclude := false
		for strings.HasPrefix(p, "!") && !strings.HasPrefix(p, "!(") {
			p, exclude = strings.TrimSpace(p[1:]), !exclude
		}
		p = strings.ReplaceAll(p, `\`, "/")
		for strings.HasPrefix(p, "./") {
			p = p[2:]
		}
		switch {
		case p == "":
			continue
		case o.Base && !strings.Contains(p, "/"):
			p = "**/" + p
		}
		if root != "" && !filepath.IsAbs(filepath.FromSlash(p)) {
			p = literal(filepath.ToSlash(root)) + "/" + p
		}
		re, err := translate(cleanPattern(p), o.NoDot)
		if err != nil {
			return nil, err
		}
		list = append(list, pattern{exclude, cleanPattern(p), re})
	}
	return list, nil
}

// literal keeps a path from being read as a pattern.
func literal(p string) string {
	return strings.NewReplacer("[", "[[]", "*", "[*]", "?", "[?]", "(", "[(]").Replace(p)
}

// cleanPattern resolves .. where it does not follow a wildcard.
func cleanPattern(p string) string {
	var out []string
	for i, part := range strings.Split(p, "/") {
		switch {
		case part == "." || part == "" && i > 0:
		case part == ".." && len(out) > 0 && out[len(out)-1] != ".." && !strings.ContainsAny(out[len(out)-1], "*?"):
			out = out[:len(out)-1]
		default:
			out = append(out, part)
		}
	}
	return strings.Join(out, "/")
}

// match says whether the patterns select a path, the last word counting.
func (list patterns) match(p string) bool {
	selected := false
	for _, x := range list {
		if x.re.MatchString(p) {
			selected = !x.exclude
		}
	}
	return selected
}

// base is the folder below which all that a pattern selects lies.
func (p pattern) base() string {
	var parts []string
	for part := range strings.SplitSeq(p.text, "/") {
		plain := strings.NewReplacer("[[]", "[", "[*]", "*", "[?]", "?", "[(]", "(").Replace(part)
		if strings.ContainsAny(part, "*?") && part != literal(plain) || strings.ContainsAny(plain, "[") && part != literal(plain) || strings.Contains(part, "@(") || strings.Contains(part, "+(") {
			break
		}
		parts = append(parts, plain)
	}
	return strings.Join(parts, "/")
}

// translate turns a pattern into an expression that is matched in linear time.
func translate(p string, noDot bool) (*regexp.Regexp, error) {
	var b strings.Builder
	b.WriteString("^(?s:")
	if runtime.GOOS == "windows" {
		b.WriteString("(?i)")
	}
	any := "[^/]"
	parts := strings.Split(p, "/")
	for i, part := range parts {
		last := i == len(parts)-1
		if part == "**" {
			segment := "(?:[^/]+/)*"
			if noDot {
				segment = "(?:[^/.][^/]*/)*"
			}
			switch {
			case last && noDot:
				b.WriteString(segment + "[^/.][^/]*")
			case last:
				b.WriteString(".+")
			default:
				b.WriteString(segment)
			}
			continue
		}
		if noDot && (strings.HasPrefix(part, "*") || strings.HasPrefix(part, "?")) {
			// The first character is not a point.
			if part[0] == '?' {
				b.WriteString("[^/.]")
			} else {
				b.WriteString("(?:[^/.][^/]*)?")
			}
			part = part[1:]
		}
		text, err := translatePart(part, any)
		if err != nil {
			return nil, err
		}
		b.WriteString(text)
		if !last {
			b.WriteString("/")
		}
	}
	b.WriteString(")$")
	re, err := regexp.Compile(b.String())
	if err != nil {
		return nil, fault.New(fault.Invalid, "invalid-pattern", "pattern %q cannot be read", p)
	}
	return re, nil
}

var repeats = map[byte]string{'@': "", '?': "?", '*': "*", '+': "+"}

func translatePart(part, any string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(part); i++ {
		c := part[i]
		if i+1 < len(part) && part[i+1] == '(' && strings.IndexByte("@?*+!", c) >= 0 {
			if end := strings.IndexByte(part[i:], ')'); end > 0 {
				if c == '!' {
					return "", fault.New(fault.Invalid, "invalid-pattern", "pattern %q: !( ) is not supported", part).Try("write the exclusion as a line of its own that begins with !")
				}
				var choices []string
				for choice := range strings.SplitSeq(part[i+2:i+end], "|") {
					text, err := translatePart(choice, any)
					if err != nil {
						return "", err
					}
					choices = append(choices, text)
				}
				b.WriteString("(?:" + strings.Join(choices, "|") + ")" + repeats[c])
				i += end
				continue
			}
		}
		switch c {
		case '*':
			b.WriteString(any + "*")
		case '?':
			b.WriteString(any)
		case '[':
			end := strings.IndexByte(part[i+1:], ']')
			if end < 1 {
				b.WriteString(`\[`)
				continue
			}
			class := part[i+1 : i+1+end]
			negated := ""
			if class[0] == '!' || class[0] == '^' {
				class, negated = class[1:], "^"
			}
			b.WriteString("[" + negated + strings.NewReplacer(`[`, `\[`, `^`, `\^`, `&`, `\&`).Replace(class) + "]")
			i += 1 + end
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	return b.String(), nil
}

// walk lists everything below a folder, as paths with slashes, and follows
// links except where they lead back to where the walk came from.
func walk(root string, stay bool, fn func(p string, info fs.FileInfo)) {
	var visit func(dir string, above []string)
	visit = func(dir string, above []string) {
		real, err := filepath.EvalSymlinks(dir)
		if err != nil {
			return
		}
		for _, a := range above {
			if a == real {
				return
			}
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			return
		}
		for _, e := range entries {
			p := filepath.Join(dir, e.Name())
			info, err := os.Stat(p)
			if err != nil || stay {
				if info, err = os.Lstat(p); err != nil {
					continue // gone meanwhile
				}
			}
			fn(filepath.ToSlash(p), info)
			if info.IsDir() {
				visit(p, append(above[:len(above):len(above)], real))
			}
		}
	}
	visit(root, nil)
}

// Find lists the files and folders that patterns select, as absolute paths in
// order. A pattern that is not absolute counts from root.
func (o MatchOptions) Find(root string, lines ...string) ([]string, error) {
	list, err := o.parse(lines, root)
	if err != nil {
		return nil, err
	}
	selected := map[string]bool{}
	for _, p := range list {
		if p.exclude {
			for f := range selected {
				if p.re.MatchString(f) {
					delete(selected, f)
				}
			}
			continue
		}
		base := p.base()
		if info, err := os.Stat(filepath.FromSlash(base)); err == nil && (p.re.MatchString(base) || !info.IsDir()) {
			if p.re.MatchString(base) {
				selected[base] = true
			}
			continue
		}
		walk(filepath.FromSlash(base), o.Stay, func(f string, _ fs.FileInfo) {
			if p.re.MatchString(f) {
				selected[f] = true
			}
		})
	}
	found := make([]string, 0, len(selected))
	for f := range selected {
		found = append(found, filepath.FromSlash(f))
	}
	sort.Strings(found)
	return found, nil
}

// FindFiles is Find of files alone.
func FindFiles(root string, lines ...string) ([]string, error) {
	found, err := MatchOptions{}.Find(root, lines...)
	var files []string
	for _, f := range found {
		if info, err := os.Stat(f); err == nil && !info.IsDir() {
			files = append(files, f)
		}
	}
	return files, err
}

// Match lists what patterns select below a folder, relative to it.
func Match(root, text string) ([]string, error) {
	found, err := MatchOptions{}.Find(root, strings.Split(text, "\n")...)
	var list []string
	for _, f := range found {
		if rel, err := filepath.Rel(root, f); err == nil && rel != "." && filepath.IsLocal(rel) {
			list = append(list, rel)
		}
	}
	return list, err
}
