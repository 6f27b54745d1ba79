package expression

import "strings"

// String prints an expression so that Parse reads the same one again.
func (n *Node) String() string {
	var b strings.Builder
	n.print(&b)
	return b.String()
}

func (n *Node) print(b *strings.Builder) {
	switch n.op {
	case opLiteral:
		b.WriteString(literalText(n.value))
	case opName:
		b.WriteString(n.name)
	case opCall:
		b.WriteString(n.name)
		b.WriteByte('(')
		for i, a := range n.args {
			if i > 0 {
				b.WriteString(", ")
			}
			a.print(b)
		}
		b.WriteByte(')')
	case opWildcard:
		n.target.print(b)
		if n.property {
			b.WriteString(".*")
		} else {
			b.WriteString("[*]")
		}
	default:
		n.target.print(b)
		if n.property {
			b.WriteByte('.')
			b.WriteString(n.args[0].value.(string))
			return
		}
		b.WriteByte('[')
		n.args[0].print(b)
		b.WriteByte(']')
	}
}

// literalText writes a literal without losing any of it.
func literalText(v Value) string {
	switch v := v.(type) {
	case string:
		return "'" + strings.ReplaceAll(v, "'", "''") + "'"
	case bool:
		if v {
			return "true"
		}
		return "false"
	case Number:
		return v.Exact()
	default:
		text, _ := ToString(v)
		return text
	}
}
