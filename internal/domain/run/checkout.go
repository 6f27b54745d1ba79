package run

import (
	"cmp"
	"net/url"
	"path"
	"path/filepath"
	"strings"

	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/domain/identity"
)

// Checkout is a working tree of a person, as far as it is known to those who do
// not see it.
type Checkout struct {
	User, Email string
	Project     string // of the service that it was cloned from; "local" elsewhere
	Default     string // branch that pull requests go to
	Origin      Origin
}

// CheckoutOf reads the address that a folder was cloned from; "" = nowhere.
func CheckoutOf(folder, origin, user, email string) Checkout {
	name := FolderName(filepath.Base(folder))
	c := Checkout{User: cmp.Or(user, "you"), Email: email, Project: "local", Default: "main", Origin: Origin{Provider: "TfsGit", ID: id.From("repository", name), Name: name, URL: "file://" + filepath.ToSlash(folder)}}
	host, at := address(origin)
	switch parts := strings.Split(at, "/"); {
	case at == "":
	case host == "github.com" && len(parts) == 2:
		c.Origin = Origin{Provider: "GitHub", ID: at, Name: at, URL: "https://github.com/" + at}
	case host == "bitbucket.org" && len(parts) == 2:
		c.Origin = Origin{Provider: "Bitbucket", ID: at, Name: at, URL: "https://bitbucket.org/" + at}
	case host == "ssh.dev.azure.com" && len(parts) == 4: // v3/organization/project/repository
		c.Project, c.Origin.Name = FolderName(parts[2]), parts[3]
		c.Origin.URL = "https://dev.azure.com/" + parts[1] + "/" + parts[2] + "/_git/" + parts[3]
	case len(parts) > 2 && parts[len(parts)-2] == "_git":
		c.Project, c.Origin.Name, c.Origin.URL = FolderName(parts[len(parts)-3]), parts[len(parts)-1], plainURL(origin)
	default:
		c.Origin = Origin{Provider: "Git", ID: plainURL(origin), Name: path.Base(at), URL: plainURL(origin)}
	}
	return c
}

// Subject is the person whose checkout it is.
func (c Checkout) Subject() identity.Subject {
	return identity.Subject{Kind: identity.UserKind, ID: id.From("person", cmp.Or(c.Email, c.User)), Name: c.User}
}

// Request asks for a run of the checkout. The pull request that none was made of
// yet has the number 0, which no other has, and goes to the default branch.
func (c Checkout) Request(branch, commit string, reason Reason) QueueRequest {
	q := QueueRequest{Branch: branch, Commit: commit, Reason: reason, By: c.Subject(), Email: c.Email, Origin: c.Origin}
	if reason == PullRequestReason {
		q.Branch, q.PullRequest = "refs/pull/0/merge", 0
		q.PR = &PRInfo{SourceBranch: branch, TargetBranch: "refs/heads/" + c.Default, SourceCommit: commit}
	}
	return q
}

// Visible are the variables that a file may read while it is expanded, before
// its run is queued.
func (c Checkout) Visible(pipeline string, q QueueRequest) map[string]string {
	r := &Run{Pipeline: pipeline, PipelineID: "1", Reason: q.Reason, Origin: q.Origin, Project: c.Project, Branch: q.Branch, Commit: q.Commit, Variables: q.Variables,
		RequestedBy: q.By.Name, RequestedByID: q.By.ID, RequestedEmail: q.Email, PullRequest: q.PullRequest, PR: q.PR}
	return compileVariables(r, &Pipeline{})
}

// address takes an address of git apart: its host, and the path without a suffix.
func address(origin string) (host, at string) {
	origin = strings.TrimSuffix(strings.TrimRight(origin, "/"), ".git")
	if u, err := url.Parse(origin); err == nil && u.Host != "" {
		at, _ = url.PathUnescape(strings.Trim(u.EscapedPath(), "/"))
		return strings.ToLower(u.Hostname()), at
	}
	before, after, ok := strings.Cut(origin, ":") // user@host:path
	if !ok || strings.Contains(before, "/") {
		return "", strings.Trim(filepath.ToSlash(origin), "/")
	}
	return strings.ToLower(before[strings.LastIndexByte(before, '@')+1:]), strings.Trim(after, "/")
}

// plainURL is an address without a name or a password.
func plainURL(origin string) string {
	if u, err := url.Parse(origin); err == nil && u.Host != "" {
		u.User = nil
		return u.String()
	}
	return origin
}

// FolderName makes a folder's name one that a repository may have.
func FolderName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '-'
	}, name)
	const longest = 64
	if name = strings.Trim(name[max(0, len(name)-longest):], "-._"); name == "" || strings.Contains(name, "..") {
		return "repository"
	}
	return name
}

// FilesName is what the pipeline of a file in a folder is called.
func FilesName(folder, file string) string {
	name := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(file), ".yml"), ".yaml")
	if strings.HasPrefix(name, "azure-pipelines") {
		name = filepath.Base(folder)
	}
	return FolderName(name)
}
