package devopsapi

import (
	"cmp"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/identity"
)

var organizationRoutes = []Route{
	{"penstock", "users", "", "GET", "_apis/penstock/users", identity.UserManage, (*call).listUsers, nil, smallJSON},
	{"penstock", "users", "", "POST", "_apis/penstock/users", identity.UserManage, (*call).createUser, nil, smallJSON},
	{"penstock", "users", "", "PUT", "_apis/penstock/users/{user}/password", identity.UserManage, (*call).setPassword, nil, smallJSON},
	{"penstock", "users", "", "POST", "_apis/penstock/users/{user}/password", identity.UserManage, (*call).setPassword, nil, smallJSON},
	{"penstock", "users", "", "PUT", "_apis/penstock/me/password", identity.SignedIn, (*call).changeOwnPassword, nil, smallJSON},
	{"penstock", "permissions", "", "GET", "_apis/penstock/permissions", identity.UserManage, (*call).listPermissions, nil, smallJSON},
	{"penstock", "permissions", "", "POST", "_apis/penstock/permissions", identity.UserManage, (*call).grant, nil, smallJSON},
	{"penstock", "groups", "", "GET", "{project}/_apis/penstock/groups", identity.ProjectView, (*call).listGroups, nil, smallJSON},
	{"penstock", "groups", "", "PUT", "{project}/_apis/penstock/groups/{group}", identity.ProjectEdit, (*call).putGroup, nil, smallJSON},
	{"penstock", "tokens", "", "GET", "_apis/penstock/tokens", identity.SignedIn, (*call).listTokens, nil, smallJSON},
	{"penstock", "tokens", "", "POST", "_apis/penstock/tokens", identity.SignedIn, (*call).createToken, nil, smallJSON},
	{"penstock", "tokens", "", "DELETE", "_apis/penstock/tokens/{token}", identity.SignedIn, (*call).revokeToken, nil, smallJSON},
	{"penstock", "sessions", "", "POST", "_apis/penstock/sessions", identity.Anyone, (*call).signIn, nil, smallJSON},
	{"penstock", "audit", "", "GET", "_apis/penstock/audit", identity.AuditRead, (*call).listAudit, nil, smallJSON},
	{"penstock", "audit", "", "GET", "_apis/penstock/audit/verify", identity.AuditRead, (*call).verifyAudit, nil, smallJSON},
}

type userShape struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	DisplayName string    `json:"displayName"`
	Disabled    bool      `json:"disabled"`
	Created     time.Time `json:"created"`
}

func userShapeOf(u *identity.User) userShape {
	return userShape{u.ID, u.Name, u.DisplayName, u.Disabled, u.Created}
}

func (c *call) listUsers() (any, error) {
	found, err := c.Identity.Users.Find(c.ctx(), store.Query{}.By("name"))
	if err != nil {
		return nil, err
	}
	return mapped(found, userShapeOf), nil
}

func (c *call) createUser() (any, error) {
	var in struct{ Name, DisplayName, Password string }
	if err := c.read(&in); err != nil {
		return nil, err
	}
	if _, err := c.Identity.UserByName(c.ctx(), strings.TrimSpace(in.Name)); err == nil {
		return nil, fault.New(fault.Conflict, "already-exists", "user %s exists already", in.Name).Try("penstock user list")
	}
	u, err := c.Identity.CreateUser(c.ctx(), in.Name, in.DisplayName, in.Password)
	if err != nil {
		return nil, err
	}
	return created{userShapeOf(u)}, nil
}

func (c *call) setPassword() (any, error) {
	var in struct{ Password string }
	if err := c.read(&in); err != nil {
		return nil, err
	}
	return nil, c.Identity.SetPassword(c.ctx(), c.params["user"], in.Password)
}

// unlimitedUser refuses what only a person with every right of its own may do: a
// token with scopes must not make itself a wider one.
func (c *call) unlimitedUser() error {
	if c.subject.Kind != identity.UserKind {
		return fault.New(fault.Denied, "denied", "only a user may do that").Got("%s", c.subject.Name)
	}
	if len(c.subject.Scopes) > 0 {
		return fault.New(fault.Denied, "denied", "a token with scopes may not do that").Want("a token without scopes").
			Got("%s", strings.Join(c.subject.Scopes, ", ")).Try("penstock login")
	}
	return nil
}

