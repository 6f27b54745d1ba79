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
)

type userRow struct {
	ID, Name, DisplayName string
	Disabled              bool
	Created               time.Time
}

func (c *cli) userCommand() *cobra.Command {
	var display string
	var noPassword bool
	create := command("create NAME", "Makes a user; the password comes from a hidden prompt or stdin.", "printf %s \"$PASSWORD\" | penstock user create ada --display-name Ada", exactly("NAME"), func(ctx context.Context, args []string) error {
		in := map[string]string{"name": args[0], "displayName": display}
		if !noPassword {
			password, err := c.ask("password")
			if err != nil {
				return err
			}
			in["password"] = password
		}
		var d doc[userRow]
		if err := c.sendServer(ctx, http.MethodPost, "/_apis/penstock/users", in, &d); err != nil {
			return err
		}
		return c.done(d.Raw, "user %s; next: penstock permission grant %s contributor PROJECT", d.V.Name, d.V.Name)
	})
	create.Flags().StringVar(&display, "display-name", "", "name for people")
	create.Flags().BoolVar(&noPassword, "no-password", false, "the user cannot sign in with a password")
	return noun("user", "Users of the server.", "penstock user list\npenstock user password", create,
		command("list", "Lists the users.", "penstock user list", noArgs, func(ctx context.Context, _ []string) error {
			list, err := ofServer[userRow](ctx, c, "/_apis/penstock/users")
			if err != nil {
				return err
			}
			return printList(c, list, table[userRow]{id: func(u userRow) string { return u.Name }, empty: "penstock user create NAME", columns: []column[userRow]{
				{head: "NAME", text: func(u userRow) string { return u.Name }}, {head: "DISPLAY NAME", text: func(u userRow) string { return u.DisplayName }},
				{head: "DISABLED", text: func(u userRow) string { return map[bool]string{true: "yes"}[u.Disabled] }}, {head: "AGE", text: func(u userRow) string { return c.age(u.Created) }},
				{head: "ID", wide: true, text: func(u userRow) string { return u.ID }}}})
		}),
		command("password [NAME]", "Changes your password, or sets another user's.", "penstock user password\nprintf %s \"$PASSWORD\" | penstock user password ada", between(0, 1, "NAME"), c.password))
}

// password changes the caller's own, which needs the old one, or another's.
func (c *cli) password(ctx context.Context, args []string) error {
	if len(args) == 1 {
		fresh, err := c.ask("new password")
		if err != nil {
			return err
		}
		if err := c.sendServer(ctx, http.MethodPut, "/_apis/penstock/users/"+url.PathEscape(args[0])+"/password", map[string]string{"password": fresh}, nil); err != nil {
			return err
		}
		return c.done(map[string]string{"user": args[0]}, "password of %s changed; its browser sessions ended", args[0])
	}
	if _, person := c.terminal(); !person {
		return usage("changing your own password asks two questions, and stdin is not a terminal").Try("penstock user password NAME, as an administrator")
	}
	old, err := c.ask("current password")
	if err != nil {
		return err
	}
	fresh, err := c.ask("new password")
	if err != nil {
		return err
	}
	if err := c.sendServer(ctx, http.MethodPut, "/_apis/penstock/me/password", map[string]string{"current": old, "password": fresh}, nil); err != nil {
		return err
	}
	return c.done(map[string]string{}, "password changed")
}

type groupRow struct {
	ID, Name string
	Members  []string
}

func (c *cli) groupCommand() *cobra.Command {
	return noun("group", "Groups of a project, whom approvals can name.", "penstock group list -p shop\npenstock group set 'Release Managers' lin grace",
		command("list", "Lists the groups of a project.", "penstock group list -p shop", noArgs, func(ctx context.Context, _ []string) error {
			list, err := all[groupRow](ctx, c, "/_apis/penstock/groups")
			if err != nil {
				return err
			}
			return printList(c, list, table[groupRow]{id: func(g groupRow) string { return g.Name }, empty: "penstock group set NAME USER…", columns: []column[groupRow]{
				{head: "NAME", text: func(g groupRow) string { return g.Name }}, {head: "MEMBERS", text: func(g groupRow) string { return strings.Join(g.Members, ", ") }}}})
		}),
		command("set NAME USER…", "Makes a group, or replaces its members.", "penstock group set 'Release Managers' lin grace", between(1, -1, "NAME", "USER"), func(ctx context.Context, args []string) error {
			var d doc[groupRow]
			if err := c.send(ctx, http.MethodPut, "/_apis/penstock/groups/"+url.PathEscape(args[0]), map[string][]string{"members": args[1:]}, &d); err != nil {
				return err
			}
			return c.done(d.Raw, "group %s: %s", d.V.Name, strings.Join(d.V.Members, ", "))
		}))
}

