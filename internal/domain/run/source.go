package run

import (
	"context"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
)

// source reads the files of a run: its own repository at its commit, others at
// the ref their resource names.
type source struct {
	s         *Service
	projectID string
	repoID    string
	commit    string
	others    map[string]pipeline.RepositoryResource
	resolved  map[string][2]string // alias → repository id, commit
	override  []byte               // stands for the root file; nil: the repository's
	root      string               // path of the root file
}

// ReadFile implements pipeline.Source.
func (f *source) ReadFile(ctx context.Context, repository, path string) ([]byte, error) {
	if repository == "self" {
		if f.override != nil && path == f.root {
			return f.override, nil
		}
		return f.s.Repos.Git.ReadFile(ctx, f.repoID, f.commit, path)
	}
	at, known := f.resolved[repository]
	if !known {
		res, declared := f.others[repository]
		if !declared {
			return nil, fault.New(fault.NotFound, "repository-not-available", "no repository resource %s", repository)
		}
		name := res.Name
		if _, short, ok := strings.Cut(name, "/"); ok {
			name = short
		}
		r, err := f.s.Repos.Find(ctx, f.projectID, name)
		if err != nil {
			return nil, fault.Wrap(err, fault.NotFound, "repository-not-available", "repository %s (alias %s) is not on this server", res.Name, repository)
		}
		ref := res.Ref
		if ref == "" {
			ref = r.DefaultBranch
		}
		commit, err := f.s.Repos.History.Resolve(ctx, r.ID, ref)
		if err != nil {
			return nil, fault.Wrap(err, fault.NotFound, "repository-not-available", "repository %s has no %s", res.Name, ref)
		}
		at = [2]string{r.ID, commit}
		f.resolved[repository] = at
	}
	return f.s.Repos.Git.ReadFile(ctx, at[0], at[1], path)
}

func (s *Service) sourceOf(ctx context.Context, p *Pipeline, commit string) (*source, *pipeline.Plan, []pipeline.Diagnostic, error) {
	f := &source{s: s, projectID: p.ProjectID, repoID: p.RepoID, commit: commit, others: map[string]pipeline.RepositoryResource{}, resolved: map[string][2]string{}}
	head, diags, err := pipeline.ReadHead(ctx, f, p.Path)
	return f, head, diags, err
}

// Declare implements pipeline.Declarer.
func (f *source) Declare(r pipeline.RepositoryResource) { f.others[r.Alias] = r }

// Plan compiles the pipeline as a run of it would and stores nothing.
func (s *Service) Plan(ctx context.Context, q QueueRequest) (*pipeline.Plan, error) {
	src, in, err := s.compilation(ctx, q)
	if err != nil {
		return nil, err
	}
	plan, diags, err := pipeline.Compile(ctx, src, in)
	if plan == nil && err == nil {
		return nil, invalidPipeline(q.Pipeline, diags)
	}
	if err == nil {
		err = plan.Select(q.Only)
	}
	return plan, err
}

// compilation is what a run of the request would be compiled from.
func (s *Service) compilation(ctx context.Context, q QueueRequest) (*source, pipeline.Input, error) {
	r, err := s.newRun(ctx, q)
	if err != nil {
		return nil, pipeline.Input{}, err
	}
	src, _, _, err := s.sourceOf(ctx, q.Pipeline, r.Commit)
	return src, pipeline.Input{File: q.Pipeline.Path, Parameters: q.Parameters, Variables: compileVariables(r, q.Pipeline)}, err
}

func invalidPipeline(p *Pipeline, diags []pipeline.Diagnostic) error {
	var b strings.Builder
	pipeline.Render(&b, diags)
	return fault.New(fault.Invalid, "invalid-pipeline", "%s has errors:\n%s", p.Path, strings.TrimRight(b.String(), "\n"))
}

// Preview expands the pipeline as a run of it would and stores nothing. With
// text, that stands for the root file. A file with errors is an Invalid error
// whose message has a line for each, in the service's form.
func (s *Service) Preview(ctx context.Context, q QueueRequest, text string) (string, error) {
	src, in, err := s.compilation(ctx, q)
	if err != nil {
		return "", err
	}
	if src.root = strings.TrimPrefix(q.Pipeline.Path, "/"); text != "" {
		src.override = []byte(text)
	}
	expanded, diags, err := pipeline.Expand(ctx, src, in)
	if err != nil {
		return "", err
	}
	if expanded == nil {
		var lines []string
		for _, d := range diags {
			if d.Severity == pipeline.Error {
				lines = append(lines, d.Service())
			}
		}
		return "", fault.New(fault.Invalid, "invalid-pipeline", "%s", strings.Join(lines, "\n"))
	}
	return expanded.YAML()
}
