// Package keyvault keeps secrets: versions are sealed by a key that is not in
// the database, and only their names ever leave without permission.
package keyvault

import (
	"context"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/base/pattern"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/audit"
	"penstock.dev/penstock/internal/domain/identity"
)

// Vault is a named set of secrets of a project.
type Vault struct {
	store.Revision
	ID        string    `col:"id" json:"id"`
	ProjectID string    `col:"project_id" json:"projectId"`
	Key       string    `col:"key" json:"key"` // lower-case name; unique in the installation, because it is a host name
	Name      string    `json:"name"`
	Created   time.Time `json:"created"`
}

// Secret is one name with its versions, oldest first.
type Secret struct {
	store.Revision
	ID       string    `col:"id" json:"id"`
	VaultID  string    `col:"vault_id" json:"vaultId"`
	Key      string    `col:"key" json:"key"` // vault id / lower-case name
	Name     string    `json:"name"`
	Versions []Version `json:"versions"`
}

// Version is one value of a secret, sealed.
type Version struct {
	ID       string    `json:"id"`
	Created  time.Time `json:"created"`
	By       string    `json:"by"`
	Disabled bool      `json:"disabled"`
	Length   int       `json:"length"` // bytes
	Sealed   []byte    `json:"sealed"`
}

// Sealer encrypts values. Binding names what a value belongs to: opening under
// another name fails, so that sealed values cannot be exchanged in the database.
type Sealer interface {
	Seal(plain []byte, binding string) ([]byte, error)
	Open(sealed []byte, binding string) ([]byte, error)
}

// MaxSecret is the largest value, in bytes, as in Azure Key Vault.
const MaxSecret = 25_000

// Service holds the use cases of vaults.
type Service struct {
	Vaults  store.Table[Vault]
	Secrets store.Table[Secret]
	Tx      store.Runner
	Audit   *audit.Service
	Clock   store.Clock
	Sealer  Sealer
}

var (
	vaultName  = pattern.Lazy(`^[A-Za-z][A-Za-z0-9-]{1,22}[A-Za-z0-9]$`)
	secretName = pattern.Lazy(`^[A-Za-z0-9-]{1,127}$`)
)

// CreateVault makes a vault; a vault of that name in the project is returned.
func (s *Service) CreateVault(ctx context.Context, projectID, name string) (*Vault, error) {
	if !vaultName().MatchString(name) || strings.Contains(name, "--") {
		return nil, fault.New(fault.Invalid, "invalid-name", "vault name %q is not usable", name).
			Want("3 to 24 letters, digits and single '-', beginning with a letter")
	}
	if v, err := store.First(ctx, s.Vaults, store.Where("key", strings.ToLower(name))); err != nil || v != nil && v.ProjectID == projectID {
		return v, err
	}
	v := &Vault{ID: id.New(), ProjectID: projectID, Key: strings.ToLower(name), Name: name, Created: s.Clock.Now()}
	return v, s.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := s.Vaults.Insert(ctx, v); err != nil {
			return err
		}
		return s.Audit.Record(ctx, identity.From(ctx).Name, "vault.create", "vault "+name, "")
	})
}

// FindVault returns a vault of a project by name.
func (s *Service) FindVault(ctx context.Context, projectID, name string) (*Vault, error) {
	v, err := store.First(ctx, s.Vaults, store.Where("key", strings.ToLower(name)))
	if err != nil {
		return nil, err
	}
	if v == nil || v.ProjectID != projectID {
		return nil, fault.New(fault.NotFound, "not-found", "no vault %s", name).Try("penstock vault list")
	}
	return v, nil
}

func (s *Service) find(ctx context.Context, vaultID, name string) (*Secret, error) {
	return store.First(ctx, s.Secrets, store.Where("key", vaultID+"/"+strings.ToLower(name)))
}

