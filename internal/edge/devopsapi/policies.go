package devopsapi

import (
	"context"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/pullrequest"
)

const (
	policyTypesID       = "44096322-2d3d-466a-bb30-d1b7de69f61f"
	configurationsID    = "dad91cbe-d183-45f8-9c6e-9c1164472121"
	policyEvaluationsID = "c23ddff5-229c-4d04-a80b-0fdce9f360c8"
)

var policyRoutes = []Route{
	{"policy", "types", policyTypesID, "GET", "{project}/_apis/policy/types", identity.ProjectView, (*call).listPolicyTypes, nil, smallJSON},
	{"policy", "configurations", configurationsID, "GET", "{project}/_apis/policy/configurations", identity.ProjectView, (*call).listPolicies, nil, smallJSON},
	{"policy", "configurations", configurationsID, "POST", "{project}/_apis/policy/configurations", identity.ProjectEdit, (*call).createPolicy, nil, smallJSON},
	{"policy", "configurations", configurationsID, "GET", "{project}/_apis/policy/configurations/{configuration}", identity.ProjectView, (*call).getPolicy, nil, smallJSON},
	{"policy", "configurations", configurationsID, "DELETE", "{project}/_apis/policy/configurations/{configuration}", identity.ProjectEdit, (*call).deletePolicy, nil, smallJSON},
	{"policy", "evaluations", policyEvaluationsID, "GET", "{project}/_apis/policy/evaluations", identity.ProjectView, (*call).listEvaluations, nil, smallJSON},
}

type policyType struct {
	ID          string `json:"id"`
	DisplayName string `json:"displayName"`
}

var policyTypes = map[pullrequest.PolicyType]policyType{
	pullrequest.MinimumReviewers: {"fa4e907d-c16b-4a4c-9dfa-4906e5d171dd", "Minimum number of reviewers"},
	pullrequest.BuildValidation:  {"0609b952-1397-4640-95ec-e00a01b2c241", "Build"},
}

type policyScope struct {
	RepositoryID *string `json:"repositoryId"`
	RefName      string  `json:"refName"`
	MatchKind    string  `json:"matchKind"`
}

// policySettings are those of both types; each uses its own.
type policySettings struct {
	Reviewers         int           `json:"minimumApproverCount,omitempty"`
	CreatorVoteCounts bool          `json:"creatorVoteCounts,omitempty"`
	AllowDownvotes    bool          `json:"allowDownvotes,omitempty"`
	ResetOnSourcePush bool          `json:"resetOnSourcePush,omitempty"`
	BlockLastPusher   bool          `json:"blockLastPusherVote,omitempty"`
	Definition        any           `json:"buildDefinitionId,omitempty"`
	Pipeline          string        `json:"pipeline,omitempty"`
	DisplayName       string        `json:"displayName,omitempty"`
	Scope             []policyScope `json:"scope"`
}

type policyShape struct {
	ID         int            `json:"id"`
	Type       policyType     `json:"type"`
	Revision   int64          `json:"revision"`
	IsEnabled  bool           `json:"isEnabled"`
	IsBlocking bool           `json:"isBlocking"`
	IsDeleted  bool           `json:"isDeleted"`
	Created    time.Time      `json:"createdDate"`
	Settings   policySettings `json:"settings"`
	URL        string         `json:"url"`
}

func (c *call) policyShape(p *pullrequest.Policy) policyShape {
	scope := policyScope{RefName: p.Branch, MatchKind: "Exact"}
	if p.RepoID != "" {
		scope.RepositoryID = &p.RepoID
	}
	s := p.Settings
	shape := policyShape{ID: p.Num, Type: policyTypes[p.Type], Revision: p.Rev(), IsEnabled: !p.Disabled, IsBlocking: !p.Optional, Created: p.Created,
		URL: c.base() + "/" + p.ProjectID + "/_apis/policy/configurations/" + p.ID,
		Settings: policySettings{Reviewers: s.Reviewers, CreatorVoteCounts: s.CreatorVoteCounts, AllowDownvotes: s.AllowDownvotes,
			ResetOnSourcePush: s.ResetOnSourcePush, BlockLastPusher: s.LastPusherVoteDead, Pipeline: s.Pipeline, DisplayName: s.DisplayName, Scope: []policyScope{scope}}}
	if s.PipelineID != "" {
		shape.Settings.Definition = number(s.PipelineID)
	}
	return shape
}

func (c *call) listPolicyTypes() (any, error) {
	return listOf([]policyType{policyTypes[pullrequest.MinimumReviewers], policyTypes[pullrequest.BuildValidation]}), nil
}

func (c *call) listPolicies() (any, error) {
	found, err := c.PullRequests.Policies.Find(c.ctx(), store.Where("project_id", c.project.ID).By("num"))
	if err != nil {
		return nil, err
	}
	out := []policyShape{}
	for _, p := range found {
		shape := c.policyShape(p)
		if want := c.query("policyType"); want == "" || strings.EqualFold(want, shape.Type.ID) {
			out = append(out, shape)
		}
	}
	return listOf(out), nil
}

