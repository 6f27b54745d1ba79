package grammar

// Resources is the value of `resources`.
var Resources = &Mapping{Noun: "resources", Name: "resources", Doc: "What the pipeline uses besides its own repository.", Keys: []Key{
	{Name: "repositories", Type: EntriesOf(Repository), Doc: "Other repositories, for checkouts and templates."},
	{Name: "pipelines", Type: EntriesOf(PipelineResource), Doc: "Other pipelines, whose artifacts are used and whose runs may start this one."},
	{Name: "containers", Type: EntriesOf(ContainerResource), Doc: "Container images under an alias."},
	{Name: "builds", Type: EntriesOf(BuildResource), Doc: "Builds of other systems.", State: NotYet, Note: noEffect},
	{Name: "packages", Type: EntriesOf(PackageResource), Doc: "Packages of a feed.", State: NotYet, Note: noEffect},
	{Name: "webhooks", Type: EntriesOf(WebhookResource), Doc: "Calls from outside that start runs.", State: NotYet, Note: noEffect},
}}

const noEffect = "read, with a warning that it has no effect"

// OldResource is an entry of the old list form of `resources`.
var OldResource = &Mapping{Noun: "a resource", Name: "old resource", Doc: "The old form: checkout options of the own repository.", First: "repo", Keys: []Key{
	{Name: "repo", Type: Is(Choice), Words: []string{"self"}, Required: true, Doc: "The own repository.", State: Different, Note: "an old form, with a warning"},
	{Name: "clean", Type: Is(Boolean), Doc: "As at the checkout step.", State: Different, Note: "an old form, with a warning"},
	{Name: "fetchDepth", Type: Is(Integer), Doc: "As at the checkout step.", State: Different, Note: "an old form, with a warning"},
	{Name: "lfs", Type: Is(Boolean), Doc: "As at the checkout step.", State: Different, Note: "an old form, with a warning"},
}}

// Repository is an entry of `resources.repositories`.
var Repository = &Mapping{Noun: "a repository resource", Name: "repository", Doc: "Another repository.", First: "repository", Keys: []Key{
	{Name: "repository", Type: Is(Name), Required: true, Doc: "The alias by which checkouts and templates name it."},
	{Name: "type", Type: Is(Choice), Words: []string{"git", "github", "githubenterprise", "bitbucket"}, Doc: "Where the repository lives; git is this server.", State: Different, Note: "every type is looked up among the repositories of this project"},
	{Name: "name", Type: Is(Text), Doc: "Repository, or Project/Repository."},
	{Name: "ref", Type: Is(Text), Doc: "Branch or tag; the default branch if absent."},
	{Name: "endpoint", Type: Is(Text), Doc: "Service connection for a repository elsewhere.", State: NotYet, Note: "read; no connection is used"},
	{Name: "trigger", Type: OneOf(Is(Text), ListOf(Is(Text)), In(Trigger)), Words: []string{"none"}, Doc: "Which pushes to it start a run; none if absent.", State: NotYet, Note: "read; pushes to other repositories start nothing"},
}}

// PipelineResource is an entry of `resources.pipelines`.
var PipelineResource = &Mapping{Noun: "a pipeline resource", Name: "pipeline resource", Doc: "Another pipeline.", First: "pipeline", Keys: []Key{
	{Name: "pipeline", Type: Is(Name), Required: true, Doc: "The alias for downloads and variables."},
	{Name: "source", Type: Is(Text), Doc: "Name of the pipeline; the alias if absent."},
	{Name: "project", Type: Is(Text), Doc: "Project of the pipeline; this one if absent."},
	{Name: "version", Type: Is(Text), Doc: "Run number to use; the newest that succeeded if absent."},
	{Name: "branch", Type: Is(Text), Doc: "Only runs of this branch are used."},
	{Name: "tags", Type: textOrList, Doc: "Only runs with all these tags are used."},
	{Name: "trigger", Type: OneOf(Is(Boolean), Is(Choice), In(PipelineTrigger)), Words: []string{"none", "true"}, Doc: "Whether its finished runs start this pipeline; none if absent."},
}}

