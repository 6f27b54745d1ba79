package server

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"sync"
	"time"

	"penstock.dev/penstock/internal/adapter/localvm"
	"penstock.dev/penstock/internal/base/detached"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rootfs"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/identity"
)

// machines connects VM resources with the provider that runs them.
type machines struct {
	server   *Server
	provider environment.Provider
}

const localProvider = "local"

func (m *machines) open() error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	m.provider = &localvm.Provider{Folder: filepath.Join(m.server.cfg.Data, "vms"), Addresses: m.server.cfg.VMs.Local.Addresses, Program: program, Join: m.join}
	return nil
}

func (m *machines) join(ctx context.Context, vmID string) (string, string, string, error) {
	s := m.server
	secret, _, err := s.identity.IssueToken(ctx, identity.Token{Kind: identity.JoinToken, Name: "vm " + vmID, VM: vmID, Expires: s.clock.Now().Add(time.Hour)})
	return s.URL(), s.cfg.Organization, secret, err
}

func machine(v *environment.VM) environment.Machine {
	return environment.Machine{ID: v.ID, Name: v.Name}
}

// Ensure implements application.Machines: the machine is made and started.
func (m *machines) Ensure(ctx context.Context, v *environment.VM) (string, error) {
	address, err := m.provider.Start(ctx, machine(v))
	if err != nil {
		return "", err
	}
	_, err = m.server.environments.ChangeVM(ctx, v.ID, func(v *environment.VM) {
		v.Address, v.Provider, v.State = address, localProvider, environment.VMRunning
	})
	return address, err
}

func (m *machines) get(ctx context.Context, vmID string) (*environment.VM, error) {
	v, err := m.server.environments.VMs.Get(ctx, vmID)
	if err != nil {
		return nil, err
	}
	if v.Provider != localProvider || m.provider == nil {
		return nil, fault.New(fault.Invalid, "no-provider", "VM %s was registered by hand; no provider runs it", v.Name).Try("start or stop it where it runs")
	}
	return v, nil
}

func (m *machines) set(ctx context.Context, v *environment.VM, state environment.VMState, action string) error {
	return m.server.db.InTx(ctx, func(ctx context.Context) error {
		if _, err := m.server.environments.ChangeVM(ctx, v.ID, func(v *environment.VM) { v.State = state }); err != nil {
			return err
		}
		return m.server.audit.Record(ctx, identity.From(ctx).Name, "vm."+action, "vm "+v.Name, "")
	})
}

// Start boots a machine.
func (m *machines) Start(ctx context.Context, vmID string) error {
	v, err := m.get(ctx, vmID)
	if err != nil {
		return err
	}
	if err := m.boot(ctx, v); err != nil {
		return err
	}
	return m.set(ctx, v, environment.VMRunning, "start")
}

// Stop shuts a machine down.
func (m *machines) Stop(ctx context.Context, vmID string) error {
	v, err := m.get(ctx, vmID)
	if err != nil {
		return err
	}
	m.provider.Stop(ctx, machine(v))
	m.server.pools.Gone(v.AgentID)
	return m.set(ctx, v, environment.VMStopped, "stop")
}

// Kill switches a machine off.
func (m *machines) Kill(ctx context.Context, vmID string) error {
	v, err := m.get(ctx, vmID)
	if err != nil {
		return err
	}
	m.provider.Kill(machine(v))
	m.server.pools.Gone(v.AgentID)
	return m.set(ctx, v, environment.VMStopped, "kill")
}

// Recreate replaces a machine by a new one of the same name and address.
func (m *machines) Recreate(ctx context.Context, vmID string) error {
	v, err := m.get(ctx, vmID)
	if err != nil {
		return err
	}
	if err := m.provider.Delete(machine(v)); err != nil {
		return err
	}
	if err := m.boot(ctx, v); err != nil {
		return err
	}
	return m.set(ctx, v, environment.VMRunning, "recreate")
}