func (c *call) changeOwnPassword() (any, error) {
	var in struct{ Current, Password string }
	if err := c.read(&in); err != nil {
		return nil, err
	}
	if err := c.unlimitedUser(); err != nil {
		return nil, err
	}
	if err := c.signIns.allow("password/" + c.subject.ID); err != nil {
		return nil, err
	}
	if _, err := c.Identity.SignIn(c.ctx(), c.subject.Name, in.Current); err != nil {
		return nil, err
	}
	return nil, c.Identity.SetPassword(c.ctx(), c.subject.Name, in.Password)
}

type grantShape struct {
	User    string `json:"user"`
	Role    string `json:"role"`
	Project string `json:"project"` // "" = the server
}

func (c *call) listPermissions() (any, error) {
	grants, err := c.Identity.Grants.Find(c.ctx(), store.Query{})
	if err != nil {
		return nil, err
	}
	out := []grantShape{}
	for _, g := range grants {
		shape := grantShape{User: g.UserID, Role: string(g.Role), Project: g.ProjectID}
		if u, err := c.Identity.Users.Get(c.ctx(), g.UserID); err == nil {
			shape.User = u.Name
		}
		if g.ProjectID != "" {
			if p, err := c.Projects.Find(c.ctx(), g.ProjectID); err == nil {
				shape.Project = p.Name
			}
		}
		out = append(out, shape)
	}
	return listOf(out), nil
}

func (c *call) grant() (any, error) {
	var in grantShape
	if err := c.read(&in); err != nil {
		return nil, err
	}
	projectID := ""
	if in.Project != "" {
		p, err := c.Projects.Find(c.ctx(), in.Project)
		if err != nil {
			return nil, err
		}
		projectID, in.Project = p.ID, p.Name
	}
	if projectID != "" && in.Role == string(identity.ServerAdministrator) {
		return nil, fault.New(fault.Invalid, "server-role", "%s is a role on the server, not on a project", in.Role).Try("leave the project out")
	}
	if err := c.Identity.GrantRole(c.ctx(), in.User, identity.Role(in.Role), projectID); err != nil {
		return nil, err
	}
	return in, nil
}

type groupShape struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Members []string `json:"members"` // sign-in names
}

func (c *call) groupShape(g *identity.Group) groupShape {
	s := groupShape{ID: g.ID, Name: g.Name, Members: []string{}}
	for _, id := range g.Members {
		if u, err := c.Identity.Users.Get(c.ctx(), id); err == nil {
			s.Members = append(s.Members, u.Name)
		}
	}
	return s
}

func (c *call) listGroups() (any, error) {
	found, err := c.Identity.Groups.Find(c.ctx(), store.Where("project_id", c.project.ID))
	if err != nil {
		return nil, err
	}
	return mapped(found, c.groupShape), nil
}

func (c *call) putGroup() (any, error) {
	var in struct{ Members []string }
	if err := c.read(&in); err != nil {
		return nil, err
	}
	g, err := c.Identity.PutGroup(c.ctx(), c.project.ID, c.params["group"], in.Members)
	if err != nil {
		return nil, err
	}
	return c.groupShape(g), nil
}

type tokenShape struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Scopes  []string  `json:"scopes"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"`
	Token   string    `json:"token,omitempty"` // once, when it is made
	User    string    `json:"user,omitempty"`
}

func tokenShapeOf(t *identity.Token) tokenShape {
	s := tokenShape{ID: t.ID, Name: t.Name, Scopes: t.Scopes, Created: t.Created, Expires: t.Expires}
	if s.Scopes == nil {
		s.Scopes = []string{}
	}
	return s
}

func (c *call) listTokens() (any, error) {
	found, err := c.Identity.Tokens.Find(c.ctx(), store.Where("owner_id", c.subject.ID).And("kind", string(identity.PersonalToken)))
	if err != nil {
		return nil, err
	}
	return mapped(found, tokenShapeOf), nil
}

// The life of personal tokens.
const (
	tokenLife    = 30 * 24 * time.Hour
	maxTokenLife = 366 * 24 * time.Hour
)

