// Package pipeline turns azure-pipelines.yml and its templates into a Plan, and
// holds the pure functions with which a run carries that plan out: conditions,
// expressions, macros, run numbers, trigger and demand matching.
//
// Compile is the one door. Behind it text becomes a tree (internal/syntax), the
// tree loses its `${{ }}` (internal/template, internal/expression), and what is
// left is read into a Plan here.
package pipeline

import (
	"cmp"
	"context"
	"slices"

	"penstock.dev/penstock/internal/domain/pipeline/internal/preview"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
	"penstock.dev/penstock/internal/domain/pipeline/internal/template"
)

// Source gives the compiler its files. Repository is "self" or the alias of a
// repository resource; path is slash separated without a leading slash. An
// error of kind fault.NotFound means the file does not exist; code
// "repository-not-available" means the repository is not at hand.
type Source interface {
	ReadFile(ctx context.Context, repository, path string) ([]byte, error)
}

// Declarer is a Source that wants to know the repository resources, also those
// that only a template declares, before it is asked for their files.
type Declarer interface {
	Declare(r RepositoryResource)
}

// Input is what a compilation depends on besides its files.
type Input struct {
	File       string            // path of the root file in "self"
	Parameters map[string]any    // values given for root parameters: string, bool, float64, []any, map[string]any; text is converted to the declared type
	Variables  map[string]string // predefined, queue-time and pipeline variables visible in `${{ variables.x }}`
}

// Severity of a Diagnostic.
type Severity string

// The two severities.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Diagnostic is one finding about a pipeline file.
type Diagnostic struct {
	Severity Severity   `json:"severity"`
	Code     string     `json:"code"` // lower-case words, never reused
	Message  string     `json:"message"`
	Location            // file, line, column
	Length   int        `json:"length,omitempty"` // characters from Column that are meant
	Chain    []Location `json:"chain,omitempty"`  // template calls, innermost first
	Where    string     `json:"where,omitempty"`  // stage verify › job build
	Expected string     `json:"expected,omitempty"`
	Found    string     `json:"found,omitempty"`
	Do       string     `json:"do,omitempty"`
	Snippet  string     `json:"snippet,omitempty"` // the source line
}

// Compile reads, expands and validates a pipeline. The plan is nil if any
// diagnostic is an error; all of them are reported at once. err is only a
// failure of the source or of the context.
func Compile(ctx context.Context, src Source, in Input) (*Plan, []Diagnostic, error) {
	c, err := compile(ctx, src, in)
	return c.plan, c.diags, err
}

func declare(src Source) func(alias, kind, name, ref string) {
	d, ok := src.(Declarer)
	if !ok {
		return func(string, string, string, string) {}
	}
	return func(alias, kind, name, ref string) {
		d.Declare(RepositoryResource{Alias: alias, Type: cmp.Or(kind, "git"), Name: name, Ref: ref})
	}
}

// compiled is all that a compilation gives.
type compiled struct {
	plan  *Plan // nil if there is an error among the diagnostics
	diags []Diagnostic
	res   template.Result
}

func compile(ctx context.Context, src Source, in Input) (c compiled, err error) {
	report := &syntax.Report{}
	c.res, err = template.Expand(ctx, in.File, template.Options{
		Read: src.ReadFile, Report: report, Variables: in.Variables, Values: in.Parameters, Declare: declare(src),
	})
	if err != nil {
		return compiled{}, err
	}
	if c.res.Root != nil {
		d := &decoder{report: report}
		c.plan = d.plan(c.res.Root)
		finish(c.plan, c.res)
		c.plan.nameEnvironments(in.Variables)
		if !report.Failed() {
			lint(c.plan, report, c.res.Files)
		}
	}
	c.diags = diagnostics(report, c.res.Files)
	if report.Failed() {
		c.plan = nil
	}
	return c, nil
}

