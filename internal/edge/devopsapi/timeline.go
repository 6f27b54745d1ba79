package devopsapi

import (
	"archive/zip"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/domain/attachment"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/run"
)

const (
	timelineID = "8baac422-4c6e-4de5-8532-db96d92acffa"
	logsID     = "35a80daf-7f30-45fc-86e8-6b813d9c90df"

	attachmentsID       = "f2192269-89fa-4f94-baf6-8fb128c55159"
	attachmentContentID = "af5122d3-3438-485e-a25a-2dbbfde84ee6"
)

var timelineRoutes = []Route{
	{"Build", "Timeline", timelineID, "GET", "{project}/_apis/build/builds/{build}/timeline", identity.ProjectView, (*call).timeline, nil, smallJSON},
	{"Build", "Timeline", timelineID, "GET", "{project}/_apis/build/builds/{build}/timeline/{timeline}", identity.ProjectView, (*call).timeline, nil, smallJSON},
	{"Build", "logs", logsID, "GET", "{project}/_apis/build/builds/{build}/logs", identity.ProjectView, (*call).listLogs, nil, smallJSON},
	{"Build", "logs", logsID, "GET", "{project}/_apis/build/builds/{build}/logs/{log}", identity.ProjectView, (*call).getLog, nil, smallJSON},
	{"Build", "attachments", attachmentsID, "GET", "{project}/_apis/build/builds/{build}/attachments/{type}", identity.ProjectView, (*call).listAttachments, nil, smallJSON},
	{"Build", "attachments", attachmentContentID, "GET", "{project}/_apis/build/builds/{build}/{timeline}/{record}/attachments/{type}/{name}", identity.ProjectView, (*call).getAttachment, nil, smallJSON},
}

type issue struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

type logRef struct {
	ID   int    `json:"id"`
	Type string `json:"type"`
	URL  string `json:"url"`
}

type taskRef struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

type record struct {
	ID         string    `json:"id"`
	ParentID   string    `json:"parentId,omitempty"`
	Type       string    `json:"type"`
	Name       string    `json:"name"`
	Identifier string    `json:"identifier,omitempty"`
	RefName    string    `json:"refName,omitempty"`
	Started    time.Time `json:"startTime,omitzero"`
	Finished   time.Time `json:"finishTime,omitzero"`
	Percent    int       `json:"percentComplete,omitempty"`
	State      string    `json:"state"`
	Result     string    `json:"result,omitempty"`
	Worker     string    `json:"workerName,omitempty"`
	Order      int       `json:"order"`
	Errors     int       `json:"errorCount"`
	Warnings   int       `json:"warningCount"`
	Log        *logRef   `json:"log"`
	Task       *taskRef  `json:"task"`
	Attempt    int       `json:"attempt"`
	Issues     []issue   `json:"issues,omitempty"`
}

// numbered lists the jobs of a run so that their logs keep their numbers: a job
// that is made later comes later.
func numbered(d *run.Detail) []*run.Job {
	jobs := slices.Clone(d.Jobs)
	slices.SortStableFunc(jobs, func(a, b *run.Job) int {
		return cmp.Or(a.Queued.Compare(b.Queued), strings.Compare(a.ID, b.ID))
	})
	return jobs
}

// stepsPerJob separates the log numbers of jobs.
const stepsPerJob = 1000

// latestAttempts maps each stage to its newest attempt.
func latestAttempts(d *run.Detail) map[string]int {
	attempt := map[string]int{}
	for _, st := range d.Stages {
		attempt[st.Name] = max(attempt[st.Name], st.Attempt)
	}
	return attempt
}

func (c *call) timeline() (any, error) {
	r, err := c.build()
	if err != nil {
		return nil, err
	}
	d, err := c.Runs.Load(c.ctx(), r.ID)
	if err != nil {
		return nil, err
	}
	self := c.projectURL() + "/_apis/build/builds/" + r.ID
	return map[string]any{"id": id.From("timeline", r.ID), "changeId": r.Rev(), "url": self + "/timeline", "records": records(d, self)}, nil
}

