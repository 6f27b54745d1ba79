package task

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
)

func init() {
	Register(&Task{Name: "DownloadPipelineSource", Major: []string{"1"}, Run: downloadSource})
	Register(&Task{Name: "DownloadPipelineArtifact", Major: []string{"0", "1", "2"}, Run: downloadArtifact})
	Register(&Task{Name: "DownloadBuildArtifacts", Major: []string{"0", "1"}, Run: downloadBuildArtifacts})
}

// downloadSource is the step `download:`.
func downloadSource(ctx context.Context, c *Context) error {
	source, d := c.Input("source"), &download{c: c, artifact: c.Input("artifact"), patterns: c.Input("patterns")}
	workspace, _ := c.Lookup("Pipeline.Workspace")
	switch {
	case source == "" || strings.EqualFold(source, "none"):
		return nil
	case strings.EqualFold(source, "current"):
		d.run = c.Job.RunID
		d.dir, d.subfolder = workspace, true
	default:
		for _, r := range c.Job.Resources {
			if strings.EqualFold(r.Alias, source) {
				c.Printf("Pipeline resource %s: %s run %s (%s)", r.Alias, r.Pipeline, r.Number, r.RunID)
				d.run, d.dir, d.subfolder = r.RunID, filepath.Join(workspace, r.Alias), true
			}
		}
	}
	if d.run == "" {
		return fault.New(fault.Invalid, "no-pipeline-resource", "download: there is no pipeline resource %s", source)
	}
	if p := c.Input("path"); p != "" {
		d.dir, d.subfolder = c.Path(p), d.artifact == ""
	}
	return d.all(ctx)
}

// otherRun is the run that a task downloads from: this one, one by its id, that
// of a pipeline resource, or else the newest of a pipeline that the inputs
// describe.
func otherRun(ctx context.Context, c *Context, source, id string) (string, error) {
	if !strings.EqualFold(source, "specific") {
		return c.Job.RunID, nil
	}
	if id != "" {
		return id, nil
	}
	pipeline := cmp.Or(c.Input("pipeline"), c.Input("definition"))
	if pipeline == "" {
		return "", fault.New(fault.Invalid, "no-run", "it is not known which run to download from").Want("the id of a run, or a pipeline by name, number or the alias of its resource")
	}
	for _, r := range c.Job.Resources {
		if strings.EqualFold(pipeline, r.Alias) || strings.EqualFold(pipeline, r.Pipeline) {
			return r.RunID, nil
		}
	}
	return newestRun(ctx, c, pipeline)
}

// newestRun asks the server for the last run of a pipeline of the project that
// the inputs allow.
func newestRun(ctx context.Context, c *Context, pipeline string) (string, error) {
	if err := ownProject(c); err != nil {
		return "", err
	}
	q := url.Values{"definitions": {pipeline}, "statusFilter": {"completed"}, "$top": {"1"}, "tagFilters": {c.Input("tags")}}
	results := []string{"succeeded"}
	for input, result := range map[string]string{"allowPartiallySucceededBuilds": "partiallySucceeded", "allowFailedBuilds": "failed", "allowCanceledBuilds": "canceled"} {
		if c.Bool(input) {
			results = append(results, result)
		}
	}
	q.Set("resultFilter", strings.Join(results, ","))
	if strings.EqualFold(cmp.Or(c.Input("runVersion"), c.Input("buildVersionToDownload")), "latestFromBranch") {
		q.Set("branchName", cmp.Or(c.Input("runBranch"), c.Input("branchName")))
	}
	var found struct{ Value []struct{ ID int } }
	if err := c.Client.JSON(ctx, http.MethodGet, "/_apis/build/builds?"+q.Encode(), nil, &found); err != nil {
		return "", err
	}
	if len(found.Value) == 0 {
		return "", fault.New(fault.NotFound, "no-run", "pipeline %s has no run to download from", pipeline).
			Want("one that is completed as %s", strings.Join(results, " or ")).Try("let it run first, or widen runVersion, tags and allow…Builds")
	}
	id := strconv.Itoa(found.Value[0].ID)
	c.Printf("The newest run of pipeline %s that counts is %s", pipeline, id)
	return id, nil
}

// ownProject refuses another project: a job sees its own alone.
func ownProject(c *Context) error {
	want := c.Input("project")
	for _, name := range []string{"System.TeamProject", "System.TeamProjectId"} {
		if own, _ := c.Lookup(name); want == "" || strings.EqualFold(want, own) {
			return nil
		}
	}
	return fault.New(fault.Invalid, "unsupported-input", "project: %s is not the project of this run", want).Want("$(System.TeamProject)").
		Try("publish what is needed in a pipeline of this project")
}

