package expression

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// dateText is how a date is written in text.
const dateText = "2006-01-02 15:04:05-07:00"

// dateReader reads the parts of a date one after the other.
type dateReader struct {
	s  string
	at int
	ok bool
}

// digits reads as many digits as there are, which must be from low to high.
func (d *dateReader) digits(low, high int) string {
	start := d.at
	for d.at < len(d.s) && isDigit(d.s[d.at]) {
		d.at++
	}
	if n := d.at - start; n < low || n > high {
		d.ok = false
		return ""
	}
	return d.s[start:d.at]
}

func (d *dateReader) number(low, high int) int {
	n, _ := strconv.Atoi(d.digits(low, high))
	return n
}

func (d *dateReader) peek() byte {
	if d.at < len(d.s) {
		return d.s[d.at]
	}
	return 0
}

func (d *dateReader) separator(allowed string) byte {
	c := d.peek()
	d.at++
	if c == 0 || strings.IndexByte(allowed, c) < 0 {
		d.ok = false
	}
	return c
}

// parseTime reads year, month, day, hour, minute and second, with a fraction
// and a zone if they are there. Without a zone it is UTC.
func parseTime(s string) (time.Time, bool) {
	d := &dateReader{s: strings.TrimSpace(s), ok: true}
	year := d.number(4, 4)
	between := d.separator("-/")
	month := d.number(1, 2)
	d.separator(string(between))
	day := d.number(1, 2)
	d.separator(" T")
	hour := d.number(1, 2)
	d.separator(":")
	minute := d.number(1, 2)
	d.separator(":")
	second := d.number(1, 2)
	nanos := 0
	if d.ok && d.peek() == '.' {
		d.at++
		text := d.digits(1, 7)
		nanos, _ = strconv.Atoi((text + "000000000")[:9])
	}
	zone := time.UTC
	if d.ok && d.at < len(d.s) {
		zone = d.zone()
	}
	if !d.ok || d.at != len(d.s) {
		return time.Time{}, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, nanos, zone)
	// A date that does not exist would have been moved to one that does.
	same := t.Year() == year && int(t.Month()) == month && t.Day() == day && t.Hour() == hour && t.Minute() == minute && t.Second() == second
	utc := t.UTC().Year()
	return t, same && year > 0 && utc > 0 && utc <= 9999
}

// farthestZone is how many minutes a zone is away from UTC at most.
const farthestZone = 14 * 60

func (d *dateReader) zone() *time.Location {
	if d.peek() == 'Z' {
		d.at++
		return time.UTC
	}
	sign := d.separator("+-")
	hour := d.number(1, 2)
	d.separator(":")
	minutes := hour*60 + d.number(1, 2)
	if minutes > farthestZone {
		d.ok = false
	}
	if sign == '-' {
		minutes = -minutes
	}
	return time.FixedZone("", minutes*60)
}

// formatDate prints a date by the specifiers of format. A literal other than a
// space needs a backslash. ok is false for anything else.
func formatDate(t time.Time, spec string) (text string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(spec); {
		c, run := spec[i], 1
		for i+run < len(spec) && spec[i+run] == c {
			run++
		}
		switch part := spec[i : i+run]; {
		case c == '\\':
			if i+1 == len(spec) {
				return "", false
			}
			r, size := utf8.DecodeRuneInString(spec[i+1:])
			b.WriteRune(r)
			i += 1 + size
			continue
		case c == ' ':
			b.WriteString(part)
		case c == 'f' && run <= 7:
			fmt.Fprint(&b, fraction(t, run))
		case part == "K": // a date with a zone prints it also when it is UTC
			b.WriteString(dateParts["zzz"](t))
		case formatSpecifiers[part]:
			b.WriteString(dateParts[part](t))
		default:
			return "", false
		}
		i += run
	}
	return b.String(), true
}

// formatSpecifiers are those of dateParts that format knows.
var formatSpecifiers = map[string]bool{
	"yyyy": true, "yy": true, "MM": true, "M": true, "dd": true, "d": true, "HH": true, "H": true, "mm": true, "m": true, "ss": true, "s": true, "zzz": true,
}

func fraction(t time.Time, digits int) string {
	return fmt.Sprintf("%07d", t.Nanosecond()/100)[:digits]
}

// dateParts are all specifiers that the run number knows.
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

// FormatDate prints a date by the custom specifiers of a run number. Characters
// that are no specifiers stand for themselves, as does quoted text.
func FormatDate(t time.Time, spec string) (string, error) {
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
		case c == '%' && run == 1:
			i++
			continue
		case c == '\'' || c == '"':
			end := strings.IndexByte(spec[i+1:], c)
			if end < 0 {
				return "", fmt.Errorf("the date format has an open quote")
			}
			b.WriteString(spec[i+1 : i+1+end])
			i += end + 2
			continue
		case c == 'f' && run <= 7:
			b.WriteString(fraction(t, run))
		case c == 'F' && run <= 7:
			b.WriteString(strings.TrimRight(fraction(t, run), "0"))
		case dateParts[spec[i:i+run]] != nil:
			b.WriteString(dateParts[spec[i:i+run]](t))
		case dateParts[string(c)] != nil || c == 'f' || c == 'F':
			return "", fmt.Errorf("the date format has no specifier %s", spec[i:i+run])
		default:
			b.WriteString(spec[i : i+run])
		}
		i += run
	}
	return b.String(), nil
}
