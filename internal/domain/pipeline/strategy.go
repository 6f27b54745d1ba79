package pipeline

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/grammar"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

var (
	strategyShape   = grammar.Strategy.Shape()
	deployShape     = grammar.DeployStrategy.Shape()
	environShape    = grammar.Environment.Shape()
	hookShape       = grammar.Hook.Shape()
	onShape         = grammar.On.Shape()
	hookKeys        = []string{"preDeploy", "deploy", "routeTraffic", "postRouteTraffic", "on"}
	strategyShapes  = map[string]syntax.Shape{RunOnce: grammar.RunOnce.Shape(), Rolling: grammar.Rolling.Shape(), Canary: grammar.Canary.Shape()}
	percentOrNumber = regexp.MustCompile(`^[0-9]{1,6}%?$`)
)

// strategy reads the strategy of an ordinary job.
func (d *decoder) strategy(n *syntax.Node, job *Job) *Strategy {
	if n == nil || n.IsEmpty() || n.Bad {
		return nil
	}
	for _, key := range deployShape.Keys {
		if n.Get(key) != nil {
			d.report.Error(n, "strategy-kind", "`%s` is a strategy of deployments", key).Want("matrix or parallel").Got("%s", key).Try("write deployment: instead of job:")
			return nil
		}
	}
	f, ok := syntax.ReadFields(d.report, n, strategyShape)
	if !ok {
		return nil
	}
	s := &Strategy{}
	if !d.later(job, f, "parallel") {
		s.Parallel = d.integer(f, "parallel", 0, 1)
	}
	if !d.later(job, f, "maxParallel") {
		s.MaxParallel = d.integer(f, "maxParallel", 0, 0)
	}
	if f.Has("matrix") && f.Has("parallel") {
		d.report.Error(f.Key("parallel"), "two-kinds", "a strategy is either matrix or parallel")
	}
	if m := f.Get("matrix"); m != nil && !m.Bad {
		d.matrix(s, m)
	}
	return s
}

func (d *decoder) matrix(s *Strategy, n *syntax.Node) {
	if n.Kind == syntax.Scalar {
		if body, ok := runtimeExpression(n.Text); ok {
			d.checkRuntime(n, body, SlotJobVariable)
			s.MatrixExpression = strings.TrimSpace(n.Text)
			return
		}
		if parsed, ok := jsonNode(n); ok {
			n = parsed
		} else if n.Text == "" {
			return
		}
	}
	if n.Kind != syntax.Mapping {
		d.report.Error(n, "expected-mapping", "`matrix` is a mapping of mappings").Want("leg: {variable: value}, or a $[ ] expression").Got("%s", syntax.Describe(n))
		return
	}
	seen := map[string]bool{}
	for _, leg := range n.Pairs {
		lower := strings.ToLower(leg.Key.Text)
		if seen[lower] {
			syntax.DuplicateKey(d.report, leg.Key)
			continue
		}
		seen[lower] = true
		vars := d.textMap(leg.Value, "leg `"+leg.Key.Text+"`")
		if vars == nil {
			vars = map[string]string{}
		}
		s.Matrix = append(s.Matrix, MatrixEntry{Name: leg.Key.Text, Variables: vars})
	}
}

// jsonNode reads a matrix that a template expression made as JSON text.
func jsonNode(n *syntax.Node) (*syntax.Node, bool) {
	if !json.Valid([]byte(n.Text)) {
		return nil, false
	}
	f := syntax.Read(&syntax.Report{}, n.File.Repository, n.File.Path, []byte(n.Text))
	if f.Root == nil {
		return nil, false
	}
	return moved(f.Root, n), true
}

// moved gives a parsed tree the place of the text it came from.
func moved(n, at *syntax.Node) *syntax.Node {
	c := *n
	c.Pos, c.Call = at.Pos, at.Call
	c.Items = nil
	for _, item := range n.Items {
		c.Items = append(c.Items, moved(item, at))
	}
	c.Pairs = nil
	for _, p := range n.Pairs {
		c.Pairs = append(c.Pairs, syntax.Pair{Key: moved(p.Key, at), Value: moved(p.Value, at)})
	}
	return &c
}

