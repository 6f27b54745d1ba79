package devopsapi

import (
	"net/http"
	"net/url"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
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
