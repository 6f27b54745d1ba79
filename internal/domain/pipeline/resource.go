package pipeline

import (
	"reflect"
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/grammar"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
	"penstock.dev/penstock/internal/domain/pipeline/internal/template"
)

var (
	resourcesShape   = grammar.Resources.Shape()
	repositoryShape  = grammar.Repository.Shape()
	pipelineShape    = grammar.PipelineResource.Shape()
	oldResourceShape = grammar.OldResource.Shape()
	containerShape   = grammar.ContainerResource.Shape()
	mountShape       = grammar.MountReadOnly.Shape()
	buildShape       = grammar.BuildResource.Shape()
	packageShape     = grammar.PackageResource.Shape()
	webhookShape     = grammar.WebhookResource.Shape()

	switchShape           = grammar.Switch.Shape()
	containerTriggerShape = grammar.ContainerTrigger.Shape()
	webhookFilterShape    = grammar.WebhookFilter.Shape()
)

func (d *decoder) resources(n *syntax.Node) (r Resources) {
	if n == nil || n.IsEmpty() || n.Bad {
		return r
	}
	if n.Kind == syntax.Sequence {
		d.oldResources(n)
		return r
	}
	f, ok := syntax.ReadFields(d.report, n, resourcesShape)
	if !ok {
		return r
	}
	entries(d, f, "repositories", d.repository, func(r RepositoryResource) string { return r.Alias }, &r.Repositories)
	entries(d, f, "pipelines", d.pipelineResource, func(p PipelineResource) string { return p.Alias }, &r.Pipelines)
	entries(d, f, "containers", d.containerResource, func(c ContainerResource) string { return c.Alias }, &r.Containers)
	entries(d, f, "builds", d.buildResource, func(b BuildResource) string { return b.Alias }, &r.Builds)
	entries(d, f, "packages", d.packageResource, func(p PackageResource) string { return p.Alias }, &r.Packages)
	entries(d, f, "webhooks", d.webhookResource, func(w WebhookResource) string { return w.Alias }, &r.Webhooks)
	for _, key := range []string{"builds", "packages", "webhooks"} {
		if n := f.Get(key); n != nil && len(n.Items) > 0 {
			d.report.Warn(f.Key(key), "not-supported", "`%s` resources are read, but start nothing and download nothing here", key)
		}
	}
	return r
}

// entries reads one list of resources, whose aliases are unique.
func entries[T any](d *decoder, f syntax.Fields, key string, read func(*syntax.Node) (T, bool), alias func(T) string, into *[]T) {
	taken := map[string]bool{}
	for _, item := range d.list(f.Get(key), "`"+key+"`") {
		if v, ok := read(item); ok && d.unique(taken, alias(v), item) {
			*into = append(*into, v)
		}
	}
}

// oldResources reads the list form, `- repo: self` with options of its checkout.
func (d *decoder) oldResources(n *syntax.Node) {
	d.report.Warn(n, "old-form", "a list of `resources` is an old form").Try("write the options at the checkout step")
	for _, item := range n.Items {
		f, ok := syntax.ReadFields(d.report, item, oldResourceShape)
		if !ok || !strings.EqualFold(d.required(f, "repo", "an entry of old `resources`"), "self") {
			continue
		}
		for _, key := range []string{"clean", "fetchDepth", "lfs"} {
			if f.Has(key) {
				if d.selfCheckout == nil {
					d.selfCheckout = map[string]string{}
				}
				d.selfCheckout[key] = d.key(f, key)
			}
		}
	}
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
	c.Origin = originOf(item)
	c.Alias = d.required(f, "container", "a container resource")
	if c.Image == "" && !f.Has("type") && !d.head {
		d.report.Error(item, "missing-key", "container %s needs `image`", c.Alias).Want("image: …")
	}
	return c, true
}

