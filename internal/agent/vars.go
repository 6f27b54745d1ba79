package agent

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"penstock.dev/penstock/internal/agent/nodetask"
	"penstock.dev/penstock/internal/agent/process"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/base/mask"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/run"
)

// assignment is a variable that a step sets.
type assignment struct {
	run.Variable
	preserveCase bool // in the environment
}

// Lookup returns a variable, ignoring case.
func (j *job) Lookup(name string) (string, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	v, ok := j.vars[strings.ToLower(name)]
	return v.Value, ok
}

func (j *job) isTrue(name string) bool {
	v, _ := j.Lookup(name)
	return strings.EqualFold(strings.TrimSpace(v), "true")
}

// addSecret masks a value from now on. The warning is not empty where it is too
// short for that; it is given once in a job.
func (j *job) addSecret(value string) (warning string) {
	if j.masker.Add(value) == 0 {
		return ""
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.shortSaid {
		return ""
	}
	j.shortSaid = true
	return "a secret of this job has " + tooShort
}

// tooShort says why a secret is not masked.
var tooShort = fmt.Sprintf("fewer than %d characters and is not masked in logs: values that short occur in ordinary text. Use a longer one", mask.MinLength)

// warnOfShort names, once, the variables that the job came with and that cannot be
// masked.
func (j *job) warnOfShort(s *step) {
	if len(j.short) == 0 {
		return
	}
	slices.Sort(j.short)
	s.Issue("warning", "secret variable "+strings.Join(j.short, ", ")+" has "+tooShort)
	j.short, j.shortSaid = nil, true
}

// set gives a variable a value for the steps that follow.
func (j *job) set(a assignment) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.writable(a.Name); err != nil {
		return err
	}
	j.keep(a)
	return nil
}

// setOutput sets an output variable, which others cannot. Its own step may set it
// as often as it likes, also when it is tried again: as on the service it is the
// plain name that must not be read-only.
func (j *job) setOutput(plain string, a assignment) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.writable(plain); err != nil {
		return err
	}
	j.keep(a)
	return nil
}

// reserved are the variables that no command may set, whether a job has them or
// not: agents read them.
var reserved = strings.Fields(`agent.acceptteeeula agent.builddirectory agent.cainfo agent.clean.builddirectory agent.clientcert agent.clientcertarchive
	agent.clientcertkey agent.clientcertpassword agent.cloudid agent.containerid agent.containermapping agent.containernetwork agent.diagnostic agent.gituseschannel
	agent.homedirectory agent.id agent.isselfhosted agent.jobname agent.jobstatus agent.machinename agent.name agent.os agent.osarchitecture agent.osversion
	agent.proxybypasslist agent.proxypassword agent.proxyurl agent.proxyusername agent.readonlyvariables agent.retaindefaultencoding agent.rootdirectory agent.runmode
	agent.serveromdirectory agent.services agent.skipcertvalidation agent.source.git.lfs agent.source.git.shallowfetchdepth agent.source.skip agent.tempdirectory
	agent.toolsdirectory agent.usebasicauthforproxy agent.version agent.workfolder agent.workingdirectory build.artifactstagingdirectory build.binariesdirectory
	build.buildnumber build.clean build.definitionname build.repository.clean build.repository.git.submodulecheckout build.repository.id build.repository.localpath
	build.repository.name build.repository.provider build.repository.uri build.sourcebranch build.sourcesdirectory build.sourceversion build.sourceversionauthor
	build.sourceversionmessage build.stagingdirectory build.syncsources common.testresultsdirectory fix_possible_git_out_of_memory_problem pipeline.repository.name
	pipeline.workspace system.accesstoken system.artifactsdirectory system.collectionid system.culture system.debug system.defaultworkingdirectory
	system.definitionid system.definitionname system.enableaccesstoken system.hosttype system.isazurevm system.isdockercontainer system.jobattempt
	system.jobdisplayname system.jobid system.jobname system.phaseattempt system.phasedisplayname system.phasename system.planid system.prefergitfrompath
	system.pullrequest.targetbranch system.selfmanagegitcreds system.servertype system.sourceversionmessage system.stageattempt system.stagedisplayname
	system.stagename system.teamproject system.teamprojectid system.workfolder task.displayname use_git_long_paths use_git_single_thread`)

// writable refuses a read-only variable; j.mu is held.
func (j *job) writable(name string) error {
	key := strings.ToLower(name)
	if !j.vars[key].ReadOnly && !slices.Contains(reserved, key) {
		return nil
	}
	return fault.New(fault.Invalid, "variable-readonly", "variable %s is read-only and cannot be overwritten", name).Try("choose another name")
}

