package identity

import (
	"context"
	"slices"

	"penstock.dev/penstock/internal/base/fault"
)

// Role is a bundle of permissions, on a project or on the server.
type Role string

// The roles, each holding what the one before it holds.
const (
	Reader               Role = "reader"
	Contributor          Role = "contributor"
	ProjectAdministrator Role = "projectAdministrator"
	ServerAdministrator  Role = "serverAdministrator"
)

// Roles lists the roles in rising order.
var Roles = []Role{Reader, Contributor, ProjectAdministrator, ServerAdministrator}

// Permission is one thing a subject may do.
type Permission string

// The permissions. Every route of every edge names one of them.
const (
	Anyone          Permission = "anyone"          // no sign-in needed
	SignedIn        Permission = "signedIn"        // any user, agent or job
	ProjectView     Permission = "project.view"    // read a project and all in it but secrets
	CodeWrite       Permission = "code.write"      // push, open and vote on pull requests
	RunQueue        Permission = "run.queue"       // queue, cancel, rerun
	ArtifactWrite   Permission = "artifact.write"  // a job's results: artifacts, tests, logs
	RunTag          Permission = "run.tag"         // tags of a run; a job's own run
	Approve         Permission = "approval.decide" // the approver list decides further
	Release         Permission = "app.release"     // swap, roll back, drain
	ProjectEdit     Permission = "project.edit"    // pipelines, policies, environments, applications, variable groups
	SecretWrite     Permission = "secret.write"    // set secrets; nobody reads them back
	SecretRead      Permission = "secret.read"     // read a secret's value
	SecretUse       Permission = "secret.use"      // a job: what its own plan names
	ProjectCreate   Permission = "project.create"
	AgentManage     Permission = "agent.manage" // pools, agents, join tokens
	UserManage      Permission = "user.manage"
	AuditRead       Permission = "audit.read"
	AgentConnection Permission = "agent.connection" // the agent's own routes
)

// least is the lowest role that holds a permission. What is not listed here is
// held by no role.
var least = map[Permission]Role{
	ProjectView:   Reader,
	CodeWrite:     Contributor,
	RunQueue:      Contributor,
	RunTag:        Contributor,
	Approve:       Contributor,
	Release:       Contributor,
	ProjectEdit:   ProjectAdministrator,
	SecretWrite:   ProjectAdministrator,
	SecretRead:    ProjectAdministrator,
	ArtifactWrite: ProjectAdministrator,
	ProjectCreate: ServerAdministrator,
	AgentManage:   ServerAdministrator,
	UserManage:    ServerAdministrator,
	AuditRead:     ServerAdministrator,
}

// jobMay is what System.AccessToken allows, on the job's own project. Release
// is further restricted to deployment jobs of the production environment,
// SecretUse to vaults and secure files that a step of the job names.
var jobMay = map[Permission]bool{SignedIn: true, ProjectView: true, ArtifactWrite: true, RunTag: true, Release: true, SecretUse: true}

// tokenScopes maps a scope of a personal access token to what it opens.
var tokenScopes = map[string][]Permission{
	"repo:read":   {ProjectView},
	"repo:write":  {ProjectView, CodeWrite},
	"run:read":    {ProjectView},
	"run:write":   {ProjectView, RunQueue, RunTag, Approve},
	"app:release": {ProjectView, Release},
	"project:all": {ProjectView, CodeWrite, RunQueue, RunTag, Approve, Release, ProjectEdit, SecretWrite, SecretRead, ArtifactWrite},
}

// KnownScope reports whether a personal access token can carry the scope.
func KnownScope(scope string) bool { _, ok := tokenScopes[scope]; return ok }

// Can decides whether a subject has a permission on a project ("" = the
// server). It is the one place where that is decided; default is no.
func Can(s Subject, p Permission, projectID string) bool {
	switch {
	case p == Anyone:
		return true
	case s.Kind == SystemKind:
		return true
	case s.Kind == AgentKind:
		return p == AgentConnection || p == SignedIn
	case s.Kind == JobKind:
		return (jobMay[p] || p == CodeWrite && s.writes) && (p == SignedIn || s.Project == projectID)
	case s.Kind != UserKind:
		return false
	case p == SignedIn:
		return true
	}
	return scopeAllows(s.Scopes, p) && roleAllows(s.grants, p, projectID)
}

func scopeAllows(scopes []string, p Permission) bool {
	if len(scopes) == 0 {
		return true
	}
	for _, scope := range scopes {
		if slices.Contains(tokenScopes[scope], p) {
			return true
		}
	}
	return false
}

func roleAllows(grants []Grant, p Permission, projectID string) bool {
	need, known := least[p]
	if !known {
		return false
	}
	for _, g := range grants {
		if g.ProjectID != "" && (g.ProjectID != projectID || projectID == "") {
			continue
		}
		if slices.Index(Roles, g.Role) >= slices.Index(Roles, need) {
			return true
		}
	}
	return false
}

// Check is Can as an error: fault.Denied, with code not-signed-in where signing
// in would be the first step.
func Check(s Subject, p Permission, projectID string) error {
	if Can(s, p, projectID) {
		return nil
	}
	if s.Kind == Nobody {
		return fault.New(fault.Denied, "not-signed-in", "sign in first").Try("penstock login, or set PENSTOCK_TOKEN")
	}
	e := fault.New(fault.Denied, "denied", "%s may not do that", s.Name).Want("permission %s", p)
	if s.Kind == JobKind { // no role can be given to it
		return e.Try("give the step a person's token with the scope for it, as a secret variable: penstock token create --help")
	}
	if need, ok := least[p]; ok {
		return e.Want("role %s or above", need).Try("ask a project administrator for the role")
	}
	return e
}

// WithGrants returns the subject holding roles; tests and the sign-in use it.
func (s Subject) WithGrants(grants ...Grant) Subject { s.grants = grants; return s }

// VisibleProjects says which projects the subject may see: all, or a set of ids.
func (s Subject) VisibleProjects() (all bool, ids []string) {
	switch s.Kind {
	case SystemKind:
		return true, nil
	case JobKind:
		return false, []string{s.Project}
	case UserKind:
		for _, g := range s.grants {
			if g.ProjectID == "" {
				return true, nil
			}
			ids = append(ids, g.ProjectID)
		}
	}
	return false, ids
}

type subjectKey struct{}

// With puts the subject of a request into its context.
func With(ctx context.Context, s Subject) context.Context {
	return context.WithValue(ctx, subjectKey{}, s)
}

// From returns the subject of a request; Nobody if none was set.
func From(ctx context.Context) Subject {
	s, _ := ctx.Value(subjectKey{}).(Subject)
	return s
}