// boot starts a machine. If its address was taken meanwhile it has another one,
// and its application follows.
func (m *machines) boot(ctx context.Context, v *environment.VM) error {
	address, err := m.provider.Start(ctx, machine(v))
	if err != nil || address == v.Address {
		return err
	}
	m.server.log.Warn("a VM has another address", "vm", v.Name, "was", v.Address, "is", address)
	if _, err := m.server.environments.ChangeVM(ctx, v.ID, func(v *environment.VM) { v.Address = address }); err != nil {
		return err
	}
	return m.server.apps.SyncAddresses(ctx)
}

// resume starts the machines that ran when the server last stopped.
func (m *machines) resume(ctx context.Context) error {
	all, err := m.server.environments.VMs.Find(ctx, store.Query{})
	if err != nil {
		return err
	}
	for _, v := range all {
		if v.Provider != localProvider || v.State != environment.VMRunning {
			continue
		}
		if err := m.boot(ctx, v); err != nil {
			m.server.log.Error("VM cannot be started", "vm", v.Name, "error", err)
		}
	}
	return nil
}

// haltAll ends the local machines and the embedded agent with the server.
func (s *Server) haltAll(ctx context.Context) {
	folders, _ := filepath.Glob(filepath.Join(s.cfg.Data, "vms", "*"))
	folders = append(folders, s.agentFolder())
	s.agent.Lock()
	s.agent.halted = true
	s.agent.Unlock()
	done := make(chan struct{})
	for _, f := range folders {
		go func() {
			detached.Stop(ctx, f, 15*time.Second)
			done <- struct{}{}
		}()
	}
	for range folders {
		<-done
	}
}

func (s *Server) agentFolder() string { return filepath.Join(s.cfg.Data, "agents", "embedded") }

// embedded is the agent that comes with the server.
type embedded struct {
	sync.Mutex
	halted bool // the server stops, and its agent with it
}

// lookAfterAgent starts the embedded agent again when it has ended. One that
// ends at once is given longer and longer pauses, up to a minute.
func (s *Server) lookAfterAgent(ctx context.Context) error {
	const least, most = time.Second, time.Minute
	wait := least
	for {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		if detached.PID(s.agentFolder()) != 0 {
			wait = least
			continue
		}
		if err := s.startAgent(identity.With(ctx, identity.System())); err != nil {
			s.log.Error("the embedded agent cannot be started", "error", err)
		}
		wait = min(wait*2, most)
	}
}

// startAgent runs the embedded agent, unless the one of before still does.
func (s *Server) startAgent(ctx context.Context) error {
	s.agent.Lock()
	defer s.agent.Unlock()
	if s.agent.halted {
		return nil
	}
	if _, err := s.pools.EnsurePool(ctx, "default"); err != nil {
		return err
	}
	folder := s.agentFolder()
	if detached.PID(folder) != 0 {
		return nil
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	args := []string{program, "agent", "--name", "embedded", "--data", folder, "--server", s.URL(), "--org", s.cfg.Organization, "--jobs", itoa(s.cfg.Agent.Jobs)}
	if _, err := os.Stat(filepath.Join(folder, "agent.json")); err != nil {
		secret, _, err := s.identity.IssueToken(ctx, identity.Token{Kind: identity.JoinToken, Name: "embedded", Pool: "default", Expires: s.clock.Now().Add(time.Hour)})
		if err != nil {
			return err
		}
		file := filepath.Join(folder, "join-token")
		if err := rootfs.WriteFile(file, []byte(secret), 0o600); err != nil {
			return err
		}
		args = append(args, "--join-token-file", file)
	}
	var env []string
	if s.cfg.Trace.File != "" {
		env = append(env, "PENSTOCK_TRACE_FILE="+s.cfg.Trace.File)
	}
	// It runs on this machine, so that it finds the tasks and programs of it.
	env = append(env, "PENSTOCK_TASKS="+cmp.Or(os.Getenv("PENSTOCK_TASKS"), filepath.Join(s.cfg.Data, "tasks")), "PENSTOCK_NODE="+os.Getenv("PENSTOCK_NODE"))
	return detached.Start(detached.Spec{Folder: folder, Args: args, Env: env})
}
