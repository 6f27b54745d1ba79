package cli

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"penstock.dev/penstock/internal/base/fault"
)

func noRole(name string) error {
	return fault.New(fault.Unavailable, "no-such-role", "this program was built without %s", name).Try("use the released binary")
}

func (c *cli) upCommand() *cobra.Command {
	var o UpOptions
	var set []string
	cmd := command("up", "Runs everything in one process: pages, API, Git, agent, DNS and gateway.",
		"penstock up\npenstock up --data ~/shop --ports default\npenstock up --set agent.jobs=2", noArgs, func(ctx context.Context, _ []string) error {
			if c.Up == nil {
				return noRole("the server")
			}
			o.Set = map[string]string{}
			for _, text := range set {
				key, value, ok := strings.Cut(text, "=")
				if !ok || key == "" {
					return usage("--set %s is no key=value", text)
				}
				o.Set[key] = value
			}
			if o.Demo && c.Demo != nil {
				return c.Demo(ctx, DemoOptions{Data: o.Data, Ports: o.Ports, Set: o.Set, SignIn: c.signInFirst})
			}
			return c.Up(ctx, o)
		})
	cmd.Flags().StringVar(&o.Data, "data", "", "`folder` of the data")
	cmd.Flags().StringVar(&o.Ports, "ports", "", "auto: a port that is taken is replaced; default: that is an error")
	cmd.Flags().BoolVar(&o.Demo, "demo", false, "tell the story of the demo once it is up")
	cmd.Flags().StringArrayVar(&set, "set", nil, "`key=value` of the configuration")
	return cmd
}

func (c *cli) demoCommand() *cobra.Command {
	var o DemoOptions
	cmd := command("demo [STORY]", "Tells the story of a release, with everything that is in it.", "penstock demo\npenstock demo --fast --exit\npenstock demo --list",
		between(0, 1, "STORY"), func(ctx context.Context, args []string) error {
			if c.Demo == nil {
				return noRole("the demo")
			}
			o.Story, o.SignIn = strings.Join(args, ""), c.signInFirst
			return c.Demo(ctx, o)
		})
	cmd.Flags().StringVar(&o.Data, "data", "", "`folder` of the data")
	cmd.Flags().BoolVar(&o.Exit, "exit", false, "end when the story is told")
	cmd.Flags().BoolVar(&o.Fast, "fast", false, "without pauses for a reader")
	cmd.Flags().BoolVar(&o.List, "list", false, "list the stories")
	return cmd
}

func (c *cli) downCommand() *cobra.Command {
	var o DownOptions
	cmd := command("down", "Stops the penstock up of a data folder.", "penstock down\npenstock down --purge --yes", noArgs, func(ctx context.Context, _ []string) error {
		if o.Purge {
			folder := cmp.Or(o.Data, c.dataFolder())
			if err := c.sure("This deletes everything in "+folder, folder); err != nil {
				return err
			}
		}
		if c.Down == nil {
			return noRole("the server")
		}
		return c.Down(ctx, o)
	})
	cmd.Flags().StringVar(&o.Data, "data", "", "`folder` of the data")
	cmd.Flags().BoolVar(&o.Purge, "purge", false, "delete the data too")
	return cmd
}

func (c *cli) versionCommand() *cobra.Command {
	return command("version", "Prints the version.", "penstock version\npenstock version -o json", noArgs, func(context.Context, []string) error {
		if c.flags.output == "table" || c.flags.output == "wide" {
			return c.outln("penstock " + c.Version)
		}
		return c.outValue(map[string]string{"version": c.Version})
	})
}

type agentRow struct {
	ID                              int
	Name, Version, Status, Pool, VM string
	Enabled                         bool
	MaxParallelism, Busy            int
	LastSeen                        time.Time
	SystemCapabilities              map[string]string
}

// agentCommand is a noun, and bare the role: with a join token or an identity
// it runs an agent here.
func (c *cli) agentCommand() *cobra.Command {
	var o AgentOptions
	cmd := &cobra.Command{Use: "agent", Short: "Runs an agent here, or manages the agents of the server.", Args: noArgs,
		Example: indent("penstock agent --server http://localhost:7420 --join-token-file token --data ./agent\npenstock agent list\npenstock agent join-token --pool default"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.JoinTokenFile == "" && o.Data == "" {
				_ = cmd.Help()
				return usage("an agent needs a join token or its data folder, so that a curious call starts nothing").Try("penstock agent join-token, on a machine that is signed in")
			}
			if c.Agent == nil {
				return noRole("the agent")
			}
			if o.JoinTokenFile != "" {
				o.JoinTokenFile = c.path(o.JoinTokenFile)
			}
			o.Server, o.Organization = c.flags.server, c.flags.org
			if o.Server == "" {
				o.Server = c.Env("PENSTOCK_SERVER")
			}
			return c.Agent(cmd.Context(), o)
		}}
	cmd.Flags().StringVar(&o.JoinTokenFile, "join-token-file", "", "`file` with a join token: needed once")
	cmd.Flags().StringVar(&o.Name, "name", "", "name of the agent (default: the host's)")
	cmd.Flags().StringVar(&o.Data, "data", "", "`folder` for its key and its work")
	cmd.Flags().IntVar(&o.Jobs, "jobs", 1, "jobs at a time")
	cmd.Flags().StringVar(&o.VMData, "vm-data", "", "`folder` of the VM it serves: what is deployed, and its services")
	cmd.Flags().BoolVar(&o.Supervise, "supervise", false, "run the VM's services itself, also where systemd runs")
	cmd.Flags().BoolVar(&o.Sandbox, "sandbox", false, "close every job in: code that nobody has read yet reaches no file, secret or address of this machine (Linux)")
	cmd.Flags().BoolVar(&o.RestrictCommands, "restrict-commands", false, "with --sandbox: jobs may only use harmless logging commands")
	cmd.AddCommand(c.agentList(), c.joinToken(),
		command("delete ID", "Removes an agent and revokes its key.", "penstock agent delete 3", exactly("ID"), func(ctx context.Context, args []string) error {
			if err := c.sure("This removes agent "+args[0], args[0]); err != nil {
				return err
			}
			if err := c.sendServer(ctx, http.MethodDelete, "/_apis/penstock/agents/"+url.PathEscape(args[0]), nil, nil); err != nil {
				return err
			}
			return c.done(map[string]string{"agent": args[0]}, "agent %s removed", args[0])
		}))
	return cmd
}