// PipelineTrigger is the long form of a pipeline resource's trigger.
var PipelineTrigger = &Mapping{Noun: "a pipeline trigger", Name: "pipeline trigger", Doc: "Which finished runs start this pipeline.", Keys: []Key{
	{Name: "enabled", Type: Is(Boolean), Doc: "Whether the trigger is on."},
	{Name: "branches", Type: filterOrList, Doc: "Branches of the finished run."},
	{Name: "tags", Type: textOrList, Doc: "Tags the finished run must have, all of them."},
	{Name: "stages", Type: textOrList, Doc: "Stages that must have succeeded, instead of the whole run."},
}}

// ContainerResource is an entry of `resources.containers`.
var ContainerResource = &Mapping{
	Noun: "a container", Name: "container resource", Doc: "A container image under an alias.", First: "container", Open: true,
	Keys: append([]Key{{Name: "container", Type: Is(Name), Required: true, Doc: "The alias of the image."}}, containerKeys...),
}

// Container is a container that a job defines itself.
var Container = &Mapping{Noun: "a container", Name: "container", Doc: "The container of a job.", Open: true, Keys: append([]Key{
	{Name: "alias", Type: Is(Name), Doc: "A container resource."},
	{Name: "container", Type: Is(Name), Doc: "A name for it."},
}, containerKeys...)}

// containerType is `container` of a job: an alias, an image or a definition.
var containerType = OneOf(Is(Text), In(Container))

var containerKeys = []Key{
	{Name: "image", Type: Is(Text), Doc: "Image with its tag."},
	{Name: "endpoint", Type: Is(Text), Doc: "Service connection of the registry."},
	{Name: "env", Type: MapOf(Is(Text)), Doc: "Environment variables of the container."},
	{Name: "options", Type: Is(Text), Doc: "Further arguments for creating the container."},
	{Name: "ports", Type: textOrList, Doc: "Published ports, host:container."},
	{Name: "volumes", Type: textOrList, Doc: "Mounted folders, source:target."},
	{Name: "type", Type: Is(Text), Words: []string{"ACR"}, Doc: "Kind of registry."},
	{Name: "trigger", Type: OneOf(Is(Boolean), Is(Choice), In(ContainerTrigger)), Words: []string{"none", "true"}, Doc: "Whether new images start runs.", State: NotYet, Note: "read; starts nothing"},
	{Name: "mapDockerSocket", Type: Is(Boolean), Doc: "Whether the container may use the machine's container engine."},
	{Name: "mountReadOnly", Type: In(MountReadOnly), Doc: "Folders that the container must not change."},
	{Name: "localImage", Type: Is(Boolean), Doc: "Whether the image is used as it is on the machine."},
	{Name: "azureSubscription", Type: Is(Text), Doc: "Connection of a registry in Azure.", State: NotYet, Note: containerNote},
	{Name: "resourceGroup", Type: Is(Text), Doc: "Resource group of a registry in Azure.", State: NotYet, Note: containerNote},
	{Name: "registry", Type: Is(Text), Doc: "Name of a registry in Azure."},
	{Name: "repository", Type: Is(Text), Doc: "Image in a registry in Azure."},
}

// ContainerTrigger is the long form of a container's trigger.
var ContainerTrigger = &Mapping{Noun: "a container trigger", Name: "container trigger", Doc: "Which new images start runs.", Keys: []Key{
	{Name: "enabled", Type: Is(Boolean), Doc: "Whether the trigger is on.", State: NotYet, Note: "read; starts nothing"},
	{Name: "tags", Type: filterOrList, Doc: "Tags that count.", State: NotYet, Note: "read; starts nothing"},
}}

// MountReadOnly names the folders of an agent.
var MountReadOnly = &Mapping{Noun: "`mountReadOnly`", Name: "mountReadOnly", Doc: "Folders that a container must not change.", Keys: []Key{
	{Name: "work", Type: Is(Boolean), Doc: "The working folder."},
	{Name: "externals", Type: Is(Boolean), Doc: "Programs that came with the agent."},
	{Name: "tools", Type: Is(Boolean), Doc: "Installed tools."},
	{Name: "tasks", Type: Is(Boolean), Doc: "Downloaded tasks."},
}}

