package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/routing"
)

// The states of a backend. A backend nobody has probed yet gets no request; its
// first probe decides at once, later changes need Rise or Fall answers in a row.
const (
	unknown   = "unknown"
	healthy   = "healthy"
	unhealthy = "unhealthy"
)

// backend is one address of a pool and what is known about it.
type backend struct {
	pool     *pool
	address  string
	inFlight atomic.Int64
	up       atomic.Bool   // state == healthy, for the path of a request
	kick     chan struct{} // asks for a probe now
	probing  sync.Mutex    // one probe at a time

	mu    sync.Mutex
	found routing.BackendHealth
	good  int // answers in a row
	bad   int
	stop  context.CancelFunc // ends the probes; nil while nobody probes
}

func newBackend(p *pool, address string) *backend {
	return &backend{
		pool: p, address: address, kick: make(chan struct{}, 1),
		found: routing.BackendHealth{Pool: p.name, Address: address, State: unknown, Since: p.now()},
	}
}

func (b *backend) isHealthy() bool { return b.up.Load() }

// suspect asks for a probe soon, because a request met no backend there.
func (b *backend) suspect() {
	select {
	case b.kick <- struct{}{}:
	default:
	}
}

func (b *backend) health(name string) routing.BackendHealth {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.found
	h.Backend = name
	return h
}

// withDefaults fills what a probe leaves open.
func withDefaults(p routing.Probe) routing.Probe {
	if p.Interval == 0 {
		p.Interval = 5 * time.Second
	}
	if p.Timeout == 0 {
		p.Timeout = 2 * time.Second
	}
	p.Rise, p.Fall = max(p.Rise, 1), max(p.Fall, 1)
	if p.MinCode == 0 && p.MaxCode == 0 {
		p.MinCode, p.MaxCode = 200, 299
	}
	return p
}

// reconcile makes listeners and probes what the served and the prepared table
// need together. The caller holds g.mu.
func (g *Gateway) reconcile() {
	wanted := map[*backend]bool{}
	for _, gen := range []*generation{g.served.Load(), g.prepared} {
		if gen == nil {
			continue
		}
		for i := range gen.table.Pools {
			v := gen.pools[gen.table.Pools[i].Name]
			v.setProbe(gen.table.Pools[i].Probe)
			for _, b := range v.backends {
				wanted[b.backend] = true
			}
		}
	}
	for _, p := range g.pools {
		p.mu.Lock()
		for address, b := range p.backends {
			switch {
			case wanted[b]:
				g.startProbes(b)
			default:
				if b.stop != nil {
					b.stop()
				}
				delete(p.backends, address)
			}
		}
		p.mu.Unlock()
	}
	g.reconcileListeners()
}

func (p *pool) setProbe(probe routing.Probe) {
	p.mu.Lock()
	p.probe = probe
	p.mu.Unlock()
}

func (p *pool) currentProbe() routing.Probe {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.probe
}

// startProbes begins to probe a backend unless that goes on already.
func (g *Gateway) startProbes(b *backend) {
	if b.stop != nil || g.closed {
		return
	}
	ctx, cancel := context.WithCancel(g.life)
	b.stop = cancel
	g.wg.Go(func() {
		for ctx.Err() == nil {
			b.probe(ctx)
			wait := time.NewTimer(b.pool.currentProbe().Interval)
			select {
			case <-wait.C:
			case <-b.kick:
			case <-ctx.Done():
			}
			wait.Stop()
		}
	})
}

// probe asks the backend once and takes over the answer.
func (b *backend) probe(ctx context.Context) {
	b.probing.Lock()
	defer b.probing.Unlock()
	p := b.pool.currentProbe()
	start := b.pool.now()
	detail, err := b.ask(ctx, p)
	if ctx.Err() != nil {
		return // the gateway gave up, the backend did not fail
	}
	b.learn(p, detail, err, b.pool.now().Sub(start))
}

