package format

import (
	"cmp"
	"encoding/xml"
	"strings"

	"penstock.dev/penstock/internal/domain/testresult"
)

// because is how the .NET runners tell why.
type because struct {
	Message string `xml:"message"`
	Stack   string `xml:"stack-trace"`
}

func (b *because) put(r *testresult.Result) {
	if b != nil {
		r.Message, r.Stack = strings.TrimSpace(b.Message), strings.TrimSpace(b.Stack)
	}
}

// NUnit: version 3 has test-run, version 2 test-results.
type nunitSuite struct {
	Name   string       `xml:"name,attr"`
	Suites []nunitSuite `xml:"test-suite"`
	Cases  []nunitCase  `xml:"test-case"`
	Inner  []nunitSuite `xml:"results"` // version 2
}

type nunitCase struct {
	Name     string   `xml:"name,attr"`
	FullName string   `xml:"fullname,attr"`
	Class    string   `xml:"classname,attr"`
	Duration string   `xml:"duration,attr"`
	Time     string   `xml:"time,attr"`
	Result   string   `xml:"result,attr"`
	Failure  *because `xml:"failure"`
	Reason   *because `xml:"reason"`
}

func readNUnit(d *xml.Decoder, root xml.StartElement) (*File, error) {
	var run struct {
		nunitSuite
		Start    string `xml:"start-time,attr"`
		End      string `xml:"end-time,attr"`
		Duration string `xml:"duration,attr"`
	}
	three := root.Name.Local == "test-run"
	if !three && root.Name.Local != "test-results" {
		return nil, wrongRoot(root, "test-run (version 3) or test-results (version 2)")
	}
	if err := d.DecodeElement(&run, &root); err != nil {
		return nil, err
	}
	f := &File{}
	run.collect(f, three)
	if f.Duration = between(run.Start, run.End); f.Duration == 0 {
		f.Duration = max(seconds(run.Duration), total(f.Results))
	}
	return f, nil
}

func (s nunitSuite) collect(f *File, three bool) {
	for _, c := range s.Cases {
		if three {
			f.Results = append(f.Results, c.three())
		} else {
			f.Results = append(f.Results, c.two())
		}
	}
	for _, list := range [][]nunitSuite{s.Suites, s.Inner} {
		for _, sub := range list {
			sub.collect(f, three)
		}
	}
}

func (c nunitCase) three() testresult.Result {
	class := c.Class
	if class == "" {
		class = strings.TrimSuffix(strings.TrimSuffix(c.FullName, c.Name), ".")
	}
	r := testresult.Result{Name: c.Name, Suite: class, Outcome: testresult.Inconclusive, Duration: seconds(c.Duration)}
	if outcome := map[string]string{"passed": testresult.Passed, "failed": testresult.Failed, "skipped": testresult.Skipped}[strings.ToLower(c.Result)]; outcome != "" {
		r.Outcome = outcome
	}
	c.Reason.put(&r)
	c.Failure.put(&r)
	return r
}

func (c nunitCase) two() testresult.Result {
	r := testresult.Result{Name: c.Name, Outcome: testresult.Passed, Duration: seconds(c.Time)}
	// The name is the whole one; arguments may hold points.
	head, _, _ := strings.Cut(c.Name, "(")
	if at := strings.LastIndexByte(head, '.'); at > 0 {
		r.Name, r.Suite = c.Name[at+1:], c.Name[:at]
	}
	switch {
	case c.Failure != nil:
		r.Outcome = testresult.Failed
	case strings.EqualFold(c.Result, "Ignored"):
		r.Outcome = testresult.Skipped
	}
	c.Reason.put(&r)
	c.Failure.put(&r)
	return r
}

type trxResult struct {
	TestID   string `xml:"testId,attr"`
	Name     string `xml:"testName,attr"`
	Outcome  string `xml:"outcome,attr"`
	Duration string `xml:"duration,attr"`
	Message  string `xml:"Output>ErrorInfo>Message"`
	Stack    string `xml:"Output>ErrorInfo>StackTrace"`
	Inner    struct {
		Results []trxResult `xml:"UnitTestResult"`
	} `xml:"InnerResults"`
}

