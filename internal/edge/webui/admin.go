package webui

import (
	"fmt"
	"slices"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/agentpool"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/serviceconnection"
	"penstock.dev/penstock/internal/edge/webui/pages"
)

func pools(c *call) error { return c.poolPage("") }

func pool(c *call) error { return c.poolPage(c.r.PathValue("pool")) }

func (c *call) poolPage(only string) error {
	v := pages.PoolsView{One: only != "", Now: c.now, URL: "http://" + c.r.Host, Manage: identity.Can(c.subject, identity.AgentManage, "")}
	q := store.Query{}.By("num")
	if only != "" {
		if _, err := c.s.Pools.FindPool(c.ctx(), only); err != nil {
			return err
		}
		q = store.Where("key", strings.ToLower(only))
	}
	list, err := c.s.Pools.Pools.Find(c.ctx(), q)
	if err != nil {
		return err
	}
	for _, p := range list {
		row, err := c.poolRow(p)
		if err != nil {
			return err
		}
		v.Pools = append(v.Pools, row)
	}
	if only == "" {
		agents, err := c.s.Pools.Agents.Find(c.ctx(), store.Where("pool_id", "").By("num"))
		if err != nil {
			return err
		}
		for _, a := range agents {
			row, err := c.agentRow(a)
			if err != nil {
				return err
			}
			v.Machine = append(v.Machine, row)
		}
	}
	c.frame.Poll = 5000
	return c.page("agents", "Agents", pages.PoolList(c.frame, v))
}

func (c *call) poolRow(p *agentpool.Pool) (pages.PoolRow, error) {
	row := pages.PoolRow{Pool: p}
	agents, err := c.s.Pools.Agents.Find(c.ctx(), store.Where("pool_id", p.ID).By("num"))
	if err != nil {
		return row, err
	}
	for _, a := range agents {
		ar, err := c.agentRow(a)
		if err != nil {
			return row, err
		}
		if ar.Online {
			row.Online++
		}
		row.Agents = append(row.Agents, ar)
	}
	queued, err := c.s.Pools.Requests.Find(c.ctx(), store.Where("pool_id", p.ID).And("state", string(agentpool.Queued)).By("queued").Top(pageSize))
	if err != nil {
		return row, err
	}
	for _, r := range queued {
		qr := c.queueRow(r)
		for _, a := range agents {
			if agentpool.Fits(r, a, pipeline.MatchDemand) {
				qr.Unmet = nil
				break
			}
			if unmet := agentpool.Unmet(r, a, pipeline.MatchDemand); len(qr.Unmet) == 0 || len(unmet) < len(qr.Unmet) {
				qr.Unmet = unmet
			}
		}
		row.Queued = append(row.Queued, qr)
	}
	return row, nil
}

func (c *call) agentRow(a *agentpool.Agent) (pages.AgentRow, error) {
	row := pages.AgentRow{Agent: a, Mark: pages.Mark{Icon: "todo", Tone: "off", Label: "Offline"}}
	row.Seen, row.Online = c.s.Pools.LastSeen(a.ID)
	held, err := c.s.Pools.Requests.Find(c.ctx(), store.Where("agent_id", a.ID).And("state", string(agentpool.Assigned)))
	if err != nil {
		return row, err
	}
	for _, r := range held {
		row.Busy = append(row.Busy, c.queueRow(r))
	}
	switch {
	case a.Disabled:
		row.Mark = pages.Mark{Icon: "cancel", Tone: "off", Label: "Disabled"}
	case row.Online && len(held) > 0:
		row.Mark = pages.Mark{Icon: "run", Tone: "run", Label: "Working"}
	case row.Online:
		row.Mark = pages.Mark{Icon: "ok", Tone: "ok", Label: "Online"}
	}
	return row, nil
}

// queueRow names a job only to those who may see its run.
func (c *call) queueRow(r *agentpool.Request) pages.QueueRow {
	row := pages.QueueRow{Request: r, Text: "A job of a project you may not see"}
	job, err := c.s.Runs.Jobs.Get(c.ctx(), r.ID)
	if err != nil {
		return row
	}
	of, err := c.s.Runs.Runs.Get(c.ctx(), job.RunID)
	if err != nil || !identity.Can(c.subject, identity.ProjectView, of.ProjectID) {
		return row
	}
	p, err := c.s.Projects.Projects.Get(c.ctx(), of.ProjectID)
	if err != nil {
		return row
	}
	name := job.DisplayName
	if name == "" {
		name = job.Name
	}
	row.Text = fmt.Sprintf("%s of %s %s", name, of.Pipeline, of.Number)
	row.URL = "/" + pages.Seg(c.s.Organization) + "/" + pages.Seg(p.Name) + "/runs/" + of.ID
	return row
}

