package devopsapi

import (
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/repos"
)

const environmentsID = "8572b1fc-2482-47fa-8f74-7e3ed53ee54b"

const ourEnvironment = "{project}/_apis/penstock/environments/{environment}"

var environmentRoutes = []Route{
	{"distributedtask", "environments", environmentsID, "GET", "{project}/_apis/distributedtask/environments", identity.ProjectView, (*call).listEnvironments, nil, smallJSON},
	{"distributedtask", "environments", environmentsID, "POST", "{project}/_apis/distributedtask/environments", identity.ProjectEdit, (*call).createEnvironment, nil, smallJSON},
	{"distributedtask", "environments", environmentsID, "GET", "{project}/_apis/distributedtask/environments/{environment}", identity.ProjectView, (*call).getEnvironment, nil, smallJSON},
	{"penstock", "checks", "", "GET", ourEnvironment + "/checks", identity.ProjectView, (*call).listChecks, nil, smallJSON},
	{"penstock", "checks", "", "POST", ourEnvironment + "/checks", identity.ProjectEdit, (*call).addCheck, nil, smallJSON},
	{"penstock", "checks", "", "DELETE", ourEnvironment + "/checks/{check}", identity.ProjectEdit, (*call).removeCheck, nil, smallJSON},
	{"penstock", "deployments", "", "GET", ourEnvironment + "/deployments", identity.ProjectView, (*call).listDeployments, nil, smallJSON},
	{"penstock", "vms", "", "GET", "{project}/_apis/penstock/vms", identity.ProjectView, (*call).listVMs, nil, smallJSON},
	{"penstock", "vms", "", "POST", "{project}/_apis/penstock/vms", identity.ProjectEdit, (*call).addVM, nil, smallJSON},
	{"penstock", "vms", "", "GET", "{project}/_apis/penstock/vms/{vm}", identity.ProjectView, (*call).getVM, nil, smallJSON},
	{"penstock", "vms", "", "POST", "{project}/_apis/penstock/vms/{vm}/{action}", identity.ProjectEdit, (*call).operateVM, nil, smallJSON},
}

type resourceShape struct {
	ID   int      `json:"id"`
	Name string   `json:"name"`
	Type string   `json:"type"`
	Tags []string `json:"tags"`
}

type environmentShape struct {
	ID          int               `json:"id"`
	Name        string            `json:"name"`
	Description string            `json:"description"`
	Created     time.Time         `json:"createdOn"`
	Changed     time.Time         `json:"lastModifiedOn"`
	Project     map[string]string `json:"project"`
	Resources   []resourceShape   `json:"resources,omitempty"`
}

func (c *call) environmentShape(e *environment.Environment) environmentShape {
	return environmentShape{ID: e.Num, Name: e.Name, Description: e.Description, Created: e.Created, Changed: e.Created, Project: map[string]string{"id": e.ProjectID}}
}

func (c *call) listEnvironments() (any, error) {
	if name := c.query("name"); name != "" {
		e, err := c.Environments.Find(c.ctx(), c.project.ID, name)
		if fault.Is(err, fault.NotFound) {
			return listOf([]environmentShape{}), nil
		}
		if err != nil {
			return nil, err
		}
		return listOf([]environmentShape{c.environmentShape(e)}), nil
	}
	found, err := c.Environments.Environments.Find(c.ctx(), store.Where("project_id", c.project.ID).By("num").Top(c.top(1000)))
	if err != nil {
		return nil, err
	}
	return mapped(found, c.environmentShape), nil
}

func (c *call) environment() (*environment.Environment, error) {
	return c.Environments.Find(c.ctx(), c.project.ID, c.params["environment"])
}

func (c *call) getEnvironment() (any, error) {
	e, err := c.environment()
	if err != nil {
		return nil, err
	}
	vms, err := c.Environments.VMs.Find(c.ctx(), store.Where("environment_id", e.ID).By("key"))
	if err != nil {
		return nil, err
	}
	shape := c.environmentShape(e)
	for _, v := range vms {
		shape.Resources = append(shape.Resources, resourceShape{v.Num, v.Name, "virtualMachine", v.Tags})
	}
	return shape, nil
}

func (c *call) createEnvironment() (any, error) {
	var in struct{ Name, Description string }
	if err := c.read(&in); err != nil {
		return nil, err
	}
	e, err := c.Environments.Create(c.ctx(), c.project.ID, in.Name, in.Description)
	if err != nil {
		return nil, err
	}
	return c.environmentShape(e), nil
}

func (c *call) listChecks() (any, error) {
	e, err := c.environment()
	if err != nil {
		return nil, err
	}
	found, err := c.Environments.Checks.Find(c.ctx(), store.Where("environment_id", e.ID).By("num"))
	if err != nil {
		return nil, err
	}
	return mapped(found, checkShapeOf), nil
}

// checkShape is a check with its settings by name: what addCheck reads too.
type checkShape struct {
	ID           string    `json:"id,omitempty"`
	Type         string    `json:"type"`
	Timeout      string    `json:"timeout,omitempty"`
	Approvers    []string  `json:"approvers,omitempty"`
	Minimum      int       `json:"minimum,omitempty"`
	AllowSelf    bool      `json:"allowSelf,omitempty"`
	Instructions string    `json:"instructions,omitempty"`
	Branches     []string  `json:"branches,omitempty"`
	Days         []string  `json:"days,omitempty"`
	From         string    `json:"from,omitempty"`
	To           string    `json:"to,omitempty"`
	Zone         string    `json:"zone,omitempty"`
	Created      time.Time `json:"created,omitzero"`
}

