package agent

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/run"
)

// fakeEngine is an engine that notes its arguments and runs what is to run in a
// container right here.
const fakeEngine = `#!/bin/bash
echo "$*" >>"$ENGINE_LOG"
case "$1 $2" in
"version --format") echo 1.0 ;;
"image inspect") [[ $* != *missing* ]] ;;
"pull "*) printf "trying\nno such image\n" >&2; exit 1 ;;
"port "*) echo "5432/tcp -> 0.0.0.0:40001" ;;
"inspect --format") [[ $* == *-0 ]] && echo "running healthy" || echo "running ${HEALTH:-}" ;;
"create --name") [[ -n ${ENGINE_LOG} ]] ;;
"logs --tail") echo last words ;;
"exec "*)
  shift; dir=.
  while :; do case "$1" in --interactive) shift ;; --user) shift 2 ;; --workdir) dir=$2; shift 2 ;; --env) shift 2 ;; *) break ;; esac; done
  shift; cd "$dir" && IN_CONTAINER=yes exec "$@" ;;
esac
`

func inContainers(t *testing.T, m *run.JobMessage, health string, after func(time.Duration) <-chan time.Time) (text string, rep run.JobReport, engine string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"docker", "podman"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(fakeEngine), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	log := filepath.Join(dir, "log")
	t.Setenv("ENGINE_LOG", log)
	t.Setenv("HEALTH", health)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	link := newMemory()
	m.JobID, m.PipelineID = "j", "1"
	rep = RunJob(context.Background(), m, Machine{AgentName: "a", Work: t.TempDir(), Outcomes: link, After: after}, link)
	for i := range m.Steps {
		text += link.logs[i+1]
	}
	said, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	return text, rep, string(said)
}

func TestContainers(t *testing.T) {
	m := &run.JobMessage{Container: "tools", Services: map[string]string{"db": "postgres", "other": "postgres", "helper": "tools"}, Variables: []run.Variable{{Name: "color", Value: "blue"}, {Name: "key", Value: "hunter-22", Secret: true}},
		Containers: map[string]pipeline.ContainerResource{
			"tools":    {Alias: "tools", Image: "tools:$(color)", Options: `--hostname "a b"`, Env: map[string]string{"KEY": "$(key)", "ENGINE_LOG": ""}},
			"postgres": {Alias: "postgres", Image: "postgres:17", Ports: []string{"5432"}}},
		Steps: []pipeline.Step{
			{Task: "Bash", Version: "3", Condition: "succeeded()", Inputs: map[string]string{"targetType": "inline", "script": `echo "in $IN_CONTAINER, color $COLOR, mapped $MAPPED, ports $AGENT_SERVICES_DB_PORTS_5432 $AGENT_SERVICES_OTHER_PORTS_5432, id ${AGENT_CONTAINERID##*-} in ${AGENT_CONTAINERNETWORK%-*}, home $HOME"; echo "##vso[task.setvariable variable=made]inside"`}, Env: map[string]string{"MAPPED": "$(key)"}},
			{Task: "Bash", Version: "3", Condition: "succeeded()", Target: "host", Inputs: map[string]string{"targetType": "inline", "script": `echo "out ${IN_CONTAINER:-side}, made $(made)"`}},
		}}
	log, report, said := inContainers(t, m, "healthy", nil)
	if report.Result != run.Succeeded {
		t.Fatalf("%+v\n%s\n%s", report, log, said)
	}
	for _, want := range []string{"in yes, color blue, mapped ***, ports 40001 40001, id 3 in penstock-", "home " + os.Getenv("HOME"), "out side, made inside"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
	for _, want := range []string{"network create", "-0 --label", "--network-alias db --publish 5432 --volume", "--network-alias helper --hostname a b", "--network-alias other --publish 5432 --volume", ":/__t postgres:17\nstart", ":/__t tools:blue\nstart", "--env ENGINE_LOG", "--env KEY", "--entrypoint tail tools:blue", "kill penstock-", "rm --force --volumes penstock-", "network rm penstock-"} {
		if !strings.Contains(said, want) {
			t.Errorf("the engine was not told %q:\n%s", want, said)
		}
	}
	if n := strings.Count(said, "create --name"); n != 4 || strings.Contains(said, "--network-alias postgres") || strings.Contains(said, "--network-alias tools") {
		t.Errorf("%d containers, or a name that none has:\n%s", n, said)
	}
	if strings.Contains(said, "hunter-22") || strings.Contains(log, "hunter-22") {
		t.Errorf("a value stands in the arguments:\n%s", said)
	}
}

// A command in a container names files as they are called there, and none of the
// machine's others.
func TestFilesThatAContainerNames(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("of the machine"), 0o600); err != nil {
		t.Fatal(err)
	}
	inline := func(script string) pipeline.Step {
		return pipeline.Step{Task: "Bash", Version: "3", Condition: "always()", Inputs: map[string]string{"targetType": "inline", "script": script}}
	}
	leak := "echo '##vso[task.uploadfile]'" + outside
	host := inline(leak)
	host.Target = "host"
	m := &run.JobMessage{Container: "a", Containers: map[string]pipeline.ContainerResource{"a": {Alias: "a", Image: "a"}}, Steps: []pipeline.Step{
		inline("cd \"$AGENT_TEMPDIRECTORY\"; echo x > f; ln -s " + outside + " l; echo '##vso[task.uploadfile]/__w/_temp/f'; echo \"##vso[task.uploadfile]$PWD/f\"; echo \"##vso[task.logissue type=error;sourcepath=/__w/1/s/a.c;linenumber=1]no\""),
		inline(leak), inline("echo '##vso[task.uploadfile]/__w/_temp/l'"), inline("echo '##vso[task.uploadfile]/__w/../outside'"), host,
	}}
	m.Steps[0].ContinueOnError = true
	log, report, _ := inContainers(t, m, "healthy", nil)
	if n := strings.Count(log, "shares the job's folders"); n != 2 || strings.Count(log, "Path does not exist") != 1 || report.Result != run.Failed {
		t.Errorf("%d files are refused, %s\n%s", n, report.Result, log)
	}
	if !strings.Contains(log, "##[error]a.c(1,): error : no") || strings.Count(log, "uploadfile] failed") != 3 {
		t.Errorf("%s", log)
	}
}

