package artifact

import (
	"context"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/base/store"
)

// Link is an artifact that lies elsewhere: a run knows its name, its type and
// where it is, and keeps none of its bytes.
type Link struct {
	store.Revision
	ID       string    `col:"id" json:"id"`
	RunID    string    `col:"run_id" json:"runId"`
	Key      string    `col:"key" json:"key"` // run id / name
	Name     string    `json:"name"`
	Type     string    `json:"type"`     // container, filepath, versioncontrol, gitref, url or one of a tool's own
	Location string    `json:"location"` // as the step said it
	JobID    string    `json:"jobId"`
	Created  time.Time `json:"created"`
}

// Bounds of links.
const (
	MaxLinks    = 200  // of one run
	maxLocation = 4096 // bytes
	maxLinkName = 255  // bytes of a name, and of a type
)

// Web is the address that a browser can go to; "" where there is none.
func (l *Link) Web() string {
	u, err := url.Parse(l.Location)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return ""
	}
	return u.String()
}

// Links holds the use cases of links.
type Links struct {
	Links store.Table[Link]
	Clock store.Clock
}

// LinkType guesses the type from the location, as the service does.
func LinkType(location string) string {
	low := strings.ToLower(location)
	switch {
	case strings.HasPrefix(location, "#/"):
		return "container"
	case strings.HasPrefix(location, `\\`), strings.HasPrefix(low, "file:"):
		return "filepath"
	case strings.HasPrefix(location, "$/"):
		return "versioncontrol"
	case strings.HasPrefix(low, "refs/tags/"):
		return "gitref"
	case strings.HasPrefix(low, "https://"), strings.HasPrefix(low, "http://"):
		return "url"
	}
	return ""
}

func (l *Link) check() error {
	if l.Type == "" {
		l.Type = LinkType(l.Location)
	}
	if l.Type == "" {
		return fault.New(fault.Invalid, "artifact-type", "the type of artifact %s cannot be told from its location", l.Name).Got("%q", l.Location).
			Want("a property type: container, filepath, versioncontrol, gitref, or a name of your own")
	}
	for what, v := range map[string]string{"name": l.Name, "type": l.Type} {
		if strings.TrimSpace(v) == "" || len(v) > maxLinkName || !utf8.ValidString(v) || strings.ContainsFunc(v, control) {
			return fault.New(fault.Invalid, "invalid-name", "%q is not usable as the %s of an artifact", v, what).Want("at most %d bytes, no control characters", maxLinkName)
		}
	}
	if strings.TrimSpace(l.Location) == "" || len(l.Location) > maxLocation || !utf8.ValidString(l.Location) || strings.ContainsFunc(l.Location, control) {
		return fault.New(fault.Invalid, "artifact-location", "the location of artifact %s is not usable", l.Name).Want("1 to %d bytes, no control characters", maxLocation)
	}
	return nil
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

// Put keeps a link under a name of its run. Saying the same twice is harmless;
// another place under the same name is a conflict.
func (s *Links) Put(ctx context.Context, l *Link) (*Link, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	all, err := s.Of(ctx, l.RunID)
	if err != nil {
		return nil, err
	}
	l.ID, l.Key, l.Created = id.New(), l.RunID+"/"+l.Name, s.Clock.Now()
	if len(all) >= MaxLinks {
		return nil, fault.New(fault.Invalid, "too-many-links", "a run keeps at most %d links to artifacts", MaxLinks).Got("one more: %s", l.Name)
	}
	err = s.Links.Insert(ctx, l)
	if !fault.Is(err, fault.Conflict) {
		return l, err
	}
	old, err := s.Find(ctx, l.RunID, l.Name)
	if err != nil {
		return nil, err
	}
	if old.Location == l.Location && strings.EqualFold(old.Type, l.Type) {
		return old, nil
	}
	return nil, fault.New(fault.Conflict, "artifact-exists", "artifact %s already exists in this run", l.Name).Got("a link to %s", old.Location)
}

// Of lists the links of a run.
func (s *Links) Of(ctx context.Context, runID string) ([]*Link, error) {
	return s.Links.Find(ctx, store.Where("run_id", runID).By("id"))
}

// Find returns a link of a run by name.
func (s *Links) Find(ctx context.Context, runID, name string) (*Link, error) {
	l, err := store.First(ctx, s.Links, store.Where("key", runID+"/"+name))
	if err == nil && l == nil {
		err = fault.New(fault.NotFound, "artifact-not-found", "run %s has no artifact %s", runID, name)
	}
	return l, err
}
