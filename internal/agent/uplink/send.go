package uplink

import (
	"fmt"
	"time"

	"penstock.dev/penstock/internal/agent/spool"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/run"
)

// missing is a line that stands where bytes of a log cannot be delivered.
func missing(n int64, why string) string {
	return fmt.Sprintf("%s ##[warning]%d bytes of the log are missing here: %s\n", time.Now().UTC().Format("2006-01-02T15:04:05.0000000Z"), n, why)
}

// send delivers until the job's end has arrived.
func (u *Uplink) send() {
	defer close(u.done)
	wait := minPause
	for {
		ended, err := u.round()
		switch {
		case ended || u.ctx.Err() != nil:
			return
		case err != nil:
			u.pause(u.ctx, wait)
			wait = min(wait*2, maxPause)
		default:
			wait = minPause
			select {
			case <-u.ctx.Done():
				return
			case <-u.more:
			}
		}
	}
}

// refused says that the server will never take this.
func refused(err error) bool {
	return fault.CodeOf(err) == "lease-lost" || fault.Is(err, fault.NotFound) || fault.Is(err, fault.Denied)
}

// round sends what there is: reports never before the log that was written
// before them. ended means that the job's end has arrived.
func (u *Uplink) round() (ended bool, err error) {
	u.spill()
	u.mu.Lock()
	said, result := u.said[:len(u.said):len(u.said)], u.result
	steps := u.order[:len(u.order):len(u.order)]
	u.mu.Unlock()
	for _, step := range steps {
		if err := u.sendLog(step); err != nil {
			return false, err
		}
	}
	if err := u.sendReports(len(said)); err != nil {
		return false, err
	}
	if result == nil {
		return false, nil
	}
	if err := u.server.Complete(u.ctx, result.Report); err != nil && !refused(err) {
		return false, u.hopeless(err, "the end of a job")
	}
	return true, nil
}

// hopeless tells people of an answer that will stay the same; it is tried again
// all the same, because only the server can settle it.
func (u *Uplink) hopeless(err error, what string) error {
	if fault.Is(err, fault.Invalid) {
		u.news.Warn("the server does not take "+what, "job", u.entry.JobID, "error", err)
	}
	return err
}

func (u *Uplink) sendReports(n int) error {
	const atOnce = 50
	for n > 0 {
		u.mu.Lock()
		batch := u.said[:min(n, atOnce)]
		list := make([]run.StepReport, len(batch))
		for i, s := range batch {
			list[i] = s.Report
			list[i].Age = max(time.Since(s.Time).Milliseconds(), 0)
		}
		u.mu.Unlock()
		if err := u.server.Steps(u.ctx, list); err != nil && !refused(err) {
			return u.hopeless(err, "the state of steps")
		}
		u.mu.Lock()
		u.said = u.settle(list)
		u.mu.Unlock()
		n -= len(list)
	}
	return nil
}

// settle drops the reports that were sent; one that was replaced meanwhile by a
// later word stays.
func (u *Uplink) settle(sent []run.StepReport) []spool.Said {
	rest := u.said[:0:0]
	for i, s := range u.said {
		if i < len(sent) && same(s.Report, sent[i]) {
			continue
		}
		rest = append(rest, s)
	}
	return rest
}

func same(a, sent run.StepReport) bool {
	return a.Percent == sent.Percent && a.DisplayName == sent.DisplayName && a.Result == sent.Result && a.State == sent.State &&
		len(a.Errors) == len(sent.Errors) && len(a.Warnings) == len(sent.Warnings)
}

// sendLog delivers what there is of a step's log.
func (u *Uplink) sendLog(step int) error {
	l, err := u.meet(step)
	for err == nil {
		data, offset, readErr := u.next(step, l)
		if readErr != nil {
			err = u.skip(step, l, readErr)
			continue
		}
		if len(data) == 0 {
			return nil
		}
		var end int64
		if end, err = u.server.Log(u.ctx, step, offset+l.shift, data); err == nil {
			u.arrived(step, l, min(end-l.shift, offset+int64(len(data))))
		} else if fault.CodeOf(err) == "log-gap" {
			u.mu.Lock()
			l.asked = false
			u.mu.Unlock()
			l, err = u.meet(step)
		}
	}
	if refused(err) {
		u.silence()
		return nil
	}
	return u.hopeless(err, "a log")
}

