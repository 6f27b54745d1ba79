// Package localvm is the provider of the embedded default: each VM is a folder,
// a loopback address of its own and a session of processes with a real agent.
package localvm

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"penstock.dev/penstock/internal/base/detached"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rootfs"
	"penstock.dev/penstock/internal/domain/environment"
)

// Provider makes and runs local VMs; it implements environment.Provider.
type Provider struct {
	Folder    string // holds a folder for each VM
	Addresses string // CIDR of loopback addresses
	Program   string // this binary
	// Join returns what an agent needs to register for a VM: server URL,
	// organization and a join token.
	Join func(ctx context.Context, vmID string) (server, organization, token string, err error)

	mu sync.Mutex
}

func (p *Provider) dir(m environment.Machine) string { return filepath.Join(p.Folder, m.ID) }

// Start boots a VM, making it if it does not exist, and returns its address.
// It does not wait for the agent.
func (p *Provider) Start(ctx context.Context, m environment.Machine) (address string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	dir := p.dir(m)
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
		return "", fault.Wrap(err, fault.Invalid, "data-not-writable", "cannot write in the data folder").At("%s", dir)
	}
	known, _ := os.ReadFile(filepath.Join(dir, "address"))
	if detached.PID(dir) != 0 {
		return strings.TrimSpace(string(known)), nil
	}
	address, claim, err := p.claim(strings.TrimSpace(string(known)))
	if err != nil {
		return "", err
	}
	defer func() { _ = claim.Close() }()
	if err := rootfs.WriteFile(filepath.Join(dir, "address"), []byte(address), 0o600); err != nil {
		return "", err
	}
	args := []string{p.Program, "agent", "--name", m.Name, "--data", filepath.Join(dir, "agent"), "--vm-data", filepath.Join(dir, "data"), "--supervise"}
	server, organization, token, err := p.Join(ctx, m.ID)
	if err != nil {
		return "", err
	}
	args = append(args, "--server", server, "--org", organization)
	if _, err := os.Stat(filepath.Join(dir, "agent", "agent.json")); err != nil {
		file := filepath.Join(dir, "join-token")
		if err := rootfs.WriteFile(file, []byte(token), 0o600); err != nil {
			return "", err
		}
		args = append(args, "--join-token-file", file)
	}
	// The claim is inherited by the VM's processes and so lasts as long as they.
	return address, detached.Start(detached.Spec{Folder: dir, Args: args, Extra: []*os.File{claim}})
}

// claim takes an address nobody else on this machine uses: the one known from
// before if it can be had.
func (p *Provider) claim(known string) (string, *os.File, error) {
	if known != "" {
		if f := tryClaim(known); f != nil {
			return known, f, nil
		}
	}
	ip, network, err := net.ParseCIDR(p.Addresses)
	if err != nil {
		return "", nil, fault.Wrap(err, fault.Invalid, "invalid-configuration", "vms.local.addresses cannot be read")
	}
	v4 := ip.To4()
	for n := 11; ; n++ {
		next := net.IPv4(v4[0], v4[1], v4[2]+byte(n/250), byte(n%250)+1)
		if !network.Contains(next) {
			return "", nil, fault.New(fault.Unavailable, "no-address", "every address of %s is in use", p.Addresses).Try("delete VMs, or widen vms.local.addresses")
		}
		if f := tryClaim(next.String()); f != nil {
			return next.String(), f, nil
		}
	}
}

// tryClaim takes an address for every installation on this machine: a socket
// with its name, in the same network namespace as the address, that lives as
// long as a process holds it.
func tryClaim(address string) *os.File {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: "@penstock/" + address, Net: "unix"})
	if err != nil {
		return nil
	}
	defer func() { _ = l.Close() }()
	f, err := l.File()
	if err != nil {
		return nil
	}
	return f
}

// Running reports whether a VM's agent runs.
func (p *Provider) Running(m environment.Machine) bool { return detached.PID(p.dir(m)) != 0 }

// Stop shuts a VM down.
func (p *Provider) Stop(ctx context.Context, m environment.Machine) {
	detached.Stop(ctx, p.dir(m), 10*time.Second)
}

// Kill is the power switch.
func (p *Provider) Kill(m environment.Machine) { detached.Kill(p.dir(m)) }

// Delete removes a VM with its disk. Its address stays its own until then.
func (p *Provider) Delete(m environment.Machine) error {
	detached.Kill(p.dir(m))
	return os.RemoveAll(p.dir(m))
}
