package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
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

func TestHealthDecidesWhoIsAsked(t *testing.T) {
	a, b := newVM(t, "blue", nil), newVM(t, "blue", nil)
	a.sick.Store(true)
	g, address := newGateway(t, Options{})
	serve(t, g, tableOf(1, "blue", poolOf("blue", a, b)))
	for range 6 {
		ask(t, http.DefaultClient, address, http.MethodGet, "/", nil)
	}
	states := map[string]string{}
	for _, h := range g.Health() {
		states[h.Backend] = h.State
	}
	if states["blue-1"] != unhealthy || states["blue-2"] != healthy {
		t.Errorf("states: %v", states)
	}
	b.sick.Store(true)
	waitFor(t, "nobody is healthy", func() bool {
		res, text := ask(t, http.DefaultClient, address, http.MethodGet, "/", nil)
		return res.StatusCode == http.StatusServiceUnavailable && strings.Contains(text, "no-healthy-backend")
	})
	a.sick.Store(false)
	waitFor(t, "the first is back", func() bool {
		res, _ := ask(t, http.DefaultClient, address, http.MethodGet, "/", nil)
		return res.StatusCode == http.StatusOK
	})
	if s := statsOf(g, "shop/blue"); s.Errors == 0 || s.Requests < 8 {
		t.Errorf("stats: %+v", s)
	}
}

func TestHealthSurvivesTablesAndNeedsRiseAndFall(t *testing.T) {
	b := newBackend(newPool("p", time.Now), "127.0.0.1:1")
	p := withDefaults(routing.Probe{Rise: 2, Fall: 3})
	bad := fmt.Errorf("no")
	steps := []struct {
		err  error
		want string
	}{{nil, healthy}, {bad, healthy}, {bad, healthy}, {nil, healthy}, {bad, healthy}, {bad, healthy}, {bad, unhealthy},
		{nil, unhealthy}, {bad, unhealthy}, {nil, unhealthy}, {nil, healthy}}
	for i, s := range steps {
		b.learn(p, "", s.err, 0)
		if got := b.health("").State; got != s.want {
			t.Fatalf("step %d: %s, want %s", i, got, s.want)
		}
	}
	v := newVM(t, "blue", nil)
	g, _ := newGateway(t, Options{})
	serve(t, g, tableOf(1, "blue", poolOf("blue", v)))
	since := g.Health()[0].Since
	if err := g.Prepare(tableOf(2, "blue", poolOf("blue", v))); err != nil {
		t.Fatal(err)
	}
	if err := g.Publish(2); err != nil {
		t.Fatal(err)
	}
	if h := g.Health()[0]; h.State != healthy || !h.Since.Equal(since) {
		t.Errorf("after a new table: %+v", h)
	}
}

// A backend that refuses connections costs nobody a request, whatever the method.
func TestConnectFailureMovesOn(t *testing.T) {
	a, b := newVM(t, "blue", nil), newVM(t, "blue", nil)
	pool := poolOf("blue", a, b)
	pool.Probe.Interval, pool.Probe.Fall = time.Hour, 10
	pool.Balance = "roundRobin"
	g, address := newGateway(t, Options{})
	serve(t, g, tableOf(1, "blue", pool))
	a.kill()
	for range 4 {
		res, text := ask(t, http.DefaultClient, address, http.MethodPost, "/", strings.NewReader("12345"))
		if res.StatusCode != http.StatusOK || text != "blue 5" {
			t.Fatalf("POST: %d %q", res.StatusCode, text)
		}
	}
}

// A backend that breaks off after it was asked: GET moves on, POST does not.
func TestBrokenAnswerMovesOnlyGET(t *testing.T) {
	var bad *vm
	abort := func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }
	bad = newVM(t, "blue", abort)
	good := newVM(t, "blue", nil)
	pool := poolOf("blue", bad, good)
	pool.Balance = "roundRobin"
	g, address := newGateway(t, Options{})
	serve(t, g, tableOf(1, "blue", pool))
	posts := map[int]int{}
	for range 4 {
		if res, _ := ask(t, http.DefaultClient, address, http.MethodGet, "/", nil); res.StatusCode != http.StatusOK {
			t.Errorf("GET: %d", res.StatusCode)
		}
	}
	for range 4 {
		res, _ := ask(t, http.DefaultClient, address, http.MethodPost, "/", strings.NewReader("x"))
		posts[res.StatusCode]++
	}
	if posts[http.StatusBadGateway] != 2 || posts[http.StatusOK] != 2 {
		t.Errorf("POST: %v, want 2 × 200 and 2 × 502", posts)
	}
}

