package demo

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"penstock.dev/penstock/examples"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/base/rootfs"
)

// ignoreExisting turns "it is there" into success: the story can be told again.
func ignoreExisting(err error) error {
	if fault.Is(err, fault.Conflict) {
		return nil
	}
	return err
}

// setUp makes everything the story needs.
func (s *story) setUp() error {
	for _, act := range []func() error{s.makeProject, s.makePeople, s.makeVault, s.makeEnvironments, s.pushMain, s.makeApplication, s.makePipelines} {
		if err := act(); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) makeProject() error {
	if err := ignoreExisting(s.call("", http.MethodPost, "/_apis/projects", map[string]string{"name": projectName, "description": "The shop of the demo"}, nil)); err != nil {
		return err
	}
	if err := ignoreExisting(s.call("", http.MethodPost, inProject("/_apis/git/repositories"), map[string]string{"name": repoName}, nil)); err != nil {
		return err
	}
	s.done("penstock project create "+projectName, "project %s, repository %s", projectName, repoName)
	return nil
}

func (s *story) makePeople() error {
	for _, p := range []struct{ name, display, role string }{
		{"ada", "Ada, author", "contributor"}, {"grace", "Grace, reviewer", "contributor"}, {"lin", "Lin, releases", "contributor"}} {
		password := id.Secret(12)
		err := s.call("", http.MethodPost, "/_apis/penstock/users", map[string]string{"name": p.name, "displayName": p.display, "password": password}, nil)
		if fault.Is(err, fault.Conflict) {
			err = s.call("", http.MethodPut, "/_apis/penstock/users/"+p.name+"/password", map[string]string{"password": password}, nil)
		}
		if err != nil {
			return err
		}
		if err := s.call("", http.MethodPost, "/_apis/penstock/permissions", map[string]string{"user": p.name, "role": p.role, "project": projectName}, nil); err != nil {
			return err
		}
		var session struct{ Token string }
		if err := s.call("", http.MethodPost, "/_apis/penstock/sessions", map[string]string{"name": p.name, "password": password}, &session); err != nil {
			return err
		}
		s.people[p.name] = &person{name: p.name, token: session.Token, work: filepath.Join(s.Folder, p.name)}
	}
	if err := s.call("", http.MethodPut, inProject("/_apis/penstock/groups/"+url.PathEscape("Release Managers")), map[string][]string{"members": {"lin"}}, nil); err != nil {
		return err
	}
	s.done("penstock user create ada", "users ada (author), grace (reviewer), lin (releases)")
	return nil
}

func (s *story) makeVault() error {
	if err := ignoreExisting(s.call("", http.MethodPost, inProject("/_apis/penstock/vaults"), map[string]string{"name": vaultName}, nil)); err != nil {
		return err
	}
	if err := s.call("", http.MethodPut, inProject("/_apis/penstock/vaults/"+vaultName+"/secrets/PaymentKey"), map[string]string{"value": "pk_demo_" + id.Secret(16)}, nil); err != nil {
		return err
	}
	group := map[string]any{"name": "storefront-secrets", "type": "AzureKeyVault", "vault": vaultName, "secrets": []string{"PaymentKey"},
		"providerData": map[string]string{"vault": vaultName}, "variables": map[string]any{"PaymentKey": map[string]any{"isSecret": true, "enabled": true}}}
	if err := ignoreExisting(s.call("", http.MethodPost, inProject("/_apis/distributedtask/variablegroups"), group, nil)); err != nil {
		return err
	}
	s.done("penstock vault secret set "+vaultName+"/PaymentKey", "vault %s: secret PaymentKey", vaultName)
	return nil
}

func (s *story) makeEnvironments() error {
	for _, name := range []string{"staging", "production"} {
		if err := ignoreExisting(s.call("", http.MethodPost, inProject("/_apis/distributedtask/environments"), map[string]string{"name": name}, nil)); err != nil {
			return err
		}
	}
	var checks struct{ Value []struct{ Type string } }
	if err := s.call("", http.MethodGet, inProject("/_apis/penstock/environments/production/checks"), nil, &checks); err != nil {
		return err
	}
	if len(checks.Value) == 0 {
		if err := s.call("", http.MethodPost, inProject("/_apis/penstock/environments/production/checks"), map[string]any{"type": "exclusiveLock"}, nil); err != nil {
			return err
		}
	}
	s.done("penstock env create staging", "environments staging and production (exclusive lock)")
	return nil
}

// pushMain makes ada's work tree; the first time it pushes the storefront.
func (s *story) pushMain() error {
	ada := s.people["ada"]
	if err := os.RemoveAll(ada.work); err != nil {
		return err
	}
	if err := s.git(ada, filepath.Dir(ada.work), "clone", "--quiet", s.repoURL(), ada.work); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(ada.work, "go.mod")); err == nil {
		s.done("git clone "+s.repoURL(), "repository %s cloned: it has its history already", repoName)
		return nil
	}
	files, err := examples.Storefront()
	if err != nil {
		return err
	}
	if err := rootfs.Unzip(files, ada.work, rootfs.DefaultLimits); err != nil {
		return err
	}
	for _, args := range [][]string{{"checkout", "--quiet", "-B", "main"}, {"add", "-A"}, {"commit", "--quiet", "-m", "Storefront"}, {"push", "--quiet", "origin", "main"}} {
		if err := s.git(ada, ada.work, args...); err != nil {
			return err
		}
	}
	s.done("git push origin main", "%d files pushed to main", len(files.File))
	return nil
}

