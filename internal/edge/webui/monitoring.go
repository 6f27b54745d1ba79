package webui

import (
	"slices"
	"time"

	"penstock.dev/penstock/internal/domain/application"
	"penstock.dev/penstock/internal/domain/monitor"
	"penstock.dev/penstock/internal/edge/webui/pages"
)

var ranges = map[string]time.Duration{"5m": 5 * time.Minute, "15m": 15 * time.Minute, "1h": time.Hour, "6h": 6 * time.Hour, "24h": 24 * time.Hour}

func (c *call) span() (name string, d time.Duration) {
	name = c.r.FormValue("range")
	if ranges[name] == 0 {
		name = "15m"
	}
	return name, ranges[name]
}

func monitorHome(c *call) error {
	v, err := c.boardView()
	if err != nil {
		return err
	}
	if len(v.Apps) == 1 {
		return c.redirect(c.frame.At("monitor", v.Apps[0].App.Name), 302)
	}
	c.frame.Poll = 2000
	return c.page("monitor", "Monitor", pages.MonitorHome(c.frame, v))
}

func monitorPage(c *call) error {
	a, err := c.findApp()
	if err != nil {
		return err
	}
	v := pages.MonitorView{}
	if v.App, err = c.appView(a, 100); err != nil {
		return err
	}
	name, d := c.span()
	v.Range, v.Table = name, c.r.FormValue("table") != ""
	v.Marks = marksOf(v.App, c.now.Add(-d))
	slices.Reverse(v.Marks)
	if v.Table {
		v.Rows = c.tableRows(v.App, d)
	} else {
		c.frame.Charts = true
		c.frame.Scripts = append(c.frame.Scripts, "charts.js")
	}
	c.frame.Poll = 2000
	return c.page("monitor", a.Name+" in Monitor", pages.Monitor(c.frame, v))
}

// marksOf are the swaps and releases since a time, oldest first.
func marksOf(v *pages.AppView, since time.Time) []pages.ChartMark {
	marks := []pages.ChartMark{}
	for _, w := range v.History {
		if w.PublishedAt.Before(since) || w.PublishedAt.IsZero() {
			continue
		}
		text := "Swap to " + w.NewSlot
		if w.Rollback {
			text = "Rollback to " + w.NewSlot
		}
		marks = append(marks, pages.ChartMark{Time: w.PublishedAt, T: unix(w.PublishedAt), Kind: "swap", Text: text, By: w.NewRelease + ", by " + w.By})
	}
	for _, s := range v.Slots {
		if r := s.Slot.Release; r != nil && s.Slot.DeployedAt.After(since) {
			marks = append(marks, pages.ChartMark{Time: s.Slot.DeployedAt, T: unix(s.Slot.DeployedAt), Kind: "release", Text: r.Number, By: "deployed to " + s.Slot.Name + " by " + r.By})
		}
	}
	slices.SortStableFunc(marks, func(a, b pages.ChartMark) int { return a.Time.Compare(b.Time) })
	return marks
}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// step is the width of a point of a chart, so that a chart has a few hundred.
func step(d time.Duration) time.Duration {
	switch {
	case d <= 15*time.Minute:
		return monitor.FineStep * 2
	case d <= time.Hour:
		return 2 * monitor.CoarseStep
	case d <= 6*time.Hour:
		return time.Minute
	}
	return 5 * time.Minute
}

// grid is where the steps of a range begin. It lies wholly in the past, so that
// the newest step is complete, and wholly within the range, so that the finest
// resolution that reaches back so far is used.
func grid(now time.Time, d, width time.Duration) (from time.Time, n int) {
	from = now.Add(-d).Truncate(width).Add(width)
	return from, int(now.Sub(from) / width)
}

// measures are the charts and what each reads from a point.
var measures = map[string]func(monitor.Point) float64{
	"rate": func(p monitor.Point) float64 { return p.Requests }, "errors": func(p monitor.Point) float64 { return p.Errors },
	"p50": func(p monitor.Point) float64 { return p.P50 * 1000 }, "p95": func(p monitor.Point) float64 { return p.P95 * 1000 },
	"p99": func(p monitor.Point) float64 { return p.P99 * 1000 }, "open": func(p monitor.Point) float64 { return float64(p.InFlight) },
}

// latency is shown as nothing where there was no request, never as zero.
var latency = map[string]bool{"p50": true, "p95": true, "p99": true}

func monitorData(c *call) error {
	a, err := c.findApp()
	if err != nil {
		return err
	}
	v, err := c.appView(a, 100)
	if err != nil {
		return err
	}
	_, d := c.span()
	width := step(d)
	from, n := grid(c.now, d, width)
	out := map[string]any{"marks": marksOf(v, from)}
	times := make([]*float64, n)
	for i := range times {
		t := unix(from.Add(time.Duration(i) * width))
		times[i] = &t
	}
	buckets := map[string][][]monitor.Point{}
	for _, s := range v.Slots {
		buckets[s.Slot.Name] = c.bucketed(a.Pool(s.Slot.Name), from, width, n)
	}
	for name, read := range measures {
		chart := pages.Chart{Points: [][]*float64{times}}
		for _, s := range v.Slots {
			line := make([]*float64, n)
			for i, b := range buckets[s.Slot.Name] {
				line[i] = value(b, read, latency[name])
			}
			chart.Points = append(chart.Points, line)
			series := pages.ChartSeries{Name: s.Slot.Name, Ink: "ink-3"}
			if s.Slot.Role == application.Production {
				series.Ink, series.Live = "water", true
			}
			chart.Series = append(chart.Series, series)
		}
		out[name] = chart
	}
	return c.json(out)
}

func (c *call) bucketed(pool string, from time.Time, width time.Duration, n int) [][]monitor.Point {
	list := make([][]monitor.Point, n)
	if c.s.Monitor == nil {
		return list
	}
	for _, p := range c.s.Monitor.Since(pool, from, c.now) {
		if i := int(p.Time.Sub(from) / width); i >= 0 && i < n {
			list[i] = append(list[i], p)
		}
	}
	return list
}

// value is the mean of the points of a step, weighed by requests for latencies.
func value(points []monitor.Point, read func(monitor.Point) float64, weighed bool) *float64 {
	sum, weight := 0.0, 0.0
	for _, p := range points {
		w := 1.0
		if weighed {
			w = p.Requests
		}
		sum += read(p) * w
		weight += w
	}
	if weight == 0 {
		return nil
	}
	v := sum / weight
	return &v
}

func (c *call) tableRows(v *pages.AppView, d time.Duration) []pages.MonitorRow {
	width := step(d)
	if d <= 15*time.Minute {
		width = 15 * time.Second
	}
	from, n := grid(c.now, d, width)
	rows := make([]pages.MonitorRow, n)
	for i := range rows {
		rows[i].Time = from.Add(time.Duration(i) * width)
	}
	filled := make([]bool, n)
	for _, s := range v.Slots {
		for i, b := range c.bucketed(v.App.Pool(s.Slot.Name), from, width, n) {
			for _, name := range []string{"rate", "errors", "p50", "p95", "p99"} {
				cell := "–"
				if x := value(b, measures[name], latency[name]); x != nil {
					cell = pages.Num(*x)
					if latency[name] {
						cell += " ms"
					}
					filled[i] = true
				}
				rows[i].Cells = append(rows[i].Cells, cell)
			}
		}
	}
	var list []pages.MonitorRow
	for i := n - 1; i >= 0; i-- {
		if filled[i] {
			list = append(list, rows[i])
		}
	}
	return list
}
