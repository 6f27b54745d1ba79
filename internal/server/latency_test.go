package server

import (
	"slices"
	"testing"
	"time"

	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/run"
)

// BenchmarkQueuedToFirstLog measures from the request for a run to the first
// line of its log on the server, with an idle agent. Budget: p50 20 ms, p99
// 100 ms.
func BenchmarkQueuedToFirstLog(b *testing.B) {
	w := newWorld(b)
	p := w.pipeline("ci", "azure-pipelines.yml")
	w.push("side", map[string]string{"azure-pipelines.yml": "trigger: none\nsteps:\n- checkout: none\n- bash: echo here\n"})
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		r, err := w.runs.QueueRun(w.ctx, run.QueueRequest{Pipeline: p, Branch: "refs/heads/side", Reason: run.Manual, By: identity.System()})
		if err != nil {
			b.Fatal(err)
		}
		sub := w.hub.Subscribe("run/" + r.ID)
		for logged := false; !logged; {
			d, err := w.runs.Load(w.ctx, r.ID)
			if err != nil {
				b.Fatal(err)
			}
			for _, j := range d.Jobs {
				_, lines, err := w.runs.Logs.Lines(w.ctx, j.LogID(1), 1, 1)
				logged = logged || err == nil && lines > 0
			}
			if !logged {
				select {
				case <-sub.C:
				case <-time.After(time.Millisecond):
				}
			}
		}
		took = append(took, time.Since(began))
		sub.Close()
		w.wait(r.ID)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
