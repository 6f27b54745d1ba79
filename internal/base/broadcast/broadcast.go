// Package broadcast tells whoever listens that something with a key changed.
// It carries no content: listeners read again, so a lost signal costs nothing
// but time, and a slow listener never blocks anybody.
package broadcast

import "sync"

// Hub connects publishers with subscribers of one process.
type Hub struct {
	mu   sync.Mutex
	subs map[string]map[*Subscription]struct{}
}

// Subscription receives the keys that changed since it last looked.
type Subscription struct {
	hub     *Hub
	keys    []string
	mu      sync.Mutex
	pending map[string]bool
	C       chan struct{} // holds one signal
}

// Subscribe listens to keys until Close.
func (h *Hub) Subscribe(keys ...string) *Subscription {
	s := &Subscription{hub: h, keys: keys, pending: map[string]bool{}, C: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.subs == nil {
		h.subs = map[string]map[*Subscription]struct{}{}
	}
	for _, k := range keys {
		if h.subs[k] == nil {
			h.subs[k] = map[*Subscription]struct{}{}
		}
		h.subs[k][s] = struct{}{}
	}
	return s
}

// Publish signals every subscriber of the keys.
func (h *Hub) Publish(keys ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, k := range keys {
		for s := range h.subs[k] {
			s.add(k)
		}
	}
}

func (s *Subscription) add(key string) {
	s.mu.Lock()
	s.pending[key] = true
	s.mu.Unlock()
	select {
	case s.C <- struct{}{}:
	default:
	}
}

// Take returns the keys that changed since the last Take.
func (s *Subscription) Take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := make([]string, 0, len(s.pending))
	for k := range s.pending {
		keys = append(keys, k)
	}
	clear(s.pending)
	return keys
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	for _, k := range s.keys {
		delete(s.hub.subs[k], s)
		if len(s.hub.subs[k]) == 0 {
			delete(s.hub.subs, k)
		}
	}
}