func (d *decoder) containerOf(f syntax.Fields) ContainerResource {
	c := ContainerResource{
		Image: d.key(f, "image"), Endpoint: d.key(f, "endpoint"), Env: d.textMap(f.Get("env"), "`env`"), Options: d.key(f, "options"),
		Ports: d.texts(f.Get("ports"), "`ports`"), Volumes: d.texts(f.Get("volumes"), "`volumes`"), Type: d.key(f, "type"),
		AzureSubscription: d.key(f, "azureSubscription"), ResourceGroup: d.key(f, "resourceGroup"), Registry: d.key(f, "registry"),
		Repository: d.key(f, "repository"), LocalImage: d.boolean(f, "localImage", false), NoDockerSocket: !d.boolean(f, "mapDockerSocket", true),
		Trigger: d.containerTrigger(f.Get("trigger")),
	}
	if n := f.Get("mountReadOnly"); n != nil && !n.IsEmpty() {
		if inner, ok := syntax.ReadFields(d.report, n, mountShape); ok {
			for _, key := range mountShape.Keys {
				if d.boolean(inner, key, false) {
					c.MountReadOnly = append(c.MountReadOnly, key)
				}
			}
		}
	}
	return c
}

// containerTrigger reads none, true, {enabled, tags}; nil is no trigger.
func (d *decoder) containerTrigger(n *syntax.Node) *ContainerTrigger {
	if n == nil || n.Kind != syntax.Mapping {
		if d.onOff(n) {
			return &ContainerTrigger{}
		}
		return nil
	}
	f, ok := syntax.ReadFields(d.report, n, containerTriggerShape)
	if !ok || !d.boolean(f, "enabled", true) {
		return nil
	}
	return &ContainerTrigger{Tags: d.filters(f, "tags")}
}

// onOff reads a trigger that is true, false or none.
func (d *decoder) onOff(n *syntax.Node) bool {
	if n == nil || n.Bad || n.IsEmpty() || n.Kind == syntax.Scalar && strings.EqualFold(n.Text, "none") {
		return false
	}
	if n.Kind == syntax.Mapping {
		f, ok := syntax.ReadFields(d.report, n, switchShape)
		return ok && d.boolean(f, "enabled", true)
	}
	on, ok := template.ParseBool(n.Text)
	if n.Kind != syntax.Scalar || !ok {
		d.report.Error(n, "unknown-value", "this trigger is either on or off").Want("true or none").Got("%s", syntax.Describe(n))
	}
	return on && ok
}

func (d *decoder) buildResource(item *syntax.Node) (b BuildResource, ok bool) {
	f, ok := syntax.ReadFields(d.report, item, buildShape)
	if !ok {
		return b, false
	}
	const noun = "a build resource"
	return BuildResource{
		Alias: d.required(f, "build", noun), Type: d.required(f, "type", noun), Connection: d.required(f, "connection", noun),
		Source: d.required(f, "source", noun), Version: d.key(f, "version"), Branch: d.key(f, "branch"), Trigger: d.onOff(f.Get("trigger")), Origin: originOf(item),
	}, true
}

func (d *decoder) packageResource(item *syntax.Node) (p PackageResource, ok bool) {
	f, ok := syntax.ReadFields(d.report, item, packageShape)
	if !ok {
		return p, false
	}
	const noun = "a package resource"
	return PackageResource{
		Alias: d.required(f, "package", noun), Type: d.required(f, "type", noun), Connection: d.required(f, "connection", noun),
		Name: d.required(f, "name", noun), Version: d.key(f, "version"), Tag: d.key(f, "tag"), Trigger: d.onOff(f.Get("trigger")), Origin: originOf(item),
	}, true
}

func (d *decoder) webhookResource(item *syntax.Node) (w WebhookResource, ok bool) {
	f, ok := syntax.ReadFields(d.report, item, webhookShape)
	if !ok {
		return w, false
	}
	w = WebhookResource{Alias: d.required(f, "webhook", "a webhook resource"), Connection: d.required(f, "connection", "a webhook resource"), Type: d.key(f, "type"), Origin: originOf(item)}
	for _, entry := range d.list(f.Get("filters"), "`filters`") {
		if filter, ok := syntax.ReadFields(d.report, entry, webhookFilterShape); ok {
			w.Filters = append(w.Filters, WebhookFilter{Path: d.required(filter, "path", "a webhook filter"), Value: d.key(filter, "value")})
		}
	}
	return w, true
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
	if bare := (ContainerResource{Image: c.Image, Options: c.Options, Env: c.Env}); !reflect.DeepEqual(bare, c) {
		c.Origin = originOf(n)
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
