// Package monitor keeps what the gateway counts as rates over time, for the
// charts of applications and for what an operator asks.
package monitor

import (
	"sync"
	"time"

	"penstock.dev/penstock/internal/domain/routing"
)

// Point is what happened to a pool in the step that ends at Time.
type Point struct {
	Time     time.Time `json:"time"`
	Requests float64   `json:"requests"` // per second
	Errors   float64   `json:"errors"`   // per second
	P50      float64   `json:"p50"`      // seconds; 0 where there was no request
	P95      float64   `json:"p95"`
	P99      float64   `json:"p99"`
	InFlight int64     `json:"inFlight"`
}

// The two resolutions kept, and how many points of each.
const (
	FineStep   = time.Second
	finePoints = 15 * 60
	CoarseStep = 15 * time.Second
	coarsePts  = 24 * 60 * 4
)

// Recorder turns counters into rates. It keeps a quarter of an hour by the
// second and a day by the quarter minute, in memory.
type Recorder struct {
	mu    sync.RWMutex
	pools map[string]*series
}

type series struct {
	last      routing.Stats
	lastTime  time.Time
	fine      ring
	coarse    ring
	coarseRef routing.Stats
	coarseAt  time.Time
}

// ring holds the newest points, oldest first once it is read.
type ring struct {
	points []Point
	next   int
	size   int
}

func (r *ring) add(p Point) {
	if len(r.points) < r.size {
		r.points = append(r.points, p)
		return
	}
	r.points[r.next] = p
	r.next = (r.next + 1) % r.size
}

func (r *ring) since(from time.Time) []Point {
	list := make([]Point, 0, len(r.points))
	for i := range r.points {
		if p := r.points[(r.next+i)%len(r.points)]; !p.Time.Before(from) {
			list = append(list, p)
		}
	}
	return list
}

// Observe takes the counters of all pools at a time.
func (m *Recorder) Observe(now time.Time, stats []routing.Stats) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pools == nil {
		m.pools = map[string]*series{}
	}
	for _, s := range stats {
		x := m.pools[s.Pool]
		if x == nil {
			m.pools[s.Pool] = &series{last: s, lastTime: now, coarseRef: s, coarseAt: now,
				fine: ring{size: finePoints}, coarse: ring{size: coarsePts}}
			continue
		}
		x.fine.add(between(x.last, x.lastTime, s, now))
		x.last, x.lastTime = s, now
		if now.Sub(x.coarseAt) >= CoarseStep {
			x.coarse.add(between(x.coarseRef, x.coarseAt, s, now))
			x.coarseRef, x.coarseAt = s, now
		}
	}
}

func between(a routing.Stats, from time.Time, b routing.Stats, to time.Time) Point {
	p := Point{Time: to, InFlight: b.InFlight}
	seconds := to.Sub(from).Seconds()
	if seconds <= 0 || b.Requests < a.Requests {
		return p // the gateway was started again
	}
	p.Requests, p.Errors = float64(b.Requests-a.Requests)/seconds, float64(b.Errors-a.Errors)/seconds
	counts := make([]uint64, len(b.Buckets))
	for i := range b.Buckets {
		counts[i] = b.Buckets[i]
		if i < len(a.Buckets) {
			counts[i] -= a.Buckets[i]
		}
	}
	p.P50, p.P95, p.P99 = quantile(counts, .5), quantile(counts, .95), quantile(counts, .99)
	return p
}

// quantile interpolates within the bucket that holds it; in seconds.
func quantile(counts []uint64, q float64) float64 {
	var total uint64
	for _, c := range counts {
		total += c
	}
	if total == 0 {
		return 0
	}
	rank, seen, lower := q*float64(total), 0.0, 0.0
	for i, c := range counts {
		if i >= len(routing.LatencyBounds) {
			return lower // beyond the last bound
		}
		upper := routing.LatencyBounds[i]
		if seen+float64(c) >= rank && c > 0 {
			return lower + (upper-lower)*(rank-seen)/float64(c)
		}
		seen += float64(c)
		lower = upper
	}
	return lower
}

// Since returns the points of a pool from a time on, in the finest resolution
// that reaches back so far.
func (m *Recorder) Since(pool string, from, now time.Time) []Point {
	m.mu.RLock()
	defer m.mu.RUnlock()
	x := m.pools[pool]
	if x == nil {
		return nil
	}
	if now.Sub(from) <= finePoints*FineStep {
		return x.fine.since(from)
	}
	return x.coarse.since(from)
}

// Latest returns the newest point of a pool.
func (m *Recorder) Latest(pool string) Point {
	m.mu.RLock()
	defer m.mu.RUnlock()
	x := m.pools[pool]
	if x == nil || len(x.fine.points) == 0 {
		return Point{}
	}
	n := len(x.fine.points)
	return x.fine.points[(x.fine.next+n-1)%n]
}
