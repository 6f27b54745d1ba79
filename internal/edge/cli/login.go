package cli

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"penstock.dev/penstock/internal/base/fault"
)

// terminal returns stdin's descriptor if a person sits there.
func (c *cli) terminal() (fd int, ok bool) {
	f, ok := c.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	return int(f.Fd()), true
}

// firstLine reads one line of stdin: a secret that is piped in.
func (c *cli) firstLine(what string) (string, error) {
	text, err := bufio.NewReader(io.LimitReader(c.Stdin, 64<<10)).ReadString('\n')
	text = strings.TrimRight(text, "\r\n")
	if text == "" {
		return "", usage("stdin has no %s", what).Got("%s", cmp.Or(fmt.Sprint(err), "an empty line"))
	}
	return text, nil
}

// ask reads a secret: hidden on a terminal, else the first line of stdin.
func (c *cli) ask(what string) (string, error) {
	fd, person := c.terminal()
	if !person {
		return c.firstLine(what)
	}
	_, _ = fmt.Fprintf(c.Stderr, "%s: ", what)
	secret, err := term.ReadPassword(fd)
	_, _ = fmt.Fprintln(c.Stderr)
	if err != nil || len(secret) == 0 {
		return "", usage("no %s given", what)
	}
	return string(secret), nil
}

// sure asks before something that cannot be undone: the name must be typed, or
// --yes given.
func (c *cli) sure(what, name string) error {
	if c.flags.yes {
		return nil
	}
	if _, person := c.terminal(); !person {
		return usage("%s needs to be confirmed, and stdin is not a terminal", what).Try("add --yes")
	}
	_, _ = fmt.Fprintf(c.Stderr, "%s. Type %s to go on: ", what, name)
	answer, err := c.firstLine("answer")
	if err != nil || answer != name {
		return usage("that was not %s; nothing was changed", name)
	}
	return nil
}

type session struct {
	Token, User string
	Expires     time.Time
}

func (c *cli) loginCommand() *cobra.Command {
	var user string
	var fromStdin bool
	cmd := command("login [URL]", "Signs this machine in to a server.",
		"penstock login http://localhost:7420\nprintf %s \"$PASSWORD\" | penstock login --user ada\npenstock login https://penstock.example.test --token-stdin < token.txt",
		between(0, 1, "URL"), func(ctx context.Context, args []string) error { return c.login(ctx, args, user, fromStdin) })
	cmd.Flags().StringVar(&user, "user", "", "sign-in `name`; the password comes from a prompt or stdin")
	cmd.Flags().BoolVar(&fromStdin, "token-stdin", false, "read a token from stdin instead")
	cmd.AddCommand(command("status", "Shows who this machine is signed in as.", "penstock login status", noArgs, c.loginStatus))
	return cmd
}

func (c *cli) login(ctx context.Context, args []string, user string, fromStdin bool) error {
	if len(args) > 0 {
		c.flags.server = args[0]
	}
	t, err := c.resolve(ctx)
	if err != nil {
		return err
	}
	a := c.client(t, "")
	s := session{}
	if fromStdin {
		if s.Token, err = c.firstLine("token"); err != nil {
			return err
		}
	} else if s, err = c.signIn(ctx, a, user); err != nil {
		return err
	}
	a.Token = s.Token
	who, err := whoAmI(ctx, a)
	if err != nil {
		return err
	}
	k, err := c.credentials()
	if err != nil {
		return err
	}
	k.Tokens[t.server] = &savedToken{Token: s.Token, User: who, Organization: t.org}
	if err := writeYAML(c.credentialsFile(), k); err != nil {
		return err
	}
	name, err := c.remember(t)
	if err != nil {
		return err
	}
	what := map[string]string{"server": t.server, "organization": t.org, "user": who, "context": name}
	return c.done(what, "signed in to %s as %s; context %s is current", t.server, who, name)
}

// signInFirst does for the demo what login does for a person: it signs in with
// the first password, or takes the token that is kept.
func (c *cli) signInFirst(ctx context.Context, server, password string) (string, error) {
	t, err := parseAddress(server)
	if err != nil {
		return "", err
	}
	t.org = cmp.Or(t.org, "default")
	if password == "" {
		token, err := c.tokenFor(t)
		if err == nil && token == "" {
			err = fault.New(fault.Denied, "not-signed-in", "the server is set up already, and this machine is not signed in").Try("penstock login %s", server)
		}
		return token, err
	}
	host, _ := os.Hostname()
	var s session
	in := map[string]string{"name": "admin", "password": password, "client": clientName(host, "admin")}
	if err := c.client(t, "").Do(ctx, http.MethodPost, "/_apis/penstock/sessions", in, &s); err != nil {
		return "", err
	}
	k, err := c.credentials()
	if err != nil {
		return "", err
	}
	k.Tokens[t.server] = &savedToken{Token: s.Token, User: "admin", Organization: t.org}
	if err := writeYAML(c.credentialsFile(), k); err != nil {
		return "", err
	}
	t.project = "shop"
	_, err = c.remember(t)
	return s.Token, err
}