func auditList(c *call) error {
	v := pages.AuditView{Actor: c.r.FormValue("actor"), Action: c.r.FormValue("action"), Object: c.r.FormValue("object"), Now: c.now}
	q := store.Query{}.Latest("id").Top(pageSize + 1)
	for column, want := range map[string]string{"actor": v.Actor, "action": v.Action, "object": v.Object} {
		if want != "" {
			q = q.And(column, want)
		}
	}
	if before := c.r.FormValue("before"); before != "" {
		q = q.AndOp("id", store.Lt, before)
	}
	rows, err := c.s.Audit.Records.Find(c.ctx(), q)
	if err != nil {
		return err
	}
	if len(rows) > pageSize {
		rows = rows[:pageSize]
		v.Older = rows[pageSize-1].ID
	}
	v.Rows = rows
	return c.page("admin", "Audit", pages.Audit(c.frame, v))
}

func auditVerify(c *call) error {
	n, err := c.s.Audit.Verify(c.ctx())
	if err != nil {
		return err
	}
	return c.done("/admin/audit", fmt.Sprintf("All %d records follow from the ones before them.", n))
}

func me(c *call) error {
	v := pages.MeView{Subject: c.subject, Now: c.now}
	if c.subject.Kind != identity.UserKind {
		return fault.New(fault.Invalid, "not-a-person", "this page is for people").Got("%s", c.subject.Name)
	}
	tokens, err := c.s.Identity.Tokens.Find(c.ctx(), store.Where("owner_id", c.subject.ID))
	if err != nil {
		return err
	}
	v.Tokens = slices.DeleteFunc(tokens, func(t *identity.Token) bool { return !t.Expires.IsZero() && t.Expires.Before(c.now) })
	grants, err := c.s.Identity.Grants.Find(c.ctx(), store.Where("user_id", c.subject.ID))
	if err != nil {
		return err
	}
	for _, g := range grants {
		row := pages.GrantRow{Where: "Every project", Role: string(g.Role)}
		if g.ProjectID != "" {
			p, err := c.s.Projects.Projects.Get(c.ctx(), g.ProjectID)
			if err != nil {
				continue
			}
			row.Where = p.Name
		}
		v.Grants = append(v.Grants, row)
	}
	return c.page("me", c.subject.Name, pages.Me(c.frame, v))
}

// explainCode is where the code of an error leads. The text of each code comes
// with the documents of the command line.
func explainCode(c *call) error {
	code := c.r.PathValue("code")
	if len(code) > 64 || strings.Trim(code, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return noPage(c.address())
	}
	return c.page("", code, pages.ErrorCode(c.frame, code, "This code names one kind of error for ever. The error itself says where it is, what was expected, what was found and what to do."))
}

func connectionList(c *call) error {
	v := pages.ConnectionsView{Manage: c.can(identity.SecretWrite), Now: c.now}
	var err error
	if v.Connections, err = c.s.Connections.List(c.ctx(), c.project.ID); err != nil {
		return err
	}
	if v.Files, err = c.s.SecureFiles.List(c.ctx(), c.project.ID); err != nil {
		return err
	}
	return c.page("connections", "Connections", pages.Connections(c.frame, v))
}

// makeConnection reads the form: what is left empty is not there.
func makeConnection(c *call) error {
	spec := serviceconnection.Spec{Name: strings.TrimSpace(c.r.FormValue("name")), Type: c.r.FormValue("type"), URL: strings.TrimSpace(c.r.FormValue("url")), Scheme: "None",
		Parameters: map[string]string{}, Data: map[string]string{}}
	for _, name := range []string{"username", "password", "apitoken"} {
		if v := c.r.FormValue(name); v != "" {
			spec.Parameters[name] = v
			if spec.Scheme = "UsernamePassword"; name == "apitoken" {
				spec.Scheme = "Token"
			}
		}
	}
	for field, name := range map[string]string{"privatekey": "PrivateKey", "knownhosts": "knownHosts"} {
		if v := strings.TrimSpace(strings.ReplaceAll(c.r.FormValue(field), "\r", "")); v != "" {
			spec.Data[name] = v
		}
	}
	for line := range strings.Lines(strings.ReplaceAll(c.r.FormValue("data"), "\r", "")) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if name == "" && !ok {
			continue
		}
		if !ok {
			return fault.New(fault.Invalid, "form", "a line of the data is no NAME=VALUE").Want("NAME=VALUE")
		}
		spec.Data[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	k, err := c.s.Connections.Create(c.ctx(), c.project.ID, spec)
	if err != nil {
		return err
	}
	return c.done(c.frame.At("connections"), "Service connection "+k.Name+" is there.")
}

func deleteConnection(c *call) error {
	if err := c.s.Connections.Delete(c.ctx(), c.project.ID, c.r.PathValue("id")); err != nil {
		return err
	}
	return c.done(c.frame.At("connections"), "The service connection is deleted.")
}

func deleteSecureFile(c *call) error {
	if err := c.s.SecureFiles.Delete(c.ctx(), c.project.ID, c.r.PathValue("id")); err != nil {
		return err
	}
	return c.done(c.frame.At("connections"), "The secure file is deleted.")
}
