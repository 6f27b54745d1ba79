package run

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/domain/pipeline"
)

// variables is a case-insensitive set.
type variables map[string]string

func (v variables) lookup(name string) (string, bool) {
	value, ok := v[strings.ToLower(name)]
	return value, ok
}

func (v variables) set(name, value string) { v[strings.ToLower(name)] = value }

func (v variables) add(values map[string]string) {
	for name, value := range values {
		v.set(name, value)
	}
}

// stageVariables are those a condition of the stage sees: those of the pipeline's
// settings, those given when the run was queued, predefined ones, the file's with
// their expressions computed, and the values of variable groups that are no
// secrets. What the file sets stands, whatever was given.
func (g *graph) stageVariables(stage *pipeline.Stage) variables {
	v, own := variables{}, variables{}
	v.add(g.settings)
	v.add(g.run.Variables)
	own.add(predefined(g.run))
	own.add(g.run.replaced(own))
	v.add(own) // expressions see them, and no variable takes their place
	rc := pipeline.RuntimeContext{}
	if stage != nil {
		rc.StageDependencies = g.jobsOfStages(stage.DependsOn)
	}
	g.addVariables(v, g.plan.Variables, &rc)
	if stage != nil {
		g.addVariables(v, stage.Variables, &rc)
	}
	v.add(own)
	return v
}

// Predefined says whether a name is of the kind that the service alone gives.
func Predefined(name string) bool {
	kind, _, dotted := strings.Cut(strings.ToLower(name), ".")
	return dotted && slices.Contains([]string{"agent", "build", "environment", "pipeline", "resources", "system"}, kind)
}

// replaced are the variables given for a run that stand for predefined ones: who
// queues a run may say what it is about.
func (r *Run) replaced(own variables) map[string]string {
	list := map[string]string{}
	for name, value := range r.Variables {
		if _, known := own.lookup(name); known || Predefined(name) {
			list[name] = value
		}
	}
	return list
}

// addVariables adds what a list declares, each seeing those before it. Without
// rc expressions stay as they are written, and so do those that have no value
// here: the job that uses them says why.
func (g *graph) addVariables(v variables, list []pipeline.Variable, rc *pipeline.RuntimeContext) {
	for _, x := range list {
		if x.Group != "" {
			for name, value := range g.groups {
				if group, short, ok := strings.Cut(name, "\x00"); ok && strings.EqualFold(group, x.Group) {
					v.set(short, value)
				}
			}
			continue
		}
		v.set(x.Name, x.Value)
		if rc == nil || !strings.HasPrefix(x.Value, "$[") {
			continue
		}
		rc.Slot, rc.Variables, rc.Now, rc.Parameters, rc.Resources = pipeline.SlotJobVariable, v.lookup, g.run.Queued, g.run.Parameters, g.resources()
		if g.next != nil {
			rc.Counter = g.counter
		}
		if value, err := pipeline.EvaluateExpression(x.Value, *rc); err == nil {
			v.set(x.Name, value)
		}
	}
}

// counter gives the number of a prefix: one in a run, whoever asks first.
func (g *graph) counter(prefix string, seed int) int {
	key := counterKey(g.run, prefix)
	if n, ok := g.run.Counters[key]; ok {
		return n
	}
	n := g.next(key, seed)
	if g.run.Counters == nil {
		g.run.Counters = map[string]int{}
	}
	g.run.Counters[key] = n
	if g.dirty != nil {
		g.dirty[g.run] = true
	}
	return n
}

// counterKey names a counter of a pipeline; the case of the prefix does not count.
func counterKey(r *Run, prefix string) string {
	return "counter/" + r.PipelineID + "/" + strings.ToLower(prefix)
}

