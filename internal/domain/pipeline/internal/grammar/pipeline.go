package grammar

// ParameterTypes are the types a parameter may have.
var ParameterTypes = []string{
	"string", "number", "boolean", "object", "step", "stepList", "job", "jobList", "stage", "stageList",
	"deployment", "deploymentList", "stringList", "environment", "pool", "serviceConnection", "secureFile",
	"filePath", "container", "containerList", "legacyObject",
}

var (
	textOrList    = OneOf(Is(Text), ListOf(Is(Text)))
	filterOrList  = OneOf(Is(Text), ListOf(Is(Text)), In(Filter))
	variableBlock = OneOf(MapOf(Is(Text)), EntriesOf(Variable, Group, Call))
	parameterList = OneOf(EntriesOf(Parameter), MapOf(Is(Any)))
	lockWords     = []string{"sequential", "runLatest"}
)

// Pipeline is the root of an azure-pipelines.yml.
var Pipeline = &Mapping{Noun: "a pipeline", Name: "pipeline", Doc: "The root file of a pipeline.", Keys: []Key{
	{Name: "name", Type: Is(Text), Doc: "Format of the run number; macros such as $(Date:yyyyMMdd) and $(Rev:r) count runs."},
	{Name: "trigger", Type: OneOf(Is(Text), ListOf(Is(Text)), In(Trigger)), Words: []string{"none"}, Doc: "Which pushes start a run; without the key every branch does."},
	{Name: "pr", Type: OneOf(Is(Text), ListOf(Is(Text)), In(PullRequest)), Words: []string{"none"}, Doc: "Which pull requests start a run.", State: Different, Note: prNote},
	{Name: "schedules", Type: OneOf(EntriesOf(Schedule), Is(Text)), Words: []string{"none"}, Doc: "Times at which runs start.", State: NotYet, Note: scheduleNote},
	{Name: "parameters", Type: parameterList, Doc: "Values that are asked for when a run is queued, read as ${{ parameters.name }}."},
	{Name: "resources", Type: OneOf(In(Resources), EntriesOf(OldResource)), Doc: "Repositories, pipelines and containers that the pipeline uses besides its own repository."},
	{Name: "variables", Type: variableBlock, Doc: "Variables of the whole run, as a mapping or as a list."},
	{Name: "pool", Type: poolType, Words: []string{"server"}, Doc: "Where jobs run that name no pool themselves."},
	{Name: "stages", Type: StageList, Group: "body", Required: true, Doc: "The stages, one after the other unless dependsOn says otherwise."},
	{Name: "jobs", Type: JobList, Group: "body", Required: true, Doc: "The jobs of a pipeline with a single stage."},
	{Name: "steps", Type: StepList, Group: "body", Required: true, Doc: "The steps of a pipeline with a single job."},
	{Name: "extends", Type: In(Extends), Group: "body", Required: true, Doc: "A template that gives the body of the pipeline."},
	{Name: "lockBehavior", Type: Is(Choice), Words: lockWords, Doc: "How runs that want the same exclusive lock take turns."},
	{Name: "appendCommitMessageToRunName", Type: Is(Boolean), Doc: "Whether pages show the commit's title beside the run number.", State: NotYet, Note: "read; pages always show the title"},
	{Name: "strategy", Type: In(Strategy), Group: "", Doc: "Multiplies the implied job of `steps`."},
	{Name: "continueOnError", Type: Is(Boolean), Doc: "Whether the implied job of `steps` may fail without failing the run."},
	{Name: "container", Type: containerType, Doc: "Container of the implied job of `steps`."},
	{Name: "services", Type: MapOf(containerType), Doc: "Side containers of the implied job of `steps`."},
	{Name: "workspace", Type: In(Workspace), Doc: "What is deleted before the implied job of `steps`."},
	{Name: "phases", Old: true, Type: EntriesOf(Phase), Group: "body", Required: true, State: Different, Note: "read as jobs, with a warning", Doc: "Old name of `jobs`."},
}}

const (
	prNote        = "read; a pull request starts runs by the build validation policy of its target branch, as in Azure Repos"
	scheduleNote  = "read and checked; starts nothing"
	containerNote = "read; the machine signs in to the registry itself"
)

