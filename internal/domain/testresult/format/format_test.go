package format

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/internal/domain/testresult"
)

const (
	junit = `<testsuites><testsuite name="s" timestamp="2026-01-01T10:00:00" time="2"><testcase name="a" classname="C" time="1.5"/>
<testcase name="b" classname="C"><failure message="no">at line 1</failure></testcase><testcase name="c"><skipped message="later"/></testcase>
<testsuite name="inner"><testcase name="d" time="1,000.5"><error message="broke"/></testcase></testsuite></testsuite>
<testsuite name="t" timestamp="2026-01-01T10:00:05" time="3"/></testsuites>`
	nunit3 = `<test-run start-time="2026-01-01 10:00:00Z" end-time="2026-01-01 10:00:04Z"><test-suite name="A"><test-suite name="F">
<test-case name="One" fullname="N.F.One" classname="N.F" duration="0.5" result="Passed"/><test-case name="Two" fullname="N.F.Two" result="Failed"><failure><message>no</message><stack-trace>at x</stack-trace></failure></test-case>
<test-case name="Three" fullname="N.F.Three" result="Skipped"><reason><message>later</message></reason></test-case><test-case name="Four" fullname="N.F.Four" result="Warning"/></test-suite></test-suite></test-run>`
	nunit2 = `<test-results date="2026-01-01" time="10:00:00"><test-suite name="A"><results><test-suite name="F"><results>
<test-case name="N.F.One(1.5)" time="0.25" result="Success"/><test-case name="N.F.Two" result="Failure"><failure><message>no</message></failure></test-case>
<test-case name="N.F.Three" result="Ignored"><reason><message>later</message></reason></test-case></results></test-suite></results></test-suite></test-results>`
	trx = `<?xml version="1.0" encoding="utf-8"?><TestRun xmlns="http://microsoft.com/schemas/VisualStudio/TeamTest/2010"><Times start="2026-01-01T10:00:00.0000000+00:00" finish="2026-01-01T10:00:03.5000000+00:00"/>
<TestDefinitions><UnitTest id="I1"><TestMethod className="N.C, Assembly" name="One"/></UnitTest></TestDefinitions><Results>
<UnitTestResult testId="i1" testName="One" outcome="Passed" duration="00:00:01.2500000"/><UnitTestResult testId="i1" testName="Two" outcome="Failed"><Output><ErrorInfo><Message>no</Message><StackTrace>at x</StackTrace></ErrorInfo></Output></UnitTestResult>
<UnitTestResult testName="Three"/><UnitTestResult testName="Four" outcome="Inconclusive"/><UnitTestResult testName="Five" outcome="Timeout"/>
<UnitTestResult testName="Data" outcome="Failed"><InnerResults><UnitTestResult testName="Data (1)" outcome="Passed"/><UnitTestResult testName="Data (2)" outcome="Failed"/></InnerResults></UnitTestResult></Results></TestRun>`
	xunit = `<assemblies><assembly name="a.dll" time="1.5"><collection><test name="N.C.One(x: 1)" type="N.C" method="One" time="0.5" result="Pass"/>
<test name="N.C.Two" type="N.C" method="Two" result="Fail"><failure><message>no</message><stack-trace>at x</stack-trace></failure></test><test name="N.C.Three" type="N.C" method="Three" result="Skip"><reason>later</reason></test></collection></assembly></assemblies>`
	ctest = `<Site><Testing><Test Status="passed"><Name>one</Name><Path>./t</Path><Results><NamedMeasurement type="numeric/double" name="Execution Time"><Value>0.5</Value></NamedMeasurement></Results></Test>
<Test Status="failed"><Name>two</Name><Path>.</Path><Results><NamedMeasurement name="Exit Code"><Value>Failed</Value></NamedMeasurement><Measurement><Value>output</Value></Measurement></Results></Test><Test Status="notrun"><Name>three</Name></Test></Testing></Site>`
)

func result(name, suite, outcome string, d time.Duration, text ...string) testresult.Result {
	r := testresult.Result{Name: name, Suite: suite, Outcome: outcome, Duration: d}
	if len(text) > 0 {
		r.Message = text[0]
	}
	if len(text) > 1 {
		r.Stack = text[1]
	}
	return r
}

