package language

// The parts of the Language Server Protocol 3.17 that the server speaks. Names
// are the protocol's.

type lspPosition struct {
	Line      int `json:"line"`
	Character int `json:"character"`
}

type lspRange struct {
	Start lspPosition `json:"start"`
	End   lspPosition `json:"end"`
}

type lspLocation struct {
	URI   string   `json:"uri"`
	Range lspRange `json:"range"`
}

type textDocument struct {
	URI     string `json:"uri"`
	Version int    `json:"version,omitempty"`
	Text    string `json:"text,omitempty"`
}

type documentParams struct {
	TextDocument textDocument `json:"textDocument"`
}

type positionParams struct {
	TextDocument textDocument `json:"textDocument"`
	Position     lspPosition  `json:"position"`
	NewName      string       `json:"newName"` // of a rename
}

type changeParams struct {
	TextDocument   textDocument `json:"textDocument"`
	ContentChanges []struct {
		Text string `json:"text"`
	} `json:"contentChanges"`
}

// settings are what a client configures, as initializationOptions or later.
type settings struct {
	Repositories map[string]string `json:"repositories"`
	Parameters   map[string]string `json:"parameters"`
	Variables    map[string]string `json:"variables"`
}

type initializeParams struct {
	Capabilities struct {
		General struct {
			PositionEncodings []string `json:"positionEncodings"`
		} `json:"general"`
	} `json:"capabilities"`
	InitializationOptions *settings `json:"initializationOptions"`
	RootURI               string    `json:"rootUri"`
	WorkspaceFolders      []struct {
		URI string `json:"uri"`
	} `json:"workspaceFolders"`
}

type configurationParams struct {
	Settings struct {
		Penstock *settings `json:"penstock"`
	} `json:"settings"`
}

type lspDiagnostic struct {
	Range    lspRange     `json:"range"`
	Severity int          `json:"severity"`
	Code     string       `json:"code"`
	Source   string       `json:"source"`
	Message  string       `json:"message"`
	Related  []lspRelated `json:"relatedInformation,omitempty"`
}

type lspRelated struct {
	Location lspLocation `json:"location"`
	Message  string      `json:"message"`
}

type publishParams struct {
	URI         string          `json:"uri"`
	Diagnostics []lspDiagnostic `json:"diagnostics"`
}

type markup struct {
	Kind  string `json:"kind"`
	Value string `json:"value"`
}

type hoverResult struct {
	Contents markup `json:"contents"`
}

type textEdit struct {
	Range   lspRange `json:"range"`
	NewText string   `json:"newText"`
}

type completionItem struct {
	Label         string   `json:"label"`
	Kind          int      `json:"kind"`
	Detail        string   `json:"detail,omitempty"`
	Documentation *markup  `json:"documentation,omitempty"`
	SortText      string   `json:"sortText"`
	Tags          []int    `json:"tags,omitempty"`
	TextEdit      textEdit `json:"textEdit"`
}

type completionList struct {
	IsIncomplete bool             `json:"isIncomplete"`
	Items        []completionItem `json:"items"`
}

type documentSymbol struct {
	Name           string           `json:"name"`
	Detail         string           `json:"detail,omitempty"`
	Kind           int              `json:"kind"`
	Range          lspRange         `json:"range"`
	SelectionRange lspRange         `json:"selectionRange"`
	Children       []documentSymbol `json:"children,omitempty"`
}

type workspaceEdit struct {
	Changes map[string][]textEdit `json:"changes"`
}

type prepareResult struct {
	Range       lspRange `json:"range"`
	Placeholder string   `json:"placeholder"`
}

// completionKinds and symbolKinds are the protocol's numbers.
var (
	completionKinds = map[string]int{"key": 10, "word": 12, "task": 7, "input": 5, "function": 3, "parameter": 6, "variable": 6, "file": 17}
	symbolKinds     = map[string]int{"stage": 2, "job": 5, "step": 12, "template": 1}
)

// capabilities are what the server can do.
func capabilities(encoding string) map[string]any {
	return map[string]any{
		"positionEncoding":       encoding,
		"textDocumentSync":       map[string]any{"openClose": true, "change": 1, "save": true},
		"hoverProvider":          true,
		"definitionProvider":     true,
		"documentSymbolProvider": true,
		"renameProvider":         map[string]any{"prepareProvider": true},
		"completionProvider":     map[string]any{"triggerCharacters": []string{" ", ".", "@", "{", "(", "/"}},
	}
}
