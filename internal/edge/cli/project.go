package cli

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/edge/localrun"
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

type pipelineRow struct {
	ID            int
	Name          string
	Configuration struct {
		Path       string
		Repository struct{ ID string }
	}
}

func (c *cli) pipelineCommand() *cobra.Command {
	return noun("pipeline", "Pipelines: YAML files of repositories under a name.", "penstock pipeline list\npenstock pipeline create storefront-ci --repo storefront --path pipelines/ci.yml\npenstock pipeline run storefront-ci",
		command("list", "Lists the pipelines of a project.", "penstock pipeline list", noArgs, func(ctx context.Context, _ []string) error {
			list, err := all[pipelineRow](ctx, c, "/_apis/pipelines")
			if err != nil {
				return err
			}
			return printList(c, list, table[pipelineRow]{id: func(p pipelineRow) string { return p.Name }, empty: "penstock pipeline create NAME --repo REPO --path FILE", columns: []column[pipelineRow]{
				{head: "ID", text: func(p pipelineRow) string { return strconv.Itoa(p.ID) }}, {head: "NAME", text: func(p pipelineRow) string { return p.Name }},
				{head: "FILE", text: func(p pipelineRow) string { return p.Configuration.Path }}}})
		}),
		command("show NAME", "Shows a pipeline.", "penstock pipeline show storefront-ci", exactly("NAME"), func(ctx context.Context, args []string) error {
			d, err := get[pipelineRow](ctx, c, "/_apis/pipelines/"+url.PathEscape(args[0]))
			if err != nil {
				return err
			}
			return printOne(c, d, d.V.Name, func() string {
				return pairs("name", d.V.Name, "id", strconv.Itoa(d.V.ID), "file", d.V.Configuration.Path, "repository", d.V.Configuration.Repository.ID)
			})
		}),
		c.pipelineCreate(), c.pipelineRun())
}

func (c *cli) pipelineCreate() *cobra.Command {
	var repo, path string
	cmd := command("create NAME", "Makes a pipeline from a file of a repository.", "penstock pipeline create storefront-ci --repo storefront --path pipelines/ci.yml", exactly("NAME"),
		func(ctx context.Context, args []string) error {
			if repo == "" {
				return usage("a pipeline needs --repo NAME")
			}
			in := map[string]any{"name": args[0], "configuration": map[string]any{"type": "yaml", "path": path, "repository": map[string]string{"name": repo, "type": "azureReposGit"}}}
			var d doc[pipelineRow]
			if err := c.send(ctx, http.MethodPost, "/_apis/pipelines", in, &d); err != nil {
				return err
			}
			return c.done(d.Raw, "pipeline %s (%s); next: penstock pipeline run %s", d.V.Name, d.V.Configuration.Path, d.V.Name)
		})
	cmd.Flags().StringVar(&repo, "repo", "", "repository")
	cmd.Flags().StringVar(&path, "path", "azure-pipelines.yml", "file in the repository")
	return cmd
}

// assignments reads N=V flags.
func assignments(flag string, list []string) (map[string]string, error) {
	values := map[string]string{}
	for _, text := range list {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, usage("--%s %s is no NAME=VALUE", flag, text)
		}
		values[name] = value
	}
	return values, nil
}

func (c *cli) pipelineRun() *cobra.Command {
	var branch, commit string
	var params, vars, pins []string
	var watch bool
	cmd := command("run NAME", "Queues a run of a pipeline.", "penstock pipeline run storefront-ci\npenstock pipeline run storefront-cd --param watchMinutes=5 --resource ci=1.0.7 --watch", exactly("NAME"),
		func(ctx context.Context, args []string) error {
			in, err := runBody(branch, commit, params, vars, pins)
			if err != nil {
				return err
			}
			var d doc[struct {
				ID       int
				Name     string
				Pipeline struct{ Name string }
			}]
			if err := c.send(ctx, http.MethodPost, "/_apis/pipelines/"+url.PathEscape(args[0])+"/runs", in, &d); err != nil {
				return err
			}
			id := strconv.Itoa(d.V.ID)
			if watch {
				return c.watchRun(ctx, id)
			}
			if c.flags.quiet {
				return c.outln(id)
			}
			return c.done(d.Raw, "%s %s queued as run %s; follow it: penstock run watch %s", d.V.Pipeline.Name, d.V.Name, id, id)
		})
	cmd.Flags().StringVar(&branch, "branch", "", "branch (default: the repository's)")
	cmd.Flags().StringVar(&commit, "commit", "", "commit of the branch")
	cmd.Flags().StringArrayVar(&params, "param", nil, "`NAME=VALUE` of a parameter")
	cmd.Flags().StringArrayVar(&vars, "var", nil, "`NAME=VALUE` of a variable")
	cmd.Flags().StringArrayVar(&pins, "resource", nil, "`ALIAS=NUMBER`: the run a pipeline resource uses")
	cmd.Flags().BoolVar(&watch, "watch", false, "follow the run to its end; its result is the exit code")
	return cmd
}

