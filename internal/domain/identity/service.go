package identity

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/audit"
)

// Store is what identity keeps.
type Store struct {
	Users  store.Table[User]
	Groups store.Table[Group]
	Grants store.Table[Grant]
	Tokens store.Table[Token]
}

// Service holds the use cases of users, groups and credentials.
type Service struct {
	Store
	Tx    store.Runner
	Audit *audit.Service
	Clock store.Clock
	// JobsWrite lets jobs push: to repositories that are thrown away with the run.
	JobsWrite bool
	// hashing is limited, because each argon2id run takes 19 MiB.
	hashing chan struct{}
}

// NewService makes the service.
func NewService(s Store, tx store.Runner, a *audit.Service, clock store.Clock) *Service {
	return &Service{Store: s, Tx: tx, Audit: a, Clock: clock, hashing: make(chan struct{}, 2)}
}

// CreateUser adds a user with a password; an empty password means the user
// cannot sign in with one.
func (s *Service) CreateUser(ctx context.Context, name, displayName, password string) (*User, error) {
	u, err := NewUser(id.New(), name, displayName, s.Clock.Now())
	if err != nil {
		return nil, err
	}
	if password != "" {
		if u.PasswordHash, err = s.hash(password); err != nil {
			return nil, err
		}
	}
	return u, s.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := s.Users.Insert(ctx, u); err != nil {
			return err
		}
		return s.Audit.Record(ctx, From(ctx).Name, "user.create", "user "+u.Name, "")
	})
}

// SetPassword replaces a user's password and ends the user's sessions.
func (s *Service) SetPassword(ctx context.Context, name, password string) error {
	hash, err := s.hash(password)
	if err != nil {
		return err
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		u, err := s.UserByName(ctx, name)
		if err != nil {
			return err
		}
		u.PasswordHash = hash
		if err := s.Users.Save(ctx, u); err != nil {
			return err
		}
		sessions, err := s.Tokens.Find(ctx, store.Where("owner_id", u.ID).And("kind", string(SessionToken)))
		if err != nil {
			return err
		}
		for _, t := range sessions {
			if err := s.Tokens.Delete(ctx, t.ID); err != nil {
				return err
			}
		}
		return s.Audit.Record(ctx, From(ctx).Name, "user.password", "user "+u.Name, "")
	})
}

// UserByName finds a user by sign-in name.
func (s *Service) UserByName(ctx context.Context, name string) (*User, error) {
	u, err := store.First(ctx, s.Users, store.Where("name", strings.ToLower(name)))
	if err == nil && u == nil {
		err = fault.New(fault.NotFound, "not-found", "no user %s", name).Try("penstock user list")
	}
	return u, err
}

// SignIn checks a password. The answer does not tell a wrong name from a wrong
// password, in words or in time.
func (s *Service) SignIn(ctx context.Context, name, password string) (*User, error) {
	refused := fault.New(fault.Denied, "sign-in-refused", "name or password is wrong").Try("try again, or ask an administrator for a new password")
	u, err := s.UserByName(ctx, name)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	hash := decoyHash
	if u != nil && u.PasswordHash != "" && !u.Disabled {
		hash = u.PasswordHash
	}
	ok, err := s.verify(password, hash)
	if err != nil {
		return nil, err
	}
	if !ok || u == nil || hash == decoyHash {
		return nil, refused
	}
	return u, nil
}

// TokenHash is how a token is stored and found.
func TokenHash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

var tokenPrefixes = map[TokenKind]string{PersonalToken: "pst_", SessionToken: "pss_", AgentToken: "psa_", JoinToken: "psj_", JobToken: "psr_"}

// IssueToken stores a new token and returns its secret, which is shown once.
func (s *Service) IssueToken(ctx context.Context, t Token) (secret string, stored *Token, err error) {
	for _, scope := range t.Scopes {
		if !KnownScope(scope) {
			return "", nil, fault.New(fault.Invalid, "unknown-scope", "no scope %s", scope).Want("repo:read, repo:write, run:read, run:write, app:release, project:all")
		}
	}
	secret = tokenPrefixes[t.Kind] + id.Secret(24)
	t.ID, t.Hash, t.Created = id.New(), TokenHash(secret), s.Clock.Now()
	if err := s.Tokens.Insert(ctx, &t); err != nil {
		return "", nil, err
	}
	return secret, &t, nil
}

// RevokeToken removes a token of the owner, by id or name.
func (s *Service) RevokeToken(ctx context.Context, ownerID, idOrName string) error {
	tokens, err := s.Tokens.Find(ctx, store.Where("owner_id", ownerID))
	if err != nil {
		return err
	}
	for _, t := range tokens {
		if t.ID == idOrName || t.Kind == PersonalToken && strings.EqualFold(t.Name, idOrName) {
			if err := s.Tokens.Delete(ctx, t.ID); err != nil {
				return err
			}
			return s.Audit.Record(ctx, From(ctx).Name, "token.revoke", "token "+t.Name, "")
		}
	}
	return fault.New(fault.NotFound, "not-found", "no token %s", idOrName).Try("penstock token list")
}

