package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"penstock.dev/penstock/internal/agent/process"
	"penstock.dev/penstock/internal/agent/spool"
	"penstock.dev/penstock/internal/agent/uplink"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rest"
	"penstock.dev/penstock/internal/domain/run"
)

// RenewEvery is how often a lease is renewed: several times within any lease
// the server may give.
const RenewEvery = time.Second

// afterStop is for how long an agent that is to stop tries to deliver what its
// jobs have left; the rest is delivered when it starts again. One that never does
// has its server in the same process: it answers at once, or not at all.
const (
	afterStop        = 10 * time.Second
	afterStopScratch = time.Second
)

// runJob runs one job, keeps its lease, and reports its end until the server
// has taken note or says that the job is not ours any more.
func (a *Agent) runJob(ctx context.Context, m *run.JobMessage, place int, r *running) {
	log := a.cfg.Log.With("run", m.RunID, "stage", m.Stage, "job", m.Name)
	mark := newMark()
	entry, err := a.spool.Begin(spool.Job{JobID: m.JobID, Fence: m.Fence, RunID: m.RunID, Stage: m.Stage, Name: m.Name, Mark: mark, Boot: bootID(), Time: time.Now()})
	if err != nil {
		a.refuse(m, r, err)
		return
	}
	if !a.accept(m, r) {
		_ = entry.Remove()
		return
	}
	if err := entry.Begun(); err != nil {
		_ = entry.Remove()
		a.refuse(m, r, err)
		return
	}
	log.Info("job begins")
	renewed, stopRenewing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRenewing()
	a.wg.Go(func() { a.keepLease(renewed, m, r) })
	up := uplink.Open(entry, &link{a, m.JobID, m.Fence}, a.cfg.Log)
	defer context.AfterFunc(ctx, up.Cut)()
	var rep run.JobReport
	machine := a.machine(m, place, mark)
	if a.cfg.Sandbox.On {
		rep = a.confined(ctx, m, machine, up)
	} else {
		rep = RunJob(ctx, m, machine, up)
	}
	if cause := context.Cause(ctx); rep.Result == run.Canceled && rep.Cause == "" && !errors.Is(cause, errCanceled) && !errors.Is(cause, errLost) {
		rep.Cause = fmt.Sprintf("agent %s was stopped while the job ran", a.id.Name)
	}
	delivery, stop := a.delivery(ctx)
	defer stop()
	if err := up.Finish(delivery, rep); err != nil {
		log.Warn("the end of a job could not be reported; it is when the agent starts again", "error", err)
	}
	if local := a.cfg.Local; local.Own && !local.Keep && (rep.Result == run.Succeeded || rep.Result == run.SucceededWithIssues) {
		_ = os.RemoveAll(machine.Work)
	}
	log.Info("job ended", "result", rep.Result)
}

func (a *Agent) machine(m *run.JobMessage, place int, mark string) Machine {
	machine := Machine{AgentName: a.id.Name, AgentID: a.id.ID, Work: filepath.Join(a.cfg.Folder, "work", fmt.Sprint(place)), Mark: mark,
		ToolCache: a.cfg.ToolCache, CacheDir: a.cfg.CacheDir, Tasks: a.cfg.Tasks, NodeFolder: a.cfg.NodeFolder, Local: a.cfg.Local,
		Client: &rest.Client{Base: a.rebase(m.ProjectURL), Token: m.AccessToken, HTTP: a.client.HTTP}}
	if a.services != nil {
		machine.Services = a.services
	}
	return machine
}

// delivery ends a while after the agent is to stop, not with the job.
func (a *Agent) delivery(job context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(job))
	stop := context.AfterFunc(a.stopping, func() {
		if a.cfg.Scratch {
			pause(ctx, afterStopScratch)
		} else {
			pause(ctx, afterStop)
		}
		cancel()
	})
	return ctx, func() {
		stop()
		cancel()
	}
}

// accept tells the server that this agent has the job, and says whether it still
// is ours. No step runs before: a job that was not accepted may be given to
// somebody else.
func (a *Agent) accept(m *run.JobMessage, r *running) bool {
	for {
		cancel, err := a.renew(a.stopping, m)
		switch {
		case err == nil:
			if cancel {
				r.cancel(errCanceled)
			}
			return true
		case a.stopping.Err() != nil, a.isLost(r), final(err):
			return false
		}
		pause(a.stopping, 200*time.Millisecond)
	}
}

// refuse ends a job that this agent cannot begin, because of its own disk.
func (a *Agent) refuse(m *run.JobMessage, r *running, cause error) {
	a.cfg.Log.Error("a job cannot be begun", "run", m.RunID, "job", m.Name, "error", cause)
	if !a.accept(m, r) {
		return
	}
	server := &link{a, m.JobID, m.Fence}
	rep := run.JobReport{Result: run.Failed, Cause: fmt.Sprintf("agent %s cannot begin the job: %s", a.id.Name, cause)}
	for a.stopping.Err() == nil {
		if err := server.Complete(a.stopping, rep); err == nil || final(err) {
			return
		}
		pause(a.stopping, time.Second)
	}
}

func (a *Agent) isLost(r *running) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return r.lost
}

// final says that the server will not change its mind about a job.
func final(err error) bool {
	return fault.CodeOf(err) == "lease-lost" || fault.Is(err, fault.NotFound) || fault.Is(err, fault.Denied)
}

func (a *Agent) renew(ctx context.Context, m *run.JobMessage) (cancel bool, err error) {
	ctx, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	var out struct{ Cancel bool }
	err = a.client.Once(ctx, http.MethodPost, a.path("jobs/"+m.JobID+"/renew"), map[string]int{"fence": m.Fence}, &out)
	return out.Cancel, err
}

