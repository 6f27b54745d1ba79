package devopsapi

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/keyvault"
	"penstock.dev/penstock/internal/domain/pipeline/reference"
	"penstock.dev/penstock/internal/domain/securefile"
	"penstock.dev/penstock/internal/domain/serviceconnection"
)

const ourVault = "{project}/_apis/penstock/vaults/{vault}"

var vaultRoutes = []Route{
	{"penstock", "vaults", "", "GET", "{project}/_apis/penstock/vaults", identity.ProjectView, (*call).listVaults, nil, smallJSON},
	{"penstock", "vaults", "", "POST", "{project}/_apis/penstock/vaults", identity.ProjectEdit, (*call).createVault, nil, smallJSON},
	{"penstock", "secrets", "", "GET", ourVault + "/secrets", identity.ProjectView, (*call).listSecrets, nil, smallJSON},
	{"penstock", "secrets", "", "PUT", ourVault + "/secrets/{secret}", identity.SecretWrite, (*call).setSecret, nil, smallJSON},
	{"penstock", "secrets", "", "GET", ourVault + "/secrets/{secret}/value", identity.SecretRead, (*call).readSecret, nil, smallJSON},
	{"penstock", "secrets", "", "DELETE", ourVault + "/secrets/{secret}", identity.SecretWrite, (*call).deleteSecret, nil, smallJSON},
	{"penstock", "jobsecrets", "", "GET", ourVault + "/jobsecrets", identity.SecretUse, (*call).jobSecrets, nil, smallJSON},

	{"serviceendpoint", "endpoints", endpointsID, "GET", endpointPath, identity.ProjectView, (*call).listConnections, nil, smallJSON},
	{"serviceendpoint", "endpoints", endpointsID, "GET", endpointPath + "/{endpoint}", identity.ProjectView, (*call).getConnection, nil, smallJSON},
	{"serviceendpoint", "endpoints", endpointsID, "POST", endpointPath, identity.SecretWrite, (*call).createConnection, nil, smallJSON},
	{"serviceendpoint", "endpoints", endpointsID, "PUT", endpointPath + "/{endpoint}", identity.SecretWrite, (*call).updateConnection, nil, smallJSON},
	{"serviceendpoint", "endpoints", endpointsID, "DELETE", endpointPath + "/{endpoint}", identity.SecretWrite, (*call).deleteConnection, nil, smallJSON},
	{"serviceendpoint", "endpoints", endpointsOfAll, "POST", "_apis/serviceendpoint/endpoints", identity.SecretWrite, (*call).createConnection, (*call).projectOfConnection, smallJSON},
	{"serviceendpoint", "endpoints", endpointsOfAll, "PUT", "_apis/serviceendpoint/endpoints/{endpoint}", identity.SecretWrite, (*call).updateConnection, (*call).projectOfConnection, smallJSON},
	{"serviceendpoint", "endpoints", endpointsOfAll, "DELETE", "_apis/serviceendpoint/endpoints/{endpoint}", identity.SecretWrite, (*call).deleteConnection, (*call).projectOfConnection, smallJSON},

	{"distributedtask", "securefiles", secureFilesID, "GET", secureFilePath, identity.ProjectView, (*call).listSecureFiles, nil, smallJSON},
	{"distributedtask", "securefiles", secureFilesID, "POST", secureFilePath, identity.SecretWrite, (*call).uploadSecureFile, nil, stream},
	{"distributedtask", "securefiles", secureFilesID, "GET", secureFilePath + "/{file}", identity.ProjectView, (*call).getSecureFile, nil, smallJSON},
	{"distributedtask", "securefiles", secureFilesID, "DELETE", secureFilePath + "/{file}", identity.SecretWrite, (*call).deleteSecureFile, nil, smallJSON},
}

const (
	endpointPath   = "{project}/_apis/serviceendpoint/endpoints"
	endpointsID    = "e85f1c62-adfc-4b74-b618-11a150fb195e"
	endpointsOfAll = "14e48fdc-2c8b-41ce-a0c3-e26f6cc55bd0"
	secureFilePath = "{project}/_apis/distributedtask/securefiles"
	secureFilesID  = "adcfd8bc-b184-43ba-bd84-7c8c6a2ff421"
)

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

