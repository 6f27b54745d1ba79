package sshtask

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"penstock.dev/penstock/internal/agent/task/tasktest"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rest"
	"penstock.dev/penstock/internal/domain/securefile"
	"penstock.dev/penstock/internal/domain/serviceconnection"
)

// machine is an OpenSSH server on the loopback address, with a home of its own
// for whoever signs in.
type machine struct {
	port, hostLine, key, home string
	lockedKey                 string // with a passphrase: "open sesame"
}

func newKey(t *testing.T, passphrase string) (private string, public ssh.PublicKey) {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var block *pem.Block
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(priv, "test")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(priv, "test", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	if public, err = ssh.NewPublicKey(pub); err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block)), public
}

func start(t *testing.T) *machine {
	t.Helper()
	program, err := exec.LookPath("sshd")
	if err != nil {
		if program = "/usr/sbin/sshd"; !exists(program) {
			t.Skip("no sshd: install openssh-server (test.sh does)")
		}
	}
	dir := t.TempDir()
	m := &machine{home: filepath.Join(dir, "home")}
	if err := os.MkdirAll(m.home, 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	hostKey, hostPublic := newKey(t, "")
	key, public := newKey(t, "")
	locked, lockedPublic := newKey(t, "open sesame")
	m.key, m.lockedKey = key, locked
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m.port = strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	m.hostLine = "[127.0.0.1]:" + m.port + " " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(hostPublic)))
	write(t, filepath.Join(dir, "host"), hostKey)
	write(t, filepath.Join(dir, "authorized"), string(ssh.MarshalAuthorizedKey(public))+string(ssh.MarshalAuthorizedKey(lockedPublic)))
	const files = "/usr/lib/openssh/sftp-server"
	if !exists(files) {
		t.Skip("no " + files + ": install openssh-sftp-server (test.sh does)")
	}
	// Sessions begin in a folder of the test, not in the home of who runs it.
	write(t, filepath.Join(dir, "shell"), "cd "+m.home+" || exit 1\nexport HOME="+m.home+"\nexec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"\n")
	write(t, filepath.Join(dir, "config"), "HostKey "+filepath.Join(dir, "host")+"\nAuthorizedKeysFile "+filepath.Join(dir, "authorized")+
		"\nStrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\nPasswordAuthentication no\nSubsystem sftp "+files+"\nForceCommand /bin/sh "+filepath.Join(dir, "shell")+"\n")
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
			// As inetd does it: one process for one connection.
			cmd := exec.Command(program, "-i", "-e", "-f", filepath.Join(dir, "config"))
			cmd.Stdin, cmd.Stdout = file, file
			_ = cmd.Start()
			go func() {
				_ = cmd.Wait()
				_ = file.Close()
			}()
		}
	}()
	t.Cleanup(func() { _ = listener.Close() })
	return m
}

func codeOf(err error) string {
	if err == nil {
		return ""
	}
	return fault.CodeOf(err)
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) connection() *serviceconnection.Opened {
	user := "root"
	if name := os.Getenv("USER"); os.Geteuid() != 0 {
		user = name
	}
	return &serviceconnection.Opened{Name: "web-1", Type: "ssh", Scheme: "UsernamePassword", Parameters: map[string]string{"username": user},
		Data: map[string]string{"Host": "127.0.0.1", "Port": m.port, "PrivateKey": m.key, "knownHosts": m.hostLine}}
}

func desk(t *testing.T, conn *serviceconnection.Opened) *tasktest.Desk {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	d := tasktest.New(t)
	d.Connections = []*serviceconnection.Opened{conn}
	return d
}

