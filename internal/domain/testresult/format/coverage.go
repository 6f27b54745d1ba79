package format

import (
	"cmp"
	"encoding/xml"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/testresult"
)

// maxSources is how many source files of a report are read; the totals of a
// report count all of them.
const maxSources = 50_000

// Report is what one coverage file says, or several that were merged.
type Report struct {
	Metrics []testresult.Metric
	sources map[string]*source
	merged  bool
}

// source is one source file. Lines are known one by one where the tool says so;
// otherwise the numbers are.
type source struct {
	pkg, name       string
	lines           map[int]line
	counted, forked testresult.Metric // lines, branches
}

// line is one line of code and the branches that begin there.
type line struct {
	hit            bool
	covered, total int32
}

// Coverage reads a Cobertura or JaCoCo file; which one it is, its root element
// says.
func Coverage(r io.Reader) (*Report, error) {
	d, root, err := open(r)
	if err != nil {
		return nil, err
	}
	rep := &Report{sources: map[string]*source{}}
	switch root.Name.Local {
	case "coverage":
		err = rep.cobertura(d, root)
	case "report":
		err = rep.jacoco(d)
	default:
		return nil, fault.New(fault.Invalid, "coverage-unreadable", "the file is no coverage summary").Want("Cobertura (root element coverage) or JaCoCo (report)").
			Got("root element %s", cut(root.Name.Local, 80))
	}
	return rep, err
}

// attributes of an element by name.
func attributes(e xml.StartElement) map[string]string {
	attr := map[string]string{}
	for _, a := range e.Attr {
		attr[a.Name.Local] = a.Value
	}
	return attr
}

func unreadable(err error) error {
	return fault.Wrap(err, fault.Invalid, "coverage-unreadable", "the file cannot be read")
}

// children calls fn for each element right below the one that was entered; fn
// reads the element to its end.
func children(d *xml.Decoder, fn func(xml.StartElement) error) error {
	for {
		token, err := d.Token()
		if err != nil {
			return unreadable(err)
		}
		switch e := token.(type) {
		case xml.EndElement:
			return nil
		case xml.StartElement:
			if err := fn(e); err != nil {
				return err
			}
		}
	}
}

func skip(d *xml.Decoder) error {
	if err := d.Skip(); err != nil {
		return unreadable(err)
	}
	return nil
}

// within goes into elements of a name and passes over all others.
func within(d *xml.Decoder, name string, fn func(xml.StartElement) error) error {
	return children(d, func(e xml.StartElement) error {
		if e.Name.Local != name {
			return skip(d)
		}
		return fn(e)
	})
}

func (rep *Report) source(pkg, name, key string) *source {
	s := rep.sources[key]
	if s == nil {
		s = &source{pkg: cut(pkg, maxName), name: cut(name, maxName), lines: map[int]line{}}
		if len(rep.sources) < maxSources {
			rep.sources[key] = s
		}
	}
	return s
}

// cobertura has its totals in the attributes of the root, and its lines below
// packages, package, classes, class, lines. The lines below methods are the same
// ones again.
func (rep *Report) cobertura(d *xml.Decoder, root xml.StartElement) error {
	attr := attributes(root)
	for _, kind := range [][2]string{{testresult.Lines, "line"}, {testresult.Branches, "branch"}} {
		plural := strings.ToLower(kind[0])
		covered, err1 := strconv.ParseInt(attr[plural+"-covered"], 10, 64)
		valid, err2 := strconv.ParseInt(attr[plural+"-valid"], 10, 64)
		rate, err3 := strconv.ParseFloat(attr[kind[1]+"-rate"], 64)
		switch {
		case err1 == nil && err2 == nil && covered >= 0 && valid >= covered:
			rep.Metrics = append(rep.Metrics, testresult.Metric{Label: kind[0], Covered: covered, Total: valid})
		case err3 == nil && rate >= 0 && rate <= 1: // only the share is known
			rep.Metrics = append(rep.Metrics, testresult.Metric{Label: kind[0], Covered: int64(math.Round(rate * 1000)), Total: 1000})
		}
	}
	err := within(d, "packages", func(xml.StartElement) error {
		return within(d, "package", func(p xml.StartElement) error {
			pkg := attributes(p)["name"]
			return within(d, "classes", func(xml.StartElement) error {
				return within(d, "class", func(c xml.StartElement) error { return rep.class(d, pkg, attributes(c)) })
			})
		})
	})
	if err != nil {
		return err
	}
	rep.count(attr)
	if len(rep.Metrics) == 0 {
		return fault.New(fault.Invalid, "coverage-unreadable", "the Cobertura file has no totals").Want("attributes lines-valid and lines-covered, or line-rate, of element coverage")
	}
	return nil
}

