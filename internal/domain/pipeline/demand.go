package pipeline

import (
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/expression"
)

// MatchDemand tests a demand ("name", "name -equals v", "name -gtVersion v")
// against an agent's capabilities. Names and values are compared ignoring case.
func MatchDemand(demand string, capabilities map[string]string) bool {
	name, operator, value, ok := parseDemand(demand)
	if !ok {
		return false
	}
	have, found := capabilities[name]
	for key, v := range capabilities {
		if found {
			break
		}
		if strings.EqualFold(key, name) {
			have, found = v, true
		}
	}
	switch {
	case !found:
		return false
	case operator == "-equals":
		return strings.EqualFold(have, value)
	case operator == "-gtversion":
		return atLeast(have, value)
	default:
		return true
	}
}

// parseDemand splits a demand; the operator is in lower case.
func parseDemand(demand string) (name, operator, value string, ok bool) {
	demand = strings.TrimSpace(demand)
	name, rest, more := strings.Cut(demand, " ")
	if name == "" {
		return "", "", "", false
	}
	if !more {
		return name, "", "", true
	}
	operator, value, _ = strings.Cut(strings.TrimSpace(rest), " ")
	operator, value = strings.ToLower(operator), strings.TrimSpace(value)
	if operator == "-equals" || operator == "-gtversion" {
		return name, operator, value, value != ""
	}
	return "", "", "", false
}

// atLeast compares versions. In spite of its name -gtVersion is satisfied by
// the version itself: it states a minimum.
func atLeast(have, want string) bool {
	h, ok := version(have)
	w, good := version(want)
	return ok && good && h.Cmp(w) >= 0
}

// version reads a version with one to four parts and fills up with zeros.
func version(text string) (expression.Version, bool) {
	text = strings.TrimPrefix(strings.TrimSpace(text), "v")
	text, _, _ = strings.Cut(text, "-")
	for strings.Count(text, ".") < 3 {
		text += ".0"
	}
	return expression.ParseVersion(text)
}
