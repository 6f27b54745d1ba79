// Package trigger decides, from what is known of a pipeline, whether an event
// or the clock starts a run. It reads and keeps nothing itself.
package trigger

import (
	"time"

	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/pipeline/schedule"
)

// Source is what a scheduled run of a branch would run.
type Source struct {
	Commit     string // tip of the branch
	Definition string // digest of the pipeline's own settings, besides its files
}

// History is what is known of the scheduled runs of a branch.
type History struct {
	// Succeeded is the source of the last scheduled run of the branch that
	// succeeded, without issues; nil if there was none.
	Succeeded *Source
	// Running: a scheduled run of the pipeline is in progress, of any branch.
	Running bool
}

// Reason says why a schedule that is due does not start a run.
type Reason string

// The reasons.
const (
	Starts     Reason = ""
	Unchanged  Reason = "nothing changed since the last successful scheduled run"
	InProgress Reason = "a scheduled run is still in progress"
)

// Due is a schedule whose time has come.
type Due struct {
	Schedule pipeline.Schedule
	At       time.Time
	Skipped  Reason
}

// DueSchedules returns the schedules of a branch that came due after from, up to
// and including to, in the order of the file. One that came due several times,
// because nobody looked, is there once, with its last time. schedules are those
// of the branch's own file.
func DueSchedules(schedules []pipeline.Schedule, branch string, from, to time.Time, tip Source, h History) []Due {
	var out []Due
	for _, s := range schedules {
		cron, err := schedule.Parse(s.Cron)
		if err != nil || !pipeline.MatchFilters(s.Branches, branch) {
			continue // a mistake was reported when the file was compiled
		}
		if at := cron.Last(from, to); !at.IsZero() {
			due := Due{Schedule: s, At: at, Skipped: skip(s, tip, h)}
			h.Running = h.Running || due.Skipped == Starts // for those that follow
			out = append(out, due)
		}
	}
	return out
}

// skip is the table of always and batch: with always there is a run whatever
// batch says, without it only after a change, and with batch only if no other
// scheduled run is in progress.
func skip(s pipeline.Schedule, tip Source, h History) Reason {
	switch {
	case s.Always:
		return Starts
	case h.Succeeded != nil && *h.Succeeded == tip:
		return Unchanged
	case s.Batch && h.Running:
		return InProgress
	default:
		return Starts
	}
}