// ReadHead reads only what decides which runs to queue: triggers, resources,
// declared parameters and the number format. Stages stay empty and templates
// unread. Values that are not known yet are no mistake; the plan is nil only
// when the file cannot be read at all.
func ReadHead(ctx context.Context, src Source, file string) (*Plan, []Diagnostic, error) {
	report := &syntax.Report{}
	res, err := template.Expand(ctx, file, template.Options{Read: src.ReadFile, Report: report, Head: true, Declare: declare(src)})
	if err != nil {
		return nil, nil, err
	}
	var plan *Plan
	if res.Root != nil {
		d := &decoder{report: report, head: true}
		plan = d.plan(res.Root)
		finish(plan, res)
	}
	diags := slices.DeleteFunc(diagnostics(report, res.Files), func(d Diagnostic) bool { return unknownYet[d.Code] })
	return plan, diags, nil
}

// unknownYet are mistakes that values given later may repair.
var unknownYet = map[string]bool{
	"expression-syntax": true, "expression-value": true, "expression-type": true, "unknown-name": true, "unknown-function": true,
	"unknown-parameter": true, "argument-count": true, "each-type": true, "parameter-required": true, "directive": true,
}

// finish adds what the expansion knows to a plan.
func finish(p *Plan, res template.Result) {
	for _, f := range res.Files {
		p.Files = append(p.Files, SourceFile{Repository: f.Repository, Path: f.Path})
	}
	p.File = p.Files[0].Path
	for _, param := range res.Parameters {
		out := Parameter{Name: param.Name, DisplayName: param.DisplayName, Type: param.Type, Values: param.Values, Origin: originOf(param.Node)}
		out.Default, out.Value = plainValue(param.Default), plainValue(param.Value)
		p.Parameters = append(p.Parameters, out)
	}
}

// diagnostics converts what was found, in the order of files, lines and columns.
func diagnostics(report *syntax.Report, files []*syntax.File) []Diagnostic {
	rank := map[string]int{}
	for i, f := range files {
		rank[f.Name()] = i
	}
	var out []Diagnostic
	for _, p := range report.Problems() {
		d := Diagnostic{
			Severity: Error, Code: p.Code, Message: p.Message, Location: locationOf(p.Pos), Length: p.Length, Chain: chainOf(p.Call),
			Where: p.Where, Expected: p.Expected, Found: p.Found, Do: p.Do, Snippet: p.Pos.File.Line(p.Pos.Line),
		}
		if p.Warning {
			d.Severity = Warning
		}
		out = append(out, d)
	}
	slices.SortStableFunc(out, func(a, b Diagnostic) int {
		return cmp.Or(cmp.Compare(rank[a.File], rank[b.File]), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return out
}

func locationOf(p syntax.Pos) Location {
	return Location{File: p.File.Name(), Line: p.Line, Column: p.Column}
}

func chainOf(c *syntax.Call) []Location {
	var out []Location
	for ; c != nil; c = c.Outer {
		out = append(out, locationOf(c.Pos))
	}
	return out
}

func originOf(n *syntax.Node) Origin {
	return Origin{Location: locationOf(n.Pos), Chain: chainOf(n.Call)}
}

// Expanded is a pipeline after its templates, every shorthand spelled out: what
// the service calls the final YAML of a run.
type Expanded struct{ root *syntax.Node }

// Expand compiles a pipeline and returns it as one file without templates. It
// is nil if any diagnostic is an error. err is only a failure of the source or
// of the context.
func Expand(ctx context.Context, src Source, in Input) (*Expanded, []Diagnostic, error) {
	c, err := compile(ctx, src, in)
	if err != nil {
		return nil, nil, err
	}
	if c.plan == nil {
		return nil, c.diags, nil
	}
	return &Expanded{preview.Normalize(c.res.Root, c.res.Declared)}, c.diags, nil
}

// YAML prints the file.
func (e *Expanded) YAML() (string, error) { return preview.YAML(e.root) }

// Annotated prints the file; a comment at each line says where it was written
// and which template calls led there, the nearest first.
func (e *Expanded) Annotated() (string, error) { return preview.Annotated(e.root) }

// JSON prints the file as JSON, with every scalar as text.
func (e *Expanded) JSON() ([]byte, error) { return preview.JSON(e.root) }
