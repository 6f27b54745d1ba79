package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"penstock.dev/penstock/internal/agent/process"
	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/pattern"
	"penstock.dev/penstock/internal/base/rootfs"
)

// Supervisor runs the services of a machine that has no systemd: it starts them
// with the machine, starts them again when they end by themselves, and keeps
// their output. Its state is files, so that an agent that comes back finds the
// services of the one before it.
type Supervisor struct {
	data string
	log  *slog.Logger

	mu       sync.Mutex
	services map[string]*service
	closed   chan struct{}
	wg       sync.WaitGroup
}

// service is one supervised process. Its fields are guarded by Supervisor.mu.
type service struct {
	Spec   task.ServiceSpec `json:"spec"`
	Wanted bool             `json:"wanted"`
	PID    int              `json:"pid"`

	ended chan struct{} // closed when the process has ended
	fails int           // quick ends in a row
	timer *time.Timer   // the next start
}

var serviceName = pattern.Lazy(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// NewSupervisor takes up the services of a data folder.
func NewSupervisor(data string, log *slog.Logger) (*Supervisor, error) {
	s := &Supervisor{data: data, log: log, services: map[string]*service{}, closed: make(chan struct{})}
	if err := os.MkdirAll(s.dir(), 0o700); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "data-not-writable", "cannot write in the machine's folder").At("%s", data)
	}
	files, err := filepath.Glob(filepath.Join(s.dir(), "*.json"))
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		svc := &service{}
		if err := json.Unmarshal(raw, svc); err != nil {
			return nil, fmt.Errorf("service file %s: %w", f, err)
		}
		s.services[svc.Spec.Name] = svc
		if alive(svc.PID, s.mark(svc.Spec.Name)) {
			s.adopt(svc)
		} else if svc.Wanted {
			if err := s.start(svc); err != nil {
				log.Error("service cannot be started", "service", svc.Spec.Name, "error", err)
			}
		}
	}
	return s, nil
}

func (s *Supervisor) dir() string { return filepath.Join(s.data, "services") }

// Data implements task.Services.
func (s *Supervisor) Data() string { return s.data }

// mark is in the environment of a service's process, so that its process id
// cannot be mistaken for another's.
func (s *Supervisor) mark(name string) string {
	return "PENSTOCK_SERVICE=" + filepath.Join(s.data, name)
}

