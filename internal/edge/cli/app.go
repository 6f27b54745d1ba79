package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"

	"penstock.dev/penstock/internal/base/fault"
)

type slotRow struct {
	Name, Role, Deploying string
	VMs                   []string
	Drained               []string
	KeptUntil             time.Time
	Release               *struct {
		Number, By, RunID, Commit string
		Time                      time.Time
	}
}

func (s slotRow) release() string {
	if s.Release == nil {
		return ""
	}
	return s.Release.Number
}

type appDetail struct {
	Application struct {
		Name       string
		Generation uint64
		Slots      []slotRow
		SwapID     string
		Spec       struct {
			Names        map[string][]string
			Environments map[string]string
			DNS          struct{ TTL string }
		}
	}
	Health []struct{ Pool, Backend, State, Detail string }
	Stats  []struct {
		Pool               string
		InFlight, Upgraded int64
	}
	Rates  map[string]struct{ Requests, Errors, P99 float64 }
	Cached []struct {
		Name, Target string
		Expires      time.Time
	}
	URLs     map[string]string
	LastSwap *swapRow
}

// with returns the slot that plays a role.
func (a appDetail) with(role string) (slotRow, bool) {
	at := slices.IndexFunc(a.Application.Slots, func(s slotRow) bool { return s.Role == role })
	if at < 0 {
		return slotRow{}, false
	}
	return a.Application.Slots[at], true
}

// health is how many of a slot's VMs answer their probe.
func (a appDetail) health(s slotRow) string {
	good := 0
	for _, h := range a.Health {
		if h.Pool == a.Application.Name+"/"+s.Name && h.State == "healthy" {
			good++
		}
	}
	return fmt.Sprintf("%d/%d", good, len(s.VMs))
}

func appPath(name string, rest ...string) string {
	return "/_apis/penstock/applications/" + url.PathEscape(name) + strings.Join(rest, "")
}

func (c *cli) appCommand() *cobra.Command {
	return noun("app", "Applications: slots, roles and releases.", "penstock app list\npenstock app show storefront\npenstock app history storefront",
		command("list", "Lists the applications of a project.", "penstock app list", noArgs, func(ctx context.Context, _ []string) error {
			list, err := all[appDetail](ctx, c, "/_apis/penstock/applications")
			if err != nil {
				return err
			}
			release := func(role string) func(appDetail) string {
				return func(a appDetail) string {
					s, _ := a.with(role)
					return strings.TrimSpace(s.release() + map[bool]string{true: " (" + s.Name + ")"}[s.Name != ""])
				}
			}
			return printList(c, list, table[appDetail]{id: func(a appDetail) string { return a.Application.Name }, empty: "penstock apply penstock.app.yml", columns: []column[appDetail]{
				{head: "APPLICATION", text: func(a appDetail) string { return a.Application.Name }}, {head: "PRODUCTION", text: release("production")},
				{head: "STAGING", text: release("staging")}, {head: "GENERATION", text: func(a appDetail) string { return strconv.FormatUint(a.Application.Generation, 10) }},
				{head: "URL", text: func(a appDetail) string { return a.URLs["production"] }}}})
		}),
		command("show APP", "Shows an application: slots, releases, traffic.", "penstock app show storefront", exactly("APP"), func(ctx context.Context, args []string) error {
			d, err := get[appDetail](ctx, c, appPath(args[0]))
			if err != nil {
				return err
			}
			return printOne(c, d, d.V.Application.Name, func() string { return printable(c.appText(d.V)) })
		}),
		command("history APP", "Lists the swaps and rollbacks of an application.", "penstock app history storefront", exactly("APP"), c.appHistory))
}

func (c *cli) appText(a appDetail) string {
	var b strings.Builder
	production, _ := a.with("production")
	fmt.Fprintf(&b, "%s · generation %d", a.Application.Name, a.Application.Generation)
	if names := a.Application.Spec.Names["production"]; len(names) > 0 {
		fmt.Fprintf(&b, " · %s → %s", names[0], cmp.Or(production.Name, "nothing"))
	}
	if ttl := a.Application.Spec.DNS.TTL; ttl != "" {
		fmt.Fprintf(&b, " · ttl %s", ttl)
	}
	b.WriteString("\n")
	rows := [][]string{{"ROLE", "SLOT", "RELEASE", "VMS", "REQ/S", "5XX", "P99", "OPEN", "KEPT UNTIL"}}
	for _, role := range []string{"production", "staging", "previous", "idle"} {
		for _, s := range a.Application.Slots {
			if s.Role != role {
				continue
			}
			rate, open := a.Rates[s.Name], int64(0)
			for _, x := range a.Stats {
				if x.Pool == a.Application.Name+"/"+s.Name {
					open = x.InFlight + x.Upgraded
				}
			}
			p99 := c.dash()
			if rate.P99 > 0 {
				p99 = time.Duration(rate.P99 * float64(time.Second)).Round(time.Millisecond).String()
			}
			rows = append(rows, []string{s.Role, s.Name, cmp.Or(s.release(), map[bool]string{true: "deploying"}[s.Deploying != ""], c.dash()), a.health(s),
				fmt.Sprintf("%.0f", rate.Requests), fmt.Sprintf("%.0f", rate.Errors), p99, strconv.FormatInt(open, 10), cmp.Or(c.clock(s.KeptUntil), c.dash())})
		}
	}
	b.WriteString(align(rows))
	for _, h := range a.Health {
		if h.State == "unhealthy" {
			fmt.Fprintf(&b, "%s %s: %s\n", c.mark("FAIL"), h.Backend, h.Detail)
		}
	}
	if w := a.LastSwap; w != nil {
		fmt.Fprintf(&b, "Last: %s by %s, %s ago (generation %d). History: penstock app history %s\n", w.verb(), w.By, c.age(w.Started), w.Generation, a.Application.Name)
	}
	return b.String()
}

