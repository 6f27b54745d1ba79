package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/adapter/outbound"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/domain/serviceconnection"
)

func TestInvoke(t *testing.T) {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/base/fail" {
			w.WriteHeader(http.StatusBadGateway)
		}
		_, _ = fmt.Fprintf(w, `{"method":%q,"path":%q,"auth":%q,"kind":%q,"body":%q}`, r.Method, r.URL, r.Header.Get("Authorization"), r.Header.Get("X-Kind"), body)
	}))
	defer service.Close()
	vars := map[string]string{"who": "ada", "key": "s3cret-key"}
	for name, k := range map[string]struct {
		given map[string]string
		want  string // in the log
		code  string
	}{
		"get":             {map[string]string{"method": "GET", "urlSuffix": "/x?who=$(who)", "body": "not sent", "headers": "{}"}, `"method":"GET","path":"/base/x?who=ada","auth":"Basic`, ""},
		"query alone":     {map[string]string{"method": "GET", "urlSuffix": "?a=1", "headers": "{}"}, `"path":"/base?a=1"`, ""},
		"secret in body":  {map[string]string{"body": "key $(key)", "headers": `{"X-Kind":"$(who)"}`}, `"kind":"ada","body":"key ***"`, ""},
		"own header":      {map[string]string{"headers": `{"Authorization":"Bearer $(key)"}`}, `"auth":"Bearer ***"`, ""},
		"criteria":        {map[string]string{"headers": "{}", "successCriteria": "eq(root['method'], 'POST')"}, "Response code: 200", ""},
		"not met":         {map[string]string{"headers": "{}", "successCriteria": "eq(root.method, 'GET')"}, "Response code: 200", "success-criteria"},
		"no expression":   {map[string]string{"headers": "{}", "successCriteria": "eq(("}, "", "expression-syntax"},
		"failed":          {map[string]string{"headers": "{}", "urlSuffix": "fail"}, "Response code: 502", "call-answer"},
		"no method":       {map[string]string{"method": "BREW"}, "", "input-value"},
		"no headers":      {map[string]string{"headers": "X: y"}, "", "input-value"},
		"broken header":   {map[string]string{"headers": `{"X":"a\nb"}`}, "", "input-value"},
		"another kind":    {map[string]string{"connectionType": "connectedServiceNameARM"}, "", "unsupported-input"},
		"no connection":   {map[string]string{"serviceConnection": "other"}, "", "input-missing"},
		"another host":    {map[string]string{"headers": "{}", "urlSuffix": "@169.254.169.254/"}, `"path":"/base/@169.254.169.254/"`, ""},
		"waits":           {map[string]string{"headers": "{}", "waitForCompletion": "true"}, "Waits for the event", "waits"},
		"after a restart": {map[string]string{"headers": "{}"}, "", "call-interrupted"},
	} {
		t.Run(name, func(t *testing.T) {
			call := run.ServerCall{Run: &run.Run{}, Job: &run.Job{}, Inputs: map[string]string{"serviceconnection": "hooks"}, Given: map[string]string{}, Secrets: []string{"s3cret-key", "hook-pass"}, Resumed: name == "after a restart",
				Connections: []serviceconnection.Opened{{Name: "hooks", URL: service.URL + "/base", Parameters: map[string]string{"username": "ci", "password": "hook-pass"}}}}
			call.Expand = func(text string) string {
				return pipeline.ExpandMacros(text, func(n string) (string, bool) { v, ok := vars[n]; return v, ok })
			}
			for n, v := range k.given {
				call.Given[strings.ToLower(n)], call.Inputs[strings.ToLower(n)] = v, v
			}
			lines, _, err := (&invoker{client: outbound.New()}).invoke(t.Context(), call)
			log, code := strings.Join(lines, "\n"), ""
			switch {
			case errors.Is(err, run.ErrWaits):
				code = "waits"
			case err != nil:
				code = fault.CodeOf(err)
			}
			if code != k.code || !strings.Contains(log, k.want) {
				t.Errorf("%v, want %q; log:\n%s\nwant %s", err, k.code, log, k.want)
			}
			if strings.Contains(log, "s3cret-key") || strings.Contains(log, "hook-pass") {
				t.Errorf("a secret shows:\n%s", log)
			}
		})
	}
}

func TestReplaceFold(t *testing.T) {
	for text, want := range map[string]string{"": "", "a $(X) b": "a 1 b", "$(x)$(X)": "11", "ſ$(x)": "ſ1"} {
		if got := replaceFold(text, "$(X)", "1"); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
