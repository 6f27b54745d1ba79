package sshtask

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/base/rootfs"
)

// keyrings are those of the jobs of this process, by the path of their socket.
var keyrings sync.Map

// keyring answers programs that ask for keys. It lives in this process for as
// long as the job: the key lies in no file.
type keyring struct {
	agent.Agent
	listener net.Listener
	dir      string
}

func openKeyring() (*keyring, error) {
	// The path of a socket is short: not below the work folder.
	dir, err := os.MkdirTemp("", "penstock-ssh-")
	if err != nil {
		return nil, err
	}
	k := &keyring{Agent: agent.NewKeyring(), dir: dir}
	if k.listener, err = net.Listen("unix", filepath.Join(dir, "agent")); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	go func() {
		for {
			conn, err := k.listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = agent.ServeAgent(k, conn)
				_ = conn.Close()
			}()
		}
	}()
	return k, nil
}

func (k *keyring) close() error {
	return errors.Join(k.listener.Close(), k.RemoveAll(), os.RemoveAll(k.dir))
}

const (
	socketState = "socket"
	markState   = "mark"
)

// install makes the key of a secure file known to ssh, git and their like for
// the rest of the job, before its first step.
func install(ctx context.Context, c *task.Context) error {
	if runtime.GOOS == "windows" {
		return fault.New(fault.Invalid, "unsupported-system", "InstallSSHKey does not work on agents on Windows").Try("use the tasks SSH and CopyFilesOverSSH, which sign in themselves")
	}
	known, err := c.Need("hostName")
	if err != nil {
		return err
	}
	key, err := readKey(ctx, c)
	if err != nil {
		return err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return fault.New(fault.Invalid, "ssh-key", "the private key cannot be used").Want("RSA, ECDSA or Ed25519")
	}
	public := bytes.TrimSpace(ssh.MarshalAuthorizedKey(signer.PublicKey()))
	if given := strings.Fields(c.Input("sshPublicKey")); len(given) > 1 && !strings.Contains(string(public), given[1]) {
		c.Warn("sshPublicKey does not belong to the private key; the private key counts")
	}
	ring, err := openKeyring()
	if err != nil {
		return err
	}
	c.State[socketState], c.State[markState] = ring.listener.Addr().String(), "penstock-"+id.New()
	keyrings.Store(c.State[socketState], ring)
	if err := ring.Add(agent.AddedKey{PrivateKey: key, Comment: c.Input("sshKeySecureFile")}); err != nil {
		return err
	}
	if err := enter(c, known, public); err != nil {
		return err
	}
	c.Export("SSH_AUTH_SOCK", c.State[socketState])
	c.Printf("The key %s is known to ssh until the job ends.", ssh.FingerprintSHA256(signer.PublicKey()))
	return nil
}

func readKey(ctx context.Context, c *task.Context) (any, error) {
	file, err := c.Fetch(ctx, "sshKeySecureFile")
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(file)
	if err = errors.Join(err, os.Remove(file)); err != nil {
		return nil, err
	}
	return rawKey(pem, c.Input("sshPassphrase"))
}

// installed is the step itself, at its place in the job: the work is done.
func installed(_ context.Context, c *task.Context) error {
	if c.State[socketState] == "" {
		return fault.New(fault.Invalid, "ssh-key", "the key was not installed before the job; what its log says above is why")
	}
	c.Printf("The key was installed before the first step: SSH_AUTH_SOCK is %s.", c.State[socketState])
	return nil
}

func uninstall(_ context.Context, c *task.Context) error {
	var err error
	if ring, ok := keyrings.LoadAndDelete(c.State[socketState]); ok {
		err = ring.(*keyring).close()
	}
	mark := c.State[markState]
	if mark == "" {
		return err
	}
	for _, name := range []string{"known_hosts", "config"} {
		err = errors.Join(err, edit(c, name, func(old string) string { return without(old, mark) }))
	}
	return err
}

// enter adds to known_hosts and config of the agent's user. Every line that is
// added ends in the mark of this step, or stands between two of them: other jobs
// of the same user add their own.
func enter(c *task.Context, known string, public []byte) error {
	mark := c.State[markState]
	var b strings.Builder
	for line := range strings.Lines(strings.ReplaceAll(known, "\r", "")) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			b.WriteString(line + " " + mark + "\n")
		}
	}
	if err := edit(c, "known_hosts", func(old string) string { return ended(old) + b.String() }); err != nil {
		return err
	}
	if !c.Bool("addEntryToConfig") {
		return nil
	}
	file, err := c.TempFile("ssh-key-*.pub", string(public)+"\n", 0o600)
	if err != nil {
		return err
	}
	entry, err := configEntry(c, file)
	if err != nil {
		return err
	}
	return edit(c, "config", func(old string) string { return "# begin " + mark + "\n" + entry + "# end " + mark + "\n" + old })
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9._:@%*?\[\]-]+$`)

func configEntry(c *task.Context, file string) (string, error) {
	text := ""
	for _, k := range []struct {
		key, input string
		needed     bool
	}{{"Host", "configHostAlias", true}, {"HostName", "configHostname", true}, {"User", "configUser", false}, {"Port", "configPort", false}} {
		value := c.Input(k.input)
		if value == "" && !k.needed {
			continue
		}
		if !plainWord.MatchString(value) {
			return "", fault.New(fault.Invalid, "input-value", "%s is not usable in an SSH configuration", k.input).Got("%q", value).Want("one word of letters, digits and ._:@%%*?-")
		}
		text += k.key + " " + value + "\n"
	}
	return text + "IdentityFile \"" + file + "\"\nIdentitiesOnly yes\nMatch all\n", nil
}

func ended(text string) string {
	if text != "" && !strings.HasSuffix(text, "\n") {
		return text + "\n"
	}
	return text
}

// without takes out the lines that end in a mark, and those between two of them.
func without(text, mark string) string {
	var kept []string
	inside := false
	for line := range strings.Lines(text) {
		switch bare := strings.TrimSpace(line); {
		case bare == "# begin "+mark:
			inside = true
		case bare == "# end "+mark:
			inside = false
		case inside || strings.HasSuffix(bare, " "+mark):
		default:
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// editing is for the jobs of this process, the folder beside the file for those
// of others.
var editing sync.Mutex

const staleLock = 10 * time.Second

// edit replaces a file below ~/.ssh as a whole. One that would be empty goes.
func edit(c *task.Context, name string, change func(old string) string) error {
	editing.Lock()
	defer editing.Unlock()
	home, err := os.UserHomeDir()
	if err != nil {
		return err
	}
	dir := filepath.Join(home, ".ssh")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	lock := filepath.Join(dir, "."+name+".penstock")
	for {
		err := os.Mkdir(lock, 0o700)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		if info, err := os.Stat(lock); err == nil && time.Since(info.ModTime()) > staleLock {
			_ = os.Remove(lock) // of an agent that was killed
			continue
		}
		<-c.After(20 * time.Millisecond)
	}
	defer func() { _ = os.Remove(lock) }()
	file := filepath.Join(dir, name)
	if real, err := filepath.EvalSymlinks(file); err == nil {
		file = real
	}
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	text := change(string(old))
	switch {
	case text == string(old):
		return nil
	case text == "":
		return os.Remove(file)
	}
	return rootfs.WriteFile(file, []byte(text), 0o600)
}
