package devopsapi

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/artifact"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/repos"
	"penstock.dev/penstock/internal/domain/run"
)

const (
	buildsID         = "0cd358e1-9217-4d94-8269-1c1ee6f93dcf"
	buildArtifactsID = "1db06c96-014e-44e1-ac91-90b2d4b3e984"
	buildTagsID      = "6e6114b2-8161-44c8-8f6c-c5505782427f"
	projectTagsID    = "d84ac5c6-edc7-43d5-adc9-1b34be5dea09"
)

var buildRoutes = []Route{
	{"Build", "builds", buildsID, "GET", "{project}/_apis/build/builds", identity.ProjectView, (*call).listBuilds, nil, smallJSON},
	{"Build", "builds", buildsID, "GET", "{project}/_apis/build/builds/{build}", identity.ProjectView, (*call).getBuild, nil, smallJSON},
	{"Build", "builds", buildsID, "PATCH", "{project}/_apis/build/builds/{build}", identity.RunQueue, (*call).patchBuild, nil, smallJSON},
	{"Build", "artifacts", buildArtifactsID, "GET", "{project}/_apis/build/builds/{build}/artifacts", identity.ProjectView, (*call).listBuildArtifacts, nil, smallJSON},
	{"Build", "artifacts", buildArtifactsID, "POST", "{project}/_apis/build/builds/{build}/artifacts", identity.ArtifactWrite, (*call).linkArtifact, nil, smallJSON},
	{"Build", "tags", buildTagsID, "GET", "{project}/_apis/build/builds/{build}/tags", identity.ProjectView, (*call).listTags, nil, smallJSON},
	{"Build", "tags", buildTagsID, "POST", "{project}/_apis/build/builds/{build}/tags", identity.RunTag, (*call).addTags, nil, smallJSON},
	{"Build", "tags", buildTagsID, "PUT", "{project}/_apis/build/builds/{build}/tags/{*tag}", identity.RunTag, (*call).addTag, nil, smallJSON},
	{"Build", "tags", buildTagsID, "DELETE", "{project}/_apis/build/builds/{build}/tags/{*tag}", identity.RunTag, (*call).removeTag, nil, smallJSON},
	{"Build", "tags", projectTagsID, "GET", "{project}/_apis/build/tags", identity.ProjectView, (*call).projectTags, nil, smallJSON},
}

type definitionShape struct {
	ID      int          `json:"id"`
	Name    string       `json:"name"`
	Path    string       `json:"path"`
	Type    string       `json:"type"`
	URL     string       `json:"url"`
	Project projectShape `json:"project"`
}

type buildShape struct {
	ID            int             `json:"id"`
	Number        string          `json:"buildNumber"`
	Status        string          `json:"status"`
	Result        string          `json:"result,omitempty"`
	Queued        time.Time       `json:"queueTime"`
	Started       time.Time       `json:"startTime,omitzero"`
	Finished      time.Time       `json:"finishTime,omitzero"`
	Reason        string          `json:"reason"`
	Priority      string          `json:"priority"`
	Definition    definitionShape `json:"definition"`
	Project       projectShape    `json:"project"`
	URI           string          `json:"uri"`
	URL           string          `json:"url"`
	SourceBranch  string          `json:"sourceBranch"`
	SourceVersion string          `json:"sourceVersion"`
	RequestedFor  person          `json:"requestedFor"`
	RequestedBy   person          `json:"requestedBy"`
	Parameters    map[string]any  `json:"templateParameters,omitempty"`
	Plan          map[string]any  `json:"orchestrationPlan"`
	Logs          map[string]any  `json:"logs"`
	Repository    repositoryName  `json:"repository"`
	Validation    []validation    `json:"validationResults"`
	Tags          []string        `json:"tags"`
	TriggerInfo   map[string]any  `json:"triggerInfo"`
	Cause         string          `json:"cause,omitempty"` // ours: why it failed, for people
	Links         map[string]link `json:"_links"`
}

type validation struct {
	Result  string `json:"result"`
	Message string `json:"message"`
}

