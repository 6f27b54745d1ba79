package confine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/base/fault"
)

// TestMain is also what runs inside: it runs the lines of its stdin with a shell
// and reports what they print.
func TestMain(m *testing.M) {
	if _, inside := Inside(); inside {
		script, _ := io.ReadAll(os.Stdin)
		cmd := exec.Command("/bin/sh", "-c", string(script))
		cmd.Stdout, cmd.Stderr = Output(), Output()
		if err := cmd.Run(); err != nil {
			os.Exit(3)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// within runs a script in a cell and returns what it printed.
func within(t *testing.T, s Spec, script string) string {
	t.Helper()
	var console bytes.Buffer
	s.Role, s.Console = "shell", &console
	if s.Work == "" {
		s.Work = t.TempDir()
	}
	s.Env = append(s.Env, "PATH=/usr/local/bin:/usr/bin:/bin")
	c, err := Start(s)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c.In, script)
	_ = c.In.Close()
	out, err := io.ReadAll(c.Out)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil && !strings.HasSuffix(script, "|| true") {
		t.Errorf("the script ended with %v\n%s\n%s", err, out, console.String())
	}
	return string(out)
}

func possible(t *testing.T) {
	t.Helper()
	if err := Check(); err != nil {
		t.Skipf("this kernel does not let us: %v", err)
	}
}

func TestCellIsUnprivileged(t *testing.T) {
	possible(t)
	got := within(t, Spec{}, `id -u; grep -E 'Cap(Eff|Prm|Inh|Bnd|Amb)|NoNewPrivs' /proc/self/status | tr -d '\t'; hostname; ps -e 2>/dev/null | wc -l`)
	who := "65534"
	if os.Getuid() != 0 {
		who = fmt.Sprint(os.Getuid())
	}
	want := who + "\nCapInh:0000000000000000\nCapPrm:0000000000000000\nCapEff:0000000000000000\nCapBnd:0000000000000000\nCapAmb:0000000000000000\nNoNewPrivs:1\npenstock\n"
	if !strings.HasPrefix(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, forbidden := range []string{"mount -t tmpfs none /mnt", "chroot / true", "hostname other"} {
		if got := within(t, Spec{}, "if "+forbidden+" 2>/dev/null; then echo allowed; else echo refused; fi"); got != "refused\n" {
			t.Errorf("%s: %s", forbidden, got)
		}
	}
}

func TestCellSeesItsWorkFolderOnly(t *testing.T) {
	possible(t)
	work, secret, tools := t.TempDir(), t.TempDir(), t.TempDir()
	for name, text := range map[string]string{filepath.Join(secret, "agent.json"): "key", filepath.Join(tools, "tool"): "tool", filepath.Join(work, "there"): "work"} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(tools, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AGENT_SECRET", "in the environment")
	script := strings.NewReplacer("WORK", work, "SECRET", secret, "TOOLS", tools).Replace(`
cat WORK/there; echo; echo made > WORK/made
cat TOOLS/tool; echo
touch TOOLS/new 2>/dev/null || echo tools are read only
cat SECRET/agent.json 2>/dev/null || echo no agent files
touch /usr/x 2>/dev/null || echo system is read only
cat /proc/1/environ | tr '\0' '\n' | grep -c AGENT_SECRET
env | grep -c AGENT_SECRET
ls /root /home /var/lib 2>/dev/null | wc -l
ls / | tr '\n' ' '
exit 0`)
	got := within(t, Spec{Work: work, ReadOnly: []string{tools, "/does/not/exist"}}, script)
	want := "work\ntool\ntools are read only\nno agent files\nsystem is read only\n0\n0\n0\n"
	if !strings.HasPrefix(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if data, err := os.ReadFile(filepath.Join(work, "made")); err != nil || string(data) != "made\n" {
		t.Errorf("what was written in the work folder: %q, %v", data, err)
	}
}

func TestCellReachesWhatItMay(t *testing.T) {
	possible(t)
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	hello := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello\n") }))
	defer hello.Close()
	hidden := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hidden\n") }))
	defer hidden.Close()
	got := within(t, Spec{Reach: []string{strings.TrimPrefix(hello.URL, "http://")}}, strings.NewReplacer("HELLO", hello.URL, "HIDDEN", hidden.URL).Replace(`
curl -s HELLO
curl -s --proxytunnel HELLO
curl -s -o /dev/null -w '%{http_code}\n' HIDDEN
curl -s --noproxy '*' -o /dev/null -w '%{http_code}\n' HIDDEN
curl -s -o /dev/null -w '%{http_code}\n' http://169.254.169.254/latest/meta-data/
exit 0`))
	if want := "hello\nhello\n403\n000\n403\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestCellIsBounded(t *testing.T) {
	possible(t)
	c, err := Start(Spec{Role: "shell", Work: t.TempDir(), Env: []string{"PATH=/usr/bin:/bin"}, Limits: Limits{Memory: 64 << 20, Processes: 40}})
	if err != nil {
		t.Fatal(err)
	}
	if c.Unlimited != "" {
		c.Kill()
		_ = c.Wait()
		t.Skip(c.Unlimited)
	}
	_, _ = io.WriteString(c.In, `head -c 300000000 /dev/zero | tail >/dev/null && echo too much memory
i=0; while [ $i -lt 100 ]; do sleep 100 & i=$((i+1)); done 2>/dev/null; echo started; exit 0`)
	_ = c.In.Close()
	out, err := io.ReadAll(io.LimitReader(c.Out, 1000))
	if err != nil {
		t.Fatal(err)
	}
	c.Kill()
	_ = c.Wait()
	if strings.Contains(string(out), "too much memory") || strings.Contains(string(out), "started") {
		t.Errorf("it went beyond its bounds: %s", out)
	}
}

func TestKillEndsEverything(t *testing.T) {
	possible(t)
	work := t.TempDir()
	c, err := Start(Spec{Role: "shell", Work: work, Env: []string{"PATH=/usr/bin:/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c.In, "(setsid sh -c 'exec sleep 1000' &) ; echo up; sleep 1000")
	_ = c.In.Close()
	var said [3]byte
	if _, err := io.ReadFull(c.Out, said[:]); err != nil {
		t.Fatal(err)
	}
	c.Kill()
	_ = c.Wait()
	// The output is held by everything inside: it ends when the last has.
	if rest, err := io.ReadAll(c.Out); err != nil || len(rest) > 0 {
		t.Errorf("%q %v", rest, err)
	}
}

func TestPublic(t *testing.T) {
	for text, want := range map[string]bool{"1.1.1.1": true, "2606:4700::1111": true, "127.0.0.1": false, "10.1.2.3": false, "192.168.0.1": false, "172.16.9.9": false,
		"169.254.169.254": false, "100.100.100.200": false, "192.0.0.192": false, "0.0.0.0": false, "::1": false, "fe80::1": false, "fd00:ec2::254": false,
		"224.0.0.1": false, "255.255.255.255": false, "::ffff:169.254.169.254": false, "64:ff9b::a9fe:a9fe": false, "2002:a9fe:a9fe::": false, "::": false} {
		if got := public(netip.MustParseAddr(text).Unmap()); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestProxyRefusesNames(t *testing.T) {
	p := &proxy{}
	for _, address := range []string{"localhost:80", "127.0.0.1:22", "[::1]:80", "169.254.169.254:80"} {
		if conn, err := p.dial(context.Background(), "tcp", address); !fault.Is(err, fault.Denied) {
			t.Errorf("%s: %v, %v", address, conn, err)
		}
	}
	if _, err := p.dial(context.Background(), "tcp", "no port"); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	p.reach = []string{l.Addr().String()}
	conn, err := p.dial(context.Background(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}
