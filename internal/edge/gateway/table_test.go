package gateway

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/routing"
)

func TestPrepareAndPublishAreGuarded(t *testing.T) {
	g, _ := newGateway(t, Options{})
	v := newVM(t, "blue", nil)
	serve(t, g, tableOf(5, "blue", poolOf("blue", v)))
	if err := g.Publish(5); err != nil {
		t.Errorf("publishing the served generation again: %v", err)
	}
	for _, old := range []uint64{4, 5} {
		if err := g.Prepare(tableOf(old, "blue", poolOf("blue", v))); fault.CodeOf(err) != "stale-generation" || !fault.Is(err, fault.Conflict) {
			t.Errorf("prepare %d: %v", old, err)
		}
	}
	if err := g.Publish(6); fault.CodeOf(err) != "not-prepared" {
		t.Errorf("publish 6: %v", err)
	}
	if got := g.Table().Generation; got != 5 {
		t.Errorf("serves %d, want 5", got)
	}
}

func TestInvalidTablesAreRefused(t *testing.T) {
	ok := func() *routing.Table {
		return tableOf(1, "blue", routing.Pool{Name: "shop/blue", Backends: []routing.Backend{{Name: "a", Address: "127.0.0.1:1"}}})
	}
	tests := map[string]func(*routing.Table){
		"upper case host": func(t *routing.Table) { t.Routes[0].Host = "Shop.localhost" },
		"host with port":  func(t *routing.Table) { t.Routes[0].Host = "shop.localhost:80" },
		"unknown pool":    func(t *routing.Table) { t.Routes[0].Pool = "shop/red" },
		"prefix":          func(t *routing.Table) { t.Routes[0].PathPrefix = "x" },
		"same route":      func(t *routing.Table) { t.Routes = append(t.Routes, t.Routes[0]) },
		"same pool":       func(t *routing.Table) { t.Pools = append(t.Pools, t.Pools[0]) },
		"address":         func(t *routing.Table) { t.Pools[0].Backends[0].Address = "127.0.0.1" },
		"balance":         func(t *routing.Table) { t.Pools[0].Balance = "random" },
		"front":           func(t *routing.Table) { t.Fronts = []routing.Front{{Slot: "s", Address: "front.test"}} },
		"stream":          func(t *routing.Table) { t.Streams = []routing.Stream{{Listen: "x", Pool: "shop/blue"}} },
	}
	g, _ := newGateway(t, Options{})
	for name, spoil := range tests {
		table := ok()
		spoil(table)
		if err := g.Prepare(table); fault.CodeOf(err) != "invalid-table" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := g.Prepare(ok()); err != nil {
		t.Error(err)
	}
}

func TestRoutesByHostAndLongestPrefix(t *testing.T) {
	a, b := newVM(t, "blue", nil), newVM(t, "green", nil)
	table := tableOf(1, "blue", poolOf("blue", a), poolOf("green", b))
	table.Routes = append(table.Routes,
		routing.Route{Host: "shop.localhost", PathPrefix: "/api", Pool: "shop/green"},
		routing.Route{Host: "shop.localhost", PathPrefix: "/api/old/", Pool: "shop/blue"})
	g, address := newGateway(t, Options{})
	serve(t, g, table)
	for path, want := range map[string]string{
		"/": "blue", "/api": "green", "/api/x": "green", "/apix": "blue", "/api/old/1": "blue", "/api/older": "green",
	} {
		res, _ := ask(t, http.DefaultClient, address, http.MethodGet, path, nil)
		if got := res.Header.Get("X-Slot"); got != want {
			t.Errorf("%s went to %s, want %s", path, got, want)
		}
	}
	rec := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodGet, "http://other.localhost/", nil)
	g.ServeHTTP(rec, req)
	if rec.Code != http.StatusNotFound || rec.Header().Get("Penstock-Error") != "no-route" {
		t.Errorf("unknown host: %d %s", rec.Code, rec.Body)
	}
}

