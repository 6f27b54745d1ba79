// Package pattern has regular expressions that are compiled at their first use.
// Most commands use few of them, and a command starts often.
package pattern

import (
	"os"
	"regexp"
	"strings"
	"sync"
)

// Lazy returns the compiled expression, the same each time. A wrong expression
// panics: at the first use, in tests at once.
func Lazy(text string) func() *regexp.Regexp {
	compiled := sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })
	if strings.HasSuffix(strings.TrimSuffix(os.Args[0], ".exe"), ".test") {
		compiled()
	}
	return compiled
}
