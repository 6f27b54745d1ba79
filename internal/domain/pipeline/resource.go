package pipeline

import (
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/grammar"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

var (
	resourcesShape  = grammar.Resources.Shape()
	repositoryShape = grammar.Repository.Shape()
	pipelineShape   = grammar.PipelineResource.Shape()
	containerShape  = grammar.ContainerResource.Shape()
)

func (d *decoder) resources(n *syntax.Node) (r Resources) {
	if n == nil || n.IsEmpty() || n.Bad {
		return r
	}
	if n.Kind == syntax.Sequence { // the old form: checkout options of self
		d.report.Warn(n, "old-form", "this form of `resources` is old and has no effect").Try("write the options at the checkout step")
		return r
	}
	f, ok := syntax.ReadFields(d.report, n, resourcesShape)
	if !ok {
		return r
	}
	aliases := map[string]bool{}
	for _, item := range d.list(f.Get("repositories"), "`repositories`") {
		if repo, ok := d.repository(item); ok && d.unique(aliases, repo.Alias, item) {
			r.Repositories = append(r.Repositories, repo)
		}
	}
	aliases = map[string]bool{}
	for _, item := range d.list(f.Get("pipelines"), "`pipelines`") {
		if p, ok := d.pipelineResource(item); ok && d.unique(aliases, p.Alias, item) {
			r.Pipelines = append(r.Pipelines, p)
		}
	}
	aliases = map[string]bool{}
	for _, item := range d.list(f.Get("containers"), "`containers`") {
		if c, ok := d.containerResource(item); ok && d.unique(aliases, c.Alias, item) {
			r.Containers = append(r.Containers, c)
		}
	}
	for _, key := range []string{"builds", "packages", "webhooks"} {
		if list := d.list(f.Get(key), "`"+key+"`"); len(list) > 0 {
			d.report.Warn(f.Key(key), "not-supported", "`%s` resources have no effect here", key)
		}
	}
	return r
}

// unique reports an alias that is taken.
func (d *decoder) unique(aliases map[string]bool, alias string, at *syntax.Node) bool {
	lower := strings.ToLower(alias)
	if aliases[lower] {
		d.report.Error(at, "duplicate-name", "the resource alias %s is used twice", alias).Try("rename one of them")
		return false
	}
	aliases[lower] = true
	return alias != ""
}

func (d *decoder) repository(item *syntax.Node) (r RepositoryResource, ok bool) {
	f, ok := syntax.ReadFields(d.report, item, repositoryShape)
	if !ok {
		return r, false
	}
	r = RepositoryResource{
		Alias: d.required(f, "repository", "a repository resource"), Type: "git", Name: d.key(f, "name"),
		Ref: d.key(f, "ref"), Endpoint: d.key(f, "endpoint"), Trigger: Trigger{None: true}, Origin: originOf(item),
	}
	if kind := d.choice(f, "type", "git", "github", "githubenterprise", "bitbucket"); kind != "" {
		r.Type = kind
	}
	if strings.EqualFold(r.Alias, "none") {
		d.report.Error(f.Get("repository"), "reserved-name", "`%s` is reserved and cannot be an alias", r.Alias).Try("choose another alias")
		return r, false
	}
	if r.Name == "" && !d.head {
		r.Name = r.Alias
	}
	if f.Has("trigger") {
		r.Trigger = d.trigger(f.Get("trigger"), triggerKeys)
	}
	return r, true
}

func (d *decoder) pipelineResource(item *syntax.Node) (p PipelineResource, ok bool) {
	f, ok := syntax.ReadFields(d.report, item, pipelineShape)
	if !ok {
		return p, false
	}
	p = PipelineResource{
		Alias: d.required(f, "pipeline", "a pipeline resource"), Source: d.key(f, "source"), Project: d.key(f, "project"),
		Branch: d.key(f, "branch"), Version: d.key(f, "version"), Tags: d.texts(f.Get("tags"), "`tags`"),
		Trigger: d.pipelineTrigger(f.Get("trigger")), Origin: originOf(item),
	}
	if p.Source == "" {
		p.Source = p.Alias
	}
	return p, true
}

func (d *decoder) containerResource(item *syntax.Node) (c ContainerResource, ok bool) {
	f, ok := syntax.ReadFields(d.report, item, containerShape)
	if !ok {
		return c, false
	}
	c = d.containerOf(f)
	c.Alias = d.required(f, "container", "a container resource")
	if c.Image == "" && !f.Has("type") && !d.head {
		d.report.Error(item, "missing-key", "container %s needs `image`", c.Alias).Want("image: …")
	}
	return c, true
}

func (d *decoder) containerOf(f syntax.Fields) ContainerResource {
	return ContainerResource{
		Image: d.key(f, "image"), Endpoint: d.key(f, "endpoint"), Env: d.textMap(f.Get("env"), "`env`"), Options: d.key(f, "options"),
		Ports: d.texts(f.Get("ports"), "`ports`"), Volumes: d.texts(f.Get("volumes"), "`volumes`"),
	}
}

func (d *decoder) containerAlias(name string) (string, bool) {
	for _, c := range d.containers {
		if strings.EqualFold(c.Alias, name) {
			return c.Alias, true
		}
	}
	return "", false
}

var jobContainerShape = grammar.Container.Shape()

// container reads a job's `container`: an alias, an image, or a mapping.
func (d *decoder) container(n *syntax.Node, job string) *Container {
	if n == nil || n.Bad || n.Kind == syntax.Scalar && n.Text == "" {
		return nil
	}
	if n.Kind == syntax.Scalar {
		if body, ok := runtimeExpression(n.Text); ok {
			d.checkRuntime(n, body, SlotJobVariable)
		}
		if alias, ok := d.containerAlias(n.Text); ok {
			return &Container{Alias: alias}
		}
		return &Container{Image: n.Text}
	}
	f, ok := syntax.ReadFields(d.report, n, jobContainerShape)
	if !ok {
		return nil
	}
	if alias := d.key(f, "alias"); alias != "" && !f.Has("image") {
		if known, ok := d.containerAlias(alias); ok {
			alias = known
		}
		return &Container{Alias: alias}
	}
	c := d.containerOf(f)
	if c.Image == "" {
		d.report.Error(n, "missing-key", "a container needs `image`").Want("image: … or alias: …")
		return nil
	}
	if c.Endpoint != "" || len(c.Ports) > 0 || len(c.Volumes) > 0 {
		return &Container{Alias: d.inline(c, job+"-container")}
	}
	return &Container{Image: c.Image, Options: c.Options, Env: c.Env}
}

// inline keeps a container that a job defines itself as a resource of its own,
// under an alias that no file can contain.
func (d *decoder) inline(c ContainerResource, name string) string {
	c.Alias = "inline:" + name
	for taken, ok := d.containerAlias(c.Alias); ok; taken, ok = d.containerAlias(c.Alias) {
		c.Alias = taken + "+"
	}
	d.containers = append(d.containers, c)
	return c.Alias
}

// services reads the sidecars of a job; an empty value leaves one out.
func (d *decoder) services(n *syntax.Node, job string) map[string]string {
	if n == nil || n.IsEmpty() || n.Bad {
		return nil
	}
	if n.Kind != syntax.Mapping {
		d.report.Error(n, "expected-mapping", "`services` is a mapping").Want("name: alias or image").Got("%s", syntax.Describe(n))
		return nil
	}
	out := map[string]string{}
	for _, p := range n.Pairs {
		c := d.container(p.Value, job+"-"+p.Key.Text)
		switch {
		case c == nil:
		case c.Alias != "":
			out[p.Key.Text] = c.Alias
		case c.Options != "" || len(c.Env) > 0:
			out[p.Key.Text] = d.inline(ContainerResource{Image: c.Image, Options: c.Options, Env: c.Env}, job+"-"+p.Key.Text)
		default:
			out[p.Key.Text] = c.Image
		}
	}
	return out
}
