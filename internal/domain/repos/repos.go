// Package repos holds Git repositories: what a push may do, and the record of
// every push that was accepted.
package repos

import (
	"strings"
	"time"

	"context"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/store"
)

// Repository is one bare repository.
type Repository struct {
	store.Revision
	ID            string            `col:"id" json:"id"`
	ProjectID     string            `col:"project_id" json:"projectId"`
	Key           string            `col:"key" json:"key"` // project id / lower-case name, unique
	Name          string            `json:"name"`
	DefaultBranch string            `json:"defaultBranch"` // refs/heads/main
	Refs          map[string]string `json:"refs"`          // as of the last accepted push
	Created       time.Time         `json:"created"`
}

// RefUpdate is one command of a push. An all-zero Old makes the ref, an
// all-zero New deletes it.
type RefUpdate struct {
	Ref string `json:"ref"`
	Old string `json:"old"`
	New string `json:"new"`
}

// Zero is the object id that stands for "no object".
const Zero = "0000000000000000000000000000000000000000"

// Push is one accepted push.
type Push struct {
	store.Revision
	ID       string      `col:"id" json:"id"`
	RepoID   string      `col:"repo_id" json:"repoId"`
	PusherID string      `json:"pusherId"`
	Pusher   string      `json:"pusher"`
	Time     time.Time   `json:"time"`
	Updates  []RefUpdate `json:"updates"`
}

// Commit is what pages and triggers need to know of a commit.
type Commit struct {
	ID      string    `json:"id"`
	Parents []string  `json:"parents"`
	Author  string    `json:"author"`
	Email   string    `json:"email"`
	Time    time.Time `json:"time"`
	Message string    `json:"message"`
}

// Subject returns the first line of the message.
func (c Commit) Subject() string {
	line, _, _ := strings.Cut(c.Message, "\n")
	return line
}

// TreeEntry is one name in a folder.
type TreeEntry struct {
	Name   string
	Folder bool
	Size   int64
}

// MergeRequest asks for a merge of Source into Target, both commit ids.
type MergeRequest struct {
	Target, Source string
	Message        string
	Author, Email  string
	Squash         bool
}

// Git is the writing side of a repository's storage. Every revision given to it
// is a full commit id; refs are full names.
type Git interface {
	Init(ctx context.Context, repoID, defaultBranch string) error
	Refs(ctx context.Context, repoID string) (map[string]string, error)
	// UpdateRef moves a ref if it still is at old; fault.Conflict if not.
	UpdateRef(ctx context.Context, repoID, ref, new, old string) error
	// Merge writes a merge commit and returns its id; fault.Conflict with code
	// merge-conflict names the files that do not merge.
	Merge(ctx context.Context, repoID string, m MergeRequest) (string, error)
	ReadFile(ctx context.Context, repoID, commit, path string) ([]byte, error)
}

// History is the reading side.
type History interface {
	// Resolve turns a branch, tag, ref or commit id into a commit id.
	Resolve(ctx context.Context, repoID, revision string) (string, error)
	// ChangedPaths lists the files that differ between two commits; an all-zero
	// from means every file of to.
	ChangedPaths(ctx context.Context, repoID, from, to string) ([]string, error)
	Commits(ctx context.Context, repoID, from, to string, limit int) ([]Commit, error)
	// Diff is a unified diff of what to adds since it left from.
	Diff(ctx context.Context, repoID, from, to string) (string, error)
	Tree(ctx context.Context, repoID, commit, path string) ([]TreeEntry, error)
}

// CheckRef refuses ref names that Git or a page could misread.
func CheckRef(ref string) error {
	bad := fault.New(fault.Invalid, "invalid-ref", "ref %q is not usable", ref).Want("a full name such as refs/heads/main")
	if !strings.HasPrefix(ref, "refs/") || len(ref) > 250 || strings.ContainsAny(ref, " ~^:?*[\\\x7f") ||
		strings.Contains(ref, "..") || strings.Contains(ref, "//") || strings.Contains(ref, "@{") ||
		strings.HasSuffix(ref, "/") || strings.HasSuffix(ref, ".lock") || strings.HasSuffix(ref, ".") {
		return bad
	}
	for _, part := range strings.Split(ref, "/") {
		if strings.HasPrefix(part, ".") || strings.HasPrefix(part, "-") {
			return bad
		}
	}
	for _, r := range ref {
		if r < 0x20 {
			return bad
		}
	}
	return nil
}

// Short returns a branch's or tag's name without its prefix.
func Short(ref string) string {
	for _, p := range []string{"refs/heads/", "refs/tags/"} {
		if rest, ok := strings.CutPrefix(ref, p); ok {
			return rest
		}
	}
	return ref
}

// FullBranch is the inverse of Short for branches.
func FullBranch(name string) string {
	if name == "" || strings.HasPrefix(name, "refs/") {
		return name
	}
	return "refs/heads/" + name
}
