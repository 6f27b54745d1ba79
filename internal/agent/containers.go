package agent

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"penstock.dev/penstock/internal/agent/process"
	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
)

// containers are those of one job: the one that its steps run in, those that
// steps name as their target, and its services, on a network of their own.
type containers struct {
	engine  string // docker or podman
	network string
	label   string
	running map[string]*container // that steps run in, by alias
	service map[string]*container // by the service's name
}

// container is one that runs.
type container struct {
	name  string
	alias string
	path  string            // PATH inside
	found map[string]string // programs that were looked for
}

// hostTarget is the word with which a step of a container job stays outside.
const hostTarget = "host"

// wanted are the aliases of containers that steps of the job run in.
func (j *job) wanted() []string {
	var list []string
	add := func(alias string) {
		if alias != "" && !strings.EqualFold(alias, hostTarget) && !slices.Contains(list, alias) {
			list = append(list, alias)
		}
	}
	add(j.m.Container)
	for _, s := range j.m.Steps {
		add(s.Target)
	}
	return list
}

// startContainers makes them, and says so in the log of a step.
func (j *job) startContainers(ctx context.Context, s *step) error {
	wanted, services := j.wanted(), slices.Sorted(maps.Keys(j.m.Services))
	if len(wanted)+len(services) == 0 {
		return nil
	}
	s.Print("##[section]Initialize containers")
	engine, err := s.engine(ctx)
	if err != nil {
		return err
	}
	j.containers = &containers{engine: engine, network: "penstock-" + strings.TrimPrefix(j.mark, "vsts_"), label: "penstock.work=" + j.machine.Work,
		running: map[string]*container{}, service: map[string]*container{}}
	if old, err := s.ask(ctx, "ps", "--all", "--quiet", "--filter", "label="+j.containers.label); err == nil && old != "" { // of a job that was killed
		_, _ = s.ask(ctx, append([]string{"rm", "--force", "--volumes"}, strings.Fields(old)...)...)
	}
	if err := s.tell(ctx, nil, "network", "create", "--label", j.containers.label, j.containers.network); err != nil {
		return err
	}
	j.put("Agent.ContainerNetwork", j.containers.network)
	for _, name := range services { // each is a container of its own, also where two have one image
		if err := s.startContainer(ctx, j.m.Services[name], name); err != nil {
			return err
		}
	}
	for _, alias := range wanted {
		if err := s.startContainer(ctx, alias, ""); err != nil {
			return err
		}
	}
	if c := j.containers.running[j.m.Container]; c != nil {
		j.put("Agent.ContainerId", c.name)
	}
	for _, name := range services {
		if err := s.healthy(ctx, name, j.containers.service[name]); err != nil {
			return err
		}
	}
	return nil
}

// EngineError says why no job can run in a container here; nil = an engine
// answers.
func EngineError(ctx context.Context) error {
	_, _, err := findEngine(ctx, exec.LookPath)
	return err
}

// engine finds one that answers.
func (s *step) engine(ctx context.Context) (string, error) {
	path, version, err := findEngine(ctx, s.findHere)
	if err == nil {
		s.Print(version)
	}
	return path, err
}

func findEngine(ctx context.Context, find func(program string) (string, error)) (path, version string, err error) {
	var problems []string
	for _, name := range []string{"docker", "podman"} {
		path, err := find(name)
		if err != nil {
			problems = append(problems, name+" is not installed")
			continue
		}
		format := "{{.Server.Version}}"
		if name == "podman" {
			format = "{{.Client.Version}}"
		}
		cmd := exec.CommandContext(ctx, path, "version", "--format", format)
		var text bytes.Buffer
		cmd.Stderr = &text
		if out, err := cmd.Output(); err == nil && strings.TrimSpace(string(out)) != "" {
			return path, fmt.Sprintf("%s %s", name, strings.TrimSpace(string(out))), nil
		}
		problems = append(problems, name+" does not answer: "+strings.TrimSpace(text.String()))
	}
	return "", "", fault.New(fault.Unavailable, "no-engine", "the job needs containers, and this machine has no engine for them").Got("%s", strings.Join(problems, "; ")).
		Try("install Docker or Podman on the agent's machine, and let the agent's user use it")
}