func TestRead(t *testing.T) {
	const half = time.Second / 2
	for _, c := range []struct {
		name, format, text string
		duration           time.Duration
		want               []testresult.Result
	}{
		{"JUnit", "JUnit", junit, 8 * time.Second, []testresult.Result{result("a", "C", "Passed", 3*half), result("b", "C", "Failed", 0, "no", "at line 1"),
			result("c", "s", "NotExecuted", 0, "later"), result("d", "inner", "Failed", 1000*time.Second+half, "broke")}},
		{"JUnit, one suite", "junit", `<testsuite name="s" time="2"><testcase name="a" time="1"/></testsuite>`, 2 * time.Second, []testresult.Result{result("a", "s", "Passed", 2*half)}},
		{"NUnit 3", "NUnit", nunit3, 4 * time.Second, []testresult.Result{result("One", "N.F", "Passed", half), result("Two", "N.F", "Failed", 0, "no", "at x"),
			result("Three", "N.F", "NotExecuted", 0, "later"), result("Four", "N.F", "Inconclusive", 0)}},
		{"NUnit 2", "NUnit", nunit2, half / 2, []testresult.Result{result("One(1.5)", "N.F", "Passed", half/2), result("Two", "N.F", "Failed", 0, "no"), result("Three", "N.F", "NotExecuted", 0, "later")}},
		{"TRX", "VSTest", trx, 7 * half, []testresult.Result{result("One", "N.C", "Passed", 5*half/2), result("Two", "N.C", "Failed", 0, "no", "at x"), result("Three", "", "Failed", 0),
			result("Four", "", "Inconclusive", 0), result("Five", "", "NotExecuted", 0), result("Data (1)", "", "Passed", 0), result("Data (2)", "", "Failed", 0)}},
		{"xUnit 2", "XUnit", xunit, 3 * half, []testresult.Result{result("One(x: 1)", "N.C", "Passed", half), result("Two", "N.C", "Failed", 0, "no", "at x"), result("Three", "N.C", "NotExecuted", 0, "later")}},
		{"CTest", "CTest", ctest, half, []testresult.Result{result("one", "t", "Passed", half), result("two", ".", "Failed", 0, "Failed", "output"), result("three", "", "NotExecuted", 0)}},
	} {
		f, err := Read(c.format, strings.NewReader(c.text))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if diff := cmp.Diff(c.want, f.Results); diff != "" || f.Duration != c.duration {
			t.Errorf("%s: took %s, want %s\n%s", c.name, f.Duration, c.duration, diff)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing": "", "no XML": "plain", "another root": "<html/>", "cut off": junit[:200],
		"an entity that grows": `<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><testsuite name="s"><testcase name="&b;"/></testsuite>`,
		"too deep":             strings.Repeat("<testsuite>", 20000),
	} {
		if f, err := Read("JUnit", strings.NewReader(text)); err == nil {
			t.Errorf("%s is read: %+v", name, f)
		}
	}
	if _, err := Read("JUnit", strings.NewReader(strings.Repeat(" ", MaxFile+1))); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("a large file: %v", err)
	}
	if _, err := Read("Other", strings.NewReader(junit)); err == nil {
		t.Error("an unknown format is read")
	}
}

func TestUTF16(t *testing.T) {
	data := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(`<?xml version="1.0" encoding="utf-16"?><testsuite name="ö"><testcase name="ä"/></testsuite>`)) {
		data = append(data, byte(u), byte(u>>8))
	}
	f, err := Read("JUnit", strings.NewReader(string(data)))
	if err != nil || len(f.Results) != 1 || f.Results[0].Name != "ä" || f.Results[0].Suite != "ö" {
		t.Errorf("%+v %v", f, err)
	}
}

