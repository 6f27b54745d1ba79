package devopsapi

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/domain/testresult"
)

const (
	testRunsID       = "cadb3810-d47d-4a3c-a234-fe5f3be50138"
	testStatisticsID = "0a42c424-d764-4a16-a2d5-5c85f87d0ae8"
	testResultsID    = "4637d869-3a76-4468-8057-0bb02aa385cf"
	testCoverageID   = "77560e8a-4e8c-4d59-894e-a5f264c24444"
	coverageID       = "9b3e1ece-c6ab-4fbb-8167-8a32a0c92216"
	resultSummaryID  = "e009fa95-95a5-4ad4-9681-590043ce2423"
)

var testRoutes = []Route{
	{"Test", "Runs", testRunsID, "GET", "{project}/_apis/test/runs", identity.ProjectView, (*call).listTestRuns, nil, smallJSON},
	{"Test", "Runs", testRunsID, "GET", "{project}/_apis/test/runs/{testrun}", identity.ProjectView, (*call).getTestRun, nil, smallJSON},
	{"Test", "Runs", testStatisticsID, "GET", "{project}/_apis/test/runs/{testrun}/statistics", identity.ProjectView, (*call).testStatistics, nil, smallJSON},
	{"Test", "Results", testResultsID, "GET", "{project}/_apis/test/runs/{testrun}/results", identity.ProjectView, (*call).testResults, nil, smallJSON},
	{"Test", "Results", testResultsID, "GET", "{project}/_apis/test/runs/{testrun}/results/{result}", identity.ProjectView, (*call).testResult, nil, smallJSON},
	{"Test", "CodeCoverage", testCoverageID, "GET", "{project}/_apis/test/codecoverage", identity.ProjectView, (*call).codeCoverage, nil, smallJSON},
	{"testresults", "codecoverage", coverageID, "GET", "{project}/_apis/testresults/codecoverage", identity.ProjectView, (*call).codeCoverage, nil, smallJSON},
	{"testresults", "resultsummarybybuild", resultSummaryID, "GET", "{project}/_apis/testresults/resultsummarybybuild", identity.ProjectView, (*call).resultSummary, nil, smallJSON},
}

func (c *call) listTests() (any, error) {
	r, err := c.build()
	if err != nil {
		return nil, err
	}
	found, err := c.Tests.WithResults(c.ctx(), r.ID)
	if err != nil {
		return nil, err
	}
	return listOf(found), nil
}

func (c *call) publishTests() (any, error) {
	var t testresult.TestRun
	r, err := c.ownBuild(&t)
	if err != nil {
		return nil, err
	}
	t.RunID, t.JobID = r.ID, c.writer()
	if err := c.Tests.Publish(c.ctx(), &t); err != nil {
		return nil, err
	}
	c.Hub.Publish("run/" + r.ID)
	return created{map[string]any{"id": t.ID, "num": t.Num, "total": t.Counts.Total, "passed": t.Counts.Passed, "failed": t.Counts.Failed}}, nil
}

func (c *call) listCoverage() (any, error) {
	r, err := c.build()
	if err != nil {
		return nil, err
	}
	found, err := c.Tests.CoverageWithFiles(c.ctx(), r.ID)
	if err != nil {
		return nil, err
	}
	return listOf(found), nil
}

func (c *call) publishCoverage() (any, error) {
	var cov testresult.Coverage
	r, err := c.ownBuild(&cov)
	if err != nil {
		return nil, err
	}
	cov.RunID, cov.JobID = r.ID, c.writer()
	if err := c.Tests.Cover(c.ctx(), &cov); err != nil {
		return nil, err
	}
	c.Hub.Publish("run/" + r.ID)
	return created{map[string]any{"id": cov.ID, "metrics": cov.Metrics, "files": cov.Count}}, nil
}

// buildRef names the run that something of tests belongs to.
type buildRef struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	URL  string `json:"url"`
}

func (c *call) buildRef(r *run.Run) buildRef {
	return buildRef{r.ID, r.Number, c.projectURL() + "/_apis/build/builds/" + r.ID}
}

type outcomeCount struct {
	State   string `json:"state"`
	Outcome string `json:"outcome"`
	Count   int    `json:"count"`
}

