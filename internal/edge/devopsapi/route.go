package devopsapi

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/domain/identity"
)

// Route is one row of the registry.
type Route struct {
	Area, Resource string
	ID             string // location id, as clients look it up; "" is not listed
	Method         string
	Template       string // {project}/_apis/git/repositories/{repository}
	Permission     identity.Permission
	Handle         func(*call) (any, error)
	// Locate names the project of a request whose address has none.
	Locate func(*call) (string, error)
	Body   body
}

// body is what a route accepts as a request body.
type body int

const (
	smallJSON body = iota // at most 1 MiB
	largeJSON             // at most 64 MiB
	stream                // bytes; the handler bounds them
)

// segments splits a path into decoded segments; empty ones do not count,
// because clients build addresses by concatenation.
func segments(escaped string) ([]string, error) {
	var list []string
	for part := range strings.SplitSeq(escaped, "/") {
		if part == "" {
			continue
		}
		text, err := url.PathUnescape(part)
		if err != nil {
			return nil, err
		}
		list = append(list, text)
	}
	return list, nil
}

// match finds the route of a path without the organization. Fixed segments are
// compared without case; of several routes the one with the most fixed segments
// wins.
func match(routes []Route, method string, path []string) (*Route, map[string]string, error) {
	var best *Route
	var params map[string]string
	most, known := -1, false
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for i := range routes {
		r := &routes[i]
		found, fixed := r.match(path)
		if found == nil {
			continue
		}
		known = true
		if r.Method == method && fixed > most {
			best, params, most = r, found, fixed
		}
	}
	switch {
	case best != nil:
		return best, params, nil
	case known:
		return nil, nil, fault.New(fault.Invalid, "method-not-allowed", "%s is not possible here", method)
	}
	return nil, nil, fault.New(fault.NotFound, "no-route", "no such address: /%s", strings.Join(path, "/")).Try("OPTIONS /{organization}/_apis/ lists what there is")
}

func (r *Route) match(path []string) (map[string]string, int) {
	template := strings.Split(r.Template, "/")
	if r.Locate != nil && template[0] == "{project}" && strings.EqualFold(path[0], "_apis") {
		template = template[1:]
	}
	params, fixed := map[string]string{}, 0
	for i, t := range template {
		if name, ok := strings.CutPrefix(t, "{*"); ok {
			if i >= len(path) {
				return nil, 0
			}
			params[strings.TrimSuffix(name, "}")] = strings.Join(path[i:], "/")
			return params, fixed
		}
		if i >= len(path) {
			return nil, 0
		}
		if strings.HasPrefix(t, "{") {
			params[strings.Trim(t, "{}")] = path[i]
			continue
		}
		if !strings.EqualFold(t, path[i]) {
			return nil, 0
		}
		fixed++
	}
	if len(path) != len(template) {
		return nil, 0
	}
	return params, fixed
}

var discoveryRoutes = []Route{
	{"", "", "", "OPTIONS", "_apis", identity.Anyone, (*call).locations, nil, smallJSON},
	{"", "", "", "OPTIONS", "_apis/{area}", identity.Anyone, (*call).locations, nil, smallJSON},
	{"Location", "ConnectionData", "00d9565f-ed9c-4a06-9a50-00e7896ccab4", "GET", "_apis/connectionData", identity.SignedIn, (*call).connectionData, nil, smallJSON},
	{"Location", "ResourceAreas", "e81700f7-3be2-46de-8624-2eb35882fcaa", "GET", "_apis/ResourceAreas", identity.Anyone, (*call).resourceAreas, nil, smallJSON},
	{"penstock", "version", "", "GET", "_apis/penstock/version", identity.Anyone, (*call).version, nil, smallJSON},
}

// location is one row of the discovery table, as the SDKs read it.
type location struct {
	ID              string `json:"id"`
	Area            string `json:"area"`
	ResourceName    string `json:"resourceName"`
	RouteTemplate   string `json:"routeTemplate"`
	ResourceVersion int    `json:"resourceVersion"`
	MinVersion      string `json:"minVersion"`
	MaxVersion      string `json:"maxVersion"`
	ReleasedVersion string `json:"releasedVersion"`
}

