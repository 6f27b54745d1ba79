package grammar

// StepList is the type of `steps`.
var StepList = EntriesOf(append(append([]*Mapping{}, Steps...), Call)...)

// Steps are the kinds of steps, in the order of messages.
var Steps = []*Mapping{
	step("task", Key{Type: Is(TaskReference), Doc: "Task and version, such as CopyFiles@2."},
		Key{Name: "inputs", Type: MapOf(Is(Text)), Doc: "Inputs of the task; names are compared ignoring case."}),
	step("script", Key{Type: Is(Script), Doc: "Commands for the shell of the agent's system."}, scriptKeys...),
	step("bash", Key{Type: Is(Script), Doc: "Commands for Bash."}, scriptKeys...),
	step("pwsh", Key{Type: Is(Script), Doc: "Commands for PowerShell Core."}, powerShellKeys...),
	step("powershell", Key{Type: Is(Script), Doc: "Commands for PowerShell.", State: Different, Note: "runs pwsh: there is no Windows PowerShell"}, powerShellKeys...),
	step("checkout", Key{Type: Is(Text), Words: []string{"self", "none"}, Doc: "Repository to check out: self, none, or an alias."}, checkoutKeys...),
	step("publish", Key{Type: Is(Text), Doc: "File or folder that becomes an artifact of the run."}, artifactKey),
	step("upload", Key{Type: Is(Text), Doc: "Old name of publish."}, artifactKey),
	step("download", Key{Type: Is(Text), Words: []string{"current", "none"}, Doc: "Whose artifacts: current, none, or a pipeline resource."},
		Key{Name: "artifact", Type: Is(Text), Doc: "Name of the artifact; all if absent."},
		Key{Name: "patterns", Type: Is(Text), Doc: "Files of the artifact, one pattern a line."},
		Key{Name: "path", Type: Is(Text), Doc: "Folder to download to.", State: Different, Note: "an addition: elsewhere only the task has it"}),
	step("downloadBuild", Key{Type: Is(Text), Doc: "Build resource whose artifacts to download.", State: NotYet, Note: noTask},
		Key{Name: "artifact", Type: Is(Text), Doc: "Name of the artifact.", State: NotYet, Note: noTask},
		Key{Name: "path", Type: Is(Text), Doc: "Folder to download to.", State: NotYet, Note: noTask},
		Key{Name: "patterns", Type: Is(Text), Doc: "Files of the artifact.", State: NotYet, Note: noTask},
		Key{Name: "inputs", Type: MapOf(Is(Text)), Doc: "Further inputs of the download task.", State: NotYet, Note: noTask}),
	step("getPackage", Key{Type: Is(Text), Doc: "Package resource to download.", State: NotYet, Note: noTask},
		Key{Name: "path", Type: Is(Text), Doc: "Folder to download to.", State: NotYet, Note: noTask}),
	step("reviewApp", Key{Type: Is(Text), Doc: "Resource for which a review environment is made.", State: NotYet, Note: noTask}),
}

const noTask = "read; the step fails because no agent has its task"

// step makes a kind of step: its own key, further ones, and those of all.
func step(kind string, own Key, more ...Key) *Mapping {
	noun := "a "
	switch kind[0] {
	case 'a', 'e', 'i', 'o', 'u':
		noun = "an "
	}
	own.Name, own.Required = kind, true
	m := &Mapping{Noun: noun + kind + " step", Name: kind + " step", Doc: own.Doc, First: kind}
	m.Keys = append(append(append(m.Keys, own), more...), StepKeys...)
	return m
}

// StepKeys belong to every kind of step.
var StepKeys = []Key{
	{Name: "name", Type: Is(Name), Doc: "Name by which outputs of the step are read; unique in the job."},
	{Name: "displayName", Type: Is(Text), Doc: "How logs call the step."},
	{Name: "condition", Type: Is(Condition), Doc: "Whether the step runs; succeeded() if absent."},
	{Name: "continueOnError", Type: Is(Boolean), Doc: "Whether the job goes on as if a failed step had only warned."},
	{Name: "enabled", Type: Is(Boolean), Doc: "false leaves the step out."},
	{Name: "env", Type: MapOf(Is(Text)), Doc: "Further environment variables; the only way for secrets into a script."},
	{Name: "timeoutInMinutes", Type: Is(Integer), Doc: "Minutes until the step fails; 0 for as long as the job may take."},
	{Name: "retryCountOnTaskFailure", Type: Is(Integer), Doc: "How often a failed step is tried again, ten times at most."},
	{Name: "target", Type: OneOf(Is(Text), In(Target)), Words: []string{"host"}, Doc: "Container in which the step runs."},
}

// Target is the long form of a step's target.
var Target = &Mapping{Noun: "a target", Name: "target", Doc: "Where a step runs and what it may do.", Keys: []Key{
	{Name: "container", Type: Is(Text), Words: []string{"host"}, Doc: "A container resource, or host."},
	{Name: "commands", Type: Is(Choice), Words: []string{"any", "restricted"}, Doc: "Which logging commands are obeyed."},
	{Name: "settableVariables", Type: textOrList, Words: []string{"none"}, Doc: "Variables that the step may set."},
}}

var scriptKeys = []Key{
	{Name: "workingDirectory", Type: Is(Text), Doc: "Folder in which the script starts."},
	{Name: "failOnStderr", Type: Is(Boolean), Doc: "Whether output on stderr fails the step."},
}

var powerShellKeys = []Key{
	{Name: "errorActionPreference", Type: Is(Text), Words: []string{"stop", "continue", "silentlyContinue"}, Doc: "What PowerShell does at an error; stop if absent."},
	{Name: "failOnStderr", Type: Is(Boolean), Doc: "Whether output on stderr fails the step."},
	{Name: "ignoreLASTEXITCODE", Type: Is(Boolean), Doc: "Whether the exit code of the last program is ignored."},
	{Name: "workingDirectory", Type: Is(Text), Doc: "Folder in which the script starts."},
}

var artifactKey = Key{Name: "artifact", Type: Is(Text), Doc: "Name of the artifact."}

var checkoutKeys = []Key{
	{Name: "clean", Type: Is(Boolean), Doc: "Whether files that git does not know are deleted first; true if absent."},
	{Name: "fetchDepth", Type: Is(Integer), Doc: "How many commits to fetch; all if 0 or absent."},
	{Name: "fetchTags", Type: Is(Boolean), Doc: "Whether to fetch tags; if absent, where all commits are fetched."},
	{Name: "fetchFilter", Type: Is(Text), Words: []string{"tree:0", "blob:none"}, Doc: "Partial clone: what to leave on the server."},
	{Name: "lfs", Type: Is(Boolean), Doc: "Whether to download large files."},
	{Name: "submodules", Type: Is(Text), Words: []string{"true", "recursive", "false"}, Doc: "Whether to check out submodules, and theirs."},
	{Name: "path", Type: Is(Text), Doc: "Folder below the workspace; s if absent."},
	{Name: "persistCredentials", Type: Is(Boolean), Doc: "Whether later git commands are signed in."},
	{Name: "workspaceRepo", Type: Is(Boolean), Doc: "Whether this checkout, one of several, becomes the default working folder."},
	{Name: "sparseCheckoutDirectories", Type: Is(Text), Doc: "Only these folders, separated by spaces."},
	{Name: "sparseCheckoutPatterns", Type: Is(Text), Doc: "Only what matches these patterns, separated by spaces."},
}
