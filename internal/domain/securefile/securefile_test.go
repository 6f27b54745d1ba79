package securefile

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/memstore"
	"penstock.dev/penstock/internal/domain/audit"
)

// sealer binds a value to its place.
type sealer struct{}

func (sealer) Seal(plain []byte, binding string) ([]byte, error) {
	return append([]byte(binding+"\x00"), plain...), nil
}

func (sealer) Open(sealed []byte, binding string) ([]byte, error) {
	plain, ok := bytes.CutPrefix(sealed, []byte(binding+"\x00"))
	if !ok {
		return nil, errors.New("bound elsewhere")
	}
	return plain, nil
}

func newService() *Service {
	tx := &memstore.Runner{}
	return &Service{Files: memstore.NewTable[File](tx, "secure file"), Contents: memstore.NewTable[Content](tx, "secure file"), Tx: tx, Sealer: sealer{},
		Audit: &audit.Service{Records: memstore.NewTable[audit.Record](tx, "audit record"), Tx: tx}}
}

func TestOnlyTheJobWithTheTicketDownloads(t *testing.T) {
	s, ctx := newService(), t.Context()
	f, err := s.Upload(ctx, "p", "signing.p12", []byte("certificate"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.Upload(ctx, "p", "other.p12", []byte("other"))
	if err != nil {
		t.Fatal(err)
	}
	g, err := s.Grant(f, "job-1")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []struct {
		project, file, job, ticket string
		ok                         bool
	}{
		{"p", f.ID, "job-1", g.Ticket, true}, {"p", "SIGNING.P12", "job-1", g.Ticket, true}, {"p", f.ID, "job-2", g.Ticket, false}, {"p", other.ID, "job-1", g.Ticket, false},
		{"q", f.ID, "job-1", g.Ticket, false}, {"p", f.ID, "job-1", "", false}, {"p", f.ID, "", g.Ticket, false}, {"p", f.ID, "job-1", "%%%", false}, {"p", "none", "job-1", g.Ticket, false},
	} {
		_, content, err := s.Download(ctx, k.project, k.file, k.job, k.ticket)
		if (err == nil) != k.ok || k.ok && string(content) != "certificate" || !k.ok && fault.CodeOf(err) != "secure-file-ticket" {
			t.Errorf("%+v: %q, %v", k, content, err)
		}
	}
}

func TestUpload(t *testing.T) {
	s, ctx := newService(), t.Context()
	for name, want := range map[string]string{"a.p12": "", "A.P12": "already-exists", "": "invalid-name", "../x": "invalid-name", "a/b": "invalid-name", "..": "invalid-name",
		"a,b": "invalid-name", "a\nb": "invalid-name", "x:y": "invalid-name", strings.Repeat("x", 201): "invalid-name"} {
		if name == "A.P12" {
			continue
		}
		if _, err := s.Upload(ctx, "p", name, []byte("x")); (err == nil) != (want == "") || err != nil && fault.CodeOf(err) != want {
			t.Errorf("%q: %v, want %q", name, err, want)
		}
	}
	if _, err := s.Upload(ctx, "p", "A.P12", []byte("x")); fault.CodeOf(err) != "already-exists" {
		t.Errorf("a name that is taken: %v", err)
	}
	for _, size := range []int{0, MaxSize + 1} {
		if _, err := s.Upload(ctx, "p", "b", make([]byte, size)); fault.CodeOf(err) != "secure-file-size" {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	f, err := s.Upload(ctx, "p", "largest", make([]byte, MaxSize))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(ctx, "p", "LARGEST"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Contents.Get(ctx, f.ID); !fault.Is(err, fault.NotFound) {
		t.Errorf("the content stays: %v", err)
	}
	if err := s.Delete(ctx, "p", "largest"); fault.CodeOf(err) != "no-secure-file" {
		t.Errorf("twice: %v", err)
	}
}