func TestRemote(t *testing.T) {
	m := start(t)
	for name, k := range map[string]struct {
		inputs map[string]string
		want   string // in the log
		code   string // of the error
		found  string
	}{
		"commands":             {map[string]string{"commands": "echo one; echo two\nexpr 40 + 2"}, "one\n##[command]echo two\ntwo\n##[command]expr 40 + 2\n42\n", "", ""},
		"a command fails":      {map[string]string{"commands": "false\necho never"}, "##[command]false", "exit-code", ""},
		"exit code":            {map[string]string{"commands": "exit 7"}, "", "exit-code", ""},
		"stderr":               {map[string]string{"commands": "echo oh >&2"}, "oh\n", "wrote-stderr", "oh"},
		"stderr is fine":       {map[string]string{"commands": "echo oh >&2", "failOnStdErr": "false"}, "oh\n", "", ""},
		"no commands":          {map[string]string{"commands": " ; "}, "", "input-missing", ""},
		"inline":               {map[string]string{"runOptions": "inline", "inline": "set -e\r\nx='a b'\necho \"$x\" from $0"}, "a b from ./penstock-", "", ""},
		"inline, interpreter":  {map[string]string{"runOptions": "inline", "inline": "echo $0", "interpreterCommand": "/bin/sh"}, "./penstock-", "", ""},
		"script":               {map[string]string{"runOptions": "script", "scriptPath": "it's.sh", "args": "'x y' z"}, "2 args: x y\n", "", ""},
		"no script":            {map[string]string{"runOptions": "script", "scriptPath": "none.sh"}, "", "no-file", ""},
		"commands of the log":  {map[string]string{"commands": "echo '##vso[task.setvariable variable=a]b'"}, "##vso[task.setvariable variable=a]b\n", "", ""},
		"commands are trusted": {map[string]string{"commands": "echo '##vso[task.setvariable variable=a]b'", "enableRemoteVsoCommands": "true"}, "interpreted: ##vso[task", "", ""},
		"terminal":             {map[string]string{"commands": "test -t 0 && echo tty", "interactiveSession": "true", "failOnStdErr": "false"}, "tty", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := desk(t, m.connection())
			d.Write(map[string]string{"it's.sh": "#!/bin/sh\necho $# args: \"$1\"\n"})
			k.inputs["sshEndpoint"] = "web-1"
			err := d.Run("SSH@0", k.inputs)
			if codeOf(err) != k.code || !strings.Contains(d.Log(), k.want) {
				t.Errorf("%v, want %q; log:\n%s\nwant %q", err, k.code, d.Log(), k.want)
			}
			if strings.Contains(d.Log(), "never") {
				t.Error("it went on after a failure")
			}
			if left := tasktest.Files(m.home); strings.Contains(left, ".sh") {
				t.Errorf("left behind: %s", left)
			}
		})
	}
}

