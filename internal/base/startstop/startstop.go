// Package startstop runs a set of long-lived functions as one: the first that
// fails, or a canceled context, stops all of them, and Wait returns when every
// one has returned. No goroutine of the product lives outside such a group.
package startstop

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Group is a set of running services.
type Group struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
}

// New makes a group whose services end with ctx.
func New(ctx context.Context) *Group {
	ctx, cancel := context.WithCancelCause(ctx)
	return &Group{ctx: ctx, cancel: cancel}
}

// Context is given to every service.
func (g *Group) Context() context.Context { return g.ctx }

// Go starts a service. A service returns nil when its context ends.
func (g *Group) Go(name string, run func(ctx context.Context) error) {
	g.wg.Add(1)
	go func() {
		defer g.wg.Done()
		if err := run(g.ctx); err != nil && g.ctx.Err() == nil {
			g.cancel(fmt.Errorf("%s: %w", name, err))
		}
	}()
}

// Stop ends the services.
func (g *Group) Stop() { g.cancel(context.Canceled) }

// Wait returns when all services have returned: the error of the one that
// failed first, or nil.
func (g *Group) Wait() error {
	g.wg.Wait()
	if err := context.Cause(g.ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
