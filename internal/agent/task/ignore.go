package task

import (
	"os"
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// ignoreRule is one line of a file in the syntax of .gitignore.
type ignoreRule struct {
	pattern string
	keep    bool // it began with !
	dirs    bool // it ended with /
}

// readIgnore reads such a file; there may be none.
func readIgnore(name string) ([]ignoreRule, error) {
	data, err := os.ReadFile(name)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseIgnore(string(data)), nil
}

func parseIgnore(text string) []ignoreRule {
	var rules []ignoreRule
	for line := range strings.Lines(strings.TrimPrefix(text, "\uFEFF")) {
		line = strings.TrimRight(line, "\r\n")
		if !strings.HasSuffix(line, `\ `) {
			line = strings.TrimRight(line, " \t")
		}
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		r := ignoreRule{}
		line, r.keep = strings.CutPrefix(line, "!")
		line, r.dirs = strings.CutSuffix(line, "/")
		line = strings.TrimPrefix(strings.TrimPrefix(line, `\#`), `\!`)
		// Without a slash inside, a pattern counts in every folder.
		anchored := strings.Contains(line, "/")
		line = strings.TrimPrefix(line, "/")
		if !anchored {
			line = "**/" + line
		}
		// Braces mean nothing here.
		r.pattern = strings.NewReplacer("{", `\{`, "}", `\}`).Replace(line)
		if doublestar.ValidatePattern(r.pattern) {
			rules = append(rules, r)
		}
	}
	return rules
}

// ignored says whether the rules leave a path out; the last one that matches
// decides. What lies in a folder that is left out is not asked for.
func ignored(rules []ignoreRule, rel string, dir bool) bool {
	out := false
	for _, r := range rules {
		if r.dirs && !dir {
			continue
		}
		if ok, err := doublestar.Match(r.pattern, path.Clean(rel)); err == nil && ok {
			out = !r.keep
		}
	}
	return out
}
