package run

import (
	"cmp"
	"context"
	"path"
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline"
)

// Repository is what a checkout step needs.
type Repository struct {
	Name   string `json:"name"`
	URL    string `json:"url"`
	Origin string `json:"origin,omitempty"` // where it was cloned from, in a local run
	Ref    string `json:"ref"`
	Commit string `json:"commit"`
}

// Folder is where the repository goes below the sources if it is one of several.
func (r Repository) Folder() string { return path.Base(r.Name) }

// PullRequest reports whether what is checked out is the merge of one.
func (r Repository) PullRequest() bool { return strings.HasPrefix(r.Ref, "refs/pull/") }

// Repository returns what a checkout step names; "" is the pipeline's own.
func (m *JobMessage) Repository(alias string) (Repository, bool) {
	alias = cmp.Or(alias, "self")
	if r, ok := m.Repositories[alias]; ok {
		return r, true
	}
	for name, r := range m.Repositories {
		if strings.EqualFold(name, alias) {
			return r, true
		}
	}
	return Repository{}, false
}

// Checkouts counts the steps that bring a repository; the same one twice is
// several, as on the service.
func (m *JobMessage) Checkouts() int {
	n := 0
	for _, s := range m.Steps {
		if s.Task == pipeline.TaskCheckout && !strings.EqualFold(s.Inputs["repository"], "none") {
			n++
		}
	}
	return n
}

// CheckoutTitle is what a checkout step without a name is called: repository,
// branch, and folder below the workspace.
func (m *JobMessage) CheckoutTitle(s pipeline.Step) string {
	r, ok := m.Repository(s.Inputs["repository"])
	if !ok {
		return "Checkout " + s.Inputs["repository"]
	}
	folder := "s"
	if m.Checkouts() > 1 {
		folder = "s/" + r.Folder()
	}
	return "Checkout " + r.Name + "@" + strings.TrimPrefix(r.Ref, "refs/heads/") + " to " + cmp.Or(s.Inputs["path"], folder)
}

func (s *Service) repositories(ctx context.Context, d *Detail, projectURL string) (map[string]Repository, error) {
	self, err := s.Repos.Repositories.Get(ctx, d.Run.RepoID)
	if err != nil {
		return nil, err
	}
	origin := d.Run.Origin
	list := map[string]Repository{"self": {Name: cmp.Or(origin.Name, self.Name), URL: projectURL + "/_git/" + self.Name, Origin: origin.URL, Ref: d.Run.Branch, Commit: d.Run.Commit}}
	for _, res := range d.Plan.Resources.Repositories {
		name := res.Name
		if _, short, ok := strings.Cut(name, "/"); ok {
			name = short
		}
		r, err := s.Repos.Find(ctx, d.Run.ProjectID, name)
		if err != nil {
			continue // only a step that checks it out needs it; it says so
		}
		ref := res.Ref
		if ref == "" {
			ref = r.DefaultBranch
		}
		commit, err := s.Repos.History.Resolve(ctx, r.ID, ref)
		if err != nil {
			continue
		}
		list[res.Alias] = Repository{Name: r.Name, URL: projectURL + "/_git/" + r.Name, Ref: ref, Commit: commit}
	}
	return list, nil
}
