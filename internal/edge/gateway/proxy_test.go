package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"penstock.dev/penstock/internal/domain/routing"
)

// A backend may answer before it has read what it is sent.
func TestAnswerWithoutReadingTheBody(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("no need to read")) }))
	t.Cleanup(backend.Close)
	g := New(Options{})
	t.Cleanup(func() { _ = g.Close(context.Background()) })
	table := &routing.Table{Generation: 1, Routes: []routing.Route{{Host: "shop.test", Pool: "shop/blue"}},
		Pools: []routing.Pool{{Name: "shop/blue", Backends: []routing.Backend{{Name: "b1", Address: strings.TrimPrefix(backend.URL, "http://")}}}}}
	if err := errors.Join(g.Prepare(table), g.Publish(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := g.ProbeNow(context.Background(), "shop/blue"); err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(g)
	t.Cleanup(front.Close)
	for n := range 500 {
		req, err := http.NewRequest(http.MethodPost, front.URL, strings.NewReader(strings.Repeat("payload ", 25_000)))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "shop.test"
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Fatalf("request %d: %s", n, res.Status)
		}
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

func TestTrustedProxyIsBelieved(t *testing.T) {
	seen := make(chan http.Header, 1)
	v := newVM(t, "blue", func(w http.ResponseWriter, r *http.Request) { seen <- r.Header })
	g, address := newGateway(t, Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	serve(t, g, tableOf(1, "blue", poolOf("blue", v)))
	req, _ := http.NewRequest(http.MethodGet, "http://"+address+"/", nil)
	req.Host = "shop.localhost"
	req.Header.Set("X-Forwarded-For", "203.0.113.9")
	req.Header.Set("X-Forwarded-Proto", "https")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	h := <-seen
	if got := h.Get("X-Forwarded-For"); got != "203.0.113.9, 127.0.0.1" {
		t.Errorf("X-Forwarded-For: %q", got)
	}
	if got := h.Get("X-Forwarded-Proto"); got != "https" {
		t.Errorf("X-Forwarded-Proto: %q", got)
	}
}
