// Package variablegroup holds named sets of variables that pipelines refer to:
// plain values, sealed values, and names of secrets in a vault.
package variablegroup

import (
	"context"
	"strconv"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/audit"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/keyvault"
)

// Group is one variable group.
type Group struct {
	store.Revision
	ID          string            `col:"id" json:"id"`
	Num         int               `col:"num" json:"num"`
	ProjectID   string            `col:"project_id" json:"projectId"`
	Key         string            `col:"key" json:"key"` // project id / lower-case name
	Name        string            `json:"name"`
	Description string            `json:"description"`
	Variables   map[string]string `json:"variables"`
	Sealed      map[string][]byte `json:"sealed"`      // secret values kept here
	Vault       string            `json:"vault"`       // linked vault, "" = none
	Secrets     []string          `json:"secrets"`     // names taken from the vault
	Application string            `json:"application"` // kept by that application, read-only for people
}

// Value is one resolved variable.
type Value struct {
	Text   string
	Secret bool
}

// Service holds the use cases of variable groups.
type Service struct {
	Groups store.Table[Group]
	Tx     store.Runner
	Audit  *audit.Service
	Vaults *keyvault.Service
}

// Find returns a group of a project by name, or nil.
func (s *Service) Find(ctx context.Context, projectID, name string) (*Group, error) {
	return store.First(ctx, s.Groups, store.Where("key", projectID+"/"+strings.ToLower(name)))
}

// Put makes or replaces a group. Plain secrets are sealed; one that is left out
// of secret keeps its value.
func (s *Service) Put(ctx context.Context, g *Group, secret map[string]string) (*Group, error) {
	if err := identity.CheckTitle("variable group", g.Name); err != nil {
		return nil, err
	}
	if g.Vault != "" {
		if _, err := s.Vaults.FindVault(ctx, g.ProjectID, g.Vault); err != nil {
			return nil, err
		}
	}
	return g, s.Tx.InTx(ctx, func(ctx context.Context) error {
		old, err := s.Find(ctx, g.ProjectID, g.Name)
		if err != nil {
			return err
		}
		g.Key, g.Sealed = g.ProjectID+"/"+strings.ToLower(g.Name), map[string][]byte{}
		if old == nil {
			if g.Num, err = s.Tx.Next(ctx, "variablegroup"); err != nil {
				return err
			}
			g.ID = strconv.Itoa(g.Num)
		} else {
			if old.Application != g.Application {
				return fault.New(fault.Conflict, "group-taken", "variable group %s belongs to %s", g.Name, owner(old)).Try("choose another name")
			}
			g.ID, g.Num, g.Sealed = old.ID, old.Num, old.Sealed
			g.SetRev(old.Rev())
		}
		for name, value := range secret {
			if g.Sealed[name], err = s.Vaults.Sealer.Seal([]byte(value), "group/"+g.ID+"/"+name); err != nil {
				return err
			}
		}
		if old == nil {
			err = s.Groups.Insert(ctx, g)
		} else {
			err = s.Groups.Save(ctx, g)
		}
		if err != nil {
			return err
		}
		return s.Audit.Record(ctx, identity.From(ctx).Name, "variableGroup.set", "variable group "+g.Name, "")
	})
}

func owner(g *Group) string {
	if g.Application != "" {
		return "application " + g.Application
	}
	return "a user"
}

// Resolve returns the variables of a group. A secret that is missing fails the
// whole group, as on the service.
func (s *Service) Resolve(ctx context.Context, projectID, name string) (map[string]Value, error) {
	g, err := s.Find(ctx, projectID, name)
	if err != nil {
		return nil, err
	}
	if g == nil {
		return nil, fault.New(fault.NotFound, "variable-group-not-found", "no variable group %s", name).Try("penstock variable-group list")
	}
	values := map[string]Value{}
	for k, v := range g.Variables {
		values[k] = Value{Text: v}
	}
	for k, sealed := range g.Sealed {
		plain, err := s.Vaults.Sealer.Open(sealed, "group/"+g.ID+"/"+k)
		if err != nil {
			return nil, fault.Wrap(err, fault.Unavailable, "secret-sealed", "secret %s of variable group %s cannot be opened", k, name)
		}
		values[k] = Value{Text: string(plain), Secret: true}
	}
	if g.Vault == "" {
		return values, nil
	}
	v, err := s.Vaults.FindVault(ctx, projectID, g.Vault)
	if err != nil {
		return nil, err
	}
	for _, secret := range g.Secrets {
		plain, err := s.Vaults.Value(ctx, v, secret, "")
		if err != nil {
			return nil, err
		}
		values[secret] = Value{Text: string(plain), Secret: true}
	}
	return values, nil
}
