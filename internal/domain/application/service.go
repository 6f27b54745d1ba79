package application

import (
	"context"
	"slices"
	"strings"
	"sync"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/base/outbox"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/audit"
	"penstock.dev/penstock/internal/domain/deployment"
	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/variablegroup"
)

// Machines makes the VMs that an application file names and nobody registered.
type Machines interface {
	// Ensure returns the address of a VM, making the machine if there is none.
	// It must not wait for the machine to be up.
	Ensure(ctx context.Context, v *environment.VM) (address string, err error)
}

// Service holds the use cases of applications.
type Service struct {
	Apps           store.Table[Application]
	Swaps          store.Table[Swap]
	Tx             store.Runner
	Audit          *audit.Service
	Environments   *environment.Service
	VariableGroups *variablegroup.Service
	Clock          store.Clock
	Switch         Switch
	Machines       Machines // nil: only VMs that exist can be named
	Zones          []string
	Fronts         string        // CIDR of the gateway addresses that DNS gives out
	GatewayPort    func() string // ":7480", or "" for 80
	DNSAddress     func() string // host:port of the DNS server

	// traffic serializes everything that makes a new generation, so that each
	// one contains the one before it.
	traffic sync.Mutex
	changed notifier
}

// Find returns an application of a project by name.
func (s *Service) Find(ctx context.Context, projectID, name string) (*Application, error) {
	a, err := store.First(ctx, s.Apps, store.Where("key", projectID+"/"+strings.ToLower(name)))
	if err != nil || a != nil {
		return a, err
	}
	e := fault.New(fault.NotFound, "not-found", "no application %s", name).Try("penstock app list")
	all, err := s.Of(ctx, projectID)
	if err != nil {
		return nil, err
	}
	for _, other := range all {
		if near(other.Name, name) {
			e = e.Try("did you mean %s?", other.Name)
		}
	}
	return nil, e
}

// near: at most two letters added, left out or changed.
func near(a, b string) bool {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, diagonal+cost)
		}
	}
	return row[len(b)] <= 2
}

// Of lists the applications of a project.
func (s *Service) Of(ctx context.Context, projectID string) ([]*Application, error) {
	all, err := s.Apps.Find(ctx, store.Query{}.By("key"))
	return slices.DeleteFunc(all, func(a *Application) bool { return a.ProjectID != projectID }), err
}

// Apply makes an application file true: it creates the application or changes
// what differs. Slots keep their roles and releases.
func (s *Service) Apply(ctx context.Context, projectID string, spec *Spec) (*Application, error) {
	s.traffic.Lock()
	defer s.traffic.Unlock()
	a, err := s.merge(ctx, projectID, spec)
	if err != nil {
		return nil, err
	}
	if err := s.ensureMachines(ctx, a); err != nil {
		return nil, err
	}
	_, err = s.VariableGroups.Put(ctx, &variablegroup.Group{ProjectID: projectID, Name: a.Name, Application: a.Name,
		Description: "Kept by application " + a.Name, Variables: s.settingsFor(a)}, nil)
	if err != nil {
		return nil, err
	}
	return a, s.serve(ctx, a, "application.apply", "")
}

func (s *Service) merge(ctx context.Context, projectID string, spec *Spec) (*Application, error) {
	key := projectID + "/" + spec.Application
	a, err := store.First(ctx, s.Apps, store.Where("key", key))
	if err != nil {
		return nil, err
	}
	if a == nil {
		a = &Application{ID: id.New(), ProjectID: projectID, Key: key, Name: spec.Application, Created: s.Clock.Now()}
	}
	if err := s.namesFree(ctx, a, spec); err != nil {
		return nil, err
	}
	old := a.Slots
	a.Spec, a.Slots = *spec, nil
	for i, want := range spec.Slots {
		slot := Slot{Name: want.Slot, VMs: want.VMs, Role: Idle}
		if at := slices.IndexFunc(old, func(o Slot) bool { return o.Name == want.Slot }); at >= 0 {
			slot = old[at]
			slot.VMs = want.VMs
		} else {
			n, err := s.Tx.Next(ctx, "front")
			if err != nil {
				return nil, err
			}
			if slot.Front, err = s.frontAddress(n - 1); err != nil {
				return nil, err
			}
			if i == 0 && len(old) == 0 {
				slot.Role = Staging // the first deployment goes to the first slot
			}
		}
		a.Slots = append(a.Slots, slot)
	}
	for _, o := range old {
		if o.Role == Production && a.Slot(o.Name) == nil {
			return nil, fault.New(fault.Conflict, "slot-in-use", "slot %s is production and cannot be removed", o.Name).Try("swap first")
		}
	}
	return a, nil
}

