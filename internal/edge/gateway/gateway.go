package gateway

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/routing"
)

// Options are what a Gateway needs from outside. The zero value works.
type Options struct {
	Logger *slog.Logger
	// HoldTime is how long a request waits for a backend to become healthy
	// before it is answered with 503; 0 answers at once.
	HoldTime time.Duration
	// HoldRequests bounds how many requests wait at the same time (1000).
	HoldRequests int
	// SnapshotFile keeps the published table across restarts; "" keeps nothing.
	SnapshotFile string
	// TrustedProxies are the peers whose X-Forwarded-* fields are believed.
	TrustedProxies []netip.Prefix
	// Now is the clock of counters and health; nil is time.Now.
	Now func() time.Time
}

// Gateway routes requests by the table it serves. All methods may be called
// from any goroutine.
type Gateway struct {
	opt   Options
	log   *slog.Logger
	now   func() time.Time
	proxy *httputil.ReverseProxy

	served  atomic.Pointer[generation]
	holding atomic.Int64

	life context.Context // ends when the gateway closes
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu       sync.Mutex // guards what follows; never taken while a request is routed
	prepared *generation
	pools    map[string]*pool
	changed  chan struct{} // closed and replaced by every Publish
	closed   bool
	server   *http.Server
	listen   listeners
}

// New returns a gateway that serves nothing yet.
func New(o Options) *Gateway {
	g := &Gateway{opt: o, log: o.Logger, now: o.Now, pools: map[string]*pool{}, changed: make(chan struct{})}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	if g.now == nil {
		g.now = time.Now
	}
	if g.opt.HoldRequests == 0 {
		g.opt.HoldRequests = 1000
	}
	g.life, g.stop = context.WithCancel(context.Background())
	g.proxy = newProxy(g)
	g.listen.open = map[string]net.Listener{}
	g.listen.failed = map[string]error{}
	g.server = &http.Server{
		Handler:           g,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       75 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
	}
	return g
}

// Prepare checks a table and holds it: its pools are probed and its listeners
// opened while the served table stays as it is. A later Prepare replaces it.
func (g *Gateway) Prepare(t *routing.Table) error {
	if err := checkTable(t); err != nil {
		return err
	}
	t = cloneTable(t)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return errClosed()
	}
	if now := g.served.Load(); now != nil && t.Generation <= now.table.Generation {
		return fault.New(fault.Conflict, "stale-generation",
			"the gateway already serves generation %d", now.table.Generation).
			Want("a generation above %d", now.table.Generation).Got("%d", t.Generation).
			Try("load the current state and make a newer generation of it")
	}
	if err := g.stageSnapshot(t); err != nil {
		return err
	}
	g.prepared = g.build(t)
	g.reconcile()
	return nil
}

// Publish serves the prepared table from now on. Requests that are being
// answered finish where they are. It is safe to repeat.
func (g *Gateway) Publish(generation uint64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := g.served.Load(); now != nil && now.table.Generation == generation {
		return nil
	}
	if g.closed {
		return errClosed()
	}
	if g.prepared == nil || g.prepared.table.Generation != generation {
		return fault.New(fault.Conflict, "not-prepared", "generation %d is not prepared", generation).
			Want("the generation of the last Prepare").Got("%s", g.describePrepared()).
			Try("prepare generation %d again, then publish it", generation)
	}
	// The file comes first: a gateway that restarts must not fall back to a
	// table that everybody believes to be gone. If it fails, nothing moved.
	if err := g.commitSnapshot(); err != nil {
		return err
	}
	g.switchTo(g.prepared)
	return nil
}

// switchTo makes next the served generation. The caller holds g.mu.
func (g *Gateway) switchTo(next *generation) {
	g.served.Store(next)
	g.prepared = nil
	close(g.changed)
	g.changed = make(chan struct{})
	g.reconcile()
	g.log.Info("gateway serves a new table", "generation", next.table.Generation)
}

func (g *Gateway) describePrepared() string {
	if g.prepared == nil {
		return "none"
	}
	return fmtGeneration(g.prepared.table.Generation)
}

// Table returns the table served now, or nil. It must not be changed.
func (g *Gateway) Table() *routing.Table {
	if now := g.served.Load(); now != nil {
		return now.table
	}
	return nil
}

// Drain waits until a pool that no route leads to has answered everything it
// was asked, including upgraded connections and streams. What is left when the
// deadline passes is cut and counted. If a new table leads to the pool in the
// meantime, Drain cuts nothing and returns a Conflict.
func (g *Gateway) Drain(ctx context.Context, name string, deadline time.Duration) (int, error) {
	limit := time.NewTimer(deadline)
	defer limit.Stop()
	for late := false; ; {
		p, changed, err := g.drainable(name)
		if err != nil {
			return 0, err
		}
		if late {
			return g.cut(ctx, name)
		}
		select {
		case <-p.idle():
			p.closeIdle()
			return 0, nil
		case <-changed:
		case <-limit.C:
			late = true
		case <-ctx.Done():
			return 0, fault.Wrap(ctx.Err(), fault.Unavailable, "drain-interrupted",
				"the drain of pool %s was interrupted", name).
				Got("%d requests still open", p.open()).Try("drain it again; it continues where it is")
		}
	}
}

// drainable returns the pool if no served route leads to it, and a channel that
// closes when another table is published.
func (g *Gateway) drainable(name string) (*pool, <-chan struct{}, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.pools[name]
	if p == nil {
		return nil, nil, fault.New(fault.NotFound, "pool-unknown", "the gateway never had a pool %q", name)
	}
	if g.served.Load().leadsTo(name) {
		return nil, nil, errInUse(name)
	}
	return p, g.changed, nil
}

// cut ends what is still open in a pool. It holds the publish lock while it
// does, so that no table can give the pool back to users in between.
func (g *Gateway) cut(ctx context.Context, name string) (int, error) {
	g.mu.Lock()
	p := g.pools[name]
	if g.served.Load().leadsTo(name) {
		g.mu.Unlock()
		return 0, errInUse(name)
	}
	n := p.cutAll()
	g.mu.Unlock()
	limit := time.NewTimer(5 * cutGrace)
	defer limit.Stop()
	select {
	case <-p.idle():
	case <-ctx.Done():
	case <-limit.C: // a handler does not end although its connections are closed
	}
	p.closeIdle()
	return n, nil
}

// Close ends the gateway: it accepts nothing new, waits for requests until ctx
// ends, then cuts what is left. Upgraded connections and streams have no end of
// their own; they are cut as soon as the requests are answered.
func (g *Gateway) Close(ctx context.Context) error {
	g.mu.Lock()
	g.closed = true
	g.closeStreams()
	g.mu.Unlock()
	err := g.server.Shutdown(ctx)
	g.mu.Lock()
	pools := make([]*pool, 0, len(g.pools))
	for _, p := range g.pools {
		pools = append(pools, p)
	}
	g.mu.Unlock()
	for _, p := range pools {
		p.cutAll() // hijacked connections and streams are not the server's to end
	}
	if err != nil {
		err = fault.Wrap(err, fault.Unavailable, "gateway-close", "some requests were cut when the gateway closed")
		_ = g.server.Close()
	}
	g.stop()
	g.wg.Wait()
	for _, p := range pools {
		p.closeIdle()
	}
	return err
}

func errInUse(pool string) error {
	return fault.New(fault.Conflict, "pool-in-use", "requests are routed to pool %q", pool).
		Want("a pool that no route of the served table leads to").
		Try("publish a table without it, then drain")
}

func errClosed() error {
	return fault.New(fault.Unavailable, "gateway-closed", "the gateway is shutting down")
}
