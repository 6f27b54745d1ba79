package schedule_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline/schedule"
)

func at(text string) time.Time {
	t, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		panic(err)
	}
	return t
}

func TestNext(t *testing.T) {
	for _, c := range []struct{ cron, after, want string }{
		{"* * * * *", "2026-01-31 23:59", "2026-02-01 00:00"}, {"0 3 * * *", "2026-01-31 03:00", "2026-02-01 03:00"}, {"0 3 * * *", "2026-01-31 02:59", "2026-01-31 03:00"}, {"30 4 * * Mon-Fri", "2026-01-30 05:00", "2026-02-02 04:30"},
		{"*/15 * * * *", "2026-01-01 00:46", "2026-01-01 01:00"}, {"0 */4 * * *", "2026-01-01 20:00", "2026-01-02 00:00"}, {"0 1-5/2 * * *", "2026-01-01 03:30", "2026-01-01 05:00"}, {"50/5 * * * *", "2026-01-01 00:51", "2026-01-01 00:55"}, {"50/5 * * * *", "2026-01-01 00:55", "2026-01-01 01:50"},
		{"5,10 8,20 * * *", "2026-01-01 08:10", "2026-01-01 20:05"}, {"0 0 1 * *", "2026-01-01 00:00", "2026-02-01 00:00"}, {"0 0 31 * *", "2026-01-31 00:00", "2026-03-31 00:00"}, {"0 0 29 2 *", "2026-01-01 00:00", "2028-02-29 00:00"}, {"0 0 29 Feb Mon", "2026-01-01 00:00", "2044-02-29 00:00"},
		{"0 12 * January *", "2026-02-01 00:00", "2027-01-01 12:00"}, {"0 12 * jan,jul Sun", "2026-02-01 00:00", "2026-07-05 12:00"}, {"0 0 * * Sunday", "2026-01-31 00:00", "2026-02-01 00:00"}, {"0 0 * * 0", "2026-01-31 00:00", "2026-02-01 00:00"}, {"0 0 * * Sun,Thu-Sat", "2026-02-01 00:00", "2026-02-05 00:00"},
		// Day and weekday must both match.
		{"0 0 13 * Fri", "2026-01-01 00:00", "2026-02-13 00:00"}, {"0 0 13 * Fri", "2026-03-13 00:00", "2026-11-13 00:00"}, {"0 0 30 2 *", "2026-01-01 00:00", "never"}, {"59 23 31 12 *", "2026-12-31 23:59", "2027-12-31 23:59"}, {"0 0 */10 * *", "2026-01-11 00:00", "2026-01-21 00:00"}, {"0 0 * * */3", "2026-02-01 00:00", "2026-02-04 00:00"},
		{" 0  0 * *\t* ", "2026-01-01 00:00", "2026-01-02 00:00"}, {"0 0 1-1 5-5 *", "2026-01-01 00:00", "2026-05-01 00:00"}, {"*/90 * * * *", "2026-01-01 00:00", "2026-01-01 01:00"},
	} {
		cron, err := schedule.Parse(c.cron)
		if err != nil {
			t.Errorf("%s: %v", c.cron, err)
			continue
		}
		got := "never"
		if n := cron.Next(at(c.after)); !n.IsZero() {
			got = n.Format("2006-01-02 15:04")
		}
		if got != c.want {
			t.Errorf("%s after %s is %s, want %s", c.cron, c.after, got, c.want)
		}
	}
	cron, _ := schedule.Parse("0 0 * * *")
	zone := time.FixedZone("", 5*3600)
	if got := cron.Next(time.Date(2026, 1, 1, 23, 0, 30, 0, zone)); !got.Equal(at("2026-01-02 00:00")) {
		t.Errorf("a schedule is in UTC: %s", got)
	}
}