// meet finds out where the server has a log that this process did not begin.
func (u *Uplink) meet(step int) (*stepLog, error) {
	u.mu.Lock()
	l := u.logs[step]
	asked := l.asked || u.deaf
	u.mu.Unlock()
	if asked {
		return l, nil
	}
	end, err := u.server.Log(u.ctx, step, 0, nil)
	if err != nil {
		return l, err
	}
	u.disk.Lock()
	defer u.disk.Unlock()
	first, last := u.entry.Extent(step)
	here := end - u.entry.Shift(step)
	u.mu.Lock()
	at := min(max(here, first), l.known)
	if last == 0 {
		at = l.known
	}
	u.mu.Unlock()
	if here < at { // the server knows less than it once said
		text := missing(at-here, "the server has forgotten what it had acknowledged")
		if end, err = u.server.Log(u.ctx, step, end, []byte(text)); err != nil {
			return l, err
		}
	} // more than at: what went straight from memory
	u.move(step, l, at, end-at)
	return l, nil
}

// move lets a log go on at an offset, which has another number on the server. It
// is called with the disk held.
func (u *Uplink) move(step int, l *stepLog, at, shift int64) {
	if err := u.entry.SetShift(step, shift); err != nil {
		u.news.Warn("where the server has a log cannot be kept on disk", "job", u.entry.JobID, "step", step, "error", err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	l.asked, l.acked, l.known, l.shift = true, at, max(at, l.known), shift
}

// next is what is to be sent of a log, and its offset here.
func (u *Uplink) next(step int, l *stepLog) (data []byte, offset int64, err error) {
	u.disk.Lock()
	defer u.disk.Unlock()
	u.mu.Lock()
	offset, onDisk := l.acked, l.acked < l.from
	deaf := u.deaf
	if !onDisk && !deaf && u.stuck {
		data = append(data, l.fresh[:min(len(l.fresh), maxChunk)]...)
	}
	u.mu.Unlock()
	if onDisk && !deaf {
		data, err = u.entry.Read(step, offset, maxChunk)
		if err == nil && len(data) == 0 {
			err = fault.New(fault.Unavailable, "spool-unreadable", "a piece of a log is not on disk any more").At("step %d, byte %d", step, offset)
		}
	}
	return data, offset, err
}

// arrived notes what the server has of a log.
func (u *Uplink) arrived(step int, l *stepLog, end int64) {
	u.disk.Lock()
	defer u.disk.Unlock()
	u.mu.Lock()
	l.acked, l.known = end, max(end, l.known)
	if n := int(end - l.from); n > 0 { // it went straight from memory
		l.fresh = append(l.fresh[:0:0], l.fresh[n:]...)
		l.from, u.held = end, u.held-n
	}
	u.mu.Unlock()
	u.room.Broadcast()
	u.entry.Release(step, end)
}

// skip goes on behind what cannot be read from the disk.
func (u *Uplink) skip(step int, l *stepLog, cause error) error {
	u.news.Error("a log that was kept on disk cannot be read", "job", u.entry.JobID, "step", step, "error", cause)
	u.disk.Lock()
	defer u.disk.Unlock()
	u.mu.Lock()
	at := l.acked
	u.mu.Unlock()
	to := u.entry.Next(step, at)
	end, err := u.server.Log(u.ctx, step, at+l.shift, []byte(missing(to-at, "it cannot be read from the disk of the agent")))
	if err != nil {
		return err
	}
	u.move(step, l, to, end-to)
	return nil
}

// silence drops all logs: nobody takes them any more.
func (u *Uplink) silence() {
	u.disk.Lock()
	defer u.disk.Unlock()
	u.mu.Lock()
	u.deaf, u.held = true, 0
	for _, l := range u.logs {
		l.fresh = nil
	}
	u.mu.Unlock()
	u.room.Broadcast()
}