// ExtendsFile is a template for `extends`.
var ExtendsFile = &Mapping{Noun: "an extends template", Name: "extends template", Doc: "A template that `extends` names.", Keys: []Key{
	{Name: "parameters", Type: parameterList, Doc: "What the template takes from the pipeline that extends it."},
	{Name: "extends", Type: In(Extends), Group: "body", Required: true, Doc: "A further template that gives the body."},
	{Name: "stages", Type: StageList, Group: "body", Required: true, Doc: "The stages."},
	{Name: "jobs", Type: JobList, Group: "body", Required: true, Doc: "The jobs of a single stage."},
	{Name: "steps", Type: StepList, Group: "body", Required: true, Doc: "The steps of a single job."},
	{Name: "resources", Type: In(Resources), Doc: "Resources that are added to those of the root file."},
	{Name: "variables", Type: variableBlock, Doc: "Variables of the run; only when the root file has none."},
	{Name: "trigger", Type: Is(Any), Doc: "Triggers are those of the root file.", State: Different, Note: "has no effect, with a warning"},
	{Name: "pr", Type: Is(Any), Doc: "Triggers are those of the root file.", State: Different, Note: "has no effect, with a warning"},
	{Name: "schedules", Type: Is(Any), Doc: "Schedules are those of the root file.", State: Different, Note: "has no effect, with a warning"},
	{Name: "pool", Type: poolType, Words: []string{"server"}, Doc: "Where jobs run when the root file names no pool."},
	{Name: "name", Type: Is(Text), Doc: "The number format is that of the root file.", State: Different, Note: "has no effect, with a warning"},
	{Name: "lockBehavior", Type: Is(Choice), Words: lockWords, Doc: "Lock behaviour when the root file sets none."},
}}

func templateFile(key string, body Type) *Mapping {
	return &Mapping{Noun: "a " + key + " template", Name: key + " template", Doc: "A template of " + key + ".", Keys: []Key{
		{Name: "parameters", Type: parameterList, Doc: "What a call gives the template, read as ${{ parameters.name }}."},
		{Name: key, Type: body, Required: true, Doc: "The " + key + " that take the place of the call."},
	}}
}

// The kinds of template files, by their content key.
var (
	StagesFile    = templateFile("stages", StageList)
	JobsFile      = templateFile("jobs", JobList)
	StepsFile     = templateFile("steps", StepList)
	VariablesFile = templateFile("variables", variableBlock)
)

// Files lists what a file may be.
func Files() []*Mapping {
	return []*Mapping{Pipeline, ExtendsFile, StagesFile, JobsFile, StepsFile, VariablesFile}
}

// TemplateFile is the kind of template with the content key.
func TemplateFile(key string) *Mapping {
	for _, m := range []*Mapping{StagesFile, JobsFile, StepsFile, VariablesFile} {
		if _, ok := m.Key(key); ok {
			return m
		}
	}
	return ExtendsFile
}

// Extends is the value of `extends`.
var Extends = &Mapping{Noun: "`extends`", Name: "extends", Doc: "The template that gives the body of the pipeline.", First: "template", Keys: callKeys}

// Call is a template call in a list.
var Call = &Mapping{Noun: "a template call", Name: "template call", Doc: "Replaced by what the template gives.", First: "template", Keys: callKeys}

var callKeys = []Key{
	{Name: "template", Type: Is(TemplatePath), Required: true, Doc: "File of the template, relative to this file, from the top with /, or in another repository with @alias."},
	{Name: "parameters", Type: MapOf(Is(Any)), Doc: "Values of the template's parameters."},
}

// Parameter is an entry of `parameters`.
var Parameter = &Mapping{Noun: "a parameter", Name: "parameter", Doc: "A value that is fixed before the run starts.", First: "name", Keys: []Key{
	{Name: "name", Type: Is(Name), Required: true, Doc: "How expressions call the parameter."},
	{Name: "displayName", Type: Is(Text), Doc: "How the form calls the parameter."},
	{Name: "type", Type: Is(Choice), Words: ParameterTypes, Doc: "What values are accepted; string if absent."},
	{Name: "default", Type: Is(Any), Doc: "Value when none is given; without it the parameter is required."},
	{Name: "values", Type: ListOf(Is(Text)), Doc: "The only values that are accepted."},
}}

