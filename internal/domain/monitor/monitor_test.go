package monitor

import (
	"math"
	"testing"
	"time"

	"penstock.dev/penstock/internal/domain/routing"
)

func TestObserve(t *testing.T) {
	var m Recorder
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	buckets := func(n uint64) []uint64 {
		b := make([]uint64, len(routing.LatencyBounds)+1)
		b[3] = n // 5 to 10 ms
		return b
	}
	m.Observe(start, []routing.Stats{{Pool: "a/blue", Buckets: buckets(0)}})
	m.Observe(start.Add(2*time.Second), []routing.Stats{{Pool: "a/blue", Requests: 100, Errors: 10, InFlight: 3, Buckets: buckets(100)}})
	p := m.Latest("a/blue")
	if p.Requests != 50 || p.Errors != 5 || p.InFlight != 3 {
		t.Errorf("got %+v, want 50 requests/s, 5 errors/s, 3 in flight", p)
	}
	if math.Abs(p.P50-.0075) > 1e-9 {
		t.Errorf("p50 = %v, want 7.5 ms", p.P50)
	}
	// A gateway that starts again counts from zero: no negative rates.
	m.Observe(start.Add(3*time.Second), []routing.Stats{{Pool: "a/blue", Requests: 4, Buckets: buckets(4)}})
	if p := m.Latest("a/blue"); p.Requests != 0 {
		t.Errorf("after a restart: %+v", p)
	}
	if m.Latest("nobody") != (Point{}) {
		t.Error("an unknown pool has a point")
	}
}

func TestRingKeepsTheNewest(t *testing.T) {
	var m Recorder
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 2 * finePoints {
		m.Observe(start.Add(time.Duration(i)*time.Second), []routing.Stats{{Pool: "p", Requests: uint64(i)}})
	}
	now := start.Add((2*finePoints - 1) * time.Second)
	points := m.Since("p", now.Add(-time.Minute), now)
	if len(points) != 61 || !points[60].Time.Equal(now) || !points[0].Time.Equal(now.Add(-time.Minute)) {
		t.Errorf("%d points, from %v to %v", len(points), points[0].Time, points[len(points)-1].Time)
	}
	if day := m.Since("p", now.Add(-20*time.Hour), now); len(day) != (2*finePoints-1)/15 {
		t.Errorf("%d coarse points", len(day))
	}
}
