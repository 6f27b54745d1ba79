package shop

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// loads counts requests by the value of their X-Load header, so that whoever
// generates load can compare what was sent with what was served: a request that
// something on the way repeats shows as a repetition.
type loads struct {
	mu    sync.Mutex
	known map[string]*load
}

// load is one run of a load generator.
type load struct {
	Served   int            `json:"served"`
	Repeated int            `json:"repeated"`
	seen     map[string]int // by X-Request-Id
}

// Bounds: a shop is not a database.
const (
	maxLoads = 16
	maxSeen  = 1_000_000
)

func (l *loads) count(r *http.Request) {
	name, id := r.Header.Get("X-Load"), r.Header.Get("X-Request-Id")
	if name == "" || id == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known == nil {
		l.known = map[string]*load{}
	}
	x := l.known[name]
	if x == nil {
		if len(l.known) >= maxLoads {
			return
		}
		x = &load{seen: map[string]int{}}
		l.known[name] = x
	}
	if len(x.seen) >= maxSeen {
		return
	}
	x.Served++
	if x.seen[id]++; x.seen[id] > 1 {
		x.Repeated++
	}
}

// report answers GET /load?name=…
func (l *loads) report(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.known[r.URL.Query().Get("name")]
	if x == nil {
		x = &load{}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(x)
}

// slow answers after a while, as a page that works hard does.
func slow(w http.ResponseWriter, r *http.Request) {
	ms, err := strconv.Atoi(r.URL.Query().Get("ms"))
	if err != nil || ms < 0 || ms > 5000 {
		http.Error(w, "ms: 0 to 5000", http.StatusBadRequest)
		return
	}
	timer := time.NewTimer(time.Duration(ms) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-r.Context().Done():
	case <-timer.C:
		_, _ = fmt.Fprintln(w, "done")
	}
}
