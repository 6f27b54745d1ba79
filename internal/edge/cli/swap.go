package cli

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"penstock.dev/penstock/internal/base/fault"
)

type swapRow struct {
	ID, State, NewSlot, OldSlot, NewRelease, OldRelease, By, RunID, Cause string
	Generation                                                            uint64
	Rollback                                                              bool
	RolledBack                                                            *bool
	Journal                                                               []struct {
		OK         bool
		What, Text string
	}
	Started, PublishedAt, DrainedAt time.Time
	Moved                           time.Duration
	Cut                             int
}

func (w swapRow) verb() string {
	if w.Rollback {
		return "rollback"
	}
	return "swap"
}

func (c *cli) swapCommand() *cobra.Command {
	var expect, wait string
	var dry bool
	cmd := command("swap APP", "Makes staging production: moves all traffic as one action.",
		"penstock swap storefront\npenstock swap storefront --expect-release 1.0.7\npenstock swap storefront --dry-run", exactly("APP"), func(ctx context.Context, args []string) error {
			if !slices.Contains([]string{"published", "drained"}, wait) {
				return usage("--wait %s is not known", wait).Want("published or drained")
			}
			return c.swap(ctx, args[0], expect, wait, dry)
		})
	cmd.Flags().StringVar(&expect, "expect-release", "", "refuse if staging runs another release")
	cmd.Flags().StringVar(&wait, "wait", "drained", "published: until users are on the new side; drained: until the old side is empty")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "probe and warm up, but move nothing")
	return cmd
}

func (c *cli) swap(ctx context.Context, app, expect, wait string, dry bool) error {
	before, err := get[appDetail](ctx, c, appPath(app))
	if err != nil {
		return err
	}
	old, _ := before.V.with("production")
	next, _ := before.V.with("staging")
	c.swapSay("%s: production %s ⇄ staging %s    generation %d", before.V.Application.Name, sideText(old), sideText(next), before.V.Application.Generation)
	var d doc[swapRow]
	// A swap in progress goes on without us; so the request is not cut short.
	in := map[string]any{"expectRelease": expect, "waitFor": "published", "dryRun": dry}
	if err := c.send(ctx, http.MethodPost, appPath(app, "/swaps"), in, &d); err != nil {
		if ctx.Err() != nil {
			c.say("The swap goes on without you. Look: penstock app show %s", app)
		}
		return err
	}
	said := c.journal(d.V, 0)
	if dry {
		return c.finish(d, "%s could become production of %s; nothing was moved", sideText(next), app)
	}
	if wait == "drained" {
		if d, err = c.drained(ctx, app, d, said); err != nil {
			return err
		}
	}
	text := fmt.Sprintf("Production is %s (%s).", d.V.NewSlot, d.V.NewRelease)
	if d.V.OldSlot != "" {
		text += fmt.Sprintf(" %s stays warm as previous. Undo: penstock rollback %s", d.V.OldSlot, app)
	}
	return c.finish(d, "%s", text)
}

// finish prints the answer: the swap as data, or its outcome in words.
func (c *cli) finish(d doc[swapRow], format string, args ...any) error {
	return printOne(c, d, d.V.ID, func() string { return printable(fmt.Sprintf(format, args...)) + "\n" })
}

func sideText(s slotRow) string {
	if s.Name == "" {
		return "nothing"
	}
	return s.Name + " (" + cmp.Or(s.release(), "no release") + ")"
}

// swapSay is progress: on stdout for people, since it is what they wait for, on
// stderr where the answer is data.
func (c *cli) swapSay(format string, args ...any) {
	w := c.Stdout
	if c.flags.quiet || c.flags.output == "json" || c.flags.output == "yaml" {
		w = c.Stderr
	}
	_, _ = fmt.Fprintln(w, printable(fmt.Sprintf(format, args...)))
}

// journal prints what a swap did since the first said entries.
func (c *cli) journal(w swapRow, said int) int {
	for _, e := range w.Journal[min(said, len(w.Journal)):] {
		c.swapSay("%s %-10s %s", c.mark(map[bool]string{true: "ok", false: "FAIL"}[e.OK]), e.What, e.Text)
		if e.What == "publish" && e.OK {
			c.swapSay("  -- from here production is %s --", w.NewSlot)
		}
	}
	return len(w.Journal)
}

// drained follows a published swap until its old side is empty.
func (c *cli) drained(ctx context.Context, app string, d doc[swapRow], said int) (doc[swapRow], error) {
	for d.V.State == "published" {
		fresh, err := get[swapRow](ctx, c, appPath(app, "/swaps/", d.V.ID, "?waitFor=drained"))
		switch {
		case err == nil:
			d = fresh
		case ctx.Err() != nil:
			c.say("Users are on the new side; the drain goes on without you. Look: penstock app show %s", app)
			return d, err
		case fault.Is(err, fault.Unavailable) && fault.CodeOf(err) == "server-unreachable":
			if err := pause(ctx, time.Second); err != nil {
				return d, err
			}
		default:
			return d, err
		}
		said = c.journal(d.V, said)
	}
	if d.V.State == "failed" {
		return d, fault.New(fault.Unavailable, "not-healthy", "the swap failed").Got("%s", d.V.Cause)
	}
	if !d.V.DrainedAt.IsZero() {
		c.swapSay("%s drained in %s · %d requests cut", c.mark("ok"), d.V.DrainedAt.Sub(d.V.PublishedAt).Round(100*time.Millisecond), d.V.Cut)
	}
	return d, nil
}

func (c *cli) rollbackCommand() *cobra.Command {
	var expect uint64
	var dry bool
	cmd := command("rollback APP", "Goes back to the release before, which is still warm.", "penstock rollback storefront\npenstock rollback storefront --expect-generation 9", exactly("APP"), func(ctx context.Context, args []string) error {
		var d doc[swapRow]
		if err := c.send(ctx, http.MethodPost, appPath(args[0], "/rollbacks"), map[string]any{"expectGeneration": expect, "dryRun": dry}, &d); err != nil {
			return err
		}
		w := d.V
		switch {
		case w.RolledBack != nil && *w.RolledBack:
			c.journal(w, 0)
			back := strings.TrimSpace(map[bool]string{true: "; " + w.OldSlot + " (" + w.OldRelease + ") gave its traffic up"}[w.OldSlot != ""])
			return c.finish(d, "%s generation %d published in %s: production is %s (%s) again%s", c.mark("ok"), w.Generation, w.Moved.Round(time.Microsecond), w.NewSlot, w.NewRelease, back)
		case dry:
			return c.finish(d, "production would be %s (%s) again; nothing was moved", w.NewSlot, w.NewRelease)
		}
		return c.finish(d, "Nothing to do: the last move was this rollback (generation %d, %s ago).", w.Generation, c.age(w.PublishedAt))
	})
	cmd.Flags().Uint64Var(&expect, "expect-generation", 0, "refuse if something moved since that generation")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "probe, but move nothing")
	return cmd
}