type testRunShape struct {
	ID            int            `json:"id"`
	Name          string         `json:"name"`
	URL           string         `json:"url"`
	Automated     bool           `json:"isAutomated"`
	State         string         `json:"state"`
	Total         int            `json:"totalTests"`
	Passed        int            `json:"passedTests"`
	Incomplete    int            `json:"incompleteTests"`
	NotApplicable int            `json:"notApplicableTests"`
	Unanalyzed    int            `json:"unanalyzedTests"`
	Started       time.Time      `json:"startedDate"`
	Completed     time.Time      `json:"completedDate"`
	Build         buildRef       `json:"build"`
	Configuration map[string]any `json:"buildConfiguration"`
	Project       projectShape   `json:"project"`
	Statistics    []outcomeCount `json:"runStatistics"`
	Web           string         `json:"webAccessUrl"`
	Revision      int64          `json:"revision"`
}

func statistics(c testresult.Counts) []outcomeCount {
	list := []outcomeCount{}
	for _, o := range testresult.Outcomes {
		if n := c.Of(o); n > 0 {
			list = append(list, outcomeCount{"Completed", o, n})
		}
	}
	return list
}

func (c *call) testRunURL(t *testresult.TestRun) string {
	return c.projectURL() + "/_apis/test/Runs/" + strconv.Itoa(t.Num)
}

func (c *call) testRunShape(r *run.Run, t *testresult.TestRun) testRunShape {
	return testRunShape{ID: t.Num, Name: t.Title, URL: c.testRunURL(t), Automated: true, State: "Completed", Total: t.Counts.Total, Passed: t.Counts.Passed,
		NotApplicable: t.Counts.Skipped, Unanalyzed: t.Counts.Failed, Started: t.Created.Add(-t.Duration), Completed: t.Created, Build: c.buildRef(r),
		Configuration: map[string]any{"id": r.Num, "number": r.Number, "platform": t.Platform, "flavor": t.Config, "branchName": r.Branch, "buildDefinitionId": number(r.PipelineID)},
		Project:       c.projectShape(c.project), Statistics: statistics(t.Counts), Web: c.runPage(r.ID) + "/tests", Revision: t.Rev()}
}

// testBuilds are the runs that a query about tests names.
func (c *call) testBuilds() ([]*run.Run, error) {
	ids := strings.Split(c.query("buildIds"), ",")
	if uri := c.query("buildUri"); uri != "" {
		ids = append(ids, uri[strings.LastIndex(uri, "/")+1:])
	}
	if id := c.query("buildId"); id != "" {
		ids = append(ids, id)
	}
	var runs []*run.Run
	for _, id := range ids {
		if id = strings.TrimSpace(id); id == "" {
			continue
		}
		r, err := c.Runs.FindRun(c.ctx(), c.project.ID, id)
		if err != nil {
			return nil, err
		}
		runs = append(runs, r)
	}
	if len(runs) == 0 || len(runs) > 100 {
		return nil, fault.New(fault.Invalid, "no-build", "which run is meant?").Want("buildUri=vstfs:///Build/Build/ID, buildId=ID or buildIds=ID,ID; at most 100").Got("%d runs", len(runs))
	}
	return runs, nil
}

func (c *call) listTestRuns() (any, error) {
	runs, err := c.testBuilds()
	if err != nil {
		return nil, err
	}
	out := []testRunShape{}
	for _, r := range runs {
		sets, err := c.Tests.Of(c.ctx(), r.ID)
		if err != nil {
			return nil, err
		}
		for _, t := range sets {
			out = append(out, c.testRunShape(r, t))
		}
	}
	return listOf(page(out, c.skip(), c.top(len(out)))), nil
}

// page is a part of a list.
func page[T any](list []T, skip, top int) []T {
	from := min(skip, len(list))
	return list[from:min(from+top, len(list))]
}

// testRun is the set of the address with its run; one of another project is not
// there.
func (c *call) testRun() (*run.Run, *testresult.TestRun, error) {
	t, err := c.Tests.Find(c.ctx(), number(c.params["testrun"]))
	if err != nil {
		return nil, nil, err
	}
	r, err := c.Runs.FindRun(c.ctx(), c.project.ID, t.RunID)
	if fault.Is(err, fault.NotFound) {
		err = fault.New(fault.NotFound, "not-found", "there is no test run %s", c.params["testrun"])
	}
	return r, t, err
}

func (c *call) getTestRun() (any, error) {
	r, t, err := c.testRun()
	if err != nil {
		return nil, err
	}
	return c.testRunShape(r, t), nil
}

