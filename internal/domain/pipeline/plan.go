package pipeline

import (
	"strconv"
	"strings"
)

// PlanVersion is the version of the serialized Plan. It grows when a field
// changes its meaning; added fields leave it alone.
const PlanVersion = 1

// Plan is one expanded pipeline: immutable, serializable, without `${{ }}`.
// What only the run can know stays text: `$(name)` macros in inputs and values,
// `$[ ]` expressions in variables, conditions.
type Plan struct {
	Version      int          `json:"version"`
	File         string       `json:"file"`
	NumberFormat string       `json:"name,omitempty"`
	LockBehavior string       `json:"lockBehavior,omitempty"` // "", runLatest, sequential
	Parameters   []Parameter  `json:"parameters,omitempty"`
	Trigger      Trigger      `json:"trigger"`
	PR           Trigger      `json:"pr"`
	Schedules    []Schedule   `json:"schedules,omitempty"`
	Resources    Resources    `json:"resources"`
	Variables    []Variable   `json:"variables,omitempty"`
	Stages       []Stage      `json:"stages"`
	Files        []SourceFile `json:"files"` // every file read, the root first
}

// SourceFile names one file the plan was compiled from.
type SourceFile struct {
	Repository string `json:"repository"` // "self" or a resource alias
	Path       string `json:"path"`       // slash separated, without a leading slash
}

// Location is a 1-based place in a source file.
type Location struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
}

// Origin says where an element was written and which template calls led there,
// innermost call first.
type Origin struct {
	Location
	Chain []Location `json:"chain,omitempty"`
}

// Parameter is a declared root parameter and its value for this plan.
type Parameter struct {
	Name        string   `json:"name"`
	DisplayName string   `json:"displayName,omitempty"`
	Type        string   `json:"type"`
	Values      []string `json:"values,omitempty"`
	Default     any      `json:"default,omitempty"`
	Value       any      `json:"value,omitempty"`
	Origin      Origin   `json:"origin"`
}

// Trigger is a `trigger:` or `pr:` section. Implied means the section was not
// written, so the service's default applies; None means it was switched off.
type Trigger struct {
	Implied    bool    `json:"implied,omitempty"`
	None       bool    `json:"none,omitempty"`
	Batch      bool    `json:"batch,omitempty"`
	AutoCancel bool    `json:"autoCancel,omitempty"`
	Drafts     bool    `json:"drafts,omitempty"`
	Branches   Filters `json:"branches"`
	Tags       Filters `json:"tags"`
	Paths      Filters `json:"paths"`
}

// Filters are include and exclude patterns, as written.
type Filters struct {
	Include []string `json:"include,omitempty"`
	Exclude []string `json:"exclude,omitempty"`
}

// Schedule is one `schedules:` entry.
type Schedule struct {
	Cron        string  `json:"cron"`
	DisplayName string  `json:"displayName,omitempty"`
	Branches    Filters `json:"branches"`
	Always      bool    `json:"always,omitempty"`
	Batch       bool    `json:"batch,omitempty"`
	Origin      Origin  `json:"origin"`
}

// Resources are the `resources:` section.
type Resources struct {
	Repositories []RepositoryResource `json:"repositories,omitempty"`
	Pipelines    []PipelineResource   `json:"pipelines,omitempty"`
	Containers   []ContainerResource  `json:"containers,omitempty"`
	Builds       []BuildResource      `json:"builds,omitempty"`
	Packages     []PackageResource    `json:"packages,omitempty"`
	Webhooks     []WebhookResource    `json:"webhooks,omitempty"`
}

// RepositoryResource is one `repositories:` entry.
type RepositoryResource struct {
	Alias    string  `json:"repository"`
	Type     string  `json:"type"`
	Name     string  `json:"name"`
	Ref      string  `json:"ref,omitempty"`
	Endpoint string  `json:"endpoint,omitempty"`
	Trigger  Trigger `json:"trigger"`
	Origin   Origin  `json:"origin"`
}

