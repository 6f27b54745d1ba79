package server

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/detached"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/application"
	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/pipeline"
)

// LocalVM is a VM of an environment of a local run: a folder, an address of its
// own and a real agent, for as long as the run takes.
type LocalVM struct {
	Name string
	Tags []string
}

// agentsJoin is how long the agents of VMs may take to report.
const agentsJoin = 30 * time.Second

// applicationsOf makes the applications that the run is given, with their
// slots, gateway and DNS.
func (l *local) applicationsOf(ctx context.Context) error {
	for _, file := range l.o.Applications {
		data, err := os.ReadFile(file)
		if err != nil {
			return fault.Wrap(err, fault.Invalid, "file-unreadable", "the file of an application cannot be read").At("%s", file)
		}
		spec, err := application.ParseFile(file, data)
		if err != nil {
			return err
		}
		for _, name := range spec.Environments {
			if _, err := l.environment(ctx, name); err != nil {
				return err
			}
		}
		if _, err := l.apps.Apply(ctx, l.project.ID, spec); err != nil {
			return err
		}
	}
	return nil
}

func (l *local) environment(ctx context.Context, name string) (*environment.Environment, error) {
	env, err := l.Server.environments.Find(ctx, l.project.ID, name)
	if fault.Is(err, fault.NotFound) {
		return l.Server.environments.Create(ctx, l.project.ID, name, "")
	}
	return env, err
}

// ask gives the environments that wait for an answer the check that asks for it.
func (l *local) ask(ctx context.Context) error {
	for _, name := range l.o.Asked {
		env, err := l.environment(ctx, name)
		if err != nil {
			return err
		}
		you := environment.Approver{Name: "you"}
		c := &environment.Check{Type: environment.ApprovalCheck, Settings: environment.Settings{Approvers: []environment.Approver{you}, AllowSelf: true}}
		if err := l.Server.environments.AddCheck(ctx, env, c); err != nil {
			return err
		}
	}
	return nil
}

// machinesOf makes the VMs of an environment: those that the run is given, or
// one where a job wants VMs and nobody described any.
func (l *local) machinesOf(ctx context.Context, plan *pipeline.Plan, env *environment.Environment) error {
	var vms []LocalVM
	for name, list := range l.o.Machines {
		if strings.EqualFold(name, env.Name) {
			vms = list
		}
	}
	if len(vms) == 0 {
		if vms = wanted(plan, env.Name); len(vms) == 0 || len(l.o.Applications) > 0 {
			return nil
		}
	}
	for _, vm := range vms {
		v, err := l.Server.environments.AddVM(ctx, &environment.VM{ProjectID: l.project.ID, EnvironmentID: env.ID, Name: vm.Name, Tags: vm.Tags})
		if err != nil {
			return err
		}
		if _, err := l.machines.Ensure(ctx, v); err != nil {
			return err
		}
	}
	return nil
}

// wanted is the VM that the jobs of a plan need in an environment.
func wanted(plan *pipeline.Plan, name string) []LocalVM {
	var vms []LocalVM
	for _, s := range plan.Stages {
		for _, j := range s.Jobs {
			if j.Deployment == nil || !strings.EqualFold(j.Deployment.Environment.Name, name) {
				continue
			}
			e := j.Deployment.Environment
			switch {
			case e.ResourceName != "":
				vms = append(vms, LocalVM{Name: e.ResourceName, Tags: e.Tags})
			case e.ResourceType == "VirtualMachine" || j.Deployment.Strategy == pipeline.Rolling:
				vms = append(vms, LocalVM{Name: name + "-1", Tags: e.Tags})
			}
		}
	}
	return vms
}

// joined waits until the agents of all VMs have reported.
func (l *local) joined(ctx context.Context) error {
	limit := time.NewTimer(agentsJoin)
	defer limit.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		missing, id := "", ""
		vms, err := l.Server.environments.VMs.Find(ctx, store.Where("project_id", l.project.ID))
		if err != nil {
			return err
		}
		for _, v := range vms {
			if v.AgentID == "" {
				missing, id = v.Name, v.ID
			}
		}
		if missing == "" {
			return nil
		}
		select {
		case <-tick.C:
		case <-limit.C:
			console, _ := os.ReadFile(filepath.Join(l.cfg.Data, "vms", id, "console.log"))
			return fault.New(fault.Unavailable, "vm-silent", "the agent of VM %s does not report", missing).Got("%s", cmp.Or(strings.TrimSpace(string(console[max(0, len(console)-500):])), "nothing on its console"))
		}
	}
}

// sweep ends what local runs of this checkout left behind when they were killed,
// and removes their data.
func sweep(ctx context.Context, folders string) {
	found, _ := filepath.Glob(folders)
	for _, data := range found {
		unlock, err := lockData(data)
		if err != nil {
			continue // it runs
		}
		vms, _ := filepath.Glob(filepath.Join(data, "vms", "*"))
		for _, vm := range vms {
			detached.Stop(ctx, vm, 0)
		}
		unlock()
		_ = os.RemoveAll(data)
	}
}
