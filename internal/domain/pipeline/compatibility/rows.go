package compatibility

import "penstock.dev/penstock/internal/domain/pipeline/internal/grammar"

const head = `<!-- Written by go generate from the tables of the compiler. Change those. -->

# What a pipeline may use

Penstock compiles ` + "`azure-pipelines.yml`" + ` unchanged. What is not listed here is not supported, and says so when it is used.

*supported* works as on the service; *different* works otherwise, and the note says how; *not yet* is read so that the file compiles, and the note says what happens.
`

const keysHead = `Keys are matched ignoring case; another spelling gives a warning. A key that its mapping does not have is an error with the nearest ones.
`

const tasksEnd = `Any other task runs from its package, see [tasks that come as packages](tasks.md). One that is not there either fails with its name and the nearest ones.
`

// behaviour is something that is no key.
type behaviour struct {
	area, what string
	state      grammar.State
	note       string
}

var behaviours = []behaviour{
	{"Forms", "pipelines of stages, jobs, steps or `extends`; jobs, deployment jobs, steps; templates of all kinds; typed parameters", grammar.Supported, "the golden cases in `internal/domain/pipeline/testdata` show each"},
	{"Forms", "`phases` and `queue`", grammar.NotYet, "an error that names the key to write"},
	{"YAML", "anchors and aliases", grammar.Different, "they work, with a warning, because the service refuses them"},
	{"YAML", "merge keys, several documents in a file", grammar.Supported, "refused, as on the service"},
	{"Expressions", "`${{ }}` with `if`, `elseif`, `else`, `each`, `insert`; conditions; `$[ ]`; macros `$( )`", grammar.Supported, ""},
	{"Variables", "variables of run, stage and job; groups; templates of variables; output variables between jobs and stages", grammar.Supported, ""},
	{"Variables", "those given when a run is queued", grammar.Different, "as on the service they reach what the file does not set, and steps cannot change them; every name may be given, there is no list of settable ones; on a laptop they stand for the settings of the pipeline, which steps may change"},
	{"Variables", "secret output variables", grammar.Supported, "secret wherever they are read; stored encrypted"},
	{"Variables", "macros in inputs and in `env:`", grammar.Supported, "variables, resolved anew before each step, then the environment of the agent, where names differ by case"},
	{"Variables", "by which a pipeline tells its agent: `System.Debug`, `DECODE_PERCENTS`, `process.clean`, `Agent.Source.Git.ShallowFetchDepth`, `Agent.Source.Git.Lfs`, `Agent.Source.Skip`, `Build.SyncSources`, `System.SelfManageGitCreds`, `Agent.Clean.BuildDirectory`, `Build.Clean`, `PROCESS_SIGINT_TIMEOUT`, `PROCESS_SIGTERM_TIMEOUT`, `VSTS_OVERWRITE_TEMP`, `AZP_BASHV3_OLD_SOURCE_BEHAVIOR`, `SYSTEM_UNSAFEALLOWMULTILINESECRET`, `AZP_CACHING_SALT`", grammar.Supported, "others of the service's agents are read by nobody here"},
	{"Jobs", "matrix, also computed with `$[ ]`; `parallel`; `maxParallel`", grammar.Supported, ""},
	{"Jobs", "containers (`container:`, `services:`, step `target:`)", grammar.Supported, "with Docker or Podman on the agent's machine; folders keep the machine's paths inside, `/__w` and `/__t` lead there too; an image that is on the machine is not fetched again; not in sandboxed jobs"},
	{"Jobs", "server jobs (`pool: server`)", grammar.Different, "`ManualValidation@1`, `Delay@1`, `InvokeRESTAPI@1`, `PenstockSwap@1`, `PenstockRollback@1`"},
	{"Deployments", "strategies `runOnce`, `rolling` (on VMs), `canary` (hooks and increments), all lifecycle hooks", grammar.Supported, ""},
	{"Checks", "approval, exclusive lock (`lockBehavior`), branch control, business hours", grammar.Supported, ""},
	{"Triggers", "pushes with branch, tag and path filters, `batch`, `[skip ci]`; finished runs of `resources.pipelines`", grammar.Supported, ""},
	{"Triggers", "`pr:`", grammar.Different, "read; pull requests start runs by branch policy, as in Azure Repos"},
	{"Triggers", "schedules, and `resources.builds`, `packages`, `webhooks`", grammar.NotYet, "read; they start nothing"},
	{"Templates", "templates of other repositories", grammar.Different, "of repositories in the same project"},
	{"Logging commands", "`task.*`, `artifact.upload`, `build.updatebuildnumber`, `build.uploadlog`, `results.publish`, `codecoverage.publish`, `telemetry.publish`; groups and formats; `target: commands:` and `settableVariables:`", grammar.Supported, "a command that fails, or that its area does not have, fails the step; the text of `task.complete` is shown, as an error where the result is Failed"},
	{"Logging commands", "`task.uploadsummary`, `task.addattachment`, `task.uploadfile`, `build.addbuildtag`, `artifact.associate`", grammar.Supported, "kept with the run; a summary is shown on its page, without images and without its own styles; a step in a container names files of the job's folders only"},
	{"Logging commands", "`task.setendpoint`", grammar.Supported, "changes a connection that a step of the job names, for the steps that follow"},
	{"Resources", "service connections and secure files in inputs of steps", grammar.Different, "checked before the run starts; every pipeline of the project may use those of the project; `endpoint:` of a container signs in to its registry, that of a repository is read only"},
}