// jobSecrets gives a job the secrets that a step of its own names: all enabled
// ones, or those of ?names=a,b/VERSION. One that cannot be read is told apart.
func (c *call) jobSecrets() (any, error) {
	names := reference.SplitNames(c.query("names"))
	if err := c.Runs.VaultUse(c.ctx(), c.subject.ID, c.params["vault"], names); err != nil {
		return nil, err
	}
	v, err := c.vault()
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		found, err := c.Vaults.List(c.ctx(), v.ID)
		if err != nil {
			return nil, err
		}
		for _, s := range found {
			if shape := secretShapeOf(s); shape.Enabled {
				names = append(names, s.Name)
			}
		}
	}
	type value struct {
		Name  string `json:"name"`
		Value string `json:"value,omitempty"`
		Error string `json:"error,omitempty"`
	}
	list := make([]value, 0, len(names))
	for _, name := range names {
		base, version, _ := strings.Cut(name, "/")
		plain, err := c.Vaults.Value(c.ctx(), v, base, version)
		switch {
		case err == nil:
			list = append(list, value{Name: name, Value: string(plain)})
		case fault.KindOf(err) == fault.Internal:
			return nil, err
		default:
			list = append(list, value{Name: name, Error: err.Error()})
		}
	}
	c.w.Header().Set("Cache-Control", "no-store")
	return listOf(list), nil
}

// endpointShape is a service connection as clients know it. The values of
// secrets never leave: they are null.
type endpointShape struct {
	ID            string             `json:"id"`
	Name          string             `json:"name"`
	Type          string             `json:"type"`
	URL           string             `json:"url"`
	Description   string             `json:"description"`
	Owner         string             `json:"owner"`
	IsReady       bool               `json:"isReady"`
	IsShared      bool               `json:"isShared"`
	Data          map[string]*string `json:"data"`
	Authorization struct {
		Scheme     string             `json:"scheme"`
		Parameters map[string]*string `json:"parameters"`
	} `json:"authorization"`
	Created         time.Time           `json:"creationDate"`
	CreatedBy       map[string]string   `json:"createdBy"`
	OperationStatus map[string]string   `json:"operationStatus"`
	Projects        []endpointReference `json:"serviceEndpointProjectReferences"`
}