// FindToken returns the live token of a secret; fault.Denied if there is none.
func (s *Service) FindToken(ctx context.Context, secret string) (*Token, error) {
	t, err := store.First(ctx, s.Tokens, store.Where("hash", TokenHash(secret)))
	if err != nil {
		return nil, err
	}
	if t == nil || !t.Expires.IsZero() && t.Expires.Before(s.Clock.Now()) {
		return nil, fault.New(fault.Denied, "not-signed-in", "the token is not valid (any more)").
			Try("penstock login, or penstock token create on a machine that is signed in")
	}
	return t, nil
}

// SubjectOf turns a token's secret into the subject it stands for.
func (s *Service) SubjectOf(ctx context.Context, secret string) (Subject, error) {
	t, err := s.FindToken(ctx, secret)
	if err != nil {
		return Subject{}, err
	}
	switch t.Kind {
	case AgentToken:
		return Subject{Kind: AgentKind, ID: t.OwnerID, Name: "agent " + t.Name}, nil
	case JobToken:
		return Subject{Kind: JobKind, ID: t.OwnerID, Name: t.Name, Project: t.ProjectID, Run: t.RunID, writes: s.JobsWrite}, nil
	case PersonalToken, SessionToken:
		u, err := s.Users.Get(ctx, t.OwnerID)
		if err != nil {
			return Subject{}, err
		}
		sub, err := s.SubjectOfUser(ctx, u)
		sub.Scopes = t.Scopes
		return sub, err
	}
	return Subject{}, fault.New(fault.Denied, "not-signed-in", "that token does not sign anybody in")
}

// SubjectOfUser returns the user with the roles held now.
func (s *Service) SubjectOfUser(ctx context.Context, u *User) (Subject, error) {
	if u.Disabled {
		return Subject{}, fault.New(fault.Denied, "user-disabled", "user %s is disabled", u.Name)
	}
	grants, err := s.Grants.Find(ctx, store.Where("user_id", u.ID))
	if err != nil {
		return Subject{}, err
	}
	sub := Subject{Kind: UserKind, ID: u.ID, Name: u.Name}
	for _, g := range grants {
		sub.grants = append(sub.grants, *g)
	}
	return sub, nil
}

// GrantRole gives a user a role on a project ("" = the server), replacing the
// one held there.
func (s *Service) GrantRole(ctx context.Context, userName string, role Role, projectID string) error {
	if !slices.Contains(Roles, role) {
		return fault.New(fault.Invalid, "unknown-role", "no role %s", role).Want("reader, contributor, projectAdministrator or serverAdministrator")
	}
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		u, err := s.UserByName(ctx, userName)
		if err != nil {
			return err
		}
		old, err := s.Grants.Find(ctx, store.Where("user_id", u.ID).And("project_id", projectID))
		if err != nil {
			return err
		}
		for _, g := range old {
			if err := s.Grants.Delete(ctx, g.ID); err != nil {
				return err
			}
		}
		if err := s.Grants.Insert(ctx, &Grant{ID: id.New(), UserID: u.ID, ProjectID: projectID, Role: role}); err != nil {
			return err
		}
		return s.Audit.Record(ctx, From(ctx).Name, "permission.grant", "user "+u.Name, string(role)+" on project "+projectID)
	})
}

// PutGroup makes or replaces a group of a project by name.
func (s *Service) PutGroup(ctx context.Context, projectID, name string, members []string) (*Group, error) {
	if err := CheckName("group", name); err != nil {
		return nil, err
	}
	var g *Group
	err := s.Tx.InTx(ctx, func(ctx context.Context) error {
		ids := []string{}
		for _, m := range members {
			u, err := s.UserByName(ctx, m)
			if err != nil {
				return err
			}
			ids = append(ids, u.ID)
		}
		var err error
		if g, err = s.GroupByName(ctx, projectID, name); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		if g == nil {
			g = &Group{ID: id.New(), ProjectID: projectID, Name: name, Members: ids}
			err = s.Groups.Insert(ctx, g)
		} else {
			g.Members = ids
			err = s.Groups.Save(ctx, g)
		}
		if err != nil {
			return err
		}
		return s.Audit.Record(ctx, From(ctx).Name, "group.set", "group "+name, strings.Join(members, ", "))
	})
	return g, err
}

// GroupByName finds a group of a project, ignoring case.
func (s *Service) GroupByName(ctx context.Context, projectID, name string) (*Group, error) {
	groups, err := s.Groups.Find(ctx, store.Where("project_id", projectID))
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		if strings.EqualFold(g.Name, name) {
			return g, nil
		}
	}
	return nil, fault.New(fault.NotFound, "not-found", "no group %s", name)
}

// SessionLength is how long a browser stays signed in.
const SessionLength = 12 * time.Hour