// atOnce spares the waits between attempts.
func atOnce(time.Duration) <-chan time.Time {
	now := make(chan time.Time, 1)
	now <- time.Time{}
	return now
}

func TestContainersThatDoNotStart(t *testing.T) {
	step := pipeline.Step{Task: "Bash", Version: "3", Condition: "succeeded()", Inputs: map[string]string{"targetType": "inline", "script": `echo "r""an"`}}
	always := step
	always.Condition = "always()"
	for name, c := range map[string]struct {
		m      run.JobMessage
		health string
		want   string
	}{
		"no image":              {m: run.JobMessage{Container: "a", Containers: map[string]pipeline.ContainerResource{"a": {Image: "missing", LocalImage: true}}}, want: "image missing is not on this machine"},
		"no pull":               {m: run.JobMessage{Container: "a", Containers: map[string]pipeline.ContainerResource{"a": {Image: "missing"}}}, want: "pull failed: exit status 1 (found no such image)"},
		"unknown":               {m: run.JobMessage{Container: "a"}, want: "there is no container a"},
		"a service that is ill": {m: run.JobMessage{Container: "b", Services: map[string]string{"a": "a"}, Containers: map[string]pipeline.ContainerResource{"b": {Image: "b"}, "a": {Image: "a"}}}, health: "unhealthy", want: ""},
	} {
		t.Run(name, func(t *testing.T) {
			c.m.Steps = []pipeline.Step{step, step, always}
			if name == "a service that is ill" { // the fake calls the first one healthy whatever it is
				c.m.Services = map[string]string{"x": "x", "a": "a"}
				c.m.Containers["x"] = pipeline.ContainerResource{Image: "x"}
				c.want = "is unhealthy"
			}
			log, report, said := inContainers(t, &c.m, c.health, atOnce)
			if report.Result != run.Failed || strings.Contains(log, " ran\n") && c.health == "" || !strings.Contains(log, c.want) {
				t.Errorf("%+v, want %q\n%s", report, c.want, log)
			}
			if strings.Contains(said, "network create") != strings.Contains(said, "network rm") {
				t.Errorf("the network stays:\n%s", said)
			}
		})
	}
}
