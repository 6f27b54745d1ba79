package cli

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"penstock.dev/penstock/internal/base/fault"
)

type projectRow struct {
	ID, Name, Description string
	LastUpdateTime        time.Time
}

func (c *cli) projectCommand() *cobra.Command {
	var description string
	create := command("create NAME", "Makes a project.", "penstock project create shop --description 'The shop'", exactly("NAME"), func(ctx context.Context, args []string) error {
		var d doc[projectRow]
		if err := c.sendServer(ctx, http.MethodPost, "/_apis/projects", map[string]string{"name": args[0], "description": description}, &d); err != nil {
			return err
		}
		return c.done(d.Raw, "project %s; next: penstock repo create NAME -p %s", d.V.Name, d.V.Name)
	})
	create.Flags().StringVar(&description, "description", "", "what it is for")
	return noun("project", "Projects: what names are unique in.", "penstock project list\npenstock project create shop", create,
		command("list", "Lists the projects you can see.", "penstock project list", noArgs, func(ctx context.Context, _ []string) error {
			list, err := ofServer[projectRow](ctx, c, "/_apis/projects")
			if err != nil {
				return err
			}
			return printList(c, list, table[projectRow]{id: func(p projectRow) string { return p.Name }, empty: "penstock project create NAME", columns: []column[projectRow]{
				{head: "NAME", text: func(p projectRow) string { return p.Name }}, {head: "DESCRIPTION", text: func(p projectRow) string { return p.Description }},
				{head: "ID", wide: true, text: func(p projectRow) string { return p.ID }}}})
		}),
		command("show NAME", "Shows a project.", "penstock project show shop", exactly("NAME"), func(ctx context.Context, args []string) error {
			var d doc[projectRow]
			if err := c.sendServer(ctx, http.MethodGet, "/_apis/projects/"+url.PathEscape(args[0]), nil, &d); err != nil {
				return err
			}
			return printOne(c, d, d.V.Name, func() string {
				return pairs("name", d.V.Name, "description", d.V.Description, "id", d.V.ID)
			})
		}))
}

type repoRow struct {
	ID, Name, DefaultBranch, RemoteURL, WebURL string
	Project                                    struct{ Name string }
}

func (c *cli) repoCommand() *cobra.Command {
	return noun("repo", "Git repositories.", "penstock repo list -p shop\npenstock repo create storefront\npenstock repo clone storefront",
		command("list", "Lists the repositories of a project.", "penstock repo list -p shop", noArgs, func(ctx context.Context, _ []string) error {
			list, err := all[repoRow](ctx, c, "/_apis/git/repositories")
			if err != nil {
				return err
			}
			return printList(c, list, table[repoRow]{id: func(r repoRow) string { return r.Name }, empty: "penstock repo create NAME", columns: []column[repoRow]{
				{head: "NAME", text: func(r repoRow) string { return r.Name }}, {head: "BRANCH", text: func(r repoRow) string { return short(r.DefaultBranch) }},
				{head: "URL", text: func(r repoRow) string { return r.RemoteURL }}, {head: "ID", wide: true, text: func(r repoRow) string { return r.ID }}}})
		}),
		command("show NAME", "Shows a repository.", "penstock repo show storefront", exactly("NAME"), func(ctx context.Context, args []string) error {
			d, err := get[repoRow](ctx, c, "/_apis/git/repositories/"+url.PathEscape(args[0]))
			if err != nil {
				return err
			}
			return printOne(c, d, d.V.Name, func() string {
				return pairs("name", d.V.Name, "project", d.V.Project.Name, "branch", short(d.V.DefaultBranch), "url", d.V.RemoteURL, "id", d.V.ID)
			})
		}),
		command("create NAME", "Makes an empty repository.", "penstock repo create storefront -p shop", exactly("NAME"), func(ctx context.Context, args []string) error {
			var d doc[repoRow]
			if err := c.send(ctx, http.MethodPost, "/_apis/git/repositories", map[string]string{"name": args[0]}, &d); err != nil {
				return err
			}
			return c.done(d.Raw, "repository %s; next: git push %s HEAD:main", d.V.Name, d.V.RemoteURL)
		}),
		command("clone NAME [FOLDER]", "Clones a repository, with the credentials of this machine.", "penstock repo clone storefront", between(1, 2, "NAME", "FOLDER"), c.clone))
}

// clone calls git. The token reaches it by our credential helper, never on a
// command line or in a remote's address.
func (c *cli) clone(ctx context.Context, args []string) error {
	d, err := get[repoRow](ctx, c, "/_apis/git/repositories/"+url.PathEscape(args[0]))
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		self = "penstock"
	}
	folder := filepath.Base(filepath.Clean("/" + d.V.Name))
	if len(args) > 1 {
		folder = args[1]
	}
	cmd := exec.CommandContext(ctx, "git", "clone", "-c", "credential."+c.target.server+".helper=!'"+self+"' git-credential", "--", d.V.RemoteURL, c.path(folder))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, c.Stderr, c.Stderr
	if err := cmd.Run(); err != nil {
		return fault.Wrap(err, fault.Unavailable, "clone-failed", "git could not clone %s", d.V.Name).Try("penstock login %s, then again", c.target.server)
	}
	return c.done(map[string]string{"folder": folder}, "%s in %s", d.V.Name, folder)
}
