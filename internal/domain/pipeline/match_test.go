package pipeline_test

import (
	"regexp"
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
		{"tag pattern is no branch", pipeline.Trigger{Branches: in("main", "refs/tags/v*")}, "refs/heads/v2", nil, false},
		{"branch pattern is no tag", pipeline.Trigger{Tags: in("refs/heads/v*")}, "refs/tags/v2", nil, false},
		{"slash", pipeline.Trigger{Branches: in("/main")}, "refs/heads/main", nil, true},
		{"all heads", pipeline.Trigger{Branches: in("refs/heads/*")}, "refs/heads/a/b", nil, true},
		{"star is no tag", pipeline.Trigger{Branches: in("*")}, "refs/tags/v1", nil, false},
		{"star in the middle", pipeline.Trigger{Branches: in("a*c/d")}, "refs/heads/ab/xc/d", nil, true},
		{"star may be nothing", pipeline.Trigger{Branches: in("ab*")}, "refs/heads/ab", nil, true},
		{"question is one", pipeline.Trigger{Branches: in("a?")}, "refs/heads/a", nil, false},
		{"question is a slash", pipeline.Trigger{Branches: in("a?b")}, "refs/heads/a/b", nil, true},
		{"question is a character", pipeline.Trigger{Branches: in("a?b")}, "refs/heads/aéb", nil, true},
		{"anchored", pipeline.Trigger{Branches: in("main")}, "refs/heads/xmain", nil, false},
		{"exclude pattern of a tag", pipeline.Trigger{Branches: pipeline.Filters{Include: []string{"refs/tags/v*"}, Exclude: []string{"refs/tags/v1"}}}, "refs/tags/v1", nil, false},
		{"branches or tags, branch", pipeline.Trigger{Branches: in("main"), Tags: in("v*")}, "refs/heads/main", nil, true},
		{"branches or tags, tag", pipeline.Trigger{Branches: in("main"), Tags: in("v*")}, "refs/tags/v1", nil, true},
		{"branches or tags, neither", pipeline.Trigger{Branches: in("main"), Tags: in("v*")}, "refs/heads/v1", nil, false},
		{"tags ignore paths", pipeline.Trigger{Tags: in("v*"), Paths: in("src")}, "refs/tags/v1", nil, true},
		{"branch and path", pipeline.Trigger{Branches: in("main"), Paths: in("src")}, "refs/heads/x", []string{"src/a"}, false},
		{"path of a file", pipeline.Trigger{Paths: in("README.md")}, "refs/heads/m", []string{"README.md"}, true},
		{"path of a file below", pipeline.Trigger{Paths: in("README.md")}, "refs/heads/m", []string{"docs/README.md"}, false},
		{"path case", pipeline.Trigger{Paths: in("Src")}, "refs/heads/m", []string{"src/a"}, false},
		{"path star star", pipeline.Trigger{Paths: in("src/**")}, "refs/heads/m", []string{"src/a/b/c"}, true},
		{"path star star in front", pipeline.Trigger{Paths: in("**/go.mod")}, "refs/heads/m", []string{"go.mod"}, true},
		{"path star is all", pipeline.Trigger{Paths: in("*")}, "refs/heads/m", []string{"a/b"}, true},
		{"path part", pipeline.Trigger{Paths: in("src/app*")}, "refs/heads/m", []string{"src/app1/x"}, true},
		{"path backslash", pipeline.Trigger{Paths: in(`a\*b`)}, "refs/heads/m", []string{`a\xb`}, true},
		{"path deeper exclude and include", pipeline.Trigger{Paths: pipeline.Filters{Include: []string{"a", "a/b/c"}, Exclude: []string{"a/b"}}}, "refs/heads/m", []string{"a/b/c/d"}, true},
		{"path between", pipeline.Trigger{Paths: pipeline.Filters{Include: []string{"a", "a/b/c"}, Exclude: []string{"a/b"}}}, "refs/heads/m", []string{"a/b/x"}, false},
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

// TestCompletion is which finished runs of another pipeline start this one.
func TestCompletion(t *testing.T) {
	for _, c := range []struct {
		name         string
		t            pipeline.PipelineTrigger
		ref          string
		tags, stages []string
		want         bool
	}{
		{"everything", pipeline.PipelineTrigger{}, "refs/heads/a", nil, nil, true},
		{"branch", pipeline.PipelineTrigger{Branches: in("releases/*")}, "refs/heads/releases/1", nil, nil, true},
		{"other branch", pipeline.PipelineTrigger{Branches: in("releases/*")}, "refs/heads/main", nil, nil, false},
		{"excluded", pipeline.PipelineTrigger{Branches: out("main")}, "refs/heads/main", nil, nil, false},
		{"one of two tags", pipeline.PipelineTrigger{Tags: []string{"a", "b"}}, "refs/heads/main", []string{"a"}, nil, false},
		{"both tags", pipeline.PipelineTrigger{Tags: []string{"a", "b"}}, "refs/heads/main", []string{"c", "B", "a"}, nil, true},
		{"one of two stages", pipeline.PipelineTrigger{Stages: []string{"x", "y"}}, "refs/heads/main", nil, []string{"x"}, false},
		{"both stages", pipeline.PipelineTrigger{Stages: []string{"x", "y"}}, "refs/heads/main", nil, []string{"Y", "X"}, true},
		{"stages but no tag", pipeline.PipelineTrigger{Stages: []string{"x"}, Tags: []string{"a"}}, "refs/heads/main", nil, []string{"x"}, false},
	} {
		if got := c.t.MatchCompletion(c.ref, c.tags, c.stages); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestSkipsCI(t *testing.T) {
	for _, marker := range []string{"[skip ci]", "[ci skip]", "skip-checks: true", "skip-checks:true", "[skip azurepipelines]", "[azurepipelines skip]", "[skip azpipelines]", "[azpipelines skip]", "[skip azp]", "[azp skip]", "***NO_CI***"} {
		for _, message := range []string{marker, "fix: x " + marker + " y", "fix\n\n" + strings.ToUpper(marker), strings.ToLower(marker) + "!"} {
			if !pipeline.SkipsCI(message) {
				t.Errorf("%q does not skip", message)
			}
		}
		if pipeline.SkipsCI("x "+marker[:len(marker)-1]) || pipeline.SkipsCI(marker[1:]) {
			t.Errorf("a part of %q skips", marker)
		}
	}
	for _, message := range []string{"", "skip ci", "[skip  ci]", "skip-checks: false", "[skip]", "NO_CI"} {
		if pipeline.SkipsCI(message) {
			t.Errorf("%q skips", message)
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

// TestWildcardLaws compares branch patterns with regular expressions.
func TestWildcardLaws(t *testing.T) {
	text := rapid.StringMatching(`[ab/]{0,6}`)
	pattern := rapid.StringMatching(`[ab/*?]{1,6}`)
	rapid.Check(t, func(t *rapid.T) {
		p, name := pattern.Draw(t, "pattern"), text.Draw(t, "name")
		if strings.HasPrefix(p, "/") || strings.HasPrefix(name, "/") {
			return
		}
		quoted := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(p))
		want := regexp.MustCompile("^(?s:" + quoted + ")$").MatchString(name)
		if got := pipeline.MatchFilters(in(p), "refs/heads/"+name); got != want {
			t.Fatalf("%s and %s: %v", p, name, got)
		}
	})
}

// TestPathLaws states what holds for every set of path filters.
func TestPathLaws(t *testing.T) {
	folder := rapid.StringMatching(`[ab]{1,2}(/[ab]{1,2}){0,2}`)
	rapid.Check(t, func(t *rapid.T) {
		file := folder.Draw(t, "folder") + "/" + "f.go"
		f := pipeline.Filters{Include: rapid.SliceOfN(folder, 0, 3).Draw(t, "include"), Exclude: rapid.SliceOfN(folder, 0, 3).Draw(t, "exclude")}
		match := func(f pipeline.Filters, files ...string) bool {
			return pipeline.Trigger{Paths: f}.MatchPush("refs/heads/main", files)
		}
		got := match(f, file)
		// The deepest folder that holds the file decides.
		want, deepest := len(f.Include) == 0, -1
		for _, rules := range []struct {
			paths   []string
			include bool
		}{{f.Include, true}, {f.Exclude, false}} {
			for _, r := range rules.paths {
				if strings.HasPrefix(file, r+"/") && len(r) >= deepest {
					want, deepest = rules.include, len(r)
				}
			}
		}
		// An include as deep as the exclude loses, whatever the order.
		for _, r := range f.Exclude {
			if strings.HasPrefix(file, r+"/") && len(r) == deepest {
				want = false
			}
		}
		if got != want {
			t.Fatalf("%s with %+v: %v", file, f, got)
		}
		for i, r := range f.Include { // one spelling is as good as another
			f.Include[i] = rapid.SampledFrom([]string{r, "/" + r, r + "/", r + "/*", r + "/**"}).Draw(t, "spelling")
		}
		if match(f, file) != got {
			t.Fatalf("the spelling of %+v matters for %s", f, file)
		}
		if got && !match(f, "zz", file) {
			t.Fatal("one changed file is enough")
		}
	})
}

func FuzzMatch(f *testing.F) {
	for _, s := range [][3]string{{"main", "releases/*", "refs/heads/releases/1"}, {"*", "?", "refs/tags/v1"}, {"docs/**/a*", "docs/x", "docs/x/y/ab"}, {"/", "", ""}, {"**", "[", "\\"}} {
		f.Add(s[0], s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, include, exclude, text string) {
		filters := pipeline.Filters{Include: []string{include}, Exclude: []string{exclude}}
		if pipeline.MatchFilters(filters, text) && pipeline.MatchFilters(pipeline.Filters{Exclude: []string{exclude}}, text) == pipeline.MatchFilters(pipeline.Filters{Include: []string{exclude}}, text) {
			t.Fatalf("%q both is and is not excluded by %q", text, exclude)
		}
		trigger := pipeline.Trigger{Paths: filters}
		if trigger.MatchPush("refs/heads/main", nil) {
			t.Fatal("no changed path, but the path filter matches")
		}
		trigger.MatchPush("refs/heads/main", []string{text})
		pipeline.SkipsCI(text)
	})
}
