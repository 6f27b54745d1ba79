package demo

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// app is what the API tells of the application.
type app struct {
	Application struct {
		Generation uint64
		Spec       struct{ Service struct{ Port int } }
		Slots      []struct {
			Name      string
			Role      string
			VMs       []string `json:"vms"`
			Addresses []string
			Release   *struct{ Number string }
		}
	}
}

func (a *app) addresses() []string {
	var list []string
	for _, s := range a.Application.Slots {
		for _, ip := range s.Addresses {
			list = append(list, net.JoinHostPort(ip, strconv.Itoa(a.Application.Spec.Service.Port)))
		}
	}
	return list
}

// role returns the slot that plays a role and its release.
func (a *app) role(role string) (slot, release string) {
	for _, s := range a.Application.Slots {
		if s.Role == role {
			if s.Release != nil {
				release = s.Release.Number
			}
			return s.Name, release
		}
	}
	return "", ""
}

func (s *story) app() (*app, error) {
	a := &app{}
	return a, s.call("", http.MethodGet, inProject("/_apis/penstock/applications/"+appName), nil, a)
}

// build is a run as the API tells it.
type build struct {
	ID          int
	BuildNumber string
	Status      string
	Result      string
	Reason      string
	Definition  struct{ Name string }
}

func (s *story) latest(pipeline string) (*build, error) {
	defID, err := s.pipelineID(pipeline)
	if err != nil {
		return nil, err
	}
	var list struct{ Value []build }
	if err := s.call("", http.MethodGet, inProject(fmt.Sprintf("/_apis/build/builds?definitions=%d&$top=1", defID)), nil, &list); err != nil {
		return nil, err
	}
	if len(list.Value) == 0 {
		return &build{}, nil
	}
	return &list.Value[0], nil
}

// next waits for a run of a pipeline after a known one.
func (s *story) next(pipeline string, after int) (*build, error) {
	var b *build
	err := s.until("a run of "+pipeline, 60*time.Second, func() (bool, error) {
		var err error
		b, err = s.latest(pipeline)
		return err == nil && b.ID > after, err
	})
	return b, err
}

// ended waits for the end of a run.
func (s *story) ended(b *build, limit time.Duration) error {
	return s.until(fmt.Sprintf("the end of run %d (%s)", b.ID, b.Definition.Name), limit, func() (bool, error) {
		err := s.call("", http.MethodGet, inProject(fmt.Sprintf("/_apis/build/builds/%d", b.ID)), nil, b)
		return b.Status == "completed", err
	})
}

// expectResult waits for the end and compares the result; a difference shows
// the last lines of the log.
func (s *story) expectResult(b *build, want string) error {
	if err := s.ended(b, 5*time.Minute); err != nil {
		return err
	}
	if b.Result != want {
		return fmt.Errorf("run %d (%s) is %s, expected %s\n%s", b.ID, b.Definition.Name, b.Result, want, s.tail(b, "", 25))
	}
	return nil
}

// tail returns the last lines of a run's logs that contain a text.
func (s *story) tail(b *build, grep string, n int) string {
	var out struct{ Value []struct{ Text string } }
	path := inProject(fmt.Sprintf("/_apis/penstock/runs/%d/logs?tail=%d", b.ID, n))
	if grep != "" {
		path += "&grep=" + grep
	}
	if err := s.call("", http.MethodGet, path, nil, &out); err != nil {
		return err.Error()
	}
	lines := make([]string, 0, len(out.Value))
	for _, l := range out.Value {
		lines = append(lines, l.Text)
	}
	return strings.Join(lines, "\n")
}

// edit changes one text in a file of ada's work tree.
func (s *story) edit(file, from, to string) error {
	p := filepath.Join(s.people["ada"].work, filepath.FromSlash(file))
	data, err := os.ReadFile(p)
	if err != nil {
		return err
	}
	if !strings.Contains(string(data), from) {
		return fmt.Errorf("%s does not contain %q", file, from)
	}
	return os.WriteFile(p, []byte(strings.Replace(string(data), from, to, 1)), 0o644)
}

// branch begins a branch of ada's at main.
func (s *story) branch(name string) error {
	ada := s.people["ada"]
	for _, args := range [][]string{{"fetch", "--quiet", "origin"}, {"checkout", "--quiet", "-B", name, "origin/main"}} {
		if err := s.git(ada, ada.work, args...); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) commit(branch, message string) error {
	ada := s.people["ada"]
	for _, args := range [][]string{{"add", "-A"}, {"commit", "--quiet", "--allow-empty", "-m", message}, {"push", "--quiet", "origin", branch}} {
		if err := s.git(ada, ada.work, args...); err != nil {
			return err
		}
	}
	return nil
}

// propose opens a pull request and returns its number.
func (s *story) propose(branch, title string) (int, error) {
	var pr struct{ PullRequestID int }
	err := s.call("ada", http.MethodPost, inProject("/_apis/git/repositories/"+repoName+"/pullRequests"),
		map[string]string{"sourceRefName": "refs/heads/" + branch, "targetRefName": "refs/heads/main", "title": title}, &pr)
	return pr.PullRequestID, err
}

func prPath(n int) string {
	return inProject(fmt.Sprintf("/_apis/git/repositories/%s/pullRequests/%d", repoName, n))
}

// merge lets grace approve and ada complete; the policies must be satisfied.
func (s *story) merge(n int) (commit string, err error) {
	if err := s.call("grace", http.MethodPut, prPath(n)+"/reviewers/me", map[string]int{"vote": 10}, nil); err != nil {
		return "", err
	}
	var pr struct {
		LastMergeCommit       struct{ CommitID string }
		LastMergeSourceCommit struct{ CommitID string }
	}
	if err := s.call("ada", http.MethodGet, prPath(n), nil, &pr); err != nil {
		return "", err
	}
	in := map[string]any{"status": "completed", "lastMergeSourceCommit": map[string]string{"commitId": pr.LastMergeSourceCommit.CommitID}}
	err = s.call("ada", http.MethodPatch, prPath(n), in, &pr)
	return pr.LastMergeCommit.CommitID, err
}

// change makes a branch with one edit, takes it through a pull request, and
// returns the integration run that the merge starts.
func (s *story) change(branch, title string, edit func() error) (*build, error) {
	before, err := s.latest("storefront-ci")
	if err != nil {
		return nil, err
	}
	checked, err := s.latest("storefront-pr")
	if err != nil {
		return nil, err
	}
	branch += "-" + strconv.FormatInt(time.Now().Unix(), 36)
	if err := s.branch(branch); err != nil {
		return nil, err
	}
	if err := edit(); err != nil {
		return nil, err
	}
	if err := s.commit(branch, title); err != nil {
		return nil, err
	}
	n, err := s.propose(branch, title)
	if err != nil {
		return nil, err
	}
	run, err := s.next("storefront-pr", checked.ID)
	if err != nil {
		return nil, err
	}
	if err := s.expectResult(run, "succeeded"); err != nil {
		return nil, err
	}
	if _, err := s.merge(n); err != nil {
		return nil, err
	}
	return s.next("storefront-ci", before.ID)
}