func (c *cli) agentList() *cobra.Command {
	return command("list", "Lists the agents with what they do.", "penstock agent list\npenstock agent list -o json", noArgs, func(ctx context.Context, _ []string) error {
		list, err := ofServer[agentRow](ctx, c, "/_apis/penstock/agents")
		if err != nil {
			return err
		}
		return printList(c, list, table[agentRow]{id: func(a agentRow) string { return strconv.Itoa(a.ID) }, empty: "penstock agent join-token", columns: []column[agentRow]{
			{head: "ID", text: func(a agentRow) string { return strconv.Itoa(a.ID) }},
			{head: "NAME", text: func(a agentRow) string { return a.Name }},
			{head: "POOL", text: func(a agentRow) string { return cmp.Or(a.Pool, map[bool]string{true: "VM " + a.VM}[a.VM != ""]) }},
			{head: "STATUS", text: agentStatus},
			{head: "JOBS", text: func(a agentRow) string { return strconv.Itoa(a.Busy) + "/" + strconv.Itoa(max(a.MaxParallelism, 1)) }},
			{head: "SEEN", text: func(a agentRow) string { return c.age(a.LastSeen) }},
			{head: "VERSION", wide: true, text: func(a agentRow) string { return a.Version }}}})
	})
}

func agentStatus(a agentRow) string {
	switch {
	case !a.Enabled:
		return "disabled"
	case a.Status == "online" && a.Busy > 0:
		return "busy"
	case a.Status == "online":
		return "idle"
	}
	return a.Status
}

func (c *cli) joinToken() *cobra.Command {
	var pool, environment string
	var tags []string
	cmd := command("join-token", "Makes a token that registers one agent.", "penstock agent join-token --pool default > token\npenstock agent join-token -p shop --env staging --tags storefront", noArgs,
		func(ctx context.Context, _ []string) error {
			a, err := c.api(ctx)
			if environment != "" && err == nil {
				a, err = c.inProject(ctx)
			}
			if err != nil {
				return err
			}
			in := map[string]any{"pool": pool, "environment": environment, "project": a.Project, "tags": tags}
			var d doc[struct {
				Token   string
				Expires time.Time
			}]
			if err := c.sendServer(ctx, http.MethodPost, "/_apis/penstock/agents/join-tokens", in, &d); err != nil {
				return err
			}
			c.say("For one agent, until %s: penstock agent --server %s --join-token-file FILE --data FOLDER", c.clock(d.V.Expires), c.target.server)
			return printOne(c, d, d.V.Token, func() string { return d.V.Token + "\n" })
		})
	cmd.Flags().StringVar(&pool, "pool", "", "agent pool (default: default)")
	cmd.Flags().StringVar(&environment, "env", "", "environment: the agent serves a VM of it")
	cmd.Flags().StringSliceVar(&tags, "tags", nil, "tags of the VM")
	return cmd
}

func (c *cli) poolCommand() *cobra.Command {
	type row struct {
		ID, Size int
		Name     string
	}
	return noun("pool", "Agent pools.", "penstock pool list\npenstock pool create linux",
		command("list", "Lists the pools.", "penstock pool list", noArgs, func(ctx context.Context, _ []string) error {
			list, err := ofServer[row](ctx, c, "/_apis/distributedtask/pools")
			if err != nil {
				return err
			}
			return printList(c, list, table[row]{id: func(p row) string { return p.Name }, empty: "penstock pool create NAME", columns: []column[row]{
				{head: "ID", text: func(p row) string { return strconv.Itoa(p.ID) }}, {head: "NAME", text: func(p row) string { return p.Name }},
				{head: "AGENTS", text: func(p row) string { return strconv.Itoa(p.Size) }}}})
		}),
		command("create NAME", "Makes a pool.", "penstock pool create linux", exactly("NAME"), func(ctx context.Context, args []string) error {
			var d doc[row]
			if err := c.sendServer(ctx, http.MethodPost, "/_apis/penstock/pools", map[string]string{"name": args[0]}, &d); err != nil {
				return err
			}
			return c.done(d.Raw, "pool %s; give it an agent: penstock agent join-token --pool %s", d.V.Name, d.V.Name)
		}))
}
