package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
)

// Client calls the REST API of one organization.
type Client struct {
	Base    string // http://localhost:7420/default
	Project string // what InProject means
	Token   string // "" = nobody
	HTTP    *http.Client
	Agent   string // User-Agent
}

// maxAnswer bounds what is read of one answer.
const maxAnswer = 256 << 20

// InProject is a path below the client's project.
func (c *Client) InProject(path string) string { return "/" + url.PathEscape(c.Project) + path }

// Do sends a request and decodes the answer into out (nil = ignored). Errors
// are what the server said, as faults.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	stream, err := c.Stream(ctx, method, path, "application/json", body)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	if out == nil {
		_, err := io.Copy(io.Discard, io.LimitReader(stream, maxAnswer))
		return err
	}
	err = json.NewDecoder(io.LimitReader(stream, maxAnswer)).Decode(out)
	if errors.Is(err, io.EOF) {
		return nil // 204
	}
	if err != nil && ctx.Err() == nil {
		return fault.Wrap(err, fault.Unavailable, "answer-unreadable", "the answer of %s cannot be read", c.Base)
	}
	return err
}

// Stream sends a request and returns the answer's body; the caller closes it.
func (c *Client) Stream(ctx context.Context, method, path, accept string, body io.Reader) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.Base+path, body)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "invalid-address", "the server's address cannot be used").Got("%s", c.Base)
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", c.Agent)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	res, err := client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, unreachable(c.Base, err)
	}
	if res.StatusCode < 300 {
		return res.Body, nil
	}
	defer func() { _ = res.Body.Close() }()
	return nil, problem(res)
}

func unreachable(base string, err error) error {
	var inner *url.Error
	if errors.As(err, &inner) {
		err = inner.Err
	}
	return fault.New(fault.Unavailable, "server-unreachable", "the server cannot be reached").At("%s", base).Got("%s", err).
		Try("is it running? penstock up; another address: --server URL")
}

// problem turns an error answer back into the error it was.
func problem(res *http.Response) error {
	data, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	var body struct{ Message, Code, Kind, Where, Expected, Found, Do, Trace string }
	_ = json.Unmarshal(data, &body)
	if body.Kind == "" || body.Message == "" {
		kind := fault.Unavailable
		if res.StatusCode < 500 {
			kind = fault.Invalid
		}
		return fault.New(kind, "not-penstock", "that is not the answer of a Penstock server").At("%s", res.Request.URL.Redacted()).Got("%s", res.Status).
			Try("check the address: http://HOST:7420, and --org")
	}
	e := fault.New(fault.ParseKind(body.Kind), body.Code, "%s", body.Message)
	e.Where, e.Expected, e.Found, e.Do = body.Where, body.Expected, body.Found, body.Do
	return e
}

// event is one server-sent event.
type event struct{ name, data string }

// events reads server-sent events until the stream ends or tell returns an
// error.
func events(r io.Reader, tell func(event) error) error {
	in := newLines(r)
	var e event
	for {
		text, err := in.next()
		if err != nil {
			return err
		}
		name, value, _ := strings.Cut(text, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case text == "" && e.data != "":
			if err := tell(e); err != nil {
				return err
			}
			e = event{}
		case name == "event":
			e.name = value
		case name == "data":
			e.data += value
		}
	}
}

// api finds the server and makes the client, once.
func (c *cli) api(ctx context.Context) (*Client, error) {
	if c.known != nil {
		return c.known, nil
	}
	t, err := c.resolve(ctx)
	if err != nil {
		return nil, err
	}
	token, err := c.tokenFor(t)
	if err != nil {
		return nil, err
	}
	if c.flags.verbose {
		_, _ = fmt.Fprintf(c.Stderr, "server %s, organization %s, project %s (%s)\n", t.server, t.org, t.project, t.source)
	}
	c.target, c.known = t, c.client(t, token)
	return c.known, nil
}

func (c *cli) client(t target, token string) *Client {
	return &Client{Base: t.server + "/" + url.PathEscape(t.org), Project: t.project, Token: token, Agent: "penstock/" + c.Version,
		HTTP: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// inProject is api for what lives in a project.
func (c *cli) inProject(ctx context.Context) (*Client, error) {
	a, err := c.api(ctx)
	if err != nil || a.Project != "" {
		return a, err
	}
	// With one project there is nothing to choose.
	var list page[struct{ Name string }]
	if err := a.Do(ctx, http.MethodGet, "/_apis/projects", nil, &list); err != nil {
		return nil, err
	}
	switch len(list.Value) {
	case 1:
		a.Project = list.Value[0].V.Name
		return a, nil
	case 0:
		return nil, fault.New(fault.NotFound, "no-project", "there is no project you can see").Try("penstock project create NAME")
	}
	var names []string
	for _, p := range list.Value {
		names = append(names, p.V.Name)
	}
	return nil, usage("which project?").Want("-p NAME, or PENSTOCK_PROJECT").Got("%s", strings.Join(names, ", "))
}

// within bounds a context by --timeout.
func (c *cli) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.flags.timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, c.flags.timeout)
}

// get reads one object of the project.
func get[T any](ctx context.Context, c *cli, path string) (doc[T], error) {
	var d doc[T]
	a, err := c.inProject(ctx)
	if err != nil {
		return d, err
	}
	ctx, cancel := c.within(ctx)
	defer cancel()
	err = a.Do(ctx, http.MethodGet, a.InProject(path), nil, &d)
	return d, err
}

// all reads a list of the project.
func all[T any](ctx context.Context, c *cli, path string) ([]doc[T], error) {
	d, err := get[page[T]](ctx, c, path)
	return d.V.Value, err
}

// ofServer reads a list of the organization.
func ofServer[T any](ctx context.Context, c *cli, path string) ([]doc[T], error) {
	a, err := c.api(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.within(ctx)
	defer cancel()
	var list page[T]
	err = a.Do(ctx, http.MethodGet, path, nil, &list)
	return list.Value, err
}

// send changes something in the project.
func (c *cli) send(ctx context.Context, method, path string, in, out any) error {
	a, err := c.inProject(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := c.within(ctx)
	defer cancel()
	return a.Do(ctx, method, a.InProject(path), in, out)
}

// sendServer changes something in the organization.
func (c *cli) sendServer(ctx context.Context, method, path string, in, out any) error {
	a, err := c.api(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := c.within(ctx)
	defer cancel()
	return a.Do(ctx, method, path, in, out)
}

// pause waits, or ends with ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
