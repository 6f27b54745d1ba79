// Package uplink delivers what a job reports: logs and states of steps in order,
// then its result. What the server has not acknowledged lies on disk; it is sent
// until the server takes it or says that the job is somebody else's. A piece of a
// log names its offset, so that repeating it is harmless.
package uplink

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"penstock.dev/penstock/internal/agent/spool"
	"penstock.dev/penstock/internal/domain/run"
)

// Server takes what a job reports. An error of code lease-lost, or of kind
// NotFound or Denied, means that it never will; any other, that trying again may
// help.
type Server interface {
	// Log adds bytes to a step's log at an offset; what is there already is passed
	// over. It returns where the log ends now.
	Log(ctx context.Context, step int, offset int64, data []byte) (end int64, err error)
	Steps(ctx context.Context, reports []run.StepReport) error
	Complete(ctx context.Context, rep run.JobReport) error
}

// Bounds of what lies in memory, in bytes: what is held at most before the job's
// output has to wait, and how much of a log is sent at once.
const (
	maxHeld  = 8 << 20
	spillAt  = 1 << 20
	maxChunk = 512 << 10
)

// How often delivery is tried again, and for how long lines that come together
// are collected.
const (
	minPause = 200 * time.Millisecond
	maxPause = 2 * time.Second
	together = 5 * time.Millisecond
)

// Uplink is the way of one job to the server.
type Uplink struct {
	server Server
	news   *slog.Logger
	stop   context.CancelFunc
	ctx    context.Context
	pause  func(context.Context, time.Duration)
	wake   chan struct{} // something came
	more   chan struct{} // something is to be sent
	done   chan struct{}

	disk  sync.Mutex // guards entry; taken before mu
	entry *spool.Entry

	mu     sync.Mutex
	room   *sync.Cond
	logs   map[int]*stepLog
	order  []int
	held   int
	said   []spool.Said
	result *spool.Result
	cut    bool // output that finds no room is dropped
	deaf   bool // the server takes no log of this job any more
	stuck  bool // the disk takes nothing: what is in memory goes straight to the server

	resumed bool // an earlier process began to deliver the job
}

// stepLog is one step's log. What is before from lies on disk or has arrived.
type stepLog struct {
	fresh []byte
	spare []byte
	from  int64 // offset of fresh
	acked int64 // what the server has
	known int64 // what the server may have
	shift int64 // offset on the server - offset here
	asked bool  // acked is what the server said
	lost  int64 // bytes that found no room
}

// Open begins to deliver a new job.
func Open(entry *spool.Entry, server Server, news *slog.Logger) *Uplink {
	return open(entry, server, news, false, pause)
}

// Resume delivers what an earlier process left of a job, from where the server
// has it.
func Resume(entry *spool.Entry, server Server, news *slog.Logger) *Uplink {
	return open(entry, server, news, true, pause)
}

