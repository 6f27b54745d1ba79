package catalog

import "strings"

// truth has a third value for what cannot be known before the run.
type truth int

const (
	unknown truth = iota
	no
	yes
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// rule evaluates a visibility rule such as `type = a && other != b`. What it
// does not understand is unknown, so that nobody is warned wrongly.
type rule struct {
	rest  string
	value func(name string) (string, bool)
}

// holds reports whether a rule holds for the values of inputs. value gives the
// text of an input, and false when it cannot be known.
func holds(text string, value func(name string) (string, bool)) truth {
	r := &rule{rest: strings.TrimSpace(text), value: value}
	t := r.either()
	if r.rest != "" {
		return unknown
	}
	return t
}

func (r *rule) take(token string) bool {
	r.rest = strings.TrimLeft(r.rest, " ")
	if rest, ok := strings.CutPrefix(r.rest, token); ok {
		r.rest = rest
		return true
	}
	return false
}

func (r *rule) either() truth {
	t := r.both()
	for r.take("||") {
		switch other := r.both(); {
		case t == yes || other == yes:
			t = yes
		case t == unknown || other == unknown:
			t = unknown
		}
	}
	return t
}

func (r *rule) both() truth {
	t := r.one()
	for r.take("&&") {
		switch other := r.one(); {
		case t == no || other == no:
			t = no
		case t == unknown || other == unknown:
			t = unknown
		}
	}
	return t
}

func (r *rule) one() truth {
	if r.take("(") {
		t := r.either()
		if !r.take(")") {
			return unknown
		}
		return t
	}
	clause := r.rest
	if end := strings.IndexAny(clause, "&|)"); end >= 0 {
		clause = clause[:end]
	}
	r.rest = r.rest[len(clause):]
	return r.compare(strings.TrimSpace(clause))
}

// compare evaluates `name operator value`; the value may have spaces or be
// empty.
func (r *rule) compare(clause string) truth {
	end := strings.IndexAny(clause, " =!")
	if end <= 0 {
		return unknown
	}
	name, rest := clause[:end], strings.TrimLeft(clause[end:], " ")
	actual, known := r.value(name)
	if !known {
		return unknown
	}
	actual = strings.ToLower(actual)
	for _, operator := range []string{"!=", "==", "=", "NotContains", "contains", "NotStartsWith", "startsWith", "NotEndsWith", "endsWith"} {
		if len(rest) < len(operator) || !strings.EqualFold(rest[:len(operator)], operator) {
			continue
		}
		want := strings.ToLower(strings.Trim(strings.TrimSpace(rest[len(operator):]), `"`))
		switch strings.ToLower(operator) {
		case "=", "==":
			return truthOf(actual == want)
		case "!=":
			return truthOf(actual != want)
		case "contains":
			return truthOf(strings.Contains(actual, want))
		case "notcontains":
			return truthOf(!strings.Contains(actual, want))
		case "startswith":
			return truthOf(strings.HasPrefix(actual, want))
		case "notstartswith":
			return truthOf(!strings.HasPrefix(actual, want))
		case "endswith":
			return truthOf(strings.HasSuffix(actual, want))
		default:
			return truthOf(!strings.HasSuffix(actual, want))
		}
	}
	return unknown
}

// Counts reports whether an input certainly counts with the given inputs: all
// of its rules hold. given finds the text of an input by name or alias.
func (t *Task) Counts(in *Input, given func(*Input) (string, bool)) bool {
	value := func(name string) (string, bool) {
		other, ok := t.Input(name)
		if !ok {
			return "", false
		}
		text, written := given(other)
		if !written {
			text = other.Default
			if other.HasDefault {
				return "", false
			}
		}
		return text, !computed(text)
	}
	for _, text := range in.Visible {
		if holds(text, value) != yes {
			return false
		}
	}
	return true
}

// computed recognises a text whose value only the run knows.
func computed(text string) bool {
	return strings.Contains(text, "$(") || strings.Contains(text, "$[") || strings.Contains(text, "${{")
}