func records(d *run.Detail, self string) []record {
	list, attempt := []record{}, latestAttempts(d)
	for _, st := range d.Stages {
		if st.Attempt != attempt[st.Name] {
			continue
		}
		list = append(list, record{ID: id.From("stage", st.ID), Type: "Stage", Name: cmp.Or(st.DisplayName, st.Name), RefName: st.Name, Identifier: st.Name,
			Started: st.Started, Finished: st.Finished, State: string(st.State), Result: string(st.Result), Order: st.Order + 1, Attempt: st.Attempt, Issues: causes(st.Cause)})
	}
	for _, p := range d.Phases {
		if p.Attempt != attempt[p.Stage] {
			continue
		}
		list = append(list, record{ID: run.PhaseRecord(d.Run.ID, p.Stage, p.Name, p.Attempt), ParentID: run.StageRecord(d.Run.ID, p.Stage, p.Attempt), Type: "Phase",
			Name: cmp.Or(p.DisplayName, p.Name), RefName: p.Name, Identifier: p.Stage + "." + p.Name, Started: p.Started, Finished: p.Finished,
			State: string(p.State), Result: string(p.Result), Order: p.Order + 1, Attempt: p.Attempt, Issues: causes(p.Cause)})
	}
	for i, j := range numbered(d) {
		if !j.Of(attempt[j.Stage]) {
			continue
		}
		list = append(list, record{ID: j.ID, ParentID: run.PhaseRecord(d.Run.ID, j.Stage, j.Phase, attempt[j.Stage]), Type: "Job", Name: cmp.Or(j.DisplayName, j.Name), RefName: j.Instance(),
			Identifier: j.Identifier(), Started: j.Started, Finished: j.Finished, State: string(j.State), Result: string(j.Result),
			Order: j.Order + 1, Attempt: j.Attempt, Worker: j.AgentName, Issues: causes(j.Cause)})
		for _, s := range j.Steps {
			list = append(list, stepRecord(j, s, (i+1)*stepsPerJob+s.Order, self))
		}
	}
	return list
}

func causes(cause string) []issue {
	if cause == "" {
		return nil
	}
	return []issue{{"error", cause}}
}

func stepRecord(j *run.Job, s run.Step, log int, self string) record {
	rec := record{ID: attachment.Record(j.ID, s.Order), ParentID: j.ID, Type: "Task", Name: s.DisplayName, RefName: cmp.Or(s.Ref, s.Name), Started: s.Started, Finished: s.Finished,
		Percent: s.Percent, State: string(s.State), Result: string(s.Result), Worker: j.AgentName, Order: s.Order, Attempt: max(s.Attempt, 1), Errors: len(s.Errors), Warnings: len(s.Warnings)}
	if s.State != run.Pending {
		rec.Log = &logRef{log, "Container", self + "/logs/" + strconv.Itoa(log)}
	}
	if name, version, _ := strings.Cut(s.Task, "@"); name != "" {
		rec.Task = &taskRef{name, version}
	}
	for _, m := range s.Errors {
		rec.Issues = append(rec.Issues, issue{"error", m})
	}
	for _, m := range s.Warnings {
		rec.Issues = append(rec.Issues, issue{"warning", m})
	}
	return rec
}

type logShape struct {
	logRef
	Created time.Time `json:"createdOn"`
	Changed time.Time `json:"lastChangedOn"`
	Lines   int       `json:"lineCount"`
}

func (c *call) listLogs() (any, error) {
	r, err := c.build()
	if err != nil {
		return nil, err
	}
	d, err := c.Runs.Load(c.ctx(), r.ID)
	if err != nil {
		return nil, err
	}
	if c.accepts("application/zip") || c.query("$format") == "zip" {
		return c.sendLogs(d)
	}
	out, self := []logShape{}, c.projectURL()+"/_apis/build/builds/"+r.ID+"/logs/"
	for i, j := range numbered(d) {
		for _, s := range j.Steps {
			if s.State == run.Pending {
				continue
			}
			_, total, err := c.Runs.Logs.Lines(c.ctx(), j.LogID(s.Order), 1, 1)
			if err != nil {
				return nil, err
			}
			n := (i+1)*stepsPerJob + s.Order
			changed := s.Finished
			if changed.IsZero() {
				changed = c.Clock.Now()
			}
			out = append(out, logShape{logRef{n, "Container", self + strconv.Itoa(n)}, s.Started, changed, total})
		}
	}
	return listOf(out), nil
}

