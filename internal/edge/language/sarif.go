package language

import (
	"encoding/json"
	"sort"

	"penstock.dev/penstock/internal/domain/pipeline"
)

// The parts of SARIF 2.1.0 that findings of a text file need.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool    sarifTool     `json:"tool"`
		Results []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version,omitempty"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID   string    `json:"id"`
		Help sarifText `json:"help"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID    string          `json:"ruleId"`
		Level     string          `json:"level"`
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations"`
		Related   []sarifLocation `json:"relatedLocations,omitempty"`
	}
	sarifLocation struct {
		Physical sarifPhysical `json:"physicalLocation"`
		Message  *sarifText    `json:"message,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   sarifRegion   `json:"region"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn"`
		EndColumn   int `json:"endColumn,omitempty"`
	}
)

// SARIF prints findings for code scanning. explain gives the documentation of a
// code, or "".
func SARIF(found []pipeline.Diagnostic, version string, explain func(code string) string) ([]byte, error) {
	run := sarifRun{Tool: sarifTool{sarifDriver{Name: "penstock", Version: version, Rules: []sarifRule{}}}, Results: []sarifResult{}}
	codes := map[string]bool{}
	for _, d := range found {
		codes[d.Code] = true
		run.Results = append(run.Results, sarifOf(d))
	}
	for code := range codes {
		text := explain(code)
		if text == "" {
			text = code
		}
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{ID: code, Help: sarifText{text}})
	}
	sort.Slice(run.Tool.Driver.Rules, func(i, j int) bool { return run.Tool.Driver.Rules[i].ID < run.Tool.Driver.Rules[j].ID })
	out, err := json.MarshalIndent(sarifLog{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run}}, "", "  ")
	return append(out, '\n'), err
}

func sarifOf(d pipeline.Diagnostic) sarifResult {
	text := d.Message
	for _, more := range [][2]string{{"in", d.Where}, {"expected", d.Expected}, {"found", d.Found}, {"do", d.Do}} {
		if more[1] != "" {
			text += "\n" + more[0] + ": " + more[1]
		}
	}
	at := sarifAt(d.Location)
	if d.Length > 0 {
		at.Physical.Region.EndColumn = d.Column + d.Length
	}
	r := sarifResult{RuleID: d.Code, Level: string(d.Severity), Message: sarifText{text}, Locations: []sarifLocation{at}}
	for _, call := range d.Chain {
		l := sarifAt(call)
		l.Message = &sarifText{"included here"}
		r.Related = append(r.Related, l)
	}
	return r
}

func sarifAt(l pipeline.Location) sarifLocation {
	return sarifLocation{Physical: sarifPhysical{Artifact: sarifArtifact{l.File}, Region: sarifRegion{StartLine: max(1, l.Line), StartColumn: max(1, l.Column)}}}
}
