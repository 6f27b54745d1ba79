package server

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/telemetry"
	"penstock.dev/penstock/internal/domain/application"
	"penstock.dev/penstock/internal/domain/routing"
	"penstock.dev/penstock/internal/domain/trafficmanager"
	"penstock.dev/penstock/internal/edge/dnsserver"
	"penstock.dev/penstock/internal/edge/gateway"
)

// planes is the gateway and the DNS server of this process as one switch.
type planes struct {
	gateway *gateway.Gateway
	dns     *dnsserver.Server
	client  *http.Client
}

// Prepare implements application.Switch.
func (p *planes) Prepare(_ context.Context, t *routing.Table, d *trafficmanager.Snapshot) error {
	if err := p.gateway.Prepare(t); err != nil {
		return err
	}
	return p.dns.Prepare(d)
}

// Publish implements application.Switch. The gateway goes first: an address
// that DNS gives out always leads somewhere that knows the name.
func (p *planes) Publish(ctx context.Context, generation uint64) error {
	_, span := telemetry.Start(ctx, "gateway.Apply")
	err := p.gateway.Publish(generation)
	span.End()
	if err != nil {
		return err
	}
	_, span = telemetry.Start(ctx, "dnsserver.Apply")
	defer span.End()
	return p.dns.Publish(generation)
}

// Probe implements application.Switch.
func (p *planes) Probe(ctx context.Context, pool string) ([]routing.BackendHealth, error) {
	return p.gateway.ProbeNow(ctx, pool)
}

// WarmUp implements application.Switch: requests straight to the backends,
// under the name that users will use.
func (p *planes) WarmUp(ctx context.Context, pool string, w application.WarmUp) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, w.Within)
	defer cancel()
	var backends []routing.Backend
	for _, x := range p.gateway.Table().Pools {
		if x.Name == pool {
			backends = x.Backends
		}
	}
	if len(backends) == 0 || len(w.Paths) == 0 {
		return 0, nil
	}
	var took []time.Duration
	for n := range w.Requests {
		b, path := backends[n%len(backends)], w.Paths[(n/len(backends))%len(w.Paths)]
		u := url.URL{Scheme: "http", Host: b.Address, Path: path}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		if err != nil {
			return 0, err
		}
		req.Host = w.Host
		began := time.Now()
		res, err := p.client.Do(req)
		if err != nil {
			return 0, fault.Wrap(err, fault.Unavailable, "warm-up-failed", "the new side did not answer a warm-up request").At("%s %s", b.Name, path)
		}
		_ = res.Body.Close()
		if res.StatusCode >= 500 {
			return 0, fault.New(fault.Unavailable, "warm-up-failed", "the new side failed a warm-up request").At("%s GET %s", b.Name, path).
				Want("a status below 500").Got("%s", res.Status)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	if len(took) == 0 {
		return 0, nil
	}
	return took[len(took)*99/100], nil
}

// Drain implements application.Switch.
func (p *planes) Drain(ctx context.Context, pool string, deadline time.Duration) (int, error) {
	return p.gateway.Drain(ctx, pool, deadline)
}

// Stats, Health, Cached and Generation implement application.Watch.
func (p *planes) Stats() []routing.Stats { return p.gateway.Stats() }

// Health implements application.Watch.
func (p *planes) Health() []routing.BackendHealth { return p.gateway.Health() }

// Cached implements application.Watch.
func (p *planes) Cached(name string) []trafficmanager.Cached { return p.dns.Cached(name) }

// Generation implements application.Watch.
func (p *planes) Generation() uint64 {
	if t := p.gateway.Table(); t != nil {
		return t.Generation
	}
	return 0
}

// cachedUntil is when the last DNS answer that names a target runs out.
func (p *planes) cachedUntil(name, target string) time.Time {
	var until time.Time
	for _, c := range p.dns.Cached(name) {
		if c.Target == target && c.Expires.After(until) {
			until = c.Expires
		}
	}
	return until
}

// serverTasks are the traffic tasks for jobs with `pool: server`.
func (s *Server) swapTask(ctx context.Context, projectID, app, environment string, back bool, r application.SwapRequest) ([]string, error) {
	ok, err := s.apps.Production(ctx, projectID, app, environment)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fault.New(fault.Denied, "not-in-production-job", "traffic of %s is moved by a deployment job of its production environment only", app)
	}
	move := s.apps.Swap
	if back {
		move = s.apps.Rollback
	}
	w, err := move(ctx, projectID, app, r)
	if err != nil || w == nil {
		return []string{"nothing to do"}, err
	}
	var lines []string
	for _, e := range w.Journal {
		lines = append(lines, fmt.Sprintf("%-8s %s", e.What, e.Text))
	}
	return lines, nil
}
