package expression

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// format fills {0}, {1:yyyyMMdd} and so on; {{ and }} are single braces.
func format(c *call) (Value, error) {
	pattern, err := c.text(0)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch {
		case strings.HasPrefix(pattern[i:], "{{"), strings.HasPrefix(pattern[i:], "}}"):
			b.WriteByte(pattern[i])
			i++
		case pattern[i] == '{':
			end := strings.IndexByte(pattern[i:], '}')
			if end < 0 {
				return nil, c.fail("the format `%s` has a { without its }", pattern)
			}
			text, err := formatItem(c, pattern[i+1:i+end])
			if err != nil {
				return nil, err
			}
			b.WriteString(text)
			i += end
		case pattern[i] == '}':
			return nil, c.fail("the format `%s` has a } without its {", pattern)
		default:
			b.WriteByte(pattern[i])
		}
		if b.Len() > maxResult {
			return nil, tooLarge()
		}
	}
	return b.String(), nil
}

func formatItem(c *call, item string) (string, error) {
	number, spec, hasSpec := strings.Cut(item, ":")
	index, err := strconv.ParseUint(strings.TrimSpace(number), 10, 8)
	if err != nil {
		return "", c.fail("`{%s}` is not an argument of format", item)
	}
	if int(index)+1 >= c.count() {
		return "", c.fail("the format names {%d}, but has %s", index, countText(c.count()-1, c.count()-1))
	}
	v, err := c.arg(int(index) + 1)
	if err != nil {
		return "", err
	}
	if hasSpec && spec != "" {
		t, ok := v.(time.Time)
		if !ok {
			return "", c.fail("`{%s}`: only a date takes a format", item)
		}
		text, err := FormatDate(t, spec, true)
		if err != nil {
			return "", c.fail("`{%s}`: %s", item, err)
		}
		return text, nil
	}
	return c.text(int(index) + 1)
}

// dateParts are the specifiers by their letter run, longest first per letter.
var dateParts = map[string]func(t time.Time) string{
	"yyyy": func(t time.Time) string { return fmt.Sprintf("%04d", t.Year()) },
	"yyy":  func(t time.Time) string { return fmt.Sprintf("%03d", t.Year()) },
	"yy":   func(t time.Time) string { return fmt.Sprintf("%02d", t.Year()%100) },
	"y":    func(t time.Time) string { return strconv.Itoa(t.Year() % 100) },
	"MMMM": func(t time.Time) string { return t.Month().String() },
	"MMM":  func(t time.Time) string { return t.Format("Jan") },
	"MM":   func(t time.Time) string { return t.Format("01") },
	"M":    func(t time.Time) string { return t.Format("1") },
	"dddd": func(t time.Time) string { return t.Weekday().String() },
	"ddd":  func(t time.Time) string { return t.Format("Mon") },
	"dd":   func(t time.Time) string { return t.Format("02") },
	"d":    func(t time.Time) string { return t.Format("2") },
	"HH":   func(t time.Time) string { return t.Format("15") },
	"H":    func(t time.Time) string { return strconv.Itoa(t.Hour()) },
	"hh":   func(t time.Time) string { return t.Format("03") },
	"h":    func(t time.Time) string { return t.Format("3") },
	"mm":   func(t time.Time) string { return t.Format("04") },
	"m":    func(t time.Time) string { return t.Format("4") },
	"ss":   func(t time.Time) string { return t.Format("05") },
	"s":    func(t time.Time) string { return t.Format("5") },
	"tt":   func(t time.Time) string { return t.Format("PM") },
	"t":    func(t time.Time) string { return t.Format("PM")[:1] },
	"zzz":  func(t time.Time) string { return t.Format("-07:00") },
	"zz":   func(t time.Time) string { return t.Format("-07") },
	"z": func(t time.Time) string {
		return strings.Replace(strings.Replace(t.Format("-07"), "+0", "+", 1), "-0", "-", 1)
	},
	"K": func(t time.Time) string { return t.Format("Z07:00") },
}

// FormatDate prints a date by the service's custom specifiers. strict refuses
// literal characters other than a space, unless a backslash stands before them.
func FormatDate(t time.Time, spec string, strict bool) (string, error) {
	var b strings.Builder
	for i := 0; i < len(spec); {
		c := spec[i]
		run := 1
		for i+run < len(spec) && spec[i+run] == c {
			run++
		}
		switch {
		case c == '\\':
			if i+1 >= len(spec) {
				return "", fmt.Errorf("the date format ends with a backslash")
			}
			b.WriteByte(spec[i+1])
			i += 2
			continue
		case !strict && (c == '\'' || c == '"'):
			end := strings.IndexByte(spec[i+1:], c)
			if end < 0 {
				return "", fmt.Errorf("the date format has an open quote")
			}
			b.WriteString(spec[i+1 : i+1+end])
			i += end + 2
			continue
		case c == 'f' && run <= 7:
			b.WriteString(fmt.Sprintf("%07d", t.Nanosecond()/100)[:run])
		case dateParts[spec[i:i+run]] != nil:
			b.WriteString(dateParts[spec[i:i+run]](t))
		case c == ' ' || !strict && !isNameStart(c):
			b.WriteString(spec[i : i+run])
		case !strict && dateParts[string(c)] == nil && c != 'f':
			b.WriteString(spec[i : i+run])
		case c == 'y' || c == 'd' || c == 'M' || c == 'H' || c == 'h' || c == 'm' || c == 's':
			return "", fmt.Errorf("the date format has no specifier %s", spec[i:i+run])
		default:
			return "", fmt.Errorf("`%c` in a date format needs a backslash before it", c)
		}
		i += run
	}
	return b.String(), nil
}
