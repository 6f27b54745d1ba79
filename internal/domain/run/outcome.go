package run

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/store"
)

// Bounds of tags.
const (
	MaxTags   = 100 // of one run
	maxTagLen = 256 // bytes
)

// CheckTag refuses what cannot be a tag.
func CheckTag(tag string) error {
	if tag == "" || tag != strings.TrimSpace(tag) || len(tag) > maxTagLen || !utf8.ValidString(tag) || strings.ContainsFunc(tag, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fault.New(fault.Invalid, "invalid-tag", "%q cannot be a tag", tag).Want("1 to %d bytes, no control characters, no spaces around it", maxTagLen)
	}
	return nil
}

// HasTag says whether a run carries a tag. Case does not count.
func (r *Run) HasTag(tag string) bool {
	return slices.ContainsFunc(r.Tags, func(t string) bool { return strings.EqualFold(t, tag) })
}

// retag gives a run tags and takes others away. It reports whether that changes
// anything.
func (r *Run) retag(add, remove []string) (bool, error) {
	before := len(r.Tags)
	r.Tags = slices.DeleteFunc(r.Tags, func(t string) bool {
		return slices.ContainsFunc(remove, func(gone string) bool { return strings.EqualFold(t, gone) })
	})
	changed := len(r.Tags) != before
	for _, tag := range add {
		if err := CheckTag(tag); err != nil {
			return false, err
		}
		if !r.HasTag(tag) {
			r.Tags, changed = append(r.Tags, tag), true
		}
	}
	if len(r.Tags) > MaxTags {
		return false, fault.New(fault.Invalid, "too-many-tags", "a run has at most %d tags", MaxTags).Got("%d", len(r.Tags))
	}
	return changed, nil
}

// Tag adds and removes tags of a run. Adding one that is there, and removing one
// that is not, changes nothing.
func (s *Service) Tag(ctx context.Context, id string, add, remove []string) (*Run, error) {
	var r *Run
	changed := false
	err := s.Tx.InTx(ctx, func(ctx context.Context) error {
		var err error
		if r, err = s.Runs.Get(ctx, id); err != nil {
			return err
		}
		if changed, err = r.retag(add, remove); err != nil || !changed {
			return err
		}
		return s.Runs.Save(ctx, r)
	})
	if err == nil && changed {
		s.Hub.Publish("run/"+id, "runs")
	}
	return r, err
}

// Before lists the ids of runs of the same pipeline and branch that ended before
// a run began, the newest first.
func (s *Service) Before(ctx context.Context, r *Run, n int) ([]string, error) {
	runs, err := s.Runs.Find(ctx, store.Where("pipeline_id", r.PipelineID).And("branch", r.Branch).And("state", string(Completed)).AndOp("num", store.Lt, r.Num).Latest("num").Top(n))
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, old := range runs {
		ids = append(ids, old.ID)
	}
	return ids, nil
}

func (r *Run) hasTags(tags []string) bool {
	return !slices.ContainsFunc(tags, func(tag string) bool { return !r.HasTag(tag) })
}

func withTags(tags []string) string {
	if len(tags) == 0 {
		return ""
	}
	return " and has the tags " + strings.Join(tags, ", ")
}

// goodStages names the stages of a run whose last attempt succeeded.
func (s *Service) goodStages(ctx context.Context, runID string) ([]string, error) {
	all, err := s.Stages.Find(ctx, store.Where("run_id", runID))
	if err != nil {
		return nil, err
	}
	last := map[string]*Stage{}
	for _, st := range all {
		if old := last[st.Name]; old == nil || st.Attempt > old.Attempt {
			last[st.Name] = st
		}
	}
	var names []string
	for name, st := range last {
		if good(st.Result) {
			names = append(names, name)
		}
	}
	return names, nil
}
