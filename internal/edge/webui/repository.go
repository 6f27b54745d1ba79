package webui

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/repos"
	"penstock.dev/penstock/internal/edge/webui/diffview"
	"penstock.dev/penstock/internal/edge/webui/pages"
)

const maxFileShown = 512 << 10

func compareFold(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) }

func repoList(c *call) error {
	list, err := c.repositories()
	if err != nil {
		return err
	}
	var rows []pages.RepoView
	for _, r := range list {
		v := pages.RepoView{Repo: r, Branches: branches(r)}
		if head := r.Refs[r.DefaultBranch]; head != "" {
			v.Last = c.lastCommit(r, head)
		}
		rows = append(rows, v)
	}
	return c.page("code", "Code", pages.RepoList(c.frame, rows))
}

// branches of a repository, the default one first.
func branches(r *repos.Repository) []string {
	var list []string
	for ref := range r.Refs {
		if name, ok := strings.CutPrefix(ref, "refs/heads/"); ok {
			list = append(list, name)
		}
	}
	slices.SortFunc(list, func(a, b string) int {
		switch r.DefaultBranch {
		case "refs/heads/" + a:
			return -1
		case "refs/heads/" + b:
			return 1
		}
		return strings.Compare(a, b)
	})
	return list
}

func (c *call) lastCommit(r *repos.Repository, commit string) *repos.Commit {
	list, err := c.s.Repos.History.Commits(c.ctx(), r.ID, "", commit, 1)
	if err != nil || len(list) == 0 {
		return nil
	}
	return &list[0]
}

func (c *call) repoView(r *repos.Repository) pages.RepoView {
	scheme := "http"
	if c.r.TLS != nil {
		scheme = "https"
	}
	return pages.RepoView{Repo: r, Branches: branches(r), Now: c.now,
		Clone: scheme + "://" + c.r.Host + c.frame.P() + "/_git/" + pages.Seg(r.Name)}
}

func repoHome(c *call) error {
	r, err := c.findRepo()
	if err != nil {
		return err
	}
	ref := c.r.FormValue("ref")
	if ref == "" {
		ref = repos.Short(r.DefaultBranch)
	}
	if len(r.Refs) > 0 && (r.Refs["refs/heads/"+ref] != "" || c.r.FormValue("ref") != "") {
		return c.redirect(c.frame.At("repos", r.Name)+"/tree/"+pages.Path(ref), http.StatusFound)
	}
	return c.page("code", r.Name, pages.RepoTree(c.frame, c.repoView(r)))
}

// splitRef finds which part of an address is the ref: the longest known branch
// or tag, else its first segment.
func splitRef(r *repos.Repository, rest string) (ref, path string) {
	rest = strings.Trim(rest, "/")
	for full := range r.Refs {
		name := repos.Short(full)
		if (rest == name || strings.HasPrefix(rest, name+"/")) && len(name) > len(ref) {
			ref = name
		}
	}
	if ref == "" {
		ref, _, _ = strings.Cut(rest, "/")
	}
	return ref, strings.Trim(strings.TrimPrefix(rest, ref), "/")
}

// resolve turns the ref of an address into a commit. Names that Git could take
// for an option or an expression are refused before Git sees them.
func (c *call) resolve(r *repos.Repository, ref string) (string, error) {
	for _, full := range []string{"refs/heads/" + ref, "refs/tags/" + ref} {
		if r.Refs[full] != "" {
			return c.s.Repos.History.Resolve(c.ctx(), r.ID, full)
		}
	}
	if !isCommitID(ref) {
		return "", fault.New(fault.NotFound, "not-found", "repository %s has no branch, tag or commit %s", r.Name, ref)
	}
	return c.s.Repos.History.Resolve(c.ctx(), r.ID, ref)
}

func isCommitID(s string) bool {
	return len(s) >= 7 && len(s) <= 40 && strings.Trim(s, "0123456789abcdef") == ""
}

