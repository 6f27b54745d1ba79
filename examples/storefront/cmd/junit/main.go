// Command junit turns the output of go test -json into a JUnit file. What failed
// is printed as it arrives; it exits with 1 if a test or a build failed.
package main

import (
	"bufio"
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	out := flag.String("o", "", "file to write")
	flag.Parse()
	if *out == "" {
		fmt.Fprintln(os.Stderr, "junit: -o FILE is missing")
		os.Exit(2)
	}
	suites, err := convert(os.Stdin, os.Stdout)
	if err == nil {
		err = write(*out, suites)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "junit:", err)
		os.Exit(1)
	}
	fmt.Printf("%d tests, %d failed, %d skipped\n", suites.Tests, suites.Failures, suites.Skipped)
	if suites.Failures > 0 || suites.broken {
		os.Exit(1)
	}
}

// event is one line of go test -json.
type event struct {
	Time                                       time.Time
	Action, Package, Test, Output, FailedBuild string
	ImportPath                                 string
	Elapsed                                    float64
}

type testsuites struct {
	XMLName  xml.Name `xml:"testsuites"`
	Tests    int      `xml:"tests,attr"`
	Failures int      `xml:"failures,attr"`
	Skipped  int      `xml:"skipped,attr"`
	Suites   []*suite `xml:"testsuite"`
	broken   bool     // a package failed as a whole
}

type suite struct {
	Name      string  `xml:"name,attr"`
	Tests     int     `xml:"tests,attr"`
	Failures  int     `xml:"failures,attr"`
	Skipped   int     `xml:"skipped,attr"`
	Time      string  `xml:"time,attr"`
	Timestamp string  `xml:"timestamp,attr"`
	Cases     []*test `xml:"testcase"`
}

type test struct {
	Name      string   `xml:"name,attr"`
	Classname string   `xml:"classname,attr"`
	Time      string   `xml:"time,attr"`
	Failure   *failure `xml:"failure"`
	Skipped   *failure `xml:"skipped"`
}

type failure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// converter collects what belongs together: events of packages interleave.
type converter struct {
	suites *testsuites
	byName map[string]*suite
	output map[string]*strings.Builder // by package and test
	start  map[string]time.Time
	print  io.Writer
}

// convert reads events until the end. Lines that are no events are printed.
func convert(in io.Reader, printed io.Writer) (*testsuites, error) {
	c := converter{&testsuites{}, map[string]*suite{}, map[string]*strings.Builder{}, map[string]time.Time{}, printed}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	events := 0
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil || e.Action == "" {
			fmt.Fprintln(printed, lines.Text())
			continue
		}
		events++
		c.take(e)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if events == 0 {
		return nil, fmt.Errorf("nothing came from go test -json")
	}
	return c.finish(), nil
}

func (c *converter) take(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "start", "run":
		c.start[key] = e.Time
	case "output":
		if c.output[key] == nil {
			c.output[key] = &strings.Builder{}
		}
		c.output[key].WriteString(e.Output)
	case "build-output":
		fmt.Fprint(c.print, e.Output)
	case "build-fail":
		c.suites.broken = true
	case "pass", "fail", "skip":
		if e.Test == "" {
			c.endSuite(e)
		} else {
			c.endTest(e)
		}
	}
}

func (c *converter) suite(name string) *suite {
	s := c.byName[name]
	if s == nil {
		s = &suite{Name: name}
		c.byName[name] = s
		c.suites.Suites = append(c.suites.Suites, s)
	}
	return s
}

func (c *converter) endTest(e event) {
	s := c.suite(e.Package)
	t := &test{Name: e.Test, Classname: e.Package, Time: fmt.Sprintf("%.3f", e.Elapsed)}
	s.Tests++
	text := ""
	if b := c.output[e.Package+" "+e.Test]; b != nil {
		text = b.String()
	}
	switch e.Action {
	case "fail":
		s.Failures++
		t.Failure = &failure{firstLine(text), clean(text)}
		fmt.Fprint(c.print, text)
	case "skip":
		s.Skipped++
		t.Skipped = &failure{Message: firstLine(text)}
	}
	s.Cases = append(s.Cases, t)
}

func (c *converter) endSuite(e event) {
	s := c.suite(e.Package)
	s.Time = fmt.Sprintf("%.3f", e.Elapsed)
	if at := c.start[e.Package+" "]; !at.IsZero() {
		s.Timestamp = at.UTC().Format("2006-01-02T15:04:05")
	}
	text := ""
	if b := c.output[e.Package+" "]; b != nil {
		text = b.String()
	}
	fmt.Fprint(c.print, text)
	if e.Action == "fail" && s.Failures == 0 { // it did not build, panicked or timed out
		s.Tests++
		s.Failures++
		s.Cases = append(s.Cases, &test{Name: "(package)", Classname: e.Package, Time: s.Time, Failure: &failure{"the package failed", clean(text)}})
	}
}

func (c *converter) finish() *testsuites {
	kept := c.suites.Suites[:0]
	for _, s := range c.suites.Suites {
		c.suites.Tests += s.Tests
		c.suites.Failures += s.Failures
		c.suites.Skipped += s.Skipped
		if s.Tests > 0 {
			kept = append(kept, s)
		}
	}
	c.suites.Suites = kept
	return c.suites
}

// firstLine is the first line that says something of its own.
func firstLine(text string) string {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "---") {
			return clean(line)
		}
	}
	return ""
}

// clean drops what XML cannot hold.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, text)
}

func write(name string, suites *testsuites) error {
	data, err := xml.MarshalIndent(suites, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, []byte(xml.Header+string(data)+"\n"), 0o644)
}