func TestWhoAnswers(t *testing.T) {
	m := start(t)
	_, other := newKey(t, "")
	otherLine := "[127.0.0.1]:" + m.port + " " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(other)))
	try := func(t *testing.T, change func(*serviceconnection.Opened), known string) (*tasktest.Desk, error) {
		conn := m.connection()
		change(conn)
		d := desk(t, conn)
		if known != "" {
			write(t, filepath.Join(os.Getenv("HOME"), ".ssh", "known_hosts"), known+"\n")
		}
		return d, d.Run("SSH@0", map[string]string{"sshEndpoint": "web-1", "commands": "echo hello"})
	}
	for name, k := range map[string]struct {
		change func(*serviceconnection.Opened)
		known  string
		code   string
	}{
		"known by the connection": {func(*serviceconnection.Opened) {}, otherLine, ""},
		"unknown":                 {func(c *serviceconnection.Opened) { delete(c.Data, "knownHosts") }, "", "ssh-host-unknown"},
		"known by the user":       {func(c *serviceconnection.Opened) { delete(c.Data, "knownHosts") }, m.hostLine, ""},
		"another key":             {func(c *serviceconnection.Opened) { c.Data["knownHosts"] = otherLine }, m.hostLine, "ssh-host-changed"},
		"any key":                 {func(c *serviceconnection.Opened) { c.Data["acceptAnyHostKey"] = "true" }, "", ""},
		"unreadable":              {func(c *serviceconnection.Opened) { c.Data["knownHosts"] = "x ssh-rsa %%%" }, "", "ssh-known-hosts"},
		"another private key":     {func(c *serviceconnection.Opened) { c.Data["PrivateKey"], _ = newKey(t, "") }, "", "ssh-refused"},
		"passphrase": {func(c *serviceconnection.Opened) {
			c.Data["PrivateKey"], c.Parameters["password"] = m.lockedKey, "open sesame"
		}, "", ""},
		"wrong passphrase":        {func(c *serviceconnection.Opened) { c.Data["PrivateKey"], c.Parameters["password"] = m.lockedKey, "x" }, "", "ssh-key"},
		"no passphrase":           {func(c *serviceconnection.Opened) { c.Data["PrivateKey"] = m.lockedKey }, "", "ssh-key"},
		"key that lost its lines": {func(c *serviceconnection.Opened) { c.Data["PrivateKey"] = strings.ReplaceAll(m.key, "\n", " ") }, "", ""},
		"nothing to sign in with": {func(c *serviceconnection.Opened) { delete(c.Data, "PrivateKey") }, "", "ssh-connection"},
		"nobody":                  {func(c *serviceconnection.Opened) { delete(c.Parameters, "username") }, "", "ssh-connection"},
		"nobody answers":          {func(c *serviceconnection.Opened) { c.Data["Port"] = "1" }, "", "ssh-unreachable"},
		"the host stands in the URL": {func(c *serviceconnection.Opened) {
			delete(c.Data, "Host")
			delete(c.Data, "Port")
			c.URL = "ssh://127.0.0.1:" + m.port
		}, "", ""},
		"data in another spelling": {func(c *serviceconnection.Opened) {
			c.Data["host"], c.Data["port"] = c.Data["Host"], c.Data["Port"]
			delete(c.Data, "Host")
			delete(c.Data, "Port")
		}, "", ""},
		"connection that is not here": {func(c *serviceconnection.Opened) { c.Name = "other" }, "", "no-connection"},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := try(t, k.change, k.known)
			if codeOf(err) != k.code || (err == nil) != strings.Contains(d.Log(), "\nhello\n") {
				t.Errorf("%v, want %q; log:\n%s", err, k.code, d.Log())
			}
			if warned := strings.Contains(strings.Join(d.Issues, " "), "accepts any host key"); warned != (name == "any key") {
				t.Errorf("issues %q", d.Issues)
			}
			if err != nil && strings.Contains(err.Error(), "PRIVATE") {
				t.Error("the error quotes a key")
			}
		})
	}
}

func TestCopyFiles(t *testing.T) {
	m := start(t)
	for name, k := range map[string]struct {
		inputs map[string]string
		want   string // below the home there
		code   string
	}{
		"all":             {map[string]string{"targetFolder": "to"}, "to/a.txt to/keep to/old.txt to/sub/b.txt to/sub/c.md", ""},
		"some":            {map[string]string{"targetFolder": "~/to", "contents": "!**/b.txt\n**/*.txt"}, "to/a.txt to/keep to/old.txt", ""},
		"flat":            {map[string]string{"targetFolder": "to", "flattenFolders": "true", "contents": "sub/**"}, "to/b.txt to/c.md to/keep to/old.txt", ""},
		"cleaned":         {map[string]string{"targetFolder": "to", "cleanTargetFolder": "true", "contents": "*.txt"}, "to/.hidden to/a.txt", ""},
		"all cleaned":     {map[string]string{"targetFolder": "to", "cleanTargetFolder": "true", "cleanHiddenFilesInTarget": "true", "contents": "*.txt"}, "to/a.txt", ""},
		"kept":            {map[string]string{"targetFolder": "to", "contents": "a.txt", "overwrite": "false"}, "to/keep to/old.txt to/a.txt", "file-exists"},
		"nothing":         {map[string]string{"targetFolder": "to", "contents": "*.none"}, "to/keep to/old.txt", ""},
		"nothing, failed": {map[string]string{"targetFolder": "to", "contents": "*.none", "failOnEmptySource": "true"}, "", "no-file"},
		"home, cleaned":   {map[string]string{"targetFolder": "~", "cleanTargetFolder": "true"}, "to/keep", "folder-protected"},
		"no source":       {map[string]string{"sourceFolder": "none"}, "", "no-folder"},
		"source":          {map[string]string{"sourceFolder": "sub", "targetFolder": "to/deep/er"}, "to/deep/er/b.txt to/deep/er/c.md", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.RemoveAll(filepath.Join(m.home, "to")); err != nil {
				t.Fatal(err)
			}
			for _, f := range []string{"keep", "old.txt", ".hidden"} {
				write(t, filepath.Join(m.home, "to", f), "old")
			}
			if name == "kept" {
				write(t, filepath.Join(m.home, "to", "a.txt"), "old")
			}
			d := desk(t, m.connection())
			d.Write(map[string]string{"a.txt": "new", "sub/b.txt": "b", "sub/c.md": "c"})
			k.inputs["sshEndpoint"] = "web-1"
			err := d.Run("CopyFilesOverSSH@0", k.inputs)
			got := " " + tasktest.Files(m.home) + " "
			if codeOf(err) != k.code {
				t.Errorf("%v, want %q", err, k.code)
			}
			for f := range strings.FieldsSeq(k.want) {
				if !strings.Contains(got, " "+f+" ") {
					t.Errorf("%s is missing: %s", f, got)
				}
			}
			if cleaned := strings.Contains(name, "cleaned") && err == nil; cleaned == strings.Contains(got, "to/keep") {
				t.Errorf("there is%s", got)
			}
			if data, _ := os.ReadFile(filepath.Join(m.home, "to", "a.txt")); err == nil && strings.Contains(k.want, "to/a.txt") && string(data) != "new" {
				t.Errorf("a.txt holds %q", data)
			}
		})
	}
}

