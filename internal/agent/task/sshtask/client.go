// Package sshtask holds the tasks that work on other machines by SSH. No program
// of the machine is called: host keys, keys and passwords are handled here.
package sshtask

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/serviceconnection"
)

// dial signs in where a connection of type ssh points.
func dial(ctx context.Context, c *task.Context) (*ssh.Client, error) {
	conn, err := c.Connect("sshEndpoint")
	if err != nil {
		return nil, err
	}
	ready, err := strconv.Atoi(c.Input("readyTimeout"))
	if err != nil || ready <= 0 {
		return nil, fault.New(fault.Invalid, "invalid-duration", "readyTimeout is a number of milliseconds").Got("%q", c.Input("readyTimeout"))
	}
	host := conn.Datum("host")
	if host == "" {
		host = strings.TrimPrefix(strings.TrimPrefix(conn.URL, "ssh://"), "tcp://")
	}
	port := conn.Datum("port")
	if h, p, err := net.SplitHostPort(host); err == nil {
		host = h
		if port == "" {
			port = p
		}
	}
	if port == "" {
		port = "22"
	}
	user := conn.Parameter("username")
	if host == "" || user == "" {
		return nil, fault.New(fault.Invalid, "ssh-connection", "service connection %s does not say where to sign in", conn.Name).
			Want("data Host (and Port), parameter username").Got("host %q, user %q", host, user)
	}
	how, err := methods(c, conn)
	if err != nil {
		return nil, err
	}
	address := net.JoinHostPort(host, port)
	check, algorithms, err := hostKeys(c, conn, address)
	if err != nil {
		return nil, err
	}
	limit := time.Duration(ready) * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c.Printf("Trying to establish an SSH connection to %s@%s", user, address)
	client, err := connect(ctx, address, &ssh.ClientConfig{User: user, Auth: how, HostKeyCallback: check, HostKeyAlgorithms: algorithms, ClientVersion: "SSH-2.0-Penstock"})
	if err != nil {
		return nil, refused(ctx, err, address, limit)
	}
	c.Print("Successfully connected.")
	return client, nil
}

// connect ends with ctx, also while keys are exchanged.
func connect(ctx context.Context, address string, cfg *ssh.ClientConfig) (*ssh.Client, error) {
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	conn, channels, requests, err := ssh.NewClientConn(raw, address, cfg)
	if err != nil {
		stop()
		return nil, errors.Join(err, raw.Close())
	}
	if !stop() {
		return nil, errors.Join(ctx.Err(), conn.Close())
	}
	return ssh.NewClient(conn, channels, requests), nil
}

func refused(ctx context.Context, err error, address string, limit time.Duration) error {
	var known *fault.Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fault.New(fault.Unavailable, "ssh-unreachable", "%s did not answer within %s", address, limit).Try("raise readyTimeout, or look at host, port and firewall")
	case strings.Contains(err.Error(), "unable to authenticate"):
		return fault.New(fault.Denied, "ssh-refused", "%s refuses the user of the service connection", address).Got("%s", err).Try("look at username, and password or private key")
	}
	return fault.New(fault.Unavailable, "ssh-unreachable", "no SSH connection to %s", address).Got("%s", err)
}

// methods are the ways to sign in: a private key wins, its passphrase is the
// password, as on the service.
func methods(c *task.Context, conn *serviceconnection.Opened) ([]ssh.AuthMethod, error) {
	password := conn.Parameter("password")
	if key := conn.Datum("privateKey"); strings.TrimSpace(key) != "" {
		signer, err := parseKey([]byte(key), password)
		if err != nil {
			return nil, err
		}
		return []ssh.AuthMethod{ssh.PublicKeys(signer)}, nil
	}
	if password == "" {
		return nil, fault.New(fault.Invalid, "ssh-connection", "service connection %s has neither a private key nor a password", conn.Name).Want("data PrivateKey, or parameter password")
	}
	list := []ssh.AuthMethod{ssh.Password(password)}
	if c.Bool("interactiveKeyboardAuthentication") {
		list = append(list, ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
			answers := make([]string, len(questions))
			for i := range answers {
				answers[i] = password
			}
			return answers, nil
		}))
	}
	return list, nil
}

// parseKey reads a private key; one that lost its line ends on the way through a
// form is mended.
func parseKey(pem []byte, passphrase string) (ssh.Signer, error) {
	raw, err := rawKey(pem, passphrase)
	if err != nil {
		return nil, err
	}
	return ssh.NewSignerFromKey(raw)
}

