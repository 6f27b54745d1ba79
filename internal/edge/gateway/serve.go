package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

var (
	errNoBackend = errors.New("no healthy backend")
	errTimeout   = errors.New("the route's timeout passed")
)

// cutGrace is how long the answer to a cut request may take to reach a client.
const cutGrace = time.Second

// exchange is one request on its way: bound to a route and a pool for good.
type exchange struct {
	target
	ctx     context.Context
	entry   *request
	backend *backend // holds one of its inFlight
	tried   []*backend
	body    *trackedBody
	status  int
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// ServeHTTP routes one request by the table that is served at this moment.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := g.bind(w, r)
	if x == nil {
		refuse(w, http.StatusNotFound, "no-route", "No application answers for this name and path here.")
		return
	}
	complete := false
	defer func() {
		if x.backend != nil {
			x.backend.inFlight.Add(-1)
		}
		o := answered
		// An answer that broke off counts as failed unless the client left.
		if x.status >= 500 || !complete && r.Context().Err() == nil {
			o = failed
		}
		x.pool.end(x.entry, o)
		x.entry.cancel(nil)
		g.logAccess(r, x)
	}()
	g.proxy.ServeHTTP(w, r.WithContext(x.ctx))
	complete = true
}

// bind finds the request's pool and registers with it. If the pool has no
// backend to give, it waits as long as Options.HoldTime allows and routes again,
// so that a held request sees the table of the moment it goes on.
func (g *Gateway) bind(w http.ResponseWriter, r *http.Request) *exchange {
	host := hostOf(r.Host)
	var held *hold
	defer func() { held.release() }()
	for {
		gen := g.served.Load()
		t, ok := gen.match(host, r.URL.Path)
		if !ok {
			return nil
		}
		woken := t.pool.becomesHealthy() // before the look, so that nothing is missed
		if !t.pool.available() {
			if held == nil {
				held = g.newHold()
			}
			if held.wait(g, r.Context(), gen, woken) {
				continue
			}
		}
		if x := g.register(w, r, gen, t); x != nil {
			return x
		}
	}
}

// register enters the request in its pool's list; nil if another table was
// published meanwhile. Entering first and looking second is what makes Publish
// a clean cut: see the package comment.
func (g *Gateway) register(w http.ResponseWriter, r *http.Request, gen *generation, t target) *exchange {
	x := &exchange{target: t}
	ctx, cancel := context.WithCancelCause(context.WithValue(r.Context(), exchangeKey{}, x))
	x.ctx = ctx
	x.entry = t.pool.begin(func(cause error) {
		if cause != nil { // a client that reads slowly must not outlive the cut
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(cutGrace))
		}
		cancel(cause)
	}, false)
	if g.served.Load() != gen {
		t.pool.end(x.entry, unbound)
		cancel(nil)
		return nil
	}
	return x
}

// hold is the right to wait for a backend.
type hold struct {
	limit   *time.Timer
	counter *atomic.Int64
}

func (g *Gateway) newHold() *hold {
	if g.holding.Add(1) > int64(g.opt.HoldRequests) || g.opt.HoldTime <= 0 {
		g.holding.Add(-1)
		return &hold{}
	}
	return &hold{limit: time.NewTimer(g.opt.HoldTime), counter: &g.holding}
}

func (h *hold) release() {
	if h != nil && h.limit != nil {
		h.limit.Stop()
		h.counter.Add(-1)
	}
}

// wait returns true when it is worth routing again.
func (h *hold) wait(g *Gateway, ctx context.Context, gen *generation, woken <-chan struct{}) bool {
	if h.limit == nil {
		return false
	}
	g.mu.Lock()
	changed := g.changed
	stale := g.served.Load() != gen
	g.mu.Unlock()
	if stale {
		return true
	}
	select {
	case <-woken:
		return true
	case <-changed:
		return true
	case <-h.limit.C:
	case <-ctx.Done():
	case <-g.life.Done():
	}
	return false
}

// newProxy makes the one reverse proxy. It holds no state of a request: that
// travels in the request's context.
func newProxy(g *Gateway) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:   g.rewrite,
		Transport: roundTripper{},
		ModifyResponse: func(res *http.Response) error {
			x := exchangeOf(res.Request.Context())
			x.status = res.StatusCode
			if res.StatusCode == http.StatusSwitchingProtocols {
				x.pool.upgrade(x.entry)
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) { fail(w, r, err) },
		BufferPool:   &buffers{},
		ErrorLog:     slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
	}
}

// rewrite prepares the request for a backend. Hop-by-hop fields and the
// client's own X-Forwarded-* are gone already.
func (g *Gateway) rewrite(pr *httputil.ProxyRequest) {
	pr.Out.URL.Scheme = "http"
	pr.Out.URL.Host = "backend.invalid" // the round tripper chooses
	pr.Out.URL.RawQuery = pr.In.URL.RawQuery
	pr.Out.Host = pr.In.Host
	trusted := g.trusts(pr.In.RemoteAddr)
	if trusted {
		pr.Out.Header["X-Forwarded-For"] = pr.In.Header["X-Forwarded-For"]
	}
	pr.SetXForwarded()
	if trusted {
		for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Proto"} {
			if v := pr.In.Header.Get(name); v != "" {
				pr.Out.Header.Set(name, v)
			}
		}
	}
}

