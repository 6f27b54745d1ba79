package graphview

import (
	"strings"
	"testing"
)

func TestLayout(t *testing.T) {
	g := Layout([]Node{{"build", nil}, {"test", []string{"build"}}, {"scan", []string{"build"}}, {"staging", []string{"test", "scan", "build"}},
		{"production", []string{"staging"}}, {"report", []string{"build"}}, {"end", []string{"production", "report", "gone"}}})
	at := map[string]Placed{}
	for _, n := range g.Nodes {
		at[n.Name] = n
	}
	if len(at) != 7 || at["test"].X != at["scan"].X || at["staging"].X <= at["test"].X || at["end"].X <= at["production"].X {
		t.Fatalf("%+v", g.Nodes)
	}
	// build → staging is implied; report → end passes two columns in its lane.
	if len(g.Wires) != 8 {
		t.Errorf("%d wires: %+v", len(g.Wires), g.Wires)
	}
	long := ""
	for _, w := range g.Wires {
		if w.To == "end" && strings.Count(w.Path, "M") > 1 {
			long = w.Path
		}
	}
	if long == "" {
		t.Error("the long wire has no lane")
	}
	for i, a := range g.Nodes {
		for _, b := range g.Nodes[i+1:] {
			if a.X == b.X && a.Y < b.Y+NodeHeight && b.Y < a.Y+NodeHeight {
				t.Errorf("%s and %s overlap", a.Name, b.Name)
			}
		}
	}
}

func TestLayoutEndsOnACircle(t *testing.T) {
	Layout([]Node{{"a", []string{"b"}}, {"b", []string{"a"}}, {"c", []string{"c"}}})
	if g := Layout(nil); len(g.Nodes) != 0 {
		t.Error(g)
	}
}
