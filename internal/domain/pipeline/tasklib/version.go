package tasklib

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Version is the version of a task.
type Version struct{ Major, Minor, Patch int }

// String writes 2.1.0.
func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }

// MarshalText writes the version as one text.
func (v Version) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (v *Version) UnmarshalText(data []byte) error {
	parsed, ok := ParseVersion(string(data))
	if !ok {
		return fmt.Errorf("%q is no version", data)
	}
	*v = parsed
	return nil
}

// Compare orders versions.
func (v Version) Compare(o Version) int {
	return cmp.Or(cmp.Compare(v.Major, o.Major), cmp.Compare(v.Minor, o.Minor), cmp.Compare(v.Patch, o.Patch))
}

// ParseVersion reads three numbers.
func ParseVersion(text string) (Version, bool) {
	numbers, ok := parts(text)
	if !ok || len(numbers) != 3 {
		return Version{}, false
	}
	return Version{numbers[0], numbers[1], numbers[2]}, true
}

// Matches reports whether the version is one that a step means by 2, 2.1 or
// 2.1.0. Nothing means any.
func (v Version) Matches(wanted string) bool {
	if wanted == "" {
		return true
	}
	numbers, ok := parts(wanted)
	if !ok {
		return false
	}
	own := []int{v.Major, v.Minor, v.Patch}
	for i, n := range numbers {
		if own[i] != n {
			return false
		}
	}
	return true
}

func parts(text string) ([]int, bool) {
	words := strings.Split(text, ".")
	if len(words) > 3 {
		return nil, false
	}
	var numbers []int
	for _, w := range words {
		n, err := strconv.ParseUint(w, 10, 31)
		if err != nil || w != strconv.FormatUint(n, 10) {
			return nil, false
		}
		numbers = append(numbers, int(n))
	}
	return numbers, true
}

// SplitRef cuts Name@2 into its two parts.
func SplitRef(ref string) (name, version string) {
	name, version, _ = strings.Cut(strings.TrimSpace(ref), "@")
	return strings.TrimSpace(name), strings.TrimSpace(version)
}
