package pipeline

import (
	"context"

	"penstock.dev/penstock/internal/domain/pipeline/internal/preview"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

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
