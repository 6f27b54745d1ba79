package state

import (
	"strings"
	"testing"

	"penstock.dev/penstock/internal/base/fault"
)

type light string

var moves = Moves[light]{"red": {"green"}, "green": {"amber"}, "amber": {"red", "off"}, "off": {}}

func TestCheck(t *testing.T) {
	if err := moves.Check("light", "red", "green"); err != nil {
		t.Error(err)
	}
	if err := moves.Check("light", "red", "red"); err != nil {
		t.Errorf("staying: %v", err)
	}
	if err := moves.Check("light", "red", "off"); !fault.Is(err, fault.Conflict) {
		t.Errorf("red to off: %v, want Conflict", err)
	}
	if !moves.Final("off") || moves.Final("red") {
		t.Error("off is final, red is not")
	}
}

func TestMermaid(t *testing.T) {
	got := moves.Mermaid("red")
	for _, want := range []string{"[*] --> red", "amber --> off", "off --> [*]"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
