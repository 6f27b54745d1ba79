package e2e

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/crypto/ssh"
)

// sshd starts an OpenSSH server on the loopback address whose sessions begin in
// the folder remote, and leaves id_key and known_hosts; $SSHPORT and $SSHUSER
// say where and who.
func sshd(ts *testscript.TestScript, _ bool, _ []string) {
	const program, files = "/usr/sbin/sshd", "/usr/lib/openssh/sftp-server"
	dir, home := ts.MkAbs("sshd"), ts.MkAbs("remote")
	for _, d := range []string{dir, home, "/run/sshd"} {
		if err := os.MkdirAll(d, 0o755); err != nil && d != "/run/sshd" {
			ts.Check(err)
		}
	}
	put := func(name, text string) { ts.Check(os.WriteFile(name, []byte(text), 0o600)) }
	key := func(file string) string {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		ts.Check(err)
		block, err := ssh.MarshalPrivateKey(private, "")
		ts.Check(err)
		put(file, string(pem.EncodeToMemory(block)))
		p, err := ssh.NewPublicKey(public)
		ts.Check(err)
		return string(ssh.MarshalAuthorizedKey(p))
	}
	host := key(filepath.Join(dir, "host"))
	put(filepath.Join(dir, "authorized"), key(ts.MkAbs("id_key")))
	put(filepath.Join(dir, "shell"), "cd "+home+" || exit 1\nexport HOME="+home+"\nexec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"\n")
	put(filepath.Join(dir, "config"), "HostKey "+filepath.Join(dir, "host")+"\nAuthorizedKeysFile "+filepath.Join(dir, "authorized")+
		"\nStrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\nSubsystem sftp "+files+"\nForceCommand /bin/sh "+filepath.Join(dir, "shell")+"\n")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = listener.Close() })
	_, port, err := net.SplitHostPort(listener.Addr().String())
	ts.Check(err)
	put(ts.MkAbs("known_hosts"), "[127.0.0.1]:"+port+" "+host)
	user := "root"
	if os.Geteuid() != 0 {
		user = os.Getenv("USER")
	}
	ts.Setenv("SSHPORT", port)
	ts.Setenv("SSHUSER", user)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			file, err := conn.(*net.TCPConn).File()
			if err != nil {
				return
			}
			_ = conn.Close()
			cmd := exec.Command(program, "-i", "-e", "-f", filepath.Join(dir, "config"))
			cmd.Stdin, cmd.Stdout = file, file
			_ = cmd.Start()
			go func() {
				_ = cmd.Wait()
				_ = file.Close()
			}()
		}
	}()
}

// hook starts a service that server tasks call: it writes what it was asked into
// hook.log, and after a call of /later says to the server that the task failed,
// or succeeded where the body says so. $HOOK is its address.
func hook(ts *testscript.TestScript, _ bool, _ []string) {
	name := ts.MkAbs("hook.log")
	var mu sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		user, password, _ := r.BasicAuth()
		mu.Lock()
		f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err == nil {
			_, _ = fmt.Fprintf(f, "%s %s %s:%s %s\n", r.Method, r.URL, user, password, body)
			_ = f.Close()
		}
		mu.Unlock()
		if r.URL.Path == "/later" {
			go tell(r.Header, string(body))
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"state":"ready","count":2,"echo":%q}`, body)
	}))
	ts.Defer(server.Close)
	ts.Setenv("HOOK", server.URL)
}

// tell sends the event by which a called service ends a task.
func tell(h http.Header, body string) {
	result := "failed"
	if strings.Contains(body, "succeed") {
		result = "succeeded"
	}
	event := fmt.Sprintf(`{"name":"TaskCompleted","taskId":%q,"jobId":%q,"result":%q}`, h.Get("TaskInstanceId"), h.Get("JobId"), result)
	address := h.Get("PlanUrl") + h.Get("ProjectId") + "/_apis/distributedtask/hubs/" + h.Get("HubName") + "/plans/" + h.Get("PlanId") + "/events?api-version=2.0-preview.1"
	r, err := http.NewRequest(http.MethodPost, address, bytes.NewReader([]byte(event)))
	if err != nil {
		return
	}
	r.Header.Set("Content-Type", "application/json")
	r.SetBasicAuth("", h.Get("AuthToken"))
	if res, err := http.DefaultClient.Do(r); err == nil {
		_ = res.Body.Close()
	}
}
