package task

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"penstock.dev/penstock/internal/domain/testresult"
)

// Attachment is a file that a step leaves with its run.
type Attachment struct {
	Step       int // its order in the job, from 1
	Type, Name string
	Size       int64 // bytes
}

// Link is an artifact that lies elsewhere.
type Link struct{ Name, Type, Location string }

// Outcomes keeps what is known of a run beside its artifacts. Every method may
// be repeated.
type Outcomes interface {
	// Attach keeps a file.
	Attach(ctx context.Context, run string, a Attachment, content io.ReadSeeker) error
	// Cover keeps how much of the code tests reach.
	Cover(ctx context.Context, run string, c *testresult.Coverage) error
	// Tag gives the run a tag.
	Tag(ctx context.Context, run, tag string) error
	// Link keeps where an artifact lies.
	Link(ctx context.Context, run string, l Link) error
}

func (r *Remote) build(run, rest string) string {
	return "/_apis/build/builds/" + url.PathEscape(run) + rest
}

// Attach implements Outcomes.
func (r *Remote) Attach(ctx context.Context, run string, a Attachment, content io.ReadSeeker) error {
	var kept struct{ ID string }
	path := fmt.Sprintf("/attachments/%s/%s?step=%d", url.PathEscape(a.Type), url.PathEscape(a.Name), a.Step)
	return r.Client.Upload(ctx, r.path(run, path), "application/octet-stream", content, a.Size, &kept)
}

// Cover implements Outcomes.
func (r *Remote) Cover(ctx context.Context, run string, c *testresult.Coverage) error {
	return r.Client.JSON(ctx, http.MethodPost, r.path(run, "/coverage"), c, nil)
}

// Tag implements Outcomes.
func (r *Remote) Tag(ctx context.Context, run, tag string) error {
	return r.Client.JSON(ctx, http.MethodPost, r.build(run, "/tags"), []string{tag}, nil)
}

// Link implements Outcomes.
func (r *Remote) Link(ctx context.Context, run string, l Link) error {
	return r.Client.JSON(ctx, http.MethodPost, r.build(run, "/artifacts"),
		map[string]any{"name": l.Name, "resource": map[string]string{"type": l.Type, "data": l.Location}}, nil)
}