// Switch is the long form of a trigger that is on or off.
var Switch = &Mapping{Noun: "a trigger", Name: "switch", Doc: "A trigger that is either on or off.", Keys: []Key{
	{Name: "enabled", Type: Is(Boolean), Doc: "Whether the trigger is on; an expanded file says it so."},
}}

// BuildResource is an entry of `resources.builds`.
var BuildResource = &Mapping{Noun: "a build resource", Name: "build resource", Doc: "A build of another system.", First: "build", Keys: []Key{
	{Name: "build", Type: Is(Name), Required: true, Doc: "The alias for downloads.", State: NotYet, Note: noEffect},
	{Name: "type", Required: true, Type: Is(Text), Doc: "The other system, such as Jenkins.", State: NotYet, Note: noEffect},
	{Name: "connection", Required: true, Type: Is(Text), Doc: "Service connection of the other system.", State: NotYet, Note: noEffect},
	{Name: "source", Required: true, Type: Is(Text), Doc: "Name of the build there.", State: NotYet, Note: noEffect},
	{Name: "version", Type: Is(Text), Doc: "Which build to use.", State: NotYet, Note: noEffect},
	{Name: "branch", Type: Is(Text), Doc: "Branch of the build.", State: NotYet, Note: noEffect},
	{Name: "trigger", Type: OneOf(Is(Boolean), Is(Choice), In(Switch)), Words: []string{"none", "true"}, Doc: "Whether a finished build starts a run.", State: NotYet, Note: noEffect},
}}

// PackageResource is an entry of `resources.packages`.
var PackageResource = &Mapping{Noun: "a package resource", Name: "package resource", Doc: "A package of a feed.", First: "package", Keys: []Key{
	{Name: "package", Type: Is(Name), Required: true, Doc: "The alias for getPackage.", State: NotYet, Note: noEffect},
	{Name: "type", Required: true, Type: Is(Text), Words: []string{"npm", "NuGet"}, Doc: "Kind of package.", State: NotYet, Note: noEffect},
	{Name: "connection", Required: true, Type: Is(Text), Doc: "Service connection of the feed.", State: NotYet, Note: noEffect},
	{Name: "name", Required: true, Type: Is(Text), Doc: "Name of the package.", State: NotYet, Note: noEffect},
	{Name: "version", Type: Is(Text), Doc: "Version to use.", State: NotYet, Note: noEffect},
	{Name: "tag", Type: Is(Text), Doc: "Tag of the version to use.", State: NotYet, Note: noEffect},
	{Name: "trigger", Type: OneOf(Is(Boolean), Is(Choice), In(Switch)), Words: []string{"none", "true"}, Doc: "Whether a new version starts a run.", State: NotYet, Note: noEffect},
}}

// WebhookResource is an entry of `resources.webhooks`.
var WebhookResource = &Mapping{Noun: "a webhook resource", Name: "webhook resource", Doc: "A call from outside that starts runs.", First: "webhook", Keys: []Key{
	{Name: "webhook", Type: Is(Name), Required: true, Doc: "The alias under which expressions see the call's content.", State: NotYet, Note: noEffect},
	{Name: "connection", Required: true, Type: Is(Text), Doc: "Service connection that receives the call.", State: NotYet, Note: noEffect},
	{Name: "type", Type: Is(Text), Doc: "Kind of the sender.", State: NotYet, Note: noEffect},
	{Name: "filters", Type: EntriesOf(WebhookFilter), Doc: "What the content must say, all of it.", State: NotYet, Note: noEffect},
}}

// WebhookFilter is an entry of a webhook's filters.
var WebhookFilter = &Mapping{Noun: "a webhook filter", Name: "webhook filter", Doc: "One demand on a call's content.", First: "path", Keys: []Key{
	{Name: "path", Type: Is(Text), Required: true, Doc: "Place in the content.", State: NotYet, Note: noEffect},
	{Name: "value", Type: Is(Text), Doc: "What must stand there.", State: NotYet, Note: noEffect},
}}
