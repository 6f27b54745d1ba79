package application

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"penstock.dev/penstock/internal/base/fault"
)

func roles(list []RoleOf) string {
	var parts []string
	for _, r := range list {
		parts = append(parts, r.Slot+" "+r.Role)
	}
	return strings.Join(parts, " · ")
}

func app(take bool, slots ...Slot) *Application {
	a := &Application{Name: "shop", Slots: slots}
	a.Spec.Swap.TakePrevious = &take
	return a
}

func rel(n string) *Release { return &Release{Number: n} }

func TestPlanSwap(t *testing.T) {
	for _, c := range []struct {
		name string
		a    *Application
		want string
		code string
	}{
		{"two slots", app(true, Slot{Name: "blue", Role: Production, Release: rel("1")}, Slot{Name: "green", Role: Staging, Release: rel("2")}), "blue previous · green production", ""},
		{"the first release", app(true, Slot{Name: "blue", Role: Staging, Release: rel("1")}, Slot{Name: "green", Role: Idle}), "blue production · green staging", ""},
		{"three slots: staging is free at once", app(true, Slot{Name: "blue", Role: Production, Release: rel("1")}, Slot{Name: "green", Role: Staging, Release: rel("2")}, Slot{Name: "amber", Role: Previous, Release: rel("0")}),
			"blue previous · green production · amber staging", ""},
		{"nothing in staging", app(true, Slot{Name: "blue", Role: Production, Release: rel("1")}, Slot{Name: "green", Role: Previous}), "", "no-staging"},
		{"a deployment that failed", app(true, Slot{Name: "blue", Role: Production, Release: rel("1")}, Slot{Name: "green", Role: Staging}), "", "no-release"},
		{"a deployment that runs", app(true, Slot{Name: "blue", Role: Production, Release: rel("1")}, Slot{Name: "green", Role: Staging, Release: rel("2"), Deploying: "9"}), "", "deployment-running"},
	} {
		got, err := PlanSwap(c.a, "")
		if c.code != "" {
			if fault.CodeOf(err) != c.code {
				t.Errorf("%s: %v, want %s", c.name, err, c.code)
			}
			continue
		}
		if err != nil || roles(got) != c.want {
			t.Errorf("%s: %s, %v; want %s", c.name, roles(got), err, c.want)
		}
	}
	a := app(true, Slot{Name: "blue", Role: Production}, Slot{Name: "green", Role: Staging, Release: rel("2")})
	if _, err := PlanSwap(a, "3"); fault.CodeOf(err) != "other-release" {
		t.Errorf("another release than expected: %v", err)
	}
}

func TestPlanStagingTakesPreviousOnlyIfAllowed(t *testing.T) {
	a := app(true, Slot{Name: "blue", Role: Previous, Release: rel("1")}, Slot{Name: "green", Role: Production, Release: rel("2")})
	if slot, _, err := PlanStaging(a); err != nil || slot != "blue" {
		t.Errorf("got %s, %v; want blue", slot, err)
	}
	a = app(false, a.Slots...)
	if _, _, err := PlanStaging(a); fault.CodeOf(err) != "no-free-slot" {
		t.Errorf("got %v, want no-free-slot", err)
	}
}

