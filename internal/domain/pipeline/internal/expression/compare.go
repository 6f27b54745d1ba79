package expression

import "time"

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
		return ok && l == r
	case string:
		if r, isText := right.(string); isText {
			return EqualFold(l, r)
		}
		r, ok := ToString(right)
		return ok && EqualFold(l, r)
	case Version:
		r, ok := toVersion(right)
		return ok && l == r
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

// order compares for gt, ge, lt and le. The right value becomes the type of the
// left one; a left one without an order becomes a number first.
func order(left, right Value) (cmp int, err *castFailure) {
	switch l := left.(type) {
	case bool:
		return boolRank(l) - boolRank(Truth(right)), nil
	case string:
		if r, ok := ToString(right); ok {
			return compareFold(l, r), nil
		}
		return 0, &castFailure{right, "String", 1}
	case Version:
		if r, ok := toVersion(right); ok {
			return l.Cmp(r), nil
		}
		return 0, &castFailure{right, "Version", 1}
	case time.Time:
		if r, ok := toTime(right); ok {
			return l.Compare(r), nil
		}
		return 0, &castFailure{right, "DateTime", 1}
	default:
		l2, ok := ToNumber(left)
		if !ok {
			return 0, &castFailure{left, "Number", 0}
		}
		r, ok := ToNumber(right)
		if !ok {
			return 0, &castFailure{right, "Number", 1}
		}
		return l2.Cmp(r), nil
	}
}

// castFailure says which argument could not become what.
type castFailure struct {
	value Value
	kind  string
	arg   int
}

func boolRank(b bool) int {
	if b {
		return 1
	}
	return 0
}
