package format

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
)

// Metric is how much of something tests have reached.
type Metric struct {
	Label          string // Lines, Branches, …
	Covered, Total int64
}

// String is a metric as people read it: Lines 81.3 % (813 of 1000).
func (m Metric) String() string {
	if m.Total == 0 {
		return m.Label + " none"
	}
	return fmt.Sprintf("%s %.1f %% (%d of %d)", m.Label, 100*float64(m.Covered)/float64(m.Total), m.Covered, m.Total)
}

// Coverage reads the totals of a Cobertura or JaCoCo file; which one it is, its
// root element says.
func Coverage(r io.Reader) ([]Metric, error) {
	d, root, err := open(r)
	if err != nil {
		return nil, err
	}
	switch root.Name.Local {
	case "coverage":
		return cobertura(root)
	case "report":
		return jacoco(d)
	}
	return nil, fault.New(fault.Invalid, "coverage-unreadable", "the file is no coverage summary").Want("Cobertura (root element coverage) or JaCoCo (report)").
		Got("root element %s", cut(root.Name.Local, 80))
}

// cobertura has its totals in the attributes of the root.
func cobertura(root xml.StartElement) ([]Metric, error) {
	attr := map[string]string{}
	for _, a := range root.Attr {
		attr[a.Name.Local] = a.Value
	}
	var list []Metric
	for _, kind := range [][2]string{{"Lines", "line"}, {"Branches", "branch"}} {
		plural := strings.ToLower(kind[0])
		covered, err1 := strconv.ParseInt(attr[plural+"-covered"], 10, 64)
		valid, err2 := strconv.ParseInt(attr[plural+"-valid"], 10, 64)
		rate, err3 := strconv.ParseFloat(attr[kind[1]+"-rate"], 64)
		switch {
		case err1 == nil && err2 == nil && covered >= 0 && valid >= covered:
			list = append(list, Metric{kind[0], covered, valid})
		case err3 == nil && rate >= 0 && rate <= 1: // only the share is known
			list = append(list, Metric{kind[0], int64(math.Round(rate * 1000)), 1000})
		}
	}
	if len(list) == 0 {
		return nil, fault.New(fault.Invalid, "coverage-unreadable", "the Cobertura file has no totals").Want("attributes lines-valid and lines-covered, or line-rate, of element coverage")
	}
	return list, nil
}

var jacocoLabels = map[string]string{"INSTRUCTION": "Instructions", "BRANCH": "Branches", "LINE": "Lines", "COMPLEXITY": "Complexity", "METHOD": "Methods", "CLASS": "Classes"}

// jacoco has its totals as counters right below the root.
func jacoco(d *xml.Decoder) ([]Metric, error) {
	var list []Metric
	for {
		token, err := d.Token()
		if err != nil {
			return nil, fault.Wrap(err, fault.Invalid, "coverage-unreadable", "the file cannot be read")
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			if _, end := token.(xml.EndElement); end {
				return list, nil // of the root: whatever lies deeper is skipped
			}
			continue
		}
		if start.Name.Local == "counter" {
			attr := map[string]string{}
			for _, a := range start.Attr {
				attr[a.Name.Local] = a.Value
			}
			missed, err1 := strconv.ParseInt(attr["missed"], 10, 64)
			covered, err2 := strconv.ParseInt(attr["covered"], 10, 64)
			if label := jacocoLabels[attr["type"]]; label != "" && err1 == nil && err2 == nil && missed >= 0 && covered >= 0 && covered < math.MaxInt64-missed {
				list = append(list, Metric{label, covered, missed + covered})
			}
		}
		if err := d.Skip(); err != nil {
			return nil, fault.Wrap(err, fault.Invalid, "coverage-unreadable", "the file cannot be read")
		}
	}
}
