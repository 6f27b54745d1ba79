// Package graphview lays out the stages of a run as columns that follow what
// depends on what.
package graphview

import (
	"cmp"
	"fmt"
	"slices"
)

// Node is a stage to place.
type Node struct {
	Name  string
	After []string
}

// Placed is a node with its corner.
type Placed struct {
	Name string
	X, Y float64
}

// Wire is a line between nodes as an SVG path. To names the node it leads to.
type Wire struct {
	To   string
	Path string
}

// Graph is a finished layout.
type Graph struct {
	Nodes         []Placed
	Wires         []Wire
	Width, Height float64
}

// Measures of the drawing, in pixels.
const (
	NodeWidth  = 190
	NodeHeight = 66
	gapX       = 52
	gapY       = 12
	margin     = 14
	laneHeight = 10
)

// cell is a node, or the place where a long wire passes a column.
type cell struct {
	name   string
	lane   bool
	column int
	order  float64
	y      float64
	from   []*cell
}

func (c *cell) height() float64 {
	if c.lane {
		return laneHeight
	}
	return NodeHeight
}

func (c *cell) middle() float64 { return c.y + c.height()/2 }

// Layout places the nodes. Names that depend on nothing known stand first;
// a wire that others already imply is left out.
func Layout(nodes []Node) Graph {
	nodes = reduce(nodes)
	columns, byName := columnsOf(nodes)
	height := 0.0
	for _, col := range columns {
		h := -float64(gapY)
		for _, c := range col {
			h += c.height() + gapY
		}
		height = max(height, h)
	}
	for _, col := range columns {
		h := -float64(gapY)
		for _, c := range col {
			h += c.height() + gapY
		}
		y := margin + (height-h)/2
		for _, c := range col {
			c.y = y
			y += c.height() + gapY
		}
	}
	g := Graph{Width: 2*margin + float64(len(columns))*(NodeWidth+gapX) - gapX, Height: height + 2*margin}
	for _, n := range nodes {
		c := byName[n.Name]
		g.Nodes = append(g.Nodes, Placed{n.Name, x(c.column), c.y})
		for _, f := range c.from {
			g.Wires = append(g.Wires, Wire{n.Name, path(f, c)})
		}
	}
	return g
}

func x(column int) float64 { return margin + float64(column)*(NodeWidth+gapX) }

// path draws from one cell to the next, back through the lanes to a node.
func path(from, to *cell) string {
	out := curve(x(from.column)+NodeWidth, from.middle(), x(to.column), to.middle())
	for from.lane {
		before := from.from[0]
		out = curve(x(before.column)+NodeWidth, before.middle(), x(from.column), from.middle()) + fmt.Sprintf("H%.1f", x(from.column)+NodeWidth) + out
		from = before
	}
	return out
}

func curve(x1, y1, x2, y2 float64) string {
	if y1 == y2 {
		return fmt.Sprintf("M%.1f %.1fH%.1f", x1, y1, x2)
	}
	mid := (x1 + x2) / 2
	return fmt.Sprintf("M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1f", x1, y1, mid, y1, mid, y2, x2, y2)
}

// reduce drops unknown and implied dependencies.
func reduce(nodes []Node) []Node {
	after := map[string]bool{}
	for _, n := range nodes {
		after[n.Name] = true
	}
	// above holds what each node depends on, directly or not.
	above := map[string]map[string]bool{}
	for range nodes {
		grown := false
		for _, n := range nodes {
			if above[n.Name] == nil {
				above[n.Name] = map[string]bool{}
			}
			before := len(above[n.Name])
			for _, a := range n.After {
				above[n.Name][a] = true
				for b := range above[a] {
					above[n.Name][b] = true
				}
			}
			grown = grown || len(above[n.Name]) > before
		}
		if !grown {
			break
		}
	}
	out := make([]Node, 0, len(nodes))
	for _, n := range nodes {
		kept := Node{Name: n.Name}
		for _, a := range n.After {
			implied := slices.ContainsFunc(n.After, func(b string) bool { return b != a && above[b][a] })
			if after[a] && a != n.Name && !implied {
				kept.After = append(kept.After, a)
			}
		}
		out = append(out, kept)
	}
	return out
}

func columnsOf(nodes []Node) ([][]*cell, map[string]*cell) {
	byName := map[string]*cell{}
	for i, n := range nodes {
		byName[n.Name] = &cell{name: n.Name, order: float64(i)}
	}
	for range nodes { // longest path; a circle, which validation refuses, ends anyway
		for _, n := range nodes {
			for _, a := range n.After {
				byName[n.Name].column = min(max(byName[n.Name].column, byName[a].column+1), len(nodes)-1)
			}
		}
	}
	var columns [][]*cell
	put := func(c *cell) {
		for len(columns) <= c.column {
			columns = append(columns, nil)
		}
		columns[c.column] = append(columns[c.column], c)
	}
	for _, n := range nodes {
		c := byName[n.Name]
		put(c)
		for _, a := range n.After {
			from := byName[a]
			for col := from.column + 1; col < c.column; col++ {
				lane := &cell{lane: true, column: col, order: c.order, from: []*cell{from}}
				put(lane)
				from = lane
			}
			c.from = append(c.from, from)
		}
	}
	for i, col := range columns {
		if i > 0 {
			sortColumn(col, columns[i-1])
		}
	}
	return columns, byName
}

// sortColumn orders cells by where they come from, then as written, so that
// wires cross as little as they must.
func sortColumn(col, before []*cell) {
	place := map[*cell]float64{}
	for i, c := range before {
		place[c] = float64(i)
	}
	pull := map[*cell]float64{}
	for _, c := range col {
		sum := 0.0
		for _, f := range c.from {
			sum += place[f]
		}
		if len(c.from) > 0 {
			pull[c] = sum / float64(len(c.from))
		}
	}
	slices.SortStableFunc(col, func(a, b *cell) int {
		return cmp.Or(cmp.Compare(pull[a], pull[b]), cmp.Compare(a.order, b.order))
	})
}
