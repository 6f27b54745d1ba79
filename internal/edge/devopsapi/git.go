package devopsapi

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/repos"
)

const (
	repositoriesID = "225f7195-f9c7-4d14-ab28-a83f7ff77e1f"
	refsID         = "2d874a60-a811-4f62-9c9f-963a6ea0a55b"
	commitsID      = "c2570c3b-5b3f-41b8-98bf-5407bfde8d58"
	itemsID        = "fb93c0db-47ed-4a31-8c20-47552878fb44"
)

var gitRoutes = []Route{
	{"git", "repositories", repositoriesID, "GET", "{project}/_apis/git/repositories", identity.ProjectView, (*call).listRepositories, nil, smallJSON},
	{"git", "repositories", "", "GET", "_apis/git/repositories", identity.SignedIn, (*call).listAllRepositories, nil, smallJSON},
	{"git", "repositories", repositoriesID, "GET", "{project}/_apis/git/repositories/{repository}", identity.ProjectView, (*call).getRepository, (*call).projectOfRepository, smallJSON},
	{"git", "repositories", repositoriesID, "POST", "{project}/_apis/git/repositories", identity.ProjectEdit, (*call).createRepository, nil, smallJSON},
	{"git", "refs", refsID, "GET", "{project}/_apis/git/repositories/{repository}/refs", identity.ProjectView, (*call).listRefs, (*call).projectOfRepository, smallJSON},
	{"git", "refs", refsID, "GET", "{project}/_apis/git/repositories/{repository}/refs/{*filter}", identity.ProjectView, (*call).listRefs, (*call).projectOfRepository, smallJSON},
	{"git", "commits", commitsID, "GET", "{project}/_apis/git/repositories/{repository}/commits", identity.ProjectView, (*call).listCommits, (*call).projectOfRepository, smallJSON},
	{"git", "commits", commitsID, "GET", "{project}/_apis/git/repositories/{repository}/commits/{commit}", identity.ProjectView, (*call).getCommit, (*call).projectOfRepository, smallJSON},
	{"git", "items", itemsID, "GET", "{project}/_apis/git/repositories/{repository}/items", identity.ProjectView, (*call).getItems, (*call).projectOfRepository, smallJSON},
	{"git", "items", itemsID, "GET", "{project}/_apis/git/repositories/{repository}/items/{*path}", identity.ProjectView, (*call).getItems, (*call).projectOfRepository, smallJSON},
	{"penstock", "diff", "", "GET", "{project}/_apis/penstock/repositories/{repository}/diff", identity.ProjectView, (*call).getDiff, nil, smallJSON},
}

// projectOfRepository names the project of a repository addressed by its id.
func (c *call) projectOfRepository() (string, error) {
	r, err := c.Repos.Repositories.Get(c.ctx(), c.params["repository"])
	if err != nil {
		return "", fault.New(fault.NotFound, "not-found", "no repository %s", c.params["repository"]).Try("name its project in the address")
	}
	return r.ProjectID, nil
}

func (c *call) repository() (*repos.Repository, error) {
	return c.Repos.Find(c.ctx(), c.project.ID, c.params["repository"])
}

type repositoryShape struct {
	ID            string       `json:"id"`
	Name          string       `json:"name"`
	URL           string       `json:"url"`
	Project       projectShape `json:"project"`
	DefaultBranch string       `json:"defaultBranch,omitempty"`
	Size          int64        `json:"size"`
	RemoteURL     string       `json:"remoteUrl"`
	WebURL        string       `json:"webUrl"`
	IsDisabled    bool         `json:"isDisabled"`
	IsFork        bool         `json:"isFork"`
}