func (s *story) repoURL() string {
	return s.Server + "/" + s.Organization + "/" + projectName + "/_git/" + repoName
}

// git runs git as a person; the token travels in an environment variable.
func (s *story) git(p *person, dir string, args ...string) error {
	ctx, cancel := context.WithTimeout(s.ctx, 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http.extraHeader",
		"GIT_CONFIG_VALUE_0=Authorization: Bearer "+p.token, "GIT_AUTHOR_NAME="+p.name, "GIT_AUTHOR_EMAIL="+p.name+"@localhost",
		"GIT_COMMITTER_NAME="+p.name, "GIT_COMMITTER_EMAIL="+p.name+"@localhost")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(string(out)))
	}
	return nil
}

func (s *story) makeApplication() error {
	content, err := os.ReadFile(filepath.Join(s.people["ada"].work, "penstock.app.yml"))
	if err != nil {
		return err
	}
	if err := s.call("", http.MethodPut, inProject("/_apis/penstock/applications"), map[string]string{"name": "penstock.app.yml", "content": string(content)}, nil); err != nil {
		return err
	}
	a, err := s.app()
	if err != nil {
		return err
	}
	slots := []string{}
	for _, sl := range a.Application.Slots {
		slots = append(slots, fmt.Sprintf("%s (%s)", sl.Name, strings.Join(sl.VMs, ", ")))
	}
	if err := s.until("the machines' agents", 30*time.Second, s.machinesOnline); err != nil {
		return err
	}
	s.done("penstock apply penstock.app.yml", "application %s: slots %s", appName, strings.Join(slots, " and "))
	return nil
}

func (s *story) machinesOnline() (bool, error) {
	var vms struct{ Value []struct{ AgentID string } }
	if err := s.call("", http.MethodGet, inProject("/_apis/penstock/vms"), nil, &vms); err != nil {
		return false, err
	}
	for _, v := range vms.Value {
		if v.AgentID == "" {
			return false, nil
		}
	}
	return len(vms.Value) > 0, nil
}

func (s *story) makePipelines() error {
	for _, p := range []string{"pr", "ci", "cd"} {
		in := map[string]any{"name": "storefront-" + p, "configuration": map[string]any{"type": "yaml", "path": "/pipelines/" + p + ".yml",
			"repository": map[string]string{"name": repoName, "type": "azureReposGit"}}}
		if err := ignoreExisting(s.call("", http.MethodPost, inProject("/_apis/pipelines"), in, nil)); err != nil {
			return err
		}
	}
	var policies struct{ Value []any }
	if err := s.call("", http.MethodGet, inProject("/_apis/policy/configurations"), nil, &policies); err != nil {
		return err
	}
	if len(policies.Value) == 0 {
		if err := s.addPolicies(); err != nil {
			return err
		}
	}
	s.done("penstock policy create build-validation --pipeline storefront-pr --branch main",
		"pipelines storefront-pr, storefront-ci, storefront-cd; policy on main: 1 reviewer + storefront-pr")
	return nil
}

func (s *story) addPolicies() error {
	var repo struct{ ID string }
	if err := s.call("", http.MethodGet, inProject("/_apis/git/repositories/"+repoName), nil, &repo); err != nil {
		return err
	}
	pr, err := s.pipelineID("storefront-pr")
	if err != nil {
		return err
	}
	scope := []map[string]string{{"repositoryId": repo.ID, "refName": "refs/heads/main", "matchKind": "Exact"}}
	for _, in := range []map[string]any{
		{"isEnabled": true, "isBlocking": true, "type": map[string]string{"id": "fa4e907d-c16b-4a4c-9dfa-4906e5d171dd"},
			"settings": map[string]any{"minimumApproverCount": 1, "creatorVoteCounts": false, "resetOnSourcePush": true, "scope": scope}},
		{"isEnabled": true, "isBlocking": true, "type": map[string]string{"id": "0609b952-1397-4640-95ec-e00a01b2c241"},
			"settings": map[string]any{"buildDefinitionId": pr, "displayName": "storefront-pr", "scope": scope}},
	} {
		if err := s.call("", http.MethodPost, inProject("/_apis/policy/configurations"), in, nil); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) pipelineID(name string) (int, error) {
	var list struct {
		Value []struct {
			ID   int
			Name string
		}
	}
	if err := s.call("", http.MethodGet, inProject("/_apis/pipelines"), nil, &list); err != nil {
		return 0, err
	}
	for _, p := range list.Value {
		if p.Name == name {
			return p.ID, nil
		}
	}
	return 0, fmt.Errorf("there is no pipeline %s", name)
}