func (c *call) testStatistics() (any, error) {
	_, t, err := c.testRun()
	if err != nil {
		return nil, err
	}
	return map[string]any{"run": buildRef{strconv.Itoa(t.Num), t.Title, c.testRunURL(t)}, "runStatistics": statistics(t.Counts)}, nil
}

type testResultShape struct {
	ID       int          `json:"id"`
	Title    string       `json:"testCaseTitle"`
	Name     string       `json:"automatedTestName"`
	Storage  string       `json:"automatedTestStorage"`
	Outcome  string       `json:"outcome"`
	State    string       `json:"state"`
	Millis   float64      `json:"durationInMs"`
	Finished time.Time    `json:"completedDate"`
	Message  string       `json:"errorMessage,omitempty"`
	Stack    string       `json:"stackTrace,omitempty"`
	Priority int          `json:"priority"`
	TestRun  buildRef     `json:"testRun"`
	Build    buildRef     `json:"build"`
	Project  projectShape `json:"project"`
	URL      string       `json:"url"`
}

// firstResult is the id of the first result of a run, as on the service.
const firstResult = 100_000

func (c *call) testResultShape(r *run.Run, t *testresult.TestRun, i int) testResultShape {
	x, id := t.Results[i], firstResult+i
	return testResultShape{ID: id, Title: x.Name, Name: x.Name, Storage: x.Suite, Outcome: x.Outcome, State: "Completed", Millis: float64(x.Duration.Microseconds()) / 1000,
		Finished: t.Created, Message: x.Message, Stack: x.Stack, TestRun: buildRef{strconv.Itoa(t.Num), t.Title, c.testRunURL(t)}, Build: c.buildRef(r),
		Project: c.projectShape(c.project), URL: c.testRunURL(t) + "/Results/" + strconv.Itoa(id)}
}

// testPage is how many results are answered at once, as on the service.
const testPage = 1000

func (c *call) testResults() (any, error) {
	r, t, err := c.testRun()
	if err != nil {
		return nil, err
	}
	if err := c.Tests.Load(c.ctx(), t); err != nil {
		return nil, err
	}
	wanted := words(c.query("outcomes"), nil)
	var at []int
	for i, x := range t.Results {
		if len(wanted) == 0 || slices.Contains(wanted, strings.ToLower(x.Outcome)) {
			at = append(at, i)
		}
	}
	out := []testResultShape{}
	for _, i := range page(at, c.skip(), min(c.top(testPage), testPage)) {
		out = append(out, c.testResultShape(r, t, i))
	}
	return listOf(out), nil
}

func (c *call) testResult() (any, error) {
	r, t, err := c.testRun()
	if err != nil {
		return nil, err
	}
	if err := c.Tests.Load(c.ctx(), t); err != nil {
		return nil, err
	}
	i := number(c.params["result"]) - firstResult
	if i < 0 || i >= len(t.Results) {
		return nil, fault.New(fault.NotFound, "not-found", "test run %d has no result %s", t.Num, c.params["result"])
	}
	return c.testResultShape(r, t, i), nil
}

type outcomeSummary struct {
	Outcome  string `json:"outcome"`
	Count    int    `json:"count"`
	Duration string `json:"duration"`
}

// span writes a time as the service does: 00:00:01.2340000.
func span(d time.Duration) string {
	return fmt.Sprintf("%02d:%02d:%02d.%07d", int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60, d.Nanoseconds()%1e9/100)
}