func repoTree(c *call) error {
	r, err := c.findRepo()
	if err != nil {
		return err
	}
	v := c.repoView(r)
	v.Ref, v.Path = splitRef(r, c.r.PathValue("rest"))
	if v.Commit, err = c.resolve(r, v.Ref); err != nil {
		return err
	}
	v.Last = c.lastCommit(r, v.Commit)
	c.frame.Permalink = c.frame.At("repos", r.Name) + "/tree/" + v.Commit + "/" + pages.Path(v.Path)
	if v.Path != "" {
		if content, err := c.s.Repos.Git.ReadFile(c.ctx(), r.ID, v.Commit, v.Path); err == nil {
			v.Size = len(content)
			v.Binary = len(content) > maxFileShown || bytes.IndexByte(content[:min(len(content), 8000)], 0) >= 0 || !utf8.Valid(content)
			if !v.Binary {
				v.Lines = diffview.Highlight(v.Path, splitLines(string(content)))
			}
			return c.page("code", v.Path, pages.RepoTree(c.frame, v))
		}
	}
	if v.Entries, err = c.s.Repos.History.Tree(c.ctx(), r.ID, v.Commit, v.Path); err != nil {
		return err
	}
	if len(v.Entries) == 0 && v.Path != "" {
		return fault.New(fault.NotFound, "not-found", "%s has no %s", v.Ref, v.Path)
	}
	slices.SortStableFunc(v.Entries, func(a, b repos.TreeEntry) int {
		switch {
		case a.Folder == b.Folder:
			return compareFold(a.Name, b.Name)
		case a.Folder:
			return -1
		}
		return 1
	})
	return c.page("code", r.Name, pages.RepoTree(c.frame, v))
}

func repoCommits(c *call) error {
	r, err := c.findRepo()
	if err != nil {
		return err
	}
	v := c.repoView(r)
	v.Ref = strings.Trim(c.r.PathValue("ref"), "/")
	if len(r.Refs) > 0 {
		if v.Commit, err = c.resolve(r, v.Ref); err != nil {
			return err
		}
		if v.Commits, err = c.s.Repos.History.Commits(c.ctx(), r.ID, "", v.Commit, pageSize+1); err != nil {
			return err
		}
	}
	if len(v.Commits) > pageSize {
		v.More = c.frame.At("repos", r.Name, "commits", v.Commits[pageSize].ID)
		v.Commits = v.Commits[:pageSize]
	}
	return c.page("code", r.Name+", commits", pages.RepoCommits(c.frame, v))
}

func repoCommit(c *call) error {
	r, err := c.findRepo()
	if err != nil {
		return err
	}
	v := c.repoView(r)
	if !isCommitID(c.r.PathValue("id")) {
		return noPage(c.address())
	}
	if v.Commit, err = c.resolve(r, c.r.PathValue("id")); err != nil {
		return err
	}
	v.Last = c.lastCommit(r, v.Commit)
	parent := repos.Zero
	if v.Last != nil {
		v.Title = v.Last.Subject()
		if len(v.Last.Parents) > 0 {
			parent = v.Last.Parents[0]
		}
	}
	if parent != repos.Zero {
		diff, err := c.s.Repos.History.Diff(c.ctx(), r.ID, parent, v.Commit)
		if err != nil {
			return err
		}
		v.Files = diffview.Parse(diff)
	}
	return c.page("code", v.Title, pages.RepoDiff(c.frame, v))
}

func repoCompare(c *call) error {
	r, err := c.findRepo()
	if err != nil {
		return err
	}
	a, b, ok := strings.Cut(c.r.PathValue("range"), "...")
	if !ok {
		return noPage(c.address())
	}
	from, err := c.resolve(r, a)
	if err != nil {
		return err
	}
	to, err := c.resolve(r, b)
	if err != nil {
		return err
	}
	v := c.repoView(r)
	v.Title = a + " … " + b
	if v.Commits, err = c.s.Repos.History.Commits(c.ctx(), r.ID, from, to, 200); err != nil {
		return err
	}
	diff, err := c.s.Repos.History.Diff(c.ctx(), r.ID, from, to)
	if err != nil {
		return err
	}
	v.Files = diffview.Parse(diff)
	return c.page("code", v.Title, pages.RepoDiff(c.frame, v))
}