func (c *cli) appHistory(ctx context.Context, args []string) error {
	list, err := all[swapRow](ctx, c, appPath(args[0], "/swaps"))
	if err != nil {
		return err
	}
	return printList(c, list, table[swapRow]{id: func(w swapRow) string { return w.ID }, empty: "Nothing was swapped yet: penstock swap " + args[0], columns: []column[swapRow]{
		{head: "GENERATION", text: func(w swapRow) string { return strconv.FormatUint(w.Generation, 10) }}, {head: "WHAT", text: swapRow.verb},
		{head: "PRODUCTION", text: func(w swapRow) string { return strings.TrimSpace(w.NewRelease + " (" + w.NewSlot + ")") }},
		{head: "BEFORE", text: func(w swapRow) string {
			return strings.TrimSpace(w.OldRelease + map[bool]string{true: " (" + w.OldSlot + ")"}[w.OldSlot != ""])
		}},
		{head: "STATE", text: func(w swapRow) string { return w.State }}, {head: "BY", text: func(w swapRow) string { return w.By }},
		{head: "RUN", text: func(w swapRow) string { return w.RunID }}, {head: "AGE", text: func(w swapRow) string { return c.age(w.Started) }},
		{head: "MOVED IN", wide: true, text: func(w swapRow) string { return w.Moved.Round(time.Microsecond).String() }},
		{head: "CUT", wide: true, text: func(w swapRow) string { return strconv.Itoa(w.Cut) }}, {head: "CAUSE", wide: true, text: func(w swapRow) string { return w.Cause }}}})
}

func (c *cli) applyCommand() *cobra.Command {
	var dry bool
	cmd := command("apply FILE…", "Makes files true: applications, for now.", "penstock apply penstock.app.yml\npenstock apply penstock.app.yml --dry-run\nsed s/8080/8081/ penstock.app.yml | penstock apply -", between(1, -1, "FILE"),
		func(ctx context.Context, args []string) error {
			for _, name := range args {
				if err := c.apply(ctx, name, dry); err != nil {
					return err
				}
			}
			return nil
		})
	cmd.Flags().BoolVar(&dry, "dry-run", false, "say what would happen")
	return cmd
}

// readFile reads a file of the user's; - is stdin.
func (c *cli) readFile(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(io.LimitReader(c.Stdin, 16<<20))
	}
	data, err := os.ReadFile(c.path(name))
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "file-unreadable", "the file cannot be read").At("%s", name)
	}
	return data, nil
}

// kindOfFile is a file's first key: it says what the file is.
func kindOfFile(data []byte) string {
	var root yaml.Node
	if yaml.Unmarshal(data, &root) != nil || len(root.Content) == 0 || root.Content[0].Kind != yaml.MappingNode || len(root.Content[0].Content) == 0 {
		return ""
	}
	return root.Content[0].Content[0].Value
}

func (c *cli) apply(ctx context.Context, name string, dry bool) error {
	data, err := c.readFile(name)
	if err != nil {
		return err
	}
	if kind := kindOfFile(data); kind != "application" {
		return fault.New(fault.Invalid, "unknown-file", "that is no file to apply").At("%s", name).Want("a YAML file whose first key is application").Got("%s", cmp.Or(kind, "no mapping"))
	}
	in := map[string]string{"name": filepath.Base(name), "content": string(data)}
	if dry {
		var d doc[struct {
			Application string
			Exists      bool
		}]
		if err := c.send(ctx, http.MethodPut, "/_apis/penstock/applications?dryRun=true", in, &d); err != nil {
			return err
		}
		return c.done(d.Raw, "%s would be %s; nothing was changed", d.V.Application, map[bool]string{true: "changed", false: "made"}[d.V.Exists])
	}
	var d doc[appDetail]
	if err := c.send(ctx, http.MethodPut, "/_apis/penstock/applications", in, &d); err != nil {
		return err
	}
	var slots []string
	for _, s := range d.V.Application.Slots {
		slots = append(slots, fmt.Sprintf("%s (%d VMs, %s)", s.Name, len(s.VMs), s.Role))
	}
	return c.done(d.Raw, "application %s, generation %d: %s", d.V.Application.Name, d.V.Application.Generation, strings.Join(slots, ", "))
}

