package editor

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

// FileID names a file of a project.
type FileID struct{ Repository, Path string }

// Name is how diagnostics call the file.
func (f FileID) Name() string {
	return (&syntax.File{Repository: f.Repository, Path: f.Path}).Name()
}

// Checked is what the compiler says of a document.
type Checked struct {
	Diagnostics map[FileID][]pipeline.Diagnostic // of every file that was read
	Read        []FileID
}

// Check compiles a document as a pipeline. A template that nobody calls is
// compiled through a call of its own, and what its arguments would decide is
// left out.
func (p *Project) Check(ctx context.Context, d *Document, in pipeline.Input) (Checked, error) {
	src := &recorder{source: p.Source}
	hypothetical := d.needsValues()
	if key := d.templateOf(); key != "" {
		src.probe, in.File = probe(key, d.Path), probePath
		hypothetical = true
	}
	in.Parameters = maps.Clone(in.Parameters)
	maps.DeleteFunc(in.Parameters, func(name string, _ any) bool { // they are given for all files
		_, declared := d.parameter(name)
		return !declared
	})
	_, diags, err := pipeline.Compile(ctx, src, in)
	if err != nil {
		return Checked{}, err
	}
	out := Checked{Diagnostics: map[FileID][]pipeline.Diagnostic{}, Read: src.read}
	byName := map[string]FileID{}
	for _, f := range src.read {
		byName[f.Name()] = f
		out.Diagnostics[f] = nil
	}
	for _, diag := range diags {
		f, known := byName[diag.File]
		if !known || hypothetical && decidedByValues[diag.Code] {
			continue
		}
		out.Diagnostics[f] = append(out.Diagnostics[f], diag)
	}
	return out, nil
}

// decidedByValues are mistakes that a value given later may repair.
var decidedByValues = map[string]bool{
	"parameter-required": true, "parameter-type": true, "parameter-value": true, "expression-value": true, "expression-type": true, "each-type": true,
	"expected-sequence": true, "expected-mapping": true, "expected-number": true, "expected-boolean": true, "expected-string": true, "missing-key": true,
	"missing-value": true, "unknown-value": true, "no-body": true, "no-stages": true, "unknown-repository": true, "template-path": true, "file-not-found": true,
	"name-form": true, "duplicate-name": true, "unknown-dependency": true, "task-reference": true, "task-input-missing": true,
}

// needsValues reports whether a parameter has to be given from outside.
func (d *Document) needsValues() bool {
	return slices.ContainsFunc(d.parameters(), func(p declaration) bool {
		return p.node != nil && p.node.Get("default") == nil && p.node.Get("values") == nil
	})
}

// templateOf is the content key of a document that can only be a template, or
// that is surely meant as one: nothing but parameters and content, where the
// parameters have to be given or the folder's name says so.
func (d *Document) templateOf() string {
	if d.root == nil || d.root.Kind != syntax.Mapping {
		return ""
	}
	key := ""
	for _, p := range d.root.Pairs {
		switch name := strings.ToLower(p.Key.Text); name {
		case "parameters":
		case "stages", "jobs", "steps", "variables":
			if key != "" {
				return ""
			}
			key = name
		default:
			return ""
		}
	}
	if key == "variables" || d.needsValues() || strings.Contains(strings.ToLower(d.Path), "template") {
		return key
	}
	return ""
}

// probePath is the pipeline that calls a lone template. No file can have it.
const probePath = "\x00"

func probe(key, path string) []byte {
	text := key + ":\n- template: '/" + strings.ReplaceAll(path, "'", "''") + "'\n"
	if key == "variables" {
		text += "steps:\n- script: x\n"
	}
	return []byte(text)
}

// recorder remembers what the compiler reads.
type recorder struct {
	source pipeline.Source
	probe  []byte
	mu     sync.Mutex
	read   []FileID
}

// ReadFile implements pipeline.Source.
func (r *recorder) ReadFile(ctx context.Context, repository, path string) ([]byte, error) {
	if path == probePath {
		return r.probe, nil
	}
	data, err := r.source.ReadFile(ctx, repository, path)
	if err == nil {
		r.mu.Lock()
		r.read = append(r.read, FileID{Repository: repository, Path: path})
		r.mu.Unlock()
	}
	return data, err
}
