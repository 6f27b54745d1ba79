package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

var placeholder = regexp.MustCompile(`\{(test|[a-z-]+)\}`)

// rest sends a request below the project and keeps the answer in rest.out: rest
// METHOD PATH [BODY]. {NAME} stands for the newest run of a pipeline, {test} for
// the newest set of test results that was listed.
func rest(ts *testscript.TestScript, neg bool, args []string) {
	path := placeholder.ReplaceAllStringFunc(args[1], func(m string) string {
		if m == "{test}" {
			var list struct{ Value []struct{ ID int } }
			ts.Check(json.Unmarshal([]byte(ts.ReadFile("rest.out")), &list))
			return strconv.Itoa(list.Value[len(list.Value)-1].ID)
		}
		return newestRun(ts, strings.Trim(m, "{}"))
	})
	var body io.Reader
	if len(args) > 2 {
		body = strings.NewReader(ts.ReadFile(args[2]))
	}
	send(ts, neg, args[0], ts.Getenv("URL")+"/default/shop"+path, body, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token(ts)) })
}

func newestRun(ts *testscript.TestScript, pipeline string) string {
	r, err := http.NewRequest(http.MethodGet, ts.Getenv("URL")+"/default/shop/_apis/build/builds?$top=1&definitions="+pipeline, nil)
	ts.Check(err)
	r.Header.Set("Authorization", "Bearer "+token(ts))
	res, err := http.DefaultClient.Do(r)
	ts.Check(err)
	defer func() { _ = res.Body.Close() }()
	var list struct{ Value []struct{ ID int } }
	ts.Check(json.NewDecoder(res.Body).Decode(&list))
	if len(list.Value) == 0 {
		ts.Fatalf("pipeline %s has no run", pipeline)
	}
	return strconv.Itoa(list.Value[0].ID)
}

func send(ts *testscript.TestScript, neg bool, method, address string, body io.Reader, sign func(*http.Request)) {
	r, err := http.NewRequest(method, address, body)
	ts.Check(err)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	sign(r)
	res, err := http.DefaultClient.Do(r)
	ts.Check(err)
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("rest.out"), data, 0o644))
	ts.Logf("%s %s: %s\n%.2000s", method, address, res.Status, data)
	if (res.StatusCode >= 300) != neg {
		ts.Fatalf("%s %s: %s", method, address, res.Status)
	}
}

// follow reads what the first element of the list in rest.out links to.
func follow(ts *testscript.TestScript, neg bool, _ []string) {
	var list struct {
		Value []struct {
			Links struct{ Self struct{ Href string } } `json:"_links"`
		}
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("rest.out")), &list))
	send(ts, neg, http.MethodGet, list.Value[0].Links.Self.Href, nil, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token(ts)) })
}

// page reads a page of the project into rest.out: page PATH.
func page(ts *testscript.TestScript, neg bool, args []string) {
	path := placeholder.ReplaceAllStringFunc(args[0], func(m string) string { return newestRun(ts, strings.Trim(m, "{}")) })
	send(ts, neg, http.MethodGet, ts.Getenv("URL")+"/default/shop"+path, nil, func(r *http.Request) {
		r.AddCookie(&http.Cookie{Name: "penstock_session", Value: token(ts)})
	})
}