// learn applies one answer to the state.
func (b *backend) learn(p routing.Probe, detail string, err error, took time.Duration) {
	now := b.pool.now()
	b.mu.Lock()
	b.found.Latency, b.found.Detail = took, detail
	state := b.found.State
	if err == nil {
		b.good, b.bad = b.good+1, 0
		b.found.LastSeen = now
		if state == unknown || state == unhealthy && b.good >= p.Rise {
			state = healthy
		}
	} else {
		b.good, b.bad = 0, b.bad+1
		b.found.Detail = err.Error()
		if state == unknown || state == healthy && b.bad >= p.Fall {
			state = unhealthy
		}
	}
	changed := state != b.found.State
	if changed {
		b.found.State, b.found.Since = state, now
		b.up.Store(state == healthy)
	}
	b.mu.Unlock()
	if changed && state == healthy {
		b.pool.announceHealthy()
	}
}

// announceHealthy wakes requests that wait for a backend.
func (p *pool) announceHealthy() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.healthy)
	p.healthy = make(chan struct{})
}

func (p *pool) becomesHealthy() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.healthy
}

// ask makes one probe: a TCP connection, or a GET on a connection of its own so
// that it also shows that the backend still accepts.
func (b *backend) ask(ctx context.Context, p routing.Probe) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	if p.Path == "" {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", b.address)
		if err != nil {
			return "", explainProbe(err, p)
		}
		_ = conn.Close()
		return "connected", nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.address+p.Path, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("User-Agent", "Penstock-Probe")
	res, err := b.pool.fresh.RoundTrip(req) // no redirects on purpose
	if err != nil {
		return "", explainProbe(err, p)
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10)
	if res.StatusCode < p.MinCode || res.StatusCode > p.MaxCode {
		return "", fmt.Errorf("GET %s answered %d, expected %d-%d", p.Path, res.StatusCode, p.MinCode, p.MaxCode)
	}
	return fmt.Sprintf("GET %s answered %d", p.Path, res.StatusCode), nil
}

func explainProbe(err error, p routing.Probe) error {
	var op *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer within %s", p.Timeout)
	case errors.As(err, &op) && op.Op == "dial":
		return fmt.Errorf("cannot connect: %w", op.Err)
	}
	return err
}

// Health returns what is known about every backend of the served table and of
// the prepared one.
func (g *Gateway) Health() []routing.BackendHealth {
	var list []routing.BackendHealth
	for _, v := range g.views() {
		for _, b := range v.backends {
			list = append(list, b.health(b.name))
		}
	}
	return list
}

// ProbeNow probes every backend of a pool of the prepared or the served table
// at once and returns what it found.
func (g *Gateway) ProbeNow(ctx context.Context, pool string) ([]routing.BackendHealth, error) {
	for _, v := range g.views() {
		if v.pool.name != pool {
			continue
		}
		var wg sync.WaitGroup
		for _, b := range v.backends {
			wg.Go(func() { b.probe(ctx) })
		}
		wg.Wait()
		list := make([]routing.BackendHealth, 0, len(v.backends))
		for _, b := range v.backends {
			list = append(list, b.health(b.name))
		}
		if ctx.Err() != nil {
			return list, fault.Wrap(ctx.Err(), fault.Unavailable, "probe-interrupted", "the probe of pool %s was interrupted", pool)
		}
		return list, nil
	}
	return nil, fault.New(fault.NotFound, "pool-unknown", "neither the served nor the prepared table has a pool %q", pool)
}

// Stats returns the counters of every pool the gateway ever had, by name.
func (g *Gateway) Stats() []routing.Stats {
	g.mu.Lock()
	pools := make([]*pool, 0, len(g.pools))
	for _, p := range g.pools {
		pools = append(pools, p)
	}
	g.mu.Unlock()
	slices.SortFunc(pools, func(a, b *pool) int { return strings.Compare(a.name, b.name) })
	list := make([]routing.Stats, 0, len(pools))
	for _, p := range pools {
		list = append(list, p.stats())
	}
	return list
}

// views returns the pools of the prepared table, then those only the served
// table has, by name.
func (g *Gateway) views() []*view {
	g.mu.Lock()
	defer g.mu.Unlock()
	byName := map[string]*view{}
	for _, gen := range []*generation{g.served.Load(), g.prepared} {
		if gen != nil {
			for name, v := range gen.pools {
				byName[name] = v
			}
		}
	}
	list := make([]*view, 0, len(byName))
	for _, v := range byName {
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b *view) int { return strings.Compare(a.pool.name, b.pool.name) })
	return list
}