func downloadArtifact(ctx context.Context, c *Context) error {
	switch c.Version {
	case "0":
		return downloadNamed(ctx, c)
	case "1":
		return downloadFrom(ctx, c)
	}
	run, err := otherRun(ctx, c, c.Input("source"), c.Input("runId"))
	if err != nil {
		return err
	}
	d := &download{c: c, run: run, artifact: c.Input("artifact"), patterns: c.Input("patterns"), dir: c.Path(c.Input("path"))}
	d.subfolder = d.artifact == ""
	return d.all(ctx)
}

// downloadNamed is the task's oldest form: one artifact, by its name.
func downloadNamed(ctx context.Context, c *Context) error {
	artifact, err := c.Need("artifactName")
	if err != nil {
		return err
	}
	d := &download{c: c, run: cmp.Or(c.Input("pipelineId"), c.Job.RunID), artifact: artifact, dir: c.Path(c.Input("targetPath"))}
	return d.all(ctx)
}

// downloadFrom is its second form, whose patterns never name an artifact.
func downloadFrom(ctx context.Context, c *Context) error {
	run, err := otherRun(ctx, c, c.Input("buildType"), c.Input("buildId"))
	if err != nil {
		return err
	}
	d := &download{c: c, run: run, artifact: c.Input("artifactName"), patterns: c.Input("itemPattern"), dir: c.Path(c.Input("downloadPath")), inner: true}
	d.subfolder = d.artifact == ""
	return d.all(ctx)
}

func downloadBuildArtifacts(ctx context.Context, c *Context) error {
	run, err := otherRun(ctx, c, c.Input("buildType"), c.Input("buildId"))
	if err != nil {
		return err
	}
	d := &download{c: c, run: run, dir: c.Path(c.Input("downloadPath")), subfolder: true, whole: true}
	if d.patterns = c.Input("itemPattern"); strings.EqualFold(c.Input("downloadType"), "single") {
		if d.artifact, err = c.Need("artifactName"); err != nil {
			return err
		}
	}
	if c.Bool("cleanDestinationFolder") {
		if err := emptyFolder(d.dir); err != nil {
			return err
		}
	}
	if err := d.all(ctx); err != nil {
		return err
	}
	c.Output("BuildNumber", run, false)
	return nil
}

// download is one download of artifacts.
type download struct {
	c         *Context
	run       string
	artifact  string // "" = all
	patterns  string
	dir       string
	subfolder bool // each artifact gets a folder
	whole     bool // patterns begin with the artifact's name also where one is named
	inner     bool // they never do
}

func (d *download) all(ctx context.Context) error {
	list, err := d.c.Records.Artifacts(ctx, d.run)
	if err != nil {
		return err
	}
	var names []string
	for _, a := range list {
		names = append(names, a.Name)
		if d.artifact != "" && !strings.EqualFold(d.artifact, a.Name) {
			continue
		}
		dir := d.dir
		if d.subfolder {
			dir = filepath.Join(dir, a.Name)
		}
		patterns, err := d.within(a.Name)
		if err != nil {
			return err
		}
		if patterns == nothing {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		n, err := fetch(ctx, d.c, target{d.run, a.Name, a.Digest, dir, patterns})
		if err != nil {
			return err
		}
		d.c.Printf("Downloaded artifact %s (%s): %d entries to %s", a.Name, a.Digest, n, dir)
		if d.artifact != "" {
			return nil
		}
	}
	if d.artifact != "" {
		return fault.New(fault.NotFound, "artifact-not-found", "Artifact %s was not found for build %s.", d.artifact, d.run).
			Got("%s", cmp.Or(strings.Join(names, ", "), "no artifact"))
	}
	if len(list) == 0 {
		d.c.Warn("No artifacts are associated with build %s.", d.run)
	}
	return nil
}

// nothing is a pattern that selects nothing.
const nothing = "!**"

// within turns patterns into those of one artifact: where none is named they
// begin with an artifact's name.
func (d *download) within(name string) (string, error) {
	p := strings.TrimSpace(d.patterns)
	if p == "" || p == "**" {
		return "", nil
	}
	if d.inner || d.artifact != "" && !d.whole {
		return p, nil
	}
	var inner []string
	for line := range strings.Lines(strings.ReplaceAll(p, `\`, "/")) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		rest, not := strings.CutPrefix(line, "!")
		first, tail, slash := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
		rules, err := parsePatterns(first)
		if err != nil {
			return "", err
		}
		switch {
		case first == "**":
			inner = append(inner, line)
		case rules.match(name) && slash:
			inner = append(inner, strings.Repeat("!", boolInt(not))+tail)
		case rules.match(name):
			inner = append(inner, strings.Repeat("!", boolInt(not))+"**")
		}
	}
	return cmp.Or(strings.Join(inner, "\n"), nothing), nil
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// emptyFolder removes what is in a folder, not the folder.
func emptyFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	for _, e := range entries {
		if err := root.RemoveAll(e.Name()); err != nil {
			return err
		}
	}
	return nil
}