// PipelineResource is one `pipelines:` entry: another pipeline whose artifacts
// are used and whose completion may start this one.
type PipelineResource struct {
	Alias   string           `json:"pipeline"`
	Source  string           `json:"source"`
	Project string           `json:"project,omitempty"`
	Branch  string           `json:"branch,omitempty"`
	Version string           `json:"version,omitempty"`
	Tags    []string         `json:"tags,omitempty"`
	Trigger *PipelineTrigger `json:"trigger,omitempty"` // nil: completion starts nothing
	Origin  Origin           `json:"origin"`
}

// Pipeline is the name of the pipeline that the resource means. The service
// sorts pipelines into folders and has the folder before the name, as in
// team\ci; here there are none.
func (r PipelineResource) Pipeline() string {
	return r.Source[strings.LastIndexByte(r.Source, '\\')+1:]
}

// PipelineTrigger filters the completions that start a run.
type PipelineTrigger struct {
	Branches Filters  `json:"branches"`
	Stages   []string `json:"stages,omitempty"`
	Tags     []string `json:"tags,omitempty"`
}

// ContainerResource is one `containers:` entry. With Type ACR the image is named
// by Registry and Repository.
type ContainerResource struct {
	Alias             string            `json:"container"`
	Image             string            `json:"image"`
	Endpoint          string            `json:"endpoint,omitempty"`
	Env               map[string]string `json:"env,omitempty"`
	Options           string            `json:"options,omitempty"`
	Ports             []string          `json:"ports,omitempty"`
	Volumes           []string          `json:"volumes,omitempty"`
	Type              string            `json:"type,omitempty"` // "" or ACR
	AzureSubscription string            `json:"azureSubscription,omitempty"`
	ResourceGroup     string            `json:"resourceGroup,omitempty"`
	Registry          string            `json:"registry,omitempty"`
	Repository        string            `json:"repository,omitempty"`
	LocalImage        bool              `json:"localImage,omitempty"`
	NoDockerSocket    bool              `json:"noDockerSocket,omitempty"` // mapDockerSocket: false
	MountReadOnly     []string          `json:"mountReadOnly,omitempty"`  // of work, externals, tools, tasks
	Trigger           *ContainerTrigger `json:"trigger,omitempty"`        // nil: new images start nothing
	Origin            Origin            `json:"origin"`
}

// ContainerTrigger filters the new images that start a run.
type ContainerTrigger struct {
	Tags Filters `json:"tags"`
}

// BuildResource is one `builds:` entry: a build of another system.
type BuildResource struct {
	Alias      string `json:"build"`
	Type       string `json:"type"`
	Connection string `json:"connection"`
	Source     string `json:"source"`
	Version    string `json:"version,omitempty"`
	Branch     string `json:"branch,omitempty"`
	Trigger    bool   `json:"trigger,omitempty"`
	Origin     Origin `json:"origin"`
}

// PackageResource is one `packages:` entry.
type PackageResource struct {
	Alias      string `json:"package"`
	Type       string `json:"type"`
	Connection string `json:"connection"`
	Name       string `json:"name"`
	Version    string `json:"version,omitempty"`
	Tag        string `json:"tag,omitempty"`
	Trigger    bool   `json:"trigger,omitempty"`
	Origin     Origin `json:"origin"`
}

// WebhookResource is one `webhooks:` entry: a call from outside that starts a
// run if every filter fits its content.
type WebhookResource struct {
	Alias      string          `json:"webhook"`
	Connection string          `json:"connection"`
	Type       string          `json:"type,omitempty"`
	Filters    []WebhookFilter `json:"filters,omitempty"`
	Origin     Origin          `json:"origin"`
}

// WebhookFilter asks for a value at a path of the content.
type WebhookFilter struct {
	Path  string `json:"path"`
	Value string `json:"value"`
}

// Variable is a named value, or (Group set) a reference to a variable group.
type Variable struct {
	Name     string `json:"name,omitempty"`
	Value    string `json:"value,omitempty"` // may hold $(macros) or a `$[ ]` expression
	Group    string `json:"group,omitempty"`
	ReadOnly bool   `json:"readonly,omitempty"`
	Origin   Origin `json:"origin"`
}

