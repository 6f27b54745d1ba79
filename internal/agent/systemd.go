package agent

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rootfs"
)

// Systemd runs the services of a machine as units. Settings lie in a file that
// only root reads; the unit and every argument list are free of them.
type Systemd struct {
	data string
	root string // "" but in tests
}

// hasSystemd reports whether systemd runs this machine and we may tell it so.
func hasSystemd() bool {
	_, err := os.Stat("/run/systemd/system")
	return err == nil && os.Geteuid() == 0
}

// Data implements task.Services.
func (s *Systemd) Data() string { return s.data }

func (s *Systemd) unitFile(name string) string {
	return filepath.Join(s.root, "/etc/systemd/system", name+".service")
}

func (s *Systemd) settingsFile(name string) string {
	return filepath.Join(s.root, "/etc/penstock", name+".env")
}

// Apply implements task.Services.
func (s *Systemd) Apply(ctx context.Context, spec task.ServiceSpec, action string) (task.ServiceState, error) {
	if !serviceName().MatchString(spec.Name) {
		return task.ServiceState{}, fault.New(fault.Invalid, "invalid-name", "service name %q is not usable", spec.Name)
	}
	var err error
	switch action {
	case "restart", "start":
		if err = s.write(ctx, spec); err == nil {
			err = s.systemctl(ctx, action, spec.Name+".service")
		}
	case "stop", "reload":
		err = s.systemctl(ctx, action, spec.Name+".service")
	case "status", "log":
	default:
		err = fault.New(fault.Invalid, "unknown-action", "no action %q", action).Want("restart, start, stop, reload, status or log")
	}
	st, stErr := s.state(ctx, spec.Name)
	if err == nil {
		err = stErr
	}
	return st, err
}

// write stores settings and, where the application says what to run, the unit.
func (s *Systemd) write(ctx context.Context, spec task.ServiceSpec) error {
	var env strings.Builder
	names := make([]string, 0, len(spec.Env))
	for name := range spec.Env {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		value := spec.Env[name]
		if strings.ContainsAny(name+value, "\n\r") {
			return fault.New(fault.Invalid, "setting-lines", "setting %s has more than one line", name)
		}
		fmt.Fprintf(&env, "%s=\"%s\"\n", name, strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value))
	}
	file := s.settingsFile(spec.Name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	if err := rootfs.WriteFile(file, []byte(env.String()), 0o600); err != nil {
		return err
	}
	if len(spec.Command) == 0 {
		return nil // the unit exists already
	}
	if err := rootfs.WriteFile(s.unitFile(spec.Name), []byte(unit(spec, s.settingsFile(spec.Name))), 0o644); err != nil {
		return err
	}
	return s.systemctl(ctx, "daemon-reload")
}

// unit is the unit file of a service.
func unit(spec task.ServiceSpec, settings string) string {
	words := make([]string, len(spec.Command))
	for i, w := range spec.Command {
		if i == 0 && strings.Contains(w, "/") && !filepath.IsAbs(w) {
			w = filepath.Join(spec.Dir, w)
		}
		words[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%", "$", "$$").Replace(w) + `"`
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Kept by Penstock: changes are overwritten by the next deployment.\n[Unit]\nDescription=%s\nAfter=network-online.target\n\n[Service]\n", spec.Name)
	fmt.Fprintf(&b, "ExecStart=%s\nWorkingDirectory=%s\nEnvironmentFile=%s\nRestart=always\nRestartSec=1\n", strings.Join(words, " "), strings.ReplaceAll(spec.Dir, "%", "%%"), settings)
	if spec.Signal != "" {
		fmt.Fprintf(&b, "KillSignal=%s\n", spec.Signal)
	}
	if spec.GraceSec > 0 {
		fmt.Fprintf(&b, "TimeoutStopSec=%d\n", spec.GraceSec)
	}
	if spec.User != "" {
		fmt.Fprintf(&b, "User=%s\n", spec.User)
	}
	b.WriteString("\n[Install]\nWantedBy=multi-user.target\n")
	return b.String()
}

func (s *Systemd) systemctl(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput()
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "systemctl-failed", "systemctl %s failed", args[0]).Got("%s", strings.TrimSpace(string(out)))
	}
	return nil
}

func (s *Systemd) state(ctx context.Context, name string) (task.ServiceState, error) {
	out, err := exec.CommandContext(ctx, "systemctl", "show", "--property=ActiveState,MainPID", name+".service").Output()
	if err != nil {
		return task.ServiceState{}, fault.Wrap(err, fault.Unavailable, "systemctl-failed", "systemctl show failed")
	}
	st := task.ServiceState{State: "stopped"}
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch {
		case key == "ActiveState" && (value == "active" || value == "activating" || value == "reloading"):
			st.State = "running"
		case key == "ActiveState" && value == "failed":
			st.State = "failed"
		case key == "MainPID":
			st.PID, _ = strconv.Atoi(value)
		}
	}
	journal, err := exec.CommandContext(ctx, "journalctl", "--unit="+name+".service", "--no-pager", "--output=cat", "--lines=1000").Output()
	if err == nil {
		for _, line := range bytes.Split(bytes.TrimRight(journal, "\n"), []byte("\n")) {
			st.Log = append(st.Log, string(line))
		}
	}
	return st, nil
}
