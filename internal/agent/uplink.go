package agent

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/run"
)

// uplink sends logs and step reports of one job, in order, from one goroutine.
// What was not acknowledged is kept and sent again: a chunk names its offset,
// so that repeating it is harmless.
type uplink struct {
	a *Agent
	m *run.JobMessage

	mu      sync.Mutex
	logs    map[int]*stepLog
	order   []int
	reports []run.StepReport
	closed  bool
	wake    chan struct{}
	done    chan struct{}
}

type stepLog struct {
	pending []byte
	offset  int64 // of pending
}

// maxChunk is how much of a log is sent at once, in bytes.
const maxChunk = 512 << 10

func newUplink(a *Agent, m *run.JobMessage) *uplink {
	u := &uplink{a: a, m: m, logs: map[int]*stepLog{}, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go u.send()
	return u
}

// Log implements Link.
func (u *uplink) Log(step int, text string) {
	u.mu.Lock()
	l := u.logs[step]
	if l == nil {
		l = &stepLog{}
		u.logs[step] = l
		u.order = append(u.order, step)
	}
	l.pending = append(l.pending, text...)
	u.mu.Unlock()
	u.signal()
}

// Step implements Link.
func (u *uplink) Step(r run.StepReport) {
	u.mu.Lock()
	u.reports = append(u.reports, r)
	u.mu.Unlock()
	u.signal()
}

func (u *uplink) signal() {
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// close waits until everything has arrived, or has been tried for two minutes.
func (u *uplink) close() {
	u.mu.Lock()
	u.closed = true
	u.mu.Unlock()
	u.signal()
	<-u.done
}

func (u *uplink) send() {
	defer close(u.done)
	var closing time.Time
	for {
		empty, err := u.flush()
		u.mu.Lock()
		closed := u.closed
		u.mu.Unlock()
		if closed && closing.IsZero() {
			closing = time.Now()
		}
		switch {
		case fault.CodeOf(err) == "lease-lost" || fault.Is(err, fault.Denied):
			return // nobody listens any more
		case err != nil && closed && time.Since(closing) > 2*time.Minute:
			u.a.cfg.Log.Warn("a log could not be delivered", "job", u.m.JobID, "error", err)
			return
		case err != nil:
			pause(context.Background(), 300*time.Millisecond)
		case empty && closed:
			return
		case empty:
			<-u.wake
			// Lines that come together travel together.
			pause(context.Background(), 5*time.Millisecond)
		}
	}
}

// flush sends what there is now; empty means nothing was left to send.
func (u *uplink) flush() (empty bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	u.mu.Lock()
	reports := u.reports
	steps := append([]int(nil), u.order...)
	u.mu.Unlock()
	sent := false
	for _, step := range steps {
		n, err := u.flushLog(ctx, step)
		if err != nil {
			return false, err
		}
		sent = sent || n > 0
	}
	if len(reports) > 0 {
		in := struct {
			Fence   int              `json:"fence"`
			Reports []run.StepReport `json:"reports"`
		}{u.m.Fence, reports}
		if err := u.a.client.Once(ctx, http.MethodPost, u.a.path("jobs/"+u.m.JobID+"/steps"), in, nil); err != nil {
			return false, err
		}
		u.mu.Lock()
		u.reports = u.reports[len(reports):]
		u.mu.Unlock()
		sent = true
	}
	return !sent, nil
}

func (u *uplink) flushLog(ctx context.Context, step int) (int, error) {
	u.mu.Lock()
	l := u.logs[step]
	chunk, offset := l.pending, l.offset
	u.mu.Unlock()
	if len(chunk) == 0 {
		return 0, nil
	}
	chunk = chunk[:min(len(chunk), maxChunk)]
	var out struct{ End int64 }
	path := u.a.path(fmt.Sprintf("jobs/%s/log?fence=%d&step=%d&offset=%d", u.m.JobID, u.m.Fence, step, offset))
	if err := u.a.client.Post(ctx, path, chunk, &out); err != nil {
		return 0, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	l.pending = l.pending[len(chunk):]
	l.offset += int64(len(chunk))
	return len(chunk), nil
}
