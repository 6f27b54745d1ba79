package cli

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

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
