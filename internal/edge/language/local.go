package language

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/pattern"
	"penstock.dev/penstock/internal/domain/serviceconnection"
)

// LocalFile is penstock.local.yml: what a run on a laptop needs from outside.
// It names secrets and never holds them.
type LocalFile struct {
	Local          string                           `yaml:"local"` // what the file is for; nothing reads it
	Variables      map[string]GroupValue            `yaml:"variables"`
	VariableGroups map[string]map[string]GroupValue `yaml:"variableGroups"`
	Secrets        map[string]SecretSource          `yaml:"secrets"`
	Repositories   map[string]string                `yaml:"repositories"`
	Environments   map[string]LocalEnvironment      `yaml:"environments"`
	Pools          map[string]LocalPool             `yaml:"pools"` // by name; "*" is any other
	Applications   map[string]string                `yaml:"applications"`
	Tasks          []LocalTask                      `yaml:"tasks"`
	Pipelines      map[string]string                `yaml:"pipelines"` // alias of a resource → local run: latest or N
	Connections    map[string]LocalConnection       `yaml:"serviceConnections"`
	SecureFiles    map[string]LocalSecureFile       `yaml:"secureFiles"`

	// Vault reads a secret of a server's vault with the sign-in of a context; nil
	// = nobody can.
	Vault func(ctx context.Context, context, vault, name string) (string, error) `yaml:"-"`

	folder string
}

// LocalConnection stands for a service connection. A stub lets the steps that
// name it be skipped.
type LocalConnection struct {
	Stub       bool                  `yaml:"stub"`
	Type       string                `yaml:"type"`
	URL        string                `yaml:"url"`
	Scheme     string                `yaml:"scheme"`
	Parameters map[string]GroupValue `yaml:"parameters"`
	Data       map[string]GroupValue `yaml:"data"`
}

// LocalTask is a folder of packages of tasks, or a task whose steps are skipped.
type LocalTask struct {
	Folder string
	Skip   string // NAME@VERSION
}

// UnmarshalYAML reads a folder, or {skip: NAME@VERSION}.
func (t *LocalTask) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		t.Folder = n.Value
		return nil
	}
	var named struct {
		Skip string `yaml:"skip"`
	}
	err := n.Decode(&named)
	t.Skip = named.Skip
	return err
}

// LocalSecureFile stands for a secure file.
type LocalSecureFile struct {
	File string `yaml:"file"`
}

// only refuses keys of a mapping that nobody reads.
func only(n *yaml.Node, keys ...string) error {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if key := n.Content[i]; !slices.Contains(keys, key.Value) {
			return fmt.Errorf("%q is not known here; there may be: %s", key.Value, strings.Join(keys, ", "))
		}
	}
	return nil
}

// GroupValue is a plain value, or the name of a secret.
type GroupValue struct {
	Text   string
	Secret string
}

// UnmarshalYAML reads text, or {secret: NAME}.
func (v *GroupValue) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		v.Text = n.Value
		return nil
	}
	if err := only(n, "secret"); err != nil {
		return err
	}
	var named struct {
		Secret string `yaml:"secret"`
	}
	err := n.Decode(&named)
	v.Secret = named.Secret
	return err
}

// SecretSource says where a secret comes from: exactly one of its fields.
type SecretSource struct {
	Env     string   `yaml:"env"`
	File    string   `yaml:"file"`
	Command []string `yaml:"command"`
	Vault   string   `yaml:"vault"` // CONTEXT/VAULT/NAME
	Stub    string   `yaml:"stub"`

	line int // where a value stands in place of a source; 0 = it does not
}

// UnmarshalYAML notes a secret that stands in the file itself; ReadLocalFile refuses it.
func (s *SecretSource) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		s.line = n.Line
		return nil
	}
	if err := only(n, "env", "file", "command", "vault", "stub"); err != nil {
		return err
	}
	type plain SecretSource
	return n.Decode((*plain)(s))
}

