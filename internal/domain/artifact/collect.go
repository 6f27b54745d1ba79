package artifact

import (
	"context"
	"slices"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/artifact/tree"
)

// LooseFor is how long chunks stay that no artifact uses: an upload that has not
// become an artifact by then has to begin anew.
const LooseFor = 24 * time.Hour

// Collect deletes packs of which no artifact uses a chunk, lists of files that
// are no artifact's, once they are LooseFor old. It returns their number. While
// it looks, no artifact is published.
func (s *Service) Collect(ctx context.Context) (int, error) {
	s.packs.using.Lock()
	defer s.packs.using.Unlock()
	list, err := s.Blobs.List(ctx, "artifacts")
	if err != nil {
		return 0, err
	}
	before, n := s.Clock.Now().Add(-LooseFor), 0
	old := map[string][]string{} // by project
	for _, b := range list {
		if parts := strings.Split(b.Key, "/"); len(parts) == 4 && b.Stored.Before(before) {
			old[parts[1]] = append(old[parts[1]], b.Key)
		}
	}
	for project, keys := range old {
		deleted, err := s.collect(ctx, project, keys)
		if n += deleted; err != nil {
			return n, err
		}
	}
	return n, nil
}

func (s *Service) collect(ctx context.Context, project string, keys []string) (int, error) {
	used, err := s.used(ctx, project)
	if err != nil {
		return 0, err
	}
	keys = slices.DeleteFunc(keys, func(key string) bool { return used[key] })
	if len(keys) == 0 {
		return 0, nil
	}
	if err := s.forget(ctx, project, keys); err != nil {
		return 0, err
	}
	for n, key := range keys {
		if err := s.Blobs.Delete(ctx, key); err != nil {
			return n, err
		}
	}
	return len(keys), nil
}

// used are the keys that the artifacts of a project need.
func (s *Service) used(ctx context.Context, project string) (map[string]bool, error) {
	uses, err := s.Uses.Find(ctx, store.Where("project_id", project))
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	for _, u := range uses {
		used[u.Manifest] = true
		for _, key := range u.Packs {
			used[key] = true
		}
	}
	return used, nil
}

// forget takes packs off the shelf. A chunk that lies in another one as well is
// found there from now on.
func (s *Service) forget(ctx context.Context, project string, keys []string) error {
	sh, err := s.shelf(ctx, project)
	if err != nil {
		return err
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	left := slices.DeleteFunc(sh.packs, func(key string) bool { return slices.Contains(keys, key) })
	sh.packs, sh.where = nil, map[tree.Digest]spot{}
	for _, key := range left {
		if err := s.load(ctx, sh, key); err != nil {
			sh.loaded = false // it is read again when it is asked for
			sh.packs, sh.where = nil, map[tree.Digest]spot{}
			return err
		}
	}
	return nil
}