func checkShapeOf(k *environment.Check) checkShape {
	s := checkShape{ID: k.ID, Type: string(k.Type), Timeout: k.Timeout.String(), Minimum: k.Settings.Minimum, AllowSelf: k.Settings.AllowSelf, Instructions: k.Settings.Instructions,
		Branches: k.Settings.Branches, Days: k.Settings.Days, From: k.Settings.From, To: k.Settings.To, Zone: k.Settings.Zone, Created: k.Created}
	for _, a := range k.Settings.Approvers {
		s.Approvers = append(s.Approvers, a.Name)
	}
	return s
}

func (c *call) addCheck() (any, error) {
	var in checkShape
	if err := c.read(&in); err != nil {
		return nil, err
	}
	e, err := c.environment()
	if err != nil {
		return nil, err
	}
	k := &environment.Check{Type: environment.CheckType(in.Type), Settings: environment.Settings{Minimum: in.Minimum, AllowSelf: in.AllowSelf, Instructions: in.Instructions,
		Days: in.Days, From: in.From, To: in.To, Zone: in.Zone}}
	if in.Timeout != "" {
		if k.Timeout, err = time.ParseDuration(in.Timeout); err != nil || k.Timeout <= 0 {
			return nil, fault.New(fault.Invalid, "invalid-duration", "timeout %q is no duration", in.Timeout).Want("for instance 72h")
		}
	}
	for _, name := range in.Approvers {
		a, err := c.Environments.Approver(c.ctx(), c.project.ID, name)
		if err != nil {
			return nil, err
		}
		k.Settings.Approvers = append(k.Settings.Approvers, a)
	}
	for _, b := range in.Branches {
		k.Settings.Branches = append(k.Settings.Branches, repos.FullBranch(b))
	}
	if err := c.Environments.AddCheck(c.ctx(), e, k); err != nil {
		return nil, err
	}
	return created{checkShapeOf(k)}, nil
}

func (c *call) removeCheck() (any, error) {
	e, err := c.environment()
	if err != nil {
		return nil, err
	}
	return nil, c.Environments.RemoveCheck(c.ctx(), e, c.params["check"])
}

func (c *call) listDeployments() (any, error) {
	e, err := c.environment()
	if err != nil {
		return nil, err
	}
	found, err := c.Environments.Deployments.Find(c.ctx(), store.Where("environment_id", e.ID).Latest("started").Top(c.top(50)))
	if err != nil {
		return nil, err
	}
	return listOf(found), nil
}

func (c *call) listVMs() (any, error) {
	found, err := c.Environments.VMs.Find(c.ctx(), store.Where("project_id", c.project.ID).By("key"))
	if err != nil {
		return nil, err
	}
	return listOf(found), nil
}

func (c *call) getVM() (any, error) {
	return c.Environments.FindVM(c.ctx(), c.project.ID, c.params["vm"])
}

func (c *call) addVM() (any, error) {
	var in struct {
		Name, Address, Environment string
		Tags                       []string
	}
	if err := c.read(&in); err != nil {
		return nil, err
	}
	v := &environment.VM{ProjectID: c.project.ID, Name: in.Name, Address: in.Address, Tags: in.Tags}
	if in.Environment != "" {
		e, err := c.Environments.Find(c.ctx(), c.project.ID, in.Environment)
		if err != nil {
			return nil, err
		}
		v.EnvironmentID = e.ID
	}
	if _, err := c.Environments.FindVM(c.ctx(), c.project.ID, in.Name); err == nil {
		return nil, fault.New(fault.Conflict, "already-exists", "VM %s exists already", in.Name).Try("penstock vm list")
	}
	v, err := c.Environments.AddVM(c.ctx(), v)
	if err != nil {
		return nil, err
	}
	return created{v}, nil
}

func (c *call) operateVM() (any, error) {
	v, err := c.Environments.FindVM(c.ctx(), c.project.ID, c.params["vm"])
	if err != nil {
		return nil, err
	}
	if c.Machines == nil || v.Provider == "" && v.AgentID != "" {
		return nil, fault.New(fault.Conflict, "not-ours", "VM %s was registered by hand; the server cannot start or stop it", v.Name).Try("do it where the machine runs")
	}
	switch action := c.params["action"]; action {
	case "start":
		err = c.Machines.Start(c.ctx(), v.ID)
	case "stop":
		err = c.Machines.Stop(c.ctx(), v.ID)
	case "restart":
		if err = c.Machines.Stop(c.ctx(), v.ID); err == nil {
			err = c.Machines.Start(c.ctx(), v.ID)
		}
	case "kill":
		err = c.Machines.Kill(c.ctx(), v.ID)
	case "recreate", "reimage":
		err = c.Machines.Recreate(c.ctx(), v.ID)
	default:
		err = fault.New(fault.Invalid, "unknown-action", "a VM cannot be told to %s", action).Want("start, stop, restart, kill or recreate")
	}
	if err != nil {
		return nil, err
	}
	if err := c.Audit.Record(c.ctx(), c.subject.Name, "vm."+c.params["action"], "vm "+v.Name, ""); err != nil {
		return nil, err
	}
	return c.getVM()
}