// Stage is one expanded stage. DependsOn is resolved: without `dependsOn:` it
// holds the stage before; an explicit empty list stays empty.
type Stage struct {
	Name         string     `json:"stage"`
	DisplayName  string     `json:"displayName"`
	DependsOn    []string   `json:"dependsOn,omitempty"`
	Condition    string     `json:"condition,omitempty"` // "" = succeeded()
	LockBehavior string     `json:"lockBehavior,omitempty"`
	Manual       bool       `json:"manual,omitempty"`      // trigger: manual
	Unskippable  bool       `json:"unskippable,omitempty"` // isSkippable: false
	Variables    []Variable `json:"variables,omitempty"`
	Jobs         []Job      `json:"jobs"`
	Origin       Origin     `json:"origin"`
}

// Job is one `job:` or `deployment:` of the file. Exactly one of Steps and
// Deployment is used; a job on `pool: server` has Pool.Server set.
type Job struct {
	Name                   string            `json:"job"`
	DisplayName            string            `json:"displayName"`
	DependsOn              []string          `json:"dependsOn,omitempty"`
	Condition              string            `json:"condition,omitempty"`
	ContinueOnError        bool              `json:"continueOnError,omitempty"`
	TimeoutInMinutes       int               `json:"timeoutInMinutes"` // 60 when not written; 0 = no limit
	CancelTimeoutInMinutes int               `json:"cancelTimeoutInMinutes"`
	Pool                   Pool              `json:"pool"`
	Container              *Container        `json:"container,omitempty"`
	Services               map[string]string `json:"services,omitempty"`
	WorkspaceClean         string            `json:"workspaceClean,omitempty"`
	Variables              []Variable        `json:"variables,omitempty"`
	Strategy               *Strategy         `json:"strategy,omitempty"`
	Steps                  []Step            `json:"steps,omitempty"`
	Deployment             *Deployment       `json:"deployment,omitempty"`
	UsesRepositories       []string          `json:"usesRepositories,omitempty"`
	UsesPools              []string          `json:"usesPools,omitempty"`
	// Deferred holds properties that only the run can compute, as written: a
	// `$[ ]` expression or text with $(macros) by key (timeoutInMinutes,
	// cancelTimeoutInMinutes, continueOnError, parallel, maxParallel). The typed
	// field keeps its default.
	Deferred map[string]string `json:"deferred,omitempty"`
	Origin   Origin            `json:"origin"`
}

// Pool says where a job runs: a named pool with demands, or the server itself.
type Pool struct {
	Name    string   `json:"name,omitempty"`
	VMImage string   `json:"vmImage,omitempty"`
	Demands []string `json:"demands,omitempty"`
	Server  bool     `json:"server,omitempty"`
}

// Container is a job's `container:`; Alias refers to Resources.Containers.
type Container struct {
	Alias   string            `json:"alias,omitempty"`
	Image   string            `json:"image,omitempty"`
	Options string            `json:"options,omitempty"`
	Env     map[string]string `json:"env,omitempty"`
}

// Strategy multiplies a job. Matrix and MatrixExpression exclude each other.
type Strategy struct {
	Matrix           []MatrixEntry `json:"matrix,omitempty"`
	MatrixExpression string        `json:"matrixExpression,omitempty"` // `$[ ]`, a JSON object at run time
	Parallel         int           `json:"parallel,omitempty"`
	MaxParallel      int           `json:"maxParallel,omitempty"` // 0 = no limit
}

// MatrixEntry is one leg of a matrix.
type MatrixEntry struct {
	Name      string            `json:"name"`
	Variables map[string]string `json:"variables"`
}

// The strategies of a deployment job.
const (
	RunOnce = "runOnce"
	Rolling = "rolling"
	Canary  = "canary"
)

// The lifecycle hooks of a deployment job, in the order they run.
const (
	HookPreDeploy        = "preDeploy"
	HookDeploy           = "deploy"
	HookRouteTraffic     = "routeTraffic"
	HookPostRouteTraffic = "postRouteTraffic"
	HookOnSuccess        = "success"
	HookOnFailure        = "failure"
)

// Deployment is what a deployment job adds to a job.
type Deployment struct {
	Environment Environment `json:"environment"`
	Strategy    string      `json:"strategy"`
	MaxParallel string      `json:"maxParallel,omitempty"` // "2" or "50%"; "" = all
	Increments  []int       `json:"increments,omitempty"`
	Hooks       []Hook      `json:"hooks"` // in running order, those written only
}

