package agent

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/agent/task"
)

// fakeSystemctl records its calls and answers like a machine whose units run.
const fakeSystemctl = `#!/bin/sh
echo "$@" >> "$CALLS"
case "$1" in show) echo ActiveState=active; echo MainPID=4711;; esac
`

func TestSystemd(t *testing.T) {
	root, bin := t.TempDir(), t.TempDir()
	for _, name := range []string{"systemctl", "journalctl"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(fakeSystemctl), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(root, "etc/systemd/system"), 0o755); err != nil {
		t.Fatal(err)
	}
	calls := filepath.Join(root, "calls")
	t.Setenv("CALLS", calls)
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	s := &Systemd{data: "/srv/shop", root: root}
	spec := task.ServiceSpec{Name: "shop", Command: []string{"./shop", "--title", `50% "off" $X`}, Dir: "/srv/shop/site", User: "shop", Signal: "SIGTERM", GraceSec: 30,
		Env: map[string]string{"PAYMENT_KEY": `a"b\c`, "PORT": "8080"}}
	st, err := s.Apply(context.Background(), spec, "restart")
	if err != nil || st.State != "running" || st.PID != 4711 {
		t.Fatalf("%+v, %v", st, err)
	}
	raw, err := os.ReadFile(s.unitFile("shop"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`ExecStart="/srv/shop/site/shop" "--title" "50%% \"off\" $$X"`, "TimeoutStopSec=30", "User=shop", "EnvironmentFile=" + s.settingsFile("shop")} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("no %q in\n%s", want, raw)
		}
	}
	if strings.Contains(string(raw), "PAYMENT_KEY") {
		t.Error("the unit holds a setting")
	}
	info, err := os.Stat(s.settingsFile("shop"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("settings: %v, %v; want mode 0600", info, err)
	}
	settings, err := os.ReadFile(s.settingsFile("shop"))
	if err != nil || string(settings) != "PAYMENT_KEY=\"a\\\"b\\\\c\"\nPORT=\"8080\"\n" {
		t.Errorf("settings %q, %v", settings, err)
	}
	called, err := os.ReadFile(calls)
	if err != nil || !strings.HasPrefix(string(called), "daemon-reload\nrestart shop.service\nshow ") {
		t.Errorf("calls:\n%s%v", called, err)
	}
	if strings.Contains(string(called), "a\"b") {
		t.Error("a setting is in an argument list")
	}
	if _, err := s.Apply(context.Background(), task.ServiceSpec{Name: "../x"}, "restart"); err == nil {
		t.Error("a name that leads outside is accepted")
	}
}