// LocalEnvironment answers the approvals of an environment.
type LocalEnvironment struct {
	Approve string    `yaml:"approve"` // ask, yes, no; "" = it has no approval
	VMs     []LocalVM `yaml:"vms"`
}

// LocalVM is a VM of an environment: made for the run.
type LocalVM struct {
	VM   string   `yaml:"vm"`
	Tags []string `yaml:"tags"`
	SSH  string   `yaml:"ssh"` // not yet: such a VM needs an agent of its own
}

// LocalPool says what becomes of the jobs of a pool here.
type LocalPool struct {
	Jobs int    // at a time; 0 = as many as otherwise
	Do   string // run, skip or refuse
}

// UnmarshalYAML reads {jobs: N}, or one word.
func (p *LocalPool) UnmarshalYAML(n *yaml.Node) error {
	p.Do = "run"
	if n.Kind == yaml.ScalarNode {
		p.Do = n.Value
		return nil
	}
	if err := only(n, "jobs"); err != nil {
		return err
	}
	var given struct {
		Jobs int `yaml:"jobs"`
	}
	err := n.Decode(&given)
	p.Jobs = given.Jobs
	return err
}

// comments are all that a file may hold that says nothing yet.
var comments = pattern.Lazy(`(?m)^\s*#.*$`)

// ReadLocalFile finds the file beside the pipeline or in a folder above it, up
// to the root. Without one the answer is empty.
func ReadLocalFile(root, pipelineFile, named string) (*LocalFile, error) {
	f := &LocalFile{folder: root}
	path := named
	for dir := filepath.Dir(filepath.Join(root, pipelineFile)); path == ""; dir = filepath.Dir(dir) {
		if candidate := filepath.Join(dir, "penstock.local.yml"); exists(candidate) {
			path = candidate
		}
		if dir == root || dir == filepath.Dir(dir) {
			break
		}
	}
	if path == "" {
		return f, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "file-unreadable", "the file cannot be read").At("%s", path)
	}
	f.folder = filepath.Dir(path)
	if err := yaml.Load(data, f, yaml.WithUniqueKeys(true), yaml.WithKnownFields(true)); err != nil && len(bytes.TrimSpace(comments().ReplaceAll(data, nil))) > 0 {
		return nil, fault.New(fault.Invalid, "local-file", "penstock.local.yml cannot be read").At("%s", path).Got("%s", strings.TrimPrefix(strings.TrimPrefix(err.Error(), "yaml: "), "construct errors: "))
	}
	for name, secret := range f.Secrets {
		if secret.line > 0 {
			return nil, fault.New(fault.Invalid, "secret-in-file", "secret %s stands in the file itself", name).At("%s:%d", path, secret.line).
				Want("{ env: NAME }, { file: PATH }, { command: [pass, show, x] }, { vault: CONTEXT/VAULT/NAME } or { stub: text }").Try("move the value out, and name where it is")
		}
	}
	return f, f.check(path)
}

// check refuses what says nothing.
func (f *LocalFile) check(path string) error {
	if err := f.checkConnections(path); err != nil {
		return err
	}
	for name, e := range f.Environments {
		if e.Approve != "" && e.Approve != "ask" && e.Approve != "yes" && e.Approve != "no" {
			return fault.New(fault.Invalid, "local-file", "environment %s has an approve that says nothing", name).At("%s", path).Want("ask, yes or no").Got("%s", e.Approve)
		}
		for _, vm := range e.VMs {
			if vm.VM == "" {
				return fault.New(fault.Invalid, "local-file", "environment %s has a VM without a name", name).At("%s", path).Want("- { vm: NAME, tags: [TAG] }")
			}
			if vm.SSH != "" {
				return fault.New(fault.Invalid, "local-file", "VM %s is reached by ssh; this version makes the VMs of a local run itself", vm.VM).At("%s", path).
					Try("leave ssh out, or run on a server that has the VM: penstock run --remote")
			}
		}
	}
	for _, t := range f.Tasks {
		if name, version, ok := strings.Cut(t.Skip, "@"); t.Folder == "" && (!ok || name == "" || version == "") {
			return fault.New(fault.Invalid, "local-file", "an entry of tasks says nothing").At("%s", path).Want("the path of a folder, or { skip: NAME@VERSION }").Got("%s", t.Skip)
		}
	}
	for name, p := range f.Pools {
		if p.Do != "run" && p.Do != "skip" && p.Do != "refuse" || p.Jobs < 0 {
			return fault.New(fault.Invalid, "local-file", "pool %s says nothing", name).At("%s", path).Want("run, skip, refuse or { jobs: N }").Got("%s", p.Do)
		}
	}
	return nil
}

