package server

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"penstock.dev/penstock/internal/adapter/outbound"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/mask"
	"penstock.dev/penstock/internal/domain/pipeline/evaluate"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/domain/serviceconnection"
)

// invoker runs InvokeRESTAPI: a request to the address of a generic service
// connection.
type invoker struct {
	runs   *run.Service
	client *outbound.Client
}

// callbackHeaders are what a request has whose step writes no headers: enough to
// say later how the task ended.
const callbackHeaders = `{"Content-Type": "application/json", "PlanUrl": "$(System.CollectionUri)", "ProjectId": "$(System.TeamProjectId)", "HubName": "$(System.HostType)",
"PlanId": "$(System.PlanId)", "JobId": "$(System.JobId)", "TimelineId": "$(System.TimelineId)", "TaskInstanceId": "$(System.TaskInstanceId)", "AuthToken": "$(System.AccessToken)"}`

func (v *invoker) invoke(ctx context.Context, c run.ServerCall) ([]string, map[string]string, error) {
	if c.Resumed {
		return nil, nil, fault.New(fault.Unavailable, "call-interrupted", "the server ended while the request was under way; it is not known whether it arrived").
			Try("look at the service that was called, then run the stage again")
	}
	masker := &mask.Masker{}
	masker.Add(c.Secrets...)
	req, err := v.request(ctx, c, masker)
	if err != nil {
		return nil, nil, masked(masker, err)
	}
	lines := []string{masker.Line(req.Method + " " + req.URL.Redacted())}
	answer, err := v.client.Call(req)
	if err != nil {
		return lines, nil, masked(masker, err)
	}
	body := shorten(strings.ToValidUTF8(string(answer.Body), "\uFFFD"))
	lines = append(lines, fmt.Sprintf("Response code: %d", answer.Status))
	for line := range strings.SplitSeq(body, "\n") {
		lines = append(lines, masker.Line(strings.TrimRight(line, "\r")))
	}
	if answer.Status < 200 || answer.Status > 299 {
		return lines, nil, fault.New(fault.Invalid, "call-answer", "the answer is not one of success").Got("status %d", answer.Status).Want("a status from 200 to 299")
	}
	if strings.EqualFold(c.Inputs["waitforcompletion"], "true") {
		return append(lines, "Waits for the event TaskCompleted."), nil, run.ErrWaits
	}
	return lines, nil, masked(masker, success(c.Inputs["successcriteria"], answer))
}

// masked takes secrets out of an error.
func masked(m *mask.Masker, err error) error {
	e, known := err.(*fault.Error) //nolint:errorlint // ours are not wrapped here
	if !known {
		return err
	}
	e.Message, e.Found, e.Expected, e.Do = m.Line(e.Message), m.Line(e.Found), m.Line(e.Expected), m.Line(e.Do)
	return e
}

// shorten keeps the beginning of an answer for the log.
func shorten(text string) string {
	const most = 16 << 10
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "\n…"
}

func (v *invoker) connection(c run.ServerCall) (*serviceconnection.Opened, error) {
	if kind := c.Inputs["connectedservicenameselector"]; kind == "" {
		c.Inputs["connectedservicenameselector"] = c.Inputs["connectiontype"]
	}
	if kind := c.Inputs["connectedservicenameselector"]; kind != "" && !strings.EqualFold(kind, "connectedServiceName") {
		return nil, fault.New(fault.Invalid, "unsupported-input", "connectionType %s is not supported by this version", kind).Want("connectedServiceName: a connection of type generic")
	}
	for _, input := range []string{"connectedservicename", "serviceconnection", "genericservice"} {
		for i := range c.Connections {
			if o := &c.Connections[i]; c.Inputs[input] != "" && (strings.EqualFold(o.Name, c.Inputs[input]) || strings.EqualFold(o.ID, c.Inputs[input])) {
				return o, nil
			}
		}
	}
	return nil, fault.New(fault.Invalid, "input-missing", "Input required: serviceConnection")
}

var methods = []string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"}

