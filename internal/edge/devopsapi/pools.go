package devopsapi

import (
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/agentpool"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/variablegroup"
)

const (
	poolsID          = "a8c47e17-4d56-4a56-92bb-de7ea7dc65be"
	agentsID         = "e298ef32-5878-4cab-993c-043836571f42"
	variableGroupsID = "f5b09dd5-9d54-45a1-8b5a-1c8287d634cc"
)

var poolRoutes = []Route{
	{"distributedtask", "pools", poolsID, "GET", "_apis/distributedtask/pools", identity.SignedIn, (*call).listPools, nil, smallJSON},
	{"distributedtask", "pools", poolsID, "GET", "_apis/distributedtask/pools/{pool}", identity.SignedIn, (*call).getPool, nil, smallJSON},
	{"distributedtask", "pools", poolsID, "POST", "_apis/distributedtask/pools", identity.AgentManage, (*call).createPool, nil, smallJSON},
	{"distributedtask", "agents", agentsID, "GET", "_apis/distributedtask/pools/{pool}/agents", identity.SignedIn, (*call).listPoolAgents, nil, smallJSON},
	{"penstock", "pools", "", "POST", "_apis/penstock/pools", identity.AgentManage, (*call).createPool, nil, smallJSON},
	{"penstock", "agents", "", "GET", "_apis/penstock/agents", identity.SignedIn, (*call).listAgents, nil, smallJSON},
	{"penstock", "agents", "", "DELETE", "_apis/penstock/agents/{agent}", identity.AgentManage, (*call).removeAgent, nil, smallJSON},
	{"penstock", "joinTokens", "", "POST", "_apis/penstock/agents/join-tokens", identity.AgentManage, (*call).createJoinToken, nil, smallJSON},
	{"distributedtask", "variablegroups", variableGroupsID, "GET", "{project}/_apis/distributedtask/variablegroups", identity.ProjectView, (*call).listVariableGroups, nil, smallJSON},
	{"distributedtask", "variablegroups", variableGroupsID, "POST", "{project}/_apis/distributedtask/variablegroups", identity.ProjectEdit, (*call).putVariableGroup, nil, smallJSON},
	{"distributedtask", "variablegroups", variableGroupsID, "GET", "{project}/_apis/distributedtask/variablegroups/{group}", identity.ProjectView, (*call).getVariableGroup, nil, smallJSON},
}

type poolShape struct {
	ID       int    `json:"id"`
	Name     string `json:"name"`
	IsHosted bool   `json:"isHosted"`
	PoolType string `json:"poolType"`
	Size     int    `json:"size"`
}

func (c *call) poolShape(p *agentpool.Pool) (poolShape, error) {
	agents, err := c.Pools.Agents.Find(c.ctx(), store.Where("pool_id", p.ID))
	return poolShape{ID: p.Num, Name: p.Name, PoolType: "automation", Size: len(agents)}, err
}

func (c *call) listPools() (any, error) {
	found, err := c.Pools.Pools.Find(c.ctx(), store.Query{}.By("num"))
	if err != nil {
		return nil, err
	}
	out := []poolShape{}
	for _, p := range found {
		if name := c.query("poolName"); name != "" && !strings.EqualFold(name, p.Name) {
			continue
		}
		shape, err := c.poolShape(p)
		if err != nil {
			return nil, err
		}
		out = append(out, shape)
	}
	return listOf(out), nil
}

// pool finds the pool of the address by id or name.
func (c *call) pool() (*agentpool.Pool, error) {
	if p, err := c.Pools.Pools.Get(c.ctx(), c.params["pool"]); err == nil {
		return p, nil
	}
	return c.Pools.FindPool(c.ctx(), c.params["pool"])
}

func (c *call) getPool() (any, error) {
	p, err := c.pool()
	if err != nil {
		return nil, err
	}
	return c.poolShape(p)
}