func (c *call) repositoryShape(r *repos.Repository) repositoryShape {
	shape := repositoryShape{ID: r.ID, Name: r.Name, URL: c.base() + "/_apis/git/repositories/" + r.ID}
	if r.Refs[r.DefaultBranch] != "" {
		shape.DefaultBranch = r.DefaultBranch
	}
	p := c.project
	if p == nil || p.ID != r.ProjectID {
		var err error
		if p, err = c.Projects.Find(c.ctx(), r.ProjectID); err != nil {
			return shape
		}
	}
	shape.Project = c.projectShape(p)
	shape.RemoteURL = c.base() + "/" + url.PathEscape(p.Name) + "/_git/" + url.PathEscape(r.Name)
	shape.WebURL = c.base() + "/" + url.PathEscape(p.Name) + "/repos/" + url.PathEscape(r.Name)
	return shape
}

func (c *call) listRepositories() (any, error) {
	found, err := c.Repos.Repositories.Find(c.ctx(), store.Where("project_id", c.project.ID).By("key"))
	if err != nil {
		return nil, err
	}
	return mapped(found, c.repositoryShape), nil
}

func (c *call) listAllRepositories() (any, error) {
	found, err := c.Repos.Repositories.Find(c.ctx(), store.Query{}.By("key"))
	if err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(found, func(r *repos.Repository) bool { return !identity.Can(c.subject, identity.ProjectView, r.ProjectID) })
	return mapped(found, c.repositoryShape), nil
}

func (c *call) getRepository() (any, error) {
	r, err := c.repository()
	if err != nil {
		return nil, err
	}
	return c.repositoryShape(r), nil
}

func (c *call) createRepository() (any, error) {
	var in struct{ Name string }
	if err := c.read(&in); err != nil {
		return nil, err
	}
	r, err := c.Repos.Create(c.ctx(), c.project.ID, in.Name)
	if err != nil {
		return nil, err
	}
	return created{c.repositoryShape(r)}, nil
}

type refShape struct {
	Name     string `json:"name"`
	ObjectID string `json:"objectId"`
	URL      string `json:"url"`
}

func (c *call) listRefs() (any, error) {
	r, err := c.repository()
	if err != nil {
		return nil, err
	}
	prefix := "refs/" + strings.TrimPrefix(cmp.Or(c.params["filter"], c.query("filter")), "refs/")
	var refs []refShape
	for _, name := range slices.Sorted(maps.Keys(r.Refs)) {
		if strings.HasPrefix(name, prefix) && strings.Contains(name, c.query("filterContains")) {
			refs = append(refs, refShape{name, r.Refs[name], c.base() + "/_apis/git/repositories/" + r.ID + "/refs/" + strings.TrimPrefix(name, "refs/")})
		}
	}
	return listOf(refs[:min(len(refs), c.top(10_000))]), nil
}

type signature struct {
	Name  string    `json:"name"`
	Email string    `json:"email"`
	Date  time.Time `json:"date"`
}

type commitShape struct {
	CommitID  string    `json:"commitId"`
	Author    signature `json:"author"`
	Committer signature `json:"committer"`
	Comment   string    `json:"comment"`
	Parents   []string  `json:"parents,omitempty"`
	URL       string    `json:"url"`
}

func (c *call) commitShape(repo string) func(repos.Commit) commitShape {
	return func(k repos.Commit) commitShape {
		by := signature{k.Author, k.Email, k.Time}
		return commitShape{CommitID: k.ID, Author: by, Committer: by, Comment: k.Message, Parents: k.Parents,
			URL: c.base() + "/_apis/git/repositories/" + repo + "/commits/" + k.ID}
	}
}

// revision reads which version of a repository a request means.
func (c *call) revision(r *repos.Repository, prefix string) (string, error) {
	version, kind := c.query(prefix+"version"), strings.ToLower(c.query(prefix+"versionType"))
	switch {
	case version == "":
		version = r.DefaultBranch
	case kind == "tag" || kind == "1":
		version = "refs/tags/" + strings.TrimPrefix(version, "refs/tags/")
	case kind == "commit" || kind == "2":
	default:
		version = repos.FullBranch(version)
	}
	return c.Repos.History.Resolve(c.ctx(), r.ID, version)
}