// checkConnections refuses secrets that stand in the file, and what says
// nothing.
func (f *LocalFile) checkConnections(path string) error {
	for name, k := range f.Connections {
		if !k.Stub && k.Type == "" {
			return fault.New(fault.Invalid, "local-file", "service connection %s has neither a type nor is it a stub", name).At("%s", path).
				Want("{ stub: true } or { type: ssh, url: …, scheme: …, parameters: {}, data: {} }")
		}
		for kind, values := range map[string]map[string]GroupValue{"parameter": k.Parameters, "entry": k.Data} {
			secret := serviceconnection.SecretDatum
			if kind == "parameter" {
				secret = serviceconnection.SecretParameter
			}
			for entry, v := range values {
				if v.Secret == "" && v.Text != "" && secret(entry) {
					return fault.New(fault.Invalid, "secret-in-file", "%s %s of service connection %s stands in the file itself", kind, entry, name).At("%s", path).
						Want("%s: { secret: NAME }, and NAME under secrets", entry).Try("move the value out, and name where it is")
				}
			}
		}
	}
	for name, file := range f.SecureFiles {
		if file.File == "" {
			return fault.New(fault.Invalid, "local-file", "secure file %s has no file", name).At("%s", path).Want("{ file: PATH }")
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// Path makes a path of the file relative to where the file stands.
func (f *LocalFile) Path(name string) string {
	if home, err := os.UserHomeDir(); err == nil && strings.HasPrefix(name, "~/") {
		return filepath.Join(home, name[2:])
	}
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(f.folder, name)
}

// Value fetches a secret. ok is false when its source has none.
func (f *LocalFile) Value(ctx context.Context, s SecretSource, env func(string) string) (value string, ok bool, err error) {
	switch {
	case s.Env != "":
		value = env(s.Env)
		return value, value != "", nil
	case s.File != "":
		data, err := os.ReadFile(f.Path(s.File))
		if err != nil {
			return "", false, fault.Wrap(err, fault.Invalid, "file-unreadable", "the file of a secret cannot be read").At("%s", s.File)
		}
		return strings.TrimRight(string(data), "\r\n"), true, nil
	case len(s.Command) > 0:
		cmd := exec.CommandContext(ctx, s.Command[0], s.Command[1:]...)
		cmd.Dir = f.folder
		var problem bytes.Buffer
		cmd.Stderr = &problem
		out, err := cmd.Output()
		if err != nil {
			return "", false, fault.Wrap(err, fault.Invalid, "secret-command", "the command of a secret failed").At("%s", s.Command[0]).Got("%s", strings.TrimSpace(problem.String()))
		}
		return strings.TrimRight(string(out), "\r\n"), true, nil
	case s.Vault != "":
		parts := strings.Split(s.Vault, "/")
		if len(parts) != 3 || f.Vault == nil {
			return "", false, fault.New(fault.Invalid, "local-file", "the vault of a secret is not usable").Got("%s", s.Vault).Want("CONTEXT/VAULT/NAME")
		}
		value, err := f.Vault(ctx, parts[0], parts[1], parts[2])
		return value, value != "", err
	default:
		return s.Stub, s.Stub != "", nil
	}
}