// ask runs the engine and returns what it prints.
func (s *step) ask(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.containers.engine, args...)
	var problem bytes.Buffer
	cmd.Stderr = &problem
	out, err := cmd.Output()
	if err != nil {
		err = fault.Wrap(err, fault.Unavailable, "engine-failed", "%s %s: %s", filepath.Base(s.containers.engine), args[0], strings.TrimSpace(problem.String()))
	}
	return strings.TrimSpace(string(out)), err
}

// tell runs the engine and shows what it does. Values of env reach it by its
// environment: they may be secret.
func (s *step) tell(ctx context.Context, env []string, args ...string) error {
	s.Print("##[command]" + filepath.Base(s.containers.engine) + " " + strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, s.containers.engine, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if text != "" {
		s.Print(text)
	}
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "engine-failed", "%s %s failed", filepath.Base(s.containers.engine), args[0]).Got("%s", text[strings.LastIndexByte(text, '\n')+1:])
	}
	return nil
}

// startContainer makes one for steps, or the service of a name.
func (s *step) startContainer(ctx context.Context, alias, service string) error {
	spec, known := s.m.Containers[alias]
	if !known {
		return fault.New(fault.Invalid, "no-container", "there is no container %s", alias).Try("declare it under resources: containers:")
	}
	image := pipeline.ExpandMacros(spec.Image, s.Lookup)
	if err := s.pull(ctx, image, spec); err != nil {
		return err
	}
	c := &container{name: s.containers.network + "-" + strconv.Itoa(len(s.containers.running)+len(s.containers.service)), alias: alias}
	args := []string{"create", "--name", c.name, "--label", s.containers.label, "--network", s.containers.network}
	if service != "" {
		args = append(args, "--network-alias", service)
	}
	for _, port := range spec.Ports {
		args = append(args, "--publish", pipeline.ExpandMacros(port, s.Lookup))
	}
	options, err := task.Words(pipeline.ExpandMacros(spec.Options, s.Lookup))
	if err != nil {
		return err
	}
	args = append(args, options...)
	var env []string
	for name, value := range spec.Env {
		args = append(args, "--env", name)
		if value = pipeline.ExpandMacros(value, s.Lookup); value != "" { // one without a value has the machine's
			env = append(env, name+"="+value)
		}
	}
	for _, v := range spec.Volumes {
		args = append(args, "--volume", pipeline.ExpandMacros(v, s.Lookup))
	}
	args = append(args, s.mounts(spec)...)
	if service == "" {
		args = append(args, s.socket(spec)...)
		args = append(args, "--entrypoint", "tail", image, "-f", "/dev/null") // it lives until it is removed
		s.containers.running[alias] = c
	} else {
		args = append(args, image)
		s.containers.service[service] = c
	}
	if err := s.tell(ctx, env, args...); err != nil {
		return err
	}
	if err := s.tell(ctx, nil, "start", c.name); err != nil {
		return err
	}
	if service != "" {
		return s.ports(ctx, service, c)
	}
	return s.enter(ctx, c)
}

// mounts are what a container of the job sees of the machine: the work folder and the
// tools, at their own paths and at those that the service's agent has.
func (s *step) mounts(spec pipeline.ContainerResource) []string {
	mode := func(kind string) string {
		if slices.Contains(spec.MountReadOnly, kind) {
			return ":ro"
		}
		return ""
	}
	tools, _ := s.Lookup("Agent.ToolsDirectory")
	work := s.machine.Work
	_ = os.MkdirAll(tools, 0o755)
	args := []string{"--volume", work + ":" + work + mode("work"), "--volume", work + ":/__w" + mode("work"), "--volume", tools + ":" + tools + mode("tools"), "--volume", tools + ":/__t" + mode("tools")}
	for _, dir := range filepath.SplitList(s.machine.NodeFolder) {
		args = append(args, "--volume", dir+":"+dir+":ro")
	}
	return args
}

