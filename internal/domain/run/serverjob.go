package run

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/base/outbox"
	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/serviceconnection"
)

// ServerTask runs one step on the server. It returns lines for the step's log;
// an error fails the step with its text.
type ServerTask func(ctx context.Context, call ServerCall) (lines []string, outputs map[string]string, err error)

// ServerCall is what a server task gets to see.
type ServerCall struct {
	Run         *Run
	Job         *Job
	Environment string // of the deployment job, "" if it is none
	Inputs      map[string]string
	// Expand replaces macros, those of secrets too; what comes of it must not
	// reach the log unmasked.
	Expand func(text string) string
	// Given is the step's inputs by lower-case name, as the file has them.
	Given       map[string]string
	Secrets     []string // values to mask
	Connections []serviceconnection.Opened
	// Resumed says that the server ended while this step ran: what it did is not
	// known.
	Resumed bool
}

// ErrWaits is what a server task returns whose step goes on until somebody
// calls CompleteServerStep, or its time is up.
var ErrWaits = errors.New("the task waits to be told how it ends")

// ServeJob carries a server job as far as it goes: the handler of
// TopicServerJob. Each call runs at most the steps that need no waiting.
func (s *Service) ServeJob(ctx context.Context, jobID string) error {
	for {
		j, err := s.Jobs.Get(ctx, jobID)
		if err != nil || j.State == Completed {
			return err
		}
		d, err := s.Load(ctx, j.RunID)
		if err != nil {
			return err
		}
		done, err := s.serveStep(ctx, d, j)
		if err != nil || !done {
			return err
		}
	}
}

// serveStep runs the next step; done is false when the job waits or has ended.
func (s *Service) serveStep(ctx context.Context, d *Detail, j *Job) (done bool, err error) {
	steps := d.stepsOf(j)
	at, result := 0, Succeeded
	for at < len(j.Steps) && j.Steps[at].State == Completed {
		result = worst(result, j.Steps[at].Result)
		at++
	}
	if j.CancelRequested || d.Run.CancelRequested && !j.Queued.After(d.Run.CanceledAt) {
		result, at = Canceled, len(j.Steps)
	}
	if at == len(j.Steps) || result == Failed {
		return false, s.Tx.InTx(ctx, func(ctx context.Context) error { return s.endJob(ctx, j.ID, nil, result, "", nil) })
	}
	inputs, err := s.serverInputs(ctx, d, j, steps[at])
	if err != nil {
		return true, s.finishServerStep(ctx, j.ID, at, Failed, describe(err))
	}
	switch task := strings.ToLower(steps[at].Task); {
	case steps[at].Disabled:
		return true, s.finishServerStep(ctx, j.ID, at, Skipped)
	case task == "manualvalidation":
		return s.serveValidation(ctx, d, j, at, steps[at], inputs)
	case task == "delay":
		return s.serveDelay(ctx, j, at, inputs)
	default:
		return s.serveTask(ctx, d, j, at, task, inputs)
	}
}

// stepsOf are the steps of a job: those of its hook, where it has one.
func (d *Detail) stepsOf(j *Job) []pipeline.Step {
	if j.Hook != "" {
		return d.spec(j).Deployment.Hook(j.Hook).Steps
	}
	return d.spec(j).Steps
}

func (s *Service) serverInputs(ctx context.Context, d *Detail, j *Job, step pipeline.Step) (map[string]string, error) {
	m, err := s.message(ctx, d, j)
	if err != nil {
		return nil, err
	}
	set := variables{}
	for _, v := range m.Variables {
		if !v.Secret { // the server's log has no masker: secrets stay unexpanded
			set.set(v.Name, v.Value)
		}
	}
	inputs := map[string]string{}
	for k, v := range step.Inputs {
		inputs[strings.ToLower(k)] = pipeline.ExpandMacros(v, set.lookup)
	}
	return inputs, nil
}

func (s *Service) startServerStep(ctx context.Context, jobID string, at int) error {
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		j, err := s.Jobs.Get(ctx, jobID)
		if err != nil || j.State == Completed || j.Steps[at].State != Pending {
			return err
		}
		if j.State == Pending {
			j.State, j.Started, j.AgentName = InProgress, s.Clock.Now(), "server"
		}
		j.Steps[at].State, j.Steps[at].Started = InProgress, s.Clock.Now()
		return s.Jobs.Save(ctx, j)
	})
}