// keep stores a variable; what was secret or read-only stays so. j.mu is held.
func (j *job) keep(a assignment) {
	key := strings.ToLower(a.Name)
	old := j.vars[key]
	a.ReadOnly = a.ReadOnly || old.ReadOnly
	if old.Secret {
		a.Secret = true // a secret stays one
	}
	if a.Secret {
		j.masker.Add(a.Value)
	}
	j.vars[key] = a.Variable
	j.note(key, a.Variable)
	if a.preserveCase {
		j.keepCase[key] = true
	}
}

// note remembers a value that refers to others as it was set; j.mu is held.
func (j *job) note(key string, v run.Variable) {
	if strings.Contains(v.Value, "$(") {
		j.written[key] = v
	} else {
		delete(j.written, key)
	}
}

// resolve replaces the macros in the values of variables, so that processes and
// conditions see whole ones. As on the service it is done anew before each step:
// what an earlier step has set counts, and what it has set may refer to others.
// What refers to a secret is one.
func (j *job) resolve() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for key, v := range j.written {
		v.Value = pipeline.ExpandMacros(v.Value, func(name string) (string, bool) {
			other, ok := j.written[strings.ToLower(name)]
			if !ok {
				other, ok = j.vars[strings.ToLower(name)]
			}
			v.Secret = v.Secret || other.Secret
			return other.Value, ok
		})
		if j.vars[key] = v; v.Secret {
			j.masker.Add(v.Value)
		}
	}
}

// put sets a variable that the agent itself looks after.
func (j *job) put(name, value string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	v := run.Variable{Name: name, Value: value, ReadOnly: true}
	j.vars[strings.ToLower(name)] = v
	j.note(strings.ToLower(name), v)
}

func (j *job) folders() map[string]string {
	in := func(name string) string { return filepath.Join(j.dir, name) }
	arch := map[string]string{"amd64": "X64", "arm64": "ARM64", "386": "X86", "arm": "ARM"}[runtime.GOARCH]
	system := map[string]string{"linux": "Linux", "darwin": "Darwin", "windows": "Windows_NT"}[runtime.GOOS]
	host, _ := os.Hostname()
	tools := cmp.Or(os.Getenv("AGENT_TOOLSDIRECTORY"), j.machine.ToolCache, filepath.Join(j.machine.Work, "_tool"))
	v := map[string]string{
		"Pipeline.Workspace": j.dir, "Agent.BuildDirectory": j.dir, "Agent.WorkFolder": j.machine.Work, "Agent.RootDirectory": j.machine.Work, "Agent.HomeDirectory": filepath.Dir(j.machine.Work),
		"Build.SourcesDirectory": in("s"), "Build.Repository.LocalPath": in("s"), "System.DefaultWorkingDirectory": in("s"),
		"Build.ArtifactStagingDirectory": in("a"), "Build.StagingDirectory": in("a"), "System.ArtifactsDirectory": in("a"),
		"Build.BinariesDirectory": in("b"), "Common.TestResultsDirectory": in("TestResults"), "Agent.TempDirectory": j.temp,
		"Agent.ToolsDirectory": tools, "Agent.Name": j.machine.AgentName, "Agent.Id": j.machine.AgentID, "Agent.MachineName": host,
		"Agent.OS": system, "Agent.OSArchitecture": arch, "Agent.JobName": j.m.DisplayName, "Agent.Version": nodetask.AgentVersion,
		"Agent.JobStatus": "Succeeded", "System.WorkFolder": j.machine.Work, "Agent.IsSelfHosted": "1",
	}
	return v
}

// Variables of the agent's own process that are none of a step's business: its
// configuration, and what its service manager told it.
var (
	ownPrefixes = []string{"PENSTOCK_", "VSTS_AGENT_INPUT_", "LISTEN_"}
	ownNames    = []string{"VSTS_HTTP_PROXY_PASSWORD", "NOTIFY_SOCKET", "INVOCATION_ID", "JOURNAL_STREAM", "CREDENTIALS_DIRECTORY", "MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE", "SYSTEMD_EXEC_PID", "WATCHDOG_PID", "WATCHDOG_USEC"}
)

