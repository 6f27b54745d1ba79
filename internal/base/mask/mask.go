// Package mask removes secrets from text.
//
// The guarantee: once a secret is known, none of its forms of MinLength bytes
// or more, as Forms lists them, is left in what Line and Stream return, however
// the text was cut into pieces. What is shorter is left alone, because it occurs
// in ordinary text by chance; Add says so.
package mask

import (
	"strings"
	"sync"
	"sync/atomic"
)

// Text stands in the place of a secret.
const Text = "***"

// MinLength is the shortest value that is masked, in bytes.
const MinLength = 4

// Masker knows a set of secrets. It is safe for concurrent use.
type Masker struct {
	mu    sync.Mutex
	forms map[string]bool
	ready atomic.Pointer[automaton] // nil: forms have changed since
}

// Add makes the values secret, in each of their usual encodings. It returns how
// many were too short to mask.
func (m *Masker) Add(values ...string) (short int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.forms == nil {
		m.forms = map[string]bool{}
	}
	for _, v := range values {
		if strings.TrimSpace(v) == "" {
			continue
		}
		forms := Forms(v)
		if !maskable(v) {
			short++
		}
		for _, f := range forms {
			for _, piece := range pieces(f) {
				if !m.forms[piece] {
					m.forms[piece] = true
					m.ready.Store(nil)
				}
			}
		}
	}
	return short
}

// maskable says whether a value, or one of its lines, is long enough: a log
// shows a value of several lines line by line.
func maskable(v string) bool {
	for line := range strings.Lines(v) {
		if len(strings.TrimSpace(line)) >= MinLength {
			return true
		}
	}
	return false
}

// automaton returns the search for all forms. It is built when it is first
// needed: secrets come in groups.
func (m *Masker) automaton() *automaton {
	if a := m.ready.Load(); a != nil {
		return a
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if a := m.ready.Load(); a != nil {
		return a
	}
	a := build(m.forms)
	m.ready.Store(a)
	return a
}

// Line returns the text with every secret replaced. Overlapping secrets are
// replaced as one.
func (m *Masker) Line(text string) string {
	a := m.automaton()
	spans, _ := a.scan(text, nil)
	if len(spans) == 0 {
		return text
	}
	var b strings.Builder
	at := 0
	for _, s := range spans {
		b.WriteString(text[at:s.from])
		b.WriteString(Text)
		at = s.to
	}
	b.WriteString(text[at:])
	return b.String()
}

// Stream masks a text that comes in pieces: what may be the beginning of a
// secret is held back until more is known. It keeps no more than the longest
// form, and a piece.
type Stream struct {
	m      *Masker
	held   string
	masked int // so many bytes of held are covered by a mask that was given out
}

// Stream begins a text.
func (m *Masker) Stream() *Stream { return &Stream{m: m} }

// Write takes the next piece and returns what can be said of the text so far.
func (s *Stream) Write(piece string) string { return s.advance(piece, false) }

// Close returns the rest.
func (s *Stream) Close() string { return s.advance("", true) }

func (s *Stream) advance(piece string, last bool) string {
	text := s.held + piece
	var spans []span
	if s.masked > 0 {
		spans = append(spans, span{0, s.masked})
	}
	spans, open := s.m.automaton().scan(text, spans)
	safe := len(text) - open
	if last {
		safe = len(text)
	}
	var b strings.Builder
	at, covered := 0, max(s.masked-safe, 0)
	for _, x := range spans {
		if x.from >= safe {
			break
		}
		if x.from > 0 || s.masked == 0 {
			b.WriteString(text[at:x.from])
			b.WriteString(Text)
		}
		at, covered = min(x.to, safe), max(x.to-safe, 0)
	}
	b.WriteString(text[at:safe])
	s.held, s.masked = strings.Clone(text[safe:]), covered
	return b.String()
}

// Held is what the stream holds back of the text because a secret may begin
// there; "" where it is covered by a mask.
func (s *Stream) Held() string {
	if s.masked > 0 {
		return ""
	}
	return s.held
}