func (s *Service) finishServerStep(ctx context.Context, jobID string, at int, result Result, lines ...string) error {
	var runID string
	err := s.Tx.InTx(ctx, func(ctx context.Context) error {
		j, err := s.Jobs.Get(ctx, jobID)
		if err != nil || j.State == Completed {
			return err
		}
		runID = j.RunID
		st := &j.Steps[at]
		if st.State == Completed {
			return nil
		}
		if st.Started.IsZero() {
			st.Started = s.Clock.Now()
		}
		st.State, st.Result, st.Finished = Completed, result, s.Clock.Now()
		if result == Failed {
			st.Errors = bounded(lines)
		}
		return s.Jobs.Save(ctx, j)
	})
	if err != nil {
		return err
	}
	if len(lines) > 0 {
		if err := s.serverLog(ctx, jobID, at, lines); err != nil {
			return err
		}
	}
	s.Hub.Publish("run/" + runID)
	return nil
}

// serverLog writes lines at the end of what the log holds already.
func (s *Service) serverLog(ctx context.Context, jobID string, at int, lines []string) error {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(s.Clock.Now().Format(LogTime) + " " + l + "\n")
	}
	log := logID(jobID, at+1)
	end, _, err := s.Logs.Append(ctx, log, -1, []byte(b.String()))
	_ = end
	return err
}

func (s *Service) serveTask(ctx context.Context, d *Detail, j *Job, at int, task string, inputs map[string]string) (done bool, err error) {
	run, known := s.ServerTasks[task]
	if !known {
		return true, s.finishServerStep(ctx, j.ID, at, Failed,
			fmt.Sprintf("##[error]task %s does not run on the server; give the job a pool of agents", d.stepsOf(j)[at].Task))
	}
	if j.Steps[at].Waits {
		return s.waited(ctx, d, j, at)
	}
	if _, busy := s.serving.LoadOrStore(j.ID, true); busy {
		return false, nil // whoever is at it goes on with the steps that follow
	}
	defer s.serving.Delete(j.ID)
	if j, err = s.Jobs.Get(ctx, j.ID); err != nil || j.State == Completed {
		return false, err
	}
	if j.Steps[at].State == Completed || j.Steps[at].Waits {
		return true, nil // done meanwhile
	}
	call, err := s.serverCall(ctx, d, j, at, inputs)
	if err != nil {
		return true, s.finishServerStep(ctx, j.ID, at, Failed, "##[error]"+describe(err))
	}
	for _, c := range call.Connections {
		if c.Stub {
			return true, s.finishServerStep(ctx, j.ID, at, Skipped, "##[warning]the step is skipped: service connection "+c.Name+" is a stub in this run")
		}
	}
	if err := s.startServerStep(ctx, j.ID, at); err != nil {
		return false, err
	}
	lines, _, err := run(ctx, call)
	switch {
	case errors.Is(err, ErrWaits):
		return true, s.wait(ctx, d, j.ID, at, lines)
	case err != nil:
		return true, s.finishServerStep(ctx, j.ID, at, Failed, append(lines, "##[error]"+describe(err))...)
	}
	return true, s.finishServerStep(ctx, j.ID, at, Succeeded, lines...)
}

// serverCall gathers what a server task gets to see: of connections, those of
// its own step.
func (s *Service) serverCall(ctx context.Context, d *Detail, j *Job, at int, inputs map[string]string) (ServerCall, error) {
	call := ServerCall{Run: d.Run, Job: j, Inputs: inputs, Given: map[string]string{}, Resumed: j.Steps[at].State == InProgress}
	if dep := d.spec(j).Deployment; dep != nil {
		call.Environment = dep.Environment.Name
	}
	m, err := s.message(ctx, d, j)
	if err != nil {
		return call, err
	}
	step := m.Steps[at]
	m.Steps = m.Steps[at : at+1]
	if err := s.connect(ctx, d.Run, j, m); err != nil {
		return call, err
	}
	call.Connections = m.Connections
	for name, value := range step.Inputs {
		call.Given[strings.ToLower(name)] = value
	}
	set := variables{}
	for _, v := range m.Variables {
		set.set(v.Name, v.Value)
		if v.Secret {
			call.Secrets = append(call.Secrets, v.Value)
		}
	}
	for _, c := range m.Connections {
		call.Secrets = append(call.Secrets, c.Secrets()...)
	}
	set.set("System.TaskInstanceId", TaskInstance(j.ID, at))
	call.Expand = func(text string) string { return pipeline.ExpandMacros(text, set.lookup) }
	return call, nil
}

