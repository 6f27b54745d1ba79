package serviceconnection

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/memstore"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/audit"
)

// sealer turns a value around and binds it to its place.
type sealer struct{}

func (sealer) Seal(plain []byte, binding string) ([]byte, error) {
	turned := slices.Clone(plain)
	slices.Reverse(turned)
	return append([]byte(binding+"\x00"), turned...), nil
}

func (sealer) Open(sealed []byte, binding string) ([]byte, error) {
	turned, ok := strings.CutPrefix(string(sealed), binding+"\x00")
	if !ok {
		return nil, errors.New("bound elsewhere")
	}
	plain := []byte(turned)
	slices.Reverse(plain)
	return plain, nil
}

func newService() *Service {
	tx := &memstore.Runner{}
	return &Service{Connections: memstore.NewTable[Connection](tx, "service connection"), Tx: tx, Sealer: sealer{},
		Audit: &audit.Service{Records: memstore.NewTable[audit.Record](tx, "audit record"), Tx: tx}}
}

func registry() Spec {
	return Spec{Name: "Registry", Type: "dockerregistry", URL: "https://r.example", Scheme: "UsernamePassword",
		Parameters: map[string]string{"username": "ci", "password": "hidden-1", "registry": "r.example"}, Data: map[string]string{"registrytype": "Others", "ApiKey": "hidden-2"}}
}

func TestSecretsAreSealed(t *testing.T) {
	s, ctx := newService(), t.Context()
	c, err := s.Create(ctx, "p", registry())
	if err != nil {
		t.Fatal(err)
	}
	stored, err := json.Marshal(c)
	if err != nil || strings.Contains(string(stored), "hidden") || c.Parameters["username"] != "ci" {
		t.Errorf("stored %s, %v", stored, err)
	}
	o, err := s.Open(ctx, c, "job x")
	if err != nil || o.Parameter("PASSWORD") != "hidden-1" || o.Datum("apikey") != "hidden-2" || o.Parameter("Registry") != "r.example" {
		t.Errorf("opened %+v, %v", o, err)
	}
	if got := strings.Join(o.Secrets(), " "); got != "hidden-1 hidden-2" {
		t.Errorf("secrets %q", got)
	}
	// A sealed value that is moved to another entry does not open.
	c.Sealed["parameter/token"] = c.Sealed["parameter/password"]
	if _, err := s.Open(ctx, c, "job x"); fault.CodeOf(err) != "secret-sealed" {
		t.Errorf("a moved value: %v", err)
	}
	records, err := s.Audit.Records.Find(ctx, store.Query{})
	if err != nil || len(records) != 2 || records[1].Action != "serviceConnection.use" || records[1].Actor != "job x" {
		t.Errorf("audit %+v, %v", records, err)
	}
}

func TestUpdateKeepsSecretsThatComeEmpty(t *testing.T) {
	s, ctx := newService(), t.Context()
	c, err := s.Create(ctx, "p", registry())
	if err != nil {
		t.Fatal(err)
	}
	spec := registry()
	spec.Name, spec.Parameters, spec.Data = "hub", map[string]string{"Username": "ci2", "Password": ""}, map[string]string{"apikey": "hidden-3"}
	if c, err = s.Update(ctx, "p", c.ID, spec); err != nil {
		t.Fatal(err)
	}
	o, err := s.Open(ctx, c, "job")
	if err != nil || o.Name != "hub" || o.Parameter("password") != "hidden-1" || o.Parameter("username") != "ci2" || o.Parameter("registry") != "" || o.Datum("ApiKey") != "hidden-3" {
		t.Errorf("%+v, %v", o, err)
	}
	if _, err := s.Find(ctx, "p", "registry"); fault.CodeOf(err) != "no-connection" {
		t.Errorf("the old name: %v", err)
	}
	if _, err := s.Find(ctx, "p", "HUB"); err != nil {
		t.Error(err)
	}
	if err := s.Delete(ctx, "p", "hub"); err != nil {
		t.Error(err)
	}
	if list, err := s.List(ctx, "p"); err != nil || len(list) > 0 {
		t.Errorf("%v %v", list, err)
	}
}

func TestWhatIsRefused(t *testing.T) {
	s, ctx := newService(), t.Context()
	c, err := s.Create(ctx, "p", registry())
	if err != nil {
		t.Fatal(err)
	}
	many := map[string]string{}
	for i := range maxEntries + 1 {
		many[strings.Repeat("x", i+1)] = "1"
	}
	for code, change := range map[string]func(*Spec){
		"invalid-name":         func(s *Spec) { s.Name = "a,b" },
		"connection-type":      func(s *Spec) { s.Type = "" },
		"connection-scheme":    func(s *Spec) { s.Scheme = "a b" },
		"connection-too-large": func(s *Spec) { s.URL = "https://a\nb" },
		"already-exists":       func(s *Spec) { s.Name = "REGISTRY" },
	} {
		spec := registry()
		if change(&spec); code != "already-exists" {
			spec.Name = strings.Replace(spec.Name, "Registry", "other", 1)
		}
		if _, err := s.Create(ctx, "p", spec); fault.CodeOf(err) != code {
			t.Errorf("%v, want %s", err, code)
		}
	}
	for name, data := range map[string]map[string]string{"many": many, "long": {"a": strings.Repeat("x", maxValue+1)}, "same": {"a": "1", "A": "2"}, "name": {"a=b": "1"}, "nul": {"a": "\x00"}} {
		spec := registry()
		spec.Name, spec.Data = "other", data
		if _, err := s.Create(ctx, "p", spec); fault.CodeOf(err) != "connection-too-large" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"registry", c.ID} {
		if _, err := s.Find(ctx, "another project", name); fault.CodeOf(err) != "no-connection" {
			t.Errorf("%s from another project: %v", name, err)
		}
	}
	var e *fault.Error
	if _, err := s.Find(ctx, "p", "regstry"); !errors.As(err, &e) || e.Found != "Registry" {
		t.Errorf("near: %+v", err)
	}
}

func TestWhatIsSecret(t *testing.T) {
	for name, want := range map[string]bool{"username": false, "TenantId": false, "password": true, "serviceprincipalkey": true, "apitoken": true, "anything": true, "registry": false} {
		if SecretParameter(name) != want {
			t.Errorf("parameter %s: %v", name, !want)
		}
	}
	for name, want := range map[string]bool{"Host": false, "Port": false, "PrivateKey": true, "knownHosts": false, "clientSecret": true, "subscriptionId": false, "accessToken": true} {
		if SecretDatum(name) != want {
			t.Errorf("data %s: %v", name, !want)
		}
	}
}
