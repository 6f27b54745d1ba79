package devopsapi

import (
	"encoding/base64"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/keyvault"
)

const ourVault = "{project}/_apis/penstock/vaults/{vault}"

var vaultRoutes = []Route{
	{"penstock", "vaults", "", "GET", "{project}/_apis/penstock/vaults", identity.ProjectView, (*call).listVaults, nil, smallJSON},
	{"penstock", "vaults", "", "POST", "{project}/_apis/penstock/vaults", identity.ProjectEdit, (*call).createVault, nil, smallJSON},
	{"penstock", "secrets", "", "GET", ourVault + "/secrets", identity.ProjectView, (*call).listSecrets, nil, smallJSON},
	{"penstock", "secrets", "", "PUT", ourVault + "/secrets/{secret}", identity.SecretWrite, (*call).setSecret, nil, smallJSON},
	{"penstock", "secrets", "", "GET", ourVault + "/secrets/{secret}/value", identity.SecretRead, (*call).readSecret, nil, smallJSON},
	{"penstock", "secrets", "", "DELETE", ourVault + "/secrets/{secret}", identity.SecretWrite, (*call).deleteSecret, nil, smallJSON},
}

func (c *call) vault() (*keyvault.Vault, error) {
	return c.Vaults.FindVault(c.ctx(), c.project.ID, c.params["vault"])
}

func (c *call) listVaults() (any, error) {
	found, err := c.Vaults.Vaults.Find(c.ctx(), store.Where("project_id", c.project.ID).By("key"))
	if err != nil {
		return nil, err
	}
	return listOf(found), nil
}

func (c *call) createVault() (any, error) {
	var in struct{ Name string }
	if err := c.read(&in); err != nil {
		return nil, err
	}
	v, err := c.Vaults.CreateVault(c.ctx(), c.project.ID, in.Name)
	if err != nil {
		return nil, err
	}
	if v.ProjectID != c.project.ID {
		return nil, fault.New(fault.Conflict, "name-taken", "the vault name %s is taken", in.Name).Try("choose another: a vault's name is unique on the server")
	}
	return created{v}, nil
}

// secretShape is a secret without its value.
type secretShape struct {
	Name     string    `json:"name"`
	Version  string    `json:"version"` // the newest
	Versions int       `json:"versions"`
	Length   int       `json:"length"`
	Enabled  bool      `json:"enabled"`
	Updated  time.Time `json:"updated"`
	By       string    `json:"by"`
}

func secretShapeOf(s *keyvault.Secret) secretShape {
	shape := secretShape{Name: s.Name, Versions: len(s.Versions)}
	if n := len(s.Versions); n > 0 {
		v := s.Versions[n-1]
		shape.Version, shape.Length, shape.Enabled, shape.Updated, shape.By = v.ID, v.Length, !v.Disabled, v.Created, v.By
	}
	return shape
}

func (c *call) listSecrets() (any, error) {
	v, err := c.vault()
	if err != nil {
		return nil, err
	}
	found, err := c.Vaults.List(c.ctx(), v.ID)
	if err != nil {
		return nil, err
	}
	return mapped(found, secretShapeOf), nil
}

// setSecret takes a value as text, or as base64 where it is no text.
func (c *call) setSecret() (any, error) {
	var in struct{ Value, Base64 string }
	if err := c.read(&in); err != nil {
		return nil, err
	}
	v, err := c.vault()
	if err != nil {
		return nil, err
	}
	value := []byte(in.Value)
	if in.Base64 != "" {
		if value, err = base64.StdEncoding.DecodeString(in.Base64); err != nil {
			return nil, fault.New(fault.Invalid, "invalid-base64", "the value is no base64")
		}
	}
	version, err := c.Vaults.SetSecret(c.ctx(), v, c.params["secret"], value)
	if err != nil {
		return nil, err
	}
	return map[string]any{"name": c.params["secret"], "version": version.ID, "length": version.Length, "updated": version.Created}, nil
}

func (c *call) readSecret() (any, error) {
	v, err := c.vault()
	if err != nil {
		return nil, err
	}
	value, err := c.Vaults.Value(c.ctx(), v, c.params["secret"], c.query("version"))
	if err != nil {
		return nil, err
	}
	c.w.Header().Set("Cache-Control", "no-store")
	return map[string]any{"name": c.params["secret"], "value": string(value)}, nil
}

func (c *call) deleteSecret() (any, error) {
	v, err := c.vault()
	if err != nil {
		return nil, err
	}
	return nil, c.Vaults.DeleteSecret(c.ctx(), v, c.params["secret"])
}