// TaskInstance is the id of the step at a place, from 0, of a server job.
func TaskInstance(jobID string, at int) string {
	return id.From("step", jobID, strconv.Itoa(at+1))
}

// JobAccess makes a token with which somebody else speaks for a job.
func (s *Service) JobAccess(ctx context.Context, r *Run, j *Job) (string, error) {
	return s.jobToken(ctx, r, j)
}

// wait notes that a step waits to be told how it ends, unless it was told
// already.
func (s *Service) wait(ctx context.Context, d *Detail, jobID string, at int, lines []string) error {
	if err := s.serverLog(ctx, jobID, at, lines); err != nil {
		return err
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		j, err := s.Jobs.Get(ctx, jobID)
		if err != nil || j.State == Completed || j.Steps[at].State == Completed {
			return err
		}
		j.Steps[at].Waits = true
		if err := s.Jobs.Save(ctx, j); err != nil {
			return err
		}
		return s.Tx.Emit(ctx, outbox.New(TopicServerJob, jobID, jobID).At(s.waitsUntil(d, j, at)))
	})
}

// mostWaiting is how long a step waits whose job has no limit of its own.
const mostWaiting = 30 * 24 * time.Hour

func (s *Service) waitsUntil(d *Detail, j *Job, at int) time.Time {
	limit := mostWaiting
	for _, minutes := range []int{d.spec(j).TimeoutInMinutes, d.stepsOf(j)[at].TimeoutInMinutes} {
		if l := time.Duration(minutes) * time.Minute; l > 0 && l < limit {
			limit = l
		}
	}
	return j.Steps[at].Started.Add(limit)
}

func (s *Service) waited(ctx context.Context, d *Detail, j *Job, at int) (done bool, err error) {
	if until := s.waitsUntil(d, j, at); s.Clock.Now().Before(until) {
		return false, nil
	}
	return true, s.finishServerStep(ctx, j.ID, at, Failed, "##[error]nobody said in time how the task ended (timeoutInMinutes)")
}

// CompleteServerStep ends the step of a server job that waits to be told how it
// ends. Telling it twice changes nothing.
func (s *Service) CompleteServerStep(ctx context.Context, projectID, jobID, instance string, result Result) error {
	none := fault.New(fault.NotFound, "no-waiting-task", "no task of this job waits for an event").Got("job %s, task %s", jobID, instance).
		Want("the ids that the request named: JobId, TaskInstanceId")
	j, err := s.Jobs.Get(ctx, jobID)
	if err != nil {
		return none
	}
	r, err := s.Runs.Get(ctx, j.RunID)
	if err != nil {
		return err
	}
	for at := range j.Steps {
		if r.ProjectID != projectID || !j.Server || !strings.EqualFold(instance, TaskInstance(jobID, at)) || j.Steps[at].State == Pending {
			continue
		}
		lines := []string{"The task was completed from outside: " + string(result)}
		if result == Failed {
			lines[0] = "##[error]" + lines[0]
		}
		if j.Steps[at].State != Completed {
			if err := s.finishServerStep(ctx, jobID, at, result, lines...); err != nil {
				return err
			}
		}
		return s.Tx.InTx(ctx, func(ctx context.Context) error { return s.Tx.Emit(ctx, outbox.New(TopicServerJob, jobID, jobID)) })
	}
	return none
}

func (s *Service) serveDelay(ctx context.Context, j *Job, at int, inputs map[string]string) (bool, error) {
	minutes, err := strconv.ParseFloat(inputs["delayforminutes"], 64)
	if err != nil || minutes < 0 {
		return true, s.finishServerStep(ctx, j.ID, at, Failed, "##[error]delayForMinutes is not a number of minutes: "+inputs["delayforminutes"])
	}
	if j.Steps[at].State == Pending {
		if err := s.startServerStep(ctx, j.ID, at); err != nil {
			return false, err
		}
		due := s.Clock.Now().Add(time.Duration(minutes * float64(time.Minute)))
		return false, s.Tx.Emit(ctx, outbox.New(TopicServerJob, j.ID, j.ID).At(due))
	}
	if s.Clock.Now().Before(j.Steps[at].Started.Add(time.Duration(minutes * float64(time.Minute)))) {
		return false, nil
	}
	return true, s.finishServerStep(ctx, j.ID, at, Succeeded)
}