// TestInstallKey signs in with the program ssh by the key that the task made
// known, and looks at what is left afterwards.
func TestInstallKey(t *testing.T) {
	program, err := exec.LookPath("ssh")
	if err != nil {
		t.Skip("no ssh: install openssh-client")
	}
	m := start(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("ticket") != "t1" || r.URL.Path != "/p/_apis/distributedtask/securefiles/f1" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = w.Write([]byte(m.lockedKey))
	}))
	defer server.Close()
	d := desk(t, m.connection())
	d.Client = &rest.Client{Base: server.URL + "/p", HTTP: server.Client()}
	d.Files = []securefile.Grant{{ID: "f1", Name: "deploy_key", Ticket: "t1"}}
	home := os.Getenv("HOME")
	write(t, filepath.Join(home, ".ssh", "known_hosts"), "other.example ssh-ed25519 AAAA")
	write(t, filepath.Join(home, ".ssh", "config"), "Host *\n  ServerAliveInterval 10\n")
	inputs := map[string]string{"hostName": m.hostLine, "sshKeySecureFile": "deploy_key", "sshPassphrase": "open sesame", "addEntryToConfig": "true",
		"configHostAlias": "web", "configHostname": "127.0.0.1", "configUser": m.connection().Parameters["username"], "configPort": m.port}
	if err := d.Before("InstallSSHKey@0", inputs); err != nil {
		t.Fatal(err)
	}
	if err := d.Run("InstallSSHKey@0", inputs); err != nil {
		t.Fatal(err)
	}
	// ssh takes the home folder from the user database, not from HOME.
	cmd := exec.Command(program, "-F", filepath.Join(home, ".ssh", "config"), "-o", "UserKnownHostsFile="+filepath.Join(home, ".ssh", "known_hosts"), "-o", "BatchMode=yes", "web", "echo signed in")
	cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+d.Vars["ssh_auth_sock"])
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "signed in") {
		t.Errorf("%v: %s", err, out)
	}
	for _, folder := range []string{home, d.Vars["agent.tempdirectory"]} {
		for f := range strings.FieldsSeq(tasktest.Files(folder)) {
			if data, _ := os.ReadFile(filepath.Join(folder, f)); strings.Contains(string(data), "PRIVATE") {
				t.Errorf("%s holds the key", f)
			}
		}
	}
	if err := d.After("InstallSSHKey@0", inputs); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"known_hosts": "other.example ssh-ed25519 AAAA\n", "config": "Host *\n  ServerAliveInterval 10\n"} {
		if data, err := os.ReadFile(filepath.Join(home, ".ssh", name)); err != nil || string(data) != want {
			t.Errorf("%s afterwards: %q, %v", name, data, err)
		}
	}
	if exists(filepath.Dir(d.Vars["ssh_auth_sock"])) {
		t.Error("the socket is still there")
	}
	inputs["configHostAlias"] = "web\nProxyCommand x"
	d.State = map[string]string{}
	if err := d.Before("InstallSSHKey@0", inputs); fault.CodeOf(err) != "input-value" {
		t.Errorf("a line end in the configuration: %v", err)
	}
	if err := d.After("InstallSSHKey@0", inputs); err != nil {
		t.Fatal(err)
	}
}

