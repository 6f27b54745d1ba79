package webui

import (
	"fmt"
	"slices"
	"strings"

	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/application"
	"penstock.dev/penstock/internal/edge/webui/pages"
)

// environmentRows lists environments with their last deployment; free leaves
// out those that an application's role is bound to.
func (c *call) environmentRows(apps []*application.Application, free bool) ([]pages.EnvRow, error) {
	list, err := c.s.Environments.Environments.Find(c.ctx(), store.Where("project_id", c.project.ID).By("num"))
	if err != nil {
		return nil, err
	}
	var rows []pages.EnvRow
	for _, e := range list {
		row := pages.EnvRow{Env: e, Bound: strings.Join(boundTo(apps, e.Name), "; ")}
		if free && row.Bound != "" {
			continue
		}
		if row.Last, err = store.First(c.ctx(), c.s.Environments.Deployments, store.Where("environment_id", e.ID).Latest("started")); err != nil {
			return nil, err
		}
		if row.Last != nil {
			row.Mark = pages.DeploymentMark(row.Last)
		}
		vms, err := c.s.Environments.VMs.Find(c.ctx(), store.Where("environment_id", e.ID))
		if err != nil {
			return nil, err
		}
		row.VMs = len(vms)
		for _, a := range apps {
			for _, role := range []string{application.Staging, application.Production} {
				if s := a.WithRole(role); s != nil && strings.EqualFold(a.Spec.Environment(role), e.Name) {
					row.VMs += len(s.VMs)
				}
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func boundTo(apps []*application.Application, env string) []string {
	var list []string
	for _, a := range apps {
		for _, role := range []string{application.Staging, application.Production} {
			if strings.EqualFold(a.Spec.Environment(role), env) {
				list = append(list, fmt.Sprintf("%s of %s", role, a.Name))
			}
		}
	}
	return list
}

func environmentList(c *call) error {
	apps, err := c.s.Applications.Of(c.ctx(), c.project.ID)
	if err != nil {
		return err
	}
	rows, err := c.environmentRows(apps, false)
	if err != nil {
		return err
	}
	return c.page("environments", "Environments", pages.EnvironmentList(c.frame, rows))
}

func environmentPage(c *call) error {
	e, err := c.s.Environments.Find(c.ctx(), c.project.ID, c.r.PathValue("env"))
	if err != nil {
		return err
	}
	v := pages.EnvironmentView{Env: e, Now: c.now}
	if v.Checks, err = c.s.Environments.Checks.Find(c.ctx(), store.Where("environment_id", e.ID).By("num")); err != nil {
		return err
	}
	if v.History, err = c.s.Environments.Deployments.Find(c.ctx(), store.Where("environment_id", e.ID).Latest("started").Top(pageSize)); err != nil {
		return err
	}
	if v.Locks, err = c.s.Environments.Locks.Find(c.ctx(), store.Where("resource", "environment/"+e.ID).By("queued")); err != nil {
		return err
	}
	vms, err := c.s.Environments.VMs.Find(c.ctx(), store.Where("environment_id", e.ID))
	if err != nil {
		return err
	}
	for _, vm := range vms {
		row := pages.VMRow{VM: vm}
		row.Seen, row.Online = c.s.Pools.LastSeen(vm.AgentID)
		v.VMs = append(v.VMs, row)
	}
	apps, err := c.s.Applications.Of(c.ctx(), c.project.ID)
	if err != nil {
		return err
	}
	v.Bound = boundTo(apps, e.Name)
	for _, a := range apps {
		for _, role := range []string{application.Staging, application.Production} {
			s := a.WithRole(role)
			if s == nil || !strings.EqualFold(a.Spec.Environment(role), e.Name) {
				continue
			}
			for _, name := range s.VMs {
				vm, err := c.s.Environments.FindVM(c.ctx(), c.project.ID, name)
				if err != nil {
					continue
				}
				row := pages.VMRow{VM: vm, Slot: s.Name, Role: role}
				row.Seen, row.Online = c.s.Pools.LastSeen(vm.AgentID)
				v.VMs = append(v.VMs, row)
			}
		}
	}
	open, err := c.openApprovals()
	if err != nil {
		return err
	}
	v.Approvals = slices.DeleteFunc(open, func(a *pages.ApprovalView) bool { return !strings.EqualFold(a.Approval.Environment, e.Name) })
	return c.page("environments", e.Name, pages.EnvironmentPage(c.frame, v))
}