func TestMistakes(t *testing.T) {
	for text, found := range map[string]string{
		"": "0 fields", "* * * *": "4 fields", "* * * * * *": "6 fields", "60 * * * *": "60", "* 24 * * *": "24", "* * 0 * *": "0", "* * 32 * *": "32", "* * * 13 *": "13", "* * * 0 *": "0", "* * * * 7": "7", "* * * * Fri-Mon": "Fri-Mon", "50-10 * * * *": "50-10",
		"*/0 * * * *": "*/0", "*/x * * * *": "*/x", "*/-1 * * * *": "*/-1", "*/ * * * *": "*/", "1- * * * *": "", "-1 * * * *": "", "1,,2 * * * *": "", "+1 * * * *": "+1", "* * * Janu *": "Janu", "* * * * Mo": "Mo", "* * * * Lundi": "Lundi", "Mon * * * *": "Mon", "? * * * *": "?", "** * * * *": "**",
		"1-2-3 * * * *": "2-3", "*-5 * * * *": "*", "* * L * *": "L", "* * * * 1#2": "1#2", "*/+5 * * * *": "*/+5", "99999999999999999999 * * * *": "99999999999999999999",
	} {
		_, err := schedule.Parse(text)
		var e *fault.Error
		if !errors.As(err, &e) || e.Code != "cron" || e.Found != found || e.Expected == "" {
			t.Errorf("%q: %+v", text, e)
		}
	}
}

// field draws one field and the test of whether a value is in it, which is the
// plain reading of the rules.
func field(t *rapid.T, label string, low, high int) (string, func(int) bool) {
	var texts []string
	var tests []func(int) bool
	for range rapid.IntRange(1, 3).Draw(t, label) {
		from := rapid.IntRange(low, high).Draw(t, label)
		to := rapid.IntRange(from, high).Draw(t, label)
		step := rapid.IntRange(1, 5).Draw(t, label)
		number := func(n int) string { return strings.TrimSpace(string(rune('0'+n/10)) + string(rune('0'+n%10))) }
		switch rapid.IntRange(0, 3).Draw(t, label) {
		case 0:
			texts, tests = append(texts, "*"), append(tests, func(int) bool { return true })
		case 1:
			texts, tests = append(texts, number(from)), append(tests, func(v int) bool { return v == from })
		case 2:
			texts, tests = append(texts, number(from)+"-"+number(to)), append(tests, func(v int) bool { return v >= from && v <= to })
		default:
			texts, tests = append(texts, number(from)+"-"+number(to)+"/"+number(step)), append(tests, func(v int) bool { return v >= from && v <= to && (v-from)%step == 0 })
		}
	}
	return strings.Join(texts, ","), func(v int) bool {
		for _, test := range tests {
			if test(v) {
				return true
			}
		}
		return false
	}
}

// TestNextIsTheFirst compares with looking at every minute.
func TestNextIsTheFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		minutes, inMinute := field(t, "minute", 0, 59)
		hours, inHour := field(t, "hour", 0, 23)
		days, inDay := field(t, "day", 1, 31)
		months, inMonth := field(t, "month", 1, 12)
		weekdays, inWeekday := field(t, "weekday", 0, 6)
		text := strings.Join([]string{minutes, hours, days, months, weekdays}, " ")
		cron, err := schedule.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		matches := func(at time.Time) bool {
			return inMinute(at.Minute()) && inHour(at.Hour()) && inDay(at.Day()) && inMonth(int(at.Month())) && inWeekday(int(at.Weekday()))
		}
		from := time.Unix(rapid.Int64Range(1.7e9, 1.9e9).Draw(t, "from"), 0).UTC()
		until := from.Add(3 * 24 * time.Hour)
		var first, last time.Time
		for m := from.Truncate(time.Minute).Add(time.Minute); !m.After(until); m = m.Add(time.Minute) {
			if matches(m) {
				if first.IsZero() {
					first = m
				}
				last = m
			}
		}
		got := cron.Next(from)
		if !got.IsZero() && !matches(got) || first.IsZero() && !got.IsZero() && !got.After(until) || !first.IsZero() && !got.Equal(first) {
			t.Fatalf("%s after %s is %s, want %s", text, from, got, first)
		}
		if l := cron.Last(from, until); !l.Equal(last) {
			t.Fatalf("the last of %s between %s and %s is %s, want %s", text, from, until, l, last)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"* * * * *", "0 3 * * Mon-Fri", "*/5,7-9/2 0 1 Jan 0", "60 * * * *", "- - - - -", "/ / / / /"} {
		f.Add(s)
	}
	after := at("2026-01-01 00:00")
	f.Fuzz(func(t *testing.T, text string) {
		if cron, err := schedule.Parse(text); err == nil {
			if n := cron.Next(after); !n.IsZero() && !n.After(after) {
				t.Fatalf("%q: %s", text, n)
			}
		}
	})
}