func buildStatus(r *run.Run) string {
	switch {
	case r.State == run.Completed:
		return "completed"
	case r.CancelRequested:
		return "cancelling"
	case r.State == run.Pending:
		return "notStarted"
	}
	return "inProgress"
}

var buildResults = map[run.Result]string{run.Succeeded: "succeeded", run.SucceededWithIssues: "partiallySucceeded", run.Failed: "failed",
	run.Canceled: "canceled", run.Skipped: "canceled", run.Abandoned: "canceled"}

func (c *call) buildShape(r *run.Run) buildShape {
	self := c.projectURL() + "/_apis/build/builds/" + r.ID
	p := c.projectShape(c.project)
	by := personOf(r.RequestedByID, r.RequestedBy)
	s := buildShape{ID: r.Num, Number: r.Number, Status: buildStatus(r), Queued: r.Queued, Started: r.Started, Finished: r.Finished, Reason: string(r.Reason), Priority: "normal",
		Definition: definitionShape{ID: number(r.PipelineID), Name: r.Pipeline, Path: `\`, Type: "build", URL: c.projectURL() + "/_apis/pipelines/" + r.PipelineID, Project: p},
		Project:    p, URI: "vstfs:///Build/Build/" + r.ID, URL: self, SourceBranch: r.Branch, SourceVersion: r.Commit, RequestedFor: by, RequestedBy: by, Parameters: r.Parameters,
		Plan: map[string]any{"planId": id.From("plan", r.ID)}, Logs: map[string]any{"id": 0, "type": "Container", "url": self + "/logs"},
		Repository: repositoryName{ID: r.RepoID, Type: "TfsGit"}, Validation: []validation{}, Tags: tagsOf(r), TriggerInfo: map[string]any{}, Cause: r.Cause,
		Links: map[string]link{"self": {self}, "web": {c.runPage(r.ID)}, "timeline": {self + "/timeline"}}}
	if r.State == run.Completed {
		s.Result = buildResults[r.Result]
	}
	if r.PullRequest != 0 {
		s.TriggerInfo["pr.number"] = strconv.Itoa(r.PullRequest)
	}
	for _, d := range r.Diagnostics {
		s.Validation = append(s.Validation, validation{string(d.Severity), d.String()})
	}
	return s
}

// words reads a filter of words, or of flags as a number.
func words(text string, flags map[int]string) []string {
	var list []string
	for part := range strings.SplitSeq(text, ",") {
		part = strings.ToLower(strings.TrimSpace(part))
		n, err := strconv.Atoi(part)
		if err != nil {
			if part != "" && part != "all" && part != "none" {
				list = append(list, part)
			}
			continue
		}
		for bit, word := range flags {
			if n&bit != 0 {
				list = append(list, strings.ToLower(word))
			}
		}
	}
	return list
}

var (
	statusFlags = map[int]string{1: "inProgress", 2: "completed", 4: "cancelling", 32: "notStarted"}
	resultFlags = map[int]string{2: "succeeded", 4: "partiallySucceeded", 8: "failed", 32: "canceled"}
)

func (c *call) listBuilds() (any, error) {
	q := store.Where("project_id", c.project.ID).Latest("num")
	if branch := c.query("branchName"); branch != "" {
		q = q.And("branch", repos.FullBranch(branch))
	}
	var definitions []string
	for name := range strings.SplitSeq(c.query("definitions"), ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		p, err := c.Runs.FindPipeline(c.ctx(), c.project.ID, name)
		if err != nil {
			return nil, err
		}
		definitions = append(definitions, p.ID)
	}
	if len(definitions) > 0 {
		q = q.AndOp("pipeline_id", store.In, definitions)
	}
	top, statuses, results := c.top(1000), words(c.query("statusFilter"), statusFlags), words(c.query("resultFilter"), resultFlags)
	if len(statuses) == 0 && len(results) == 0 && c.query("requestedFor") == "" && c.query("buildNumber") == "" && c.query("minTime") == "" && c.query("tagFilters") == "" {
		q = q.Top(top)
	}
	found, err := c.Runs.Runs.Find(c.ctx(), q)
	if err != nil {
		return nil, err
	}
	out := []buildShape{}
	for _, r := range found {
		if len(out) == top || !c.wants(r, statuses, results) {
			continue
		}
		out = append(out, c.buildShape(r))
	}
	return listOf(out), nil
}

func (c *call) wants(r *run.Run, statuses, results []string) bool {
	for tag := range strings.SplitSeq(c.query("tagFilters"), ",") {
		if tag = strings.TrimSpace(tag); tag != "" && !r.HasTag(tag) {
			return false
		}
	}
	if len(statuses) > 0 && !slices.Contains(statuses, strings.ToLower(buildStatus(r))) {
		return false
	}
	if len(results) > 0 && (r.State != run.Completed || !slices.Contains(results, strings.ToLower(buildResults[r.Result]))) {
		return false
	}
	if who := c.query("requestedFor"); who != "" && !strings.EqualFold(who, r.RequestedBy) && who != r.RequestedByID {
		return false
	}
	if n := c.query("buildNumber"); n != "" && n != r.Number {
		return false
	}
	if t, err := time.Parse(time.RFC3339, c.query("minTime")); err == nil && r.Queued.Before(t) {
		return false
	}
	return true
}

// build returns the run of the address; one of another project is not there.
func (c *call) build() (*run.Run, error) {
	id := c.params["build"]
	if id == "" {
		id = c.params["run"]
	}
	return c.Runs.FindRun(c.ctx(), c.project.ID, id)
}

func (c *call) getBuild() (any, error) {
	r, err := c.build()
	if err != nil {
		return nil, err
	}
	return c.buildShape(r), nil
}

func (c *call) patchBuild() (any, error) {
	var in struct{ Status any }
	r, err := c.build()
	if err != nil {
		return nil, err
	}
	if c.flag("retry") {
		if r, err = c.Runs.Rerun(c.ctx(), r.ID, ""); err != nil {
			return nil, err
		}
		return c.buildShape(r), nil
	}
	if err := c.read(&in); err != nil {
		return nil, err
	}
	if status := strings.ToLower(text(in.Status)); status != "cancelling" && status != "4" {
		return nil, fault.New(fault.Invalid, "unknown-status", "a run's status cannot become %q", status).Want("cancelling")
	}
	if r, err = c.Runs.Cancel(c.ctx(), r.ID); err != nil {
		return nil, err
	}
	return c.buildShape(r), nil
}

type buildArtifact struct {
	ID       string           `json:"id"`
	Name     string           `json:"name"`
	Source   string           `json:"source"`
	Resource artifactResource `json:"resource"`
}

type artifactResource struct {
	Type        string            `json:"type"`
	Data        string            `json:"data"`
	Properties  map[string]string `json:"properties"`
	URL         string            `json:"url"`
	DownloadURL string            `json:"downloadUrl"`
}

func (c *call) artifactShape(r *run.Run, a *artifact.Artifact) buildArtifact {
	self := c.projectURL() + "/_apis/build/builds/" + r.ID + "/artifacts?artifactName=" + url.QueryEscape(a.Name)
	return buildArtifact{ID: a.ID, Name: a.Name, Source: a.JobID, Resource: artifactResource{Type: "PipelineArtifact", Data: a.Digest, URL: self,
		Properties:  map[string]string{"artifactsize": strconv.FormatInt(a.Size, 10)},
		DownloadURL: c.projectURL() + "/_apis/penstock/runs/" + r.ID + "/artifacts/" + url.PathEscape(a.Name) + "/content"}}
}

// linkShape is an artifact that lies elsewhere, under its own type.
func (c *call) linkShape(r *run.Run, l *artifact.Link) buildArtifact {
	self := c.projectURL() + "/_apis/build/builds/" + r.ID + "/artifacts?artifactName=" + url.QueryEscape(l.Name)
	return buildArtifact{ID: l.ID, Name: l.Name, Source: l.JobID, Resource: artifactResource{Type: l.Type, Data: l.Location, URL: self,
		Properties: map[string]string{}, DownloadURL: l.Web()}}
}

func (c *call) listBuildArtifacts() (any, error) {
	r, err := c.build()
	if err != nil {
		return nil, err
	}
	if name := c.query("artifactName"); name != "" {
		return c.oneArtifact(r, name)
	}
	found, err := c.Artifacts.Of(c.ctx(), r.ID)
	if err != nil {
		return nil, err
	}
	links, err := c.Links.Of(c.ctx(), r.ID)
	if err != nil {
		return nil, err
	}
	out := mapped(found, func(a *artifact.Artifact) buildArtifact { return c.artifactShape(r, a) }).Value
	for _, l := range links {
		out = append(out, c.linkShape(r, l))
	}
	return listOf(out), nil
}

func (c *call) oneArtifact(r *run.Run, name string) (any, error) {
	a, err := c.Artifacts.Find(c.ctx(), r.ID, name)
	if fault.Is(err, fault.NotFound) {
		if l, err := c.Links.Find(c.ctx(), r.ID, name); err == nil {
			return c.linkShape(r, l), nil
		}
	}
	if err != nil {
		return nil, err
	}
	if c.accepts("application/zip") || c.query("$format") == "zip" {
		return c.sendArtifact(a)
	}
	return c.artifactShape(r, a), nil
}

// linkArtifact keeps where an artifact lies.
func (c *call) linkArtifact() (any, error) {
	var in struct {
		Name     string
		Resource struct{ Type, Data string }
	}
	r, err := c.ownBuild(&in)
	if err != nil {
		return nil, err
	}
	if a, err := c.Artifacts.Find(c.ctx(), r.ID, in.Name); err == nil {
		return nil, fault.New(fault.Conflict, "artifact-exists", "artifact %s already exists in this run", in.Name).Got("%s", a.Digest)
	} else if !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	l, err := c.Links.Put(c.ctx(), &artifact.Link{RunID: r.ID, JobID: c.writer(), Name: in.Name, Type: in.Resource.Type, Location: in.Resource.Data})
	if err != nil {
		return nil, err
	}
	c.Hub.Publish("run/" + r.ID)
	return c.linkShape(r, l), nil
}

// ownBuild is the run of the address, for who writes to it, and the body.
func (c *call) ownBuild(into any) (*run.Run, error) {
	r, err := c.build()
	if err != nil {
		return nil, err
	}
	if err := c.own(r); err != nil {
		return nil, err
	}
	if into != nil {
		err = c.read(into)
	}
	return r, err
}

func tagsOf(r *run.Run) []string { return append([]string{}, r.Tags...) }

func (c *call) listTags() (any, error) {
	r, err := c.build()
	if err != nil {
		return nil, err
	}
	return listOf(tagsOf(r)), nil
}

func (c *call) tag(add, remove []string, into any) (any, error) {
	r, err := c.ownBuild(into)
	if err != nil {
		return nil, err
	}
	if list, ok := into.(*[]string); ok && list != nil {
		add = *list
	}
	if r, err = c.Runs.Tag(c.ctx(), r.ID, add, remove); err != nil {
		return nil, err
	}
	return listOf(tagsOf(r)), nil
}

func (c *call) addTags() (any, error)   { return c.tag(nil, nil, &[]string{}) }
func (c *call) addTag() (any, error)    { return c.tag([]string{c.params["tag"]}, nil, nil) }
func (c *call) removeTag() (any, error) { return c.tag(nil, []string{c.params["tag"]}, nil) }

// projectTags lists the tags that the runs of a project carry.
func (c *call) projectTags() (any, error) {
	runs, err := c.Runs.Runs.Find(c.ctx(), store.Where("project_id", c.project.ID))
	if err != nil {
		return nil, err
	}
	tags := []string{}
	for _, r := range runs {
		for _, tag := range r.Tags {
			if !slices.ContainsFunc(tags, func(t string) bool { return strings.EqualFold(t, tag) }) {
				tags = append(tags, tag)
			}
		}
	}
	slices.Sort(tags)
	return listOf(tags), nil
}
