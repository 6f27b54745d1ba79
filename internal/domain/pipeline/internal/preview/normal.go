// Package preview writes an expanded pipeline in the one form that the service
// prints: every shorthand spelled out, so that two files that mean the same
// look the same.
package preview

import (
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
	"penstock.dev/penstock/internal/domain/pipeline/internal/template"
)

// The identifiers under which the service prints steps that are no tasks of
// their own name.
const (
	CheckoutID = "6d15af64-176c-496d-b583-fd2ae21d4df4"
	DownloadID = "30f35852-3f7e-4c0c-9a88-e127b4f97211"
	PublishID  = "ecdc45f6-832d-4ad9-b52b-ee49e94659be"
)

// The names of what a file leaves out.
const (
	implicitStage = "__default"
	implicitJob   = "Job"
)

// rule rewrites the value of one key.
type rule func(n *syntax.Node) *syntax.Node

// jobKeys at the root belong to the implicit job.
var jobKeys = map[string]bool{"pool": true, "strategy": true, "continueonerror": true, "container": true, "services": true, "workspace": true}

// Normalize spells an expanded root out. The parameters are those of the root
// file as written; nil when it has none.
func Normalize(root, parameters *syntax.Node) *syntax.Node {
	out := &syntax.Node{Kind: syntax.Mapping, Pos: root.Pos}
	if parameters != nil && !parameters.IsEmpty() {
		out.Pairs = append(out.Pairs, pair("parameters", parameters, parameters))
	}
	for _, p := range root.Pairs {
		switch strings.ToLower(p.Key.Text) {
		case "stages", "jobs", "steps":
		default:
			if root.Get("steps") == nil || !jobKeys[strings.ToLower(p.Key.Text)] {
				out.Pairs = append(out.Pairs, syntax.Pair{Key: p.Key, Value: apply(rootRules, p)})
			}
		}
	}
	if stages := body(root); stages != nil {
		out.Pairs = append(out.Pairs, *stages)
	}
	return out
}

// body is the pair `stages:`, around whatever the root has.
func body(root *syntax.Node) *syntax.Pair {
	for _, p := range root.Pairs {
		switch strings.ToLower(p.Key.Text) {
		case "stages":
			return &syntax.Pair{Key: p.Key, Value: each(stage)(p.Value)}
		case "jobs":
			return wrapped(p.Key, each(job)(p.Value))
		case "steps":
			item := mapping(p.Key, pair("job", text(implicitJob, p.Key), p.Key))
			for _, other := range root.Pairs {
				if jobKeys[strings.ToLower(other.Key.Text)] {
					item.Pairs = append(item.Pairs, syntax.Pair{Key: other.Key, Value: apply(jobRules, other)})
				}
			}
			item.Pairs = append(item.Pairs, pair("steps", each(step)(p.Value), p.Key))
			return wrapped(p.Key, list(p.Key, item))
		}
	}
	return nil
}

// wrapped puts jobs into the stage that the file leaves out.
func wrapped(at, jobs *syntax.Node) *syntax.Pair {
	st := mapping(at, pair("stage", text(implicitStage, at), at), pair("jobs", jobs, at))
	p := pair("stages", list(at, st), at)
	return &p
}

var rootRules, stageRules, jobRules, stepRules, hookRules map[string]rule

func init() { // the rules call each other
	rootRules = map[string]rule{
		"trigger": trigger, "pr": trigger, "pool": pool, "variables": variables, "resources": fields(resourceRules()),
		"schedules": each(fields(map[string]rule{"branches": filter, "always": boolean, "batch": boolean})), "appendcommitmessagetorunname": boolean,
	}
	stageRules = map[string]rule{"dependson": names, "variables": variables, "pool": pool, "jobs": each(job), "isskippable": boolean}
	hookRules = map[string]rule{"steps": each(step), "pool": pool}
	hooks := map[string]rule{}
	for _, name := range []string{"predeploy", "deploy", "routetraffic", "postroutetraffic"} {
		hooks[name] = fields(hookRules)
	}
	hooks["on"] = fields(map[string]rule{"success": fields(hookRules), "failure": fields(hookRules)})
	jobRules = map[string]rule{
		"dependson": names, "variables": variables, "pool": pool, "steps": each(step), "continueonerror": boolean, "container": reference("alias"),
		"services": values(reference("alias")), "environment": reference("name"),
		"strategy": fields(map[string]rule{"runonce": fields(hooks), "rolling": fields(hooks), "canary": fields(hooks)}),
	}
	stepRules = map[string]rule{"continueonerror": boolean, "enabled": boolean, "target": reference("container")}
}

func resourceRules() map[string]rule {
	return map[string]rule{
		"repositories": each(fields(map[string]rule{"trigger": trigger})),
		"pipelines":    each(fields(map[string]rule{"trigger": resourceTrigger})),
		"containers":   each(fields(map[string]rule{"trigger": resourceTrigger, "mapdockersocket": boolean})),
		"builds":       each(fields(map[string]rule{"trigger": resourceTrigger})),
		"packages":     each(fields(map[string]rule{"trigger": resourceTrigger})),
	}
}

func apply(rules map[string]rule, p syntax.Pair) *syntax.Node {
	if r := rules[strings.ToLower(p.Key.Text)]; r != nil {
		return r(p.Value)
	}
	return p.Value
}