func TestForwardedFieldsAndHopByHop(t *testing.T) {
	seen := make(chan *http.Request, 1)
	v := newVM(t, "blue", func(w http.ResponseWriter, r *http.Request) { seen <- r })
	g, address := newGateway(t, Options{})
	serve(t, g, tableOf(1, "blue", poolOf("blue", v)))
	req, _ := http.NewRequest(http.MethodGet, "http://"+address+"/a%2Fb?x=1;y", nil)
	req.Host = "shop.localhost"
	req.Header.Set("X-Forwarded-For", "203.0.113.9")
	req.Header.Set("Connection", "X-Secret-Hop")
	req.Header.Set("X-Secret-Hop", "1")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	r := <-seen
	want := map[string]string{"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "shop.localhost", "X-Forwarded-Proto": "http", "X-Secret-Hop": ""}
	for name, value := range want {
		if got := r.Header.Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	if r.Host != "shop.localhost" || r.RequestURI != "/a%2Fb?x=1;y" {
		t.Errorf("host %q, uri %q", r.Host, r.RequestURI)
	}
}

func TestRouteTimeout(t *testing.T) {
	v := newVM(t, "blue", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	table := tableOf(1, "blue", poolOf("blue", v))
	table.Routes[0].Timeout = 20 * time.Millisecond
	g, address := newGateway(t, Options{})
	serve(t, g, table)
	res, text := ask(t, http.DefaultClient, address, http.MethodGet, "/", nil)
	if res.StatusCode != http.StatusGatewayTimeout || !strings.Contains(text, "backend-timeout") {
		t.Errorf("%d %s", res.StatusCode, text)
	}
}

func TestHoldWaitsForABackend(t *testing.T) {
	v := newVM(t, "blue", nil)
	v.sick.Store(true)
	g, address := newGateway(t, Options{HoldTime: 10 * time.Second})
	serve(t, g, tableOf(1, "blue", poolOf("blue", v)))
	got := make(chan int, 1)
	go func() {
		res, _ := ask(t, http.DefaultClient, address, http.MethodGet, "/", nil)
		got <- res.StatusCode
	}()
	waitFor(t, "the request is held", func() bool { return g.holding.Load() == 1 })
	v.sick.Store(false)
	if code := <-got; code != http.StatusOK {
		t.Errorf("held request: %d", code)
	}
}

// What a drain's deadline cuts is counted; a pool in use is not drained.
func TestDrainCutsAtTheDeadline(t *testing.T) {
	entered := make(chan struct{}, 1)
	blue := newVM(t, "blue", func(w http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-r.Context().Done()
	})
	green := newVM(t, "green", nil)
	g, address := newGateway(t, Options{})
	serve(t, g, tableOf(1, "blue", poolOf("blue", blue), poolOf("green", green)))
	code := make(chan int, 1)
	go func() {
		res, _ := ask(t, http.DefaultClient, address, http.MethodGet, "/", nil)
		code <- res.StatusCode
	}()
	<-entered
	if _, err := g.Drain(t.Context(), "shop/blue", 0); fault.CodeOf(err) != "pool-in-use" {
		t.Errorf("drain of the pool in use: %v", err)
	}
	if _, err := g.Drain(t.Context(), "shop/red", 0); !fault.Is(err, fault.NotFound) {
		t.Errorf("drain of no pool: %v", err)
	}
	serve(t, g, tableOf(2, "green", poolOf("green", green)))
	cut, err := g.Drain(t.Context(), "shop/blue", 10*time.Millisecond)
	if cut != 1 || err != nil {
		t.Errorf("cut %d, %v", cut, err)
	}
	if got := <-code; got != http.StatusGatewayTimeout {
		t.Errorf("the cut request got %d", got)
	}
	if s := statsOf(g, "shop/blue"); s.Cut != 1 || s.InFlight != 0 {
		t.Errorf("stats: %+v", s)
	}
}

// A swap back while a pool drains ends the drain and cuts nothing.
func TestDrainStopsWhenThePoolIsUsedAgain(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	blue := newVM(t, "blue", func(w http.ResponseWriter, r *http.Request) { close(entered); <-release })
	green := newVM(t, "green", nil)
	g, address := newGateway(t, Options{})
	serve(t, g, tableOf(1, "blue", poolOf("blue", blue), poolOf("green", green)))
	code := make(chan int, 1)
	go func() {
		res, _ := ask(t, http.DefaultClient, address, http.MethodGet, "/", nil)
		code <- res.StatusCode
	}()
	<-entered
	serve(t, g, tableOf(2, "green", poolOf("blue", blue), poolOf("green", green)))
	drained := make(chan error, 1)
	go func() { _, err := g.Drain(t.Context(), "shop/blue", time.Minute); drained <- err }()
	serve(t, g, tableOf(3, "blue", poolOf("blue", blue), poolOf("green", green)))
	if err := <-drained; fault.CodeOf(err) != "pool-in-use" {
		t.Errorf("drain: %v", err)
	}
	close(release)
	if got := <-code; got != http.StatusOK {
		t.Errorf("got %d", got)
	}
}

func TestWebSocketStaysUntilCut(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(conn, rw)
	}
	blue, green := newVM(t, "blue", echo), newVM(t, "green", nil)
	g, address := newGateway(t, Options{})
	serve(t, g, tableOf(1, "blue", poolOf("blue", blue), poolOf("green", green)))
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: shop.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v %v", res, err)
	}
	say := func() error {
		_, _ = io.WriteString(conn, "hello\n")
		text, err := in.ReadString('\n')
		if err == nil && text != "hello\n" {
			err = fmt.Errorf("got %q", text)
		}
		return err
	}
	if err := say(); err != nil {
		t.Fatal(err)
	}
	serve(t, g, tableOf(2, "green", poolOf("blue", blue), poolOf("green", green)))
	if err := say(); err != nil {
		t.Errorf("after the swap: %v", err)
	}
	if s := statsOf(g, "shop/blue"); s.Upgraded != 1 || s.InFlight != 0 {
		t.Errorf("stats: %+v", s)
	}
	if cut, err := g.Drain(t.Context(), "shop/blue", 10*time.Millisecond); cut != 1 || err != nil {
		t.Errorf("cut %d, %v", cut, err)
	}
	if _, err := in.ReadByte(); err == nil {
		t.Error("the connection is still open")
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

// A request with two lengths reaches the backend with one.
func TestAmbiguousFraming(t *testing.T) {
	type arrival struct{ body, cl, te string }
	seen := make(chan arrival, 4)
	v := newVM(t, "blue", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		seen <- arrival{string(b), r.Header.Get("Content-Length"), strings.Join(r.TransferEncoding, ",")}
	})
	g, address := newGateway(t, Options{})
	serve(t, g, tableOf(1, "blue", poolOf("blue", v)))
	raw := func(request string) int {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, request)
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return 0
		}
		return res.StatusCode
	}
	head := "POST / HTTP/1.1\r\nHost: shop.localhost\r\n"
	if code := raw(head + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"); code != http.StatusOK {
		t.Errorf("CL and TE: %d", code)
	}
	if got := <-seen; got.body != "abc" || got.cl != "" || got.te != "chunked" {
		t.Errorf("the backend got %+v", got)
	}
	for name, fields := range map[string]string{
		"two lengths":     "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
		"unknown coding":  "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"repeated coding": "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
		"negative length": "Content-Length: -1\r\n\r\n",
		"space in name":   "Content-Length : 3\r\n\r\nabc",
	} {
		if code := raw(head + fields); code < 400 || code == http.StatusBadGateway {
			t.Errorf("%s: %d", name, code)
		}
	}
	if len(seen) != 0 {
		t.Errorf("a refused request reached the backend: %+v", <-seen)
	}
	if code := raw(head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n"); code != http.StatusBadRequest {
		t.Errorf("bad chunk: %d", code)
	}
}

