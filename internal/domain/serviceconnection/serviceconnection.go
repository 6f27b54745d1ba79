// Package serviceconnection keeps how pipelines reach other systems: a place, a
// way to sign in there, and what else a task wants to know. Secret values are
// sealed; only a job whose plan names a connection gets them.
package serviceconnection

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/base/near"
	"penstock.dev/penstock/internal/base/pattern"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/audit"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/keyvault"
)

// Connection is a service connection of a project, its secret values sealed.
type Connection struct {
	store.Revision
	ID          string            `col:"id" json:"id"` // GUID, lower case: what tasks get to see
	ProjectID   string            `col:"project_id" json:"projectId"`
	Key         string            `col:"key" json:"key"` // project id / lower-case name
	Name        string            `json:"name"`
	Type        string            `json:"type"` // ssh, generic, dockerregistry, …
	Description string            `json:"description,omitempty"`
	URL         string            `json:"url"`
	Scheme      string            `json:"scheme"`               // UsernamePassword, Token, None, …
	Parameters  map[string]string `json:"parameters,omitempty"` // of the scheme, those that are no secret
	Data        map[string]string `json:"data,omitempty"`       // likewise
	Sealed      map[string][]byte `json:"sealed,omitempty"`     // parameter/NAME and data/NAME
	Stub        bool              `json:"stub,omitempty"`       // stands for one that is not here: steps that name it are skipped
	Created     time.Time         `json:"created"`
	By          string            `json:"by"`
}

// Opened is a connection with its secrets, as a job gets it.
type Opened struct {
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	Type       string            `json:"type"`
	URL        string            `json:"url"`
	Scheme     string            `json:"scheme"`
	Parameters map[string]string `json:"parameters,omitempty"`
	Data       map[string]string `json:"data,omitempty"`
	Stub       bool              `json:"stub,omitempty"`
}

// Parameter returns a parameter of the scheme, ignoring the case of its name.
func (o *Opened) Parameter(name string) string { return lookup(o.Parameters, name) }

// Datum returns an entry of the data, ignoring the case of its name.
func (o *Opened) Datum(name string) string { return lookup(o.Data, name) }

func lookup(m map[string]string, name string) string {
	for key, value := range m {
		if strings.EqualFold(key, name) {
			return value
		}
	}
	return ""
}

// Registry is what a connection of type dockerregistry signs in to, and as whom;
// host is "" where it names none.
func (o *Opened) Registry() (host, user, password string) {
	host = cmp.Or(o.Parameter("registry"), o.Parameter("loginserver"), o.URL)
	host = strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(host, "https://"), "http://"), "/")
	if host == "index.docker.io/v1" { // as connections to Docker Hub have it
		host = "docker.io"
	}
	return host, o.Parameter("username"), o.Parameter("password")
}

// Secrets are the values of the connection that must not show.
func (o *Opened) Secrets() []string {
	var list []string
	for name, value := range o.Parameters {
		if value != "" && SecretParameter(name) {
			list = append(list, value)
		}
	}
	for name, value := range o.Data {
		if value != "" && SecretDatum(name) {
			list = append(list, value)
		}
	}
	slices.Sort(list)
	return list
}

// publicParameters are those that the service shows too. Every other parameter
// of a scheme is a secret, whatever it is called.
var publicParameters = []string{"accesstokentype", "authenticationtype", "cluster", "cluster-context", "email", "environment", "loginserver", "audience",
	"nodomain", "registry", "role", "scope", "serviceprincipalid", "tenantid", "username", "workloadidentityfederationissuer", "workloadidentityfederationsubject"}

// SecretParameter reports whether a parameter of a scheme is sealed.
func SecretParameter(name string) bool {
	return !slices.Contains(publicParameters, strings.ToLower(name))
}

var secretWords = pattern.Lazy(`(?i)password|passphrase|passwd|secret|token|private ?key|api ?key|credential`)

// SecretDatum reports whether an entry of the data is sealed: one whose name
// speaks of a secret.
func SecretDatum(name string) bool { return secretWords().MatchString(name) }

// Bounds of a connection: entries of one kind, bytes of a name, of a value and
// of the address.
const (
	maxEntries = 100
	maxName    = 100
	maxValue   = 64 << 10
	maxURL     = 2048
)

// Service holds the use cases of service connections.
type Service struct {
	Connections store.Table[Connection]
	Tx          store.Runner
	Audit       *audit.Service
	Clock       store.Clock
	Sealer      keyvault.Sealer
	Remedy      string // what a person does who lacks one; "" = the command for it
}