// fields applies rules to the values of a mapping.
func fields(rules map[string]rule) rule {
	return func(n *syntax.Node) *syntax.Node {
		if n.Kind != syntax.Mapping {
			return n
		}
		c := *n
		c.Pairs = make([]syntax.Pair, len(n.Pairs))
		for i, p := range n.Pairs {
			c.Pairs[i] = syntax.Pair{Key: p.Key, Value: apply(rules, p)}
		}
		return &c
	}
}

// values applies one rule to every value of a mapping.
func values(r rule) rule {
	return func(n *syntax.Node) *syntax.Node {
		if n.Kind != syntax.Mapping {
			return n
		}
		c := *n
		c.Pairs = make([]syntax.Pair, len(n.Pairs))
		for i, p := range n.Pairs {
			c.Pairs[i] = syntax.Pair{Key: p.Key, Value: r(p.Value)}
		}
		return &c
	}
}

// each applies a rule to the members of a sequence; nothing is an empty one.
func each(r rule) rule {
	return func(n *syntax.Node) *syntax.Node {
		if n.Kind != syntax.Sequence {
			if n.IsEmpty() {
				return list(n)
			}
			return n
		}
		c := *n
		c.Items = make([]*syntax.Node, len(n.Items))
		for i, item := range n.Items {
			c.Items[i] = r(item)
		}
		return &c
	}
}

func stage(n *syntax.Node) *syntax.Node { return fields(stageRules)(without(n, "templatecontext")) }

func job(n *syntax.Node) *syntax.Node { return fields(jobRules)(without(n, "templatecontext")) }

func without(n *syntax.Node, key string) *syntax.Node {
	c := *n
	c.Pairs = nil
	for _, p := range n.Pairs {
		if strings.ToLower(p.Key.Text) != key {
			c.Pairs = append(c.Pairs, p)
		}
	}
	return &c
}

// names makes one name a list of names.
func names(n *syntax.Node) *syntax.Node {
	switch {
	case n.Kind != syntax.Scalar:
		return n
	case n.Text == "":
		return list(n)
	default:
		return list(n, n)
	}
}

// reference makes a name a mapping with one key.
func reference(key string) rule {
	return func(n *syntax.Node) *syntax.Node {
		if n.Kind != syntax.Scalar || n.Text == "" {
			return n
		}
		return mapping(n, pair(key, n, n))
	}
}

func pool(n *syntax.Node) *syntax.Node { return reference("name")(n) }

// boolean writes a typed value the way YAML does.
func boolean(n *syntax.Node) *syntax.Node {
	b, ok := template.ParseBool(n.Text)
	if n.Kind != syntax.Scalar || !ok {
		return n
	}
	word := "false"
	if b {
		word = "true"
	}
	return text(word, n)
}

// variables makes the mapping form the list form.
func variables(n *syntax.Node) *syntax.Node {
	if n.Kind != syntax.Mapping {
		if n.Kind == syntax.Sequence {
			return each(fields(map[string]rule{"readonly": boolean}))(n)
		}
		return n
	}
	out := list(n)
	for _, p := range n.Pairs {
		out.Items = append(out.Items, mapping(p.Key, pair("name", p.Key, p.Key), pair("value", p.Value, p.Value)))
	}
	return out
}

// trigger spells `none`, a branch and a list of branches out.
func trigger(n *syntax.Node) *syntax.Node {
	switch {
	case n.Kind == syntax.Scalar && strings.EqualFold(n.Text, "none"):
		return mapping(n, pair("enabled", text("false", n), n))
	case n.Kind == syntax.Scalar && n.Text == "":
		return n
	case n.Kind != syntax.Mapping:
		return mapping(n, pair("branches", filter(n), n))
	}
	return fields(map[string]rule{"branches": filter, "paths": filter, "tags": filter, "batch": boolean, "autocancel": boolean, "drafts": boolean})(n)
}

// filter makes a list the includes of a filter.
func filter(n *syntax.Node) *syntax.Node {
	if n.Kind == syntax.Mapping {
		return fields(map[string]rule{"include": names, "exclude": names})(n)
	}
	return mapping(n, pair("include", names(n), n))
}

// resourceTrigger spells `none` and `true` out.
func resourceTrigger(n *syntax.Node) *syntax.Node {
	if n.Kind == syntax.Mapping {
		return fields(map[string]rule{"branches": filter, "enabled": boolean})(n)
	}
	on, ok := template.ParseBool(n.Text)
	if strings.EqualFold(n.Text, "none") {
		on, ok = false, true
	}
	if n.Kind != syntax.Scalar || !ok {
		return n
	}
	word := "false"
	if on {
		word = "true"
	}
	return mapping(n, pair("enabled", text(word, n), n))
}

func pair(key string, value, at *syntax.Node) syntax.Pair {
	return syntax.Pair{Key: text(key, at), Value: value}
}

func text(s string, at *syntax.Node) *syntax.Node {
	return &syntax.Node{Text: s, Pos: at.Pos, Call: at.Call}
}

func mapping(at *syntax.Node, pairs ...syntax.Pair) *syntax.Node {
	return &syntax.Node{Kind: syntax.Mapping, Pairs: pairs, Pos: at.Pos, Call: at.Call}
}

func list(at *syntax.Node, items ...*syntax.Node) *syntax.Node {
	return &syntax.Node{Kind: syntax.Sequence, Items: items, Pos: at.Pos, Call: at.Call}
}
