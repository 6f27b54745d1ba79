package application

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/routing"
	"penstock.dev/penstock/internal/domain/trafficmanager"
)

// Switch is the data planes as one: every DNS node and every gateway.
type Switch interface {
	// Prepare makes every node hold a generation without using it.
	Prepare(ctx context.Context, t *routing.Table, d *trafficmanager.Snapshot) error
	// Publish makes every node serve the prepared generation; serving it
	// already is no error.
	Publish(ctx context.Context, generation uint64) error
	// Probe asks every backend of a pool now.
	Probe(ctx context.Context, pool string) ([]routing.BackendHealth, error)
	// WarmUp sends requests to a pool and returns the 99th percentile.
	WarmUp(ctx context.Context, pool string, w WarmUp) (time.Duration, error)
	// Drain waits for the running requests of a pool that gets no new ones and
	// cuts what is left at the deadline.
	Drain(ctx context.Context, pool string, deadline time.Duration) (cut int, err error)
}

// WarmUp is the traffic sent ahead of users.
type WarmUp struct {
	Paths    []string
	Requests int
	Host     string
	Within   time.Duration
}

// Watch is what the data planes know now.
type Watch interface {
	Stats() []routing.Stats
	Health() []routing.BackendHealth
	Cached(name string) []trafficmanager.Cached
	Generation() uint64
}

// Desired computes what the data planes should serve for all applications. It
// is pure; the same applications give the same table.
func Desired(apps []*Application, zones []string, generation uint64) (*routing.Table, *trafficmanager.Snapshot) {
	t := &routing.Table{Generation: generation}
	d := &trafficmanager.Snapshot{Generation: generation}
	for _, z := range zones {
		d.Zones = append(d.Zones, trafficmanager.Zone{Name: z})
	}
	for _, a := range apps {
		for i := range a.Slots {
			t.Pools = append(t.Pools, a.pool(&a.Slots[i]))
			t.Fronts = append(t.Fronts, routing.Front{Slot: a.Pool(a.Slots[i].Name), Address: a.Slots[i].Front})
		}
		for _, role := range []string{Production, Staging} {
			slot := a.WithRole(role)
			if slot == nil {
				continue
			}
			for _, name := range a.Spec.Names[role] {
				t.Routes = append(t.Routes, a.routes(name, role, a.Pool(slot.Name))...)
				d.Records = append(d.Records, trafficmanager.Record{Name: name, Addresses: []string{slot.Front},
					TTL: time.Duration(a.Spec.DNS.TTL), Target: a.Pool(slot.Name)})
			}
		}
	}
	return t, d
}

func (a *Application) pool(s *Slot) routing.Pool {
	from, to, err := a.Spec.ExpectRange()
	if err != nil {
		from, to = 200, 299
	}
	h := a.Spec.Health
	p := routing.Pool{Name: a.Pool(s.Name), Application: a.Name, Slot: s.Name, Balance: "leastRequests",
		Probe: routing.Probe{Path: h.Path, Interval: time.Duration(h.Interval), Timeout: time.Duration(h.Timeout),
			Rise: h.Rise, Fall: h.Fall, MinCode: from, MaxCode: to}}
	if h.TCP {
		p.Probe.Path = ""
	}
	for _, r := range a.Spec.Routes {
		if r.Balance != "" {
			p.Balance = r.Balance
		}
	}
	for i, vm := range s.VMs {
		if i >= len(s.Addresses) || s.Addresses[i] == "" {
			continue // the machine is not there yet
		}
		p.Backends = append(p.Backends, routing.Backend{Name: vm, Drained: slices.Contains(s.Drained, vm),
			Address: net.JoinHostPort(s.Addresses[i], strconv.Itoa(a.Spec.Service.Port))})
	}
	return p
}

func (a *Application) routes(host, role, pool string) []routing.Route {
	base := routing.Route{Host: host, Pool: pool, Application: a.Name, Role: role, PathPrefix: "/", Timeout: 30 * time.Second, Retry: true}
	if len(a.Spec.Routes) == 0 {
		return []routing.Route{base}
	}
	var list []routing.Route
	for _, r := range a.Spec.Routes {
		route := base
		route.PathPrefix, route.Timeout, route.Retry = r.Path, time.Duration(r.Timeout), r.Retry != "off"
		list = append(list, route)
	}
	return list
}

// desired is what to serve for the applications as stored, with one of them
// replaced by its planned successor. The caller holds s.traffic.
func (s *Service) desired(ctx context.Context, planned *Application, generation uint64) (*routing.Table, *trafficmanager.Snapshot, error) {
	apps, err := s.Apps.Find(ctx, store.Query{}.By("key"))
	if err != nil {
		return nil, nil, err
	}
	for i, a := range apps {
		if planned != nil && a.ID == planned.ID {
			apps[i] = planned
		}
	}
	if planned != nil && planned.Rev() == 0 {
		apps = append(apps, planned)
	}
	t, d := Desired(apps, s.Zones, generation)
	return t, d, nil
}

// Reconcile brings the data planes to what the database says; it runs at start
// and when a publication could not be confirmed.
func (s *Service) Reconcile(ctx context.Context) error {
	s.traffic.Lock()
	defer s.traffic.Unlock()
	var generation uint64
	var t *routing.Table
	var d *trafficmanager.Snapshot
	err := s.Tx.InTx(ctx, func(ctx context.Context) error {
		n, err := s.nextGeneration(ctx)
		if err != nil {
			return err
		}
		generation = n
		t, d, err = s.desired(ctx, nil, n)
		return err
	})
	if err != nil {
		return err
	}
	if err := s.Switch.Prepare(ctx, t, d); err != nil {
		return err
	}
	return s.Switch.Publish(ctx, generation)
}

func (s *Service) nextGeneration(ctx context.Context) (uint64, error) {
	n, err := s.Tx.Next(ctx, "traffic")
	return uint64(n), err
}

// frontAddress gives the n-th slot of the installation its gateway address.
func (s *Service) frontAddress(n int) (string, error) {
	ip, network, err := net.ParseCIDR(s.Fronts)
	if err != nil {
		return "", fmt.Errorf("front addresses %q: %w", s.Fronts, err)
	}
	v4 := ip.To4()
	v4[2] += byte(n / 254)
	v4[3] = byte(n%254 + 1)
	if !network.Contains(v4) {
		return "", fmt.Errorf("front addresses %s are used up", s.Fronts)
	}
	return v4.String(), nil
}

// settingsFor is what an application's own variable group holds.
func (s *Service) settingsFor(a *Application) map[string]string {
	url := func(role string) string {
		names := a.Spec.Names[role]
		if len(names) == 0 {
			return ""
		}
		return "http://" + names[0] + s.GatewayPort()
	}
	return map[string]string{"productionUrl": url(Production), "stagingUrl": url(Staging), "dnsServer": s.DNSAddress()}
}
