package pipeline

import "context"

// Source gives the compiler its files. Repository is "self" or the alias of a
// repository resource; path is slash separated without a leading slash. An
// error of kind fault.NotFound means the file does not exist; code
// "repository-not-available" means the repository is not at hand.
type Source interface {
	ReadFile(ctx context.Context, repository, path string) ([]byte, error)
}

// Input is what a compilation depends on besides its files.
type Input struct {
	File       string            // path of the root file in "self"
	Parameters map[string]any    // values given for root parameters: string, bool, float64, []any, map[string]any; text is converted to the declared type
	Variables  map[string]string // predefined, queue-time and pipeline variables visible in `${{ variables.x }}`
}

// Severity of a Diagnostic.
type Severity string

// The two severities.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Diagnostic is one finding about a pipeline file.
type Diagnostic struct {
	Severity Severity   `json:"severity"`
	Code     string     `json:"code"` // lower-case words, never reused
	Message  string     `json:"message"`
	Location            // file, line, column
	Chain    []Location `json:"chain,omitempty"` // template calls, innermost first
	Where    string     `json:"where,omitempty"` // stage verify › job build
	Expected string     `json:"expected,omitempty"`
	Found    string     `json:"found,omitempty"`
	Do       string     `json:"do,omitempty"`
	Snippet  string     `json:"snippet,omitempty"` // the source line
}