// count replaces what the root only knows as a share, or not at all, by what the
// lines add up to.
func (rep *Report) count(root map[string]string) {
	for _, m := range rep.counted() {
		at := slices.IndexFunc(rep.Metrics, func(own testresult.Metric) bool { return own.Label == m.Label })
		switch {
		case at < 0 && m.Total > 0:
			rep.Metrics = append(rep.Metrics, m)
		case at >= 0 && root[strings.ToLower(m.Label)+"-valid"] == "" && m.Total > 0:
			rep.Metrics[at] = m
		}
	}
}

func (rep *Report) class(d *xml.Decoder, pkg string, attr map[string]string) error {
	file := cmp.Or(attr["filename"], attr["name"], "?")
	s := rep.source(pkg, file, file)
	return within(d, "lines", func(xml.StartElement) error {
		return within(d, "line", func(e xml.StartElement) error {
			a := attributes(e)
			hits, err := strconv.ParseFloat(a["hits"], 64)
			l := line{hit: err == nil && hits > 0}
			l.covered, l.total = condition(a["condition-coverage"])
			s.add(a["number"], l)
			return skip(d)
		})
	})
}

var fraction = regexp.MustCompile(`\((\d{1,6})/(\d{1,6})\)`)

// condition reads the branches of 50% (1/2).
func condition(text string) (covered, total int32) {
	m := fraction.FindStringSubmatch(text)
	if m == nil {
		return 0, 0
	}
	c, _ := strconv.Atoi(m[1])
	t, _ := strconv.Atoi(m[2])
	return int32(min(c, t)), int32(t)
}

// add joins what is known of a line: it is reached if anything reached it.
func (s *source) add(number string, l line) {
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n > 10_000_000 {
		return
	}
	old := s.lines[n]
	s.lines[n] = line{hit: old.hit || l.hit, covered: max(old.covered, l.covered), total: max(old.total, l.total)}
}

// lineCoverage and branchCoverage are the numbers of a source file.
func (s *source) lineCoverage() testresult.Metric {
	m := testresult.Metric{Label: testresult.Lines, Total: int64(len(s.lines))}
	for _, l := range s.lines {
		if l.hit {
			m.Covered++
		}
	}
	if m.Total == 0 {
		m.Covered, m.Total = s.counted.Covered, s.counted.Total
	}
	return m
}

func (s *source) branchCoverage() testresult.Metric {
	m := testresult.Metric{Label: testresult.Branches}
	for _, l := range s.lines {
		m.Covered += int64(l.covered)
		m.Total += int64(l.total)
	}
	if m.Total == 0 {
		m.Covered, m.Total = s.forked.Covered, s.forked.Total
	}
	return m
}

// counted adds up the source files; none if no line is known.
func (rep *Report) counted() []testresult.Metric {
	lines, branches := testresult.Metric{Label: testresult.Lines}, testresult.Metric{Label: testresult.Branches}
	for _, s := range rep.sources {
		l, b := s.lineCoverage(), s.branchCoverage()
		lines.Covered, lines.Total = lines.Covered+l.Covered, lines.Total+l.Total
		branches.Covered, branches.Total = branches.Covered+b.Covered, branches.Total+b.Total
	}
	if lines.Total == 0 {
		return nil
	}
	return []testresult.Metric{lines, branches}
}

var jacocoLabels = map[string]string{"INSTRUCTION": "Instructions", "BRANCH": testresult.Branches, "LINE": testresult.Lines, "COMPLEXITY": "Complexity", "METHOD": "Methods", "CLASS": "Classes"}

