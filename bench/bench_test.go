// Package bench measures the budgets of the product as a whole: go test -bench .
// ./bench. Benchmarks measure and assert nothing; those of single parts stand
// beside their code.
package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func build(b *testing.B) string {
	b.Helper()
	bin := filepath.Join(b.TempDir(), "penstock")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, "penstock.dev/penstock/cmd/penstock")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	return bin
}

// instance is one `penstock up`.
type instance struct {
	cmd  *exec.Cmd
	data string
	url  string
	out  output
}

// output is what a process wrote so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func start(b *testing.B, bin, data string) (*instance, time.Duration) {
	b.Helper()
	i := &instance{data: data, cmd: exec.Command(bin, "up", "--data", data)}
	i.cmd.Stdout, i.cmd.Stderr = &i.out, &i.out
	_ = os.Remove(filepath.Join(data, "up.json"))
	began := time.Now()
	if err := i.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	for {
		if raw, err := os.ReadFile(filepath.Join(data, "up.json")); err == nil {
			var u struct{ URL string }
			if json.Unmarshal(raw, &u) == nil {
				i.url = u.URL
				if res, err := http.Get(u.URL + "/healthz"); err == nil {
					_ = res.Body.Close()
					return i, time.Since(began)
				}
			}
		}
		if time.Since(began) > time.Minute {
			b.Fatalf("not up:\n%s", i.out.String())
		}
		<-time.After(time.Millisecond)
	}
}

func (i *instance) stop() {
	_ = i.cmd.Process.Signal(syscall.SIGTERM)
	_ = i.cmd.Wait()
}

// rss returns the resident memory of a process in MB.
func rss(pid int) float64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			kb, _ := strconv.ParseFloat(f[1], 64)
			return kb / 1024
		}
	}
	return 0
}

// BenchmarkUp: from the start of the process to the first answer, and the
// memory of the idle server. Budgets: 300 ms, 100 MB; binary 100 MB.
func BenchmarkUp(b *testing.B) {
	bin := build(b)
	info, err := os.Stat(bin)
	if err != nil {
		b.Fatal(err)
	}
	data := filepath.Join(b.TempDir(), "data")
	first, took := start(b, bin, data)
	first.stop()
	var times []time.Duration
	memory := 0.0
	for b.Loop() {
		i, took := start(b, bin, data)
		times = append(times, took)
		<-time.After(500 * time.Millisecond) // idle: what starting left behind is collected
		memory = rss(i.cmd.Process.Pid)
		i.stop()
	}
	slices.Sort(times)
	b.ReportMetric(took.Seconds()*1000, "first-ms")
	b.ReportMetric(times[len(times)/2].Seconds()*1000, "again-ms")
	b.ReportMetric(memory, "idle-MB")
	b.ReportMetric(float64(info.Size())/1e6, "binary-MB")
	b.ReportMetric(0, "ns/op")
}
