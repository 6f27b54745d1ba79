package task

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/domain/testresult"
	"penstock.dev/penstock/internal/domain/testresult/format"
)

func init() {
	Register(&Task{Name: "PublishTestResults", Major: []string{"1", "2"}, Run: publishTestResults})
	Register(&Task{Name: "PublishCodeCoverageResults", Major: []string{"1", "2"}, Run: publishCoverage})
}

func publishTestResults(ctx context.Context, c *Context) error {
	folder := c.Path(c.Input("searchFolder"))
	if folder == "" {
		folder, _ = c.Lookup("System.DefaultWorkingDirectory")
	}
	return PublishMatching(ctx, c, folder, c.Inputs["testresultsfiles"])
}

// PublishMatching publishes the files that patterns select.
func PublishMatching(ctx context.Context, c *Context, folder, patterns string) error {
	files, err := FindFiles(folder, strings.Split(patterns, "\n")...)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		text := "No test result files matching '" + oneLine(strings.TrimSpace(patterns)) + "' were found below " + folder + "."
		if c.Bool("failTaskOnMissingResultsFile") {
			return fault.New(fault.Invalid, "no-results", "%s", text)
		}
		c.Warn("%s", text)
		return nil
	}
	return PublishResultFiles(ctx, c, files)
}

// mergeAbove is from how many files on they are always merged.
const mergeAbove = 100

// PublishResultFiles publishes files of results under the inputs of
// PublishTestResults. A file that cannot be read is a warning.
func PublishResultFiles(ctx context.Context, c *Context, files []string) error {
	kind := cmp.Or(c.Input("testRunner"), c.Input("testResultsFormat"), "JUnit")
	if !format.Known(kind) {
		return fault.New(fault.Invalid, "unsupported-format", "test results format %s is not supported", kind).Want("%s", strings.Join(format.Names, ", "))
	}
	var runs []*testresult.TestRun
	merge := c.Bool("mergeTestResults") || len(files) > mergeAbove
	for _, file := range files {
		file = strings.TrimSpace(file)
		if file == "" {
			continue
		}
		results, err := readResults(kind, c.Path(file))
		if err != nil {
			c.Warn("Failed to read %s: %s", file, explain(err))
			continue
		}
		if merge && len(runs) > 0 {
			runs[0].Results = append(runs[0].Results, results.Results...)
			runs[0].Duration += results.Duration
			continue
		}
		runs = append(runs, &testresult.TestRun{ID: id.New(), JobID: c.Job.JobID, Title: runTitle(c, kind, file, merge), Platform: cmp.Or(c.Input("platform"), c.Input("buildPlatform")),
			Config: cmp.Or(c.Input("configuration"), c.Input("buildConfiguration")), Duration: results.Duration, Results: results.Results})
	}
	failed := 0
	for _, r := range runs {
		for i := range r.Results {
			x := &r.Results[i]
			x.Name, x.Suite, x.Message, x.Stack = c.Mask(x.Name), c.Mask(x.Suite), c.Mask(x.Message), c.Mask(x.Stack)
		}
		if err := c.Records.Tests(ctx, c.Job.RunID, r); err != nil {
			if c.Bool("failTaskOnFailureToPublishResults") || ctx.Err() != nil {
				return err
			}
			c.Warn("Test results %s could not be published: %s", r.Title, explain(err))
		}
		failed += r.Count(testresult.Failed)
		c.Printf("Published %d test results of %s: %d passed, %d failed, %d not executed", len(r.Results), r.Title,
			r.Count(testresult.Passed), r.Count(testresult.Failed), len(r.Results)-r.Count(testresult.Passed)-r.Count(testresult.Failed))
	}
	if failed > 0 && c.Bool("failTaskOnFailedTests") {
		return fault.New(fault.Invalid, "tests-failed", "There are one or more test failures detected in result files: %d failed.", failed)
	}
	return nil
}

func runTitle(c *Context, kind, file string, merged bool) string {
	title := c.Input("testRunTitle")
	build, _ := c.Lookup("Build.BuildId")
	switch {
	case title == "":
		title = kind + "_TestResults_" + build
		if !merged {
			title = filepath.Base(file)
		}
	case !merged:
		title += " " + filepath.Base(file)
	}
	return c.Mask(title)
}

