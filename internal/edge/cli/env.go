package cli

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

type envRow struct {
	ID                int
	Name, Description string
	Resources         []struct {
		Name string
		Tags []string
	}
}

// boardRow is one line of the board: an environment with what runs there.
type boardRow struct {
	Application string    `json:"application"`
	Environment string    `json:"environment"`
	Role        string    `json:"role"`
	Slot        string    `json:"slot"`
	Release     string    `json:"release"`
	By          string    `json:"by"`
	Since       time.Time `json:"since,omitzero"`
	Health      string    `json:"health"`
}

func (c *cli) envCommand() *cobra.Command {
	return noun("env", "Environments: the board, their checks and their history.", "penstock env list\npenstock env create production\npenstock env check add production approval --approver 'Release Managers'",
		command("list", "Shows what runs where.", "penstock env list\npenstock env list -o json", noArgs, c.board),
		command("show NAME", "Shows an environment with its VMs.", "penstock env show staging", exactly("NAME"), func(ctx context.Context, args []string) error {
			found, err := all[envRow](ctx, c, "/_apis/distributedtask/environments?name="+url.QueryEscape(args[0]))
			if err != nil {
				return err
			}
			name := args[0]
			if len(found) == 1 {
				name = strconv.Itoa(found[0].V.ID)
			}
			d, err := get[envRow](ctx, c, "/_apis/distributedtask/environments/"+url.PathEscape(name))
			if err != nil {
				return err
			}
			return printOne(c, d, d.V.Name, func() string {
				text := pairs("name", d.V.Name, "id", strconv.Itoa(d.V.ID), "description", d.V.Description)
				for _, r := range d.V.Resources {
					text += "VM " + r.Name + " " + strings.Join(r.Tags, ",") + "\n"
				}
				return text
			})
		}),
		c.envCreate(), c.checkCommand(),
		command("history NAME", "Lists the deployments to an environment.", "penstock env history production", exactly("NAME"), c.envHistory))
}

func (c *cli) envCreate() *cobra.Command {
	var description string
	cmd := command("create NAME", "Makes an environment.", "penstock env create production", exactly("NAME"), func(ctx context.Context, args []string) error {
		var d doc[envRow]
		if err := c.send(ctx, http.MethodPost, "/_apis/distributedtask/environments", map[string]string{"name": args[0], "description": description}, &d); err != nil {
			return err
		}
		return c.done(d.Raw, "environment %s; checks: penstock env check add %s approval --approver NAME", d.V.Name, d.V.Name)
	})
	cmd.Flags().StringVar(&description, "description", "", "what it is for")
	return cmd
}

// board joins environments with the slots of the applications bound to them.
func (c *cli) board(ctx context.Context, _ []string) error {
	envs, err := all[envRow](ctx, c, "/_apis/distributedtask/environments")
	if err != nil {
		return err
	}
	applications, err := all[appDetail](ctx, c, "/_apis/penstock/applications")
	if err != nil {
		return err
	}
	var rows []doc[boardRow]
	bound := map[string]bool{}
	for _, a := range applications {
		for _, s := range a.V.Application.Slots {
			row := boardRow{Application: a.V.Application.Name, Role: s.Role, Slot: s.Name, Health: a.V.health(s)}
			if s.Role == "production" || s.Role == "staging" {
				row.Environment = cmp.Or(a.V.Application.Spec.Environments[s.Role], s.Role)
				bound[strings.ToLower(row.Environment)] = true
			}
			if s.Release != nil {
				row.Release, row.By, row.Since = s.Release.Number, s.Release.By, s.Release.Time
			}
			rows = append(rows, local(row))
		}
	}
	for _, e := range envs {
		if !bound[strings.ToLower(e.V.Name)] {
			rows = append(rows, local(boardRow{Environment: e.V.Name}))
		}
	}
	return printList(c, rows, table[boardRow]{id: func(r boardRow) string { return r.Environment }, empty: "penstock env create NAME, or penstock apply penstock.app.yml", columns: []column[boardRow]{
		{head: "APPLICATION", text: func(r boardRow) string { return r.Application }}, {head: "ENVIRONMENT", text: func(r boardRow) string { return r.Environment }},
		{head: "ROLE", text: func(r boardRow) string { return r.Role }}, {head: "SLOT", text: func(r boardRow) string { return r.Slot }},
		{head: "RELEASE", text: func(r boardRow) string { return r.Release }}, {head: "AGE", text: func(r boardRow) string { return c.age(r.Since) }},
		{head: "HEALTH", text: func(r boardRow) string { return r.Health }}, {head: "BY", text: func(r boardRow) string { return r.By }}}})
}

type deploymentRow struct {
	RunID, RunNumber, Pipeline, Stage, Job, Slot, Requester, Result, Commit string
	Resources                                                               []string
	Started, Finished                                                       time.Time
}

func (c *cli) envHistory(ctx context.Context, args []string) error {
	list, err := all[deploymentRow](ctx, c, "/_apis/penstock/environments/"+url.PathEscape(args[0])+"/deployments")
	if err != nil {
		return err
	}
	return printList(c, list, table[deploymentRow]{id: func(d deploymentRow) string { return d.RunID }, empty: "Nothing was deployed there: penstock pipeline run NAME", columns: []column[deploymentRow]{
		{head: "RUN", text: func(d deploymentRow) string { return d.RunID }}, {head: "PIPELINE", text: func(d deploymentRow) string { return d.Pipeline + " " + d.RunNumber }},
		{head: "STAGE", text: func(d deploymentRow) string { return d.Stage + "/" + d.Job }}, {head: "SLOT", text: func(d deploymentRow) string { return d.Slot }},
		{head: "RESULT", text: func(d deploymentRow) string { return cmp.Or(d.Result, "inProgress") }}, {head: "BY", text: func(d deploymentRow) string { return d.Requester }},
		{head: "AGE", text: func(d deploymentRow) string { return c.age(d.Started) }}, {head: "TOOK", text: func(d deploymentRow) string { return took(d.Started, d.Finished) }},
		{head: "VMS", wide: true, text: func(d deploymentRow) string { return strings.Join(d.Resources, ",") }}}})
}