func readTRX(d *xml.Decoder, root xml.StartElement) (*File, error) {
	if root.Name.Local != "TestRun" {
		return nil, wrongRoot(root, "TestRun")
	}
	var run struct {
		Times struct {
			Start  string `xml:"start,attr"`
			Finish string `xml:"finish,attr"`
		} `xml:"Times"`
		Tests []struct {
			ID     string `xml:"id,attr"`
			Method struct {
				Class string `xml:"className,attr"`
			} `xml:"TestMethod"`
		} `xml:"TestDefinitions>UnitTest"`
		Results struct {
			List []trxResult `xml:",any"`
		} `xml:"Results"`
	}
	if err := d.DecodeElement(&run, &root); err != nil {
		return nil, err
	}
	classes := map[string]string{}
	for _, t := range run.Tests {
		class, _, _ := strings.Cut(t.Method.Class, ",") // without its assembly
		classes[strings.ToLower(t.ID)] = class
	}
	f := &File{}
	for _, r := range run.Results.List {
		r.collect(f, classes)
	}
	if f.Duration = between(run.Times.Start, run.Times.Finish); f.Duration == 0 {
		f.Duration = total(f.Results)
	}
	return f, nil
}

func (t trxResult) collect(f *File, classes map[string]string) {
	r := testresult.Result{Name: t.Name, Suite: classes[strings.ToLower(t.TestID)], Duration: clock(t.Duration),
		Message: strings.TrimSpace(t.Message), Stack: strings.TrimSpace(t.Stack)}
	switch strings.ToLower(t.Outcome) {
	case "", "failed":
		r.Outcome = testresult.Failed
	case "passed":
		r.Outcome = testresult.Passed
	case "inconclusive":
		r.Outcome = testresult.Inconclusive
	default:
		r.Outcome = testresult.Skipped
	}
	if len(t.Inner.Results) == 0 {
		f.Results = append(f.Results, r)
	}
	for _, inner := range t.Inner.Results {
		inner.collect(f, classes)
	}
}

type xunitAssembly struct {
	Time        string `xml:"time,attr"`
	Collections []struct {
		Tests []xunitTest `xml:"test"`
	} `xml:"collection"`
	Classes []struct { // version 1
		Tests []xunitTest `xml:"test"`
	} `xml:"class"`
}

type xunitTest struct {
	Name    string   `xml:"name,attr"`
	Type    string   `xml:"type,attr"`
	Method  string   `xml:"method,attr"`
	Time    string   `xml:"time,attr"`
	Result  string   `xml:"result,attr"`
	Failure *because `xml:"failure"`
	Reason  string   `xml:"reason"`
}

func readXUnit(d *xml.Decoder, root xml.StartElement) (*File, error) {
	var assemblies []xunitAssembly
	switch root.Name.Local {
	case "assemblies":
		var all struct {
			List []xunitAssembly `xml:"assembly"`
		}
		if err := d.DecodeElement(&all, &root); err != nil {
			return nil, err
		}
		assemblies = all.List
	case "assembly":
		assemblies = make([]xunitAssembly, 1)
		if err := d.DecodeElement(&assemblies[0], &root); err != nil {
			return nil, err
		}
	default:
		return nil, wrongRoot(root, "assemblies")
	}
	f := &File{}
	for _, a := range assemblies {
		f.Duration += seconds(a.Time)
		for _, c := range a.Collections {
			f.xunit(c.Tests)
		}
		for _, c := range a.Classes {
			f.xunit(c.Tests)
		}
	}
	f.Duration = cmp.Or(f.Duration, total(f.Results))
	return f, nil
}

func (f *File) xunit(tests []xunitTest) {
	for _, t := range tests {
		// The name has the arguments of a theory, and the class in front.
		name := cmp.Or(strings.TrimPrefix(t.Name, t.Type+"."), t.Method)
		r := testresult.Result{Name: name, Suite: t.Type, Outcome: testresult.Skipped, Duration: seconds(t.Time), Message: strings.TrimSpace(t.Reason)}
		switch {
		case t.Failure != nil:
			r.Outcome = testresult.Failed
			t.Failure.put(&r)
		case strings.EqualFold(t.Result, "pass"):
			r.Outcome = testresult.Passed
		}
		f.Results = append(f.Results, r)
	}
}
