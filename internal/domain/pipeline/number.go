package pipeline

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline/internal/expression"
)

// maxNumber is how long a run number may be.
const maxNumber = 255

// NumberTokens is what a run number is made from.
type NumberTokens struct {
	Now    time.Time
	Lookup func(name string) (string, bool)
	Rev    func(prefix string) int // gets the number without its Rev, returns the next revision, from 1
}

// revMark stands for the revision until the rest of the number is known.
const revMark = "\x00"

// revision is one $(Rev:…): text in front of the number, and its digits.
type revision struct {
	lead  string
	width int
}

// FormatRunNumber makes the number of a run; "" is the default format.
func FormatRunNumber(format string, t NumberTokens) (string, error) {
	if strings.TrimSpace(format) == "" {
		format = DefaultNumberFormat
	}
	n := numberWriter{tokens: t}
	text, err := n.write(strings.ReplaceAll(format, revMark, ""))
	if err != nil {
		return "", err
	}
	if len(n.revisions) > 0 {
		number := 1
		if t.Rev != nil {
			number = t.Rev(strings.ReplaceAll(text, revMark, ""))
		}
		for _, r := range n.revisions {
			text = strings.Replace(text, revMark, fmt.Sprintf("%s%0*d", r.lead, r.width, number), 1)
		}
	}
	text = strings.TrimSpace(text)
	switch {
	case strings.ContainsAny(text, illegalInNumber):
		return "", fault.New(fault.Invalid, "run-number", "the run number %s has a character that is not allowed", text).Want(`none of %s`, illegalInNumber)
	case strings.HasSuffix(text, "."):
		return "", fault.New(fault.Invalid, "run-number", "the run number %s ends with a period", text)
	case utf8.RuneCountInString(text) > maxNumber:
		return "", fault.New(fault.Invalid, "run-number", "the run number is too long").Want("at most %d characters", maxNumber).Got("%d", utf8.RuneCountInString(text))
	case text == "":
		return "", fault.New(fault.Invalid, "run-number", "the run number is empty")
	}
	return text, nil
}

const illegalInNumber = `"/\:<>'|?@*`

type numberWriter struct {
	tokens    NumberTokens
	revisions []revision
}

func (n *numberWriter) write(format string) (string, error) {
	var b strings.Builder
	for {
		open := strings.Index(format, "$(")
		if open < 0 {
			break
		}
		end := strings.IndexByte(format[open:], ')')
		if end < 0 {
			break
		}
		b.WriteString(format[:open])
		token := format[open+2 : open+end]
		value, ok, err := n.token(token)
		if err != nil {
			return "", err
		}
		if !ok { // an unknown name stays, as everywhere
			b.WriteString("$")
			format = format[open+1:]
			continue
		}
		b.WriteString(value)
		format = format[open+end+1:]
	}
	b.WriteString(format)
	return b.String(), nil
}

func (n *numberWriter) token(token string) (string, bool, error) {
	now := n.tokens.Now.UTC()
	name, spec, _ := strings.Cut(token, ":")
	switch strings.ToLower(name) {
	case "date":
		if spec == "" {
			spec = "yyyyMMdd"
		}
		text, err := expression.FormatDate(now, spec)
		if err != nil {
			return "", false, fault.New(fault.Invalid, "run-number", "$(%s): %s", token, err)
		}
		return text, true, nil
	case "rev":
		lead := strings.TrimRight(spec, "rR")
		width := len(spec) - len(lead)
		if width == 0 || width > 10 {
			return "", false, fault.New(fault.Invalid, "run-number", "$(%s) is not a revision", token).Want("$(Rev:r), $(Rev:rr), $(Rev:.r), …")
		}
		n.revisions = append(n.revisions, revision{lead, width})
		return revMark, true, nil
	case "year":
		if len(spec) == 2 {
			return now.Format("06"), true, nil
		}
		return now.Format("2006"), true, nil
	}
	if value, ok := clock(strings.ToLower(token), now); ok {
		return value, true, nil
	}
	return n.variable(token)
}

// clock gives the tokens that are parts of the time.
func clock(name string, now time.Time) (string, bool) {
	switch name {
	case "dayofmonth":
		return strconv.Itoa(now.Day()), true
	case "dayofyear":
		return strconv.Itoa(now.YearDay()), true
	case "hours":
		return strconv.Itoa(now.Hour()), true
	case "minutes":
		return strconv.Itoa(now.Minute()), true
	case "seconds":
		return strconv.Itoa(now.Second()), true
	case "month":
		return strconv.Itoa(int(now.Month())), true
	default:
		return "", false
	}
}

// shortNames are tokens that stand for predefined variables.
var shortNames = map[string]string{
	"sourcebranchname": "Build.SourceBranchName", "teamproject": "System.TeamProject",
	"builddefinitionname": "Build.DefinitionName", "definitionname": "Build.DefinitionName", "buildid": "Build.BuildId",
}

func (n *numberWriter) variable(name string) (string, bool, error) {
	if n.tokens.Lookup == nil {
		return "", false, nil
	}
	value, ok := n.tokens.Lookup(name)
	if long := shortNames[strings.ToLower(name)]; !ok && long != "" {
		value, ok = n.tokens.Lookup(long)
	}
	if !ok {
		return "", false, nil
	}
	value = ExpandMacros(value, n.tokens.Lookup)
	return strings.Map(func(r rune) rune {
		if r < ' ' || strings.ContainsRune(illegalInNumber, r) {
			return '_'
		}
		return r
	}, value), true, nil
}