func TestStreamIsCopiedAndDrained(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				text, _ := io.ReadAll(c) // answers only after the client's half is closed
				_, _ = io.WriteString(c, "echo "+string(text))
				_ = c.Close()
			}()
		}
	}()
	free, _ := net.Listen("tcp", "127.0.0.1:0")
	address := free.Addr().String()
	_ = free.Close()
	table := &routing.Table{
		Generation: 1,
		Pools:      []routing.Pool{{Name: "db/a", Backends: []routing.Backend{{Name: "a", Address: l.Addr().String()}}}},
		Streams:    []routing.Stream{{Listen: address, Pool: "db/a"}},
	}
	g, _ := newGateway(t, Options{})
	serve(t, g, table)
	dial := func() *net.TCPConn {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, "hello")
		return c.(*net.TCPConn)
	}
	c := dial()
	_ = c.CloseWrite()
	if text, err := io.ReadAll(c); err != nil || string(text) != "echo hello" {
		t.Errorf("%q, %v", text, err)
	}
	open := dial()
	waitFor(t, "the stream is open", func() bool { return statsOf(g, "db/a").Upgraded == 1 })
	table.Generation, table.Streams = 2, nil
	serve(t, g, table)
	if cut, err := g.Drain(t.Context(), "db/a", 5*time.Millisecond); cut != 1 || err != nil {
		t.Errorf("cut %d, %v", cut, err)
	}
	if _, err := io.ReadAll(open); err == nil {
		t.Log("the client saw a plain end") // FIN or RST, both end it
	}
}

func TestCloseWaitsForRequests(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	v := newVM(t, "blue", func(w http.ResponseWriter, r *http.Request) { close(entered); <-release })
	g := New(Options{})
	address, err := g.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, g, tableOf(1, "blue", poolOf("blue", v)))
	code := make(chan int, 1)
	go func() {
		res, _ := ask(t, http.DefaultClient, address, http.MethodGet, "/", nil)
		code <- res.StatusCode
	}()
	<-entered
	closed := make(chan error, 1)
	go func() { closed <- g.Close(context.Background()) }()
	waitFor(t, "it accepts nothing new", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	close(release)
	if got := <-code; got != http.StatusOK {
		t.Errorf("got %d", got)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := g.Prepare(tableOf(2, "blue")); err == nil {
		t.Error("a closed gateway accepts tables")
	}
}
