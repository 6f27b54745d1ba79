package pipeline

import (
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

// graph checks the dependencies of one level.
type graph struct {
	d     *decoder
	noun  string
	nodes []graphNode
	index map[string]int
}

type graphNode struct {
	name  string
	deps  []string
	at    []*syntax.Node // where each dependency is written
	place *syntax.Node
}

func (g *graph) add(name string, deps *[]string, written, item *syntax.Node) {
	if g.index == nil {
		g.index = map[string]int{}
	}
	n := graphNode{name: name, deps: *deps, place: item}
	for i := range *deps {
		at := item
		switch {
		case written != nil && written.Kind == syntax.Sequence && i < len(written.Items):
			at = written.Items[i]
		case written != nil:
			at = written
		}
		n.at = append(n.at, at)
	}
	if _, taken := g.index[strings.ToLower(name)]; !taken {
		g.index[strings.ToLower(name)] = len(g.nodes)
	}
	g.nodes = append(g.nodes, n)
}

// check reports unknown names and cycles, and returns every node's dependencies
// in the spelling of their definition, each once.
func (g *graph) check() [][]string {
	out := make([][]string, len(g.nodes))
	edges := make([][]int, len(g.nodes))
	all := make([]string, len(g.nodes))
	for i, n := range g.nodes {
		all[i] = n.name
	}
	for i, n := range g.nodes {
		leave := g.d.report.Enter(g.noun + " " + n.name)
		seen := map[int]bool{}
		for j, dep := range n.deps {
			k, ok := g.index[strings.ToLower(dep)]
			switch {
			case !ok && g.d.report.Full():
			case !ok:
				p := g.d.report.Error(n.at[j], "unknown-dependency", "%s %s depends on unknown %s %s", g.noun, n.name, g.noun, dep).
					Want("%s", strings.Join(all[:min(len(all), 20)], ", ")).Got("%s", dep)
				if near := syntax.Nearest(dep, all[:min(len(all), maxJobsPerStage)]); near != "" {
					p.Try("write %s", near)
				}
			case k == i:
				g.d.report.Error(n.at[j], g.noun+"-cycle", "%s %s depends on itself", g.noun, n.name)
			case !seen[k]:
				seen[k] = true
				out[i] = append(out[i], g.nodes[k].name)
				edges[i] = append(edges[i], k)
			}
		}
		leave()
	}
	g.cycles(edges)
	return out
}

// cycles reports one cycle, by the names on it: breaking that one may break the
// others.
func (g *graph) cycles(edges [][]int) {
	const (
		unseen = iota
		open
		done
	)
	state := make([]int, len(edges))
	var path []int
	var visit func(i int) bool
	visit = func(i int) bool {
		state[i] = open
		path = append(path, i)
		for _, k := range edges[i] {
			if state[k] == open {
				g.reportCycle(path, k)
				return true
			}
			if state[k] == unseen && visit(k) {
				return true
			}
		}
		state[i] = done
		path = path[:len(path)-1]
		return false
	}
	for i := range edges {
		if state[i] == unseen && visit(i) {
			return
		}
	}
}

func (g *graph) reportCycle(path []int, back int) {
	start := 0
	for path[start] != back {
		start++
	}
	var words []string
	for _, i := range path[start:] {
		words = append(words, g.nodes[i].name)
	}
	words = append(words, g.nodes[back].name)
	last := g.nodes[path[len(path)-1]]
	at := last.place
	for j, dep := range last.deps {
		if strings.EqualFold(dep, g.nodes[back].name) {
			at = last.at[j]
		}
	}
	g.d.report.Error(at, g.noun+"-cycle", "the %ss depend on each other: %s", g.noun, strings.Join(words, " → ")).Try("remove one dependsOn")
}
