package devopsapi

import (
	"time"

	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/project"
)

const projectsID = "603fe2ac-9723-48b9-88ad-09305aa6c6e1"

var projectRoutes = []Route{
	{"core", "projects", projectsID, "GET", "_apis/projects", identity.SignedIn, (*call).listProjects, nil, smallJSON},
	{"core", "projects", projectsID, "GET", "_apis/projects/{project}", identity.ProjectView, (*call).getProject, nil, smallJSON},
	{"core", "projects", projectsID, "POST", "_apis/projects", identity.ProjectCreate, (*call).createProject, nil, smallJSON},
}

// projectShape is a TeamProject.
type projectShape struct {
	ID           string            `json:"id"`
	Name         string            `json:"name"`
	Description  string            `json:"description,omitempty"`
	URL          string            `json:"url"`
	State        string            `json:"state"`
	Revision     int64             `json:"revision"`
	Visibility   string            `json:"visibility"`
	Updated      time.Time         `json:"lastUpdateTime"`
	Capabilities *capabilities     `json:"capabilities,omitempty"`
	Links        map[string]link   `json:"_links,omitempty"`
	Team         map[string]string `json:"defaultTeam,omitempty"`
}

type capabilities struct {
	VersionControl  map[string]string `json:"versioncontrol"`
	ProcessTemplate map[string]string `json:"processTemplate"`
}

func (c *call) projectShape(p *project.Project) projectShape {
	return projectShape{ID: p.ID, Name: p.Name, Description: p.Description, URL: c.base() + "/_apis/projects/" + p.ID,
		State: "wellFormed", Revision: p.Rev(), Visibility: "private", Updated: p.Created}
}

func (c *call) listProjects() (any, error) {
	q := store.Query{}.By("key")
	if all, ids := c.subject.VisibleProjects(); !all {
		if len(ids) == 0 {
			return listOf([]projectShape{}), nil
		}
		q = q.AndOp("id", store.In, ids)
	}
	found, err := c.Projects.Projects.Find(c.ctx(), q)
	if err != nil {
		return nil, err
	}
	var visible []*project.Project
	for _, p := range found {
		if identity.Can(c.subject, identity.ProjectView, p.ID) {
			visible = append(visible, p)
		}
	}
	return mapped(visible, c.projectShape), nil
}

func (c *call) getProject() (any, error) {
	p := c.projectShape(c.project)
	p.Capabilities = &capabilities{VersionControl: map[string]string{"sourceControlType": "Git"},
		ProcessTemplate: map[string]string{"templateName": "Agile", "templateTypeId": "adcc42ab-9882-485e-a3ed-7678f01f66bc"}}
	p.Links = links(p.URL, c.base()+"/"+c.project.Name)
	return p, nil
}

func (c *call) createProject() (any, error) {
	var in struct{ Name, Description string }
	if err := c.read(&in); err != nil {
		return nil, err
	}
	p, err := c.Projects.Create(c.ctx(), in.Name, in.Description)
	if err != nil {
		return nil, err
	}
	// The service answers with an operation to poll; ours has succeeded, and
	// carries the project besides.
	return created{struct {
		projectShape
		Status string `json:"status"`
	}{c.projectShape(p), "succeeded"}}, nil
}