func open(entry *spool.Entry, server Server, news *slog.Logger, resumed bool, pause func(context.Context, time.Duration)) *Uplink {
	ctx, stop := context.WithCancel(context.Background())
	u := &Uplink{server: server, news: news, resumed: resumed, pause: pause, ctx: ctx, stop: stop, entry: entry, logs: map[int]*stepLog{},
		wake: make(chan struct{}, 1), more: make(chan struct{}, 1), done: make(chan struct{})}
	u.room = sync.NewCond(&u.mu)
	for _, step := range entry.Steps() {
		first, end := entry.Extent(step)
		u.logs[step] = &stepLog{from: end, acked: first, known: end}
		u.order = append(u.order, step)
	}
	u.said = entry.Reports()
	signal(u.more)
	go u.keep()
	go u.send()
	return u
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Log takes finished lines of a step, each ending in a newline. It waits while
// neither disk nor server take what came before.
func (u *Uplink) Log(step int, text string) {
	u.mu.Lock()
	if u.held > spillAt && !u.deaf {
		u.mu.Unlock()
		u.spill()
		u.mu.Lock()
	}
	for u.held > maxHeld && !u.cut && !u.deaf {
		u.room.Wait()
	}
	l := u.logs[step]
	if l == nil {
		l = &stepLog{asked: !u.resumed}
		u.logs[step] = l
		u.order = append(u.order, step)
	}
	switch {
	case u.deaf:
	case u.held > maxHeld:
		l.lost += int64(len(text))
	default:
		u.held += l.confess() + len(text)
		l.fresh = append(l.fresh, text...)
	}
	u.mu.Unlock()
	signal(u.wake)
}

// confess says in the log what was dropped of it, and returns how many bytes that
// takes.
func (l *stepLog) confess() int {
	if l.lost == 0 {
		return 0
	}
	text := missing(l.lost, "the disk of the agent had no room for it and the server did not answer")
	l.fresh, l.lost = append(l.fresh, text...), 0
	return len(text)
}

// Cut lets output that finds no room be dropped, and counted, instead of waiting:
// the job is to end.
func (u *Uplink) Cut() {
	u.mu.Lock()
	u.cut = true
	u.mu.Unlock()
	u.room.Broadcast()
}

// Step takes the state of a step. It is on disk when Step returns.
func (u *Uplink) Step(r run.StepReport) {
	s := spool.Said{Time: time.Now(), Report: r}
	u.disk.Lock()
	err := u.entry.Report(s)
	u.disk.Unlock()
	if err != nil {
		u.news.Warn("the state of a step cannot be kept on disk", "job", u.entry.JobID, "error", err)
	}
	u.mu.Lock()
	u.remember(s)
	u.mu.Unlock()
	signal(u.more)
}

// remember queues a report. One that only goes on with what was said, such as
// progress, takes the place of the one before.
func (u *Uplink) remember(s spool.Said) {
	for i := len(u.said) - 1; i >= 0; i-- {
		old := &u.said[i].Report
		if old.Order != s.Report.Order {
			continue
		}
		if old.State == s.Report.State && old.Attempt == s.Report.Attempt {
			*old = s.Report // when it began to be so stays
			return
		}
		break
	}
	u.said = append(u.said, s)
}

// Finish keeps how the job ended and waits until everything has arrived, or was
// refused for good; then the job is forgotten. When ctx ends first, the rest stays
// on disk for the next process, and the error is that of ctx.
func (u *Uplink) Finish(ctx context.Context, rep run.JobReport) error {
	u.mu.Lock()
	for _, l := range u.logs {
		u.held += l.confess()
	}
	u.mu.Unlock()
	u.spill()
	r := spool.Result{Time: time.Now(), Report: rep}
	u.disk.Lock()
	err := u.entry.Finish(spool.Result{Time: r.Time, Report: rep.WithoutSecrets()})
	u.disk.Unlock()
	if err != nil {
		u.news.Warn("the result of a job cannot be kept on disk", "job", u.entry.JobID, "error", err)
	}
	u.mu.Lock()
	u.result = &r
	u.mu.Unlock()
	signal(u.more)
	select {
	case <-u.done:
		u.stop()
		u.disk.Lock()
		defer u.disk.Unlock()
		return u.entry.Remove()
	case <-ctx.Done():
		u.stop()
		<-u.done
		u.spill()
		u.disk.Lock()
		defer u.disk.Unlock()
		u.entry.Close()
		return ctx.Err()
	}
}

// keep brings to disk what comes.
func (u *Uplink) keep() {
	for {
		select {
		case <-u.ctx.Done():
			return
		case <-u.wake:
		}
		u.pause(u.ctx, together)
		for !u.spill() { // the disk takes nothing: what the server takes makes room
			signal(u.more)
			u.pause(u.ctx, maxPause)
			if u.ctx.Err() != nil {
				return
			}
		}
		signal(u.more)
	}
}

// spill moves what lies in memory to disk; false: not all of it found room.
func (u *Uplink) spill() bool {
	u.disk.Lock()
	defer u.disk.Unlock()
	u.mu.Lock()
	steps := u.order[:len(u.order):len(u.order)]
	u.mu.Unlock()
	ok := true
	for _, step := range steps {
		u.mu.Lock()
		l := u.logs[step]
		data, from := l.fresh, l.from
		l.fresh, l.spare = l.spare[:0], nil
		u.mu.Unlock()
		if len(data) == 0 {
			u.mu.Lock()
			l.spare = data
			u.mu.Unlock()
			continue
		}
		err := u.entry.Append(step, from, data)
		u.mu.Lock()
		if err != nil {
			ok = false
			l.fresh = append(data, l.fresh...)
		} else {
			l.from += int64(len(data))
			u.held -= len(data)
			l.spare = data[:0]
		}
		u.mu.Unlock()
	}
	u.mu.Lock()
	u.stuck = !ok
	u.mu.Unlock()
	u.room.Broadcast()
	return ok
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