func (c *cli) drainCommand() *cobra.Command {
	var app string
	var end bool
	cmd := command("drain VM", "Sends no new requests to a VM; --end puts it back.", "penstock drain green-1\npenstock drain green-1 --app storefront --end", exactly("VM"), func(ctx context.Context, args []string) error {
		if app == "" {
			list, err := all[appDetail](ctx, c, "/_apis/penstock/applications")
			if err != nil {
				return err
			}
			for _, a := range list {
				for _, s := range a.V.Application.Slots {
					if slices.Contains(s.VMs, args[0]) {
						app = a.V.Application.Name
					}
				}
			}
			if app == "" {
				return fault.New(fault.NotFound, "not-found", "no application has a VM %s", args[0]).Try("penstock vm list")
			}
		}
		var raw doc[struct{}]
		if err := c.send(ctx, http.MethodPut, appPath(app, "/vms/", url.PathEscape(args[0]), "/drain"), map[string]bool{"out": !end}, &raw); err != nil {
			return err
		}
		if end {
			return c.done(raw.Raw, "%s takes requests of %s again", args[0], app)
		}
		return c.done(raw.Raw, "%s gets no new request of %s; undo: penstock drain %s --end", args[0], app, args[0])
	})
	cmd.Flags().StringVar(&app, "app", "", "application (default: the one that has the VM)")
	cmd.Flags().BoolVar(&end, "end", false, "put it back")
	return cmd
}

type vmRow struct {
	ID, Name, Address, State, Provider, EnvironmentID, AgentID string
	Tags                                                       []string
}

func (c *cli) vmCommand() *cobra.Command {
	cmd := noun("vm", "Virtual machines.", "penstock vm list\npenstock vm restart blue-1",
		command("list", "Lists the VMs of a project.", "penstock vm list", noArgs, func(ctx context.Context, _ []string) error {
			list, err := all[vmRow](ctx, c, "/_apis/penstock/vms")
			if err != nil {
				return err
			}
			return printList(c, list, table[vmRow]{id: func(v vmRow) string { return v.Name }, empty: "penstock apply penstock.app.yml makes those it names", columns: []column[vmRow]{
				{head: "NAME", text: func(v vmRow) string { return v.Name }}, {head: "STATE", text: func(v vmRow) string { return v.State }},
				{head: "ADDRESS", text: func(v vmRow) string { return v.Address }}, {head: "TAGS", text: func(v vmRow) string { return strings.Join(v.Tags, ",") }},
				{head: "PROVIDER", text: func(v vmRow) string { return cmp.Or(v.Provider, "by hand") }}, {head: "AGENT", wide: true, text: func(v vmRow) string { return v.AgentID }}}})
		}),
		command("show NAME", "Shows a VM.", "penstock vm show blue-1", exactly("NAME"), func(ctx context.Context, args []string) error {
			d, err := get[vmRow](ctx, c, "/_apis/penstock/vms/"+url.PathEscape(args[0]))
			if err != nil {
				return err
			}
			return printOne(c, d, d.V.Name, func() string {
				return pairs("name", d.V.Name, "state", d.V.State, "address", d.V.Address, "tags", strings.Join(d.V.Tags, ", "), "provider", d.V.Provider, "agent", d.V.AgentID)
			})
		}),
		c.vmCreate())
	for _, action := range []struct {
		verb, path, text, doing string
		ask                     bool
	}{
		{"start", "start", "Starts a VM.", "started", false}, {"stop", "stop", "Stops a VM.", "stopped", false},
		{"restart", "restart", "Stops a VM and starts it again.", "restarted", false}, {"kill", "kill", "Ends a VM at once, as a power cut would.", "killed", true},
		{"reimage", "recreate", "Makes a VM anew: what is on it is lost.", "made anew", true},
	} {
		cmd.AddCommand(command(action.verb+" NAME", action.text, "penstock vm "+action.verb+" blue-1", exactly("NAME"), func(ctx context.Context, args []string) error {
			if action.ask {
				if err := c.sure(action.text, args[0]); err != nil {
					return err
				}
			}
			var d doc[vmRow]
			if err := c.send(ctx, http.MethodPost, "/_apis/penstock/vms/"+url.PathEscape(args[0])+"/"+action.path, nil, &d); err != nil {
				return err
			}
			return c.done(d.Raw, "%s %s", args[0], action.doing)
		}))
	}
	return cmd
}

func (c *cli) vmCreate() *cobra.Command {
	var address, env string
	var tags []string
	cmd := command("create NAME", "Registers a VM that exists.", "penstock vm create web-3 --address 10.0.0.3 --env staging --tags storefront", exactly("NAME"), func(ctx context.Context, args []string) error {
		var d doc[vmRow]
		if err := c.send(ctx, http.MethodPost, "/_apis/penstock/vms", map[string]any{"name": args[0], "address": address, "environment": env, "tags": tags}, &d); err != nil {
			return err
		}
		return c.done(d.Raw, "VM %s", d.V.Name)
	})
	cmd.Flags().StringVar(&address, "address", "", "host or address its services listen on")
	cmd.Flags().StringVar(&env, "env", "", "environment it belongs to")
	cmd.Flags().StringSliceVar(&tags, "tags", nil, "tags")
	return cmd
}