func (c *call) policy() (*pullrequest.Policy, error) {
	p, err := c.PullRequests.Policies.Get(c.ctx(), c.params["configuration"])
	if err != nil || p.ProjectID != c.project.ID {
		return nil, fault.New(fault.NotFound, "not-found", "no policy %s", c.params["configuration"]).Try("penstock policy list")
	}
	return p, nil
}

func (c *call) getPolicy() (any, error) {
	p, err := c.policy()
	if err != nil {
		return nil, err
	}
	return c.policyShape(p), nil
}

func (c *call) createPolicy() (any, error) {
	var in struct {
		Type       policyType
		IsEnabled  *bool
		IsBlocking *bool
		Settings   policySettings
	}
	if err := c.read(&in); err != nil {
		return nil, err
	}
	p := &pullrequest.Policy{ProjectID: c.project.ID, Disabled: in.IsEnabled != nil && !*in.IsEnabled, Optional: in.IsBlocking != nil && !*in.IsBlocking}
	for name, t := range policyTypes {
		if strings.EqualFold(t.ID, in.Type.ID) || strings.EqualFold(string(name), in.Type.ID) {
			p.Type = name
		}
	}
	if p.Type == "" {
		return nil, fault.New(fault.Invalid, "unknown-policy", "no policy type %q", in.Type.ID).Want("minimumReviewers or buildValidation, or the id of one")
	}
	s := in.Settings
	if len(s.Scope) != 1 || s.Scope[0].MatchKind != "" && !strings.EqualFold(s.Scope[0].MatchKind, "exact") {
		return nil, fault.New(fault.Invalid, "policy-scope", "a policy holds for one branch, named exactly").Want(`scope: [{"repositoryId", "refName", "matchKind": "Exact"}]`)
	}
	p.Branch = s.Scope[0].RefName
	if name := s.Scope[0].RepositoryID; name != nil && *name != "" {
		r, err := c.Repos.Find(c.ctx(), c.project.ID, *name)
		if err != nil {
			return nil, err
		}
		p.RepoID = r.ID
	}
	p.Settings = pullrequest.PolicySettings{Reviewers: s.Reviewers, CreatorVoteCounts: s.CreatorVoteCounts, AllowDownvotes: s.AllowDownvotes,
		ResetOnSourcePush: s.ResetOnSourcePush, LastPusherVoteDead: s.BlockLastPusher, DisplayName: s.DisplayName, PipelineID: s.Pipeline}
	if s.Definition != nil {
		p.Settings.PipelineID = text(s.Definition)
	}
	if err := c.PullRequests.AddPolicy(c.ctx(), p); err != nil {
		return nil, err
	}
	return c.policyShape(p), nil
}

func (c *call) deletePolicy() (any, error) {
	p, err := c.policy()
	if err != nil {
		return nil, err
	}
	return nil, c.PullRequests.Tx.InTx(c.ctx(), func(ctx context.Context) error {
		if err := c.PullRequests.Policies.Delete(ctx, p.ID); err != nil {
			return err
		}
		return c.Audit.Record(ctx, c.subject.Name, "policy.delete", "policy "+p.ID, string(p.Type)+" "+p.Branch)
	})
}

type evaluationShape struct {
	ID            string            `json:"evaluationId"`
	ArtifactID    string            `json:"artifactId"`
	Configuration policyShape       `json:"configuration"`
	Status        string            `json:"status"`
	Reason        string            `json:"reason,omitempty"` // ours: for people
	Context       map[string]string `json:"context,omitempty"`
}

// listEvaluations judges a pull request, named as
// vstfs:///CodeReview/CodeReviewId/{project}/{number} or by its number.
func (c *call) listEvaluations() (any, error) {
	artifact := c.query("artifactId")
	pr, err := c.PullRequests.Find(c.ctx(), c.project.ID, artifact[strings.LastIndex(artifact, "/")+1:])
	if err != nil {
		return nil, err
	}
	r, err := c.Repos.Repositories.Get(c.ctx(), pr.RepoID)
	if err != nil {
		return nil, err
	}
	policies, err := c.PullRequests.PoliciesFor(c.ctx(), r, pr.Target)
	if err != nil {
		return nil, err
	}
	all := mapped(pullrequest.Evaluate(pr, policies), func(e pullrequest.Evaluation) evaluationShape {
		shape := evaluationShape{ID: id.From("evaluation", pr.ID, e.Policy.ID), ArtifactID: artifact, Configuration: c.policyShape(e.Policy), Status: e.State, Reason: e.Reason}
		if e.RunID != "" {
			shape.Context = map[string]string{"buildId": e.RunID}
		}
		return shape
	})
	skip := min(c.skip(), len(all.Value))
	return listOf(all.Value[skip:min(len(all.Value), skip+c.top(1000))]), nil
}
