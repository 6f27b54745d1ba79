package grammar

// The lists that make up a pipeline.
var (
	StageList = EntriesOf(Stage, Call)
	JobList   = EntriesOf(Job, Deployment, Call)
)

var poolType = OneOf(Is(Text), In(Pool))

// Pool is the long form of `pool`.
var Pool = &Mapping{Noun: "a pool", Name: "pool", Doc: "The agents that may run a job.", Open: true, Keys: []Key{
	{Name: "name", Type: Is(Text), Doc: "Name of a pool of the organization."},
	{Name: "demands", Type: textOrList, Doc: "Capabilities an agent must have: name, or name -equals value."},
	{Name: "vmImage", Type: Is(Text), Doc: "Image of a hosted agent.", State: Different, Note: "there are no hosted agents: the project's default pool takes the job"},
}}

// Stage is an entry of `stages`.
var Stage = &Mapping{Noun: "a stage", Name: "stage", Doc: "A part of the pipeline with jobs of its own.", First: "stage", Keys: []Key{
	{Name: "stage", Type: Is(Name), Required: true, Doc: "Name of the stage; made up if empty."},
	{Name: "displayName", Type: Is(Text), Doc: "How pages call the stage."},
	{Name: "dependsOn", Type: textOrList, Doc: "Stages to wait for; the one before if absent, none if empty."},
	{Name: "condition", Type: Is(Condition), Doc: "Whether the stage runs; succeeded() if absent."},
	{Name: "jobs", Type: JobList, Doc: "The jobs of the stage."},
	{Name: "variables", Type: variableBlock, Doc: "Variables of the stage."},
	{Name: "pool", Type: poolType, Words: []string{"server"}, Doc: "Where jobs of the stage run that name no pool themselves."},
	{Name: "lockBehavior", Type: Is(Choice), Words: lockWords, Doc: "How runs take turns at an exclusive lock of this stage."},
	{Name: "trigger", Type: Is(Choice), Words: []string{"automatic", "manual"}, Doc: "manual: somebody starts the stage once its dependencies are done."},
	{Name: "isSkippable", Type: Is(Boolean), Doc: "Whether the stage may be left out when a run is queued."},
	{Name: "templateContext", Type: Is(Any), Doc: "Data for a template that is given this stage; the run does not see it."},
	{Name: "group", Type: Is(Text), Doc: "Groups stages on pages.", State: NotYet, Note: "read; pages do not group"},
	{Name: "checks", Type: ListOf(Is(Any)), Doc: "Checks of the stage itself.", State: NotYet, Note: "read; checks belong to environments and other resources"},
}}

// jobKeys are the keys that jobs and deployments share, after their own ones.
func jobKeys() []Key {
	return []Key{
		{Name: "pool", Type: poolType, Words: []string{"server"}, Doc: "Where the job runs; server runs it without an agent."},
		{Name: "variables", Type: variableBlock, Doc: "Variables of the job."},
		{Name: "timeoutInMinutes", Type: Is(Integer), Doc: "Minutes until the job is ended; 60 if absent, 0 for no limit."},
		{Name: "cancelTimeoutInMinutes", Type: Is(Integer), Doc: "Minutes that steps have to finish after a cancel; 5 if absent."},
		{Name: "continueOnError", Type: Is(Boolean), Doc: "Whether the run goes on as if a failed job had only warned."},
		{Name: "container", Type: containerType, Doc: "Container in which the steps run."},
		{Name: "services", Type: MapOf(containerType), Doc: "Containers that run beside the job, by their host name."},
		{Name: "workspace", Type: In(Workspace), Doc: "What is deleted before the job."},
		{Name: "uses", Type: In(Uses), Doc: "Repositories and pools that only scripts name.", State: NotYet, Note: "read; a job's token is not narrowed by it"},
		{Name: "templateContext", Type: Is(Any), Doc: "Data for a template that is given this job; the run does not see it."},
	}
}

// Job is an ordinary entry of `jobs`.
var Job = &Mapping{Noun: "a job", Name: "job", Doc: "Steps that run on one agent.", First: "job", Keys: jobOf(
	Key{Name: "job", Type: Is(Name), Required: true, Doc: "Name of the job; made up if empty."},
	Key{Name: "steps", Type: StepList, Required: true, Doc: "The steps of the job."},
	Key{Name: "strategy", Type: In(Strategy), Doc: "Multiplies the job."},
)}

// Deployment is an entry of `jobs` that deploys.
var Deployment = &Mapping{Noun: "a deployment", Name: "deployment", Doc: "A job that deploys to an environment and is recorded there.", First: "deployment", Keys: jobOf(
	Key{Name: "deployment", Type: Is(Name), Required: true, Doc: "Name of the deployment; deploy is reserved."},
	Key{Name: "environment", Type: OneOf(Is(Text), In(Environment)), Doc: "Where to deploy; its checks are passed first."},
	Key{Name: "strategy", Type: In(DeployStrategy), Required: true, Doc: "How the deployment proceeds."},
)}

// jobOf orders the keys of a job as people write them.
func jobOf(name, content, strategy Key) []Key {
	shared := jobKeys()
	head := []Key{
		name,
		{Name: "displayName", Type: Is(Text), Doc: "How pages call the job."},
		{Name: "dependsOn", Type: textOrList, Doc: "Jobs of the same stage to wait for; none if absent."},
		{Name: "condition", Type: Is(Condition), Doc: "Whether the job runs; succeeded() if absent."},
		content,
	}
	if content.Name == "steps" {
		return append(append(append(head, shared[:2]...), strategy), shared[2:]...)
	}
	return append(append(head, strategy), shared...)
}