// published are the names under which clients fill in the parameters of an
// address, where the handlers call them otherwise. A client leaves a parameter
// that it has no value for out of the address, so that under another name it
// would ask for the list instead of the one.
var published = map[string]string{"repository": "repositoryId", "commit": "commitId", "pullRequest": "pullRequestId", "reviewer": "reviewerId", "thread": "threadId",
	"configuration": "configurationId", "definition": "definitionId", "pipeline": "pipelineId", "run": "runId", "build": "buildId", "timeline": "timelineId", "log": "logId", "record": "recordId",
	"approval": "approvalId", "environment": "environmentId", "pool": "poolId", "agent": "agentId", "group": "groupId", "testrun": "runId", "result": "testCaseResultId",
	"endpoint": "endpointId", "file": "secureFileId", "hub": "hubName", "plan": "planId"}

// publishedTemplate is the template as clients fill it in.
func (r *Route) publishedTemplate() string {
	parts := strings.Split(r.Template, "/")
	for i, part := range parts {
		name := strings.Trim(part, "{*}")
		other := published[name]
		switch {
		case name == "project" && r.Area == "core":
			other = "projectId"
		case name == "project" && strings.Contains(r.Template, "/plans/"):
			other = "scopeIdentifier"
		}
		if name != part && other != "" {
			parts[i] = strings.Replace(part, name, other, 1)
		}
	}
	return strings.Join(parts, "/")
}

// locations lists the registry: one row per location id, with the longest of
// its templates, whose last parameters clients leave out.
func (c *call) locations() (any, error) {
	rows := map[string]*location{}
	var order []string
	for _, r := range c.api.routes {
		if r.ID == "" || c.params["area"] != "" && !strings.EqualFold(r.Area, c.params["area"]) {
			continue
		}
		row := rows[r.ID]
		if row == nil {
			row = &location{ID: r.ID, Area: r.Area, ResourceName: r.Resource, ResourceVersion: 1, MinVersion: "5.0", MaxVersion: "7.2", ReleasedVersion: "7.1"}
			rows[r.ID], order = row, append(order, r.ID)
		}
		if t := r.publishedTemplate(); len(t) > len(row.RouteTemplate) {
			row.RouteTemplate = t
		}
	}
	out := make([]location, 0, len(order))
	for _, key := range order {
		out = append(out, *rows[key])
	}
	slices.SortFunc(out, func(a, b location) int {
		return strings.Compare(a.Area+a.ResourceName+a.ID, b.Area+b.ResourceName+b.ID)
	})
	return listOf(out), nil
}

// resourceAreas is empty: clients then look for every area at this address.
func (c *call) resourceAreas() (any, error) { return listOf([]location{}), nil }

func (c *call) version() (any, error) {
	return map[string]string{"version": c.Version, "organization": c.Organization, "api": "7.1"}, nil
}

func (c *call) connectionData() (any, error) {
	user := map[string]any{"id": c.subject.ID, "descriptor": "penstock;" + c.subject.Name, "subjectDescriptor": "psk." + c.subject.ID,
		"providerDisplayName": c.subject.Name, "isActive": true, "kind": c.subject.Kind, "resourceVersion": 2, "metaTypeId": 0,
		"properties": map[string]any{"Account": map[string]string{"$type": "System.String", "$value": c.subject.Name}}}
	instance := id.From("instance", c.Organization)
	return map[string]any{"authenticatedUser": user, "authorizedUser": user, "instanceId": instance, "deploymentId": instance, "deploymentType": "onPremises",
		"locationServiceData": map[string]any{"serviceOwner": instance, "defaultAccessMappingMoniker": "PublicAccessMapping", "lastChangeId": 1, "lastChangeId64": 1}}, nil
}