// getLog answers with lines as JSON or as text, whichever is asked for.
func (c *call) getLog() (any, error) {
	r, err := c.build()
	if err != nil {
		return nil, err
	}
	d, err := c.Runs.Load(c.ctx(), r.ID)
	if err != nil {
		return nil, err
	}
	n := number(c.params["log"])
	jobs := numbered(d)
	at, step := n/stepsPerJob-1, n%stepsPerJob
	if at < 0 || at >= len(jobs) || step < 1 || step > len(jobs[at].Steps) {
		return nil, fault.New(fault.NotFound, "not-found", "run %s has no log %s", r.ID, c.params["log"])
	}
	from, to := max(number(c.query("startLine")), 1), number(c.query("endLine"))
	lines := []string{}
	for to == 0 || from <= to {
		limit := logPage
		if to != 0 {
			limit = min(limit, to-from+1)
		}
		page, _, err := c.Runs.Logs.Lines(c.ctx(), jobs[at].LogID(step), from, limit)
		if err != nil {
			return nil, err
		}
		lines = append(lines, page...)
		from += len(page)
		if len(page) < limit {
			break
		}
	}
	if c.accepts("text/plain") && !c.accepts("application/json") {
		return c.bytes("text/plain; charset=utf-8", []byte(strings.Join(append(lines, ""), "\n"))), nil
	}
	return listOf(lines), nil
}

// logPage is how many lines are read from the store at once.
const logPage = 5000

func (c *call) listAllAttachments() (any, error) {
	r, err := c.build()
	if err != nil {
		return nil, err
	}
	found, err := c.Attachments.Of(c.ctx(), r.ID)
	if err != nil {
		return nil, err
	}
	return listOf(found), nil
}

type attachmentShape struct {
	Name  string          `json:"name"`
	Links map[string]link `json:"_links"`
}

func (c *call) listAttachments() (any, error) {
	r, err := c.build()
	if err != nil {
		return nil, err
	}
	found, err := c.Attachments.OfType(c.ctx(), r.ID, c.params["type"])
	if err != nil {
		return nil, err
	}
	base := c.projectURL() + "/_apis/build/builds/" + r.ID + "/" + id.From("timeline", r.ID) + "/"
	return mapped(found, func(a *attachment.Attachment) attachmentShape {
		return attachmentShape{a.Name, map[string]link{"self": {base + a.Record() + "/attachments/" + url.PathEscape(a.Type) + "/" + url.PathEscape(a.Name)}}}
	}), nil
}

func (c *call) getAttachment() (any, error) {
	r, err := c.build()
	if err != nil {
		return nil, err
	}
	a, err := c.Attachments.Find(c.ctx(), r.ID, c.params["record"], c.params["type"], c.params["name"])
	if err != nil {
		return nil, err
	}
	content, err := c.Attachments.Open(c.ctx(), a)
	if err != nil {
		return nil, err
	}
	defer func() { _ = content.Close() }()
	h := c.w.Header()
	h.Set("Content-Length", strconv.FormatInt(a.Size, 10))
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", strings.Map(plain, a.Name)))
	h.Set("Content-Security-Policy", "sandbox")
	c.begin("application/octet-stream")
	_, err = io.Copy(c.w, content)
	return done{}, err
}

func (c *call) putAttachment() (any, error) {
	r, err := c.ownBuild(nil)
	if err != nil {
		return nil, err
	}
	step, err := strconv.Atoi(c.query("step"))
	if err != nil || step < 1 || step > 100_000 {
		return nil, fault.New(fault.Invalid, "invalid-number", "step=%q is no number of a step", c.query("step"))
	}
	_ = http.NewResponseController(c.w).SetReadDeadline(time.Time{})
	a := &attachment.Attachment{RunID: r.ID, JobID: c.writer(), Step: step, Type: c.params["type"], Name: c.params["name"]}
	err = c.Attachments.Put(c.ctx(), a, c.r.Body)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fault.Wrap(err, fault.Unavailable, "upload-broken", "the upload broke off").Try("try again")
	case err != nil:
		return nil, err
	}
	c.Hub.Publish("run/" + r.ID)
	return a, nil
}

// sendLogs packs the logs of a run and the files that its steps keep with them.
func (c *call) sendLogs(d *run.Detail) (any, error) {
	files, err := c.Attachments.OfType(c.ctx(), d.Run.ID, attachment.File)
	if err != nil {
		return nil, err
	}
	c.w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", "logs_"+strings.Map(plain, d.Run.ID)+".zip"))
	c.begin("application/zip")
	out := &run.LogArchive{Zip: zip.NewWriter(c.w), Logs: c.Runs.Logs}
	if err := out.Add(c.ctx(), d); err != nil {
		return nil, err
	}
	for _, a := range files {
		content, err := c.Attachments.Open(c.ctx(), a)
		if err != nil {
			return nil, err
		}
		err = out.File(d, a.JobID, a.Step, a.Name, content)
		if err = errors.Join(err, content.Close()); err != nil {
			return nil, err
		}
	}
	return done{}, out.Zip.Close()
}