// stageDependencies are the stages a stage depends on, directly or not.
func (g *graph) stageDependencies(names []string, into map[string]pipeline.Dependency) {
	for _, name := range names {
		s := g.stage(name)
		if s == nil {
			continue
		}
		if _, seen := into[s.Name]; seen {
			continue
		}
		outputs := map[string]string{}
		for _, p := range g.phases {
			if p.Stage == s.Name {
				for k, v := range g.outputsOf(p) {
					outputs[p.Name+"."+k] = v
				}
			}
		}
		into[s.Name] = pipeline.Dependency{Result: planResult[s.Result], Outputs: outputs}
		g.stageDependencies(s.DependsOn, into)
	}
}

// jobsOfStages are the jobs of the stages that a stage names in its dependsOn.
// Stages further back are not there, as on the service.
func (g *graph) jobsOfStages(names []string) map[string]map[string]pipeline.Dependency {
	all := map[string]map[string]pipeline.Dependency{}
	for _, name := range names {
		s := g.stage(name)
		if s == nil {
			continue
		}
		jobs := map[string]pipeline.Dependency{}
		for _, p := range g.phases {
			if p.Stage == s.Name && p.State == Completed {
				jobs[p.Name] = g.dependency(p)
			}
		}
		all[s.Name] = jobs
	}
	return all
}

// direct keeps the dependencies that are named; status functions look at all.
func direct(all map[string]pipeline.Dependency, names []string) map[string]pipeline.Dependency {
	some := map[string]pipeline.Dependency{}
	for name, d := range all {
		for _, n := range names {
			if strings.EqualFold(n, name) {
				some[name] = d
			}
		}
	}
	return some
}

func (g *graph) stageCondition(s *Stage) (bool, error) {
	spec := g.plan.Stage(s.Name)
	if spec == nil {
		return false, fault.New(fault.Internal, "plan-lost", "the plan has no stage %s", s.Name)
	}
	if g.unbegun() {
		return false, nil
	}
	all := map[string]pipeline.Dependency{}
	g.stageDependencies(s.DependsOn, all)
	return pipeline.EvaluateCondition(spec.Condition, pipeline.RuntimeContext{
		Slot: pipeline.SlotStageCondition, Variables: g.stageVariables(spec).lookup, Dependencies: direct(all, s.DependsOn), Ancestors: all,
		Canceled: g.run.CancelRequested, Now: g.run.Queued, Parameters: g.run.Parameters, Resources: g.resources()})
}

// unbegun says that the run is canceled before any job of it began: then it ends
// as a whole, whatever its conditions say. There is nothing to put in order.
func (g *graph) unbegun() bool {
	return g.run.CancelRequested && !slices.ContainsFunc(g.jobs, func(j *Job) bool { return !j.Started.IsZero() })
}

// dependency is a job as those that wait for it see it.
func (g *graph) dependency(p *Phase) pipeline.Dependency {
	return pipeline.Dependency{Result: planResult[p.Result], Outputs: g.outputsOf(p)}
}

func (g *graph) jobDependencies(stage *pipeline.Stage, names []string, into map[string]pipeline.Dependency) {
	for _, name := range names {
		p := g.phase(stage.Name, name)
		if p == nil {
			continue
		}
		spec := g.spec(p)
		if _, seen := into[p.Name]; seen {
			continue
		}
		into[p.Name] = g.dependency(p)
		g.jobDependencies(stage, spec.DependsOn, into)
	}
}

// resources are the repositories of the run as expressions see them.
func (g *graph) resources() map[string]any {
	repositories := map[string]any{"self": map[string]any{"ref": g.run.Branch, "version": g.run.Commit, "id": g.run.RepoID, "type": "git"}}
	for _, r := range g.plan.Resources.Repositories {
		repositories[r.Alias] = map[string]any{"name": r.Name, "ref": r.Ref, "type": r.Type}
	}
	return map[string]any{"repositories": repositories}
}