// serveValidation asks people, once, and looks at their answer afterwards.
func (s *Service) serveValidation(ctx context.Context, d *Detail, j *Job, at int, step pipeline.Step, inputs map[string]string) (bool, error) {
	var approval *environment.Approval
	var verdict environment.Verdict
	err := s.Tx.InTx(ctx, func(ctx context.Context) error {
		var err error
		approval, verdict, err = s.Environments.JobVerdict(ctx, j.ID)
		return err
	})
	if err != nil {
		return false, err
	}
	if approval == nil {
		return false, s.ask(ctx, d, j, at, step, inputs)
	}
	switch verdict.State {
	case environment.Wait:
		return false, nil
	case environment.Pass:
		return true, s.finishServerStep(ctx, j.ID, at, Succeeded, answers(approval)...)
	}
	lines := append(answers(approval), "##[error]"+verdict.Reason)
	return true, s.finishServerStep(ctx, j.ID, at, Failed, lines...)
}

func answers(a *environment.Approval) []string {
	var lines []string
	for _, v := range a.Votes {
		line := v.Name + " " + string(v.Decision)
		if v.Comment != "" {
			line += ": “" + v.Comment + "”"
		}
		lines = append(lines, line)
	}
	return lines
}

func (s *Service) ask(ctx context.Context, d *Detail, j *Job, at int, step pipeline.Step, inputs map[string]string) error {
	if err := s.startServerStep(ctx, j.ID, at); err != nil {
		return err
	}
	spec := d.spec(j)
	timeout := time.Duration(step.TimeoutInMinutes) * time.Minute
	if limit := time.Duration(spec.TimeoutInMinutes) * time.Minute; limit > 0 && (timeout == 0 || limit < timeout) {
		timeout = limit
	}
	a := &environment.Approval{ID: id.From("validation", j.ID, strconv.Itoa(at)), ProjectID: d.Run.ProjectID, RunID: d.Run.ID, Stage: j.Stage,
		Attempt: j.Attempt, JobID: j.ID, Minimum: 1, RequesterID: d.Run.RequestedByID, Instructions: inputs["instructions"],
		ResumeOnTimer: strings.EqualFold(inputs["ontimeout"], "resume"),
		AllowSelf:     !strings.EqualFold(inputs["allowapproverstoapprovetheirownruns"], "false")}
	for _, name := range strings.FieldsFunc(inputs["approvers"], func(r rune) bool { return r == ',' || r == '\n' || r == ';' }) {
		if strings.TrimSpace(name) == "" {
			continue
		}
		p, err := s.Environments.Approver(ctx, d.Run.ProjectID, name)
		if err != nil {
			return s.finishServerStep(ctx, j.ID, at, Failed, "##[error]"+describe(err))
		}
		a.Approvers = append(a.Approvers, p)
	}
	err := s.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := s.Environments.Ask(ctx, a, timeout); err != nil {
			return err
		}
		if timeout > 0 {
			return s.Tx.Emit(ctx, outbox.New(TopicServerJob, j.ID, j.ID).At(a.Expires))
		}
		return nil
	})
	if fault.Is(err, fault.Conflict) {
		return nil // asked already
	}
	if err == nil {
		s.Hub.Publish("approvals", "run/"+j.RunID)
		err = s.serverLog(ctx, j.ID, at, []string{"Waits for " + environment.ApproverNames(a), a.Instructions})
	}
	return err
}

// WakeServerJobs lets the server jobs of a run look at what they wait for. It
// belongs to TopicAdvance, because an approval knows its run only.
func (s *Service) WakeServerJobs(ctx context.Context, runID string) error {
	d, err := s.Load(ctx, runID)
	if err != nil {
		return err
	}
	for _, j := range d.Jobs {
		if j.Server && j.Asked && j.State != Completed {
			if err := s.ServeJob(ctx, j.ID); err != nil {
				return err
			}
		}
	}
	return nil
}
