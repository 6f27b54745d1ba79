package agent

import (
	"encoding/json"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/run"
)

// heard notes what reaches the server's side.
type heard struct {
	logs    []string
	reports []run.StepReport
}

func (h *heard) Log(_ int, text string) { h.logs = append(h.logs, text) }
func (h *heard) Step(r run.StepReport)  { h.reports = append(h.reports, r) }
func (h *heard) has(text string) bool   { return strings.Contains(strings.Join(h.logs, ""), text) }
func twoSteps() *run.JobMessage {
	return &run.JobMessage{AccessToken: "token-of-the-job", Steps: make([]pipeline.Step, 2), Variables: []run.Variable{{Name: "s", Value: "hunter-22", Secret: true}}}
}

// What a confined worker says is masked, and what no job says ends it.
func TestListen(t *testing.T) {
	for name, c := range map[string]struct {
		said    string
		ends    bool
		problem string
		log     string
	}{
		"a job":                  {said: `{"step":1,"log":"one\n"}` + "\n" + `{"report":{"order":2,"errors":["no hunter-22"]}}` + "\n" + `{"end":{"result":"failed","cause":"hunter-22"}}` + "\n", ends: true, log: "one\n"},
		"secrets":                {said: `{"step":2,"log":"token-of-the-job and hunter-22\nnext\n"}` + "\n" + `{"end":{"result":"succeeded"}}` + "\n", ends: true, log: "*** and ***\nnext\n"},
		"no end":                 {said: `{"step":1,"log":"one\n"}` + "\n", log: "one\n"},
		"another step":           {said: `{"step":3,"log":"one\n"}` + "\n", problem: "no job says"},
		"a step before":          {said: `{"report":{"order":0}}` + "\n", problem: "no job says"},
		"a line without its end": {said: `{"step":1,"log":"one"}` + "\n", problem: "no job says"},
		"no frame":               {said: "ok\n", problem: "cannot be read"},
		"nothing":                {},
		"too long":               {said: `{"step":1,"log":"` + strings.Repeat("x", maxFrame) + `"}`, problem: "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			h := &heard{}
			end, err := listen(strings.NewReader(c.said), twoSteps(), h)
			if (end != nil) != c.ends || (err != nil) != (c.problem != "") || err != nil && !strings.Contains(err.Error(), c.problem) {
				t.Errorf("end %v, %v", end, err)
			}
			if got := strings.Join(h.logs, ""); got != c.log {
				t.Errorf("log %q, want %q", got, c.log)
			}
			text, _ := json.Marshal([]any{end, h.reports})
			if strings.Contains(string(text), "hunter-22") {
				t.Errorf("a secret came through: %s", text)
			}
		})
	}
}

func FuzzListen(f *testing.F) {
	f.Add(`{"step":1,"log":"one\n"}` + "\n" + `{"end":{"result":"failed"}}`)
	f.Add(`{"report":{"order":1,"displayName":"hunter-22"}}`)
	f.Fuzz(func(t *testing.T, said string) {
		h := &heard{}
		_, _ = listen(strings.NewReader(said), twoSteps(), h)
		if h.has("hunter-22") {
			t.Error("a secret came through")
		}
	})
}

func TestReach(t *testing.T) {
	got := strings.Join(reach("http://localhost:7420", "https://penstock.example.test/shop", "http://h", "nothing", ""), " ")
	if got != "localhost:7420 penstock.example.test:443 h:80" {
		t.Error(got)
	}
}