type checkRow struct {
	ID, Type, Timeout, Instructions, From, To, Zone string
	Approvers, Branches, Days                       []string
	Minimum                                         int
	AllowSelf                                       bool
}

func (k checkRow) asks() string {
	switch k.Type {
	case "approval":
		if k.Minimum > 0 {
			return fmt.Sprintf("%d of %s", k.Minimum, strings.Join(k.Approvers, ", "))
		}
		return strings.Join(k.Approvers, ", ")
	case "branchControl":
		return strings.Join(k.Branches, ", ")
	case "businessHours":
		return fmt.Sprintf("%s %s–%s %s", strings.Join(k.Days, ","), k.From, k.To, k.Zone)
	}
	return "one run at a time"
}

func (c *cli) checkCommand() *cobra.Command {
	return noun("check", "Checks: what a stage must pass before it uses an environment.", "penstock env check list production",
		command("list ENV", "Lists the checks of an environment.", "penstock env check list production", exactly("ENV"), func(ctx context.Context, args []string) error {
			list, err := all[checkRow](ctx, c, "/_apis/penstock/environments/"+url.PathEscape(args[0])+"/checks")
			if err != nil {
				return err
			}
			return printList(c, list, table[checkRow]{id: func(k checkRow) string { return k.ID }, empty: "penstock env check add " + args[0] + " approval --approver NAME", columns: []column[checkRow]{
				{head: "ID", text: func(k checkRow) string { return k.ID }}, {head: "TYPE", text: func(k checkRow) string { return k.Type }},
				{head: "ASKS FOR", text: checkRow.asks}, {head: "WAITS AT MOST", text: func(k checkRow) string { return k.Timeout }}}})
		}),
		c.checkAdd(),
		command("remove ENV ID", "Removes a check.", "penstock env check remove production 3", exactly("ENV", "ID"), func(ctx context.Context, args []string) error {
			if err := c.sure("This takes check "+args[1]+" off environment "+args[0], args[0]); err != nil {
				return err
			}
			if err := c.send(ctx, http.MethodDelete, "/_apis/penstock/environments/"+url.PathEscape(args[0])+"/checks/"+url.PathEscape(args[1]), nil, nil); err != nil {
				return err
			}
			return c.done(map[string]string{"check": args[1]}, "check %s removed from %s", args[1], args[0])
		}))
}

func (c *cli) checkAdd() *cobra.Command {
	var in struct {
		Type         string   `json:"type"`
		Timeout      string   `json:"timeout,omitempty"`
		Approvers    []string `json:"approvers,omitempty"`
		Minimum      int      `json:"minimum,omitempty"`
		AllowSelf    bool     `json:"allowSelf,omitempty"`
		Instructions string   `json:"instructions,omitempty"`
		Branches     []string `json:"branches,omitempty"`
		Days         []string `json:"days,omitempty"`
		From         string   `json:"from,omitempty"`
		To           string   `json:"to,omitempty"`
		Zone         string   `json:"zone,omitempty"`
	}
	types := map[string]string{"approval": "approval", "exclusive-lock": "exclusiveLock", "exclusivelock": "exclusiveLock", "branch-control": "branchControl",
		"branchcontrol": "branchControl", "business-hours": "businessHours", "businesshours": "businessHours"}
	cmd := command("add ENV TYPE", "Adds a check: approval, exclusive-lock, branch-control or business-hours.",
		"penstock env check add production approval --approver lin --approver 'Release Managers'\npenstock env check add production exclusive-lock\npenstock env check add production business-hours --days Mon,Tue,Wed,Thu,Fri --from 08:00 --to 18:00 --zone Europe/Berlin",
		exactly("ENV", "TYPE"), func(ctx context.Context, args []string) error {
			in.Type = types[strings.ToLower(args[1])]
			if in.Type == "" {
				return usage("there is no check %s", args[1]).Want("approval, exclusive-lock, branch-control or business-hours")
			}
			var d doc[checkRow]
			if err := c.send(ctx, http.MethodPost, "/_apis/penstock/environments/"+url.PathEscape(args[0])+"/checks", in, &d); err != nil {
				return err
			}
			return c.done(d.Raw, "%s: %s (%s)", args[0], d.V.Type, d.V.asks())
		})
	f := cmd.Flags()
	f.StringArrayVar(&in.Approvers, "approver", nil, "approval: a user or a group; repeat for several")
	f.IntVar(&in.Minimum, "minimum", 0, "approval: how many must approve (default: all)")
	f.BoolVar(&in.AllowSelf, "allow-self", false, "approval: who requested the run may approve it")
	f.StringVar(&in.Instructions, "instructions", "", "approval: what to look at")
	f.StringVar(&in.Timeout, "timeout-after", "", "how long it waits at most, for instance 72h")
	f.StringSliceVar(&in.Branches, "branch", nil, "branch-control: allowed branches")
	f.StringSliceVar(&in.Days, "days", nil, "business-hours: Mon,Tue,…")
	f.StringVar(&in.From, "from", "", "business-hours: 08:00")
	f.StringVar(&in.To, "to", "", "business-hours: 18:00")
	f.StringVar(&in.Zone, "zone", "UTC", "business-hours: time zone")
	return cmd
}
