package editor

import "strings"

type predefinedVariable struct{ name, doc string }

// predefined are variables that every run has, by lower-case name.
var predefined = map[string]predefinedVariable{}

func init() {
	for _, v := range []predefinedVariable{
		{"Agent.BuildDirectory", "folder of the pipeline on the agent"},
		{"Agent.Id", "number of the agent"},
		{"Agent.JobName", "display name of the job"},
		{"Agent.JobStatus", "result of the job so far"},
		{"Agent.MachineName", "machine the agent runs on"},
		{"Agent.Name", "name of the agent"},
		{"Agent.OS", "Linux, Darwin or Windows_NT"},
		{"Agent.TempDirectory", "folder that is emptied after the job"},
		{"Agent.ToolsDirectory", "folder for tools that jobs share"},
		{"Agent.WorkFolder", "working folder of the agent"},
		{"Build.ArtifactStagingDirectory", "folder for what is to be published"},
		{"Build.BinariesDirectory", "folder for what is built"},
		{"Build.BuildId", "number of the run in the database"},
		{"Build.BuildNumber", "run number, by `name:`"},
		{"Build.DefinitionName", "name of the pipeline"},
		{"Build.QueuedBy", "who queued the run"},
		{"Build.Reason", "Manual, IndividualCI, BatchedCI, PullRequest, ResourceTrigger or Schedule"},
		{"Build.Repository.LocalPath", "folder of the checkout"},
		{"Build.Repository.Name", "repository that started the run"},
		{"Build.RequestedFor", "for whom the run is"},
		{"Build.SourceBranch", "branch with refs/heads/"},
		{"Build.SourceBranchName", "last part of the branch"},
		{"Build.SourceVersion", "commit"},
		{"Build.SourceVersionMessage", "first line of the commit's message; in steps only"},
		{"Build.SourcesDirectory", "folder of the sources"},
		{"Build.StagingDirectory", "as Build.ArtifactStagingDirectory"},
		{"Environment.Name", "environment of a deployment job"},
		{"Pipeline.Workspace", "folder of the run on the agent"},
		{"System.AccessToken", "token of the job; a secret"},
		{"System.CollectionUri", "address of the organization"},
		{"System.DefaultWorkingDirectory", "folder in which steps start"},
		{"System.JobAttempt", "how often the job was tried"},
		{"System.JobDisplayName", "display name of the job"},
		{"System.JobName", "name of the matrix leg; __default in a job without legs"},
		{"System.PullRequest.PullRequestId", "number of the pull request"},
		{"System.PullRequest.SourceBranch", "branch of the pull request"},
		{"System.PullRequest.TargetBranch", "branch it goes to"},
		{"System.StageAttempt", "how often the stage was tried"},
		{"System.StageName", "name of the stage"},
		{"System.TeamProject", "name of the project"},
	} {
		predefined[strings.ToLower(v.name)] = v
	}
}