// TestPassword signs in to a server that takes no keys, by a password and by
// questions.
func TestPassword(t *testing.T) {
	key, public := newKey(t, "")
	signer, err := ssh.ParsePrivateKey([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	right := func(password string) (*ssh.Permissions, error) {
		if password != "open sesame" {
			return nil, errors.New("no")
		}
		return nil, nil
	}
	for name, k := range map[string]struct {
		password, questions string
		asks                bool
		code                string
	}{
		"password": {"open sesame", "false", false, ""}, "wrong": {"x", "false", false, "ssh-refused"}, "questions": {"open sesame", "true", true, ""}, "no answers": {"open sesame", "false", true, "ssh-refused"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := &ssh.ServerConfig{PasswordCallback: func(_ ssh.ConnMetadata, p []byte) (*ssh.Permissions, error) { return right(string(p)) }}
			if k.asks {
				cfg = &ssh.ServerConfig{KeyboardInteractiveCallback: func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
					answers, err := ask("", "", []string{"Password:"}, []bool{false})
					if err != nil || len(answers) != 1 {
						return nil, errors.New("no answer")
					}
					return right(answers[0])
				}}
			}
			cfg.AddHostKey(signer)
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = listener.Close() }()
			go greet(listener, cfg)
			_, port, _ := net.SplitHostPort(listener.Addr().String())
			d := desk(t, &serviceconnection.Opened{Name: "web-1", Parameters: map[string]string{"username": "ada", "password": k.password},
				Data: map[string]string{"Host": "127.0.0.1", "Port": port, "knownHosts": "[127.0.0.1]:" + port + " " + string(ssh.MarshalAuthorizedKey(public))}})
			err = d.Run("SSH@0", map[string]string{"sshEndpoint": "web-1", "commands": "hello", "interactiveKeyboardAuthentication": k.questions})
			if codeOf(err) != k.code || (err == nil) != strings.Contains(d.Log(), "ran hello") {
				t.Errorf("%v, want %q\n%s", err, k.code, d.Log())
			}
			if strings.Contains(d.Log()+fmt.Sprint(err), "sesame") {
				t.Error("the password shows")
			}
		})
	}
}

// greet takes connections and answers every command with its name.
func greet(listener net.Listener, cfg *ssh.ServerConfig) {
	for {
		raw, err := listener.Accept()
		if err != nil {
			return
		}
		conn, channels, requests, err := ssh.NewServerConn(raw, cfg)
		if err != nil {
			continue
		}
		go ssh.DiscardRequests(requests)
		for c := range channels {
			channel, asked, err := c.Accept()
			if err != nil {
				break
			}
			for r := range asked {
				var command struct{ Text string }
				_ = ssh.Unmarshal(r.Payload, &command)
				_ = r.Reply(true, nil)
				_, _ = fmt.Fprintln(channel, "ran "+command.Text)
				_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{}))
				_ = channel.Close()
			}
		}
		_ = conn.Close()
	}
}

func FuzzPrivateKey(f *testing.F) {
	f.Add("-----BEGIN OPENSSH PRIVATE KEY----- b3Bl -----END OPENSSH PRIVATE KEY-----", "x")
	f.Add("-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\n", "")
	f.Fuzz(func(t *testing.T, pem, passphrase string) {
		if _, err := rawKey([]byte(pem), passphrase); err != nil && len(pem) > 20 && strings.Contains(err.Error(), pem) {
			t.Error("the error quotes the key")
		}
	})
}