// Close leaves the services running: they end with the machine, not with the
// agent.
func (s *Supervisor) Close() {
	s.mu.Lock()
	close(s.closed)
	for _, svc := range s.services {
		if svc.timer != nil {
			svc.timer.Stop()
		}
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// Apply implements task.Services.
func (s *Supervisor) Apply(ctx context.Context, spec task.ServiceSpec, action string) (task.ServiceState, error) {
	if !serviceName().MatchString(spec.Name) {
		return task.ServiceState{}, fault.New(fault.Invalid, "invalid-name", "service name %q is not usable", spec.Name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	svc := s.services[spec.Name]
	if svc == nil {
		svc = &service{Spec: spec}
		s.services[spec.Name] = svc
	}
	switch action {
	case "restart", "start":
		if action == "restart" || svc.PID == 0 {
			s.stop(ctx, svc)
			svc.Spec, svc.Wanted, svc.fails = spec, true, 0
			if err := s.start(svc); err != nil {
				return s.state(svc), err
			}
		}
	case "stop":
		svc.Wanted = false
		s.stop(ctx, svc)
	case "reload":
		if svc.PID == 0 {
			return s.state(svc), fault.New(fault.Conflict, "service-stopped", "service %s does not run", spec.Name)
		}
		process.Reload(svc.PID)
	case "status", "log":
	default:
		return s.state(svc), fault.New(fault.Invalid, "unknown-action", "no action %q", action).Want("restart, start, stop, reload, status or log")
	}
	return s.state(svc), s.store(svc)
}

func (s *Supervisor) state(svc *service) task.ServiceState {
	st := task.ServiceState{State: "stopped", PID: svc.PID}
	switch {
	case svc.PID != 0:
		st.State = "running"
	case svc.Wanted:
		st.State = "failed"
	}
	st.Log = lastStart(s.logFile(svc.Spec.Name))
	return st
}

func (s *Supervisor) logFile(name string) string { return filepath.Join(s.dir(), name+".log") }

// store keeps the service with its settings where only this user reads them.
func (s *Supervisor) store(svc *service) error {
	raw, err := json.Marshal(svc)
	if err != nil {
		return err
	}
	return rootfs.WriteFile(filepath.Join(s.dir(), svc.Spec.Name+".json"), raw, 0o600)
}

const startLine = "--- started "

// start begins the process. The caller holds s.mu.
func (s *Supervisor) start(svc *service) error {
	logFile := s.logFile(svc.Spec.Name)
	rotate(logFile)
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	_, _ = fmt.Fprintf(out, "%s%s\n", startLine, time.Now().UTC().Format(time.RFC3339))
	if len(svc.Spec.Command) == 0 {
		return fault.New(fault.Invalid, "no-command", "service %s has no command", svc.Spec.Name).Try("write service: command: in the application's file")
	}
	program := svc.Spec.Command[0]
	if strings.Contains(program, "/") && !filepath.IsAbs(program) {
		program = filepath.Join(svc.Spec.Dir, program)
	}
	cmd := exec.Command(program, svc.Spec.Command[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = svc.Spec.Dir, out, out
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.data, "LANG=C.UTF-8", s.mark(svc.Spec.Name)}
	for k, v := range svc.Spec.Env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	process.OwnGroup(cmd)
	if err := cmd.Start(); err != nil {
		return fault.Wrap(err, fault.Invalid, "cannot-start", "service %s cannot be started", svc.Spec.Name).At("%s", program)
	}
	svc.PID, svc.ended = cmd.Process.Pid, make(chan struct{})
	began := time.Now()
	s.wg.Add(1)
	go s.watch(svc, svc.ended, began, func() { _ = cmd.Wait() })
	return s.store(svc)
}

// adopt watches a process that an earlier agent started.
func (s *Supervisor) adopt(svc *service) {
	svc.ended = make(chan struct{})
	pid, mark := svc.PID, s.mark(svc.Spec.Name)
	s.wg.Add(1)
	go s.watch(svc, svc.ended, time.Now(), func() {
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for alive(pid, mark) {
			select {
			case <-s.closed:
				return
			case <-tick.C:
			}
		}
	})
}

// watch waits for the end of a process and starts it again if it should run.
func (s *Supervisor) watch(svc *service, ended chan struct{}, began time.Time, wait func()) {
	defer s.wg.Done()
	gone := make(chan struct{})
	go func() {
		wait()
		close(gone)
	}()
	select {
	case <-gone:
	case <-s.closed:
		return // the process goes on without this agent
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	close(ended)
	if svc.ended != ended {
		return // another process has taken its place
	}
	svc.PID = 0
	if !svc.Wanted {
		return
	}
	if time.Since(began) < 10*time.Second {
		svc.fails++
	} else {
		svc.fails = 0
	}
	delay := min(100*time.Millisecond<<min(svc.fails, 10), 30*time.Second)
	s.log.Warn("service ended by itself, will be started again", "service", svc.Spec.Name, "in", delay)
	svc.timer = time.AfterFunc(delay, func() { s.revive(svc) })
}

func (s *Supervisor) revive(svc *service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closed:
		return
	default:
	}
	if svc.Wanted && svc.PID == 0 {
		if err := s.start(svc); err != nil {
			s.log.Error("service cannot be started", "service", svc.Spec.Name, "error", err)
		}
	}
}

// stop ends the process: its signal, its grace, then the whole group is killed.
// The caller holds s.mu, which is given up while waiting.
func (s *Supervisor) stop(ctx context.Context, svc *service) {
	if svc.timer != nil {
		svc.timer.Stop()
	}
	if svc.PID == 0 {
		return
	}
	pid, ended, wanted := svc.PID, svc.ended, svc.Wanted
	svc.Wanted = false
	process.SignalGroup(pid, signalByName(svc.Spec.Signal))
	grace := time.Duration(svc.Spec.GraceSec) * time.Second
	if grace <= 0 {
		grace = 30 * time.Second
	}
	s.mu.Unlock()
	timer := time.NewTimer(grace)
	select {
	case <-ended:
	case <-timer.C:
	case <-ctx.Done():
	}
	timer.Stop()
	process.SignalGroup(pid, process.Kill)
	<-ended
	s.mu.Lock()
	svc.Wanted = wanted
}

func signalByName(name string) syscall.Signal {
	switch strings.ToUpper(strings.TrimPrefix(strings.ToUpper(name), "SIG")) {
	case "INT":
		return process.Interrupt
	case "KILL":
		return process.Kill
	}
	return process.Terminate
}

// alive reports whether a process runs and is the one that was started as the
// service.
func alive(pid int, mark string) bool {
	if pid <= 0 {
		return false
	}
	env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false
	}
	for _, kv := range strings.Split(string(env), "\x00") {
		if kv == mark {
			return true
		}
	}
	return false
}

// maxServiceLog is the size at which a service's log is set aside, in bytes.
const maxServiceLog = 8 << 20

func rotate(file string) {
	if info, err := os.Stat(file); err == nil && info.Size() > maxServiceLog {
		_ = os.Rename(file, file+".1")
	}
}

// lastStart returns what a service printed since it last started.
func lastStart(file string) []string {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	var lines []string
	scan := bufio.NewScanner(f)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		if strings.HasPrefix(scan.Text(), startLine) {
			lines = lines[:0]
			continue
		}
		if lines = append(lines, scan.Text()); len(lines) > 5000 {
			lines = lines[1000:]
		}
	}
	return lines
}