// Environment is the target of a deployment job.
type Environment struct {
	Name         string   `json:"name"`
	ResourceName string   `json:"resourceName,omitempty"`
	ResourceID   string   `json:"resourceId,omitempty"`
	ResourceType string   `json:"resourceType,omitempty"` // "", VirtualMachine or Kubernetes
	Tags         []string `json:"tags,omitempty"`
}

// Hook is one lifecycle hook; it becomes a job of its own on each target.
type Hook struct {
	Name  string `json:"hook"` // one of the Hook… constants
	Pool  *Pool  `json:"pool,omitempty"`
	Steps []Step `json:"steps"`

	Origin Origin `json:"origin"`
}

// The names under which the compiler writes the built-in step kinds. Script
// shortcuts become tasks as on the service.
const (
	TaskCheckout   = "Checkout"                // inputs: repository (self, none, alias, name), clean, fetchDepth, fetchTags, fetchFilter, lfs, submodules, path, persistCredentials, workspaceRepo
	TaskDownload   = "DownloadPipelineSource"  // inputs: source (current, none, alias), artifact, patterns, path
	TaskPublish    = "PublishPipelineArtifact" // inputs: path (and targetPath), artifact (and artifactName)
	TaskCmdLine    = "CmdLine"
	TaskBash       = "Bash"
	TaskPowerShell = "PowerShell"
)

// Step is one task of a job.
type Step struct {
	Task                    string            `json:"task"`    // name as written, or a Task… constant
	Version                 string            `json:"version"` // "2" or "2.1.0"
	Name                    string            `json:"name,omitempty"`
	DisplayName             string            `json:"displayName,omitempty"` // "" = the task's own
	Inputs                  map[string]string `json:"inputs,omitempty"`
	Env                     map[string]string `json:"env,omitempty"`
	Condition               string            `json:"condition,omitempty"` // "" = succeeded()
	ContinueOnError         bool              `json:"continueOnError,omitempty"`
	Disabled                bool              `json:"disabled,omitempty"` // enabled: false
	TimeoutInMinutes        int               `json:"timeoutInMinutes,omitempty"`
	RetryCountOnTaskFailure int               `json:"retryCountOnTaskFailure,omitempty"`
	Target                  string            `json:"target,omitempty"`         // container alias or host
	TargetCommands          string            `json:"targetCommands,omitempty"` // any, restricted
	SettableVariables       []string          `json:"settableVariables,omitempty"`
	SettableRestricted      bool              `json:"settableRestricted,omitempty"` // true: only SettableVariables
	Origin                  Origin            `json:"origin"`
}

// RefNames returns the name by which the service knows each step: the one that
// is written, else that of the task, with a number from the second on.
func RefNames(steps []Step) []string {
	taken := map[string]bool{}
	for _, s := range steps {
		taken[strings.ToLower(s.Name)] = true
	}
	names := make([]string, len(steps))
	for i, s := range steps {
		if names[i] = s.Name; s.Name != "" {
			continue
		}
		task := s.Task[strings.LastIndexAny(s.Task, ".@")+1:]
		names[i] = task
		for k := 1; taken[strings.ToLower(names[i])]; k++ {
			names[i] = task + strconv.Itoa(k)
		}
		taken[strings.ToLower(names[i])] = true
	}
	return names
}

// Hook returns the hook of that name, or nil if the file does not write it.
func (d *Deployment) Hook(name string) *Hook {
	for i := range d.Hooks {
		if d.Hooks[i].Name == name {
			return &d.Hooks[i]
		}
	}
	return nil
}

// Stage returns the stage of that name, or nil.
func (p *Plan) Stage(name string) *Stage {
	for i := range p.Stages {
		if p.Stages[i].Name == name {
			return &p.Stages[i]
		}
	}
	return nil
}

// Job returns the job of that name, or nil.
func (s *Stage) Job(name string) *Job {
	for i := range s.Jobs {
		if s.Jobs[i].Name == name {
			return &s.Jobs[i]
		}
	}
	return nil
}