// Phase is an entry of the old `phases`.
var Phase = &Mapping{Noun: "a phase", Name: "phase", Doc: "The old form of a job.", First: "phase", Open: true, Keys: []Key{
	{Name: "phase", Type: Is(Name), Required: true, Doc: "Old name of `job`.", State: Different, Note: oldForm},
	{Name: "queue", Type: Is(Any), Doc: "Old name of `pool`.", State: Different, Note: oldForm},
	{Name: "server", Type: Is(Boolean), Doc: "Old form of `pool: server`.", State: Different, Note: oldForm},
	{Name: "steps", Type: StepList, Required: true, Doc: "The steps.", State: Different, Note: oldForm},
}}

const oldForm = "read as a job, with a warning; all keys of a job are allowed"

// Workspace is the value of `workspace`.
var Workspace = &Mapping{Noun: "a workspace", Name: "workspace", Doc: "What is deleted before a job.", Keys: []Key{
	{Name: "clean", Type: Is(Choice), Words: []string{"outputs", "resources", "all"}, Doc: "outputs: binaries; resources: sources; all: the whole workspace."},
}}

// Uses is the value of `uses`.
var Uses = &Mapping{Noun: "`uses`", Name: "uses", Doc: "What a job uses besides what its steps name.", Keys: []Key{
	{Name: "repositories", Type: textOrList, Doc: "Aliases of repositories.", State: NotYet, Note: "read; a job's token is not narrowed by it"},
	{Name: "pools", Type: textOrList, Doc: "Names of pools.", State: NotYet, Note: "read; a job's token is not narrowed by it"},
}}

// Strategy is the strategy of an ordinary job.
var Strategy = &Mapping{Noun: "a strategy", Name: "strategy", Doc: "Multiplies a job.", Keys: []Key{
	{Name: "matrix", Type: OneOf(MapOf(MapOf(Is(Text))), Is(Text)), Group: "kind", Doc: "One job for each entry, with the entry's variables; or a $[ ] expression that gives such a mapping."},
	{Name: "parallel", Type: Is(Integer), Group: "kind", Doc: "How many equal jobs to run."},
	{Name: "maxParallel", Type: Is(Integer), Doc: "How many of the jobs run at a time; all if absent."},
}}

// DeployStrategy is the strategy of a deployment.
var DeployStrategy = &Mapping{Noun: "the strategy of a deployment", Name: "deployment strategy", Doc: "How a deployment proceeds.", Keys: []Key{
	{Name: "runOnce", Type: In(RunOnce), Group: "kind", Required: true, Doc: "Every hook once."},
	{Name: "rolling", Type: In(Rolling), Group: "kind", Required: true, Doc: "The machines of the environment in batches."},
	{Name: "canary", Type: In(Canary), Group: "kind", Required: true, Doc: "In growing parts of the traffic."},
}}

// RunOnce, Rolling and Canary are the strategies of a deployment.
var (
	RunOnce = &Mapping{Noun: "runOnce", Name: "runOnce", Doc: "Every hook once.", Keys: hookKeys}
	Rolling = &Mapping{Noun: "rolling", Name: "rolling", Doc: "The machines of the environment in batches.", Keys: append([]Key{
		{Name: "maxParallel", Type: Is(Text), Doc: "How many machines at a time: a number, or a percentage of all."},
	}, hookKeys...)}
	Canary = &Mapping{Noun: "canary", Name: "canary", Doc: "In growing parts of the traffic.", Keys: append([]Key{
		{Name: "increments", Type: ListOf(Is(Integer)), Required: true, Doc: "Percentages of the traffic, in order."},
	}, hookKeys...)}
)

var hookKeys = []Key{
	{Name: "preDeploy", Type: In(Hook), Doc: "Steps before the deployment."},
	{Name: "deploy", Type: In(Hook), Doc: "Steps that deploy; artifacts are downloaded first."},
	{Name: "routeTraffic", Type: In(Hook), Doc: "Steps that give the new version its traffic."},
	{Name: "postRouteTraffic", Type: In(Hook), Doc: "Steps once it has traffic, such as watching it."},
	{Name: "on", Type: In(On), Doc: "Steps at the end, by the result."},
}

// Hook is one hook of a deployment strategy.
var Hook = &Mapping{Noun: "a hook", Name: "hook", Doc: "Steps of one part of a deployment.", Keys: []Key{
	{Name: "steps", Type: StepList, Required: true, Doc: "The steps of the hook."},
	{Name: "pool", Type: poolType, Words: []string{"server"}, Doc: "Where the hook runs; as the deployment if absent."},
}}

// On holds the hooks at the end.
var On = &Mapping{Noun: "`on`", Name: "on", Doc: "Hooks at the end of a deployment.", Keys: []Key{
	{Name: "success", Type: In(Hook), Doc: "When every hook succeeded."},
	{Name: "failure", Type: In(Hook), Doc: "When a hook failed."},
}}

// Environment is the long form of `environment`.
var Environment = &Mapping{Noun: "an environment", Name: "environment", Doc: "Where a deployment goes.", Keys: []Key{
	{Name: "name", Type: Is(Text), Required: true, Doc: "Name of the environment, made on first use."},
	{Name: "resourceName", Type: Is(Text), Doc: "One resource of the environment."},
	{Name: "resourceId", Type: Is(Text), Doc: "Number of a resource.", State: NotYet, Note: "read; resources are found by name and tags"},
	{Name: "resourceType", Type: Is(Choice), Words: []string{"VirtualMachine", "Kubernetes"}, Doc: "Kind of resource.", State: Different, Note: "VirtualMachine; there are no Kubernetes resources"},
	{Name: "tags", Type: textOrList, Doc: "Only machines with all these tags."},
}}