func (g *Gateway) trusts(remote string) bool {
	if len(g.opt.TrustedProxies) == 0 {
		return false
	}
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	for _, p := range g.opt.TrustedProxies {
		if p.Contains(peer.Addr().Unmap()) {
			return true
		}
	}
	return false
}

// roundTripper sends a request to a backend of the pool it is bound to.
type roundTripper struct{}

// maxAttempts bounds how many backends one request may try.
const maxAttempts = 3

// RoundTrip implements http.RoundTripper.
func (roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	x := exchangeOf(req.Context())
	if x.route.Timeout > 0 {
		limit := time.AfterFunc(x.route.Timeout, func() { x.entry.cancel(errTimeout) })
		defer limit.Stop()
	}
	var last error
	for range maxAttempts {
		b := x.pool.pick(x.tried)
		if b == nil {
			break
		}
		res, err := x.try(req, b)
		if err == nil {
			return res, nil
		}
		last = err
		x.tried = append(x.tried, b)
		if req.Context().Err() != nil || !x.mayMove(req, err) {
			return nil, err
		}
	}
	if last == nil {
		last = errNoBackend
	}
	return nil, last
}

// try sends the request to one backend.
func (x *exchange) try(req *http.Request, b *backend) (*http.Response, error) {
	if x.backend != nil {
		x.backend.inFlight.Add(-1)
	}
	x.backend = b
	b.inFlight.Add(1)
	x.pool.sent()
	out := *req
	address := *req.URL
	address.Host = b.address
	out.URL = &address
	if req.Body != nil {
		x.body = &trackedBody{from: req.Body}
		out.Body = x.body
	}
	transport := x.pool.fresh
	if repeatable(req) {
		transport = x.pool.reuse
	}
	res, err := transport.RoundTrip(&out)
	if err != nil {
		if neverConnected(err) {
			b.suspect()
		}
		return nil, err
	}
	res.Request = req
	return res, nil
}

// mayMove reports whether another backend may be asked after an error.
func (x *exchange) mayMove(req *http.Request, err error) bool {
	if neverConnected(err) {
		return x.body == nil || !x.body.read.Load()
	}
	return x.route.Retry && repeatable(req) && (req.Method == http.MethodGet || req.Method == http.MethodHead)
}

// repeatable reports whether a second arrival of the request does no harm.
func repeatable(req *http.Request) bool {
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return req.Body == nil && req.Header.Get("Upgrade") == ""
	}
	return false
}

// neverConnected reports that no connection came about, so nothing was sent.
func neverConnected(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// trackedBody remembers whether the transport began to read. Close does nothing,
// so that an unread body can go to another backend; the reverse proxy closes the
// one behind it.
type trackedBody struct {
	from io.Reader
	read atomic.Bool
	bad  atomic.Bool // the client sent something unreadable
}

// Read implements io.Reader.
func (b *trackedBody) Read(p []byte) (int, error) {
	b.read.Store(true)
	n, err := b.from.Read(p)
	if err != nil && err != io.EOF {
		b.bad.Store(true)
	}
	return n, err
}

// Close implements io.Closer.
func (b *trackedBody) Close() error { return nil }

// fail answers a request that got no answer from a backend.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	x := exchangeOf(r.Context())
	cause := context.Cause(r.Context())
	status, code, text := http.StatusBadGateway, "backend-failed", "The application did not answer properly."
	switch {
	case errors.Is(cause, errCut):
		w.Header().Set("Connection", "close")
		status, code, text = http.StatusGatewayTimeout, "drained", "The request took longer than the drain allowed."
	case errors.Is(cause, errTimeout):
		status, code, text = http.StatusGatewayTimeout, "backend-timeout", "The application did not answer in time."
	case cause != nil:
		x.status = 499 // the client left; nobody reads an answer
		panic(http.ErrAbortHandler)
	case errors.Is(err, errNoBackend):
		w.Header().Set("Retry-After", "1")
		status, code, text = http.StatusServiceUnavailable, "no-healthy-backend", "No machine of this application is healthy right now."
	case neverConnected(err):
		code, text = "backend-unreachable", "No machine of this application accepts connections."
	case x.body != nil && x.body.bad.Load():
		w.Header().Set("Connection", "close")
		status, code, text = http.StatusBadRequest, "bad-request-body", "The request's body could not be read."
	}
	x.status = status
	refuse(w, status, code, text)
}

// refuse writes the gateway's own short page.
func refuse(w http.ResponseWriter, status int, code, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Penstock-Error", code)
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "%d %s\n%s\n", status, code, text)
}

func (g *Gateway) logAccess(r *http.Request, x *exchange) {
	if !g.log.Enabled(r.Context(), slog.LevelDebug) {
		return
	}
	address := ""
	if x.backend != nil {
		address = x.backend.address
	}
	g.log.Debug("request", "method", r.Method, "host", r.Host, "path", r.URL.Path, "status", x.status,
		"pool", x.route.Pool, "backend", address, "took", g.now().Sub(x.entry.start), "client", r.RemoteAddr)
}

// buffers lends the reverse proxy its copy buffers.
type buffers struct{ pool sync.Pool }

// Get implements httputil.BufferPool.
func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, 32<<10)
}

// Put implements httputil.BufferPool.
func (b *buffers) Put(p []byte) { b.pool.Put(&p) }
