package task

import (
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/testresult"
)

func init() {
	register(&Task{Name: "PublishTestResults", Major: []string{"1", "2"}, Run: publishTestResults,
		Defaults: map[string]string{"testresultsformat": "JUnit", "testresultsfiles": "**/TEST-*.xml"},
		Aliases:  map[string]string{"testrunner": "testresultsformat"}})
}

func publishTestResults(ctx context.Context, c *Context) error {
	if f := c.Input("testResultsFormat"); !strings.EqualFold(f, "JUnit") {
		return fault.New(fault.Invalid, "unsupported-format", "test results format %s is not supported by this version", f).Want("JUnit")
	}
	folder := c.Path(c.Input("searchFolder"))
	if folder == "" {
		folder, _ = c.Lookup("System.DefaultWorkingDirectory")
	}
	files, err := Match(folder, c.Inputs["testresultsfiles"])
	if err != nil || len(files) == 0 {
		if c.Bool("failTaskOnMissingResultsFile") {
			return fault.New(fault.Invalid, "no-results", "No test result files matching %s were found.", c.Input("testResultsFiles"))
		}
		c.Warn("No test result files matching %s were found.", c.Input("testResultsFiles"))
		return nil
	}
	report := testresult.TestRun{JobID: c.Job.JobID, Title: c.Input("testRunTitle")}
	for _, f := range files {
		results, err := ReadJUnit(filepath.Join(folder, f))
		if err != nil {
			c.Warn("Failed to read %s: %s", f, err)
			continue
		}
		report.Results = append(report.Results, results...)
		if report.Title == "" {
			report.Title = filepath.Base(f)
		}
	}
	if err := c.Client.JSON(ctx, "POST", "/_apis/penstock/runs/"+c.Job.RunID+"/tests", report, nil); err != nil {
		return err
	}
	failed := report.Count(testresult.Failed)
	c.Printf("Published %d test results: %d passed, %d failed, %d not executed", len(report.Results), report.Count(testresult.Passed), failed, report.Count(testresult.Skipped))
	if failed > 0 && c.Bool("failTaskOnFailedTests") {
		return fault.New(fault.Invalid, "tests-failed", "There are one or more test failures detected in result files.")
	}
	return nil
}

type junitSuite struct {
	Name   string       `xml:"name,attr"`
	Suites []junitSuite `xml:"testsuite"`
	Cases  []junitCase  `xml:"testcase"`
}

type junitCase struct {
	Name      string      `xml:"name,attr"`
	Class     string      `xml:"classname,attr"`
	Time      string      `xml:"time,attr"`
	Failure   *junitFault `xml:"failure"`
	Error     *junitFault `xml:"error"`
	Skipped   *junitFault `xml:"skipped"`
	SystemOut string      `xml:"system-out"`
}

type junitFault struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// MaxResultFile is the largest result file that is read, in bytes.
const MaxResultFile = 64 << 20

// ReadJUnit reads a JUnit XML file.
func ReadJUnit(name string) ([]testresult.Result, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return parseJUnit(io.LimitReader(f, MaxResultFile))
}

func parseJUnit(r io.Reader) ([]testresult.Result, error) {
	var root struct {
		XMLName xml.Name
		junitSuite
	}
	if err := xml.NewDecoder(r).Decode(&root); err != nil {
		return nil, err
	}
	if n := root.XMLName.Local; n != "testsuites" && n != "testsuite" {
		return nil, fmt.Errorf("the root element is %s, not testsuites or testsuite", n)
	}
	return root.results(), nil
}

func (s junitSuite) results() []testresult.Result {
	var list []testresult.Result
	for _, c := range s.Cases {
		seconds, _ := strconv.ParseFloat(strings.ReplaceAll(c.Time, ",", ""), 64)
		r := testresult.Result{Name: c.Name, Suite: c.Class, Outcome: testresult.Passed, Duration: time.Duration(seconds * float64(time.Second))}
		if r.Suite == "" {
			r.Suite = s.Name
		}
		for _, f := range []*junitFault{c.Failure, c.Error} {
			if f != nil {
				r.Outcome, r.Message, r.Stack = testresult.Failed, f.Message, strings.TrimSpace(f.Text)
			}
		}
		if c.Skipped != nil {
			r.Outcome, r.Message = testresult.Skipped, c.Skipped.Message
		}
		list = append(list, r)
	}
	for _, sub := range s.Suites {
		list = append(list, sub.results()...)
	}
	return list
}