// socket lets steps use the machine's engine, unless the file says no.
func (s *step) socket(spec pipeline.ContainerResource) []string {
	const socket = "/var/run/docker.sock"
	if _, err := os.Stat(socket); err != nil || spec.NoDockerSocket {
		return nil
	}
	return []string{"--volume", socket + ":" + socket}
}

// pull fetches an image that is not here, three times at most.
func (s *step) pull(ctx context.Context, image string, spec pipeline.ContainerResource) error {
	if _, err := s.ask(ctx, "image", "inspect", "--format", "{{.Id}}", image); err == nil {
		return nil
	} else if spec.LocalImage {
		return fault.Wrap(err, fault.NotFound, "no-image", "image %s is not on this machine, and localImage says not to fetch it", image)
	}
	config, err := s.registryLogin(ctx, spec)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(config) }()
	for n := range 3 {
		if n > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-s.machine.After(time.Duration(n*n) * time.Second):
			}
		}
		if err = s.tell(ctx, registryAccess(config), "pull", image); err == nil {
			return nil
		}
	}
	return err
}

// enter learns what PATH is inside and makes the agent's user known there.
func (s *step) enter(ctx context.Context, c *container) (err error) {
	if c.path, err = s.ask(ctx, "exec", c.name, "sh", "-c", "echo $PATH"); err != nil {
		return err
	}
	if uid := os.Getuid(); uid > 0 {
		_, _ = s.ask(ctx, "exec", "--user", "0", c.name, "useradd", "--create-home", "--uid", strconv.Itoa(uid), "penstock")
	}
	return nil
}

// ports tells the job on which ports of this machine its services are.
func (s *step) ports(ctx context.Context, service string, c *container) error {
	text, err := s.ask(ctx, "port", c.name)
	if err != nil {
		return err
	}
	for line := range strings.Lines(text) {
		inside, outside, ok := strings.Cut(strings.TrimSpace(line), " -> ")
		port, _, _ := strings.Cut(inside, "/")
		if i := strings.LastIndexByte(outside, ':'); ok && i >= 0 {
			s.put("Agent.Services."+service+".Ports."+port, outside[i+1:])
		}
	}
	return nil
}

// healthy waits for a service whose image says how to tell.
func (s *step) healthy(ctx context.Context, service string, c *container) error {
	for n := 1; ; n++ {
		state, err := s.ask(ctx, "inspect", "--format", "{{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{end}}", c.name)
		if err != nil {
			return err
		}
		status, health, _ := strings.Cut(state, " ")
		switch {
		case health == "unhealthy" || status == "exited" || status == "stopped" || status == "dead":
			logs, _ := s.ask(ctx, "logs", "--tail", "30", c.name)
			s.Print(logs)
			return fault.New(fault.Unavailable, "service-unhealthy", "service container %s is %s", service, cmp.Or(health, status)).Try("look at its last lines above")
		case health == "" || health == "healthy":
			return nil
		}
		s.Print(fmt.Sprintf("%s is %s", service, health))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.machine.After(time.Duration(min(n, 10)) * time.Second):
		}
	}
}

// stopContainers removes them with their network, whatever became of the job.
func (j *job) stopContainers(s *step) {
	c := j.containers
	if c == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	s.Print("##[section]Stop Containers")
	var names []string
	for _, one := range c.all() {
		names = append(names, one.name)
	}
	if len(names) > 0 {
		_, _ = s.ask(ctx, append([]string{"kill"}, names...)...) // what it does is not wanted any more
		if err := s.tell(ctx, nil, append([]string{"rm", "--force", "--volumes"}, names...)...); err != nil {
			s.Issue("warning", message(err))
		}
	}
	if err := s.tell(ctx, nil, "network", "rm", c.network); err != nil {
		s.Issue("warning", message(err))
	}
}