func (c *cli) signIn(ctx context.Context, a *Client, user string) (session, error) {
	var s session
	if user == "" {
		if _, person := c.terminal(); !person {
			return s, usage("stdin is not a terminal, so I do not ask for a name").Try("--user NAME with the password on stdin, or --token-stdin")
		}
		_, _ = fmt.Fprint(c.Stderr, "User: ")
		var err error
		if user, err = c.firstLine("name"); err != nil {
			return s, err
		}
	}
	password, err := c.ask("password")
	if err != nil {
		return s, err
	}
	host, _ := os.Hostname()
	in := map[string]string{"name": user, "password": password, "client": clientName(host, user)}
	return s, a.Do(ctx, http.MethodPost, "/_apis/penstock/sessions", in, &s)
}

// clientName names a token after the machine it is for.
func clientName(host, user string) string {
	clean := func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}
	host, _, _ = strings.Cut(host, ".")
	name := strings.Trim(strings.Map(clean, host)+"-"+strings.Map(clean, user), "-")
	return name[:min(len(name), 60)]
}

func whoAmI(ctx context.Context, a *Client) (string, error) {
	var data struct {
		AuthenticatedUser struct{ ProviderDisplayName string }
	}
	err := a.Do(ctx, http.MethodGet, "/_apis/connectionData", nil, &data)
	return data.AuthenticatedUser.ProviderDisplayName, err
}

// remember makes a context of a server and makes it the current one.
func (c *cli) remember(t target) (string, error) {
	s, err := c.settings()
	if err != nil {
		return "", err
	}
	u, err := url.Parse(t.server)
	if err != nil {
		return "", err
	}
	name := u.Host
	site := s.Contexts[name]
	if site == nil {
		site = &savedSite{}
		if s.Contexts == nil {
			s.Contexts = map[string]*savedSite{}
		}
		s.Contexts[name] = site
	}
	site.Server, site.Organization, site.Project = t.server, t.org, cmp.Or(t.project, site.Project)
	s.Current = name
	return name, writeYAML(c.settingsFile(), s)
}

func (c *cli) loginStatus(ctx context.Context, _ []string) error {
	a, err := c.api(ctx)
	if err != nil {
		return err
	}
	who, err := whoAmI(ctx, a)
	if err != nil {
		return err
	}
	what := map[string]string{"server": c.target.server, "organization": c.target.org, "project": c.target.project, "user": who, "source": c.target.source}
	return c.done(what, "%s at %s, organization %s (%s)", who, c.target.server, c.target.org, c.target.source)
}

func (c *cli) logoutCommand() *cobra.Command {
	return command("logout", "Revokes the token of this machine and forgets it.", "penstock logout", noArgs, func(ctx context.Context, _ []string) error {
		a, err := c.api(ctx)
		if err != nil {
			return err
		}
		k, err := c.credentials()
		if err != nil {
			return err
		}
		saved := k.Tokens[c.target.server]
		if saved == nil {
			return fault.New(fault.NotFound, "not-signed-in-here", "this machine is not signed in to %s", c.target.server)
		}
		a.Token = saved.Token
		// A token that is gone already is what was wanted.
		if err := a.Do(ctx, http.MethodDelete, "/_apis/penstock/tokens/current", nil, nil); err != nil && !fault.Is(err, fault.Denied) && !fault.Is(err, fault.NotFound) {
			return err
		}
		delete(k.Tokens, c.target.server)
		if err := writeYAML(c.credentialsFile(), k); err != nil {
			return err
		}
		return c.done(map[string]string{"server": c.target.server}, "signed out of %s", c.target.server)
	})
}

func (c *cli) contextCommand() *cobra.Command {
	return noun("context", "Servers that commands can go to.", "penstock context list\npenstock context use localhost:7420",
		command("list", "Lists the contexts.", "penstock context list", noArgs, c.contextList),
		command("use NAME", "Makes a context the current one.", "penstock context use localhost:7420", exactly("NAME"), func(_ context.Context, args []string) error {
			s, err := c.settings()
			if err != nil {
				return err
			}
			if s.Contexts[args[0]] == nil {
				return fault.New(fault.NotFound, "no-context", "there is no context %s", args[0]).Try("penstock context list")
			}
			s.Current = args[0]
			if c.flags.project != "" {
				s.Contexts[args[0]].Project = c.flags.project
			}
			if err := writeYAML(c.settingsFile(), s); err != nil {
				return err
			}
			return c.done(s.Contexts[args[0]], "context %s is current", args[0])
		}))
}