// keepLease renews the lease; an answer that the job is not ours ends it.
func (a *Agent) keepLease(ctx context.Context, m *run.JobMessage, r *running) {
	for {
		pause(ctx, RenewEvery)
		if ctx.Err() != nil {
			return
		}
		cancel, err := a.renew(ctx, m)
		lost := fault.CodeOf(err) == "lease-lost"
		a.mu.Lock()
		r.lost = r.lost || lost
		a.mu.Unlock()
		switch {
		case lost:
			r.cancel(errLost)
			return
		case cancel:
			r.cancel(errCanceled)
		}
	}
}

// link is the server of one job.
type link struct {
	a     *Agent
	job   string
	fence int
}

func (l *link) path(rest string) string { return l.a.path("jobs/" + l.job + "/" + rest) }

// Each request has this long, so that one whose answer is lost is repeated.
const requestTime = 30 * time.Second

// Log implements uplink.Server.
func (l *link) Log(ctx context.Context, step int, offset int64, data []byte) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	var out struct{ End int64 }
	err := l.a.client.Post(ctx, l.path(fmt.Sprintf("log?fence=%d&step=%d&offset=%d", l.fence, step, offset)), data, &out)
	return out.End, err
}

// Steps implements uplink.Server.
func (l *link) Steps(ctx context.Context, reports []run.StepReport) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	in := struct {
		Fence   int              `json:"fence"`
		Reports []run.StepReport `json:"reports"`
	}{l.fence, reports}
	return l.a.client.Once(ctx, http.MethodPost, l.path("steps"), in, nil)
}

// Complete implements uplink.Server.
func (l *link) Complete(ctx context.Context, rep run.JobReport) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	in := struct {
		Fence  int           `json:"fence"`
		Report run.JobReport `json:"report"`
	}{l.fence, rep}
	return l.a.client.Once(ctx, http.MethodPost, l.path("complete"), in, nil)
}

// recover settles what an earlier process of this agent left: processes of jobs
// that did not end are ended before anything new begins, and what was not
// delivered is, beside new jobs.
func (a *Agent) recover(ctx context.Context) {
	left, err := a.spool.Left()
	if err != nil {
		a.cfg.Log.Warn("some of what an earlier process left cannot be delivered", "error", err)
	}
	for _, e := range left {
		result, err := e.Result()
		if err != nil {
			a.cfg.Log.Warn("a result that an earlier process left cannot be read", "job", e.JobID, "error", err)
		}
		if result == nil && !e.HasBegun() {
			_ = e.Remove() // the server gives it again
			continue
		}
		if result == nil {
			n := process.EndMarked(e.Mark)
			a.cfg.Log.Warn("a job was interrupted", "run", e.RunID, "stage", e.Stage, "job", e.Name, "began", e.Time, "ended processes", n)
		}
		a.left[e.JobID] = e.Fence
		a.wg.Go(func() { a.deliverLeft(ctx, e, result) })
	}
}

// deliverLeft brings the rest of a job to the server.
func (a *Agent) deliverLeft(ctx context.Context, e *spool.Entry, result *spool.Result) {
	defer func() {
		a.mu.Lock()
		delete(a.left, e.JobID)
		a.mu.Unlock()
	}()
	up := uplink.Resume(e, &link{a, e.JobID, e.Fence}, a.cfg.Log)
	var rep run.JobReport
	if result != nil {
		rep = a.kept(result.Report)
	} else {
		rep = a.interrupted(e, up)
	}
	delivery, stop := a.delivery(ctx)
	defer stop()
	if err := up.Finish(delivery, rep); err != nil {
		a.cfg.Log.Warn("the end of a job could not be reported; it is when the agent starts again", "job", e.JobID, "error", err)
	}
}

// kept is how a job ended that an earlier process ran. Secret output variables
// are never on disk, so they are lost, and what needs them must not go on.
func (a *Agent) kept(rep run.JobReport) run.JobReport {
	lost := slices.DeleteFunc(rep.Hidden(), func(name string) bool { _, ok := rep.Outputs[name]; return ok })
	if len(lost) > 0 && rep.Result != run.Failed && rep.Result != run.Canceled {
		rep.Result = run.Abandoned
		rep.Cause = fmt.Sprintf("agent %s was restarted before the secret output variables of the job had arrived (%s): run the job again", a.id.Name, strings.Join(lost, ", "))
	}
	return rep
}

// interrupted is the end of a job whose process is not there any more. The step
// that ran is abandoned; no step is run again.
func (a *Agent) interrupted(e *spool.Entry, up *uplink.Uplink) run.JobReport {
	cause := fmt.Sprintf("agent %s was killed, or crashed, while the job ran", a.id.Name)
	if now := bootID(); now != "" && e.Boot != "" && now != e.Boot {
		cause = fmt.Sprintf("the machine of agent %s was restarted while the job ran", a.id.Name)
	}
	for _, said := range e.Reports() {
		r := said.Report
		if r.State != run.InProgress {
			continue
		}
		up.Log(r.Order, time.Now().UTC().Format(stampFormat)+" ##[error]"+cause+"\n")
		r.State, r.Result = run.Completed, run.Abandoned
		r.Errors = append(r.Errors, cause)
		up.Step(r)
	}
	return run.JobReport{Result: run.Failed, Cause: cause, Broken: true}
}

// bootID tells one start of the machine from another; "" where the system does
// not say.
func bootID() string {
	if runtime.GOOS != "linux" {
		return ""
	}
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
