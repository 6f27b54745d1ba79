package devopsapi

import (
	"slices"
	"strings"

	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/domain/identity"
)

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
		if len(r.Template) > len(row.RouteTemplate) {
			row.RouteTemplate = r.Template
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