// Whatever happens in whatever order, there is at most one production and one
// staging slot, production never goes away again, and a rollback leads to the
// release that was in production before the last swap.
func TestRolesProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 4).Draw(t, "slots")
		a := app(rapid.Bool().Draw(t, "takePrevious"))
		for i := range n {
			role := Idle
			if i == 0 {
				role = Staging
			}
			a.Slots = append(a.Slots, Slot{Name: fmt.Sprint("s", i), Role: role})
		}
		now := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
		var last *Swap
		released := 0
		for range rapid.IntRange(1, 30).Draw(t, "moves") {
			now = now.Add(time.Minute)
			had := a.WithRole(Production) != nil
			before := number(releaseOf(a, Production))
			switch rapid.SampledFrom([]string{"deploy", "swap", "rollback"}).Draw(t, "move") {
			case "deploy":
				slot, next, err := PlanStaging(a)
				if err != nil {
					continue
				}
				a.setRoles(next, now)
				released++
				s := a.Slot(slot)
				if s.Role != Staging {
					t.Fatalf("a deployment goes to %s, which is %s", slot, s.Role)
				}
				s.Release, s.DeployedAt = rel(fmt.Sprint(released)), now
			case "swap":
				next, err := PlanSwap(a, "")
				if err != nil {
					continue
				}
				old := ""
				if p := a.WithRole(Production); p != nil {
					old = p.Name
				}
				a.setRoles(next, now)
				last = &Swap{OldSlot: old, NewSlot: a.WithRole(Production).Name, OldRelease: before, PublishedAt: now}
			case "rollback":
				next, done, err := PlanRollback(a, last)
				if err != nil || done {
					continue
				}
				a.setRoles(next, now)
				if got := number(releaseOf(a, Production)); got != last.OldRelease {
					t.Fatalf("rolled back to %q, production was %q", got, last.OldRelease)
				}
				last = &Swap{Rollback: true, PublishedAt: now}
			}
			check(t, a, had)
		}
	})
}

func releaseOf(a *Application, role string) *Release {
	if s := a.WithRole(role); s != nil {
		return s.Release
	}
	return nil
}

func check(t *rapid.T, a *Application, had bool) {
	count := map[string]int{}
	for _, s := range a.Slots {
		count[s.Role]++
	}
	if count[Production] > 1 || count[Staging] > 1 || had && count[Production] == 0 {
		t.Fatalf("roles %v", a.roles())
	}
	if p := a.WithRole(Production); p != nil && p.Release == nil {
		t.Fatal("production runs nothing")
	}
}

func TestDesired(t *testing.T) {
	spec, err := ParseFile("app.yml", []byte("application: shop\nnames: { production: [shop.localhost] }\nslots:\n- { slot: blue, vms: [b1] }\n- { slot: green, vms: [g1] }\n"))
	if err != nil {
		t.Fatal(err)
	}
	a := &Application{Name: "shop", Spec: *spec, Slots: []Slot{
		{Name: "blue", Role: Production, VMs: []string{"b1"}, Addresses: []string{"127.0.1.1"}, Front: "127.0.2.1"},
		{Name: "green", Role: Staging, VMs: []string{"g1"}, Addresses: []string{""}, Front: "127.0.2.2"}}}
	table, dns := Desired([]*Application{a}, []string{"localhost"}, 7)
	var got []string
	for _, r := range table.Routes {
		got = append(got, r.Host+" "+r.Pool)
	}
	for _, r := range dns.Records {
		got = append(got, r.Name+" "+strings.Join(r.Addresses, ","))
	}
	want := []string{"shop.localhost shop/blue", "staging.shop.localhost shop/green", "shop.localhost 127.0.2.1", "staging.shop.localhost 127.0.2.2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if table.Generation != 7 || dns.Generation != 7 || len(table.Pools[1].Backends) != 0 {
		t.Errorf("table %+v", table)
	}
}

func TestParseFile(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown key": {"application: shop\nnmes: {}\n", "nmes"},
		"no slots":    {"application: shop\nnames: { production: [a.localhost] }\n", "slots: 0 given"},
		"bad name":    {"application: Shop!\nnames: { production: [a.localhost] }\nslots: [{slot: a, vms: [x]}, {slot: b, vms: [y]}]\n", "is not a name"},
		"two problems": {"application: shop\nnames: { production: [a_b] }\nslots: [{slot: a, vms: [x]}, {slot: b, vms: [x]}]\nhealth: { minimum: most }\n",
			"stands twice"},
		"a duration": {"application: shop\ndns: { ttl: soon }\n", "line 2"},
	} {
		_, err := ParseFile("penstock.app.yml", []byte(c.text))
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add([]byte("application: shop\nslots: []\n"))
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = ParseFile("x", data) })
}
