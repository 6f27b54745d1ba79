package near

import (
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	all := []string{"registry", "production-ssh", "npm", "Staging"}
	for word, want := range map[string]string{"registri": "registry", "ssh": "production-ssh", "staging": "Staging", "zzz": "registry production-ssh npm Staging", "npn": "npm"} {
		if got := strings.Join(Names(word, all), " "); got != want {
			t.Errorf("%s: %s, want %s", word, got, want)
		}
	}
	if got := Names("x", nil); len(got) > 0 {
		t.Error(got)
	}
	for _, k := range []struct {
		a, b string
		want int
	}{{"", "abc", 3}, {"abc", "abc", 0}, {"kitten", "sitting", 3}} {
		if got := distance(k.a, k.b); got != k.want {
			t.Errorf("%s, %s: %d, want %d", k.a, k.b, got, k.want)
		}
	}
}
