package pattern

import "testing"

func TestLazy(t *testing.T) {
	word := Lazy(`^[a-z]+$`)
	first := word()
	if word() != first || !word().MatchString("word") || word().MatchString("two words") {
		t.Error("not the expression that was given")
	}
	defer func() {
		if recover() == nil {
			t.Error("a wrong expression is not seen in a test")
		}
	}()
	Lazy(`(`)
}