// taskRow is one row of the tasks that agents have.
type taskRow struct{ names, note string }

var tasks = []taskRow{
	{"`CmdLine@2` `Bash@3` `PowerShell@2` `ShellScript@2` `PythonScript@0`", "PowerShell needs `pwsh` on the agent and has no `showWarnings`; arguments of a script file are words, quotes and `$NAME`: no shell reads them"},
	{"checkout, download, publish", "real git; artifacts keep modes, links and empty folders, and send only what the project lacks"},
	{"`CopyFiles@2` `DeleteFiles@1` `ArchiveFiles@1/2` `ExtractFiles@1`", "7z and wim need `7z`, bz2 needs `bzip2` to pack"},
	{"`FileTransform@1/2` `replacetokens@3…6`", "no XDT: an error where there is a file for it"},
	{"`PublishPipelineArtifact@0/1` `PublishBuildArtifacts@1` `DownloadPipelineArtifact@0…2` `DownloadBuildArtifacts@0/1`", "`.artifactignore`, patterns; a name is published once in a run, also by `PublishBuildArtifacts`, which does not merge; no file shares; of another pipeline the run of its resource, else the newest that the inputs allow, in the same project"},
	{"`Cache@2` `CacheBeta@0/1`", "in a folder of the agent's machine, for a week"},
	{"`PublishTestResults@1/2`", "JUnit, NUnit 2 and 3, VSTest, xUnit 2, CTest"},
	{"`PublishCodeCoverageResults@1/2`", "Cobertura and JaCoCo; lines and branches by package and file on the run's page; several files are merged by line; the report as an artifact"},
	{"`UsePythonVersion@0` `NodeTool@0` `UseNode@1` `GoTool@0` `UseDotNet@2` `JavaToolInstaller@0/1` `UseRubyVersion@0`", "tool cache, then the machine, then (Node, Go, .NET) the tool's own site, with its checksum; Go also by the module proxy. With the variable Penstock.InstalledTools an installed version stands in"},
	{"`Npm@1` `Go@0` `DotNetCoreCLI@2` `Maven@2…4` `Gradle@2…4` `CMake@1` `Docker@2`", "the tool must be there; no feeds; Docker signs in by a service connection"},
	{"`SSH@0` `CopyFilesOverSSH@0` `InstallSSHKey@0`", "host keys are checked, there is no trust on first use; `InstallSSHKey` not on Windows"},
	{"`AzureCLI@1/2`", "`az` must be there; service principals with key or certificate, managed identity, or the session of the agent's user; no workload identity federation"},
	{"`AzureKeyVault@1/2`", "vaults of this server; the vault and its secrets have to be named before the job starts"},
	{"`DownloadSecureFile@1`", "mode 0600, removed after the job"},
	{"`PipAuthenticate@0/1` `npmAuthenticate@0` `NuGetAuthenticate@0/1`", "service connections; the server has no feeds of its own. NuGet gets the variables that it and its credential provider read; the provider is not installed"},
	{"`InvokeRESTAPI@1`", "on the server; connections of type generic, not Azure Resource Manager; never link-local and metadata addresses; a request that a restart interrupts is not repeated"},
	{"`IISWebAppDeploymentOnMachineGroup@0` `AzureRmWebAppDeployment@4/5`", "on a VM of the environment: the Web Deploy package is applied there; no XML transformation, no app settings"},
	{"`PenstockService@1` `PenstockHealth@1` `PenstockSwap@1` `PenstockRollback@1` `PenstockDrain@1` `PenstockWebDeploy@1`", "see `penstock explain PenstockSwap`"},
}
