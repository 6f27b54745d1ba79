package server

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"penstock.dev/penstock/internal/base/fault"
)

// holder is a server that holds a data folder and answers as handler does.
func holder(t *testing.T, handler http.HandlerFunc) (data string, release func()) {
	t.Helper()
	data = t.TempDir()
	release, err := lockData(data)
	if err != nil {
		t.Fatal(err)
	}
	api := httptest.NewServer(handler)
	t.Cleanup(api.Close)
	raw, err := json.Marshal(UpFile{PID: 1, URL: api.URL})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(upFile(data), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return data, release
}

func TestServerThatAnswersKeepsItsFolder(t *testing.T) {
	asked := 0
	data, release := holder(t, func(http.ResponseWriter, *http.Request) { asked++ })
	defer release()
	if _, err := takeData(t.Context(), data); fault.CodeOf(err) != "already-up" {
		t.Errorf("takeData beside a server that answers: %v", err)
	}
	if asked != 1 {
		t.Errorf("asked %d times, want once", asked)
	}
}

func TestServerThatIsEndingIsWaitedFor(t *testing.T) {
	asked := make(chan struct{}, 1000)
	data, release := holder(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		asked <- struct{}{}
	})
	go func() {
		<-asked
		release()
	}()
	unlock, err := takeData(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}