type endpointReference struct {
	ProjectReference struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"projectReference"`
	Name        string `json:"name"`
	Description string `json:"description"`
}

func shown(public map[string]string, secret []string) map[string]*string {
	all := map[string]*string{}
	for name, value := range public {
		all[name] = &value
	}
	for _, name := range secret {
		all[name] = nil
	}
	return all
}

func (c *call) endpointShape(k *serviceconnection.Connection) endpointShape {
	s := endpointShape{ID: k.ID, Name: k.Name, Type: k.Type, URL: k.URL, Description: k.Description, Owner: "library", IsReady: true, Created: k.Created,
		CreatedBy: map[string]string{"displayName": k.By}, OperationStatus: map[string]string{"state": "Ready", "statusMessage": ""},
		Data: shown(k.Data, k.SecretNames("data")), Projects: make([]endpointReference, 1)}
	s.Authorization.Scheme, s.Authorization.Parameters = k.Scheme, shown(k.Parameters, k.SecretNames("parameter"))
	r := &s.Projects[0]
	r.ProjectReference.ID, r.ProjectReference.Name, r.Name, r.Description = c.project.ID, c.project.Name, k.Name, k.Description
	return s
}

// listConnections takes the service's filters type, endpointNames and
// endpointIds.
func (c *call) listConnections() (any, error) {
	found, err := c.Connections.List(c.ctx(), c.project.ID)
	if err != nil {
		return nil, err
	}
	fits := func(filter, value string) bool {
		names := reference.SplitNames(c.query(filter))
		return len(names) == 0 || slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, value) })
	}
	found = slices.DeleteFunc(found, func(k *serviceconnection.Connection) bool {
		return !fits("type", k.Type) || !fits("endpointNames", k.Name) || !fits("endpointIds", k.ID)
	})
	return mapped(found, c.endpointShape), nil
}

// getConnection answers null for one that is not there, as clients expect of
// one that was deleted.
func (c *call) getConnection() (any, error) {
	k, err := c.Connections.Find(c.ctx(), c.project.ID, c.params["endpoint"])
	if fault.Is(err, fault.NotFound) && !c.flag("strict") {
		return json.RawMessage("null"), nil
	}
	if err != nil {
		return nil, err
	}
	return c.endpointShape(k), nil
}

func (c *call) readConnection() (serviceconnection.Spec, error) {
	if err := c.needProject(); err != nil {
		return serviceconnection.Spec{}, err
	}
	var in endpointShape
	if err := c.read(&in); err != nil {
		return serviceconnection.Spec{}, err
	}
	text := func(m map[string]*string) map[string]string {
		all := map[string]string{}
		for name, value := range m {
			if all[name] = ""; value != nil {
				all[name] = *value
			}
		}
		return all
	}
	spec := serviceconnection.Spec{Name: in.Name, Type: in.Type, Description: in.Description, URL: in.URL, Scheme: cmp.Or(in.Authorization.Scheme, "None"),
		Parameters: text(in.Authorization.Parameters), Data: text(in.Data)}
	if len(in.Projects) > 1 {
		return spec, fault.New(fault.Invalid, "connection-shared", "a service connection belongs to one project here").Got("%d references", len(in.Projects)).Try("make one in each project")
	}
	return spec, nil
}

func (c *call) createConnection() (any, error) {
	spec, err := c.readConnection()
	if err != nil {
		return nil, err
	}
	k, err := c.Connections.Create(c.ctx(), c.project.ID, spec)
	if err != nil {
		return nil, err
	}
	return c.endpointShape(k), nil
}

func (c *call) updateConnection() (any, error) {
	spec, err := c.readConnection()
	if err != nil {
		return nil, err
	}
	k, err := c.Connections.Update(c.ctx(), c.project.ID, c.params["endpoint"], spec)
	if err != nil {
		return nil, err
	}
	return c.endpointShape(k), nil
}

func (c *call) deleteConnection() (any, error) {
	if err := c.needProject(); err != nil {
		return nil, err
	}
	return nil, c.Connections.Delete(c.ctx(), c.project.ID, c.params["endpoint"])
}

// projectOfConnection finds the project in the references of the body, or in
// ?projectIds=.
func (c *call) projectOfConnection() (string, error) {
	if ids := reference.SplitNames(c.query("projectIds")); len(ids) == 1 {
		return ids[0], nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, 1<<20))
	if err != nil {
		return "", fault.New(fault.Invalid, "too-large", "the body is too large").Want("at most %d bytes", 1<<20)
	}
	c.r.Body = io.NopCloser(bytes.NewReader(body))
	var in endpointShape
	if err := json.Unmarshal(body, &in); err == nil && len(in.Projects) == 1 {
		if r := in.Projects[0].ProjectReference; cmp.Or(r.ID, r.Name) != "" {
			return cmp.Or(r.ID, r.Name), nil
		}
	}
	return "", nil
}

// needProject refuses a request of the organization's route that names no
// project.
func (c *call) needProject() error {
	if c.project != nil {
		return nil
	}
	return fault.New(fault.Invalid, "connection-project", "the request does not say which project the service connection belongs to").
		Want("one of serviceEndpointProjectReferences, or ?projectIds=ID")
}

type secureFileShape struct {
	ID        string            `json:"id"`
	Name      string            `json:"name"`
	Size      int               `json:"size"` // ours
	Created   time.Time         `json:"createdOn"`
	Changed   time.Time         `json:"modifiedOn"`
	CreatedBy map[string]string `json:"createdBy"`
}

func secureFileShapeOf(f *securefile.File) secureFileShape {
	return secureFileShape{ID: f.ID, Name: f.Name, Size: f.Size, Created: f.Created, Changed: f.Created, CreatedBy: map[string]string{"displayName": f.By}}
}

func (c *call) listSecureFiles() (any, error) {
	found, err := c.SecureFiles.List(c.ctx(), c.project.ID)
	if err != nil {
		return nil, err
	}
	if name := c.query("namePattern"); name != "" {
		found = slices.DeleteFunc(found, func(f *securefile.File) bool {
			ok, err := path.Match(strings.ToLower(name), strings.ToLower(f.Name))
			return err != nil || !ok
		})
	}
	return mapped(found, secureFileShapeOf), nil
}

// getSecureFile tells about a file; with ?download=true or as octets it is the
// content, for the job that shows its ticket.
func (c *call) getSecureFile() (any, error) {
	if !c.flag("download") && c.query("ticket") == "" && !c.accepts("application/octet-stream") {
		f, err := c.SecureFiles.Find(c.ctx(), c.project.ID, c.params["file"])
		if err != nil {
			return nil, err
		}
		return secureFileShapeOf(f), nil
	}
	if err := identity.Check(c.subject, identity.SecretUse, c.project.ID); err != nil {
		return nil, err
	}
	_, content, err := c.SecureFiles.Download(c.ctx(), c.project.ID, c.params["file"], c.subject.ID, c.query("ticket"))
	if err != nil {
		return nil, err
	}
	h := c.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.Itoa(len(content)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = c.w.Write(content)
	return done{}, nil
}

func (c *call) uploadSecureFile() (any, error) {
	content, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, securefile.MaxSize+1))
	var tooLarge *http.MaxBytesError
	if err != nil && !errors.As(err, &tooLarge) {
		return nil, fault.Wrap(err, fault.Unavailable, "upload-broken", "the upload broke off").Try("try again")
	}
	f, err := c.SecureFiles.Upload(c.ctx(), c.project.ID, c.query("name"), content)
	if err != nil {
		return nil, err
	}
	return secureFileShapeOf(f), nil
}

func (c *call) deleteSecureFile() (any, error) {
	return nil, c.SecureFiles.Delete(c.ctx(), c.project.ID, c.params["file"])
}
