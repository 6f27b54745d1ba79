// Package securefile keeps files that pipelines need and nobody may read back:
// certificates, keys, profiles. They are sealed; only a job whose plan names one
// gets it, by a ticket.
package securefile

import (
	"context"
	"encoding/base64"
	"strings"
	"time"
	"unicode/utf8"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/base/near"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/audit"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/keyvault"
)

// MaxSize is the largest secure file, in bytes, as on the service.
const MaxSize = 10 << 20

// File is a secure file of a project, without its content.
type File struct {
	store.Revision
	ID        string    `col:"id" json:"id"` // GUID, lower case
	ProjectID string    `col:"project_id" json:"projectId"`
	Key       string    `col:"key" json:"key"` // project id / lower-case name
	Name      string    `json:"name"`
	Size      int       `json:"size"` // bytes
	Stub      bool      `json:"stub,omitempty"`
	Created   time.Time `json:"created"`
	By        string    `json:"by"`
}

// Content is what is in a file, sealed.
type Content struct {
	store.Revision
	ID     string `col:"id" json:"id"` // the file's
	Sealed []byte `json:"sealed"`
}

// Grant is a file with the ticket by which one job may download it.
type Grant struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Ticket string `json:"ticket"`
}

// Service holds the use cases of secure files.
type Service struct {
	Files    store.Table[File]
	Contents store.Table[Content]
	Tx       store.Runner
	Audit    *audit.Service
	Clock    store.Clock
	Sealer   keyvault.Sealer
}

func key(projectID, name string) string {
	return projectID + "/" + strings.ToLower(strings.TrimSpace(name))
}

// checkName refuses what could not be the name of a file everywhere: a job
// writes the content under it.
func checkName(name string) error {
	const longest = 200
	if name == "" || name != strings.TrimSpace(name) || strings.Trim(name, ".") == "" || len(name) > longest || !utf8.ValidString(name) ||
		strings.ContainsAny(name, `"<>|:*?\/,`) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fault.New(fault.Invalid, "invalid-name", "secure file name %q is not usable", name).Want(`the name of a file: 1 to %d bytes, none of " < > | : * ? \ / and comma`, longest)
	}
	return nil
}

// Upload stores a file. A name that is taken is a Conflict: a file does not
// change under those who use it.
func (s *Service) Upload(ctx context.Context, projectID, name string, content []byte) (*File, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if len(content) == 0 || len(content) > MaxSize {
		return nil, fault.New(fault.Invalid, "secure-file-size", "secure file %s is empty or too large", name).Want("1 to %d bytes", MaxSize).Got("%d", len(content))
	}
	f := &File{ID: id.New(), ProjectID: projectID, Key: key(projectID, name), Name: name, Size: len(content), Created: s.Clock.Now(), By: identity.From(ctx).Name}
	sealed, err := s.Sealer.Seal(content, "securefile/"+f.ID)
	if err != nil {
		return nil, err
	}
	return f, s.Tx.InTx(ctx, func(ctx context.Context) error {
		if old, err := store.First(ctx, s.Files, store.Where("key", f.Key)); err != nil || old != nil {
			if err == nil {
				err = fault.New(fault.Conflict, "already-exists", "secure file %s exists already", name).Try("penstock secure-file delete %s, then upload it again", name)
			}
			return err
		}
		if err := s.Files.Insert(ctx, f); err != nil {
			return err
		}
		if err := s.Contents.Insert(ctx, &Content{ID: f.ID, Sealed: sealed}); err != nil {
			return err
		}
		return s.Audit.Record(ctx, f.By, "secureFile.upload", "secure file "+name, "")
	})
}

// Find returns a file of a project by name or id.
func (s *Service) Find(ctx context.Context, projectID, nameOrID string) (*File, error) {
	f, err := store.First(ctx, s.Files, store.Where("key", key(projectID, nameOrID)))
	if err != nil || f != nil {
		return f, err
	}
	f, err = s.Files.Get(ctx, strings.ToLower(strings.TrimSpace(nameOrID)))
	if !fault.Is(err, fault.NotFound) && (err != nil || f.ProjectID == projectID) {
		return f, err
	}
	all, err := s.List(ctx, projectID)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, other := range all {
		names = append(names, other.Name)
	}
	e := fault.New(fault.NotFound, "no-secure-file", "there is no secure file %s", nameOrID)
	if like := near.Names(nameOrID, names); len(like) > 0 {
		return nil, e.Got("%s", strings.Join(like, ", ")).Try("write one of these, or upload it: penstock secure-file upload FILE")
	}
	return nil, e.Try("penstock secure-file upload FILE --name %s", nameOrID)
}

// List returns the files of a project by name.
func (s *Service) List(ctx context.Context, projectID string) ([]*File, error) {
	return s.Files.Find(ctx, store.Where("project_id", projectID).By("key"))
}

// Delete removes a file and its content.
func (s *Service) Delete(ctx context.Context, projectID, nameOrID string) error {
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		f, err := s.Find(ctx, projectID, nameOrID)
		if err != nil {
			return err
		}
		if err := s.Contents.Delete(ctx, f.ID); err != nil {
			return err
		}
		if err := s.Files.Delete(ctx, f.ID); err != nil {
			return err
		}
		return s.Audit.Record(ctx, identity.From(ctx).Name, "secureFile.delete", "secure file "+f.Name, "")
	})
}

// Grant lets one job download a file. The ticket is the job's id, sealed: it is
// of no use to another job or for another file.
func (s *Service) Grant(f *File, jobID string) (Grant, error) {
	sealed, err := s.Sealer.Seal([]byte(jobID), "ticket/"+f.ID)
	return Grant{ID: f.ID, Name: f.Name, Ticket: base64.RawURLEncoding.EncodeToString(sealed)}, err
}

// Download opens a file for a job that shows its ticket. Every download is
// audited.
func (s *Service) Download(ctx context.Context, projectID, fileID, jobID, ticket string) (*File, []byte, error) {
	denied := fault.New(fault.Denied, "secure-file-ticket", "the ticket for this secure file is not valid").
		Want("the ticket that the job got with its own message").Try("name the file in the pipeline, with DownloadSecureFile@1")
	f, err := s.Find(ctx, projectID, fileID)
	if fault.Is(err, fault.NotFound) {
		return nil, nil, denied
	}
	if err != nil {
		return nil, nil, err
	}
	sealed, err := base64.RawURLEncoding.DecodeString(ticket)
	if err != nil || len(sealed) == 0 {
		return nil, nil, denied
	}
	owner, err := s.Sealer.Open(sealed, "ticket/"+f.ID)
	if err != nil || string(owner) != jobID || jobID == "" {
		return nil, nil, denied
	}
	c, err := s.Contents.Get(ctx, f.ID)
	if err != nil {
		return nil, nil, err
	}
	plain, err := s.Sealer.Open(c.Sealed, "securefile/"+f.ID)
	if err != nil {
		return nil, nil, fault.Wrap(err, fault.Unavailable, "secret-sealed", "secure file %s cannot be opened", f.Name).Try("is the key file the one this data folder was made with?")
	}
	return f, plain, s.Audit.Record(ctx, identity.From(ctx).Name, "secureFile.read", "secure file "+f.Name, "")
}
