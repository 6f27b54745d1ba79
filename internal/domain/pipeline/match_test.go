package pipeline_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"penstock.dev/penstock/internal/domain/pipeline"
)

func in(s ...string) pipeline.Filters  { return pipeline.Filters{Include: s} }
func out(s ...string) pipeline.Filters { return pipeline.Filters{Exclude: s} }

func TestMatchPush(t *testing.T) {
	branches := pipeline.Trigger{Branches: pipeline.Filters{Include: []string{"main", "releases/*"}, Exclude: []string{"releases/old*"}}}
	for _, c := range []struct {
		name  string
		t     pipeline.Trigger
		ref   string
		paths []string
		want  bool
	}{
		{"implied", pipeline.Trigger{Implied: true}, "refs/heads/x/y", nil, true},
		{"implied tag", pipeline.Trigger{Implied: true}, "refs/tags/v1", nil, false},
		{"none", pipeline.Trigger{None: true}, "refs/heads/main", nil, false},
		{"main", branches, "refs/heads/main", nil, true},
		{"nested", branches, "refs/heads/releases/a/b", nil, true},
		{"folder itself", branches, "refs/heads/releases", nil, false},
		{"excluded", branches, "refs/heads/releases/old/1", nil, false},
		{"other", branches, "refs/heads/Main", nil, false},
		{"tag with branches", branches, "refs/tags/main", nil, false},
		{"exclude only", pipeline.Trigger{Branches: out("x")}, "refs/heads/y", nil, true},
		{"tags only, branch", pipeline.Trigger{Tags: in("v*")}, "refs/heads/v1", nil, false},
		{"tags only, tag", pipeline.Trigger{Tags: in("v*")}, "refs/tags/v1", nil, true},
		{"tags full", pipeline.Trigger{Tags: in("refs/tags/v?")}, "refs/tags/v1", nil, true},
		{"tags exclude", pipeline.Trigger{Tags: out("v*")}, "refs/tags/w1", nil, true},
		{"tag among branches", pipeline.Trigger{Branches: in("main", "refs/tags/v*")}, "refs/tags/v2", nil, true},
		{"star", pipeline.Trigger{Branches: in("*")}, "refs/heads/a/b/c", nil, true},
		{"full spelling", pipeline.Trigger{Branches: in("refs/heads/main")}, "refs/heads/main", nil, true},
		{"path out", pipeline.Trigger{Paths: out("docs")}, "refs/heads/m", []string{"docs/a/b.md"}, false},
		{"path one in", pipeline.Trigger{Paths: out("docs")}, "refs/heads/m", []string{"docs/a.md", "src/x"}, true},
		{"path similar", pipeline.Trigger{Paths: out("docs")}, "refs/heads/m", []string{"docs2/a"}, true},
		{"path include", pipeline.Trigger{Paths: in("src/*")}, "refs/heads/m", []string{"src/a/b"}, true},
		{"path not include", pipeline.Trigger{Paths: in("src")}, "refs/heads/m", []string{"lib/a"}, false},
		{"path deeper include", pipeline.Trigger{Paths: pipeline.Filters{Include: []string{"/docs/api"}, Exclude: []string{"docs"}}}, "refs/heads/m", []string{"docs/api/x"}, true},
		{"path deeper exclude", pipeline.Trigger{Paths: pipeline.Filters{Include: []string{"docs"}, Exclude: []string{"docs/api/"}}}, "refs/heads/m", []string{"docs/api/x"}, false},
		{"path equal", pipeline.Trigger{Paths: pipeline.Filters{Include: []string{"docs"}, Exclude: []string{"docs"}}}, "refs/heads/m", []string{"docs/x"}, false},
		{"path wildcard", pipeline.Trigger{Paths: in("src/app/**/my*")}, "refs/heads/m", []string{"src/app/a/b/myfile.c"}, true},
		{"path one segment", pipeline.Trigger{Paths: in("src/*/x.go")}, "refs/heads/m", []string{"src/a/b/x.go"}, false},
		{"path suffix", pipeline.Trigger{Paths: out("**/*.md")}, "refs/heads/m", []string{"a/b/c.md"}, false},
		{"path question", pipeline.Trigger{Paths: in("a?c")}, "refs/heads/m", []string{"abc/d"}, true},
		{"path bracket", pipeline.Trigger{Paths: in("a[b*")}, "refs/heads/m", []string{"a[bc"}, true},
		{"path none changed", pipeline.Trigger{Paths: in("a")}, "refs/heads/m", nil, false},
		{"root", pipeline.Trigger{Paths: in("/")}, "refs/heads/m", []string{"x"}, true},
	} {
		if got := c.t.MatchPush(c.ref, c.paths); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestMatchPullRequestAndCompletion(t *testing.T) {
	pr := pipeline.Trigger{Branches: in("main"), Paths: out("docs")}
	if !pr.MatchPullRequest("refs/heads/main", []string{"a"}) || pr.MatchPullRequest("refs/heads/x", []string{"a"}) || pr.MatchPullRequest("refs/heads/main", []string{"docs/a"}) {
		t.Error("pull request")
	}
	if (pipeline.Trigger{None: true}).MatchPullRequest("refs/heads/main", nil) || !(pipeline.Trigger{Implied: true}).MatchPullRequest("refs/heads/x", nil) {
		t.Error("none and implied")
	}
	var off *pipeline.PipelineTrigger
	on := &pipeline.PipelineTrigger{Branches: in("main"), Tags: []string{"good"}, Stages: []string{"a", "b"}}
	if off.MatchCompletion("refs/heads/main", nil, nil) || !(&pipeline.PipelineTrigger{}).MatchCompletion("refs/heads/x", nil, nil) {
		t.Error("off and on")
	}
	if !on.MatchCompletion("refs/heads/main", []string{"x", "GOOD"}, []string{"A", "b", "c"}) || on.MatchCompletion("refs/heads/main", nil, []string{"a", "b"}) ||
		on.MatchCompletion("refs/heads/main", []string{"good"}, []string{"a"}) || on.MatchCompletion("refs/heads/y", []string{"good"}, []string{"a", "b"}) {
		t.Error("filters")
	}
}

func TestSkipsCI(t *testing.T) {
	for message, want := range map[string]bool{"fix [skip ci]": true, "[CI SKIP]\n\nx": true, "skip-checks:true": true, "x ***NO_CI***": true, "[azp skip]": true, "skip ci": false, "": false} {
		if pipeline.SkipsCI(message) != want {
			t.Error(message)
		}
	}
}

func TestMatchDemand(t *testing.T) {
	caps := map[string]string{"Docker": "/usr/bin/docker", "Agent.OS": "Linux", "Agent.Version": "4.255.0", "a": "v 1"}
	for demand, want := range map[string]bool{
		"docker": true, "DOCKER": true, "podman": false, "Agent.OS -equals linux": true, "Agent.OS -equals Windows": false, "agent.version -gtVersion 2.0": true,
		"Agent.Version -gtVersion 4.255.0": true, "Agent.Version -gtVersion 5": false, "a -equals v 1": true, "": false, "a b": false, "a -equals": false, "Agent.OS -gtVersion 1": false,
		"none -equals x": false,
	} {
		if pipeline.MatchDemand(demand, caps) != want {
			t.Error(demand)
		}
	}
}

// TestFilterLaws states what holds for every ref.
func TestFilterLaws(t *testing.T) {
	name := rapid.StringMatching(`[a-z]{1,4}(/[a-z]{1,4}){0,2}`)
	rapid.Check(t, func(t *rapid.T) {
		ref := "refs/heads/" + name.Draw(t, "name")
		other := name.Draw(t, "other")
		if !pipeline.MatchFilters(pipeline.Filters{}, ref) || !pipeline.MatchFilters(in("*"), ref) || !pipeline.MatchFilters(in(ref), ref) {
			t.Fatal("a ref must match itself and *")
		}
		if pipeline.MatchFilters(pipeline.Filters{Include: []string{other, "*"}, Exclude: []string{ref}}, ref) {
			t.Fatal("exclude wins")
		}
		short := strings.TrimPrefix(ref, "refs/heads/")
		if pipeline.MatchFilters(in(other), ref) != (other == short) {
			t.Fatal("a name without wildcard matches only itself")
		}
		if !pipeline.MatchFilters(in(short[:1]+"*"), ref) || !pipeline.MatchFilters(in(strings.Repeat("?", len(short))), ref) {
			t.Fatal("wildcards")
		}
	})
}
