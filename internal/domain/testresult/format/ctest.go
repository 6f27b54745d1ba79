package format

import (
	"encoding/xml"
	"strings"

	"penstock.dev/penstock/internal/domain/testresult"
)

func readCTest(d *xml.Decoder, root xml.StartElement) (*File, error) {
	if root.Name.Local != "Site" {
		return nil, wrongRoot(root, "Site")
	}
	var site struct {
		Tests []struct {
			Status   string `xml:"Status,attr"`
			Name     string `xml:"Name"`
			Path     string `xml:"Path"`
			Measures []struct {
				Name  string `xml:"name,attr"`
				Value string `xml:"Value"`
			} `xml:"Results>NamedMeasurement"`
			Output string `xml:"Results>Measurement>Value"`
		} `xml:"Testing>Test"`
	}
	if err := d.DecodeElement(&site, &root); err != nil {
		return nil, err
	}
	f := &File{}
	for _, t := range site.Tests {
		r := testresult.Result{Name: strings.TrimSpace(t.Name), Suite: strings.TrimPrefix(strings.TrimSpace(t.Path), "./"), Outcome: testresult.Skipped}
		for _, m := range t.Measures {
			switch m.Name {
			case "Execution Time":
				r.Duration = seconds(m.Value)
			case "Exit Code", "Completion Status":
				if !strings.EqualFold(m.Value, "Completed") && r.Message == "" {
					r.Message = strings.TrimSpace(m.Value)
				}
			}
		}
		switch strings.ToLower(t.Status) {
		case "passed":
			r.Outcome, r.Message = testresult.Passed, ""
		case "failed":
			r.Outcome, r.Stack = testresult.Failed, strings.TrimSpace(t.Output)
		}
		f.Results = append(f.Results, r)
	}
	f.Duration = total(f.Results)
	return f, nil
}
