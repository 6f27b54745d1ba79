package gateway

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/routing"
)

// generation is a table in the shape that routing needs. It never changes.
type generation struct {
	table  *routing.Table
	hosts  map[string][]target // longest prefix first
	pools  map[string]*view    // by Pool.Name
	routed map[string]bool     // pools that a route or a stream leads to
}

// target is a route and the pool it leads to.
type target struct {
	route *routing.Route
	pool  *view
}

// view is a pool as one generation describes it; health, counters and
// connections belong to the pool behind it and outlive the generation.
type view struct {
	*pool
	balance  string
	backends []backendView
}

type backendView struct {
	*backend
	name    string
	drained bool
}

// build makes the generation of a table, creating pools and backends that are
// new. The caller holds g.mu.
func (g *Gateway) build(t *routing.Table) *generation {
	gen := &generation{table: t, hosts: map[string][]target{}, pools: map[string]*view{}, routed: map[string]bool{}}
	for i := range t.Pools {
		tp := &t.Pools[i]
		p := g.pools[tp.Name]
		if p == nil {
			p = newPool(tp.Name, g.now)
			g.pools[tp.Name] = p
		}
		v := &view{pool: p, balance: tp.Balance}
		for _, b := range tp.Backends {
			v.backends = append(v.backends, backendView{backend: p.backend(b.Address), name: b.Name, drained: b.Drained})
		}
		gen.pools[tp.Name] = v
	}
	for i := range t.Routes {
		r := &t.Routes[i]
		gen.hosts[r.Host] = append(gen.hosts[r.Host], target{route: r, pool: gen.pools[r.Pool]})
		gen.routed[r.Pool] = true
	}
	for _, s := range t.Streams {
		gen.routed[s.Pool] = true
	}
	for _, list := range gen.hosts {
		slices.SortStableFunc(list, func(a, b target) int { return len(b.route.PathPrefix) - len(a.route.PathPrefix) })
	}
	return gen
}

// match returns the target for a host and a path.
func (gen *generation) match(host, path string) (target, bool) {
	if gen == nil {
		return target{}, false
	}
	for _, t := range gen.hosts[host] {
		if prefixMatches(t.route.PathPrefix, path) {
			return t, true
		}
	}
	return target{}, false
}

// leadsTo reports whether a route or stream of the generation ends in a pool.
func (gen *generation) leadsTo(pool string) bool { return gen != nil && gen.routed[pool] }

// prefixMatches compares whole path segments: /api leads to /api and /api/x,
// not to /apix.
func prefixMatches(prefix, path string) bool {
	if prefix == "" || prefix == "/" {
		return true
	}
	if !strings.HasPrefix(path, prefix) {
		return false
	}
	return len(path) == len(prefix) || strings.HasSuffix(prefix, "/") || path[len(prefix)] == '/'
}

// hostOf is the host that routes are found by: lower case, without a port and
// without a final dot.
func hostOf(hostport string) string {
	host := hostport
	if strings.HasPrefix(host, "[") {
		if end := strings.IndexByte(host, ']'); end > 0 {
			host = host[1:end]
		}
	} else if i := strings.LastIndexByte(host, ':'); i >= 0 {
		host = host[:i]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

func cloneTable(t *routing.Table) *routing.Table {
	c := *t
	c.Routes = slices.Clone(t.Routes)
	c.Pools = slices.Clone(t.Pools)
	for i := range c.Pools {
		c.Pools[i].Backends = slices.Clone(c.Pools[i].Backends)
		c.Pools[i].Probe = withDefaults(c.Pools[i].Probe)
	}
	c.Fronts = slices.Clone(t.Fronts)
	c.Streams = slices.Clone(t.Streams)
	return &c
}

// checkTable refuses what cannot be served as it is written.
func checkTable(t *routing.Table) error {
	if t == nil {
		return fault.New(fault.Invalid, "invalid-table", "there is no table")
	}
	pools := map[string]bool{}
	for _, p := range t.Pools {
		if p.Name == "" || pools[p.Name] {
			return badTable("pools", "a name that no other pool has", p.Name)
		}
		pools[p.Name] = true
		if err := checkPool(p); err != nil {
			return err
		}
	}
	if err := checkRoutes(t.Routes, pools); err != nil {
		return err
	}
	for _, s := range t.Streams {
		if _, port, err := net.SplitHostPort(s.Listen); err != nil || port == "" {
			return badTable("streams", "an address host:port to listen at", s.Listen)
		}
		if !pools[s.Pool] {
			return badTable("streams "+s.Listen, "the name of a pool of this table", s.Pool)
		}
	}
	for _, f := range t.Fronts {
		if _, err := netip.ParseAddr(frontHost(f.Address)); err != nil {
			return badTable("fronts "+f.Slot, "an IP address, with or without a port", f.Address)
		}
	}
	return nil
}

func checkPool(p routing.Pool) error {
	where := "pool " + p.Name
	switch p.Balance {
	case "", "roundRobin", "leastRequests":
	default:
		return badTable(where, "roundRobin or leastRequests", p.Balance)
	}
	seen := map[string]bool{}
	for _, b := range p.Backends {
		host, port, err := net.SplitHostPort(b.Address)
		if err != nil || host == "" || port == "" || seen[b.Address] {
			return badTable(where+" backend "+b.Name, "an address host:port that no other backend of the pool has", b.Address)
		}
		seen[b.Address] = true
	}
	pr := p.Probe
	if pr.Interval < 0 || pr.Timeout < 0 || pr.Rise < 0 || pr.Fall < 0 || pr.MinCode > pr.MaxCode {
		return badTable(where+" probe", "times and counts of zero or more, minCode not above maxCode", "other numbers")
	}
	if pr.Path != "" && !strings.HasPrefix(pr.Path, "/") {
		return badTable(where+" probe", "a path that begins with /", pr.Path)
	}
	return nil
}

func checkRoutes(routes []routing.Route, pools map[string]bool) error {
	type key struct{ host, prefix string }
	seen := map[key]bool{}
	for _, r := range routes {
		where := "route " + r.Host + r.PathPrefix
		if r.Host == "" || hostOf(r.Host) != r.Host {
			return badTable(where, "a host in lower case without a port", r.Host)
		}
		if r.PathPrefix != "" && !strings.HasPrefix(r.PathPrefix, "/") {
			return badTable(where, "a path prefix that begins with /", r.PathPrefix)
		}
		if !pools[r.Pool] {
			return badTable(where, "the name of a pool of this table", r.Pool)
		}
		if r.Timeout < 0 {
			return badTable(where, "a timeout of zero or more", r.Timeout.String())
		}
		k := key{r.Host, strings.TrimSuffix(r.PathPrefix, "/")}
		if seen[k] {
			return badTable(where, "one route for a host and path", "two")
		}
		seen[k] = true
	}
	return nil
}

func badTable(where, expected, found string) error {
	return fault.New(fault.Invalid, "invalid-table", "the table cannot be served").
		At("%s", where).Want("%s", expected).Got("%q", found).Try("correct the application and apply it again")
}

func fmtGeneration(n uint64) string { return "generation " + strconv.FormatUint(n, 10) }
