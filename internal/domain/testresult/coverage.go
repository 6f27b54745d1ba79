package testresult

import (
	"context"
	"fmt"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/base/store"
)

// Labels of metrics.
const (
	Lines    = "Lines"
	Branches = "Branches"
)

// Bounds of coverage.
const (
	MaxFiles   = 5000 // of one published report; the totals count all
	MaxReports = 200  // of one run
	maxMetrics = 20
)

// Metric is how much of something tests have reached.
type Metric struct {
	Label   string `json:"label"` // Lines, Branches, …
	Covered int64  `json:"covered"`
	Total   int64  `json:"total"`
}

// Share is the part that is covered, 0 to 1; 0 where there is nothing.
func (m Metric) Share() float64 {
	if m.Total <= 0 {
		return 0
	}
	return float64(m.Covered) / float64(m.Total)
}

// String is a metric as people read it: Lines 81.3 % (813 of 1000).
func (m Metric) String() string {
	if m.Total == 0 {
		return m.Label + " none"
	}
	return fmt.Sprintf("%s %.1f %% (%d of %d)", m.Label, 100*m.Share(), m.Covered, m.Total)
}

// FileCoverage is how much of one source file tests have reached.
type FileCoverage struct {
	Package  string `json:"package,omitempty"`
	Name     string `json:"name"`
	Lines    Metric `json:"lines"`
	Branches Metric `json:"branches"`
}

// Coverage is one published report. Its files lie beside it.
type Coverage struct {
	store.Revision
	ID       string         `col:"id" json:"id"`
	RunID    string         `col:"run_id" json:"runId"`
	JobID    string         `json:"jobId"`
	Platform string         `json:"platform,omitempty"`
	Config   string         `json:"configuration,omitempty"`
	Metrics  []Metric       `json:"metrics"`
	Count    int            `json:"count"` // of files, the ones left out included
	Files    []FileCoverage `json:"files,omitempty"`
	Created  time.Time      `json:"created"`
}

// Metric returns the metric of a label; its total is 0 if there is none.
func (c *Coverage) Metric(label string) Metric {
	for _, m := range c.Metrics {
		if m.Label == label {
			return m
		}
	}
	return Metric{Label: label}
}

// CoverageFiles is the files of a report.
type CoverageFiles struct {
	store.Revision
	ID    string         `col:"id" json:"id"` // the report's
	Files []FileCoverage `json:"files"`
}

func (m Metric) ok() bool { return m.Covered >= 0 && m.Total >= m.Covered }

func (c *Coverage) check() error {
	bad := func() error {
		return fault.New(fault.Invalid, "coverage-unreadable", "the coverage has numbers that cannot be").Want("0 ≤ covered ≤ total, at most %d metrics", maxMetrics)
	}
	if len(c.Metrics) > maxMetrics {
		return bad()
	}
	for i, m := range c.Metrics {
		if c.Metrics[i].Label = cut(m.Label, 80); m.Label == "" || !m.ok() {
			return bad()
		}
	}
	c.Count = max(c.Count, len(c.Files))
	if len(c.Files) > MaxFiles {
		c.Files = c.Files[:MaxFiles]
	}
	c.Platform, c.Config = cut(c.Platform, maxName), cut(c.Config, maxName)
	for i := range c.Files {
		f := &c.Files[i]
		if f.Package, f.Name = cut(f.Package, maxName), cut(f.Name, maxName); !f.Lines.ok() || !f.Branches.ok() {
			return bad()
		}
	}
	return nil
}

// Cover stores a report of coverage, once however often it arrives.
func (s *Service) Cover(ctx context.Context, c *Coverage) error {
	if err := c.check(); err != nil {
		return err
	}
	if len(c.ID) != idLength {
		c.ID = id.New()
	}
	c.Created = s.Clock.Now()
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		all, err := s.Coverage(ctx, c.RunID)
		if err != nil {
			return err
		}
		for _, old := range all {
			if old.ID == c.ID {
				return nil
			}
		}
		if len(all) >= MaxReports {
			return fault.New(fault.Invalid, "too-many-results", "a run keeps at most %d reports of coverage", MaxReports)
		}
		head := *c
		head.Files = nil
		if err := s.Reports.Insert(ctx, &head); err != nil {
			return err
		}
		return s.Files.Insert(ctx, &CoverageFiles{ID: c.ID, Files: c.Files})
	})
}

// Coverage lists the reports of a run, without their files.
func (s *Service) Coverage(ctx context.Context, runID string) ([]*Coverage, error) {
	return s.Reports.Find(ctx, store.Where("run_id", runID).By("id"))
}

// CoverageWithFiles lists the reports of a run with their files.
func (s *Service) CoverageWithFiles(ctx context.Context, runID string) ([]*Coverage, error) {
	all, err := s.Coverage(ctx, runID)
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		files, err := s.Files.Get(ctx, c.ID)
		if err != nil {
			return nil, err
		}
		c.Files = files.Files
	}
	return all, nil
}

// AddMetrics adds metrics up by label. What several reports count, counts as
// often.
func AddMetrics(totals []Metric, more ...Metric) []Metric {
	for _, m := range more {
		found := false
		for i := range totals {
			if totals[i].Label == m.Label {
				totals[i].Covered += m.Covered
				totals[i].Total += m.Total
				found = true
			}
		}
		if !found {
			totals = append(totals, m)
		}
	}
	return totals
}

// cut shortens a text at a boundary of characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n-len("…")], "") + "…"
}