func TestCoverage(t *testing.T) {
	for text, want := range map[string]string{
		`<coverage line-rate="0.8" lines-covered="80" lines-valid="100" branches-covered="1" branches-valid="4"><packages/></coverage>`: "Lines 80.0 % (80 of 100), Branches 25.0 % (1 of 4)",
		`<coverage line-rate="0.805" branch-rate="0"/>`: "Lines 80.5 % (805 of 1000), Branches 0.0 % (0 of 1000)",
		`<report name="r"><sessioninfo/><package><counter type="LINE" missed="9" covered="9"/></package><counter type="LINE" missed="1" covered="3"/><counter type="CLASS" missed="0" covered="0"/></report>`:                                                "Lines 75.0 % (3 of 4), Classes none",
		`<coverage line-rate="0.9" branch-rate="0.5"><packages><package><classes><class filename="a"><lines><line number="1" hits="1" condition-coverage="25% (1/4)"/><line number="2" hits="0"/></lines></class></classes></package></packages></coverage>`: "Lines 50.0 % (1 of 2), Branches 25.0 % (1 of 4)",
		`<coverage><packages><package><classes><class filename="a"><lines><line number="1" hits="1"/></lines></class></classes></package></packages></coverage>`:                                                                                             "Lines 100.0 % (1 of 1)",
		`<coverage/>`: "error", `<other/>`: "error", `<report>`: "error",
	} {
		rep, err := Coverage(strings.NewReader(text))
		var got []string
		if err == nil {
			for _, m := range rep.Metrics {
				got = append(got, m.String())
			}
		}
		all := strings.Join(got, ", ")
		if err != nil {
			all = "error"
		}
		if all != want {
			t.Errorf("%s: %s, want %s (%v)", text, all, want, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	for i, text := range []string{junit, nunit3, nunit2, trx, xunit, ctest} {
		f.Add(uint8(i), text)
	}
	f.Fuzz(func(t *testing.T, n uint8, text string) {
		file, err := Read(Names[int(n)%len(Names)], strings.NewReader(text))
		if err != nil {
			return
		}
		for _, r := range file.Results {
			if len(r.Name) > maxName || r.Duration < 0 || r.Outcome == "" {
				t.Fatalf("%+v", r)
			}
		}
	})
}

const (
	cobertura1 = `<coverage line-rate="0.5" lines-covered="2" lines-valid="4" branches-covered="1" branches-valid="2"><sources/><packages><package name="shop"><classes>
		<class name="Cart" filename="src/Cart.cs"><methods><method><lines><line number="1" hits="9"/></lines></method></methods><lines><line number="1" hits="1"/><line number="2" hits="0" branch="True" condition-coverage="50% (1/2)"/></lines></class>
		<class name="Cart/Inner" filename="src/Cart.cs"><lines><line number="9" hits="3"/></lines></class><class name="Price" filename="src/Price.cs"><lines><line number="4" hits="0"/></lines></class>
		</classes></package></packages></coverage>`
	cobertura2 = `<coverage lines-covered="1" lines-valid="2" branches-covered="2" branches-valid="2"><packages><package name="shop"><classes>
		<class name="Cart" filename="src/Cart.cs"><lines><line number="1" hits="0"/><line number="2" hits="5" branch="true" condition-coverage="100% (2/2)"/></lines></class></classes></package></packages></coverage>`
	jacoco = `<report name="r"><group name="web"><package name="org/shop"><class name="A"><counter type="LINE" missed="7" covered="7"/></class><sourcefile name="A.java"><line nr="3" mi="0" ci="4" mb="1" cb="1"/><line nr="4" mi="2" ci="0" mb="0" cb="0"/>
		<counter type="LINE" missed="1" covered="1"/><counter type="BRANCH" missed="1" covered="1"/></sourcefile></package></group><counter type="LINE" missed="1" covered="1"/><counter type="BRANCH" missed="1" covered="1"/></report>`
)

func read(t *testing.T, text string) *Report {
	t.Helper()
	rep, err := Coverage(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func TestCoverageOfFiles(t *testing.T) {
	for text, want := range map[string]string{
		cobertura1: "[{shop src/Cart.cs Lines 66.7 % (2 of 3) Branches 50.0 % (1 of 2)} {shop src/Price.cs Lines 0.0 % (0 of 1) Branches none}]",
		jacoco:     "[{web/org/shop A.java Lines 50.0 % (1 of 2) Branches 50.0 % (1 of 2)}]",
	} {
		if got := fmt.Sprint(read(t, text).Files()); got != want {
			t.Errorf("%s", got)
		}
	}
}

// Two test projects see the same source file: a line counts once.
func TestCoverageOfSeveralFilesIsMergedByLine(t *testing.T) {
	rep := read(t, cobertura1)
	rep.Merge(read(t, cobertura2))
	if got := fmt.Sprint(rep.Metrics); got != "[Lines 75.0 % (3 of 4) Branches 100.0 % (2 of 2)]" {
		t.Error(got)
	}
	rep.Merge(read(t, `<coverage line-rate="0.5"/>`)) // says no line: its numbers are added
	if got := fmt.Sprint(rep.Metrics[0]); got != "Lines 50.1 % (503 of 1004)" {
		t.Error(got)
	}
}

func FuzzCoverage(f *testing.F) {
	for _, text := range []string{cobertura1, cobertura2, jacoco, `<coverage line-rate="1"/>`} {
		f.Add(text, cobertura1)
	}
	f.Fuzz(func(t *testing.T, text, more string) {
		rep, err := Coverage(strings.NewReader(text))
		if err != nil {
			return
		}
		if other, err := Coverage(strings.NewReader(more)); err == nil {
			rep.Merge(other)
		}
		for _, file := range rep.Files() {
			for _, m := range []testresult.Metric{file.Lines, file.Branches} {
				if m.Covered < 0 || m.Total < m.Covered {
					t.Fatalf("%+v", file)
				}
			}
		}
	})
}
