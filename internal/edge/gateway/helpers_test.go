package gateway

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"penstock.dev/penstock/internal/domain/routing"
)

// vm is a backend that can be killed and started again at its address.
type vm struct {
	t       testing.TB
	slot    string
	address string
	handler http.HandlerFunc
	sick    atomic.Bool // the probe fails

	mu     sync.Mutex
	server *http.Server
	served map[string]int // request id → times
}

func newVM(t testing.TB, slot string, h http.HandlerFunc) *vm {
	t.Helper()
	v := &vm{t: t, slot: slot, handler: h, served: map[string]int{}}
	v.start("127.0.0.1:0")
	t.Cleanup(v.kill)
	return v
}

func (v *vm) start(address string) {
	v.t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		v.t.Errorf("backend %s: %v", v.slot, err)
		return
	}
	v.address = l.Addr().String()
	// Closing idle connections almost at once provokes the race between a
	// backend that closes and a gateway that reuses.
	server := &http.Server{Handler: v, IdleTimeout: 3 * time.Millisecond}
	v.mu.Lock()
	v.server = server
	v.mu.Unlock()
	go func() { _ = server.Serve(l) }()
}

func (v *vm) kill() {
	v.mu.Lock()
	defer v.mu.Unlock()
	_ = v.server.Close()
}

// ServeHTTP answers the probe, counts the request and names the slot.
func (v *vm) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/healthz" {
		if v.sick.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return
	}
	if id := r.Header.Get("X-Id"); id != "" {
		v.mu.Lock()
		v.served[r.Method+" "+id]++
		v.mu.Unlock()
	}
	w.Header().Set("X-Slot", v.slot)
	if v.handler != nil {
		v.handler(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	_, _ = fmt.Fprintf(w, "%s %d", v.slot, len(body))
}

func poolOf(slot string, vms ...*vm) routing.Pool {
	p := routing.Pool{
		Name: "shop/" + slot, Application: "shop", Slot: slot, Balance: "leastRequests",
		Probe: routing.Probe{Path: "/healthz", Interval: 50 * time.Millisecond, Timeout: 2 * time.Second, Rise: 1, Fall: 1},
	}
	for i, v := range vms {
		p.Backends = append(p.Backends, routing.Backend{Name: fmt.Sprintf("%s-%d", slot, i+1), Address: v.address})
	}
	return p
}

// tableOf leads shop.localhost to one slot of the pools.
func tableOf(generation uint64, slot string, pools ...routing.Pool) *routing.Table {
	return &routing.Table{
		Generation: generation,
		Routes:     []routing.Route{{Host: "shop.localhost", PathPrefix: "/", Pool: "shop/" + slot, Role: "production", Retry: true}},
		Pools:      pools,
	}
}

// newGateway returns a gateway that listens; its address is the second result.
func newGateway(t testing.TB, o Options) (*Gateway, string) {
	t.Helper()
	g := New(o)
	address, err := g.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := g.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return g, address
}

// serve prepares, probes and publishes a table.
func serve(t testing.TB, g *Gateway, table *routing.Table) {
	t.Helper()
	if err := g.Prepare(table); err != nil {
		t.Fatal(err)
	}
	for _, p := range table.Pools {
		if _, err := g.ProbeNow(t.Context(), p.Name); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Publish(table.Generation); err != nil {
		t.Fatal(err)
	}
}

// waitFor looks again and again until ok is true.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for !ok() {
		select {
		case <-again.C:
		case <-limit.C:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// ask makes one request for shop.localhost.
func ask(t testing.TB, c *http.Client, address, method, path string, body io.Reader) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "Shop.Localhost:8080"
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

func statsOf(g *Gateway, pool string) routing.Stats {
	for _, s := range g.Stats() {
		if s.Pool == pool {
			return s
		}
	}
	return routing.Stats{}
}