func (c *call) createToken() (any, error) {
	var in struct {
		Name    string
		Scopes  []string
		Expires string
	}
	if err := c.read(&in); err != nil {
		return nil, err
	}
	if err := c.unlimitedUser(); err != nil {
		return nil, err
	}
	if err := identity.CheckName("token", in.Name); err != nil {
		return nil, err
	}
	life, err := time.ParseDuration(cmp.Or(in.Expires, tokenLife.String()))
	if err != nil || life <= 0 || life > maxTokenLife {
		return nil, fault.New(fault.Invalid, "invalid-duration", "a token cannot live for %q", in.Expires).Want("a duration up to %s", maxTokenLife)
	}
	secret, t, err := c.Identity.IssueToken(c.ctx(), identity.Token{Kind: identity.PersonalToken, OwnerID: c.subject.ID, Name: in.Name, Scopes: in.Scopes, Expires: c.Clock.Now().Add(life)})
	if err != nil {
		return nil, err
	}
	if err := c.Audit.Record(c.ctx(), c.subject.Name, "token.create", "token "+in.Name, strings.Join(in.Scopes, ", ")); err != nil {
		return nil, err
	}
	shape := tokenShapeOf(t)
	shape.Token = secret
	return created{shape}, nil
}

// revokeToken removes one of the caller's tokens; `current` is the one in use.
func (c *call) revokeToken() (any, error) {
	name := c.params["token"]
	if c.subject.Kind != identity.UserKind {
		return nil, fault.New(fault.Denied, "denied", "only a user has tokens to revoke")
	}
	if strings.EqualFold(name, "current") {
		t, err := c.Identity.FindToken(c.ctx(), c.secret)
		if err != nil {
			return nil, err
		}
		name = t.ID
	} else if err := c.unlimitedUser(); err != nil {
		return nil, err
	}
	return nil, c.Identity.RevokeToken(c.ctx(), c.subject.ID, name)
}

// signIn exchanges name and password for a personal token of this client.
func (c *call) signIn() (any, error) {
	if err := c.origins.Check(c.r); err != nil {
		return nil, fault.Wrap(err, fault.Denied, "cross-origin", "the request comes from another site")
	}
	var in struct{ Name, Password, Client string }
	if err := c.read(&in); err != nil {
		return nil, err
	}
	keys := []string{"peer/" + c.peer(), "user/" + strings.ToLower(in.Name)}
	for _, key := range keys {
		if err := c.signIns.allow(key); err != nil {
			return nil, err
		}
	}
	u, err := c.Identity.SignIn(c.ctx(), in.Name, in.Password)
	if err != nil {
		return nil, err
	}
	c.signIns.forgive(keys...)
	ctx := identity.With(c.ctx(), identity.Subject{Kind: identity.UserKind, ID: u.ID, Name: u.Name})
	name := cmp.Or(strings.TrimSpace(in.Client), "session")
	if err := identity.CheckName("client", name); err != nil {
		return nil, err
	}
	secret, t, err := c.Identity.IssueToken(ctx, identity.Token{Kind: identity.PersonalToken, OwnerID: u.ID, Name: name, Expires: c.Clock.Now().Add(tokenLife)})
	if err != nil {
		return nil, err
	}
	if err := c.Audit.Record(ctx, u.Name, "session.create", "token "+name, c.peer()); err != nil {
		return nil, err
	}
	shape := tokenShapeOf(t)
	shape.Token, shape.User = secret, u.Name
	c.w.Header().Set("Cache-Control", "no-store")
	return created{shape}, nil
}

func (c *call) listAudit() (any, error) {
	q := store.Query{}.Latest("id")
	for column, name := range map[string]string{"actor": "by", "action": "action", "object": "object"} {
		if v := c.query(name); v != "" {
			q = q.And(column, v)
		}
	}
	if text := c.query("since"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			return nil, fault.New(fault.Invalid, "invalid-duration", "since=%q is no duration", text).Want("for instance 24h")
		}
		q = q.AndOp("time", store.Ge, c.Clock.Now().Add(-d))
	}
	found, err := c.Audit.Records.Find(c.ctx(), q.Top(c.top(100)))
	if err != nil {
		return nil, err
	}
	return listOf(found), nil
}

func (c *call) verifyAudit() (any, error) {
	n, err := c.Audit.Verify(c.ctx())
	if err != nil {
		return nil, err
	}
	return map[string]any{"records": n, "intact": true}, nil
}
