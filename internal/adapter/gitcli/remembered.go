package gitcli

import (
	"strings"
	"sync"
)

// remembered keeps what git said of commits, which never change: a run reads the
// same few files several times. It forgets everything when it is full.
type remembered struct {
	mu    sync.Mutex
	known map[string][]byte
	size  int
}

// Bounds of what is remembered, in bytes: in all, and of one answer.
const (
	maxRemembered = 16 << 20
	maxAnswer     = 1 << 20
)

func (r *remembered) get(key string) ([]byte, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	data, ok := r.known[key]
	return data, ok
}

func (r *remembered) put(key string, data []byte) {
	if len(data) > maxAnswer {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.size += len(key) + len(data); r.known == nil || r.size > maxRemembered {
		r.known, r.size = map[string][]byte{}, len(key)+len(data)
	}
	r.known[key] = data
}

// Adopt takes over what another Git remembers of a repository that has moved
// here under another id.
func (g *Git) Adopt(from *Git, fromID, toID string) {
	from.seen.mu.Lock()
	defer from.seen.mu.Unlock()
	for key, data := range from.seen.known {
		g.seen.put(strings.Replace(key, fromID, toID, 1), data)
	}
}
