package nodetask

import (
	"encoding/json"
	"runtime"
	"slices"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline/tasklib"
	"penstock.dev/penstock/internal/domain/run"
)

// Endpoint is a service connection.
type Endpoint struct {
	ID     string // GUID; "" for the connection to the server itself
	Name   string
	URL    string
	Scheme string            // OAuth, UsernamePassword, …
	Auth   map[string]string // secret
	Data   map[string]string
}

// SystemConnection is the name of the connection to the server.
const SystemConnection = "SYSTEMVSSCONNECTION"

// System is the connection to the server, with the token of the job.
func System(url, token string) Endpoint {
	return Endpoint{Name: SystemConnection, URL: url, Scheme: "OAuth", Auth: map[string]string{"AccessToken": token}}
}

// SecureFile is a file of the project's library.
type SecureFile struct {
	ID, Name, Ticket string
}

// maxEntry is the longest NAME=value that Linux hands to a program, in bytes.
const maxEntry = 128<<10 - 1

// environment is what a task's program gets beside what every step gets. It
// wins over the step's env, as on the service. Secrets are here on purpose: the
// library in the task takes them out before it starts anything else.
func (c *Call) environment(values tasklib.Values) ([]string, error) {
	env := map[string]string{}
	c.addVariables(env)
	for name, value := range values {
		env["INPUT_"+key(name)] = value
	}
	for _, e := range c.named(values) {
		e.add(env)
	}
	for _, f := range c.files(values) {
		env["SECUREFILE_NAME_"+strings.ToLower(f.ID)] = f.Name
		env["SECUREFILE_TICKET_"+strings.ToLower(f.ID)] = f.Ticket
	}
	for _, v := range c.TaskVariables {
		env["VSTS_TASKVARIABLE_"+key(v.Name)] = v.Value
	}
	env["TF_BUILD"] = "True"
	list := make([]string, 0, len(env))
	for k, v := range env {
		if strings.ContainsAny(k, "=\x00") || strings.Contains(v, "\x00") {
			continue // no process can have it
		}
		if runtime.GOOS == "linux" && len(k)+len(v)+1 > maxEntry {
			return nil, fault.New(fault.Invalid, "input-too-long", "%s is too long for the environment of a program", k).Got("%d bytes", len(v)).Want("less than 128 KiB").
				Try("put it into a file and give the task its path")
		}
		list = append(list, k+"="+v)
	}
	slices.Sort(list)
	return list, nil
}

// addVariables adds those of the job. A secret one stands under another name.
func (c *Call) addVariables(env map[string]string) {
	own := []run.Variable{{Name: "Agent.Version", Value: AgentVersion}, {Name: "Task.DisplayName", Value: c.DisplayName}, {Name: "Task.PublishTelemetry", Value: "False"},
		{Name: "System.TaskDisplayName", Value: c.DisplayName}, {Name: "System.TaskInstanceId", Value: c.InstanceID}, {Name: "System.TaskInstanceName", Value: c.InstanceName}}
	own = append(own, c.Proxy.variables()...)
	public, secret := []string{}, []string{}
	for _, v := range append(slices.Clone(c.Variables), own...) {
		name := key(v.Name)
		switch {
		case v.Secret:
			env["SECRET_"+name] = v.Value
			secret = append(secret, v.Name)
			continue
		case name == "PATH":
			continue // the step's is right: it has what earlier steps put in front
		case strings.EqualFold(v.Name, "Agent.JobStatus"):
			env["agent.jobstatus"] = v.Value
		}
		env[name] = v.Value
		public = append(public, v.Name)
	}
	slices.Sort(public)
	slices.Sort(secret)
	env["VSTS_PUBLIC_VARIABLES"], env["VSTS_SECRET_VARIABLES"] = names(slices.Compact(public)), names(secret)
}

func names(list []string) string {
	data, _ := json.Marshal(list) // texts always can
	return string(data)
}

// named are the endpoints that inputs name, and the server's.
func (c *Call) named(values tasklib.Values) []Endpoint {
	var list []Endpoint
	for _, e := range c.Endpoints {
		if e.ID == "" && e.Name == SystemConnection || e.ID != "" && c.mentions(values, "connectedService", e.ID) {
			list = append(list, e)
		}
	}
	return list
}

func (c *Call) files(values tasklib.Values) []SecureFile {
	var list []SecureFile
	for _, f := range c.SecureFiles {
		if c.mentions(values, "secureFile", f.ID) {
			list = append(list, f)
		}
	}
	return list
}

func (c *Call) mentions(values tasklib.Values, kind, id string) bool {
	for i := range c.Task.Definition.Inputs {
		in := &c.Task.Definition.Inputs[i]
		if !in.Is(kind) {
			continue
		}
		for part := range strings.SplitSeq(values[in.Name], ",") {
			if strings.EqualFold(strings.TrimSpace(part), id) {
				return true
			}
		}
	}
	return false
}

func (e Endpoint) add(env map[string]string) {
	id := strings.ToLower(e.ID)
	if id == "" {
		id = e.Name
	}
	auth, data := e.Auth, e.Data
	if auth == nil {
		auth = map[string]string{}
	}
	if data == nil {
		data = map[string]string{}
	}
	whole, _ := json.Marshal(struct {
		Parameters map[string]string `json:"parameters"`
		Scheme     string            `json:"scheme"`
	}{auth, e.Scheme})
	env["ENDPOINT_URL_"+id], env["ENDPOINT_AUTH_"+id], env["ENDPOINT_AUTH_SCHEME_"+id] = e.URL, string(whole), e.Scheme
	for name, value := range auth {
		env["ENDPOINT_AUTH_PARAMETER_"+id+"_"+key(name)] = value
	}
	if e.ID == "" {
		return
	}
	whole, _ = json.Marshal(data)
	env["ENDPOINT_DATA_"+id] = string(whole)
	for name, value := range data {
		env["ENDPOINT_DATA_"+id+"_"+key(name)] = value
	}
}

// key is how a name stands in the environment.
func key(name string) string {
	return strings.ToUpper(strings.NewReplacer(".", "_", " ", "_").Replace(name))
}
