package build

import (
	"bytes"
	"cmp"
	"context"
	"os"
	"path/filepath"
	"strings"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
)

func init() {
	task.Register(&task.Task{Name: "Docker", Major: []string{"2"}, Run: docker})
}

// registry is where images go: a service connection of type dockerregistry.
type registry struct{ host, user, password string }

func (w *dockerRun) registry() (*registry, error) {
	if w.c.Input("containerRegistry") == "" {
		return nil, nil
	}
	conn, err := w.c.Connect("containerRegistry")
	if err != nil {
		return nil, err
	}
	r := &registry{}
	r.host, r.user, r.password = conn.Registry()
	if r.host == "" {
		return nil, fault.New(fault.Invalid, "connection-url", "service connection %s names no registry", conn.Name).Want("parameter registry, or a URL")
	}
	return r, nil
}

// dockerRun is one call of Docker.
type dockerRun struct {
	c       *task.Context
	program string
	output  bytes.Buffer
	reg     *registry
}

func docker(ctx context.Context, c *task.Context) error {
	w := &dockerRun{c: c}
	var err error
	if w.program, err = c.Find("docker"); err != nil {
		if w.program, err = c.Find("podman"); err != nil {
			_, err = c.Program("docker", "install Docker or Podman on the agent's machine")
			return err
		}
	}
	if w.reg, err = w.registry(); err != nil {
		return err
	}
	switch command := strings.ToLower(cmp.Or(c.Input("command"), "buildAndPush")); command {
	case "login":
		err = w.login(ctx)
	case "logout":
		err = w.logout(ctx)
	case "build":
		err = w.build(ctx, c.Input("arguments"))
	case "push":
		err = w.push(ctx, c.Input("arguments"))
	case "buildandpush":
		if err = w.build(ctx, ""); err == nil {
			err = w.push(ctx, "")
		}
	case "start", "stop":
		var container string
		if container, err = c.Need("container"); err == nil {
			err = w.run(ctx, command, container)
		}
	default:
		err = w.custom(ctx, c.Input("command"))
	}
	if err != nil {
		return err
	}
	file, err := c.TempFile("docker-*.txt", c.Mask(w.output.String()), 0o600)
	if err == nil {
		c.Output("DockerOutput", file, false)
	}
	return err
}

func (w *dockerRun) run(ctx context.Context, args ...string) error {
	dir, _ := w.c.Lookup("System.DefaultWorkingDirectory")
	return call(ctx, w.c, task.Command{Path: w.program, Args: args, Dir: dir, Output: &w.output})
}

func (w *dockerRun) custom(ctx context.Context, command string) error {
	words, err := task.SplitArgs(command)
	if err != nil {
		return err
	}
	more, err := task.SplitArgs(w.c.Input("arguments"))
	if err != nil {
		return err
	}
	return w.run(ctx, append(words, more...)...)
}

// login keeps the credentials in a folder of the job, for later steps. The
// password is not among the arguments.
func (w *dockerRun) login(ctx context.Context) error {
	if w.reg == nil {
		return fault.New(fault.Invalid, "input-missing", "Input required: containerRegistry")
	}
	dir, known := w.c.Lookup("DOCKER_CONFIG")
	if !known || !strings.HasPrefix(dir, w.c.Temp) {
		var err error
		if dir, err = os.MkdirTemp(w.c.Temp, "docker-*"); err != nil {
			return err
		}
	}
	w.c.Print("##[command]docker login --username " + w.reg.user + " --password-stdin " + w.reg.host)
	code, err := w.c.Exec(ctx, task.Command{Path: w.program, Args: []string{"login", "--username", w.reg.user, "--password-stdin", w.reg.host}, Dir: w.c.Temp,
		Env: []string{"DOCKER_CONFIG=" + dir}, Input: strings.NewReader(w.reg.password)})
	if err == nil && code != 0 {
		err = task.ExitError("docker", code)
	}
	if err == nil {
		w.c.SetVariable("DOCKER_CONFIG", dir, false)
	}
	return err
}

