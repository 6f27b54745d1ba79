package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	oneStep   = "steps:\n- script: echo hi\n"
	actOne    = "on: push\njobs:\n  a:\n    runs-on: self\n    steps:\n    - run: echo hi\n"
	manySteps = 100
)

// median runs a command again and again, turn by turn with others, and returns
// what each took in the middle.
func median(b *testing.B, dir string, commands ...[]string) []time.Duration {
	b.Helper()
	took := make([][]time.Duration, len(commands))
	for range 21 {
		for i, args := range commands {
			cmd := exec.Command(args[0], args[1:]...)
			cmd.Dir = dir
			began := time.Now()
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("%v: %v\n%s", args, err, out)
			}
			took[i] = append(took[i], time.Since(began))
		}
	}
	middle := make([]time.Duration, len(commands))
	for i := range took {
		slices.Sort(took[i])
		middle[i] = took[i][len(took[i])/2]
	}
	return middle
}

// checkout is a repository with a pipeline, and the same as a workflow.
func checkout(b *testing.B, pipeline string) string {
	b.Helper()
	dir := b.TempDir()
	for name, text := range map[string]string{"azure-pipelines.yml": pipeline, ".github/workflows/ci.yml": actOne} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "-A"}, {"-c", "user.name=a", "-c", "user.email=a@example.test", "commit", "-qm", "one"}} {
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	return dir
}

// BenchmarkRunOneStep is `penstock run` of one step as a whole process, beside
// act without containers where that is on the PATH, in turn.
func BenchmarkRunOneStep(b *testing.B) {
	bin := build(b)
	dir := checkout(b, oneStep)
	commands := [][]string{{bin, "run", "-q"}}
	if act, err := exec.LookPath("act"); err == nil {
		commands = append(commands, []string{act, "-q", "-P", "self=-self-hosted"})
	} else {
		b.Log("act is not on the PATH: nothing to compare with")
	}
	for b.Loop() {
		took := median(b, dir, commands...)
		b.ReportMetric(float64(took[0].Microseconds())/1000, "penstock-ms")
		if len(took) > 1 {
			b.ReportMetric(float64(took[1].Microseconds())/1000, "act-ms")
			b.ReportMetric(float64(took[0])/float64(took[1]), "ratio")
		}
	}
}

// BenchmarkRunHundredSteps is what a trivial step costs beyond its own process.
func BenchmarkRunHundredSteps(b *testing.B) {
	bin := build(b)
	dir := checkout(b, "steps:\n"+strings.Repeat("- script: echo hi\n", manySteps))
	one := checkout(b, oneStep)
	for b.Loop() {
		many := median(b, dir, []string{bin, "run", "-q"})[0]
		single := median(b, one, []string{bin, "run", "-q"})[0]
		process := median(b, one, []string{"bash", "--noprofile", "--norc", "-c", "echo hi"})[0]
		perStep := (many - single) / (manySteps - 1)
		b.ReportMetric(float64(perStep.Microseconds())/1000, "ms/step")
		b.ReportMetric(float64((perStep-process).Microseconds())/1000, "overhead-ms/step")
	}
}
