// Package vmtest is the contract of the VM providers: every adapter runs it.
package vmtest

import (
	"context"
	"testing"

	"penstock.dev/penstock/internal/domain/environment"
)

// Exercise runs the suite on a provider whose machines it may make and delete.
func Exercise(t *testing.T, p environment.Provider) {
	ctx := context.Background()
	one, two := environment.Machine{ID: "m1", Name: "one"}, environment.Machine{ID: "m2", Name: "two"}
	t.Cleanup(func() {
		for _, m := range []environment.Machine{one, two} {
			if err := p.Delete(m); err != nil {
				t.Error(err)
			}
		}
	})
	start := func(m environment.Machine) string {
		t.Helper()
		address, err := p.Start(ctx, m)
		if err != nil || address == "" || !p.Running(m) {
			t.Fatalf("Start(%s) = %q, %v; running %v", m.Name, address, err, p.Running(m))
		}
		return address
	}
	if p.Running(one) {
		t.Error("a machine runs before it was started")
	}
	first := start(one)
	if again := start(one); again != first {
		t.Errorf("starting a running machine moves it from %s to %s", first, again)
	}
	if other := start(two); other == first {
		t.Errorf("two machines share %s", other)
	}
	p.Kill(one)
	if p.Running(one) || !p.Running(two) {
		t.Error("Kill ends its machine, and no other")
	}
	if again := start(one); again != first {
		t.Errorf("a machine that was killed comes back at %s, it was at %s", again, first)
	}
	p.Stop(ctx, one)
	if p.Running(one) {
		t.Error("a stopped machine runs")
	}
	p.Stop(ctx, one) // stopping twice is no error
	start(one)
	for range 2 {
		if err := p.Delete(one); err != nil || p.Running(one) {
			t.Errorf("Delete: %v, running %v", err, p.Running(one))
		}
	}
	start(one) // made anew
}
