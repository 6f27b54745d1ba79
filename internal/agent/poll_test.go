package agent

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"penstock.dev/penstock/internal/base/rest"
)

// An agent whose places are all taken asks again as soon as one is free: its
// question had said that there is none, and so gets no answer for long.
func TestAskedAgainWhenThereIsRoom(t *testing.T) {
	asked := make(chan int)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var in PollRequest
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			t.Error(err)
		}
		asked <- in.Free
		<-r.Context().Done() // there is no news
	}))
	defer server.Close()
	a := &Agent{cfg: Config{Jobs: 1}, running: map[string]*running{"j": {}}, slots: []bool{true}, client: &rest.Client{Base: server.URL, HTTP: server.Client()}}
	said := make(chan error)
	go func() {
		var answer PollAnswer
		said <- a.poll(t.Context(), &answer)
	}()
	if free := <-asked; free != 0 {
		t.Errorf("%d places are free", free)
	}
	a.vacate("j", 0)
	if err := <-said; err != nil {
		t.Errorf("the end of the question counts as a failure: %v", err)
	}
	if a.again != nil || len(a.running) != 0 || a.slots[0] {
		t.Errorf("%v %v", a.running, a.slots)
	}
}