// jobContext is what expressions of a job see. The condition comes before the
// expressions of the job's own variables.
func (g *graph) jobContext(stage string, spec *pipeline.Job, slot pipeline.RuntimeSlot) pipeline.RuntimeContext {
	planned := g.plan.Stage(stage)
	all := map[string]pipeline.Dependency{}
	g.jobDependencies(planned, spec.DependsOn, all)
	rc := pipeline.RuntimeContext{Slot: slot, Dependencies: direct(all, spec.DependsOn), Ancestors: all,
		StageDependencies: g.jobsOfStages(planned.DependsOn), Canceled: g.stops(g.stage(stage).Started), Now: g.run.Queued, Parameters: g.run.Parameters, Resources: g.resources()}
	known := sync.OnceValue(func() variables {
		v, own := g.stageVariables(planned), rc
		if slot == pipeline.SlotJobCondition {
			g.addVariables(v, spec.Variables, nil)
		} else {
			g.addVariables(v, spec.Variables, &own)
		}
		return v
	})
	rc.Variables = func(name string) (string, bool) { return known().lookup(name) }
	return rc
}

// legContext is the context of one leg, whose variables are known.
func (g *graph) legContext(j *Job, spec *pipeline.Job, variables []Variable) pipeline.RuntimeContext {
	rc := g.jobContext(j.Stage, spec, pipeline.SlotJobVariable)
	set := make(map[string]string, len(variables))
	for _, v := range variables {
		set[strings.ToLower(v.Name)] = v.Value
	}
	rc.Variables = func(name string) (string, bool) {
		value, ok := set[strings.ToLower(name)]
		return value, ok
	}
	return rc
}

func (g *graph) jobCondition(s *Stage, spec *pipeline.Job) (bool, error) {
	if g.unbegun() {
		return false, nil
	}
	return pipeline.EvaluateCondition(spec.Condition, g.jobContext(s.Name, spec, pipeline.SlotJobCondition))
}

// ofLeg replaces the macros of a text that are variables of a leg.
func ofLeg(leg map[string]string, text string) string {
	v := variables{}
	v.add(leg)
	return pipeline.ExpandMacros(text, v.lookup)
}

// legs are the jobs a `job:` becomes: one, those of its matrix, or so many as
// parallel says.
func (g *graph) legs(s *Stage, spec *pipeline.Job) ([]pipeline.MatrixEntry, error) {
	st := spec.Strategy
	switch {
	case st == nil:
		return []pipeline.MatrixEntry{{Name: spec.Name}}, nil
	case st.Parallel > 1:
		var legs []pipeline.MatrixEntry
		for i := range st.Parallel {
			legs = append(legs, pipeline.MatrixEntry{Name: fmt.Sprintf("Job%d", i+1), Variables: map[string]string{
				"System.JobPositionInPhase": fmt.Sprint(i + 1), "System.TotalJobsInPhase": fmt.Sprint(st.Parallel)}})
		}
		return legs, nil
	case len(st.Matrix) > 0:
		return st.Matrix, nil
	case st.MatrixExpression == "":
		return []pipeline.MatrixEntry{{Name: spec.Name}}, nil
	}
	legs, err := pipeline.EvaluateMatrix(st.MatrixExpression, g.jobContext(s.Name, spec, pipeline.SlotJobVariable))
	if err != nil {
		return nil, fmt.Errorf("matrix: %w", err)
	}
	if len(legs) == 0 {
		return []pipeline.MatrixEntry{{Name: spec.Name}}, nil // a matrix without legs is no matrix
	}
	return legs, nil
}

