package run

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/outbox"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/agentpool"
	"penstock.dev/penstock/internal/domain/identity"
)

func logID(jobID string, step int) string { return fmt.Sprintf("%s/%d", jobID, step) }

// StepReport is what an agent tells of one step.
type StepReport struct {
	Order       int      `json:"order"`
	DisplayName string   `json:"displayName,omitempty"`
	State       State    `json:"state"`
	Result      Result   `json:"result,omitempty"`
	Attempt     int      `json:"attempt,omitempty"`
	Errors      []string `json:"errors,omitempty"`
	Warnings    []string `json:"warnings,omitempty"`
	Percent     int      `json:"percent,omitempty"`
	Age         int64    `json:"age,omitempty"` // milliseconds since it was so, when it is sent
}

// RetryWords end the warning after which a step begins again; a wait follows.
const RetryWords = " failed; the next one starts in "

// SkipLine begins the log of a step whose condition did not hold.
const SkipLine = "Skipping step due to condition evaluation."

// MaxIssues bounds the errors, and the warnings, kept per step; the log has all.
const MaxIssues = 50

// ReportSteps updates the timeline of a job.
func (s *Service) ReportSteps(ctx context.Context, agentID, jobID string, fence int, reports []StepReport) error {
	var runID string
	err := s.Tx.InTx(ctx, func(ctx context.Context) error {
		if _, err := s.Pools.Hold(ctx, agentID, jobID, fence); err != nil {
			return err
		}
		j, err := s.Jobs.Get(ctx, jobID)
		if err != nil {
			return err
		}
		runID = j.RunID
		for _, r := range reports {
			s.applyReport(j, r)
		}
		return s.Jobs.Save(ctx, j)
	})
	if err == nil {
		s.Hub.Publish("run/" + runID)
	}
	return err
}

func (s *Service) applyReport(j *Job, r StepReport) {
	for i := range j.Steps {
		st := &j.Steps[i]
		if st.Order != r.Order {
			continue
		}
		// A retried report may come late; a step never goes back.
		if Moves.Check("step", st.State, r.State) != nil {
			return
		}
		at := reportedAt(j, r, s.Clock.Now())
		if st.State == Pending {
			st.Started = at
		}
		if r.State == Completed && st.State != Completed {
			st.Finished = at
			if r.Result == Skipped {
				st.Started = st.Finished
			}
		}
		st.State, st.Result, st.Percent = r.State, r.Result, r.Percent
		if r.DisplayName != "" {
			st.DisplayName = r.DisplayName
		}
		st.Attempt = max(st.Attempt, r.Attempt)
		st.Errors, st.Warnings = bounded(r.Errors), bounded(r.Warnings)
		return
	}
}

// reportedAt is when a step was as a report has it: reports may come long after,
// and clocks of agents differ.
func reportedAt(j *Job, r StepReport, now time.Time) time.Time {
	at := now.Add(-time.Duration(min(max(r.Age, 0), int64(1<<40))) * time.Millisecond)
	if at.Before(j.Started) {
		return j.Started
	}
	return at
}

func bounded(list []string) []string { return list[:min(len(list), MaxIssues)] }

// AppendLog stores bytes of a step's log at an offset; repeating a chunk is
// harmless. It returns where the log ends now.
func (s *Service) AppendLog(ctx context.Context, agentID, jobID string, fence, step int, offset int64, data []byte) (int64, error) {
	req, err := s.Pools.Hold(ctx, agentID, jobID, fence)
	if err != nil && !lateLog(req, agentID, fence) {
		return 0, err
	}
	end, _, err := s.Logs.Append(ctx, logID(jobID, step), offset, data)
	if err == nil {
		s.Hub.Publish("log/"+jobID, "log/"+logID(jobID, step))
	}
	return end, err
}

// lateLog says that a job was ended because its agent was silent, and that this is
// the rest of what the agent had written: it is not lost.
func lateLog(req *agentpool.Request, agentID string, fence int) bool {
	return req != nil && req.State == agentpool.Completed && req.Lost && req.AgentID == agentID && req.Fence == fence
}

