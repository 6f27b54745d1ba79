package agent

import (
	"context"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"penstock.dev/penstock/internal/agent/command"
	"penstock.dev/penstock/internal/agent/nodetask"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/pipeline/reference"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/domain/securefile"
	"penstock.dev/penstock/internal/domain/serviceconnection"
)

// connections takes those of the message and masks their secrets, and the
// tickets of secure files.
func (j *job) connections() {
	for i := range j.m.Connections {
		c := j.m.Connections[i]
		j.conns = append(j.conns, &c)
		j.masker.Add(c.Secrets()...)
	}
	for _, f := range j.m.SecureFiles {
		j.masker.Add(f.Ticket)
	}
}

// Connection implements task.Resources. What it returns does not change when a
// later step changes the connection.
func (j *job) Connection(name string) *serviceconnection.Opened {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.connection(name)
}

func (j *job) connection(name string) *serviceconnection.Opened {
	for _, c := range j.conns {
		if strings.EqualFold(c.Name, name) {
			return c
		}
	}
	for _, c := range j.conns {
		if strings.EqualFold(c.ID, name) {
			return c
		}
	}
	return nil
}

// SecureFile implements task.Resources.
func (j *job) SecureFile(name string) *securefile.Grant {
	for i := range j.m.SecureFiles {
		if f := &j.m.SecureFiles[i]; strings.EqualFold(f.Name, name) || strings.EqualFold(f.ID, name) {
			return f
		}
	}
	return nil
}

// AddSecret implements task.Resources.
func (j *job) AddSecret(value string) { j.masker.Add(value) }

// Export implements task.Resources.
func (s *step) Export(name, value string) {
	if err := s.set(assignment{Variable: run.Variable{Name: name, Value: value}, preserveCase: true}); err != nil {
		s.Issue("warning", message(err))
	}
}

// Interpret implements task.Resources.
func (s *step) Interpret(line string) { s.output(line) }

// endpoints are the connections of the job as packages get them.
func (j *job) endpoints() []nodetask.Endpoint {
	j.mu.Lock()
	defer j.mu.Unlock()
	var list []nodetask.Endpoint
	for _, c := range j.conns {
		list = append(list, nodetask.Endpoint{ID: c.ID, Name: c.Name, URL: c.URL, Scheme: c.Scheme, Auth: c.Parameters, Data: c.Data})
	}
	return list
}

func (j *job) files() []nodetask.SecureFile {
	var list []nodetask.SecureFile
	for _, f := range j.m.SecureFiles {
		list = append(list, nodetask.SecureFile{ID: f.ID, Name: f.Name, Ticket: f.Ticket})
	}
	return list
}

// stub is the name of a connection or secure file that the step names and that
// stands for one that is not here; "" = there is none.
func (s *step) stub() string {
	for _, u := range s.uses() {
		for _, written := range u.Names {
			for _, name := range reference.SplitNames(pipeline.ExpandMacros(written, s.Lookup)) {
				if c := s.Connection(name); u.Kind == reference.ServiceConnection && c != nil && c.Stub {
					return c.Name
				}
			}
		}
	}
	return ""
}

// uses are the inputs of the step that name something: the catalogue knows
// them, or the definition of the step's package.
func (s *step) uses() []reference.Use {
	if s.packaged == nil || s.packaged.found == nil {
		return reference.UsesOf(&s.spec)
	}
	var uses []reference.Use
	d := s.packaged.found.Definition
	values := d.Values(s.spec.Inputs, func(text string) string { return text })
	for i := range d.Inputs {
		in := &d.Inputs[i]
		if names := reference.SplitNames(values[in.Name]); in.Is("connectedService") && len(names) > 0 {
			uses = append(uses, reference.Use{Kind: reference.ServiceConnection, Input: in.Name, Names: names})
		}
	}
	return uses
}

// setEndpoint changes a connection for the steps that follow.
func (s *step) setEndpoint(c command.Command) error {
	id, err := needProperty(c, "id")
	if err != nil {
		return err
	}
	field, err := needProperty(c, "field")
	if err != nil {
		return err
	}
	field = strings.ToLower(field)
	switch field {
	case "url":
	case "authparameter", "dataparameter":
		if _, err := needProperty(c, "key"); err != nil {
			return err
		}
	default:
		return fault.New(fault.Invalid, "endpoint-field", "there is no field %q", field).Want("authParameter, dataParameter or url")
	}
	key := c.Properties["key"]
	if field == "authparameter" && serviceconnection.SecretParameter(key) || field == "dataparameter" && serviceconnection.SecretDatum(key) {
		if warning := s.addSecret(c.Data); warning != "" {
			s.Issue("warning", warning)
		}
	}
	s.job.mu.Lock()
	defer s.job.mu.Unlock()
	for i, old := range s.conns {
		if !strings.EqualFold(old.ID, id) {
			continue
		}
		changed := *old // who holds the old one keeps it
		switch field {
		case "url":
			if u, err := url.Parse(c.Data); err != nil || !u.IsAbs() {
				return fault.New(fault.Invalid, "endpoint-url", "the URL of a service connection is absolute").Got("%q", c.Data).Want("https://HOST/…")
			}
			changed.URL = c.Data
		case "authparameter":
			changed.Parameters = with(old.Parameters, key, c.Data)
		default:
			changed.Data = with(old.Data, key, c.Data)
		}
		s.conns[i] = &changed
		return nil
	}
	return fault.New(fault.NotFound, "no-endpoint", "this job has no service connection %s", id).Want("the id of a connection that a step of the job names")
}

// with is a copy of values in which a key, in whatever case, has a value.
func with(values map[string]string, key, value string) map[string]string {
	changed := maps.Clone(values)
	if changed == nil {
		changed = map[string]string{}
	}
	for name := range changed {
		if strings.EqualFold(name, key) {
			delete(changed, name)
		}
	}
	changed[key] = value
	return changed
}

// registryLogin signs in to the registry of an image by the connection that its
// container names. The credentials lie in a folder of their own, which is
// returned and goes when the image is here; "" = there is nothing to sign in to.
func (s *step) registryLogin(ctx context.Context, spec pipeline.ContainerResource) (string, error) {
	if spec.Endpoint == "" {
		return "", nil
	}
	name := pipeline.ExpandMacros(spec.Endpoint, s.Lookup)
	conn := s.Connection(name)
	if conn == nil {
		return "", fault.New(fault.NotFound, "no-connection", "this job has no service connection %s", name).Try("penstock service-connection list")
	}
	if conn.Stub {
		return "", nil // the image may be here, or open to everybody
	}
	host, user, password := conn.Registry()
	dir, err := os.MkdirTemp(s.temp, "registry-*")
	if err != nil {
		return "", err
	}
	args := []string{"login", "--username", user, "--password-stdin", host}
	s.Print("##[command]" + filepath.Base(s.containers.engine) + " " + strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, s.containers.engine, args...)
	cmd.Env, cmd.Stdin = append(os.Environ(), registryAccess(dir)...), strings.NewReader(password)
	if out, err := cmd.CombinedOutput(); err != nil {
		_ = os.RemoveAll(dir)
		return "", fault.New(fault.Denied, "engine-failed", "the registry of service connection %s does not let the job in", conn.Name).Got("%s", s.Mask(strings.TrimSpace(string(out))))
	}
	return dir, nil
}

// registryAccess makes Docker and Podman look for credentials in a folder.
func registryAccess(dir string) []string {
	if dir == "" {
		return nil
	}
	return []string{"DOCKER_CONFIG=" + dir, "REGISTRY_AUTH_FILE=" + filepath.Join(dir, "config.json")}
}
