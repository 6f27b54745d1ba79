package gateway

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// load is a set of clients that count what they sent and what came back.
type load struct {
	t       *testing.T
	address string
	shown   atomic.Int64 // generation whose Publish has returned
	stop    chan struct{}
	wg      sync.WaitGroup
	next    atomic.Int64
	sent    atomic.Int64
	failed  atomic.Int64

	mu     sync.Mutex
	posted []string
	errors []string
}

func (l *load) fail(format string, args ...any) {
	l.failed.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.errors) < 10 {
		l.errors = append(l.errors, fmt.Sprintf(format, args...))
	}
}

// run starts one closed-loop client.
func (l *load) run(method, path string, size int, keepAlive bool) {
	l.wg.Go(func() {
		tr := &http.Transport{DisableKeepAlives: !keepAlive}
		defer tr.CloseIdleConnections()
		body := bytes.Repeat([]byte("x"), size)
		for {
			select {
			case <-l.stop:
				return
			default:
			}
			l.one(tr, method, path, body)
		}
	})
}

// one sends a request and checks status, body, and that it went to the slot
// that was in production, if no swap happened in between.
func (l *load) one(tr *http.Transport, method, path string, body []byte) {
	id := fmt.Sprint(l.next.Add(1))
	// A plain reader has no GetBody: the client cannot replay and hide a loss.
	var from io.Reader
	if len(body) > 0 {
		from = io.MultiReader(bytes.NewReader(body))
	}
	req, err := http.NewRequest(method, "http://"+l.address+path, from)
	if err != nil {
		l.fail("%v", err)
		return
	}
	req.Host = "shop.localhost"
	req.Header.Set("X-Id", id)
	if len(body) > 0 && l.next.Load()%2 == 0 {
		req.ContentLength = int64(len(body)) // the others are chunked
	}
	before := l.shown.Load()
	l.sent.Add(1)
	res, err := tr.RoundTrip(req)
	if err != nil {
		l.fail("%s %s: %v", method, path, err)
		return
	}
	text, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	slot := res.Header.Get("X-Slot")
	want := fmt.Sprintf("%s %d", slot, len(body))
	switch {
	case err != nil:
		l.fail("%s %s: body: %v", method, path, err)
	case res.StatusCode != http.StatusOK:
		l.fail("%s %s: %d %s", method, path, res.StatusCode, text)
	case strings.TrimLeft(string(text), ".") != want:
		l.fail("%s %s: got %q, want %q", method, path, text, want)
	case l.shown.Load() == before && slot != slotOf(before):
		l.fail("%s %s: generation %d was served by %s", method, path, before, slot)
	}
	if method == http.MethodPost {
		l.mu.Lock()
		l.posted = append(l.posted, id)
		l.mu.Unlock()
	}
}

func slotOf(generation int64) string {
	if generation%2 == 0 {
		return "green"
	}
	return "blue"
}

// slowOr answers /slow in small pieces and everything else at once.
func slowOr(slot string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if r.URL.Path == "/slow" {
			piece := time.NewTicker(5 * time.Millisecond)
			defer piece.Stop()
			for range 6 {
				_, _ = io.WriteString(w, ".")
				_ = http.NewResponseController(w).Flush()
				<-piece.C
			}
		}
		_, _ = fmt.Fprintf(w, "%s %d", slot, len(body))
	}
}

// A swap fails no request, replays no POST, and sends nothing to the old slot
// once Publish has returned. The old slot is killed as soon as Drain returns.
func TestSwapLosesNothing(t *testing.T) {
	blue := newVM(t, "blue", slowOr("blue"))
	green := newVM(t, "green", slowOr("green"))
	pools := func() (a, b *vm) { return blue, green }
	g, address := newGateway(t, Options{})
	b, gr := pools()
	serve(t, g, tableOf(1, "blue", poolOf("blue", b), poolOf("green", gr)))

	l := &load{t: t, address: address, stop: make(chan struct{})}
	l.shown.Store(1)
	for range 3 {
		l.run(http.MethodGet, "/", 0, true)
		l.run(http.MethodPost, "/checkout", 2000, true)
		l.run(http.MethodGet, "/products", 0, false)
		l.run(http.MethodGet, "/slow", 0, true)
		l.run(http.MethodPost, "/slow", 70_000, false)
	}
	for generation := uint64(2); generation <= 21; generation++ {
		swap(t, g, l, generation, blue, green)
	}
	close(l.stop)
	l.wg.Wait()
	for _, e := range l.errors {
		t.Error(e)
	}
	checkServedOnce(t, l, blue, green)
	t.Logf("sent %d, failed %d, POST %d, 20 swaps", l.sent.Load(), l.failed.Load(), len(l.posted))
}

