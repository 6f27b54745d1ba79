// Package project holds projects: the space in which names of repositories,
// pipelines, environments and applications are unique.
package project

import (
	"context"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/audit"
	"penstock.dev/penstock/internal/domain/identity"
)

// Project is one project of the organization.
type Project struct {
	store.Revision
	ID          string    `col:"id" json:"id"`
	Key         string    `col:"key" json:"key"` // lower-case name, unique
	Name        string    `json:"name"`
	Description string    `json:"description"`
	Created     time.Time `json:"created"`
}

// reserved names would hide routes of the API or the pages.
var reserved = map[string]bool{"_apis": true, "_git": true, "signin": true, "signout": true, "approvals": true, "admin": true, "me": true,
	"docs": true, "static": true, "metrics": true, "healthz": true, "events": true}

// Service holds the use cases of projects.
type Service struct {
	Projects store.Table[Project]
	Tx       store.Runner
	Audit    *audit.Service
	Clock    store.Clock
}

// Create adds a project.
func (s *Service) Create(ctx context.Context, name, description string) (*Project, error) {
	if err := identity.CheckName("project", name); err != nil {
		return nil, err
	}
	key := strings.ToLower(name)
	if reserved[key] || strings.HasPrefix(key, "_") {
		return nil, fault.New(fault.Invalid, "invalid-name", "project name %q is reserved", name)
	}
	p := &Project{ID: id.New(), Key: key, Name: name, Description: description, Created: s.Clock.Now()}
	return p, s.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := s.Projects.Insert(ctx, p); err != nil {
			return err
		}
		return s.Audit.Record(ctx, identity.From(ctx).Name, "project.create", "project "+name, "")
	})
}

// Find returns a project by name or id, ignoring case.
func (s *Service) Find(ctx context.Context, nameOrID string) (*Project, error) {
	p, err := store.First(ctx, s.Projects, store.Where("key", strings.ToLower(nameOrID)))
	if err != nil || p != nil {
		return p, err
	}
	p, err = s.Projects.Get(ctx, nameOrID)
	if fault.Is(err, fault.NotFound) {
		return nil, fault.New(fault.NotFound, "not-found", "no project %s", nameOrID).Try("penstock project list")
	}
	return p, err
}