func (s *Service) namesFree(ctx context.Context, a *Application, spec *Spec) error {
	all, err := s.Apps.Find(ctx, store.Query{})
	if err != nil {
		return err
	}
	for _, other := range all {
		if other.ID == a.ID {
			continue
		}
		for _, names := range spec.Names {
			for _, n := range names {
				if slices.Contains(other.Spec.Names[Production], n) || slices.Contains(other.Spec.Names[Staging], n) {
					return fault.New(fault.Conflict, "name-taken", "%s belongs to application %s", n, other.Name).Try("choose another name")
				}
			}
		}
	}
	return nil
}

func (s *Service) ensureMachines(ctx context.Context, a *Application) error {
	for i := range a.Slots {
		slot := &a.Slots[i]
		slot.Addresses = nil
		for _, name := range slot.VMs {
			vm, err := s.Environments.FindVM(ctx, a.ProjectID, name)
			if fault.Is(err, fault.NotFound) && s.Machines != nil {
				vm, err = s.Environments.AddVM(ctx, &environment.VM{ProjectID: a.ProjectID, Name: name, Tags: []string{a.Name, slot.Name}})
			}
			if err != nil {
				return err
			}
			if s.Machines != nil && vm.AgentID == "" {
				if vm.Address, err = s.Machines.Ensure(ctx, vm); err != nil {
					return err
				}
			}
			slot.Addresses = append(slot.Addresses, vm.Address)
		}
	}
	return nil
}

// SyncAddresses takes over the addresses of machines that changed theirs.
func (s *Service) SyncAddresses(ctx context.Context) error {
	s.traffic.Lock()
	defer s.traffic.Unlock()
	apps, err := s.Apps.Find(ctx, store.Query{})
	if err != nil {
		return err
	}
	for _, a := range apps {
		moved := false
		for i := range a.Slots {
			var now []string
			for _, name := range a.Slots[i].VMs {
				vm, err := s.Environments.FindVM(ctx, a.ProjectID, name)
				if err != nil {
					return err
				}
				now = append(now, vm.Address)
			}
			moved = moved || !slices.Equal(now, a.Slots[i].Addresses)
			a.Slots[i].Addresses = now
		}
		if !moved {
			continue
		}
		if err := s.serve(ctx, a, "application.addresses", ""); err != nil {
			return err
		}
	}
	return nil
}

// serve stores an application with what it implies for traffic, as one
// generation. The caller holds s.traffic.
func (s *Service) serve(ctx context.Context, a *Application, action, detail string) error {
	generation, err := s.prepare(ctx, a)
	if err != nil {
		return err
	}
	a.Generation = generation
	err = s.Tx.InTx(ctx, func(ctx context.Context) error {
		if a.Rev() == 0 {
			err = s.Apps.Insert(ctx, a)
		} else {
			err = s.Apps.Save(ctx, a)
		}
		if err != nil {
			return err
		}
		if err := s.Tx.Emit(ctx, outbox.New(TopicPublish, "traffic", generation), outbox.New(TopicChanged, a.ID, a.ID)); err != nil {
			return err
		}
		return s.Audit.Record(ctx, identity.From(ctx).Name, action, "application "+a.Name, detail)
	})
	if err != nil {
		return err
	}
	defer s.changed.notify(a.ID)
	return s.Switch.Publish(ctx, generation)
}

func (s *Service) prepare(ctx context.Context, a *Application) (uint64, error) {
	generation, err := s.nextGeneration(ctx)
	if err != nil {
		return 0, err
	}
	t, d, err := s.desired(ctx, a, generation)
	if err != nil {
		return 0, err
	}
	return generation, s.Switch.Prepare(ctx, t, d)
}

// TopicPublish makes sure that a committed generation is served.
const TopicPublish = "traffic.publish"