// JobReport is how a job ended.
type JobReport struct {
	Result  Result            `json:"result"`
	Cause   string            `json:"cause,omitempty"`  // of the system, not of the user's program
	Broken  bool              `json:"broken,omitempty"` // it did not come to its end: its agent died
	Outputs map[string]string `json:"outputs,omitempty"`
	Secret  []string          `json:"secret,omitempty"` // names of outputs that are secrets
	// Holding are the names of other outputs, in whose values a secret stands. They
	// are no secrets to those who read them, as on the service, and are kept as ones.
	Holding []string `json:"holding,omitempty"`
	Number  string   `json:"number,omitempty"` // build.updatebuildnumber
}

// Hidden are the names of outputs that are written down nowhere in clear.
func (r JobReport) Hidden() []string { return slices.Concat(r.Secret, r.Holding) }

// WithoutSecrets is the report as it may lie on a disk: the names of hidden
// output variables, and not their values.
func (r JobReport) WithoutSecrets() JobReport {
	r.Outputs = maps.Clone(r.Outputs)
	for _, name := range r.Hidden() {
		delete(r.Outputs, name)
	}
	return r
}

// CompleteJob ends a job as its agent says. Saying the same twice is harmless.
func (s *Service) CompleteJob(ctx context.Context, agentID, jobID string, fence int, rep JobReport) error {
	switch rep.Result {
	case Succeeded, SucceededWithIssues, Failed, Canceled, Skipped, Abandoned:
	default:
		return fault.New(fault.Invalid, "unknown-result", "no result %q", rep.Result)
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		req, err := s.Pools.Hold(ctx, agentID, jobID, fence)
		if err != nil {
			if req != nil && req.State == agentpool.Completed && req.AgentID == agentID && req.Fence == fence {
				return nil
			}
			return err
		}
		if rep.Number != "" {
			if err := s.renumber(ctx, req.RunID, rep.Number); err != nil {
				return err
			}
		}
		result := rep.Result
		if rep.Broken && req.CancelRequested {
			result = Canceled // it was to end anyway
		}
		outputs, err := s.sealOutputs(req.RunID, rep)
		if err != nil {
			return err
		}
		return s.endJob(ctx, jobID, req, result, clip(rep.Cause), outputs)
	})
}

// maxCause bounds what an agent may say about why a job ended, in bytes.
const maxCause = 2000

func clip(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxCause)], "")
}

func (s *Service) renumber(ctx context.Context, runID, number string) error {
	if len(number) > 255 || strings.ContainsAny(number, "\"/\\:<>|?*\r\n") {
		return nil // the agent has warned already; the number stays
	}
	r, err := s.Runs.Get(ctx, runID)
	if err != nil {
		return err
	}
	r.Number = number
	return s.Runs.Save(ctx, r)
}

// endJob completes a job with its request and lets its run go on. It runs in
// the transaction of ctx.
func (s *Service) endJob(ctx context.Context, jobID string, req *agentpool.Request, result Result, cause string, outputs map[string]string) error {
	j, err := s.Jobs.Get(ctx, jobID)
	if err != nil {
		return err
	}
	if req != nil && req.State != agentpool.Completed {
		if err := s.Pools.Finish(ctx, req); err != nil {
			return err
		}
	}
	if j.State == Completed {
		return nil
	}
	j.State, j.Result, j.Cause, j.Outputs, j.Finished = Completed, result, cause, outputs, s.Clock.Now()
	for i := range j.Steps {
		if st := &j.Steps[i]; st.State != Completed {
			st.Result = Skipped
			if st.State == InProgress {
				st.Result = Canceled
			}
			st.State, st.Finished = Completed, j.Finished
		}
	}
	if err := s.Jobs.Save(ctx, j); err != nil {
		return err
	}
	if err := s.revokeJobTokens(ctx, j.ID); err != nil {
		return err
	}
	return s.Tx.Emit(ctx, outbox.New(TopicAdvance, j.RunID, j.RunID))
}

func (s *Service) revokeJobTokens(ctx context.Context, jobID string) error {
	tokens, err := s.Identity.Tokens.Find(ctx, store.Where("owner_id", jobID).And("kind", string(identity.JobToken)))
	if err != nil {
		return err
	}
	for _, t := range tokens {
		if err := s.Identity.Tokens.Delete(ctx, t.ID); err != nil {
			return err
		}
	}
	return nil
}
