package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"penstock.dev/penstock/internal/domain/routing"
)

// errCut is the cause of a request that a drain ended.
var errCut = errors.New("cut by a drain deadline")

// pool owns what outlives a table: the requests that are being answered, the
// counters, the backends' health and the connections to them.
type pool struct {
	name  string
	now   func() time.Time
	next  atomic.Uint64   // turn of round robin and of ties
	reuse *http.Transport // for requests that may be repeated
	fresh *http.Transport // one connection for each request

	mu       sync.Mutex
	backends map[string]*backend // by address
	probe    routing.Probe
	first    *request // oldest; a doubly linked list in order of start
	last     *request
	count    routing.Stats
	empty    chan struct{} // closed when nothing is open; nil if nobody waits
	healthy  chan struct{} // closed and replaced when a backend becomes healthy
}

// request is one entry of a pool's list of what is being answered.
type request struct {
	prev, next *request
	start      time.Time
	cancel     context.CancelCauseFunc
	upgraded   bool
}

const (
	dialTimeout    = 3 * time.Second
	idleConnection = 4 * time.Second
)

func newPool(name string, now func() time.Time) *pool {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	reuse := &http.Transport{
		DialContext:            dialer.DialContext,
		MaxIdleConnsPerHost:    256,
		IdleConnTimeout:        idleConnection,
		DisableCompression:     true,
		ExpectContinueTimeout:  5 * time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		WriteBufferSize:        16 << 10,
		ReadBufferSize:         16 << 10,
	}
	fresh := reuse.Clone()
	// No connection is kept, but the backend is not told so: one that answers
	// without reading the body would close at once, and the answer could be lost
	// in the reset that follows.
	fresh.MaxIdleConnsPerHost = -1
	fresh.ReadBufferSize, fresh.WriteBufferSize = 4<<10, 4<<10 // they live for one request
	return &pool{
		name: name, now: now, reuse: reuse, fresh: fresh,
		backends: map[string]*backend{},
		healthy:  make(chan struct{}),
		count:    routing.Stats{Pool: name, Buckets: make([]uint64, len(routing.LatencyBounds)+1)},
	}
}

// backend returns the pool's backend at an address, a new one if needed.
func (p *pool) backend(address string) *backend {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.backends[address]
	if b == nil {
		b = newBackend(p, address)
		p.backends[address] = b
	}
	return b
}

// begin registers a request. Everything that is registered is seen by a drain.
func (p *pool) begin(cancel context.CancelCauseFunc, upgraded bool) *request {
	r := &request{cancel: cancel, upgraded: upgraded, start: p.now()}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		p.first = r
	} else {
		p.last.next, r.prev = r, p.last
	}
	p.last = r
	if upgraded {
		p.count.Upgraded++
	} else {
		p.count.InFlight++
	}
	return r
}

// upgrade moves a request from the ones in flight to the upgraded ones.
func (p *pool) upgrade(r *request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !r.upgraded {
		r.upgraded = true
		p.count.InFlight--
		p.count.Upgraded++
	}
}

// outcome is how a request ended.
type outcome int

const (
	unbound  outcome = iota // it went elsewhere; it does not count
	answered                // by the backend, with less than 500
	failed                  // 500 and above, or no backend
)

// end takes a request off the list and counts it.
func (p *pool) end(r *request, o outcome) {
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.prev == nil {
		p.first = r.next
	} else {
		r.prev.next = r.next
	}
	if r.next == nil {
		p.last = r.prev
	} else {
		r.next.prev = r.prev
	}
	if r.upgraded {
		p.count.Upgraded--
	} else {
		p.count.InFlight--
	}
	p.tally(r, o, now)
	if p.first == nil && p.empty != nil {
		close(p.empty)
		p.empty = nil
	}
}

// tally adds an ended request to the counters. The caller holds p.mu.
func (p *pool) tally(r *request, o outcome, now time.Time) {
	if o == unbound {
		return
	}
	p.count.Requests++
	if o == failed {
		p.count.Errors++
	}
	if r.upgraded {
		return // a WebSocket's life is not a latency
	}
	seconds := now.Sub(r.start).Seconds()
	p.count.Sum += seconds
	i := 0
	for i < len(routing.LatencyBounds) && seconds > routing.LatencyBounds[i] {
		i++
	}
	p.count.Buckets[i]++
}

// sent notes that a request was given to a backend.
func (p *pool) sent() {
	now := p.now()
	p.mu.Lock()
	p.count.LastNew = now
	p.mu.Unlock()
}

// idle returns a channel that is closed when nothing is open.
func (p *pool) idle() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.first == nil {
		done := make(chan struct{})
		close(done)
		return done
	}
	if p.empty == nil {
		p.empty = make(chan struct{})
	}
	return p.empty
}

// open counts what is registered.
func (p *pool) open() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count.InFlight + p.count.Upgraded
}

// cutAll cancels everything that is open and returns how many that were.
func (p *pool) cutAll() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for r := p.first; r != nil; r = r.next {
		r.cancel(errCut)
		n++
	}
	p.count.Cut += uint64(n)
	return n
}

func (p *pool) closeIdle() {
	p.reuse.CloseIdleConnections()
	p.fresh.CloseIdleConnections()
}

// stats returns a copy of the counters.
func (p *pool) stats() routing.Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.count
	s.Buckets = append([]uint64(nil), s.Buckets...)
	if p.first != nil {
		s.OldestRequest = p.first.start
	}
	return s
}

// pick chooses a healthy backend that takes new requests and was not tried yet;
// nil if there is none.
func (v *view) pick(tried []*backend) *backend {
	n := len(v.backends)
	if n == 0 {
		return nil
	}
	turn := int(v.next.Add(1) % uint64(n))
	var best *backend
	for i := range n {
		b := &v.backends[(turn+i)%n]
		if b.drained || !b.isHealthy() || contains(tried, b.backend) {
			continue
		}
		if v.balance == "roundRobin" {
			return b.backend
		}
		if best == nil || b.inFlight.Load() < best.inFlight.Load() {
			best = b.backend
		}
	}
	return best
}

// available reports whether pick would find a backend.
func (v *view) available() bool {
	for i := range v.backends {
		if !v.backends[i].drained && v.backends[i].isHealthy() {
			return true
		}
	}
	return false
}

func contains(list []*backend, b *backend) bool {
	for _, x := range list {
		if x == b {
			return true
		}
	}
	return false
}
