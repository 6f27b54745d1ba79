package dnsserver

import (
	"slices"
	"strings"
	"sync"
	"time"

	"penstock.dev/penstock/internal/domain/trafficmanager"
)

// trackers remember which answers are still out. They outlive snapshots: after
// a swap the old target's answers are what one waits for.
type trackers struct {
	mu  sync.Mutex
	all map[trackerKey]*tracker
}

type trackerKey struct{ name, target string }

// of returns the tracker of a record's name and target.
func (t *trackers) of(name, target string) *tracker {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = map[trackerKey]*tracker{}
	}
	k := trackerKey{name, target}
	if t.all[k] == nil {
		t.all[k] = new(tracker)
	}
	return t.all[k]
}

// prune forgets what ran out and belongs to neither of two snapshots. The one
// that was served until now is among them because an answer by it may still be
// on its way.
func (t *trackers) prune(now time.Time, inUse ...*zoneData) {
	keep := map[*tracker]bool{}
	for _, d := range inUse {
		for _, e := range d.names {
			keep[e.track] = true
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, one := range t.all {
		if expires, _ := one.state(now); !keep[one] && !expires.After(now) {
			delete(t.all, k)
		}
	}
}

// list returns what is still out at a moment; name "" stands for every name.
func (t *trackers) list(name string, now time.Time) []trafficmanager.Cached {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []trafficmanager.Cached
	for k, one := range t.all {
		if name != "" && k.name != name {
			continue
		}
		if expires, n := one.state(now); expires.After(now) {
			out = append(out, trafficmanager.Cached{Name: k.name, Target: k.target, Expires: expires, Answers: n})
		}
	}
	slices.SortFunc(out, func(a, b trafficmanager.Cached) int {
		return strings.Compare(a.Name+" "+a.Target, b.Name+" "+b.Target)
	})
	return out
}

// slots is into how many pieces a TTL is divided for counting; the count of the
// last TTL is exact to one piece, rounded up.
const slots = 32

// tracker counts the answers of one name and target.
type tracker struct {
	mu      sync.Mutex
	expires time.Time
	ttl     time.Duration
	ring    [slots + 1]struct {
		piece uint64
		count uint64
	}
}

// answered notes one answer.
func (t *tracker) answered(now time.Time, ttl time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if until := now.Add(ttl); until.After(t.expires) {
		t.expires = until
	}
	if ttl != t.ttl { // another TTL divides time differently: begin anew
		t.ttl = ttl
		clear(t.ring[:])
	}
	piece := uint64(now.UnixNano()) / t.width()
	slot := &t.ring[piece%uint64(len(t.ring))]
	if slot.piece != piece {
		slot.piece, slot.count = piece, 0
	}
	slot.count++
}

// width is the length of a piece in nanoseconds.
func (t *tracker) width() uint64 { return max(uint64(t.ttl)/slots, 1) }

// state returns when the last answer runs out and how many were given within
// the last TTL.
func (t *tracker) state(now time.Time) (time.Time, uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var n uint64
	oldest := uint64(now.Add(-t.ttl).UnixNano()) / t.width()
	for _, s := range t.ring {
		if s.count > 0 && s.piece >= oldest {
			n += s.count
		}
	}
	return t.expires, n
}