// Variable is an entry of `variables` with a value.
var Variable = &Mapping{Noun: "a variable", Name: "variable", Doc: "A variable of the run, stage or job.", First: "name", Keys: []Key{
	{Name: "name", Type: Is(Name), Required: true, Doc: "Name of the variable."},
	{Name: "value", Type: Is(Text), Doc: "Its value: text, $( ) read when used, or $[ ] computed when the job starts."},
	{Name: "readonly", Type: Is(Boolean), Doc: "Whether steps are kept from changing it."},
}}

// Group is an entry of `variables` that names a variable group.
var Group = &Mapping{Noun: "a variable group", Name: "variable group", Doc: "The variables of a group of the project.", First: "group", Keys: []Key{
	{Name: "group", Type: Is(Text), Required: true, Doc: "Name of a variable group; its values are known only to the run."},
}}

// VariableEntry is what the reader of `variables` accepts: both kinds at once.
var VariableEntry = &Mapping{Noun: "a variable", Name: "variable", Keys: append(append([]Key{}, Variable.Keys...), Group.Keys...)}

// Filter chooses branches, paths or tags.
var Filter = &Mapping{Noun: "a filter", Name: "filter", Doc: "Patterns that choose branches, paths or tags.", Keys: []Key{
	{Name: "include", Type: textOrList, Doc: "Patterns of which one has to match; everything if absent."},
	{Name: "exclude", Type: textOrList, Doc: "Patterns of which none may match."},
}}

// Trigger is the long form of `trigger`.
var Trigger = &Mapping{Noun: "a trigger", Name: "trigger", Doc: "Which pushes start a run.", Keys: []Key{
	{Name: "enabled", Type: Is(Boolean), Doc: "false is the same as none; an expanded file says it so."},
	{Name: "batch", Type: Is(Boolean), Doc: "Whether pushes during a run wait and share the next one."},
	{Name: "branches", Type: filterOrList, Doc: "Branches whose pushes count."},
	{Name: "paths", Type: filterOrList, Doc: "Changed files that count."},
	{Name: "tags", Type: filterOrList, Doc: "Pushed tags that count."},
}}

// PullRequest is the long form of `pr`.
var PullRequest = &Mapping{Noun: "a pr trigger", Name: "pr trigger", Doc: "Which pull requests start a run.", Keys: []Key{
	{Name: "enabled", Type: Is(Boolean), Doc: "false is the same as none; an expanded file says it so."},
	{Name: "autoCancel", Type: Is(Boolean), Doc: "Whether a new push ends the run of the push before.", State: Different, Note: prNote},
	{Name: "branches", Type: filterOrList, Doc: "Target branches that count.", State: Different, Note: prNote},
	{Name: "paths", Type: filterOrList, Doc: "Changed files that count.", State: Different, Note: prNote},
	{Name: "drafts", Type: Is(Boolean), Doc: "Whether drafts count.", State: Different, Note: prNote},
}}

// Schedule is an entry of `schedules`.
var Schedule = &Mapping{Noun: "a schedule", Name: "schedule", Doc: "A time at which runs start.", First: "cron", Keys: []Key{
	{Name: "cron", Type: Is(Text), Required: true, Doc: "Minute, hour, day, month and weekday in UTC.", State: NotYet, Note: scheduleNote},
	{Name: "displayName", Type: Is(Text), Doc: "How pages call the schedule.", State: NotYet, Note: scheduleNote},
	{Name: "branches", Type: filterOrList, Doc: "Branches that are run.", State: NotYet, Note: scheduleNote},
	{Name: "always", Type: Is(Boolean), Doc: "Whether to run without changes since the last time.", State: NotYet, Note: scheduleNote},
	{Name: "batch", Type: Is(Boolean), Doc: "Whether to leave out a time at which the last run goes on.", State: NotYet, Note: scheduleNote},
}}