func swap(t *testing.T, g *Gateway, l *load, generation uint64, blue, green *vm) {
	t.Helper()
	next, old := blue, green
	if generation%2 == 0 {
		next, old = green, blue
	}
	if err := g.Prepare(tableOf(generation, next.slot, poolOf("blue", blue), poolOf("green", green))); err != nil {
		t.Fatal(err)
	}
	waitFor(t, next.slot+" is healthy", func() bool {
		list, err := g.ProbeNow(t.Context(), "shop/"+next.slot)
		return err == nil && list[0].State == healthy
	})
	enough := l.sent.Load() + 60
	waitFor(t, "the load goes on", func() bool { return l.sent.Load() > enough })
	if err := g.Publish(generation); err != nil {
		t.Fatal(err)
	}
	l.shown.Store(int64(generation))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	cut, err := g.Drain(ctx, "shop/"+old.slot, 5*time.Second)
	if err != nil || cut != 0 {
		t.Fatalf("drain: cut %d, %v", cut, err)
	}
	old.kill()
	old.start(old.address)
}

func checkServedOnce(t *testing.T, l *load, vms ...*vm) {
	t.Helper()
	times := map[string]int{}
	for _, v := range vms {
		v.mu.Lock()
		for id, n := range v.served {
			times[id] += n
		}
		v.mu.Unlock()
	}
	for _, id := range l.posted {
		if n := times["POST "+id]; n != 1 {
			t.Errorf("POST %s was served %d times", id, n)
		}
	}
}

// A request that is in flight keeps its slot and finishes after the swap.
func TestInFlightFinishesOnOldPool(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	blue := newVM(t, "blue", func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-release
		_, _ = io.WriteString(w, "old")
	})
	green := newVM(t, "green", nil)
	g, address := newGateway(t, Options{})
	serve(t, g, tableOf(1, "blue", poolOf("blue", blue), poolOf("green", green)))
	got := make(chan string, 1)
	go func() {
		_, text := ask(t, http.DefaultClient, address, http.MethodGet, "/", nil)
		got <- text
	}()
	<-entered
	serve(t, g, tableOf(2, "green", poolOf("blue", blue), poolOf("green", green)))
	if s := statsOf(g, "shop/blue"); s.InFlight != 1 || s.OldestRequest.IsZero() {
		t.Errorf("blue: %+v, want one request in flight", s)
	}
	drained := make(chan int, 1)
	go func() {
		cut, err := g.Drain(t.Context(), "shop/blue", time.Minute)
		if err != nil {
			t.Error(err)
		}
		drained <- cut
	}()
	select {
	case <-drained:
		t.Fatal("drained while a request was in flight")
	default:
	}
	close(release)
	if text := <-got; text != "old" {
		t.Errorf("got %q", text)
	}
	if cut := <-drained; cut != 0 {
		t.Errorf("cut %d", cut)
	}
}

func BenchmarkGateway(b *testing.B) {
	hello := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "hello world")
	}
	v := newVM(b, "blue", hello)
	v.server.IdleTimeout = time.Minute
	g, address := newGateway(b, Options{})
	serve(b, g, tableOf(1, "blue", poolOf("blue", v)))
	run := func(name, target, method string, size int) {
		b.Run(name, func(b *testing.B) {
			tr := &http.Transport{MaxIdleConnsPerHost: 64}
			defer tr.CloseIdleConnections()
			body := strings.Repeat("x", size)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					req, _ := http.NewRequest(method, "http://"+target+"/", strings.NewReader(body))
					req.Host = "shop.localhost"
					res, err := tr.RoundTrip(req)
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
				}
			})
		})
	}
	run("direct/GET", v.address, http.MethodGet, 0)
	run("gateway/GET", address, http.MethodGet, 0)
	run("direct/POST", v.address, http.MethodPost, 1000)
	run("gateway/POST", address, http.MethodPost, 1000)
}