// Pin resolves the target of a deployment job, once, when it starts: the VMs of
// the slot that plays the role the environment is bound to, and those VMs of
// the environment that belong to no slot.
func (s *Service) Pin(ctx context.Context, projectID string, e *environment.Environment, want pipeline.Environment, by string) (targets []deployment.Target, app, slot string, err error) {
	s.traffic.Lock()
	defer s.traffic.Unlock()
	apps, err := s.Of(ctx, projectID)
	if err != nil {
		return nil, "", "", err
	}
	var vms []*environment.VM
	for _, a := range apps {
		if !strings.EqualFold(a.Spec.Environment(Staging), e.Name) && !strings.EqualFold(a.Spec.Environment(Production), e.Name) {
			continue
		}
		if len(want.Tags) > 0 && !slices.ContainsFunc(want.Tags, func(t string) bool { return strings.EqualFold(t, a.Name) }) {
			continue
		}
		if strings.EqualFold(a.Spec.Environment(Production), e.Name) && a.Spec.Swap.InPlace == "refuse" {
			return nil, "", "", fault.New(fault.Conflict, "in-place", "application %s takes no deployment to its production slot", a.Name).
				Try("deploy to staging and swap, or write swap: { inPlace: rolling } in its file")
		}
		names, pinned, err := s.pinSlot(ctx, a, by)
		if err != nil {
			return nil, "", "", err
		}
		app, slot = a.Name, pinned
		for _, name := range names {
			vm, err := s.Environments.FindVM(ctx, projectID, name)
			if err != nil {
				return nil, "", "", err
			}
			vms = append(vms, vm)
		}
	}
	loose, err := s.Environments.VMs.Find(ctx, store.Where("environment_id", e.ID).By("key"))
	if err != nil {
		return nil, "", "", err
	}
	for _, vm := range append(vms, loose...) {
		if vm.HasTags(want.Tags) && (want.ResourceName == "" || strings.EqualFold(want.ResourceName, vm.Name)) {
			targets = append(targets, deployment.Target{Resource: vm.ID, Name: vm.Name, AgentID: vm.AgentID})
		}
	}
	return targets, app, slot, nil
}

// pinSlot gives the staging slot to a deployment. What ran on it is forgotten:
// from here on it cannot be swapped to until the deployment succeeds.
func (s *Service) pinSlot(ctx context.Context, a *Application, by string) (vms []string, slot string, err error) {
	if a.SwapID != "" {
		return nil, "", fault.New(fault.Conflict, "swap-running", "application %s is being swapped", a.Name)
	}
	slot, roles, err := PlanStaging(a)
	if err != nil {
		return nil, "", err
	}
	target := a.Slot(slot)
	if target.Deploying != "" && target.Deploying != by {
		return nil, "", fault.New(fault.Conflict, "deployment-running", "slot %s is being deployed to by %s", slot, target.Deploying)
	}
	a.setRoles(roles, s.Clock.Now())
	target.Deploying, target.Release, target.DeployedAt = by, nil, s.Clock.Now()
	return target.VMs, slot, s.serve(ctx, a, "slot.pin", "slot "+slot+" for "+by)
}

// Settle ends what Pin began: a release that succeeded is what the slot runs
// now; nil means that the deployment failed.
func (s *Service) Settle(ctx context.Context, projectID, app, slot, by string, release *Release) error {
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		a, err := s.Find(ctx, projectID, app)
		if err != nil {
			return err
		}
		target := a.Slot(slot)
		if target == nil || target.Deploying != by {
			return nil
		}
		target.Deploying, target.Release = "", release
		if release != nil {
			target.DeployedAt = s.Clock.Now()
		}
		if err := s.Apps.Save(ctx, a); err != nil {
			return err
		}
		s.changed.notify(a.ID)
		return s.Tx.Emit(ctx, outbox.New(TopicChanged, a.ID, a.ID))
	})
}

// TopicChanged tells pages that an application looks different now.
const TopicChanged = "application.changed"

// Production reports whether an environment is bound to the production role of
// the application.
func (s *Service) Production(ctx context.Context, projectID, app, environmentName string) (bool, error) {
	a, err := s.Find(ctx, projectID, app)
	if err != nil {
		return false, err
	}
	return strings.EqualFold(a.Spec.Environment(Production), environmentName), nil
}

// notifier wakes whoever waits for a change of an application.
type notifier struct {
	mu   sync.Mutex
	wait map[string]chan struct{}
}

func (n *notifier) notify(key string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if c, ok := n.wait[key]; ok {
		close(c)
		delete(n.wait, key)
	}
}

func (n *notifier) next(key string) <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.wait == nil {
		n.wait = map[string]chan struct{}{}
	}
	c, ok := n.wait[key]
	if !ok {
		c = make(chan struct{})
		n.wait[key] = c
	}
	return c
}
