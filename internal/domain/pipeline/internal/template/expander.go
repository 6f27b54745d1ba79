package template

import (
	"context"
	"maps"
	"slices"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline/internal/expression"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

// Bounds of one expansion.
const (
	MaxFiles  = 100
	MaxCalls  = 100       // nested template calls
	maxBytes  = 20 << 20  // of the expanded tree
	maxSteps  = 1_000_000 // nodes and expressions visited, also those that leave nothing behind
	nodeBytes = 40        // what a node costs besides its text
)

// ReadFunc gives the bytes of a file; see pipeline.Source.
type ReadFunc func(ctx context.Context, repository, path string) ([]byte, error)

// Options are what an expansion starts from.
type Options struct {
	Read      ReadFunc
	Report    *syntax.Report
	Variables map[string]string
	Values    map[string]any                      // of the root parameters
	Declare   func(alias, kind, name, ref string) // hears of every repository resource; nil: nobody does
	Head      bool                                // only what decides about runs; unknown values are not mistakes
	Observe   func(Observation)
}

// Expander expands one root file.
type Expander struct {
	ctx    context.Context
	opt    Options
	report *syntax.Report
	files  map[place]fetched
	order  []*syntax.File
	parsed map[string]parsed
	names  map[string]repository // repository resources by alias in lower case
	decls  map[*syntax.File]declared
	bytes  int
	steps  int
	halted bool  // a bound was hit: nothing more is expanded
	err    error // a failure that is not the user's
}

type parsed struct {
	node *expression.Node
	err  error
}

// Result is an expanded root file.
type Result struct {
	Root       *syntax.Node // a mapping without `parameters` and `extends`; nil after a failure
	Parameters []Parameter
	Declared   *syntax.Node // `parameters` of the root file as written; nil: none
	Files      []*syntax.File
}

// Expand reads and expands the root file. The error is only ever a failure of
// the source or of the context.
func Expand(ctx context.Context, file string, opt Options) (Result, error) {
	x := &Expander{
		ctx: ctx, opt: opt, report: opt.Report, files: map[place]fetched{},
		parsed: map[string]parsed{}, names: map[string]repository{}, decls: map[*syntax.File]declared{},
	}
	res := x.expandRoot(strings.TrimPrefix(strings.ReplaceAll(file, `\`, "/"), "/"))
	res.Files = x.order
	if x.halted {
		res.Root = nil // half a tree would only give mistakes that are not there
	}
	if x.err == nil {
		x.err = ctx.Err()
	}
	return res, x.err
}

func (x *Expander) expandRoot(path string) (res Result) {
	f := x.load(top(&syntax.File{Repository: "self", Path: path}), place{"self", path})
	if f == nil || f.Root == nil {
		return res
	}
	root := f.Root
	if root.Kind != syntax.Mapping {
		x.report.Error(root, "expected-mapping", "a pipeline is a mapping").Want("steps, jobs, stages or extends").Got("%s", syntax.Describe(root))
		return res
	}
	decl := x.declarations(f)
	params := x.bindRoot(decl)
	res.Parameters, res.Declared = params.list, root.Get("parameters")
	vars := newVariables(nil)
	for _, name := range slices.Sorted(maps.Keys(x.opt.Variables)) { // in order, so that loops over variables are repeatable
		vars.set(name, x.opt.Variables[name])
	}
	s := &scope{file: f, params: params, vars: newVariables(vars)}
	x.noteResources(&syntax.Node{Kind: syntax.Mapping}, s)
	if x.opt.Head {
		root = headOnly(root)
	}
	res.Root = x.mapping(root, slotRoot, s)
	if !x.opt.Head {
		res.Root = x.modern(x.extend(res.Root, s))
	}
	return res
}

// headOnly keeps the keys that decide whether and how a run starts.
func headOnly(root *syntax.Node) *syntax.Node {
	c := *root
	c.Pairs = nil
	for _, p := range root.Pairs {
		switch strings.ToLower(p.Key.Text) {
		case "stages", "jobs", "steps", "phases", "extends", "variables", "pool", "strategy", "container", "services", "workspace", "continueonerror":
		default:
			c.Pairs = append(c.Pairs, p)
		}
	}
	return &c
}

// fetched is a file that was asked for, or why it cannot be had.
type fetched struct {
	file *syntax.File
	err  error
}

// load returns a file, read once, or nil after reporting at the given node.
func (x *Expander) load(at *syntax.Node, p place) *syntax.File {
	f, err := x.fetch(at, p)
	switch name := (&syntax.File{Repository: p.repository, Path: p.path}).Name(); {
	case err == nil:
	case fault.CodeOf(err) == "repository-not-available":
		x.report.Error(at, "repository-not-available", "template %s cannot be read", name).
			Want("%s", x.repositoryText(p.repository)).Got("%s", err).Try("give the repository with --repo %s=FOLDER", p.repository)
	case fault.Is(err, fault.NotFound):
		x.report.Error(at, "file-not-found", "file %s does not exist", name).Try("check the path; it is relative to the file that names it, or begins with / for the top of the repository")
	default:
		x.err, x.halted = err, true
	}
	return f
}

// fetch reads and checks a file. Only a bound is reported here.
func (x *Expander) fetch(at *syntax.Node, p place) (*syntax.File, error) {
	key := place{strings.ToLower(p.repository), p.path}
	if f, ok := x.files[key]; ok {
		return f.file, f.err
	}
	if len(x.order) >= MaxFiles {
		x.halt(at, "too-many-files", "the pipeline reads too many files", "at most 100 files")
		return nil, nil
	}
	data, err := x.opt.Read(x.ctx, p.repository, p.path)
	if err != nil {
		x.files[key] = fetched{err: err}
		return nil, err
	}
	f := syntax.Read(x.report, p.repository, p.path, data)
	x.files[key] = fetched{file: f}
	x.order = append(x.order, f)
	if f.Root != nil {
		x.checkExpressions(f.Root)
	} else if !x.report.Failed() {
		x.report.Error(top(f), "empty-file", "%s is empty", f.Name()).Want("a pipeline or a template")
	}
	return f, nil
}

// top is the place of a file as a whole.
func top(f *syntax.File) *syntax.Node {
	return &syntax.Node{Pos: syntax.Pos{File: f, Line: 1, Column: 1}}
}

// halt reports a bound and stops the expansion.
func (x *Expander) halt(at *syntax.Node, code, message, limit string) {
	if !x.halted {
		x.report.Error(at, code, "%s", message).Want("%s", limit)
	}
	x.halted = true
}

// spend accounts for one node or expression at a place; false means stop.
func (x *Expander) spend(at *syntax.Node, size int) bool {
	x.steps++
	x.bytes += size
	switch {
	case x.halted:
	case x.steps > maxSteps:
		x.halt(at, "expansion-steps", "the pipeline takes too many steps to expand", "at most 1000000 steps")
	case x.bytes > maxBytes:
		x.halt(at, "expansion-memory", "the expanded pipeline is too large", "at most 20 MB")
	case x.steps%1024 == 0 && x.ctx.Err() != nil:
		x.err, x.halted = x.ctx.Err(), true
	}
	return !x.halted
}

// charge accounts for a whole tree that is spliced in.
func (x *Expander) charge(n *syntax.Node) bool {
	if !x.spend(n, nodeBytes+len(n.Text)) {
		return false
	}
	for _, item := range n.Items {
		if !x.charge(item) {
			return false
		}
	}
	for _, p := range n.Pairs {
		if !x.charge(p.Key) || !x.charge(p.Value) {
			return false
		}
	}
	return true
}

func bad(n *syntax.Node, call *syntax.Call) *syntax.Node {
	return &syntax.Node{Pos: n.Pos, Call: call, Bad: true}
}