type grantRow struct{ User, Role, Project string }

func (c *cli) permissionCommand() *cobra.Command {
	return noun("permission", "Roles of users.", "penstock permission list\npenstock permission grant ada contributor shop",
		command("list", "Lists who holds which role.", "penstock permission list", noArgs, func(ctx context.Context, _ []string) error {
			list, err := ofServer[grantRow](ctx, c, "/_apis/penstock/permissions")
			if err != nil {
				return err
			}
			return printList(c, list, table[grantRow]{id: func(g grantRow) string { return g.User }, empty: "penstock permission grant USER ROLE PROJECT", columns: []column[grantRow]{
				{head: "USER", text: func(g grantRow) string { return g.User }}, {head: "ROLE", text: func(g grantRow) string { return g.Role }},
				{head: "ON", text: func(g grantRow) string { return cmp.Or(g.Project, "every project") }}}})
		}),
		command("grant USER ROLE [PROJECT]", "Gives a user a role on a project, or on the server.",
			"penstock permission grant ada contributor shop\npenstock permission grant root serverAdministrator", between(2, 3, "USER", "ROLE", "PROJECT"), func(ctx context.Context, args []string) error {
				in := map[string]string{"user": args[0], "role": args[1], "project": strings.Join(args[2:], "")}
				var d doc[grantRow]
				if err := c.sendServer(ctx, http.MethodPost, "/_apis/penstock/permissions", in, &d); err != nil {
					return err
				}
				return c.done(d.Raw, "%s is %s on %s", d.V.User, d.V.Role, cmp.Or(d.V.Project, "every project"))
			}))
}

type auditRow struct {
	ID, Actor, Action, Object, Detail string
	Time                              time.Time
}

func (c *cli) auditCommand() *cobra.Command {
	var by, action, object string
	var since time.Duration
	var limit int
	list := command("list", "Lists what was changed, latest first.", "penstock audit list --by ada --since 24h\npenstock audit list --action application.swap", noArgs, func(ctx context.Context, _ []string) error {
		q := url.Values{"$top": {strconv.Itoa(limit)}}
		for name, value := range map[string]string{"by": by, "action": action, "object": object} {
			if value != "" {
				q.Set(name, value)
			}
		}
		if since > 0 {
			q.Set("since", since.String())
		}
		found, err := ofServer[auditRow](ctx, c, "/_apis/penstock/audit?"+q.Encode())
		if err != nil {
			return err
		}
		return printList(c, found, table[auditRow]{id: func(r auditRow) string { return r.ID }, empty: "No record fits.", columns: []column[auditRow]{
			{head: "TIME", text: func(r auditRow) string { return r.Time.Format(time.DateTime) }}, {head: "BY", text: func(r auditRow) string { return r.Actor }},
			{head: "ACTION", text: func(r auditRow) string { return r.Action }}, {head: "OBJECT", text: func(r auditRow) string { return r.Object }},
			{head: "DETAIL", text: func(r auditRow) string { return r.Detail }}}})
	})
	f := list.Flags()
	f.StringVar(&by, "by", "", "of one user")
	f.StringVar(&action, "action", "", "of one kind, for instance run.queue")
	f.StringVar(&object, "object", "", "of one object")
	f.DurationVar(&since, "since", 0, "within this time")
	f.IntVar(&limit, "limit", 50, "at most so many")
	return noun("audit", "The record of every change.", "penstock audit list --since 24h\npenstock audit verify", list,
		command("verify", "Checks that no record was taken out or altered.", "penstock audit verify", noArgs, func(ctx context.Context, _ []string) error {
			var d doc[struct{ Records int }]
			if err := c.sendServer(ctx, http.MethodGet, "/_apis/penstock/audit/verify", nil, &d); err != nil {
				return err
			}
			return c.done(d.Raw, "%d records, each follows from the one before it", d.V.Records)
		}))
}
