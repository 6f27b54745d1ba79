package agentpool

import (
	"slices"
	"time"
)

// OnlineFor is how long after its last request an agent counts as online: a
// little more than one long poll.
const OnlineFor = 75 * time.Second

// pauseOf is a silence of this server's own clockwork that counts as an absence
// of the server: the machine slept, or the process stood still.
const pauseOf = 10 * time.Second

// presence is who was heard of when. It lies in memory: a server that starts
// again knows nobody and counts from then on.
type presence struct {
	since  time.Time // this server has listened without a pause
	beat   time.Time // its clockwork last ran
	seen   map[string]time.Time
	gone   map[string]bool // said goodbye, or was switched off
	newest map[string]poll
}

// poll numbers the questions of one process of an agent.
type poll struct {
	session string
	number  int
	past    []string // sessions before, the newest last
}

// maxPast is how many earlier processes of an agent are remembered, so that a
// late question of one is not taken for a new one.
const maxPast = 16

// listen notes that the server is there to hear agents.
func (p *presence) listen(now time.Time, pause time.Duration) {
	if p.since.IsZero() || now.Sub(p.beat) > pause || now.Before(p.beat) {
		p.since = now
	}
	p.beat = now
}

func (p *presence) saw(agentID string, now time.Time) {
	if p.seen == nil {
		p.seen = map[string]time.Time{}
	}
	p.seen[agentID] = now
}

// absent is how long an agent was silent while somebody listened.
func (p *presence) absent(agentID string, now time.Time) time.Duration {
	last := p.seen[agentID]
	if last.Before(p.since) {
		last = p.since
	}
	return now.Sub(last)
}

// attend notes a question of an agent; false: a newer one is known.
func (p *presence) attend(agentID, session string, number int) bool {
	if p.newest == nil {
		p.newest = map[string]poll{}
	}
	last, known := p.newest[agentID]
	switch {
	case slices.Contains(last.past, session), session == last.session && number < last.number:
		return false
	case known && session != last.session:
		last.past = append(last.past, last.session)
		last.past = last.past[max(0, len(last.past)-maxPast):]
	}
	p.newest[agentID] = poll{session, number, last.past}
	return true
}

// Listen notes that the server is there to hear agents. It is called when the
// server starts and every second: time in which it was not called counts against
// nobody.
func (s *Service) Listen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.presence.listen(s.Clock.Now(), max(pauseOf, s.LeaseTTL))
}

// Saw notes a request of an agent.
func (s *Service) Saw(agentID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.presence.gone, agentID)
	s.presence.saw(agentID, s.Clock.Now())
}

// Waits notes that a request of an agent is still open. It does not bring back
// one that has gone: its connection may not know yet.
func (s *Service) Waits(agentID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.presence.gone[agentID] {
		s.presence.saw(agentID, s.Clock.Now())
	}
}

// Attend notes a poll of an agent by its number in the agent's process; false: a
// newer one is known, and nobody waits for the answer to this one.
func (s *Service) Attend(agentID, session string, number int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.presence.attend(agentID, session, number)
}

// Absent is for how long an agent has not been heard of: since its last
// request, or since this server began to listen.
func (s *Service) Absent(agentID string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Clock.Now()
	if s.presence.since.IsZero() {
		s.presence.listen(now, pauseOf)
	}
	return s.presence.absent(agentID, now)
}

// Gone notes that an agent said goodbye, or that its machine was switched off:
// nobody waits for it longer than its leases hold.
func (s *Service) Gone(agentID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.presence.seen, agentID)
	if s.presence.gone == nil {
		s.presence.gone = map[string]bool{}
	}
	s.presence.gone[agentID] = true
}

// LastSeen returns when an agent was heard of since this server started, and
// whether it counts as online.
func (s *Service) LastSeen(agentID string) (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.presence.seen[agentID]
	return t, s.Clock.Now().Sub(t) < OnlineFor
}
