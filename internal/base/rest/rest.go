// Package rest calls the REST API: JSON in and out, errors as what they were, and
// patience with a server that is starting again.
package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
)

// Client calls one server with one token.
type Client struct {
	Base  string // what paths are relative to, such as a project URL
	Token string
	HTTP  *http.Client
}

// Retries of a request that met no answer; the server may be starting again.
const (
	retryFor  = 2 * time.Minute
	retryWait = 500 * time.Millisecond
)

// The codes of errors that trying again may cure. What a server refuses with a
// reason of its own is not among them.
const (
	unreachable = "server-unreachable"
	notReady    = "server-not-ready" // something before the server answers for it
)

// JSON sends a request and decodes the answer into out (nil = ignored). A
// server that cannot be reached is tried again for two minutes: every route
// used here is safe to repeat.
func (c *Client) JSON(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	res, err := c.retry(ctx, func() (*http.Response, error) {
		return whole(c.do(ctx, method, path, "application/json", bytes.NewReader(body), int64(len(body))))
	})
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if out == nil {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(out)
}

// maxAnswer is how much of an answer in JSON is read, in bytes.
const maxAnswer = 64 << 20

// whole reads an answer to its end: one that breaks off is none.
func whole(res *http.Response, err error) (*http.Response, error) {
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	_ = res.Body.Close()
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, unreachable, "the answer of the server broke off")
	}
	res.Body = io.NopCloser(bytes.NewReader(data))
	return res, nil
}

// Upload sends a stream that can be read again from its start.
func (c *Client) Upload(ctx context.Context, path, contentType string, r io.ReadSeeker, size int64, out any) error {
	res, err := c.retry(ctx, func() (*http.Response, error) {
		if _, err := r.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		return whole(c.do(ctx, http.MethodPut, path, contentType, io.NopCloser(r), size))
	})
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	return json.NewDecoder(res.Body).Decode(out)
}

// Download opens a stream.
func (c *Client) Download(ctx context.Context, path string) (io.ReadCloser, error) {
	res, err := c.retry(ctx, func() (*http.Response, error) { return c.do(ctx, http.MethodGet, path, "", nil, 0) })
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

func (c *Client) retry(ctx context.Context, send func() (*http.Response, error)) (*http.Response, error) {
	deadline := time.Now().Add(retryFor)
	for {
		res, err := send()
		if err == nil && res.StatusCode < 300 {
			return res, nil
		}
		if err == nil {
			err = problem(res)
		}
		if again := fault.CodeOf(err); again != unreachable && again != notReady || time.Now().After(deadline) || ctx.Err() != nil {
			return nil, err
		}
		timer := time.NewTimer(retryWait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, err
		case <-timer.C:
		}
	}
}

func (c *Client) do(ctx context.Context, method, path, contentType string, body io.Reader, size int64) (*http.Response, error) {
	url := path
	if !strings.HasPrefix(path, "http://") && !strings.HasPrefix(path, "https://") {
		url = c.Base + path
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = size
	req.Header.Set("Authorization", "Bearer "+c.Token)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := c.HTTP.Do(req)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, unreachable, "the server cannot be reached")
	}
	return res, nil
}

// problem turns an error answer back into the error it was.
func problem(res *http.Response) error {
	defer func() { _ = res.Body.Close() }()
	data, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	var body struct {
		Message  string `json:"message"`
		Code     string `json:"code"`
		Kind     string `json:"kind"`
		Expected string `json:"expected"`
		Found    string `json:"found"`
		Do       string `json:"do"`
	}
	_ = json.Unmarshal(data, &body)
	if body.Message == "" {
		body.Message = fmt.Sprintf("%s %s: %s", res.Request.Method, res.Request.URL.Path, res.Status)
	}
	kind := fault.ParseKind(body.Kind)
	if body.Kind == "" && (res.StatusCode == http.StatusBadGateway || res.StatusCode == http.StatusServiceUnavailable || res.StatusCode == http.StatusGatewayTimeout) {
		kind, body.Code = fault.Unavailable, notReady
	}
	e := fault.New(kind, body.Code, "%s", body.Message)
	e.Expected, e.Found, e.Do = body.Expected, body.Found, body.Do
	return e
}

// Once is JSON without trying again.
func (c *Client) Once(ctx context.Context, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	res, err := c.do(ctx, method, path, "application/json", bytes.NewReader(body), int64(len(body)))
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return problem(res)
	}
	defer func() { _ = res.Body.Close() }()
	if out == nil {
		return nil
	}
	return json.NewDecoder(io.LimitReader(res.Body, 64<<20)).Decode(out)
}

// Stream sends a stream of size bytes, without trying again, and returns the body
// of the answer.
func (c *Client) Stream(ctx context.Context, method, path, contentType string, r io.Reader, size int64) (io.ReadCloser, error) {
	res, err := c.do(ctx, method, path, contentType, io.NopCloser(r), size)
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= 300 {
		return nil, problem(res)
	}
	return res.Body, nil
}

// Post sends bytes without trying again.
func (c *Client) Post(ctx context.Context, path string, data []byte, out any) error {
	res, err := c.do(ctx, http.MethodPost, path, "application/octet-stream", bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return problem(res)
	}
	defer func() { _ = res.Body.Close() }()
	return json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(out)
}