// Spec is what people say of a connection.
type Spec struct {
	Name, Type, Description, URL, Scheme string
	Parameters, Data                     map[string]string // secret values in clear; "" keeps what is stored
	Stub                                 bool
}

func key(projectID, name string) string {
	return projectID + "/" + strings.ToLower(strings.TrimSpace(name))
}

var typeName = pattern.Lazy(`^[A-Za-z][A-Za-z0-9._:-]{0,127}$`)

func (s *Spec) check() error {
	if err := identity.CheckTitle("service connection", s.Name); err != nil {
		return err
	}
	if !typeName().MatchString(s.Type) {
		return fault.New(fault.Invalid, "connection-type", "a service connection has a type").Got("%q", s.Type).Want("one such as generic, ssh, dockerregistry, azurerm, externalnpmregistry, externalnugetfeed, externalpythondownloadfeed, github or kubernetes")
	}
	if !typeName().MatchString(s.Scheme) {
		return fault.New(fault.Invalid, "connection-scheme", "the authorization of a service connection has a scheme").Got("%q", s.Scheme).Want("UsernamePassword, Token, None or another of the type")
	}
	if len(s.URL) > maxURL || strings.ContainsAny(s.URL, "\r\n\x00") {
		return fault.New(fault.Invalid, "connection-too-large", "the URL of service connection %s is not usable", s.Name).Want("one line of at most %d bytes", maxURL)
	}
	for _, m := range []map[string]string{s.Parameters, s.Data} {
		if len(m) > maxEntries {
			return fault.New(fault.Invalid, "connection-too-large", "service connection %s has too many entries", s.Name).Want("at most %d", maxEntries).Got("%d", len(m))
		}
		seen := map[string]bool{}
		for name, value := range m {
			low := strings.ToLower(name)
			if name == "" || len(name) > maxName || strings.ContainsAny(name, "=\x00\r\n") || len(value) > maxValue || strings.Contains(value, "\x00") || seen[low] {
				return fault.New(fault.Invalid, "connection-too-large", "entry %q of service connection %s is not usable", name, s.Name).
					Want("a name of 1 to %d bytes that no other entry has, without '='; a value of at most %d bytes", maxName, maxValue)
			}
			seen[low] = true
		}
	}
	return nil
}

// Create makes a connection.
func (s *Service) Create(ctx context.Context, projectID string, spec Spec) (*Connection, error) {
	if err := spec.check(); err != nil {
		return nil, err
	}
	c := &Connection{ID: id.New(), ProjectID: projectID, Created: s.Clock.Now(), By: identity.From(ctx).Name}
	if err := s.fill(c, spec, nil); err != nil {
		return nil, err
	}
	return c, s.Tx.InTx(ctx, func(ctx context.Context) error {
		if old, err := store.First(ctx, s.Connections, store.Where("key", c.Key)); err != nil || old != nil {
			if err == nil {
				err = taken(c.Name)
			}
			return err
		}
		if err := s.Connections.Insert(ctx, c); err != nil {
			return err
		}
		return s.record(ctx, "create", c)
	})
}

func taken(name string) error {
	return fault.New(fault.Conflict, "already-exists", "service connection %s exists already", name).Try("penstock service-connection list")
}

// Update replaces what is said of a connection. A secret that comes empty keeps
// its value; an entry that does not come at all goes.
func (s *Service) Update(ctx context.Context, projectID, nameOrID string, spec Spec) (*Connection, error) {
	if err := spec.check(); err != nil {
		return nil, err
	}
	var c *Connection
	err := s.Tx.InTx(ctx, func(ctx context.Context) error {
		var err error
		if c, err = s.Find(ctx, projectID, nameOrID); err != nil {
			return err
		}
		if other, err := store.First(ctx, s.Connections, store.Where("key", key(projectID, spec.Name))); err != nil || other != nil && other.ID != c.ID {
			if err == nil {
				err = taken(spec.Name)
			}
			return err
		}
		if err := s.fill(c, spec, c.Sealed); err != nil {
			return err
		}
		if err := s.Connections.Save(ctx, c); err != nil {
			return err
		}
		return s.record(ctx, "update", c)
	})
	return c, err
}