// SetSecret adds a version and makes it the current one.
func (s *Service) SetSecret(ctx context.Context, v *Vault, name string, value []byte) (*Version, error) {
	if !secretName().MatchString(name) {
		return nil, fault.New(fault.Invalid, "invalid-name", "secret name %q is not usable", name).Want("1 to 127 letters, digits and '-'")
	}
	if len(value) == 0 || len(value) > MaxSecret {
		return nil, fault.New(fault.Invalid, "secret-size", "the value of %s is empty or too long", name).Want("1 to %d bytes", MaxSecret).Got("%d", len(value))
	}
	by := identity.From(ctx).Name
	version := Version{ID: strings.ReplaceAll(id.New(), "-", ""), Created: s.Clock.Now(), By: by, Length: len(value)}
	return &version, s.Tx.InTx(ctx, func(ctx context.Context) error {
		secret, err := s.find(ctx, v.ID, name)
		if err != nil {
			return err
		}
		if secret == nil {
			secret = &Secret{ID: id.New(), VaultID: v.ID, Key: v.ID + "/" + strings.ToLower(name), Name: name}
		}
		if version.Sealed, err = s.Sealer.Seal(value, secret.ID+"/"+version.ID); err != nil {
			return err
		}
		secret.Versions = append(secret.Versions, version)
		if secret.Rev() == 0 {
			err = s.Secrets.Insert(ctx, secret)
		} else {
			err = s.Secrets.Save(ctx, secret)
		}
		if err != nil {
			return err
		}
		return s.Audit.Record(ctx, by, "secret.set", "secret "+v.Name+"/"+name, "version "+version.ID)
	})
}

// Value opens the current version of a secret, or a given one. Every reading is
// audited.
func (s *Service) Value(ctx context.Context, v *Vault, name, version string) ([]byte, error) {
	secret, err := s.find(ctx, v.ID, name)
	if err != nil {
		return nil, err
	}
	if secret == nil {
		return nil, fault.New(fault.NotFound, "secret-not-found", "vault %s has no secret %s", v.Name, name).
			Try("penstock vault secret set %s/%s < FILE", v.Name, name)
	}
	for i := len(secret.Versions) - 1; i >= 0; i-- {
		ver := secret.Versions[i]
		if version != "" && ver.ID != version || version == "" && ver.Disabled {
			continue
		}
		if ver.Disabled {
			return nil, fault.New(fault.Denied, "secret-disabled", "version %s of %s is disabled", ver.ID, name)
		}
		plain, err := s.Sealer.Open(ver.Sealed, secret.ID+"/"+ver.ID)
		if err != nil {
			return nil, fault.Wrap(err, fault.Unavailable, "secret-sealed", "secret %s/%s cannot be opened", v.Name, name).
				Try("is the key file the one this data folder was made with?")
		}
		return plain, s.Audit.Record(ctx, identity.From(ctx).Name, "secret.read", "secret "+v.Name+"/"+name, "version "+ver.ID)
	}
	return nil, fault.New(fault.NotFound, "secret-not-found", "secret %s/%s has no enabled version", v.Name, name)
}

// List returns the secrets of a vault; values stay sealed.
func (s *Service) List(ctx context.Context, vaultID string) ([]*Secret, error) {
	return s.Secrets.Find(ctx, store.Where("vault_id", vaultID).By("key"))
}

// DeleteSecret removes a secret with all its versions.
func (s *Service) DeleteSecret(ctx context.Context, v *Vault, name string) error {
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		secret, err := s.find(ctx, v.ID, name)
		if err != nil {
			return err
		}
		if secret == nil {
			return fault.New(fault.NotFound, "secret-not-found", "vault %s has no secret %s", v.Name, name)
		}
		if err := s.Secrets.Delete(ctx, secret.ID); err != nil {
			return err
		}
		return s.Audit.Record(ctx, identity.From(ctx).Name, "secret.delete", "secret "+v.Name+"/"+name, "")
	})
}