func rawKey(pem []byte, passphrase string) (any, error) {
	text := mended(string(pem))
	raw, err := ssh.ParseRawPrivateKey([]byte(text))
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) && passphrase != "" {
		raw, err = ssh.ParseRawPrivateKeyWithPassphrase([]byte(text), []byte(passphrase))
	}
	if err != nil {
		// The cause may quote what it cannot read.
		e := fault.New(fault.Invalid, "ssh-key", "the private key cannot be read").Want("a key as ssh-keygen writes it: RSA, ECDSA or Ed25519")
		if errors.As(err, &locked) {
			return nil, e.Got("one with a passphrase").Try("give the passphrase")
		}
		return nil, e.Try("does the passphrase belong to it?")
	}
	return raw, nil
}

func mended(text string) string {
	text = strings.ReplaceAll(strings.TrimSpace(strings.ReplaceAll(text, "\r", "")), `\n`, "\n")
	if strings.Contains(text, "\n") {
		return text + "\n"
	}
	const dashes = "-----"
	parts := strings.Split(text, dashes)
	if len(parts) != 5 {
		return text
	}
	return dashes + parts[1] + dashes + "\n" + strings.Join(strings.Fields(parts[2]), "\n") + "\n" + dashes + parts[3] + dashes + "\n"
}

// hostKeys decides which key of the other machine is right: one that the
// connection's own data knownHosts lists, else one of the known_hosts of the
// agent's user, which InstallSSHKey adds to. There is no trust on first use.
func hostKeys(c *task.Context, conn *serviceconnection.Opened, address string) (ssh.HostKeyCallback, []string, error) {
	if strings.EqualFold(conn.Datum("acceptAnyHostKey"), "true") {
		c.Warn("service connection %s accepts any host key: whoever answers at %s gets what is sent there", conn.Name, address)
		return ssh.InsecureIgnoreHostKey(), nil, nil //nolint:gosec // the connection says so, and the log too
	}
	var files []string
	if own := strings.TrimSpace(conn.Datum("knownHosts")); own != "" {
		name, err := c.TempFile("known_hosts-*", strings.ReplaceAll(own, "\r", "")+"\n", 0o600)
		if err != nil {
			return nil, nil, err
		}
		files = []string{name}
	} else if home, err := os.UserHomeDir(); err == nil {
		if name := filepath.Join(home, ".ssh", "known_hosts"); exists(name) {
			files = []string{name}
		}
	}
	check, err := knownhosts.New(files...)
	if err != nil {
		return nil, nil, fault.New(fault.Invalid, "ssh-known-hosts", "the known hosts cannot be read").Got("%s", err).Want("lines such as: host ssh-ed25519 AAAA…")
	}
	judge := func(host string, remote net.Addr, key ssh.PublicKey) error {
		return explain(check(host, remote, key), conn.Name, address, key)
	}
	return judge, offered(check, address), nil
}

func explain(err error, name, address string, key ssh.PublicKey) error {
	var unknown *knownhosts.KeyError
	if !errors.As(err, &unknown) {
		return err
	}
	line := knownhosts.Line([]string{knownhosts.Normalize(address)}, key)
	if len(unknown.Want) > 0 {
		return fault.New(fault.Denied, "ssh-host-changed", "%s shows another host key than the one that is known", address).Got("%s", ssh.FingerprintSHA256(key)).
			Try("somebody may be in between. If the machine is new, replace its line by: %s", line)
	}
	return fault.New(fault.Denied, "ssh-host-unknown", "the host key of %s is not known", address).Got("%s", ssh.FingerprintSHA256(key)).
		Try("if that is the machine's key, put this line into the data knownHosts of service connection %s, or into known_hosts of the agent's user: %s", name, line)
}

// offered asks the other machine for a key of a kind that is known, where one
// is: it may have several.
func offered(check ssh.HostKeyCallback, address string) []string {
	var unknown *knownhosts.KeyError
	if err := check(address, &net.TCPAddr{IP: net.IPv4zero}, nobody{}); !errors.As(err, &unknown) {
		return nil
	}
	var list []string
	for _, k := range unknown.Want {
		if t := k.Key.Type(); t == ssh.KeyAlgoRSA {
			list = append(list, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		} else {
			list = append(list, t)
		}
	}
	return list
}

// nobody is a key that no host has.
type nobody struct{}

func (nobody) Type() string                        { return "nobody" }
func (nobody) Marshal() []byte                     { return []byte(base64.StdEncoding.EncodeToString([]byte("nobody"))) }
func (nobody) Verify([]byte, *ssh.Signature) error { return fmt.Errorf("nobody signs") }

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
