package format

import (
	"cmp"
	"encoding/xml"
	"strings"
	"time"

	"penstock.dev/penstock/internal/domain/testresult"
)

type junitSuite struct {
	Name      string       `xml:"name,attr"`
	Timestamp string       `xml:"timestamp,attr"`
	Time      string       `xml:"time,attr"`
	Suites    []junitSuite `xml:"testsuite"`
	Cases     []junitCase  `xml:"testcase"`
}

type junitCase struct {
	Name    string      `xml:"name,attr"`
	Class   string      `xml:"classname,attr"`
	Time    string      `xml:"time,attr"`
	Failure *junitFault `xml:"failure"`
	Error   *junitFault `xml:"error"`
	Skipped *junitFault `xml:"skipped"`
}

type junitFault struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

func readJUnit(d *xml.Decoder, root xml.StartElement) (*File, error) {
	if n := root.Name.Local; n != "testsuites" && n != "testsuite" {
		return nil, wrongRoot(root, "testsuites or testsuite")
	}
	var s junitSuite
	if err := d.DecodeElement(&s, &root); err != nil {
		return nil, err
	}
	f := &File{Results: s.results(nil)}
	var suites []junitSuite
	if suites = s.Suites; root.Name.Local == "testsuite" {
		suites = []junitSuite{s}
	}
	f.Duration = junitDuration(suites)
	if f.Duration == 0 {
		f.Duration = total(f.Results)
	}
	return f, nil
}

// junitDuration is from the first suite's start to the last one's end where all
// say when they started, else the sum of their times.
func junitDuration(suites []junitSuite) time.Duration {
	var sum time.Duration
	var from, to time.Time
	dated := len(suites) > 0
	for _, s := range suites {
		d := seconds(s.Time)
		sum += d
		start := moment(s.Timestamp)
		if start.IsZero() {
			dated = false
			continue
		}
		if from.IsZero() || start.Before(from) {
			from = start
		}
		if end := start.Add(d); end.After(to) {
			to = end
		}
	}
	if dated {
		return to.Sub(from)
	}
	return sum
}

func (s junitSuite) results(list []testresult.Result) []testresult.Result {
	for _, c := range s.Cases {
		r := testresult.Result{Name: c.Name, Suite: cmp.Or(c.Class, s.Name), Outcome: testresult.Passed, Duration: seconds(c.Time)}
		if c.Skipped != nil {
			r.Outcome, r.Message = testresult.Skipped, cmp.Or(c.Skipped.Message, strings.TrimSpace(c.Skipped.Text))
		}
		for _, f := range []*junitFault{c.Error, c.Failure} {
			if f != nil {
				r.Outcome, r.Message, r.Stack = testresult.Failed, f.Message, strings.TrimSpace(f.Text)
			}
		}
		list = append(list, r)
	}
	for _, sub := range s.Suites {
		list = sub.results(list)
	}
	return list
}
