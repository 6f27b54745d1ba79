// Package outbox lets effects leave after commit. A message is stored in the
// transaction that causes it and delivered at least once afterwards, at its due
// time, by a Dispatcher; a message with a due time in the future is a timer.
package outbox

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"penstock.dev/penstock/internal/base/id"
)

// Message is one effect to deliver.
type Message struct {
	ID       string
	Topic    string
	Key      string // messages of one topic and key are delivered one at a time
	Payload  []byte // JSON
	Due      time.Time
	Attempts int
}

// New makes a message that is due at once. Payload must marshal to JSON.
func New(topic, key string, payload any) Message {
	body, err := json.Marshal(payload)
	if err != nil {
		panic("outbox: payload of " + topic + " does not marshal: " + err.Error())
	}
	return Message{ID: id.New(), Topic: topic, Key: key, Payload: body}
}

// At returns the message with a due time.
func (m Message) At(due time.Time) Message { m.Due = due; return m }

// Decode reads the payload.
func (m Message) Decode(into any) error { return json.Unmarshal(m.Payload, into) }

// Queue is the stored side of the outbox.
type Queue interface {
	// DueMessages returns messages due at now, oldest first, and when the next
	// later one is due (zero if none).
	DueMessages(ctx context.Context, now time.Time, limit int) ([]Message, time.Time, error)
	// Done removes a delivered message.
	Done(ctx context.Context, id string) error
	// Postpone counts a failed attempt and sets the next due time.
	Postpone(ctx context.Context, id string, due time.Time, cause string) error
	// Committed is signalled after each commit that stored a message.
	Committed() <-chan struct{}
}

// Handler delivers one message; it must be idempotent. An error is retried with
// growing pauses, for ever: whoever cannot ever succeed must say so in the
// state and return nil.
type Handler func(ctx context.Context, m Message) error

// Dispatcher delivers messages.
type Dispatcher struct {
	queue    Queue
	log      *slog.Logger
	handlers map[string]Handler
	now      func() time.Time

	mu   sync.Mutex
	busy map[string]bool // message id, and topic+key, in delivery
	wake chan struct{}
	wg   sync.WaitGroup
}

// NewDispatcher makes a dispatcher; handlers are added before Run.
func NewDispatcher(q Queue, log *slog.Logger) *Dispatcher {
	return &Dispatcher{queue: q, log: log, handlers: map[string]Handler{}, now: time.Now,
		busy: map[string]bool{}, wake: make(chan struct{}, 1)}
}

// Handle registers the handler of a topic.
func (d *Dispatcher) Handle(topic string, h Handler) { d.handlers[topic] = h }

// Run delivers until ctx ends, then waits for deliveries under way.
func (d *Dispatcher) Run(ctx context.Context) error {
	defer d.wg.Wait()
	for {
		next, err := d.deliverDue(ctx)
		if ctx.Err() != nil {
			return nil
		}
		pause := time.Minute
		if err != nil {
			d.log.Error("outbox cannot be read", "error", err)
			pause = time.Second
		} else if !next.IsZero() {
			pause = max(next.Sub(d.now()), 0)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-d.wake:
		case <-d.queue.Committed():
		}
		timer.Stop()
	}
}

const batch = 256

func (d *Dispatcher) deliverDue(ctx context.Context) (time.Time, error) {
	messages, next, err := d.queue.DueMessages(ctx, d.now(), batch)
	if err != nil {
		return time.Time{}, err
	}
	for _, m := range messages {
		if d.take(m) {
			d.wg.Add(1)
			go d.deliver(ctx, m)
		}
	}
	return next, nil
}

func lane(m Message) string { return m.Topic + "\x00" + m.Key }

func (d *Dispatcher) take(m Message) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy[lane(m)] || d.busy[m.ID] {
		return false
	}
	d.busy[lane(m)], d.busy[m.ID] = true, true
	return true
}

func (d *Dispatcher) release(m Message) {
	d.mu.Lock()
	delete(d.busy, lane(m))
	delete(d.busy, m.ID)
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *Dispatcher) deliver(ctx context.Context, m Message) {
	defer d.wg.Done()
	defer d.release(m)
	h, known := d.handlers[m.Topic]
	if !known {
		d.log.Error("outbox message without a handler dropped", "topic", m.Topic, "key", m.Key)
		d.finish(ctx, m)
		return
	}
	if err := h(ctx, m); err != nil {
		if ctx.Err() != nil {
			return // shutting down: stays due
		}
		due := d.now().Add(backoff(m.Attempts))
		d.log.Warn("delivery failed, will try again", "topic", m.Topic, "key", m.Key, "attempt", m.Attempts+1, "due", due, "error", err)
		if err := d.queue.Postpone(ctx, m.ID, due, err.Error()); err != nil {
			d.log.Error("outbox cannot be written", "error", err)
		}
		return
	}
	d.finish(ctx, m)
}

func (d *Dispatcher) finish(ctx context.Context, m Message) {
	if err := d.queue.Done(context.WithoutCancel(ctx), m.ID); err != nil {
		d.log.Error("outbox cannot be written", "error", err)
	}
}

// backoff grows from 50 ms to half a minute.
func backoff(attempts int) time.Duration {
	return min(50*time.Millisecond<<min(attempts, 10), 30*time.Second)
}
