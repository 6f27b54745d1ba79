package pipeline

import (
	"slices"
	"strings"

	"penstock.dev/penstock/internal/base/pattern"
	"penstock.dev/penstock/internal/domain/pipeline/internal/expression"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

// linter warns of what is legal and dangerous. It reads the finished plan, so
// it sees what will run and nothing else.
type linter struct {
	report *syntax.Report
	plan   *Plan
	files  map[string]*syntax.File
	known  map[string]bool // variables whose value stands in the file
}

func lint(p *Plan, report *syntax.Report, files []*syntax.File) {
	l := &linter{report: report, plan: p, files: map[string]*syntax.File{}, known: map[string]bool{}}
	for _, f := range files {
		l.files[f.Name()] = f
	}
	l.define(p.Variables)
	for i := range p.Stages {
		l.define(p.Stages[i].Variables)
		for j := range p.Stages[i].Jobs {
			l.define(p.Stages[i].Jobs[j].Variables)
		}
	}
	l.unreachable(p.Stages)
	for i := range p.Stages {
		l.stage(&p.Stages[i])
	}
}

func (l *linter) define(variables []Variable) {
	for _, v := range variables {
		if v.Name != "" && !strings.Contains(v.Value, "$(") {
			l.known[strings.ToLower(v.Name)] = true
		}
	}
}

func (l *linter) stage(s *Stage) {
	defer l.enter("stage", s.Name, DefaultStage)()
	l.condition(s.Condition, s.Origin)
	l.awaited(s.Condition, s.Origin, "dependencies", "stage", stageNames(l.plan.Stages), s.DependsOn)
	l.values(s.Variables, func(v Variable) { l.stagesAwaited(s, v.Value, v.Origin) })
	for i := range s.Jobs {
		job := &s.Jobs[i]
		implied := ""
		if s.Name == DefaultStage {
			implied = DefaultJob
		}
		leave := l.enter("job", job.Name, implied)
		l.condition(job.Condition, job.Origin)
		l.jobAwaits(s, job)
		l.steps(job.Steps)
		if job.Deployment != nil {
			for _, h := range job.Deployment.Hooks {
				l.steps(h.Steps)
			}
		}
		leave()
	}
}

// enter opens a level of the where answer; what the file leaves out has none.
func (l *linter) enter(kind, name, implied string) func() {
	if name == implied {
		return l.report.Enter("")
	}
	return l.report.Enter(kind + " " + name)
}

func (l *linter) steps(steps []Step) {
	for i := range steps {
		s := &steps[i]
		l.condition(s.Condition, s.Origin)
		for _, name := range []string{"script", "inlineScript", "Inline"} {
			for input, text := range s.Inputs {
				if strings.EqualFold(input, name) {
					l.script(s, text)
				}
			}
		}
	}
}

var macroName = pattern.Lazy(`\$\(([A-Za-z_][A-Za-z0-9_. -]*)\)`)

// secretName recognises variables that people keep secrets in.
var secretName = pattern.Lazy(`(?i)(passw(or)?d|secret|token|credentials?|connection_?string|api_?key|access_?key|private_?key|[a-z]key|\bpat)s?$`)

// foreign are variables that whoever opens a pull request or pushes a branch
// writes: text of theirs becomes part of the program.
var foreign = map[string]bool{
	"build.sourceversionmessage": true, "build.sourceversionauthor": true, "system.pullrequest.sourcebranch": true, "build.requestedfor": true,
}

func (l *linter) script(s *Step, text string) {
	warned := map[string]bool{}
	for _, m := range macroName().FindAllStringSubmatch(text, -1) {
		name := strings.ToLower(m[1])
		if warned[name] {
			continue
		}
		warned[name] = true
		env := strings.ToUpper(strings.NewReplacer(".", "_", " ", "_", "-", "_").Replace(m[1]))
		switch {
		case foreign[name]:
			l.warn(s.Origin, m[0], "untrusted-in-script", "%s is pasted into a script's text, and others choose its value", m[0]).
				Try("read the environment variable %s instead", env)
		case name == "system.accesstoken" || !l.known[name] && !strings.Contains(name, ".") && secretName().MatchString(name):
			l.warn(s.Origin, m[0], "secret-in-script", "%s is pasted into a script's text", m[0]).
				Try(`pass it with env: and read "$%s"`, env)
		}
	}
}

// condition warns of one that replaces succeeded() without saying so.
func (l *linter) condition(text string, at Origin) {
	if text == "" || strings.EqualFold(text, "true") || strings.EqualFold(text, "false") {
		return
	}
	node, err := expression.Parse(text)
	if err != nil || strings.Contains(strings.ToLower(text), "agent.jobstatus") {
		return
	}
	deliberate := node.Mentions(func(name string, call bool) bool {
		return call && expression.IsStatus(name) || !call && (name == "dependencies" || name == "stagedependencies")
	})
	if constant := !node.Mentions(func(_ string, call bool) bool { return !call }); deliberate || constant {
		return
	}
	l.warn(at, text, "condition-without-status", "this condition also holds after a failure and after a cancel").
		Got("%s", text).Try("and(succeeded(), %s), or always() to say that it is meant", text)
}

// jobAwaits warns of jobs and stages that a job reads and does not wait for.
func (l *linter) jobAwaits(s *Stage, job *Job) {
	var names []string
	for i := range s.Jobs {
		names = append(names, s.Jobs[i].Name)
	}
	look := func(text string, at Origin) {
		l.stagesAwaited(s, text, at)
		l.awaited(text, at, "dependencies", "job", names, job.DependsOn)
	}
	look(job.Condition, job.Origin)
	l.values(job.Variables, func(v Variable) { look(v.Value, v.Origin) })
}

func (l *linter) stagesAwaited(s *Stage, text string, at Origin) {
	l.awaited(text, at, "stagedependencies", "stage", stageNames(l.plan.Stages), s.DependsOn)
}

func stageNames(stages []Stage) []string {
	var names []string
	for i := range stages {
		names = append(names, stages[i].Name)
	}
	return names
}

// values visits the variables that are computed at run time.
func (l *linter) values(list []Variable, visit func(Variable)) {
	for _, v := range list {
		if strings.HasPrefix(v.Value, "$[") {
			visit(v)
		}
	}
}

// awaited warns of a stage or job that an expression reads and that its own does
// not name in dependsOn: the expression finds nothing, although it may stand
// further up the graph.
func (l *linter) awaited(text string, at Origin, context, kind string, known, waits []string) {
	body := text
	if inner, ok := runtimeExpression(text); ok {
		body = inner
	}
	node, err := expression.Parse(body)
	if err != nil {
		return
	}
	same := func(name string) func(string) bool {
		return func(other string) bool { return strings.EqualFold(name, other) }
	}
	members := node.Members(context)
	slices.Sort(members)
	for _, name := range slices.Compact(members) {
		if slices.ContainsFunc(known, same(name)) && !slices.ContainsFunc(waits, same(name)) {
			l.warn(at, text, "not-awaited", "%s %s is read, and it is not in dependsOn: nothing of it is seen here", kind, name).
				Got("%s", text).Try("dependsOn: [%s]", strings.Join(append(slices.Clone(waits), name), ", "))
		}
	}
}

// unreachable warns of stages that no run can reach: their own condition is
// false, or everything they wait for is.
func (l *linter) unreachable(stages []Stage) {
	never := map[string]bool{}
	for i := range stages {
		s := &stages[i]
		leave := l.report.Enter("stage " + s.Name)
		if strings.EqualFold(s.Condition, "false") {
			never[s.Name] = true
		} else if s.Condition == "" || strings.EqualFold(s.Condition, "succeeded()") {
			for _, name := range s.DependsOn {
				if never[name] && !never[s.Name] {
					never[s.Name] = true
					l.warn(s.Origin, "", "unreachable", "stage %s never runs: it waits for %s, whose condition is false", s.Name, name).
						Try("remove it, or give it a condition")
				}
			}
		}
		leave()
	}
}

// warn puts a warning at the first place below the origin where the text stands.
func (l *linter) warn(at Origin, text, code, format string, args ...any) *syntax.Problem {
	f := l.files[at.File]
	n := &syntax.Node{Pos: syntax.Pos{File: f, Line: at.Line, Column: at.Column}}
	const reach = 300 // lines of one step
	for line := at.Line; f != nil && text != "" && line < at.Line+reach && line <= len(f.Lines); line++ {
		if i := strings.Index(f.Line(line), text); i >= 0 {
			n.Line, n.Column, n.Text = line, len([]rune(f.Line(line)[:i]))+1, text
			break
		}
	}
	return l.report.Warn(n, code, format, args...)
}