func passedOn(name string) bool {
	return !slices.Contains(ownNames, name) && !slices.ContainsFunc(ownPrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

// environ is an environment as it grows; names of Windows ignore case.
type environ struct {
	values map[string]string
	names  map[string]string // folded name → name as set last
}

func (e *environ) key(name string) string {
	if runtime.GOOS == "windows" {
		return strings.ToUpper(name)
	}
	return name
}

func (e *environ) get(name string) string { return e.values[e.names[e.key(name)]] }

func (e *environ) set(name, value string) {
	key := e.key(name)
	if old, ok := e.names[key]; ok {
		delete(e.values, old)
	}
	e.names[key], e.values[name] = name, value
}

// environment is what a step's processes get, what comes later wins: the
// agent's own environment, the step's env, then the variables that are not
// secret. A variable therefore beats an entry of env with its name, as on the
// service.
func (j *job) environment(step map[string]string) []string {
	return j.environmentOn(os.Environ(), step)
}

// environmentOn is environment on another base than the agent's own.
func (j *job) environmentOn(base []string, step map[string]string) []string {
	env := &environ{values: map[string]string{}, names: map[string]string{}}
	for _, pair := range base {
		if name, value, ok := strings.Cut(pair, "="); ok && passedOn(name) {
			env.set(name, value)
		}
	}
	for name, value := range step {
		env.set(strings.TrimSpace(name), strings.TrimSpace(pipeline.ExpandMacros(value, j.lookupOrOS)))
	}
	j.mu.Lock()
	names := make([]string, 0, len(j.vars))
	for key := range j.vars {
		names = append(names, key)
	}
	slices.Sort(names) // two variables may have one name here
	for _, key := range names {
		switch v := j.vars[key]; {
		case v.Secret:
		case j.keepCase[key]:
			env.set(envReplacer.Replace(v.Name), v.Value)
		default:
			env.set(envName(v.Name), v.Value)
		}
	}
	paths := strings.Join(j.paths, string(os.PathListSeparator))
	j.mu.Unlock()
	for name, value := range j.fixed() {
		env.set(name, value)
	}
	if env.get("GIT_TERMINAL_PROMPT") == "" {
		env.set("GIT_TERMINAL_PROMPT", "0") // nobody could answer it
	}
	env.set(process.Marker, j.mark)
	if paths != "" {
		if old := env.get("PATH"); old != "" {
			paths += string(os.PathListSeparator) + old
		}
		env.set("PATH", paths)
	}
	list := make([]string, 0, len(env.values))
	for k, v := range env.values {
		if k != "" && !strings.ContainsAny(k, "=\x00") && !strings.Contains(v, "\x00") {
			list = append(list, k+"="+v)
		}
	}
	slices.Sort(list)
	return list
}

// fixed is what the environment has beside variables, as on the service.
func (j *job) fixed() map[string]string {
	value := func(name string) string {
		v, _ := j.Lookup(name)
		return v
	}
	client := fmt.Sprintf("VSTS_%s_%s_%s_0", value("System.CollectionId"), value("System.HostType"), value("System.DefinitionId"))
	return map[string]string{"TF_BUILD": "True", "agent.jobstatus": value("Agent.JobStatus"), "ENDPOINT_URL_SYSTEMVSSCONNECTION": value("System.TeamFoundationCollectionUri"),
		"AZURE_HTTP_USER_AGENT": client, "MSDEPLOY_HTTP_USER_AGENT": client}
}

// name makes the variables of the step that is next, those among them that say
// which one it is.
func (s *step) name() {
	s.resolve()
	title := s.title(s.spec)
	s.put("Task.DisplayName", title)
	s.put("System.TaskDisplayName", title)
	s.put("System.TaskInstanceName", s.ref)
	s.put("System.TaskInstanceId", s.instance())
}

// instance is the id of the step's record in the timeline.
func (s *step) instance() string { return id.From("step", s.m.JobID, strconv.Itoa(s.order)) }

// warnOfPath says once that a variable has taken the place of PATH with
// something that cannot be one: nothing is found after that.
func (j *job) warnOfPath(s *step) {
	value, ok := j.Lookup("PATH")
	if !ok || j.pathSaid {
		return
	}
	for _, dir := range filepath.SplitList(value) {
		if info, err := os.Stat(dir); err == nil && info.IsDir() && filepath.IsAbs(dir) {
			return
		}
	}
	j.pathSaid = true
	s.Issue("warning", "a variable called path replaces PATH in the environment of steps, and it names no folder: programs are not found. Give the variable another name")
}

// lookupOrOS is what macros in inputs, and in the environment of a step, stand
// for: variables, and what the agent's own environment has.
func (j *job) lookupOrOS(name string) (string, bool) {
	if v, ok := j.Lookup(name); ok {
		return v, true
	}
	if !passedOn(name) {
		return "", false
	}
	return os.LookupEnv(name)
}

var envReplacer = strings.NewReplacer(".", "_", " ", "_")

// envName is how a variable's name stands in the environment.
func envName(name string) string { return strings.ToUpper(envReplacer.Replace(name)) }
