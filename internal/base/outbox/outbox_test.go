package outbox

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// memory is a queue without a database.
type memory struct {
	mu        sync.Mutex
	messages  []Message
	committed chan struct{}
}

func (m *memory) add(list ...Message) {
	m.mu.Lock()
	m.messages = append(m.messages, list...)
	m.mu.Unlock()
	select {
	case m.committed <- struct{}{}:
	default:
	}
}

func (m *memory) DueMessages(_ context.Context, now time.Time, limit int) (due []Message, next time.Time, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range m.messages {
		if x.Due.After(now) {
			if next.IsZero() || x.Due.Before(next) {
				next = x.Due
			}
		} else if len(due) < limit {
			due = append(due, x)
		}
	}
	return due, next, nil
}

func (m *memory) Done(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.messages = slices.DeleteFunc(m.messages, func(x Message) bool { return x.ID == id })
	return nil
}

func (m *memory) Postpone(_ context.Context, id string, due time.Time, _ string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.messages {
		if m.messages[i].ID == id {
			m.messages[i].Due = due
			m.messages[i].Attempts++
		}
	}
	return nil
}

func (m *memory) Committed() <-chan struct{} { return m.committed }

func start(t *testing.T, q *memory, handlers map[string]Handler) (stop func()) {
	t.Helper()
	d := NewDispatcher(q, slog.New(slog.DiscardHandler))
	for topic, h := range handlers {
		d.Handle(topic, h)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &memory{committed: make(chan struct{}, 1)}
		began := time.Now()
		var mu sync.Mutex
		at := map[string]time.Duration{}
		fails := 2
		stop := start(t, q, map[string]Handler{"t": func(_ context.Context, m Message) error {
			mu.Lock()
			defer mu.Unlock()
			if m.Key == "flaky" && fails > 0 {
				fails--
				return errors.New("not yet")
			}
			at[m.Key] = time.Since(began)
			return nil
		}})
		q.add(New("t", "now", nil), New("t", "later", nil).At(began.Add(time.Hour)), New("t", "flaky", nil), New("nobody", "x", nil))
		synctest.Wait()
		mu.Lock()
		if _, ok := at["now"]; !ok {
			t.Error("what is due was not delivered")
		}
		if _, early := at["later"]; early {
			t.Error("a timer went off early")
		}
		mu.Unlock()
		<-time.After(time.Hour + time.Second) // the clock of the test: no real time passes
		synctest.Wait()
		mu.Lock()
		if at["later"] != time.Hour {
			t.Errorf("the timer went off after %v", at["later"])
		}
		if at["flaky"] == 0 {
			t.Error("what failed twice was not tried a third time")
		}
		mu.Unlock()
		stop()
		if n := len(q.messages); n != 0 {
			t.Errorf("%d messages stay: %v", n, q.messages)
		}
	})
}

// Messages of one key never overlap; those of different keys may.
func TestOneAtATimePerKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &memory{committed: make(chan struct{}, 1)}
		var mu sync.Mutex
		running, most, total := map[string]int{}, map[string]int{}, 0
		stop := start(t, q, map[string]Handler{"t": func(ctx context.Context, m Message) error {
			mu.Lock()
			running[m.Key]++
			most[m.Key] = max(most[m.Key], running[m.Key])
			mu.Unlock()
			timer := time.NewTimer(time.Second)
			<-timer.C
			mu.Lock()
			running[m.Key]--
			total++
			mu.Unlock()
			return nil
		}})
		for range 5 {
			q.add(New("t", "a", nil), New("t", "b", nil))
		}
		timer := time.NewTimer(time.Minute)
		<-timer.C
		synctest.Wait()
		stop()
		if most["a"] != 1 || most["b"] != 1 || total != 10 {
			t.Errorf("at once: %v, delivered %d of 10", most, total)
		}
	})
}