// fill puts a specification into a connection and seals what is secret.
func (s *Service) fill(c *Connection, spec Spec, old map[string][]byte) error {
	c.Name, c.Key, c.Type, c.Description, c.URL, c.Scheme, c.Stub = strings.TrimSpace(spec.Name), key(c.ProjectID, spec.Name), spec.Type, spec.Description, spec.URL, spec.Scheme, spec.Stub
	c.Sealed = map[string][]byte{}
	split := func(kind string, all map[string]string, secret func(string) bool) (map[string]string, error) {
		public := map[string]string{}
		for name, value := range all {
			if !secret(name) {
				public[name] = value
				continue
			}
			entry := kind + "/" + name
			if value == "" {
				if sealed := entryOf(old, entry); sealed != "" {
					c.Sealed[sealed] = old[sealed]
				}
				continue
			}
			sealed, err := s.Sealer.Seal([]byte(value), binding(c, entry))
			if err != nil {
				return nil, err
			}
			c.Sealed[entry] = sealed
		}
		return public, nil
	}
	var err error
	if c.Parameters, err = split("parameter", spec.Parameters, SecretParameter); err != nil {
		return err
	}
	c.Data, err = split("data", spec.Data, SecretDatum)
	return err
}

// entryOf finds a sealed entry, ignoring the case of its name.
func entryOf(sealed map[string][]byte, entry string) string {
	for name := range sealed {
		if strings.EqualFold(name, entry) {
			return name
		}
	}
	return ""
}

// binding is what a sealed value belongs to.
func binding(c *Connection, entry string) string {
	return "connection/" + c.ID + "/" + strings.ToLower(entry)
}

// Find returns a connection of a project by name or id.
func (s *Service) Find(ctx context.Context, projectID, nameOrID string) (*Connection, error) {
	c, err := store.First(ctx, s.Connections, store.Where("key", key(projectID, nameOrID)))
	if err != nil || c != nil {
		return c, err
	}
	c, err = s.Connections.Get(ctx, strings.ToLower(strings.TrimSpace(nameOrID)))
	if fault.Is(err, fault.NotFound) || err == nil && c.ProjectID != projectID {
		return nil, s.unknown(ctx, projectID, nameOrID)
	}
	return c, err
}

func (s *Service) unknown(ctx context.Context, projectID, name string) error {
	e := fault.New(fault.NotFound, "no-connection", "there is no service connection %s", name)
	all, err := s.List(ctx, projectID)
	if err != nil {
		return err
	}
	var names []string
	for _, c := range all {
		names = append(names, c.Name)
	}
	if like := near.Names(name, names); len(like) > 0 {
		return e.Got("%s", strings.Join(like, ", ")).Try("write one of these, or make it: %s", cmp.Or(s.Remedy, "penstock service-connection create"))
	}
	return e.Try("%s", cmp.Or(s.Remedy, "penstock service-connection create "+name+" --type TYPE"))
}

// List returns the connections of a project by name; secrets stay sealed.
func (s *Service) List(ctx context.Context, projectID string) ([]*Connection, error) {
	return s.Connections.Find(ctx, store.Where("project_id", projectID).By("key"))
}

// Delete removes a connection.
func (s *Service) Delete(ctx context.Context, projectID, nameOrID string) error {
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		c, err := s.Find(ctx, projectID, nameOrID)
		if err != nil {
			return err
		}
		if err := s.Connections.Delete(ctx, c.ID); err != nil {
			return err
		}
		return s.record(ctx, "delete", c)
	})
}

func (s *Service) record(ctx context.Context, what string, c *Connection) error {
	return s.Audit.Record(ctx, identity.From(ctx).Name, "serviceConnection."+what, "service connection "+c.Name, c.Type)
}

// SecretNames lists the sealed entries of one kind, parameter or data.
func (c *Connection) SecretNames(kind string) []string {
	var names []string
	for entry := range c.Sealed {
		if name, ok := strings.CutPrefix(entry, kind+"/"); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Open gives a connection with its secrets to who uses it, as user says, and
// audits that.
func (s *Service) Open(ctx context.Context, c *Connection, user string) (*Opened, error) {
	o := &Opened{ID: c.ID, Name: c.Name, Type: c.Type, URL: c.URL, Scheme: c.Scheme, Parameters: maps.Clone(c.Parameters), Data: maps.Clone(c.Data), Stub: c.Stub}
	if o.Parameters == nil {
		o.Parameters = map[string]string{}
	}
	if o.Data == nil {
		o.Data = map[string]string{}
	}
	for entry, sealed := range c.Sealed {
		plain, err := s.Sealer.Open(sealed, binding(c, entry))
		if err != nil {
			return nil, fault.Wrap(err, fault.Unavailable, "secret-sealed", "%s of service connection %s cannot be opened", entry, c.Name).
				Try("is the key file the one this data folder was made with?")
		}
		kind, name, _ := strings.Cut(entry, "/")
		if kind == "data" {
			o.Data[name] = string(plain)
		} else {
			o.Parameters[name] = string(plain)
		}
	}
	return o, s.Audit.Record(ctx, user, "serviceConnection.use", "service connection "+c.Name, c.Type)
}