// counter reads one of JaCoCo's.
func counter(e xml.StartElement) (testresult.Metric, bool) {
	attr := attributes(e)
	missed, err1 := strconv.ParseInt(attr["missed"], 10, 64)
	covered, err2 := strconv.ParseInt(attr["covered"], 10, 64)
	label := jacocoLabels[attr["type"]]
	ok := label != "" && err1 == nil && err2 == nil && missed >= 0 && covered >= 0 && covered < math.MaxInt64-missed
	return testresult.Metric{Label: label, Covered: covered, Total: missed + covered}, ok
}

// jacoco has its totals as counters right below the root, and its lines below
// group (any number of them), package, sourcefile.
func (rep *Report) jacoco(d *xml.Decoder) error {
	return rep.group(d, "", 0)
}

// maxGroups is how deep groups may lie in each other.
const maxGroups = 50

func (rep *Report) group(d *xml.Decoder, prefix string, depth int) error {
	if depth > maxGroups {
		return fault.New(fault.Invalid, "coverage-unreadable", "the groups of the JaCoCo file lie too deep in each other").Want("at most %d", maxGroups)
	}
	return children(d, func(e xml.StartElement) error {
		switch e.Name.Local {
		case "group":
			return rep.group(d, cut(prefix+attributes(e)["name"]+"/", maxName), depth+1)
		case "package":
			pkg := prefix + attributes(e)["name"]
			return within(d, "sourcefile", func(f xml.StartElement) error { return rep.sourceFile(d, pkg, attributes(f)["name"]) })
		case "counter":
			if m, ok := counter(e); ok && depth == 0 {
				rep.Metrics = append(rep.Metrics, m)
			}
		}
		return skip(d)
	})
}

func (rep *Report) sourceFile(d *xml.Decoder, pkg, name string) error {
	s := rep.source(pkg, name, pkg+"/"+name)
	return children(d, func(e xml.StartElement) error {
		switch e.Name.Local {
		case "line":
			a := attributes(e)
			l := line{hit: count(a["ci"]) > 0, covered: count(a["cb"])}
			l.total = l.covered + count(a["mb"])
			s.add(a["nr"], l)
		case "counter":
			switch m, ok := counter(e); {
			case ok && m.Label == testresult.Lines:
				s.counted = m
			case ok && m.Label == testresult.Branches:
				s.forked = m
			}
		}
		return skip(d)
	})
}

func count(text string) int32 {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 1_000_000 {
		return 0
	}
	return int32(n)
}

// Merge adds another report. A line that both know counts once, and is reached
// if either reached it; where a report does not know its lines, numbers are
// added up.
func (rep *Report) Merge(other *Report) {
	byLine := rep.exact() && other.exact()
	for key, o := range other.sources {
		s := rep.source(o.pkg, o.name, key)
		for n, l := range o.lines {
			s.add(strconv.Itoa(n), l)
		}
		s.counted.Covered, s.counted.Total = s.counted.Covered+o.counted.Covered, s.counted.Total+o.counted.Total
		s.forked.Covered, s.forked.Total = s.forked.Covered+o.forked.Covered, s.forked.Total+o.forked.Total
	}
	rep.Metrics = testresult.AddMetrics(rep.Metrics, other.Metrics...)
	rep.merged = true
	if !byLine {
		return
	}
	for _, m := range rep.counted() {
		for i := range rep.Metrics {
			if rep.Metrics[i].Label == m.Label {
				rep.Metrics[i] = m
			}
		}
	}
}

// exact says whether the lines of the report are all there is.
func (rep *Report) exact() bool {
	if len(rep.sources) >= maxSources {
		return false
	}
	for _, m := range rep.Metrics {
		if m.Label != testresult.Lines {
			continue
		}
		for _, own := range rep.counted() {
			if own.Label == testresult.Lines {
				return rep.merged || own.Total == m.Total
			}
		}
	}
	return false
}

// Files lists the source files by package and name.
func (rep *Report) Files() []testresult.FileCoverage {
	list := make([]testresult.FileCoverage, 0, len(rep.sources))
	for _, s := range rep.sources {
		list = append(list, testresult.FileCoverage{Package: s.pkg, Name: s.name, Lines: s.lineCoverage(), Branches: s.branchCoverage()})
	}
	slices.SortFunc(list, func(a, b testresult.FileCoverage) int {
		return cmp.Or(strings.Compare(a.Package, b.Package), strings.Compare(a.Name, b.Name))
	})
	return list
}