func TestSnapshotComesBack(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gateway", "table.json")
	v := newVM(t, "blue", nil)
	g, _ := newGateway(t, Options{SnapshotFile: file})
	if err := g.LoadSnapshot(); err != nil {
		t.Fatalf("without a file: %v", err)
	}
	serve(t, g, tableOf(7, "blue", poolOf("blue", v)))
	if err := g.Prepare(tableOf(8, "blue", poolOf("blue", v))); err != nil {
		t.Fatal(err) // prepared only: must not come back
	}
	again, address := newGateway(t, Options{SnapshotFile: file, HoldTime: 5 * time.Second})
	if err := again.LoadSnapshot(); err != nil {
		t.Fatal(err)
	}
	if got := again.Table().Generation; got != 7 {
		t.Errorf("serves %d, want 7", got)
	}
	if res, _ := ask(t, http.DefaultClient, address, http.MethodGet, "/", nil); res.StatusCode != http.StatusOK {
		t.Errorf("got %d", res.StatusCode)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := New(Options{SnapshotFile: file}).LoadSnapshot(); fault.CodeOf(err) != "snapshot-unreadable" {
		t.Errorf("broken file: %v", err)
	}
}

// Requests are routed by host through whichever front they come.
func TestFronts(t *testing.T) {
	blue, green := newVM(t, "blue", nil), newVM(t, "green", nil)
	g, address := newGateway(t, Options{})
	table := tableOf(1, "green", poolOf("blue", blue), poolOf("green", green))
	table.Fronts = []routing.Front{{Slot: "shop/blue", Address: "127.0.2.1"}, {Slot: "shop/green", Address: "127.0.2.2"}, {Slot: "shop/x", Address: "192.0.2.1"}}
	serve(t, g, table)
	_, port, _ := net.SplitHostPort(address)
	for _, front := range []string{"127.0.2.1", "127.0.2.2"} {
		res, _ := ask(t, http.DefaultClient, net.JoinHostPort(front, port), http.MethodGet, "/", nil)
		if got := res.Header.Get("X-Slot"); got != "green" {
			t.Errorf("%s: %s", front, got)
		}
	}
	if errs := g.FrontErrors(); len(errs) != 1 || errs[net.JoinHostPort("192.0.2.1", port)] == nil {
		t.Errorf("front errors: %v", errs)
	}
	table2 := tableOf(2, "green", poolOf("blue", blue), poolOf("green", green))
	serve(t, g, table2)
	if _, err := net.Dial("tcp", net.JoinHostPort("127.0.2.1", port)); err == nil {
		t.Error("a front that no table names is still open")
	}
}

// A request that was routed by a table that is served no more starts over: it
// must not register with a pool that a drain may have seen empty already.
func TestRegisterLooksTwice(t *testing.T) {
	blue, green := newVM(t, "blue", nil), newVM(t, "green", nil)
	g, _ := newGateway(t, Options{})
	serve(t, g, tableOf(1, "blue", poolOf("blue", blue), poolOf("green", green)))
	old := g.served.Load()
	target, _ := old.match("shop.localhost", "/")
	serve(t, g, tableOf(2, "green", poolOf("blue", blue), poolOf("green", green)))
	r := httptest.NewRequest(http.MethodGet, "http://shop.localhost/", nil)
	if x := g.register(httptest.NewRecorder(), r, old, target); x != nil {
		t.Error("a request was bound to a table that is served no more")
	}
	if s := statsOf(g, "shop/blue"); s.InFlight != 0 || s.Requests != 0 {
		t.Errorf("stats: %+v", s)
	}
}

// One client connection is served by the new slot after a swap.
func TestClientConnectionSurvivesSwap(t *testing.T) {
	blue, green := newVM(t, "blue", nil), newVM(t, "green", nil)
	g, address := newGateway(t, Options{})
	serve(t, g, tableOf(1, "blue", poolOf("blue", blue), poolOf("green", green)))
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	for generation, want := range []string{"blue", "green", "blue"} {
		if generation > 0 {
			serve(t, g, tableOf(uint64(generation+1), want, poolOf("blue", blue), poolOf("green", green)))
		}
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n")
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		if got := res.Header.Get("X-Slot"); got != want {
			t.Errorf("generation %d: %s, want %s", generation+1, got, want)
		}
	}
}
