package template

import (
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

// liftedKeys stood inside the old `queue` and belong to the job now.
var liftedKeys = map[string]bool{"timeoutinminutes": true, "canceltimeoutinminutes": true, "container": true, "workspace": true}

// modern writes the old names of an expanded root as today's: phases, phase,
// queue and server.
func (x *Expander) modern(root *syntax.Node) *syntax.Node {
	old := -1
	for i, p := range root.Pairs {
		if strings.EqualFold(p.Key.Text, "phases") {
			old = i
		}
	}
	if old < 0 {
		return root
	}
	if root.Get("jobs") != nil {
		x.report.Error(root.Pairs[old].Key, "two-bodies", "a pipeline has either jobs or phases").Try("move all of them under jobs:")
		return root
	}
	x.report.Warn(root.Pairs[old].Key, "old-form", "`phases` is an old name of `jobs`").Try("write jobs:, and pool: instead of queue:")
	c := *root
	c.Pairs = append([]syntax.Pair{}, root.Pairs...)
	jobs := *c.Pairs[old].Value
	jobs.Items = nil
	for _, item := range c.Pairs[old].Value.Items {
		jobs.Items = append(jobs.Items, modernJob(item))
	}
	c.Pairs[old] = syntax.Pair{Key: renamed(c.Pairs[old].Key, "jobs"), Value: &jobs}
	return &c
}

func renamed(key *syntax.Node, name string) *syntax.Node {
	c := *key
	c.Text = name
	return &c
}

func modernJob(n *syntax.Node) *syntax.Node {
	if n.Kind != syntax.Mapping {
		return n
	}
	c := *n
	c.Pairs = nil
	for _, p := range n.Pairs {
		switch strings.ToLower(p.Key.Text) {
		case "phase":
			c.Pairs = append(c.Pairs, syntax.Pair{Key: renamed(p.Key, "job"), Value: p.Value})
		case "queue":
			c.Pairs = append(c.Pairs, modernQueue(p)...)
		case "server":
			if on, ok := ParseBool(p.Value.Text); ok && on {
				c.Pairs = append(c.Pairs, syntax.Pair{Key: renamed(p.Key, "pool"), Value: renamed(p.Value, "server")})
			}
		default:
			c.Pairs = append(c.Pairs, p)
		}
	}
	return &c
}

// modernQueue splits an old queue into the pool, the strategy and what else a
// job says itself now.
func modernQueue(queue syntax.Pair) []syntax.Pair {
	if queue.Value.Kind != syntax.Mapping {
		return []syntax.Pair{{Key: renamed(queue.Key, "pool"), Value: queue.Value}}
	}
	pool, strategy := *queue.Value, *queue.Value
	pool.Pairs, strategy.Pairs = nil, nil
	var out []syntax.Pair
	for _, p := range queue.Value.Pairs {
		switch name := strings.ToLower(p.Key.Text); {
		case liftedKeys[name]:
			out = append(out, p)
		case name == "matrix" || name == "parallel" || name == "maxparallel":
			strategy.Pairs = append(strategy.Pairs, p)
		default:
			pool.Pairs = append(pool.Pairs, p)
		}
	}
	if len(strategy.Pairs) > 0 {
		out = append(out, syntax.Pair{Key: renamed(queue.Key, "strategy"), Value: &strategy})
	}
	if len(pool.Pairs) > 0 {
		out = append(out, syntax.Pair{Key: renamed(queue.Key, "pool"), Value: &pool})
	}
	return out
}