// deployment reads environment and strategy of a deployment job.
func (d *decoder) deployment(f syntax.Fields, server bool) *Deployment {
	out := &Deployment{Hooks: []Hook{}}
	out.Environment = d.environment(f.Get("environment"))
	n := f.Get("strategy")
	if n == nil || n.IsEmpty() {
		d.report.Error(f.Node, "missing-key", "a deployment needs `strategy`").Want("strategy: runOnce, rolling or canary")
		return out
	}
	for _, key := range []string{"matrix", "parallel"} {
		if n.Get(key) != nil {
			d.report.Error(n, "strategy-kind", "`%s` is a strategy of ordinary jobs", key).Want("runOnce, rolling or canary").Got("%s", key)
			return out
		}
	}
	s, ok := syntax.ReadFields(d.report, n, deployShape)
	if !ok {
		return out
	}
	found := 0
	for _, kind := range deployShape.Keys {
		if s.Has(kind) {
			if found++; found > 1 {
				d.report.Error(s.Key(kind), "two-kinds", "a deployment has one strategy").Want("one of runOnce, rolling, canary")
				continue
			}
			out.Strategy = kind
			d.hooks(out, s.Get(kind), server)
		}
	}
	if found == 0 {
		d.report.Error(n, "missing-key", "a deployment needs a strategy").Want("runOnce, rolling or canary")
	}
	return out
}

func (d *decoder) environment(n *syntax.Node) (e Environment) {
	if n == nil || n.Bad || n.IsEmpty() {
		return e
	}
	if n.Kind == syntax.Scalar {
		e.Name = n.Text
		e.cutResource()
		return e
	}
	f, ok := syntax.ReadFields(d.report, n, environShape)
	if !ok {
		return e
	}
	e.Name, e.ResourceName = d.required(f, "name", "an environment"), d.key(f, "resourceName")
	e.ResourceID = d.key(f, "resourceId")
	e.ResourceType = d.choice(f, "resourceType", "VirtualMachine", "Kubernetes")
	for _, text := range d.texts(f.Get("tags"), "`tags`") {
		for tag := range strings.SplitSeq(text, ",") {
			if tag = strings.TrimSpace(tag); tag != "" {
				e.Tags = append(e.Tags, tag)
			}
		}
	}
	e.cutResource()
	return e
}

// cutResource takes the resource off environment.resource, when all of it is known.
func (e *Environment) cutResource() {
	if e.ResourceName != "" || e.ResourceType != "" || strings.Contains(e.Name, "$(") {
		return
	}
	e.Name, e.ResourceName, _ = strings.Cut(e.Name, ".")
}

// nameEnvironments expands the macros of environments. They are fixed here, so
// that the checks and the deployment mean the same one: variables of the root and
// of the stage count, and given ones, but no groups and nothing that is computed.
func (p *Plan) nameEnvironments(given map[string]string) {
	for i := range p.Stages {
		s := &p.Stages[i]
		known := map[string]string{}
		for name, value := range given {
			known[strings.ToLower(name)] = value
		}
		for _, v := range slices.Concat(p.Variables, s.Variables) {
			delete(known, strings.ToLower(v.Name))
			if v.Name != "" && !strings.HasPrefix(v.Value, "$[") {
				known[strings.ToLower(v.Name)] = v.Value
			}
		}
		lookup := func(name string) (string, bool) {
			value, ok := known[strings.ToLower(name)]
			return value, ok
		}
		for k := range s.Jobs {
			d := s.Jobs[k].Deployment
			if d == nil || !strings.Contains(d.Environment.Name+d.Environment.ResourceName, "$(") {
				continue
			}
			e := &d.Environment
			e.Name, e.ResourceName = ExpandMacros(e.Name, lookup), ExpandMacros(e.ResourceName, lookup)
			e.cutResource()
		}
	}
}