func readResults(kind, name string) (*format.File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return format.Read(kind, f)
}

// explain is an error with what was expected.
func explain(err error) string {
	var e *fault.Error
	if errors.As(err, &e) && e.Expected != "" {
		return err.Error() + " (expected " + e.Expected + ")"
	}
	return err.Error()
}

func publishCoverage(ctx context.Context, c *Context) error {
	pattern, err := c.Need("summaryFileLocation")
	if err != nil {
		return err
	}
	base, _ := c.Lookup("System.DefaultWorkingDirectory")
	files, err := FindFiles(base, strings.Split(pattern, "\n")...)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		if c.Bool("failIfCoverageEmpty") {
			return fault.New(fault.Invalid, "no-coverage", "No code coverage results were found to publish.").Want("a file that matches %s", oneLine(pattern))
		}
		c.Warn("No code coverage summary file matching %s was found.", oneLine(pattern))
		return nil
	}
	if c.Version == "1" && len(files) > 1 {
		c.Warn("Multiple summary files match %s; the first one, %s, counts.", oneLine(pattern), files[0])
		files = files[:1]
	}
	return PublishCoverageFiles(ctx, c, files, c.Input("reportDirectory"))
}

// PublishCoverageFiles keeps what coverage files say, merged, and the report as
// an artifact, as the service does.
func PublishCoverageFiles(ctx context.Context, c *Context, files []string, report string) error {
	all, err := readCoverage(c, files)
	if err != nil {
		return err
	}
	numbers := int64(0)
	var words []string
	for _, m := range all.Metrics {
		words = append(words, m.String())
		numbers += m.Total
	}
	if numbers == 0 && c.Bool("failIfCoverageEmpty") {
		return fault.New(fault.Invalid, "no-coverage", "The coverage summary holds no numbers.")
	}
	c.Print("##[section]Code coverage: " + strings.Join(words, ", "))
	if err := c.Outcomes.Cover(ctx, c.Job.RunID, coverageOf(c, all)); err != nil {
		return err
	}
	if report == "" {
		return nil
	}
	build, _ := c.Lookup("Build.BuildId")
	return PublishPaths(ctx, c, "Code Coverage Report_"+build, []string{c.Path(report)})
}

func readCoverage(c *Context, files []string) (*format.Report, error) {
	all := &format.Report{}
	for i, file := range files {
		f, err := os.Open(c.Path(file))
		if err != nil {
			return nil, fault.Wrap(err, fault.Invalid, "no-file", "the coverage summary cannot be read")
		}
		rep, err := format.Coverage(f)
		_ = f.Close()
		if err != nil {
			return nil, err
		}
		if i == 0 {
			all = rep
		} else {
			all.Merge(rep)
		}
	}
	return all, nil
}

// coverageOf is what is kept of a report. Source files are named as the
// repository knows them.
func coverageOf(c *Context, rep *format.Report) *testresult.Coverage {
	cov := &testresult.Coverage{ID: id.New(), JobID: c.Job.JobID, Platform: cmp.Or(c.Input("platform"), c.Input("buildPlatform")),
		Config: cmp.Or(c.Input("configuration"), c.Input("buildConfiguration")), Metrics: rep.Metrics, Files: rep.Files()}
	if cov.Count = len(cov.Files); cov.Count > testresult.MaxFiles {
		c.Warn("The coverage names %d source files; the first %d are listed, the totals count all.", cov.Count, testresult.MaxFiles)
		cov.Files = cov.Files[:testresult.MaxFiles]
	}
	sources, _ := c.Lookup("Build.SourcesDirectory")
	for i := range cov.Files {
		f := &cov.Files[i]
		if rest, ok := strings.CutPrefix(f.Name, sources); ok && sources != "" {
			f.Name = strings.TrimLeft(rest, `/\`)
		}
		f.Package, f.Name = c.Mask(f.Package), c.Mask(f.Name)
	}
	return cov
}
