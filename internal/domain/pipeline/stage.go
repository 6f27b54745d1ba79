package pipeline

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"penstock.dev/penstock/internal/domain/pipeline/internal/grammar"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

// Bounds of the service.
const (
	maxName         = 100
	maxJobsPerStage = 256
)

var stageShape = grammar.Stage.Shape()

var nameForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// names gives out the names of one level and refuses those that are taken.
type names struct {
	d     *decoder
	noun  string // "stage" or "job"
	taken map[string]bool
	made  map[string]int // how often a name was made, by its base
}

// claim checks a written name, or makes one when there is none.
func (u *names) claim(n *syntax.Node) string {
	name := u.d.text(n, "`"+u.noun+"`")
	if name == "" {
		base := strings.ToUpper(u.noun[:1]) + u.noun[1:]
		name = base
		if u.made == nil {
			u.made = map[string]int{}
		}
		for u.taken[strings.ToLower(name)] {
			u.made[base]++
			name = fmt.Sprintf("%s%d", base, u.made[base])
		}
		u.taken[strings.ToLower(name)] = true
		return name
	}
	switch {
	case len(name) > maxName:
		u.d.report.Error(n, "name-length", "the name of a %s is too long", u.noun).Want("at most %d characters", maxName).Got("%d characters", len(name))
	case !nameForm.MatchString(name):
		u.d.report.Error(n, "name-form", "`%s` cannot be the name of a %s", name, u.noun).
			Want("letters, digits and _, beginning with a letter").Got("%s", name).Try("write %s, and the text as displayName", suggestName(name))
	case u.taken[strings.ToLower(name)]:
		u.d.report.Error(n, "duplicate-name", "the %s name '%s' appears more than once", u.noun, name).Try("rename one of them")
	}
	u.taken[strings.ToLower(name)] = true
	return name
}

// LegalName says whether a leg of a matrix can be called by its text.
func LegalName(name string) bool {
	for i, r := range name {
		if !unicode.IsLetter(r) && (i == 0 || r != '_' && !unicode.IsDigit(r)) {
			return false
		}
	}
	return name != "" && len(name) <= maxName
}

func suggestName(name string) string {
	out := strings.Map(func(r rune) rune {
		if r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, name)
	if out[0] >= '0' && out[0] <= '9' {
		out = "_" + out
	}
	return out
}

func (d *decoder) stages(n *syntax.Node, pool Pool) []Stage {
	u := &names{d: d, noun: "stage", taken: map[string]bool{}}
	out := []Stage{}
	g := &graph{d: d, noun: "stage"}
	for _, item := range d.list(n, "`stages`") {
		leave := func() {}
		if name := item.Get("stage"); name != nil && name.Text != "" {
			leave = d.report.Enter("stage " + name.Text)
		}
		f, ok := syntax.ReadFields(d.report, item, stageShape)
		if !ok {
			leave()
			continue
		}
		if !f.Has("stage") {
			d.report.Error(item, "missing-key", "an entry of `stages` is a stage or a template").Want("stage: … or template: …")
			leave()
			continue
		}
		s := Stage{Name: u.claim(f.Get("stage")), Origin: originOf(item)}
		d.stage(&s, f, pool)
		if f.Has("dependsOn") {
			s.DependsOn = d.texts(f.Get("dependsOn"), "`dependsOn`")
		} else if len(out) > 0 {
			s.DependsOn = []string{out[len(out)-1].Name}
		}
		leave()
		g.add(s.Name, &s.DependsOn, f.Get("dependsOn"), item)
		out = append(out, s)
	}
	if len(out) == 0 && n != nil && n.Kind == syntax.Sequence && !d.report.Failed() { // a template that cannot be read leaves nothing either
		d.report.Warn(n, "no-stages", "`stages` is empty: every entry was left out")
	}
	for i, deps := range g.check() {
		out[i].DependsOn = deps
	}
	return out
}

func (d *decoder) stage(s *Stage, f syntax.Fields, pool Pool) {
	s.DisplayName = d.key(f, "displayName")
	if s.DisplayName == "" {
		s.DisplayName = s.Name
	}
	s.Condition = d.condition(f, SlotStageCondition)
	s.LockBehavior = d.choice(f, "lockBehavior", "sequential", "runLatest")
	s.Manual = d.choice(f, "trigger", "automatic", "manual") == "manual"
	s.Unskippable = !d.boolean(f, "isSkippable", true)
	s.Variables = d.variables(f.Get("variables"), SlotStageVariable)
	s.Jobs = d.jobs(f.Get("jobs"), d.pool(f.Get("pool"), pool))
}

var poolShape = grammar.Pool.Shape()

// pool reads `pool`; without one, the outer pool applies as a whole.
func (d *decoder) pool(n *syntax.Node, outer Pool) Pool {
	if n == nil || n.Bad || n.Kind == syntax.Scalar && n.Text == "" {
		return outer
	}
	if n.Kind == syntax.Scalar {
		if strings.EqualFold(n.Text, "server") {
			return Pool{Server: true}
		}
		return Pool{Name: n.Text}
	}
	f, ok := syntax.ReadFields(d.report, n, poolShape)
	if !ok {
		return outer
	}
	if name := f.Get("name"); name != nil && strings.EqualFold(name.Text, "server") {
		return Pool{Server: true}
	}
	p := Pool{Name: d.key(f, "name"), VMImage: d.key(f, "vmImage"), Demands: d.texts(f.Get("demands"), "`demands`")}
	for _, demand := range p.Demands {
		if _, _, _, ok := parseDemand(demand); !ok {
			d.report.Error(f.Get("demands"), "demand", "`%s` is not a demand", demand).Want("name, or name -equals value")
		}
	}
	return p
}