// request is the request that the inputs describe. Macros of secrets are
// expanded in it, and nowhere else.
func (v *invoker) request(ctx context.Context, c run.ServerCall, masker *mask.Masker) (*http.Request, error) {
	conn, err := v.connection(c)
	if err != nil {
		return nil, err
	}
	method := strings.ToUpper(cmp.Or(c.Inputs["method"], "POST"))
	if !slices.Contains(methods, method) {
		return nil, fault.New(fault.Invalid, "input-value", "there is no method %s", method).Want("%s", strings.Join(methods, ", "))
	}
	headers, body := cmp.Or(strings.TrimSpace(c.Given["headers"]), callbackHeaders), c.Given["body"]
	token := ""
	if strings.Contains(strings.ToLower(headers+body+c.Given["urlsuffix"]), "$(system.accesstoken)") {
		if token, err = v.runs.JobAccess(ctx, c.Run, c.Job); err != nil {
			return nil, err
		}
		masker.Add(token)
	}
	expand := func(text string) string { return c.Expand(replaceFold(text, "$(System.AccessToken)", token)) }
	address, err := url.Parse(conn.URL)
	if err != nil || address.Host == "" {
		return nil, fault.New(fault.Invalid, "connection-url", "service connection %s has no usable URL", conn.Name).Want("https://HOST/PATH")
	}
	if suffix := strings.TrimSpace(expand(c.Given["urlsuffix"])); suffix != "" {
		if address, err = url.Parse(strings.TrimSuffix(conn.URL, "/") + "/" + strings.TrimPrefix(suffix, "/")); err != nil {
			return nil, fault.New(fault.Invalid, "input-value", "urlSuffix makes no address of the connection's URL")
		}
		if strings.HasPrefix(suffix, "?") {
			address, _ = url.Parse(conn.URL + suffix)
		}
	}
	if method == http.MethodGet || method == http.MethodHead {
		body = ""
	}
	req, err := http.NewRequestWithContext(ctx, method, address.String(), strings.NewReader(expand(body)))
	if err != nil {
		return nil, fault.New(fault.Invalid, "input-value", "the request cannot be made of the inputs")
	}
	return req, setHeaders(req, expand(headers), conn)
}

func setHeaders(req *http.Request, headers string, conn *serviceconnection.Opened) error {
	var list map[string]any
	if err := json.Unmarshal([]byte(headers), &list); err != nil {
		return fault.New(fault.Invalid, "input-value", "headers is no JSON object").Want(`{"Content-Type": "application/json"}`)
	}
	for name, value := range list {
		text := fmt.Sprint(value)
		if strings.ContainsAny(name+text, "\r\n\x00") {
			return fault.New(fault.Invalid, "input-value", "header %q has several lines", name)
		}
		req.Header.Set(name, text)
	}
	if req.Header.Get("Authorization") == "" {
		switch user, password := conn.Parameter("username"), conn.Parameter("password"); {
		case user != "" || password != "":
			req.SetBasicAuth(user, password)
		case conn.Parameter("apitoken") != "":
			req.Header.Set("Authorization", "Bearer "+conn.Parameter("apitoken"))
		}
	}
	return nil
}

// replaceFold replaces a word in whatever case.
func replaceFold(text, word, by string) string {
	var b strings.Builder
	low, word := strings.ToLower(text), strings.ToLower(word)
	for {
		at := strings.Index(low, word)
		if at < 0 || len(low) != len(text) {
			return b.String() + text
		}
		b.WriteString(text[:at] + by)
		text, low = text[at+len(word):], low[at+len(word):]
	}
}

// success evaluates successCriteria, an expression over root, which is the
// answer.
func success(criteria string, answer *outbound.Answer) error {
	criteria = strings.TrimSpace(criteria)
	if criteria == "" {
		return nil
	}
	if !json.Valid(answer.Body) {
		return fault.New(fault.Invalid, "call-answer", "successCriteria needs an answer of JSON")
	}
	raw, err := json.Marshal(map[string]json.RawMessage{"root": answer.Body})
	if err != nil {
		return err
	}
	values, err := evaluate.ParseContext(raw)
	if err != nil {
		return err
	}
	got, err := evaluate.Evaluate(evaluate.Request{Expr: "$[" + criteria + "]", Context: values, Now: time.Now()})
	if err != nil {
		return err
	}
	if !strings.EqualFold(got.Text, "true") {
		return fault.New(fault.Invalid, "success-criteria", "the answer does not meet successCriteria").Want("%s", criteria).Got("%s", got.Text)
	}
	return nil
}