func (c *call) createPool() (any, error) {
	var in struct{ Name string }
	if err := c.read(&in); err != nil {
		return nil, err
	}
	p, err := c.Pools.EnsurePool(c.ctx(), in.Name)
	if err != nil {
		return nil, err
	}
	return c.poolShape(p)
}

type agentShape struct {
	ID           int               `json:"id"`
	Name         string            `json:"name"`
	Version      string            `json:"version"`
	Enabled      bool              `json:"enabled"`
	Status       string            `json:"status"`
	Jobs         int               `json:"maxParallelism"`
	Created      time.Time         `json:"createdOn"`
	Capabilities map[string]string `json:"systemCapabilities"`
	Pool         string            `json:"pool,omitempty"` // ours
	VM           string            `json:"vm,omitempty"`   // ours: id of the VM it serves
	LastSeen     time.Time         `json:"lastSeen,omitzero"`
	Busy         int               `json:"busy"` // ours: jobs it holds
}

func (c *call) agentShapes(agents []*agentpool.Agent) (any, error) {
	pools, err := c.Pools.Pools.Find(c.ctx(), store.Query{})
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, p := range pools {
		names[p.ID] = p.Name
	}
	out := []agentShape{}
	for _, a := range agents {
		held, err := c.Pools.Requests.Find(c.ctx(), store.Where("agent_id", a.ID).And("state", string(agentpool.Assigned)))
		if err != nil {
			return nil, err
		}
		seen, online := c.Pools.LastSeen(a.ID)
		shape := agentShape{ID: a.Num, Name: a.Name, Version: a.Version, Enabled: !a.Disabled, Status: "offline", Jobs: a.Jobs, Created: a.Created,
			Capabilities: a.Capabilities, Pool: names[a.PoolID], VM: a.VM, LastSeen: seen, Busy: len(held)}
		if online {
			shape.Status = "online"
		}
		out = append(out, shape)
	}
	return listOf(out), nil
}

func (c *call) listPoolAgents() (any, error) {
	p, err := c.pool()
	if err != nil {
		return nil, err
	}
	agents, err := c.Pools.Agents.Find(c.ctx(), store.Where("pool_id", p.ID).By("num"))
	if err != nil {
		return nil, err
	}
	return c.agentShapes(agents)
}

func (c *call) listAgents() (any, error) {
	agents, err := c.Pools.Agents.Find(c.ctx(), store.Query{}.By("num"))
	if err != nil {
		return nil, err
	}
	return c.agentShapes(agents)
}

func (c *call) removeAgent() (any, error) {
	return nil, c.Pools.Remove(c.ctx(), c.params["agent"])
}

// joinTokenLife is how long a new agent may take to arrive.
const joinTokenLife = 24 * time.Hour

// createJoinToken makes a token that registers one agent: in a pool, or as a VM
// of an environment.
func (c *call) createJoinToken() (any, error) {
	var in struct {
		Pool, Project, Environment string
		Tags                       []string
	}
	if err := c.read(&in); err != nil {
		return nil, err
	}
	t := identity.Token{Kind: identity.JoinToken, OwnerID: c.subject.ID, Name: "join token of " + c.subject.Name, Tags: in.Tags, Expires: c.Clock.Now().Add(joinTokenLife)}
	switch {
	case in.Environment != "" && in.Pool != "":
		return nil, fault.New(fault.Invalid, "pool-or-environment", "an agent joins a pool or an environment, not both")
	case in.Environment != "":
		p, err := c.Projects.Find(c.ctx(), in.Project)
		if err != nil {
			return nil, err
		}
		e, err := c.Environments.Find(c.ctx(), p.ID, in.Environment)
		if err != nil {
			return nil, err
		}
		t.ProjectID, t.Environment = p.ID, e.ID
	default:
		if in.Pool == "" {
			in.Pool = "default"
		}
		p, err := c.Pools.FindPool(c.ctx(), in.Pool)
		if err != nil {
			return nil, err
		}
		t.Pool = p.Name
	}
	secret, stored, err := c.Identity.IssueToken(c.ctx(), t)
	if err != nil {
		return nil, err
	}
	if err := c.Audit.Record(c.ctx(), c.subject.Name, "agent.join-token", "token "+stored.ID, in.Pool+in.Environment); err != nil {
		return nil, err
	}
	return created{map[string]any{"token": secret, "expires": t.Expires, "pool": t.Pool, "environment": in.Environment}}, nil
}