func (c *cli) contextList(context.Context, []string) error {
	s, err := c.settings()
	if err != nil {
		return err
	}
	type row struct {
		Name, Server, Organization, Project string
		Current                             bool
	}
	var list []doc[row]
	for name, site := range s.Contexts {
		list = append(list, local(row{name, site.Server, site.Organization, site.Project, name == s.Current}))
	}
	slices.SortFunc(list, func(a, b doc[row]) int { return strings.Compare(a.V.Name, b.V.Name) })
	return printList(c, list, table[row]{id: func(r row) string { return r.Name }, empty: "penstock login URL", columns: []column[row]{
		{head: "NAME", text: func(r row) string { return r.Name }},
		{head: "CURRENT", text: func(r row) string { return map[bool]string{true: "yes"}[r.Current] }},
		{head: "SERVER", text: func(r row) string { return r.Server }},
		{head: "ORGANIZATION", text: func(r row) string { return r.Organization }},
		{head: "PROJECT", text: func(r row) string { return r.Project }}}})
}

// credentialCommand is Git's credential helper for the servers this machine is
// signed in to.
func (c *cli) credentialCommand() *cobra.Command {
	cmd := command("git-credential OPERATION", "Answers Git's questions for credentials (a helper of Git).",
		"git config credential.http://localhost:7420.helper '!penstock git-credential'", exactly("OPERATION"), func(_ context.Context, args []string) error {
			if args[0] != "get" {
				return nil
			}
			var protocol, host string
			for in := newLines(io.LimitReader(c.Stdin, 64<<10)); ; {
				text, err := in.next()
				if err != nil || text == "" {
					break
				}
				switch key, value, _ := strings.Cut(text, "="); key {
				case "protocol":
					protocol = value
				case "host":
					host = value
				}
			}
			k, err := c.credentials()
			if err != nil {
				return err
			}
			saved := k.Tokens[protocol+"://"+strings.ToLower(host)]
			if saved == nil {
				return nil
			}
			return c.out("username=" + saved.User + "\npassword=" + saved.Token + "\n")
		})
	cmd.Hidden = true
	return cmd
}

type tokenRow struct {
	ID, Name string
	Scopes   []string
	Created  time.Time
	Expires  time.Time
	Token    string
}

func (c *cli) tokenCommand() *cobra.Command {
	var scopes []string
	var expires time.Duration
	create := command("create NAME", "Makes a personal access token and shows it once.", "penstock token create ci --scope run:write --expires 720h", exactly("NAME"),
		func(ctx context.Context, args []string) error {
			in := map[string]any{"name": args[0], "scopes": scopes}
			if expires > 0 {
				in["expires"] = expires.String()
			}
			var d doc[tokenRow]
			if err := c.sendServer(ctx, http.MethodPost, "/_apis/penstock/tokens", in, &d); err != nil {
				return err
			}
			c.say("Token %s, until %s. It is shown this once.", d.V.Name, d.V.Expires.Format(time.DateOnly))
			return printOne(c, d, d.V.Token, func() string { return d.V.Token + "\n" })
		})
	create.Flags().StringSliceVar(&scopes, "scope", nil, "what it may do: repo:read, repo:write, run:read, run:write, app:release, project:all (default: all you may)")
	create.Flags().DurationVar(&expires, "expires", 0, "how long it lives (default 720h)")
	return noun("token", "Your personal access tokens.", "penstock token list\npenstock token create ci --scope run:write", create,
		command("list", "Lists your tokens.", "penstock token list", noArgs, func(ctx context.Context, _ []string) error {
			list, err := ofServer[tokenRow](ctx, c, "/_apis/penstock/tokens")
			if err != nil {
				return err
			}
			return printList(c, list, table[tokenRow]{id: func(t tokenRow) string { return t.ID }, empty: "penstock token create NAME", columns: []column[tokenRow]{
				{head: "NAME", text: func(t tokenRow) string { return t.Name }},
				{head: "SCOPES", text: func(t tokenRow) string { return strings.Join(t.Scopes, ",") }},
				{head: "CREATED", text: func(t tokenRow) string { return c.age(t.Created) }},
				{head: "EXPIRES", text: func(t tokenRow) string { return t.Expires.Format(time.DateOnly) }},
				{head: "ID", wide: true, text: func(t tokenRow) string { return t.ID }}}})
		}),
		command("revoke NAME", "Revokes one of your tokens, by name or id.", "penstock token revoke ci", exactly("NAME"), func(ctx context.Context, args []string) error {
			if err := c.sendServer(ctx, http.MethodDelete, "/_apis/penstock/tokens/"+url.PathEscape(args[0]), nil, nil); err != nil {
				return err
			}
			return c.done(map[string]string{"token": args[0]}, "token %s revoked", args[0])
		}))
}