func (w *dockerRun) logout(ctx context.Context) error {
	if w.reg != nil {
		return w.run(ctx, "logout", w.reg.host)
	}
	if dir, ok := w.c.Lookup("DOCKER_CONFIG"); ok && strings.HasPrefix(dir, w.c.Temp) {
		return os.Remove(filepath.Join(dir, "config.json"))
	}
	return w.run(ctx, "logout")
}

// images are the repository with each of the tags.
func (w *dockerRun) images() ([]string, error) {
	repository := w.c.Input("repository")
	if repository == "" {
		return nil, nil
	}
	if w.reg != nil {
		repository = w.reg.host + "/" + repository
	}
	var list []string
	for _, tag := range strings.FieldsFunc(w.c.Inputs["tags"], func(r rune) bool { return r == '\n' || r == ',' || r == '\r' }) {
		if tag = strings.TrimSpace(tag); tag != "" {
			list = append(list, strings.ToLower(repository)+":"+tag)
		}
	}
	return list, nil
}

// signedIn logs in to the registry of the step once; base images may lie there too.
func (w *dockerRun) signedIn(ctx context.Context) error {
	if w.reg == nil || w.reg.user == "" {
		return nil
	}
	if _, known := w.c.Lookup("DOCKER_CONFIG"); known {
		return nil
	}
	return w.login(ctx)
}

func (w *dockerRun) build(ctx context.Context, arguments string) error {
	if err := w.signedIn(ctx); err != nil {
		if ctx.Err() != nil {
			return err
		}
		w.c.Warn("The registry %s does not let the job in (%s): base images of it cannot be read.", w.reg.host, err)
	}
	base, _ := w.c.Lookup("System.DefaultWorkingDirectory")
	files, err := task.FindFiles(base, cmp.Or(w.c.Input("Dockerfile"), "**/Dockerfile"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fault.New(fault.Invalid, "no-file", "No Dockerfile matching %s was found.", w.c.Input("Dockerfile"))
	}
	args := []string{"build", "-f", files[0]}
	if !strings.EqualFold(w.c.Input("addPipelineData"), "false") {
		args = append(args, w.labels()...)
	}
	images, err := w.images()
	if err != nil {
		return err
	}
	for _, i := range images {
		args = append(args, "-t", i)
	}
	more, err := task.SplitArgs(strings.ReplaceAll(arguments, "\n", " "))
	if err != nil {
		return err
	}
	where := filepath.Dir(files[0])
	if p := w.c.Input("buildContext"); p != "" && p != "**" && p != "." {
		where = w.c.Path(p)
	} else if p == "." {
		where = base
	}
	return w.run(ctx, append(append(args, more...), where)...)
}

// labels say where an image comes from.
func (w *dockerRun) labels() []string {
	var args []string
	for _, l := range [][2]string{{"com.azure.dev.image.system.teamfoundationcollectionuri", "System.TeamFoundationCollectionUri"}, {"com.azure.dev.image.system.teamproject", "System.TeamProject"},
		{"com.azure.dev.image.build.repository.name", "Build.Repository.Name"}, {"com.azure.dev.image.build.sourceversion", "Build.SourceVersion"},
		{"com.azure.dev.image.build.repository.uri", "Build.Repository.Uri"}, {"com.azure.dev.image.build.sourcebranchname", "Build.SourceBranchName"},
		{"com.azure.dev.image.build.definitionname", "Build.DefinitionName"}, {"com.azure.dev.image.build.buildnumber", "Build.BuildNumber"},
		{"com.azure.dev.image.build.builduri", "Build.BuildUri"}} {
		if v, _ := w.c.Lookup(l[1]); v != "" {
			args = append(args, "--label", l[0]+"="+v)
		}
	}
	return args
}

func (w *dockerRun) push(ctx context.Context, arguments string) error {
	images, err := w.images()
	if err != nil {
		return err
	}
	if len(images) == 0 {
		return fault.New(fault.Invalid, "input-missing", "Input required: repository, and at least one of tags")
	}
	if err := w.signedIn(ctx); err != nil {
		return err
	}
	more, err := task.SplitArgs(strings.ReplaceAll(arguments, "\n", " "))
	if err != nil {
		return err
	}
	for _, i := range images {
		if err := w.run(ctx, append(append([]string{"push"}, more...), i)...); err != nil {
			return err
		}
	}
	return nil
}