// variableShape is one variable of a group; a secret's value never leaves.
type variableShape struct {
	Value    *string `json:"value"`
	IsSecret bool    `json:"isSecret,omitempty"`
}

type variableGroupShape struct {
	ID          int                      `json:"id"`
	Name        string                   `json:"name"`
	Description string                   `json:"description"`
	Type        string                   `json:"type"`
	Variables   map[string]variableShape `json:"variables"`
	Vault       string                   `json:"vault,omitempty"`       // ours
	Application string                   `json:"application,omitempty"` // ours: kept by it
}

func variableGroupShapeOf(g *variablegroup.Group) variableGroupShape {
	s := variableGroupShape{ID: g.Num, Name: g.Name, Description: g.Description, Type: "Vsts", Variables: map[string]variableShape{}, Vault: g.Vault, Application: g.Application}
	if g.Vault != "" {
		s.Type = "AzureKeyVault"
	}
	for k, v := range g.Variables {
		s.Variables[k] = variableShape{Value: &v}
	}
	for k := range g.Sealed {
		s.Variables[k] = variableShape{IsSecret: true}
	}
	for _, k := range g.Secrets {
		s.Variables[k] = variableShape{IsSecret: true}
	}
	return s
}

func (c *call) listVariableGroups() (any, error) {
	found, err := c.VariableGroups.Groups.Find(c.ctx(), store.Where("project_id", c.project.ID).By("num"))
	if err != nil {
		return nil, err
	}
	var out []*variablegroup.Group
	for _, g := range found {
		if name := c.query("groupName"); name == "" || strings.EqualFold(name, g.Name) {
			out = append(out, g)
		}
	}
	return mapped(out, variableGroupShapeOf), nil
}

func (c *call) getVariableGroup() (any, error) {
	g, err := c.VariableGroups.Find(c.ctx(), c.project.ID, c.params["group"])
	if err != nil {
		return nil, err
	}
	if g == nil {
		if g, err = c.VariableGroups.Groups.Get(c.ctx(), c.params["group"]); err != nil || g.ProjectID != c.project.ID {
			return nil, fault.New(fault.NotFound, "not-found", "no variable group %s", c.params["group"]).Try("penstock variable-group list")
		}
	}
	return variableGroupShapeOf(g), nil
}

// putVariableGroup makes or replaces a group. With a vault, the secret names
// without a value are taken from it.
func (c *call) putVariableGroup() (any, error) {
	var in struct {
		Name, Description, Vault string
		Variables                map[string]struct {
			Value    *string
			IsSecret bool
		}
	}
	if err := c.read(&in); err != nil {
		return nil, err
	}
	g := &variablegroup.Group{ProjectID: c.project.ID, Name: in.Name, Description: in.Description, Vault: in.Vault, Variables: map[string]string{}}
	sealed := map[string]string{}
	for k, v := range in.Variables {
		switch {
		case v.IsSecret && v.Value != nil && in.Vault == "":
			sealed[k] = *v.Value
		case v.IsSecret && in.Vault != "":
			g.Secrets = append(g.Secrets, k)
		case !v.IsSecret && v.Value != nil:
			g.Variables[k] = *v.Value
		}
	}
	g, err := c.VariableGroups.Put(c.ctx(), g, sealed)
	if err != nil {
		return nil, err
	}
	return variableGroupShapeOf(g), nil
}
