package pipeline

import (
	"path"
	"slices"
	"strings"
)

// MatchPush reports whether a push of a ref ("refs/heads/x" or "refs/tags/x")
// with the changed paths starts a run.
func (t Trigger) MatchPush(ref string, changedPaths []string) bool {
	if t.None {
		return false
	}
	if tag, ok := strings.CutPrefix(ref, tagRefs); ok {
		return t.matchTag(tag)
	}
	if t.Branches.empty() && !t.Tags.empty() {
		return false // with tags alone, branches start nothing
	}
	return MatchFilters(t.Branches, ref) && t.Paths.matchPaths(changedPaths)
}

// matchTag tests a pushed tag. Tags may also stand among the branches, written
// in full; they ignore path filters.
func (t Trigger) matchTag(tag string) bool {
	ref := tagRefs + tag
	full := Filters{Include: tagPatterns(t.Branches.Include), Exclude: tagPatterns(t.Branches.Exclude)}
	if len(full.Include) > 0 && full.match(ref, tagRefs) {
		return true
	}
	return !t.Tags.empty() && t.Tags.match(ref, tagRefs)
}

func tagPatterns(patterns []string) []string {
	var out []string
	for _, p := range patterns {
		if strings.HasPrefix(strings.TrimPrefix(p, "/"), tagRefs) {
			out = append(out, p)
		}
	}
	return out
}

// MatchPullRequest reports whether a pull request into a branch starts a run.
func (t Trigger) MatchPullRequest(targetRef string, changedPaths []string) bool {
	return !t.None && MatchFilters(t.Branches, targetRef) && t.Paths.matchPaths(changedPaths)
}

// MatchCompletion reports whether a finished run of the other pipeline starts
// this one: its branch, all the tags asked for, all the stages asked for. A nil
// trigger never does.
func (t *PipelineTrigger) MatchCompletion(branchRef string, tags, completedStages []string) bool {
	if t == nil {
		return false
	}
	return MatchFilters(t.Branches, branchRef) && containsAll(tags, t.Tags) && containsAll(completedStages, t.Stages)
}

func containsAll(have, want []string) bool {
	for _, w := range want {
		if !slices.ContainsFunc(have, func(h string) bool { return strings.EqualFold(h, w) }) {
			return false
		}
	}
	return true
}

func (f Filters) empty() bool { return len(f.Include) == 0 && len(f.Exclude) == 0 }

const (
	branchRefs = "refs/heads/"
	tagRefs    = "refs/tags/"
)

// MatchFilters tests a ref: includes first, then excludes; no includes mean all.
// main, /main and refs/heads/main are one spelling of a branch; any other ref
// is matched by what is written in full.
func MatchFilters(f Filters, ref string) bool { return f.match(ref, branchRefs) }

// match tests a ref against patterns; one that is not written in full is below
// the folder.
func (f Filters) match(ref, folder string) bool {
	ref = fullRef(ref, folder)
	test := func(p string) bool { return wildcard(fullRef(p, folder), ref) }
	if len(f.Include) > 0 && !slices.ContainsFunc(f.Include, test) {
		return false
	}
	return !slices.ContainsFunc(f.Exclude, test)
}

func fullRef(ref, folder string) string {
	ref = strings.TrimPrefix(ref, "/")
	switch {
	case strings.HasPrefix(ref, "refs/"):
		return ref
	case ref == "*": // everything, also what is no branch
		return ref
	default:
		return folder + ref
	}
}

// wildcard matches * (anything, also /) and ? (one character) in linear time.
func wildcard(pattern, text string) bool {
	p, t := []rune(pattern), []rune(text)
	i, j, star, mark := 0, 0, -1, 0
	for j < len(t) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == t[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}

// matchPaths reports whether any changed path is included. For each one the
// rule with the longest literal part decides; at equal length exclude wins.
func (f Filters) matchPaths(changed []string) bool {
	if f.empty() {
		return true
	}
	return slices.ContainsFunc(changed, f.includesPath)
}

func (f Filters) includesPath(file string) bool {
	file = strings.TrimPrefix(file, "/")
	included, longest := len(f.Include) == 0, -1
	consider := func(rules []string, include bool) {
		for _, rule := range rules {
			n, ok := matchPath(rule, file)
			if ok && (n > longest || n == longest && !include) {
				included, longest = include, n
			}
		}
	}
	consider(f.Include, true)
	consider(f.Exclude, false)
	return included
}

// matchPath tests one path rule and returns the length of its literal part.
func matchPath(rule, file string) (literal int, ok bool) {
	rule = strings.TrimSuffix(strings.TrimPrefix(rule, "/"), "/")
	if base, found := strings.CutSuffix(rule, "/*"); found {
		rule = base
	} else if base, found := strings.CutSuffix(rule, "/**"); found {
		rule = base
	}
	if rule == "" || rule == "*" || rule == "**" || rule == "." {
		return 0, true
	}
	literal = strings.IndexAny(rule, "*?")
	if literal < 0 {
		return len(rule), file == rule || strings.HasPrefix(file, rule+"/")
	}
	return literal, segments(strings.Split(rule, "/"), strings.Split(file, "/"))
}

// segments matches a rule with wildcards, part by part; ** is any number of
// parts. A rule that is used up before the path names a folder.
func segments(rule, file []string) bool {
	reach := map[int]bool{0: true} // how much of the path each prefix of the rule can cover
	for _, part := range rule {
		next := map[int]bool{}
		for at := range reach {
			switch {
			case part == "**":
				for to := at; to <= len(file); to++ {
					next[to] = true
				}
			case at < len(file):
				if ok, err := path.Match(escapePart(part), file[at]); ok && err == nil {
					next[at+1] = true
				}
			}
		}
		reach = next
	}
	return len(reach) > 0
}

// escapePart leaves * and ? as the only wildcards.
func escapePart(part string) string {
	return strings.NewReplacer(`\`, `\\`, `[`, `\[`).Replace(strings.ReplaceAll(part, "**", "*"))
}

var skipMarkers = []string{
	"[skip ci]", "[ci skip]", "skip-checks: true", "skip-checks:true", "[skip azurepipelines]", "[azurepipelines skip]",
	"[skip azpipelines]", "[azpipelines skip]", "[skip azp]", "[azp skip]", "***no_ci***",
}

// SkipsCI reports whether a commit message asks for no run.
func SkipsCI(commitMessage string) bool {
	lower := strings.ToLower(commitMessage)
	return slices.ContainsFunc(skipMarkers, func(m string) bool { return strings.Contains(lower, m) })
}