// predefined are the variables the service sets for a run.
func predefined(r *Run) map[string]string {
	v := map[string]string{
		"Build.BuildId": r.ID, "Build.BuildNumber": r.Number, "Build.BuildUri": "vstfs:///Build/Build/" + r.ID,
		"Build.DefinitionName": r.Pipeline, "Build.DefinitionId": r.PipelineID, "Build.DefinitionVersion": "1",
		"Build.Reason": buildReason[r.Reason], "Build.QueuedBy": r.RequestedBy, "Build.RequestedFor": r.RequestedBy,
		"Build.RequestedForId": r.RequestedByID, "Build.QueuedById": r.RequestedByID, "Build.RequestedForEmail": r.RequestedEmail,
		"Build.SourceBranch": r.Branch, "Build.SourceBranchName": r.Branch[strings.LastIndex(r.Branch, "/")+1:],
		"Build.SourceVersion": r.Commit, "Build.SourceVersionAuthor": r.Author,
		"Build.Repository.ID": r.Origin.ID, "Build.Repository.Provider": r.Origin.Provider, "Build.Repository.Name": r.Origin.Name, "Build.Repository.Uri": r.Origin.URL,
		"Build.Repository.Clean":                 "False",
		"Build.Repository.Git.SubmoduleCheckout": "False", "Build.ContainerId": r.ID,
		"System": "build", "System.HostType": "build", "System.ServerType": "Hosted", "System.PipelineStartTime": r.Queued.UTC().Format("2006-01-02 15:04:05-07:00"),
		"System.DefinitionId": r.PipelineID, "System.DefinitionName": r.Pipeline, "System.TeamProjectId": r.ProjectID, "System.TeamProject": r.Project,
		"System.CollectionUri": r.Collection, "System.TeamFoundationCollectionUri": r.Collection, "System.TeamFoundationServerUri": r.Collection, "System.TaskDefinitionsUri": r.Collection,
		"System.CollectionId": id.From("collection", path.Base(r.Collection)), "System.EnableAccessToken": "SecretVariable",
		"System.IsScheduled": boolText(r.Reason == Schedule), "System.PullRequest.IsFork": "False", "TF_BUILD": "True",
		"resources.triggeringAlias": "", "resources.triggeringCategory": "",
	}
	if r.PR != nil {
		v["System.PullRequest.PullRequestId"] = fmt.Sprint(r.PullRequest)
		v["System.PullRequest.SourceBranch"] = r.PR.SourceBranch
		v["System.PullRequest.TargetBranch"] = r.PR.TargetBranch
		v["System.PullRequest.TargetBranchName"] = strings.TrimPrefix(r.PR.TargetBranch, "refs/heads/")
		v["System.PullRequest.SourceCommitId"] = r.PR.SourceCommit
		v["System.PullRequest.SourceRepositoryUri"] = r.Origin.URL
		if r.Origin.Provider == "GitHub" { // where branches have their short names
			v["System.PullRequest.PullRequestNumber"] = fmt.Sprint(r.PullRequest)
			v["System.PullRequest.SourceBranch"] = strings.TrimPrefix(r.PR.SourceBranch, "refs/heads/")
			v["System.PullRequest.TargetBranch"] = strings.TrimPrefix(r.PR.TargetBranch, "refs/heads/")
		}
	}
	for _, res := range r.Resources {
		p := "resources.pipeline." + res.Alias + "."
		for name, value := range map[string]string{"projectID": res.ProjectID, "pipelineName": res.Pipeline, "pipelineID": res.PipelineID,
			"runName": res.Number, "runID": res.RunID, "runURI": "vstfs:///Build/Build/" + res.RunID, "sourceBranch": res.Branch,
			"sourceCommit": res.Commit, "sourceProvider": "TfsGit", "requestedFor": res.Requester, "requestedForID": ""} {
			v[p+name] = value
		}
		if r.Reason == ResourceTrigger && res.RunID == r.TriggeredBy {
			v["resources.triggeringAlias"], v["resources.triggeringCategory"] = res.Alias, "pipeline"
			v["Build.TriggeredBy.BuildId"], v["Build.TriggeredBy.DefinitionName"], v["Build.TriggeredBy.BuildNumber"] = res.RunID, res.Pipeline, res.Number
			v["Build.TriggeredBy.DefinitionId"], v["Build.TriggeredBy.ProjectID"] = res.PipelineID, res.ProjectID
		}
	}
	return v
}

// boolText is how the service writes a boolean.
func boolText(b bool) string {
	if b {
		return "True"
	}
	return "False"
}

var buildReason = map[Reason]string{Manual: "Manual", IndividualCI: "IndividualCI", BatchedCI: "BatchedCI",
	PullRequestReason: "PullRequest", ResourceTrigger: "ResourceTrigger", Schedule: "Schedule"}
