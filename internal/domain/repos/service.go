package repos

import (
	"context"
	"maps"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/base/outbox"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/base/telemetry"
	"penstock.dev/penstock/internal/domain/audit"
	"penstock.dev/penstock/internal/domain/identity"
)

// TopicPushed is the outbox topic of an accepted push; its payload is the push id.
const TopicPushed = "push.accepted"

// Protection says which refs only a pull request may move.
type Protection interface {
	// Refuses returns why a direct update of the ref is refused, or nil.
	Refuses(ctx context.Context, r *Repository, ref string) error
}

// Service holds the use cases of repositories.
type Service struct {
	Repositories store.Table[Repository]
	Pushes       store.Table[Push]
	Tx           store.Runner
	Audit        *audit.Service
	Clock        store.Clock
	Git          Git
	History      History
	Protection   Protection
}

// Create makes an empty repository.
func (s *Service) Create(ctx context.Context, projectID, name string) (*Repository, error) {
	if err := identity.CheckName("repository", name); err != nil {
		return nil, err
	}
	r := &Repository{ID: id.New(), ProjectID: projectID, Key: key(projectID, name), Name: name,
		DefaultBranch: "refs/heads/main", Refs: map[string]string{}, Created: s.Clock.Now()}
	if found, err := store.First(ctx, s.Repositories, store.Where("key", r.Key)); err != nil || found != nil {
		if err == nil {
			err = fault.New(fault.Conflict, "already-exists", "repository %s exists already", name)
		}
		return nil, err
	}
	// The folder first: a repository that is listed can be pushed to.
	if err := s.Git.Init(ctx, r.ID, "main"); err != nil {
		return nil, err
	}
	return r, s.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := s.Repositories.Insert(ctx, r); err != nil {
			return err
		}
		return s.Audit.Record(ctx, identity.From(ctx).Name, "repo.create", "repo "+name, "")
	})
}

func key(projectID, name string) string { return projectID + "/" + strings.ToLower(name) }

// Find returns a repository of a project by name or id.
func (s *Service) Find(ctx context.Context, projectID, nameOrID string) (*Repository, error) {
	nameOrID = strings.TrimSuffix(nameOrID, ".git")
	r, err := store.First(ctx, s.Repositories, store.Where("key", key(projectID, nameOrID)))
	if err != nil || r != nil {
		return r, err
	}
	r, err = s.Repositories.Get(ctx, nameOrID)
	if err == nil && r.ProjectID != projectID || fault.Is(err, fault.NotFound) {
		return nil, fault.New(fault.NotFound, "not-found", "no repository %s", nameOrID).Try("penstock repo list")
	}
	return r, err
}

// CheckPush decides, before anything is stored, whether the updates of a push
// may happen. The map holds the reason for each ref that may not; nil = all may.
func (s *Service) CheckPush(ctx context.Context, r *Repository, updates []RefUpdate) map[string]error {
	refused := map[string]error{}
	for _, u := range updates {
		err := CheckRef(u.Ref)
		if err == nil && strings.HasPrefix(u.Ref, "refs/pull/") {
			err = fault.New(fault.Denied, "reserved-ref", "refs/pull/ belongs to pull requests")
		}
		if err == nil && s.Protection != nil {
			err = s.Protection.Refuses(ctx, r, u.Ref)
		}
		if err != nil {
			refused[u.Ref] = err
		}
	}
	if len(refused) == 0 {
		return nil
	}
	return refused
}

// AcceptPush records ref updates that Git has made, and lets the runs they
// start leave by the outbox. Updates already recorded are passed over, so it is
// safe to repeat.
func (s *Service) AcceptPush(ctx context.Context, repoID string, by identity.Subject, updates []RefUpdate) error {
	ctx, span := telemetry.Start(ctx, "repos.AcceptPush")
	defer span.End()
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		r, err := s.Repositories.Get(ctx, repoID)
		if err != nil {
			return err
		}
		refs := maps.Clone(r.Refs)
		if refs == nil {
			refs = map[string]string{}
		}
		var news []RefUpdate
		for _, u := range updates {
			if refs[u.Ref] == u.New || refs[u.Ref] == "" && u.New == Zero {
				continue
			}
			if refs[u.Ref] != "" {
				u.Old = refs[u.Ref]
			}
			if u.New == Zero {
				delete(refs, u.Ref)
			} else {
				refs[u.Ref] = u.New
			}
			news = append(news, u)
		}
		if len(news) == 0 {
			return nil
		}
		r.Refs = refs
		if err := s.Repositories.Save(ctx, r); err != nil {
			return err
		}
		p := &Push{ID: id.New(), RepoID: r.ID, PusherID: by.ID, Pusher: by.Name, Time: s.Clock.Now(), Updates: news}
		if err := s.Pushes.Insert(ctx, p); err != nil {
			return err
		}
		return s.Tx.Emit(ctx, outbox.New(TopicPushed, r.ID, p.ID))
	})
}

// Reconcile records what Git holds and the database does not know: the refs of
// a push during which the server was killed. It runs at start.
func (s *Service) Reconcile(ctx context.Context) error {
	all, err := s.Repositories.Find(ctx, store.Query{})
	if err != nil {
		return err
	}
	for _, r := range all {
		refs, err := s.Git.Refs(ctx, r.ID)
		if err != nil {
			return err
		}
		var missed []RefUpdate
		for ref, commit := range refs {
			if strings.HasPrefix(ref, "refs/pull/") || r.Refs[ref] == commit {
				continue
			}
			missed = append(missed, RefUpdate{Ref: ref, Old: orZero(r.Refs[ref]), New: commit})
		}
		for ref, commit := range r.Refs {
			if _, there := refs[ref]; !there {
				missed = append(missed, RefUpdate{Ref: ref, Old: commit, New: Zero})
			}
		}
		if err := s.AcceptPush(ctx, r.ID, identity.System(), missed); err != nil {
			return err
		}
	}
	return nil
}

func orZero(commit string) string {
	if commit == "" {
		return Zero
	}
	return commit
}
