//go:build unix

package server

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/domain/variablegroup"
)

// BenchmarkLogPath measures the way of a line from a program to the stored log:
// read, searched for logging commands, masked (50 secrets), stamped, kept on the
// agent's disk, sent over HTTP and stored. Agent, server and program share the
// machine; lines/cpu-s are those of a second of all their processor time but the
// program's. Budget: 200,000.
func BenchmarkLogPath(b *testing.B) {
	const lines = 1_000_000
	w := newWorld(b)
	secrets := map[string]string{}
	for n := range 50 {
		secrets[fmt.Sprintf("secret%d", n)] = fmt.Sprintf("a-secret-of-usual-length-%d-%x", n, n*7919)
	}
	if err := putSecrets(w, secrets); err != nil {
		b.Fatal(err)
	}
	text := filepath.Join(b.TempDir(), "lines")
	if err := os.WriteFile(text, []byte(strings.Repeat(strings.Repeat("ordinary output of a build ", 3)+"\n", lines)), 0o600); err != nil {
		b.Fatal(err)
	}
	p := w.pipeline("ci", "azure-pipelines.yml")
	w.push("side", map[string]string{"azure-pipelines.yml": "trigger: none\nvariables:\n- group: secrets\nsteps:\n- checkout: none\n- bash: cat " + text + "\n"})
	var wall, cpu time.Duration
	for b.Loop() {
		began, used := time.Now(), ownTime()
		r, err := w.runs.QueueRun(w.ctx, run.QueueRequest{Pipeline: p, Branch: "refs/heads/side", Reason: run.Manual, By: identity.System()})
		if err != nil {
			b.Fatal(err)
		}
		d := w.wait(r.ID)
		wall, cpu = wall+time.Since(began), cpu+ownTime()-used
		if d.Run.Result != run.Succeeded {
			b.Fatalf("%s\n%s", d.Run.Result, w.log(d))
		}
		if _, total, err := w.runs.Logs.Lines(w.ctx, d.Jobs[0].LogID(1), 1, 1); err != nil || total < lines {
			b.Fatalf("%d lines arrived, %v", total, err)
		}
	}
	b.ReportMetric(float64(b.N)*lines/wall.Seconds(), "lines/s")
	b.ReportMetric(float64(b.N)*lines/cpu.Seconds(), "lines/cpu-s")
}

func putSecrets(w *world, secrets map[string]string) error {
	_, err := w.groups.Put(w.ctx, &variablegroup.Group{ProjectID: w.project.ID, Name: "secrets"}, secrets)
	return err
}

// ownTime is the processor time of this process: server and agent, not the
// program.
func ownTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
