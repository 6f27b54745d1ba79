package pages

import (
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"penstock.dev/penstock/internal/domain/application"
	"penstock.dev/penstock/internal/domain/run"
)

// Seg escapes one segment of an address.
func Seg(s string) string { return url.PathEscape(s) }

// Path escapes a path of several segments.
func Path(s string) string {
	parts := strings.Split(s, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

// Ago is a time as people say it: relative for a week, absolute after.
func Ago(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := now.Sub(t)
	switch {
	case d < 5*time.Second:
		return "now"
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	case d < 7*24*time.Hour:
		return fmt.Sprintf("%d d ago", int(d.Hours()/24))
	case t.Year() == now.Year():
		return t.Format("2 Jan")
	}
	return t.Format("2 Jan 2006")
}

// Full is a time with everything.
func Full(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04:05 MST") }

// Stamp is a time for machines.
func Stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// Left is how long something has, in one unit.
func Left(until, now time.Time) string {
	s := int(math.Ceil(until.Sub(now).Seconds()))
	switch {
	case s <= 0:
		return "0 s"
	case s < 120:
		return fmt.Sprintf("%d s", s)
	case s < 7200:
		return fmt.Sprintf("%d min", int(math.Round(float64(s)/60)))
	case s < 172800:
		return fmt.Sprintf("%d h", int(math.Round(float64(s)/3600)))
	}
	return fmt.Sprintf("%d d", int(math.Round(float64(s)/86400)))
}

// Clock is a duration as 2:31, or as 26 min where seconds say nothing.
func Clock(d time.Duration) string {
	if d < 0 {
		d = 0
	}
	s := int(d.Seconds())
	switch {
	case d > 0 && d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case s >= 48*3600:
		return fmt.Sprintf("%d d", s/86400)
	case s >= 5400:
		return fmt.Sprintf("%d h %d min", s/3600, s%3600/60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// Took is how long something ran, or has run until now.
func Took(from, to, now time.Time) string {
	if from.IsZero() {
		return ""
	}
	if to.IsZero() {
		to = now
	}
	return Clock(to.Sub(from))
}

// Moved is how long a swap took, in the unit that shows something.
func Moved(d time.Duration) string {
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}

// Num writes a number with the digits that say something.
func Num(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 99.5:
		return group(int64(math.Round(v)))
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 1:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

func group(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Millis writes seconds as milliseconds.
func Millis(seconds float64) string {
	if seconds == 0 {
		return "–"
	}
	return Num(seconds * 1000)
}

// Size writes a number of bytes.
func Size(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1_000_000:
		return fmt.Sprintf("%.0f kB", float64(n)/1e3)
	case n < 1_000_000_000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}

// Short is an id's first characters.
func Short(id string) string { return id[:min(len(id), 7)] }

// Many counts: 1 job, 2 jobs.
func Many(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	if strings.HasSuffix(one, "ch") || strings.HasSuffix(one, "s") {
		return fmt.Sprintf("%d %ses", n, one)
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// Initials of a name.
func Initials(name string) string {
	out := ""
	for _, w := range strings.FieldsFunc(name, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		out += strings.ToUpper(string([]rune(w)[:1]))
		if len(out) == 2 {
			return out
		}
	}
	if r := []rune(name); len(out) == 1 && len(r) > 1 {
		return strings.ToUpper(string(r[:2]))
	}
	return out
}

// Plate is a slot's letter.
func Plate(slot string) string {
	if slot == "" {
		return "?"
	}
	return strings.ToUpper(string([]rune(slot)[:1]))
}

// PlateClass says how a slot's plate is filled: water means users.
func PlateClass(role string) string {
	switch role {
	case application.Production:
		return "live"
	case application.Previous:
		return "hatch"
	}
	return ""
}

// Mark is a state as shape, word and colour.
type Mark struct {
	Icon  string // shape
	Tone  string // ok, warn, bad, run, wait, off
	Label string // word
}

// StateMark is how a run, stage, job or step looks.
func StateMark(state run.State, result run.Result) Mark {
	switch state {
	case run.Pending, "":
		return Mark{"todo", "off", "Not started"}
	case run.InProgress:
		return Mark{"run", "run", "In progress"}
	}
	switch result {
	case run.Succeeded:
		return Mark{"ok", "ok", "Succeeded"}
	case run.SucceededWithIssues:
		return Mark{"warn", "warn", "Succeeded with issues"}
	case run.Failed:
		return Mark{"bad", "bad", "Failed"}
	case run.Canceled:
		return Mark{"cancel", "off", "Canceled"}
	case run.Abandoned:
		return Mark{"none", "off", "Abandoned"}
	}
	return Mark{"skip", "off", "Skipped"}
}

// Clip cuts a text to so many characters.
func Clip(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return strings.TrimRight(string(r[:n-1]), " ") + "…"
}

// Spark turns values into the line and the area of a small chart, in a box of
// 100 by 24.
func Spark(values []float64) (line, area string) {
	if len(values) < 2 {
		return "", ""
	}
	top := 0.0
	for _, v := range values {
		top = max(top, v)
	}
	if top == 0 {
		top = 1
	}
	var b strings.Builder
	for i, v := range values {
		letter := "L"
		if i == 0 {
			letter = "M"
		}
		fmt.Fprintf(&b, "%s%.1f %.1f", letter, float64(i)*100/float64(len(values)-1), 23-v/top*20)
	}
	return b.String(), b.String() + "L100 24L0 24Z"
}

// Percent writes a share.
func Percent(part, whole float64) string {
	if whole == 0 {
		return "0 %"
	}
	p := part / whole * 100
	if p > 0 && p < 0.1 {
		return "<0.1 %"
	}
	if p == 100 || p == 0 {
		return strconv.FormatFloat(p, 'f', 0, 64) + " %"
	}
	return strconv.FormatFloat(p, 'f', 1, 64) + " %"
}

// Px writes a coordinate.
func Px(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }

// Capital gives a message its first letter.
func Capital(s string) string {
	r := []rune(s)
	if len(r) == 0 {
		return s
	}
	return string(unicode.ToUpper(r[0])) + string(r[1:])
}

// Itoa is strconv's.
func Itoa(n int) string { return strconv.Itoa(n) }

func asText(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