func (c *call) listCommits() (any, error) {
	r, err := c.repository()
	if err != nil {
		return nil, err
	}
	to, err := c.revision(r, "searchCriteria.itemVersion.")
	if err != nil {
		return nil, err
	}
	commits, err := c.Repos.History.Commits(c.ctx(), r.ID, "", to, c.top(100))
	if err != nil {
		return nil, err
	}
	return mapped(commits, c.commitShape(r.ID)), nil
}

func (c *call) getCommit() (any, error) {
	r, err := c.repository()
	if err != nil {
		return nil, err
	}
	to, err := c.Repos.History.Resolve(c.ctx(), r.ID, c.params["commit"])
	if err != nil {
		return nil, err
	}
	commits, err := c.Repos.History.Commits(c.ctx(), r.ID, "", to, 1)
	if err != nil {
		return nil, err
	}
	if len(commits) == 0 {
		return nil, fault.New(fault.NotFound, "not-found", "no commit %s", c.params["commit"])
	}
	return c.commitShape(r.ID)(commits[0]), nil
}

type itemShape struct {
	CommitID string `json:"commitId"`
	Kind     string `json:"gitObjectType"`
	Path     string `json:"path"`
	IsFolder bool   `json:"isFolder,omitempty"`
	Size     int64  `json:"size,omitempty"`
	Content  string `json:"content,omitempty"`
	URL      string `json:"url"`
}

// getItems is one file (path) or the entries of a folder (scopePath).
func (c *call) getItems() (any, error) {
	r, err := c.repository()
	if err != nil {
		return nil, err
	}
	prefix := "versionDescriptor."
	if c.query("version") != "" {
		prefix = ""
	}
	commit, err := c.revision(r, prefix)
	if err != nil {
		return nil, err
	}
	address := c.base() + "/_apis/git/repositories/" + r.ID + "/items?version=" + commit + "&versionType=commit&path="
	file := cmp.Or(c.params["path"], c.query("path"))
	if file == "" || c.query("scopePath") != "" {
		folder := strings.Trim(path.Clean("/"+c.query("scopePath")), "/")
		entries, err := c.Repos.History.Tree(c.ctx(), r.ID, commit, folder)
		if err != nil {
			return nil, err
		}
		return mapped(entries, func(e repos.TreeEntry) itemShape {
			full := path.Join("/", folder, e.Name)
			return itemShape{CommitID: commit, Kind: map[bool]string{false: "blob", true: "tree"}[e.Folder], Path: full, IsFolder: e.Folder, Size: e.Size, URL: address + url.QueryEscape(full)}
		}), nil
	}
	clean := path.Clean("/" + file)
	data, err := c.Repos.Git.ReadFile(c.ctx(), r.ID, commit, strings.TrimPrefix(clean, "/"))
	if err != nil {
		return nil, err
	}
	if c.accepts("text/plain") || c.accepts("application/octet-stream") || c.flag("download") {
		return c.bytes("text/plain; charset=utf-8", data), nil
	}
	item := itemShape{CommitID: commit, Kind: "blob", Path: clean, Size: int64(len(data)), URL: address + url.QueryEscape(clean)}
	if c.flag("includeContent") {
		item.Content = string(data)
	}
	return item, nil
}

// bytes answers with content that no browser may take for a page.
func (c *call) bytes(contentType string, data []byte) done {
	h := c.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "sandbox")
	c.w.WriteHeader(http.StatusOK)
	_, _ = c.w.Write(data)
	return done{}
}

func (c *call) getDiff() (any, error) {
	r, err := c.repository()
	if err != nil {
		return nil, err
	}
	var ends [2]string
	for i, name := range []string{"from", "to"} {
		if ends[i], err = c.Repos.History.Resolve(c.ctx(), r.ID, c.query(name)); err != nil {
			return nil, err
		}
	}
	text, err := c.Repos.History.Diff(c.ctx(), r.ID, ends[0], ends[1])
	if err != nil {
		return nil, err
	}
	return c.bytes("text/plain; charset=utf-8", []byte(text)), nil
}
