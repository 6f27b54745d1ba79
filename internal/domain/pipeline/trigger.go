package pipeline

import (
	"errors"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline/internal/grammar"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
	"penstock.dev/penstock/internal/domain/pipeline/internal/template"
	"penstock.dev/penstock/internal/domain/pipeline/schedule"
)

var (
	triggerKeys     = grammar.Trigger.Shape()
	pullRequestKeys = grammar.PullRequest.Shape()
	filterShape     = grammar.Filter.Shape()
	scheduleShape   = grammar.Schedule.Shape()
)

// trigger reads `trigger:` or `pr:`; the shape tells them apart.
func (d *decoder) trigger(n *syntax.Node, shape syntax.Shape) Trigger {
	pr := shape.Noun == pullRequestKeys.Noun
	t := Trigger{AutoCancel: pr, Drafts: pr}
	switch {
	case n == nil || n.IsEmpty() || n.Bad:
		t.Implied = true
		return t
	case n.Kind == syntax.Scalar && strings.EqualFold(n.Text, "none"):
		return Trigger{None: true}
	case n.Kind == syntax.Scalar || n.Kind == syntax.Sequence:
		t.Branches.Include = d.patterns(n, "a list of branches")
		return t
	}
	f, ok := syntax.ReadFields(d.report, n, shape)
	if !ok {
		return t
	}
	if !d.boolean(f, "enabled", true) {
		return Trigger{None: true}
	}
	t.Branches = d.filters(f, "branches")
	t.Paths = d.filters(f, "paths")
	if pr {
		t.AutoCancel, t.Drafts = d.boolean(f, "autoCancel", true), d.boolean(f, "drafts", true)
		return t
	}
	t.Tags = d.filters(f, "tags")
	t.Batch = d.boolean(f, "batch", false)
	return t
}

// filters reads {include, exclude}, or a list that is the includes.
func (d *decoder) filters(f syntax.Fields, key string) Filters {
	n := f.Get(key)
	if n == nil || n.IsEmpty() || n.Bad {
		return Filters{}
	}
	if n.Kind != syntax.Mapping {
		return Filters{Include: d.patterns(n, "`"+key+"`")}
	}
	inner, ok := syntax.ReadFields(d.report, n, filterShape)
	if !ok {
		return Filters{}
	}
	return Filters{Include: d.patterns(inner.Get("include"), "`include`"), Exclude: d.patterns(inner.Get("exclude"), "`exclude`")}
}

// patterns reads branch, tag or path patterns. A macro has no value before a
// run exists, so it is a mistake that would make the filter match nothing.
func (d *decoder) patterns(n *syntax.Node, what string) []string {
	out := d.texts(n, what)
	for _, text := range out {
		if strings.Contains(text, "$(") {
			d.report.Error(n, "trigger-variable", "a trigger cannot use variables").Got("%s", text).Try("write the pattern itself")
		}
	}
	return out
}

func (d *decoder) schedules(n *syntax.Node) []Schedule {
	var out []Schedule
	if n != nil && n.Kind == syntax.Scalar && strings.EqualFold(n.Text, "none") {
		return nil
	}
	for _, item := range d.list(n, "`schedules`") {
		f, ok := syntax.ReadFields(d.report, item, scheduleShape)
		if !ok {
			continue
		}
		s := Schedule{
			Cron: d.required(f, "cron", "a schedule"), DisplayName: d.key(f, "displayName"), Branches: d.filters(f, "branches"),
			Always: d.boolean(f, "always", false), Batch: d.boolean(f, "batch", false),
		}
		var mistake *fault.Error
		if _, err := schedule.Parse(s.Cron); s.Cron != "" && errors.As(err, &mistake) {
			d.report.Error(f.Get("cron"), mistake.Code, "%s", mistake.Message).Want("%s", mistake.Expected).Got("%s", mistake.Found)
		}
		out = append(out, s)
	}
	return out
}

var pipelineTriggerShape = grammar.PipelineTrigger.Shape()

// pipelineTrigger reads the trigger of a pipeline resource; nil is no trigger.
func (d *decoder) pipelineTrigger(n *syntax.Node) *PipelineTrigger {
	switch {
	case n == nil || n.Bad || n.IsEmpty():
		return nil
	case n.Kind == syntax.Scalar:
		if on, ok := template.ParseBool(n.Text); ok {
			if on {
				return &PipelineTrigger{}
			}
			return nil
		}
		if !strings.EqualFold(n.Text, "none") {
			d.report.Error(n, "unknown-value", "`trigger` of a pipeline cannot be `%s`", n.Text).Want("true, none or a mapping").Got("%s", n.Text)
		}
		return nil
	}
	f, ok := syntax.ReadFields(d.report, n, pipelineTriggerShape)
	if !ok {
		return nil
	}
	t := &PipelineTrigger{Branches: d.filters(f, "branches"), Tags: d.texts(f.Get("tags"), "`tags`"), Stages: d.texts(f.Get("stages"), "`stages`")}
	if !d.boolean(f, "enabled", true) {
		return nil
	}
	return t
}
