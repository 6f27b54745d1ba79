// Package schedule reads cron expressions and finds the instants they name. The
// rules are those of the service: UTC, Sunday is 0, and day and weekday must
// both match, where other crons let one of them do.
package schedule

import (
	"math/bits"
	"strconv"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
)

// Cron is a parsed expression: the values of each field as bits.
type Cron struct{ minutes, hours, days, months, weekdays uint64 }

// field is one of the five.
type field struct {
	name      string
	low, high int
	names     []string // of low, low+1, …; three letters do as well
}

var fields = [5]field{
	{name: "minute", low: 0, high: 59}, {name: "hour", low: 0, high: 23}, {name: "day", low: 1, high: 31},
	{name: "month", low: 1, high: 12, names: []string{"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"}},
	{name: "weekday", low: 0, high: 6, names: []string{"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"}},
}

// shortName is how many letters of a name are enough.
const shortName = 3

// Parse reads five fields: minute, hour, day, month, weekday. Each is a list of
// *, values, ranges, and steps of them.
func Parse(text string) (Cron, error) {
	parts := strings.Fields(text)
	if len(parts) != len(fields) {
		return Cron{}, fault.New(fault.Invalid, "cron", "a cron expression has five fields").Want("minute hour day month weekday (UTC)").Got("%d fields", len(parts))
	}
	var sets [len(fields)]uint64
	for i, part := range parts {
		var err error
		if sets[i], err = fields[i].list(part); err != nil {
			return Cron{}, err
		}
	}
	return Cron{sets[0], sets[1], sets[2], sets[3], sets[4]}, nil
}

func (f field) list(text string) (uint64, error) {
	var set uint64
	for _, item := range strings.Split(text, ",") {
		values, err := f.item(item)
		if err != nil {
			return 0, err
		}
		set |= values
	}
	return set, nil
}

// item reads one part of a list.
func (f field) item(text string) (uint64, error) {
	span, step, stepped := strings.Cut(text, "/")
	every := 1
	if stepped {
		n, err := strconv.Atoi(step)
		if err != nil || n < 1 || !digits(step) {
			return 0, f.mistake("the step of the "+f.name+" is not a number above 0", "*/5 or 10-40/5", text)
		}
		every = n
	}
	from, to := f.low, f.high
	if span != "*" {
		first, last, isRange := strings.Cut(span, "-")
		var err error
		if from, err = f.value(first); err != nil {
			return 0, err
		}
		switch {
		case isRange:
			if to, err = f.value(last); err != nil {
				return 0, err
			}
		case !stepped: // 10/5 goes from 10 to the end
			to = from
		}
	}
	if from > to {
		return 0, f.mistake("the range of the "+f.name+" runs backwards", "a list of the values, or two ranges", text)
	}
	var set uint64
	for v := from; v <= to; v += min(every, f.high+1) {
		set |= 1 << v
	}
	return set, nil
}

func digits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

func (f field) value(text string) (int, error) {
	for i, name := range f.names {
		if strings.EqualFold(text, name) || strings.EqualFold(text, name[:shortName]) {
			return f.low + i, nil
		}
	}
	n, err := strconv.Atoi(text)
	if err != nil || !digits(text) || n < f.low || n > f.high {
		return 0, f.mistake("a "+f.name+" cannot be `"+text+"`", f.wants(), text)
	}
	return n, nil
}

func (f field) wants() string {
	want := strconv.Itoa(f.low) + " to " + strconv.Itoa(f.high)
	if f.names != nil {
		want += ", or " + f.names[0][:shortName] + " to " + f.names[len(f.names)-1][:shortName]
	}
	return want
}

func (f field) mistake(message, want, got string) error {
	return fault.New(fault.Invalid, "cron", "%s", message).Want("%s", want).Got("%s", got)
}

// farthest is how many years Next looks ahead: a 29th of February on a given
// weekday can be forty years away.
const farthest = 41

// Next returns the first instant after another one, in UTC. It is zero if there
// is none, as for the 30th of February.
func (c Cron) Next(after time.Time) time.Time {
	at := after.UTC().Truncate(time.Minute).Add(time.Minute)
	for limit := at.Year() + farthest; at.Year() <= limit; {
		year, month, day := at.Date()
		switch {
		case c.months>>month&1 == 0:
			at = time.Date(year, month+1, 1, 0, 0, 0, 0, time.UTC)
		case c.days>>day&1 == 0 || c.weekdays>>at.Weekday()&1 == 0:
			at = time.Date(year, month, day+1, 0, 0, 0, 0, time.UTC)
		default:
			hour, ok := next(c.hours, at.Hour())
			if !ok {
				at = time.Date(year, month, day+1, 0, 0, 0, 0, time.UTC)
				continue
			}
			minute := 0
			if hour == at.Hour() {
				minute = at.Minute()
			}
			if minute, ok = next(c.minutes, minute); ok {
				return time.Date(year, month, day, hour, minute, 0, 0, time.UTC)
			}
			at = time.Date(year, month, day, hour+1, 0, 0, 0, time.UTC)
		}
	}
	return time.Time{}
}

// next returns the smallest member of a set that is not below a value.
func next(set uint64, from int) (int, bool) {
	rest := set >> from << from
	return bits.TrailingZeros64(rest), rest != 0
}

// Last returns the last instant after from and up to and including to. It is
// zero if there is none.
func (c Cron) Last(from, to time.Time) time.Time {
	var last time.Time
	at := to.UTC().Truncate(time.Minute)
	for span := time.Minute; span < farthest*2*365*24*time.Hour; span *= 2 {
		begin := at.Add(-span)
		if begin.Before(from) {
			begin = from
		}
		for n := c.Next(begin); !n.IsZero() && !n.After(to); n = c.Next(n) {
			last = n
		}
		if !last.IsZero() || !begin.After(from) {
			break
		}
	}
	return last
}