// hooks reads the lifecycle hooks in the order they run.
func (d *decoder) hooks(out *Deployment, n *syntax.Node, server bool) {
	f, ok := syntax.ReadFields(d.report, n, strategyShapes[out.Strategy])
	if !ok {
		return
	}
	d.pace(out, f)
	for _, key := range hookKeys[:4] {
		d.hook(out, key, f.Get(key), server)
	}
	if on := f.Get("on"); on != nil && !on.IsEmpty() {
		if inner, ok := syntax.ReadFields(d.report, on, onShape); ok {
			d.hook(out, HookOnSuccess, inner.Get("success"), server)
			d.hook(out, HookOnFailure, inner.Get("failure"), server)
		}
	}
	if len(out.Hooks) == 0 {
		d.report.Error(n, "missing-key", "the strategy has no steps").Want("deploy: steps: …")
	}
}

// pace reads what rolling and canary say about their speed.
func (d *decoder) pace(out *Deployment, f syntax.Fields) {
	if out.MaxParallel = strings.TrimSpace(d.key(f, "maxParallel")); out.MaxParallel != "" && !percentOrNumber.MatchString(out.MaxParallel) {
		d.report.Error(f.Get("maxParallel"), "expected-number", "`maxParallel` is a number or a percentage").Want("2 or 50%").Got("%s", out.MaxParallel)
	}
	if out.Strategy != Canary {
		return
	}
	n := f.Get("increments")
	if n == nil {
		d.report.Error(f.Node, "missing-key", "canary needs `increments`").Want("increments: [10, 50]")
		return
	}
	for _, item := range d.list(n, "`increments`") {
		one := syntax.Node{Kind: syntax.Mapping, Pos: item.Pos, Call: item.Call, Pairs: []syntax.Pair{{Key: &syntax.Node{Text: "increments", Pos: item.Pos}, Value: item}}}
		inner, _ := syntax.ReadFields(d.report, &one, syntax.Shape{Keys: []string{"increments"}})
		if i := d.integer(inner, "increments", -1, 0); i >= 0 {
			out.Increments = append(out.Increments, i)
		}
	}
}

// hook reads one hook; server says that the deployment's own pool is the server.
func (d *decoder) hook(out *Deployment, name string, n *syntax.Node, server bool) {
	if n == nil || n.IsEmpty() || n.Bad {
		return
	}
	defer d.report.Enter(name)()
	f, ok := syntax.ReadFields(d.report, n, hookShape)
	if !ok {
		return
	}
	h := Hook{Name: name, Origin: originOf(n)}
	if p := f.Get("pool"); p != nil && !p.IsEmpty() {
		pool := d.pool(p, Pool{})
		h.Pool, server = &pool, pool.Server
	}
	if !f.Has("steps") {
		d.report.Error(n, "missing-key", "hook %s has no steps", name).Want("steps: …")
	}
	steps := d.steps(f.Get("steps"), server)
	if name == HookDeploy && !server {
		steps = d.withDownloads(steps, originOf(n))
	}
	h.Steps = withoutNone(steps)
	out.Hooks = append(out.Hooks, h)
}

// withDownloads puts the implied downloads at the start of the deploy hook: the
// artifacts of this run and of every pipeline resource, unless the hook says
// itself what it downloads.
func (d *decoder) withDownloads(steps []Step, origin Origin) []Step {
	for _, s := range steps {
		if s.Task == TaskDownload {
			return steps
		}
	}
	sources := []string{"current"}
	for _, p := range d.pipelines {
		sources = append(sources, p.Alias)
	}
	out := []Step{}
	for _, source := range sources {
		out = append(out, Step{Task: TaskDownload, Version: "1", Inputs: map[string]string{"source": source}, Origin: origin})
	}
	return append(out, steps...)
}

// withoutNone removes `download: none` and `checkout: none`: they only stop
// what would be implied.
func withoutNone(steps []Step) []Step {
	out := []Step{}
	for _, s := range steps {
		if s.Task == TaskDownload && strings.EqualFold(s.Inputs["source"], "none") ||
			s.Task == TaskCheckout && strings.EqualFold(s.Inputs["repository"], "none") {
			continue
		}
		out = append(out, s)
	}
	return out
}