// inside is the container that the step's programs run in; nil = the machine.
// Sources are brought by the machine.
func (s *step) inside() (*container, error) {
	alias := s.m.Container
	switch {
	case s.spec.Task == pipeline.TaskCheckout || strings.EqualFold(s.spec.Target, hostTarget):
		return nil, nil
	case s.spec.Target != "":
		alias = s.spec.Target
	}
	if alias == "" {
		return nil, nil
	}
	if s.containers == nil || s.containers.running[alias] == nil {
		return nil, fault.New(fault.Unavailable, "no-container", "container %s does not run", alias).Try("see why at the first step of the job")
	}
	return s.containers.running[alias], nil
}

// findInside looks for a program where the step runs.
func (s *step) findInside(c *container, program string) (string, error) {
	if strings.Contains(program, "/") {
		return program, nil
	}
	if path, known := c.found[program]; known {
		return path, nil
	}
	path := c.path
	if len(s.paths) > 0 {
		path = strings.Join(s.paths, ":") + ":" + path
	}
	where, err := s.ask(s.current(), "exec", "--env", "PATH="+path, c.name, "sh", "-c", `command -v -- "$0"`, program)
	if err != nil || !strings.HasPrefix(where, "/") {
		return "", exec.ErrNotFound
	}
	if c.found == nil {
		c.found = map[string]string{}
	}
	c.found[program] = where
	return where, nil
}

// within makes the command of the engine that runs a command in a container.
// Values travel by the engine's environment, only names stand in its arguments.
func (s *step) within(c *container, command task.Command, environment []string) *exec.Cmd {
	args := []string{"exec", "--interactive", "--user", strconv.Itoa(os.Getuid()) + ":" + strconv.Itoa(os.Getgid())}
	if command.Dir != "" {
		args = append(args, "--workdir", command.Dir)
	}
	env := os.Environ()
	for _, pair := range environment {
		name, _, _ := strings.Cut(pair, "=")
		if name != "PATH" && name != "HOME" {
			args, env = append(args, "--env", name), append(env, pair)
		}
	}
	s.job.mu.Lock()
	if len(s.paths) > 0 {
		args = append(args, "--env", "PATH="+strings.Join(s.paths, ":")+":"+c.path)
	}
	s.job.mu.Unlock()
	cmd := exec.Command(s.containers.engine, append(append(args, c.name, command.Path), command.Args...)...)
	cmd.Env = env
	return cmd
}

// all lists services first.
func (c *containers) all() []*container {
	byName := func(a, b *container) int { return cmp.Compare(a.name, b.name) }
	return append(slices.SortedFunc(maps.Values(c.service), byName), slices.SortedFunc(maps.Values(c.running), byName)...)
}

// mapping is Agent.ContainerMapping.
func (c *containers) mapping() string {
	all := map[string]map[string]string{}
	for _, one := range c.all() {
		all[one.alias] = map[string]string{"id": one.name}
	}
	text, err := json.Marshal(all)
	if err != nil {
		return "{}"
	}
	return string(text)
}

// initialize starts the containers of the job in the log of its first step,
// which fails where that fails.
func (j *job) initialize(ctx context.Context, s *step) {
	err := j.startContainers(ctx, s)
	if j.containers != nil {
		j.put("Agent.ContainerMapping", j.containers.mapping())
	}
	if err != nil && ctx.Err() == nil {
		s.spent = true
		j.worsen(s.end(s.fail(message(err))))
	}
}

// signalInside reaches what the job runs in containers: an engine's client does
// not pass on signals.
func (s *step) signalInside(sig syscall.Signal) {
	if s.containers != nil {
		process.SignalMarked(s.mark, sig)
	}
}
