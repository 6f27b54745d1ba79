package expression

import (
	"strings"
	"time"
)

// Equal converts the right value to the type of the left one and compares;
// what cannot be converted is not equal.
func Equal(left, right Value) bool {
	switch l := left.(type) {
	case nil:
		s, isText := right.(string)
		return right == nil || isText && s == ""
	case bool:
		return l == Truth(right)
	case Number:
		r, ok := ToNumber(right)
		return ok && l.Cmp(r) == 0
	case string:
		r, ok := ToString(right)
		return ok && strings.EqualFold(l, r)
	case Version:
		r, ok := toVersion(right)
		return ok && l.Cmp(r) == 0
	case time.Time:
		r, ok := toTime(right)
		return ok && l.Equal(r)
	default:
		return sameCollection(left, right)
	}
}

// sameCollection compares identities: two mappings with equal content differ.
func sameCollection(left, right Value) bool {
	switch right.(type) {
	case Object, Array:
		return left == right
	default:
		return false
	}
}

// order compares for gt, ge, lt and le; ok is false when the right value cannot
// become the type of the left one.
func order(left, right Value) (cmp int, ok bool) {
	switch l := left.(type) {
	case nil:
		s, isText := right.(string)
		return 0, right == nil || isText && s == ""
	case bool:
		return boolRank(l) - boolRank(Truth(right)), true
	case Number:
		r, ok := ToNumber(right)
		if !ok {
			return 0, false
		}
		return l.Cmp(r), true
	case string:
		r, ok := ToString(right)
		return strings.Compare(strings.ToUpper(l), strings.ToUpper(r)), ok
	case Version:
		r, ok := toVersion(right)
		return l.Cmp(r), ok
	case time.Time:
		r, ok := toTime(right)
		return l.Compare(r), ok
	default:
		return 0, false
	}
}

func boolRank(b bool) int {
	if b {
		return 1
	}
	return 0
}
