package run

import "testing"

func TestCheckoutOf(t *testing.T) {
	for origin, want := range map[string][4]string{ // project, provider, name, URL
		"":                                 {"local", "TfsGit", "shop", "file:///home/ada/shop"},
		"https://github.com/acme/shop.git": {"local", "GitHub", "acme/shop", "https://github.com/acme/shop"},
		"git@github.com:acme/shop.git":     {"local", "GitHub", "acme/shop", "https://github.com/acme/shop"},
		"ssh://git@github.com/acme/shop":   {"local", "GitHub", "acme/shop", "https://github.com/acme/shop"},
		"https://ada@bitbucket.org/acme/shop.git":                   {"local", "Bitbucket", "acme/shop", "https://bitbucket.org/acme/shop"},
		"https://ada:s3cret@dev.azure.com/acme/The%20Shop/_git/web": {"The-Shop", "TfsGit", "web", "https://dev.azure.com/acme/The%20Shop/_git/web"},
		"git@ssh.dev.azure.com:v3/acme/store/web":                   {"store", "TfsGit", "web", "https://dev.azure.com/acme/store/_git/web"},
		"http://localhost:7420/default/shop/_git/app":               {"shop", "TfsGit", "app", "http://localhost:7420/default/shop/_git/app"},
		"https://token:x@git.example.test/team/sub/shop.git":        {"local", "Git", "shop", "https://git.example.test/team/sub/shop.git"},
		"git@git.example.test:team/shop.git":                        {"local", "Git", "shop", "git@git.example.test:team/shop.git"},
		"/srv/git/shop.git":                                         {"local", "Git", "shop", "/srv/git/shop.git"},
		"https://example.test/github.com/acme/shop":                 {"local", "Git", "shop", "https://example.test/github.com/acme/shop"},
		"https://notgithub.com/acme/shop":                           {"local", "Git", "shop", "https://notgithub.com/acme/shop"},
		"https://github.com/acme/shop/tree/main":                    {"local", "Git", "main", "https://github.com/acme/shop/tree/main"},
	} {
		c := CheckoutOf("/home/ada/shop", origin, "Ada", "ada@example.test")
		if got := [4]string{c.Project, c.Origin.Provider, c.Origin.Name, c.Origin.URL}; got != want {
			t.Errorf("%q: %q, want %q", origin, got, want)
		}
		if c.Origin.ID == "" {
			t.Errorf("%q: no id", origin)
		}
	}
	if c := CheckoutOf("/", "", "", ""); c.User != "you" || c.Origin.Name != "repository" {
		t.Errorf("%+v", c)
	}
}

func TestCheckoutVariables(t *testing.T) {
	c := CheckoutOf("/home/ada/shop", "https://github.com/acme/shop", "Ada", "ada@example.test")
	v := c.Visible("shop", c.Request("refs/heads/feature/x", "c0ffee", IndividualCI))
	for name, want := range map[string]string{"Build.Reason": "IndividualCI", "Build.SourceBranch": "refs/heads/feature/x", "Build.SourceBranchName": "x", "Build.Repository.Name": "acme/shop",
		"Build.Repository.Provider": "GitHub", "System.TeamProject": "local", "Build.DefinitionName": "shop", "Build.RequestedFor": "Ada", "Build.RequestedForEmail": "ada@example.test"} {
		if v[name] != want {
			t.Errorf("%s: %q, want %q", name, v[name], want)
		}
	}
}

func TestCheckoutAsPullRequest(t *testing.T) {
	c := CheckoutOf("/home/ada/shop", "", "Ada", "")
	q := c.Request("refs/heads/feature/x", "c0ffee", PullRequestReason)
	q.Variables = map[string]string{"system.pullrequest.targetbranch": "refs/heads/release"}
	v := c.Visible("shop", q)
	for name, want := range map[string]string{"Build.Reason": "PullRequest", "Build.SourceBranch": "refs/pull/0/merge", "Build.SourceBranchName": "merge", "System.PullRequest.PullRequestId": "0",
		"System.PullRequest.SourceBranch": "refs/heads/feature/x", "system.pullrequest.targetbranch": "refs/heads/release"} {
		if v[name] != want {
			t.Errorf("%s: %q, want %q", name, v[name], want)
		}
	}
	hub := CheckoutOf("/home/ada/shop", "https://github.com/acme/shop", "Ada", "")
	hub.Default = "master"
	v2 := hub.Visible("shop", hub.Request("refs/heads/feature/x", "c0ffee", PullRequestReason))
	for name, want := range map[string]string{"System.PullRequest.SourceBranch": "feature/x", "System.PullRequest.TargetBranch": "master", "System.PullRequest.TargetBranchName": "master",
		"System.PullRequest.PullRequestNumber": "0", "System.PullRequest.SourceRepositoryUri": "https://github.com/acme/shop"} {
		if v2[name] != want {
			t.Errorf("GitHub: %s: %q, want %q", name, v2[name], want)
		}
	}
	if _, twice := v["System.PullRequest.TargetBranch"]; twice {
		t.Error("one variable stands under two names")
	}
}
