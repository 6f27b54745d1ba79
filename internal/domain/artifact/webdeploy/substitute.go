package webdeploy

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"penstock.dev/penstock/internal/base/fault"
)

// change is one entry of a parameter, bound to a file and a value.
type change struct {
	parameter string
	entry     Entry
	value     string
}

// edit replaces a range of bytes.
type edit struct {
	start, end int
	text       string
}

// bind finds the files and providers that parameters change. An entry for files
// that matches none is an error, since a value that silently goes nowhere, a
// connection string for example, shows only in production.
func (p *Package) bind(values map[string]string, report *Report) (map[string][]change, error) {
	changes := map[string][]change{}
	for _, param := range p.parameters {
		for _, e := range param.Entries {
			c := change{parameter: param.Name, entry: e, value: values[param.Name]}
			switch strings.ToLower(e.Kind) {
			case "providerpath":
				p.bindProvider(c, report)
			case "xmlfile", "textfile", "textfileposition":
				if err := p.bindFiles(c, changes); err != nil {
					return nil, err
				}
			default:
				return nil, fault.New(fault.Invalid, "parameter-kind-unsupported", "parameter %q changes what this machine does not have", param.Name).
					Want("ProviderPath, XmlFile, TextFile, TextFilePosition").Got("%s", e.Kind)
			}
		}
	}
	return changes, nil
}

// bindProvider notes the destination a ProviderPath gives to the application.
// The folder to write to is the caller's choice, so nothing moves.
func (p *Package) bindProvider(c change, report *Report) {
	found := false
	p.manifest.each(func(provider Provider) {
		if !matches(c.entry.Scope, provider.Name) || !matches(c.entry.Match, provider.Path) {
			return
		}
		found = true
		if strings.EqualFold(provider.Name, "iisApp") || strings.EqualFold(provider.Name, "contentPath") {
			report.Application = c.value
		}
	})
	if !found {
		report.Warnings = append(report.Warnings, "parameter "+c.parameter+": no provider "+c.entry.Scope+" has the path it names")
	}
}

func (p *Package) bindFiles(c change, changes map[string][]change) error {
	found := false
	for _, f := range p.files {
		if matches(c.entry.Scope, p.sourcePath(f.Path)) {
			changes[f.Path] = append(changes[f.Path], c)
			found = true
		}
	}
	if !found {
		if _, err := compile(c.entry.Scope); err != nil {
			return err
		}
		return unmatched(c, "a file of the package whose path matches "+c.entry.Scope)
	}
	return nil
}

// sourcePath is a file's path on the machine that made the package; scopes are
// written against it.
func (p *Package) sourcePath(rel string) string {
	return strings.TrimRight(p.manifest.Source, `\/`) + `\` + strings.ReplaceAll(rel, "/", `\`)
}

// matches tries a pattern as an expression without regard to capitals, then as
// the plain text that some build tools write instead.
func matches(pattern, text string) bool {
	if pattern == "" || strings.EqualFold(pattern, text) {
		return true
	}
	re, err := compile("(?i)" + pattern)
	return err == nil && re.MatchString(text)
}

// compile translates a .NET expression as far as Go has the same constructs.
func compile(pattern string) (*regexp.Regexp, error) {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		if pattern[i] == '\\' && i+1 < len(pattern) {
			i++
			switch pattern[i] {
			case ' ':
				b.WriteString("[ ]")
			case 'Z':
				b.WriteString(`\z`)
			default:
				b.WriteByte('\\')
				b.WriteByte(pattern[i])
			}
			continue
		}
		b.WriteByte(pattern[i])
	}
	re, err := regexp.Compile(b.String())
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "regex-unsupported", "an expression of parameters.xml cannot be used").
			Want("an expression without look-around, back references and balancing groups").Got("%s", pattern)
	}
	return re, nil
}

// substitute applies a file's changes: positions first, on the file as it was
// packed, the others in the order of their declaration.
func substitute(data []byte, changes []change) ([]byte, error) {
	var edits []edit
	for _, c := range changes {
		if strings.EqualFold(c.entry.Kind, "TextFilePosition") {
			e, err := position(data, c)
			if err != nil {
				return nil, err
			}
			edits = append(edits, e)
		}
	}
	data, err := replaceRanges(data, edits)
	if err != nil {
		return nil, err
	}
	for _, c := range changes {
		switch strings.ToLower(c.entry.Kind) {
		case "textfile":
			data, err = replaceText(data, c)
		case "xmlfile":
			data, err = replaceXML(data, c)
		}
		if err != nil {
			return nil, err
		}
	}
	return data, nil
}

// replaceText replaces every match; the value is literal.
func replaceText(data []byte, c change) ([]byte, error) {
	re, err := compile(c.entry.Match)
	if err != nil {
		return nil, err
	}
	if !re.Match(data) {
		return nil, unmatched(c, "text that matches "+c.entry.Match)
	}
	return re.ReplaceAllLiteral(data, []byte(c.value)), nil
}

// position turns "line;column;length", counted from 1 and in characters, into a
// range of bytes. The range may run over the end of the line.
func position(data []byte, c change) (edit, error) {
	parts := strings.Split(c.entry.Match, ";")
	numbers := make([]int, len(parts))
	for i, part := range parts {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < 0 {
			parts = nil
			break
		}
		numbers[i] = n
	}
	if len(parts) != 3 || numbers[0] < 1 || numbers[1] < 1 {
		return edit{}, unmatched(c, "line;column;length, counted from 1")
	}
	at := 0
	for line := 1; line < numbers[0]; line++ {
		end := slices.Index(data[at:], '\n')
		if end < 0 {
			return edit{}, unmatched(c, "a position inside the file")
		}
		at += end + 1
	}
	start, ok := advance(data, at, numbers[1]-1)
	if !ok {
		return edit{}, unmatched(c, "a position inside the file")
	}
	end, ok := advance(data, start, numbers[2])
	if !ok {
		return edit{}, unmatched(c, "a position inside the file")
	}
	return edit{start, end, c.value}, nil
}

// advance steps over characters.
func advance(data []byte, at, characters int) (int, bool) {
	for range characters {
		if at >= len(data) {
			return 0, false
		}
		_, n := utf8.DecodeRune(data[at:])
		at += n
	}
	return at, true
}

// replaceRanges applies edits that must not overlap.
func replaceRanges(data []byte, edits []edit) ([]byte, error) {
	if len(edits) == 0 {
		return data, nil
	}
	slices.SortStableFunc(edits, func(a, b edit) int { return cmp.Compare(a.start, b.start) })
	var out []byte
	at := 0
	for _, e := range edits {
		if e.start < at {
			return nil, fault.New(fault.Invalid, "parameters-overlap", "two parameters replace the same place of a file")
		}
		out = append(out, data[at:e.start]...)
		out = append(out, e.text...)
		at = e.end
	}
	return append(out, data[at:]...), nil
}

func unmatched(c change, expected string) error {
	return fault.New(fault.Invalid, "parameter-matches-nothing", "parameter %q finds nothing to replace", c.parameter).
		At("%s scope %s match %s", c.entry.Kind, c.entry.Scope, c.entry.Match).Want("%s", expected).
		Try("correct the entry in parameters.xml and make the package again")
}