func (c *call) resultSummary() (any, error) {
	runs, err := c.testBuilds()
	if err != nil {
		return nil, err
	}
	r := runs[0]
	sets, err := c.Tests.WithResults(c.ctx(), r.ID)
	if err != nil {
		return nil, err
	}
	ids, err := c.Runs.Before(c.ctx(), r, earlierRuns)
	if err != nil {
		return nil, err
	}
	before, old, err := c.Tests.Earlier(c.ctx(), ids)
	if err != nil {
		return nil, err
	}
	counts, took := testresult.Total(sets), map[string]time.Duration{}
	var all time.Duration
	for _, t := range sets {
		all += t.Duration
		for _, x := range t.Results {
			took[x.Outcome] += x.Duration
		}
	}
	by := map[string]outcomeSummary{}
	for _, s := range statistics(counts) {
		by[s.Outcome] = outcomeSummary{s.Outcome, s.Count, span(took[s.Outcome])}
	}
	analysis := map[string]any{"totalTests": counts.Total, "duration": span(all), "resultsByOutcome": by, "runSummaryByState": map[string]any{}}
	if before != "" {
		analysis["previousContext"] = map[string]any{"contextType": "build", "build": map[string]any{"id": number(before)}}
		was := testresult.Total(old)
		analysis["resultsDifference"] = map[string]any{"increaseInTotalTests": counts.Total - was.Total, "increaseInFailures": counts.Failed - was.Failed,
			"increaseInPassedTests": counts.Passed - was.Passed, "increaseInOtherTests": counts.Skipped + counts.Inconclusive - was.Skipped - was.Inconclusive}
	}
	return map[string]any{"aggregatedResultsAnalysis": analysis, "testFailures": c.failures(sets, old), "totalRunsCount": len(sets),
		"teamProject": c.projectShape(c.project), "testResultsContext": map[string]any{"contextType": "build",
			"build": map[string]any{"id": r.Num, "number": r.Number, "uri": "vstfs:///Build/Build/" + r.ID, "branchName": r.Branch, "definitionId": number(r.PipelineID)}}}, nil
}

// earlierRuns is how far back a run with tests is looked for.
const earlierRuns = 5

// failures compares what fails with what failed in the run before.
func (c *call) failures(now, before []*testresult.TestRun) map[string]any {
	type ref struct {
		Run    int `json:"testRunId"`
		Result int `json:"testResultId"`
	}
	type group struct {
		Count   int   `json:"count"`
		Results []ref `json:"testResults"`
	}
	failed := testresult.Failing(before)
	out := map[string]*group{"newFailures": {Results: []ref{}}, "existingFailures": {Results: []ref{}}, "fixedTests": {Results: []ref{}}}
	for _, t := range now {
		for i, x := range t.Results {
			name := ""
			switch {
			case x.Outcome == testresult.Failed && failed[x.Key()]:
				name = "existingFailures"
			case x.Outcome == testresult.Failed:
				name = "newFailures"
			case x.Outcome == testresult.Passed && failed[x.Key()]:
				name = "fixedTests"
			}
			if g := out[name]; g != nil {
				g.Count++
				g.Results = append(g.Results, ref{t.Num, firstResult + i})
			}
		}
	}
	return map[string]any{"newFailures": out["newFailures"], "existingFailures": out["existingFailures"], "fixedTests": out["fixedTests"]}
}

type coverageStat struct {
	Label    string  `json:"label"`
	Position int     `json:"position"`
	Total    int64   `json:"total"`
	Covered  int64   `json:"covered"`
	HasDelta bool    `json:"isDeltaAvailable"`
	Delta    float64 `json:"delta"`
}

type coverageData struct {
	Platform string         `json:"buildPlatform"`
	Flavor   string         `json:"buildFlavor"`
	Stats    []coverageStat `json:"coverageStats"`
}

// positions orders metrics as the service does.
var positions = map[string]int{"Classes": 1, "Complexity": 2, "Methods": 3, testresult.Lines: 4, "Instructions": 5, testresult.Branches: 6}

func (c *call) codeCoverage() (any, error) {
	runs, err := c.testBuilds()
	if err != nil {
		return nil, err
	}
	reports, err := c.Tests.Coverage(c.ctx(), runs[0].ID)
	if err != nil {
		return nil, err
	}
	data := []coverageData{}
	for _, rep := range reports {
		at := slices.IndexFunc(data, func(d coverageData) bool { return d.Platform == rep.Platform && d.Flavor == rep.Config })
		if at < 0 {
			at, data = len(data), append(data, coverageData{Platform: rep.Platform, Flavor: rep.Config, Stats: []coverageStat{}})
		}
		data[at].Stats = addStats(data[at].Stats, rep.Metrics)
	}
	return map[string]any{"coverageData": data, "build": c.buildRef(runs[0]), "deltaBuild": nil, "status": "completed", "coverageDetailedSummaryStatus": "codeCoverageSuccess"}, nil
}

func addStats(stats []coverageStat, metrics []testresult.Metric) []coverageStat {
	for _, m := range metrics {
		at := slices.IndexFunc(stats, func(s coverageStat) bool { return s.Label == m.Label })
		if at < 0 {
			at, stats = len(stats), append(stats, coverageStat{Label: m.Label, Position: cmp.Or(positions[m.Label], 6)})
		}
		stats[at].Covered += m.Covered
		stats[at].Total += m.Total
	}
	return stats
}