func runBody(branch, commit string, params, vars, pins []string) (map[string]any, error) {
	given, err := assignments("param", params)
	if err != nil {
		return nil, err
	}
	set, err := assignments("var", vars)
	if err != nil {
		return nil, err
	}
	pinned, err := assignments("resource", pins)
	if err != nil {
		return nil, err
	}
	variables, resources := map[string]any{}, map[string]any{}
	for name, value := range set {
		variables[name] = map[string]string{"value": value}
	}
	for alias, number := range pinned {
		resources[alias] = map[string]string{"version": number}
	}
	return map[string]any{"templateParameters": given, "variables": variables,
		"resources": map[string]any{"repositories": map[string]any{"self": map[string]string{"refName": branch, "version": commit}}, "pipelines": resources}}, nil
}

// runRemote runs the working tree on the agents of a server: it goes there as a
// branch of its own, which is removed when the run has ended.
func (c *cli) runRemote(ctx context.Context, o *localFlags, root, file string) error {
	if len(o.only.Jobs)+len(o.only.Steps) > 0 || o.inPlace || o.watch || o.breakOn != "" || len(o.secrets)+len(o.repos) > 0 {
		return usage("--remote runs whole stages with what the server has").Want("--stage, --skip-stage, --param and --var beside it")
	}
	a, err := c.inProject(ctx)
	if err != nil {
		return err
	}
	p, remote, err := c.pipelineOf(ctx, o.pipeline, file)
	if err != nil {
		return err
	}
	in, err := runBody("", "", o.params, o.vars, nil)
	if err != nil {
		return err
	}
	branch := &localrun.Branch{Root: root, URL: remote, Token: a.Token, Name: "refs/heads/penstock-run/" + c.Now().UTC().Format("20060102-150405.000")}
	changed, err := branch.Push(ctx)
	if err != nil {
		return err
	}
	in["resources"] = map[string]any{"repositories": map[string]any{"self": map[string]string{"refName": branch.Name}}}
	if in["stagesToSkip"], err = c.stagesLeftOut(ctx, o, root, file); err != nil {
		return errors.Join(err, branch.Remove(ctx))
	}
	var d doc[struct {
		ID   int
		Name string
	}]
	if err := c.send(ctx, http.MethodPost, "/_apis/pipelines/"+strconv.Itoa(p.ID)+"/runs", in, &d); err != nil {
		return errors.Join(err, branch.Remove(ctx))
	}
	id := strconv.Itoa(d.V.ID)
	c.say("%s %s is run %s on %s, with %s", p.Name, d.V.Name, id, a.Base, count(max(changed, 0), "changed file"))
	err = c.watchRun(ctx, id)
	if ctx.Err() != nil {
		c.say("Its branch %s stays there until you remove it.", strings.TrimPrefix(branch.Name, "refs/heads/"))
		return err
	}
	return errors.Join(err, branch.Remove(ctx))
}

// stagesLeftOut are the stages that --stage and --skip-stage leave out.
func (c *cli) stagesLeftOut(ctx context.Context, o *localFlags, root, file string) ([]string, error) {
	out := slices.Clone(o.only.Skip)
	if len(o.only.Stages) == 0 {
		return out, nil
	}
	plan, diags, err := c.compile(ctx, &o.compileFlags, filepath.Join(root, file))
	if err != nil {
		return nil, err
	}
	if plan == nil {
		c.printFindings(diags)
		return nil, exitCode(2)
	}
	for _, s := range plan.Stages {
		if !slices.ContainsFunc(o.only.Stages, func(name string) bool { return strings.EqualFold(name, s.Name) }) {
			out = append(out, s.Name)
		}
	}
	return out, nil
}

// pipelineOf finds the pipeline of a file on the server, and the address of its
// repository.
func (c *cli) pipelineOf(ctx context.Context, name, file string) (p pipelineRow, remote string, err error) {
	list, err := all[pipelineRow](ctx, c, "/_apis/pipelines")
	if err != nil {
		return p, "", err
	}
	remotes := strings.Fields(c.git(ctx, "remote", "-v"))
	var hits []pipelineRow
	var names []string
	for _, d := range list {
		names = append(names, d.V.Name)
		repo, err := get[struct{ RemoteURL string }](ctx, c, "/_apis/git/repositories/"+url.PathEscape(d.V.Configuration.Repository.ID))
		if err != nil {
			return p, "", err
		}
		ours := slices.Contains(remotes, repo.V.RemoteURL)
		same := strings.TrimPrefix(d.V.Configuration.Path, "/") == filepath.ToSlash(file)
		switch {
		case name != "" && strings.EqualFold(name, d.V.Name), name == "" && same && ours:
			return d.V, repo.V.RemoteURL, nil
		case name == "" && same:
			hits, remote = append(hits, d.V), repo.V.RemoteURL
		}
	}
	if len(hits) == 1 {
		return hits[0], remote, nil
	}
	return p, "", fault.New(fault.NotFound, "pipeline-not-found", "it is not clear which pipeline of the server runs %s", file).Got("%s", cmp.Or(strings.Join(names, ", "), "no pipeline")).
		Try("--pipeline NAME, or make it: penstock pipeline create NAME --repo REPO --path %s", filepath.ToSlash(file))
}
