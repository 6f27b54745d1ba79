package expression

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestConversionTable is the table of which type becomes which, cell by cell.
func TestConversionTable(t *testing.T) {
	start := time.Date(2026, 1, 31, 4, 5, 6, 0, time.UTC)
	number := func(s string) Number { n, _ := ParseNumber(s); return n }
	version, _ := ParseVersion("1.2.3")
	for _, c := range []struct {
		name                                          string
		v                                             Value
		boolean, null, number, text, version, theDate string
	}{
		{"false", false, "False", "no", "0", "False", "no", "no"},
		{"true", true, "True", "no", "1", "True", "no", "no"},
		{"null", nil, "False", "yes", "0", "", "no", "no"},
		{"zero", Int(0), "False", "no", "0", "0", "no", "no"},
		{"number", number("1.20"), "True", "no", "1.2", "1.2", "1.2", "no"},
		{"whole number", Int(2), "True", "no", "2", "2", "no", "no"},
		{"negative number", number("-1.2"), "True", "no", "-1.2", "-1.2", "no", "no"},
		{"empty text", "", "False", "yes", "0", "", "no", "no"},
		{"white text", "  ", "True", "no", "no", "  ", "no", "no"},
		{"false text", "false", "True", "no", "no", "false", "no", "no"},
		{"zero text", "0", "True", "no", "0", "0", "no", "no"},
		{"number text", " -1,234.50 ", "True", "no", "-1234.5", " -1,234.50 ", "no", "no"},
		{"version text", "1.2.3.4", "True", "no", "no", "1.2.3.4", "1.2.3.4", "no"},
		{"date text", "2026-1-31 4:5:6", "True", "no", "no", "2026-1-31 4:5:6", "no", "2026-01-31 04:05:06+00:00"},
		{"version", version, "True", "no", "no", "1.2.3", "1.2.3", "no"},
		{"date", start, "True", "no", "no", "2026-01-31 04:05:06+00:00", "no", "2026-01-31 04:05:06+00:00"},
		{"object", NewMap(), "True", "no", "no", "no", "no", "no"},
		{"array", NewList(), "True", "no", "no", "no", "no", "no"},
	} {
		cell := func(v any, ok bool) string {
			if !ok {
				return "no"
			}
			text, _ := ToString(v)
			return text
		}
		null := "no"
		if Equal(nil, c.v) {
			null = "yes"
		}
		n, nok := ToNumber(c.v)
		s, sok := ToString(c.v)
		ver, vok := toVersion(c.v)
		date, dok := toTime(c.v)
		got := []string{cell(Truth(c.v), true), null, cell(n, nok), cell(s, sok), cell(ver, vok), cell(date, dok)}
		want := []string{c.boolean, c.null, c.number, c.text, c.version, c.theDate}
		for i, column := range []string{"boolean", "null", "number", "text", "version", "date"} {
			if got[i] != want[i] {
				t.Errorf("%s as %s is %q, want %q", c.name, column, got[i], want[i])
			}
		}
	}
}

func TestParseNumber(t *testing.T) {
	const largest = "79228162514264337593543950335"
	for text, want := range map[string]string{
		"0": "0", " 12 ": "12", "\t\n1\r ": "1", "-1,234.50": "-1234.5", "+1": "1", ".5": "0.5", "5.": "5", "1,2,3": "123", "1,": "1", "1,,2": "12", "1,.5": "1.5", "-.5": "-0.5", "-0": "0", "-0.0": "0",
		"00012": "12", "0.10": "0.1", "1.2\x00": "1.2", largest: largest, "-" + largest: "-" + largest,
		"": "no", "  ": "no", "1e3": "no", "0x1": "no", "--1": "no", "+-1": "no", ",1": "no", "1.2.3": "no", "yes": "no", ".": "no", "-": "no", "+": "no", "- 1": "no", "1 2": "no", "1-": "no", "1.,2": "no",
		"1.1,2": "no", "(1)": "no", "$1": "no", "\u00a01": "no", "١": "no", "79228162514264337593543950336": "no", "1" + strings.Repeat("0", 29): "no", strings.Repeat("9", 400): "no",
		// What does not fit behind the point is rounded half to even.
		"0.12345678901234567890123456785": "0.1234567890123456789012345678", "0.12345678901234567890123456775": "0.1234567890123456789012345678", "0.123456789012345678901234567851": "0.1234567890123456789012345679",
		"0." + strings.Repeat("0", 27) + "1": "0.0000000000000000000000000001", "0." + strings.Repeat("0", 28) + "4": "0", "0." + strings.Repeat("0", 40) + "9": "0", "0." + strings.Repeat("0", 28) + "6": "0." + strings.Repeat("0", 27) + "1", "0." + strings.Repeat("0", 29) + "6": "0",
		"7922816251426433759354395033.55": "7922816251426433759354395034", largest + ".4": largest, largest + ".5": "no", "9.9999999999999999999999999999": "10",
	} {
		n, ok := ParseNumber(text)
		got := "no"
		if ok {
			got = n.Exact()
		}
		if got != want {
			t.Errorf("number %q = %s, want %s", text, got, want)
		}
	}
}

func TestNumberText(t *testing.T) {
	for text, want := range map[string]string{
		"1.50": "1.5", "0.00000005": "0.0000001", "0.00000004": "0", "-0.00000004": "0", "-0.00000005": "-0.0000001", "1.12345675": "1.1234568", "1.12345665": "1.1234567", "9.99999999": "10", "99999.99999996": "100000",
		"45700000000000000000000000000": "45700000000000000000000000000", "0.9999999": "0.9999999", "100": "100", "1234567.1234567": "1234567.1234567", "7922816251426433759354395033.5": "7922816251426433759354395033.5",
	} {
		n, ok := ParseNumber(text)
		if got := n.String(); !ok || got != want {
			t.Errorf("%s is shown as %s, want %s", text, got, want)
		}
	}
	if n, ok := Float(0.1); !ok || n.String() != "0.1" || n.Float() != 0.1 {
		t.Error(n)
	}
	for text, want := range map[string]int{"1.5": 2, "2.5": 2, "-2.5": -2, "-1.5": -2, "2.4999": 2, "7": 7, "0.51": 1} {
		n, _ := ParseNumber(text)
		if got, ok := n.Round(); !ok || got != want {
			t.Errorf("%s is rounded to %d, want %d", text, got, want)
		}
	}
	if i, ok := Int(-5).Int(); !ok || i != -5 {
		t.Error(i, ok)
	}
	if _, ok := (Number{low: 1, scale: 1}).Int(); ok {
		t.Error("a fraction is whole")
	}
}

func TestNumberOrder(t *testing.T) {
	ascending := []string{"-79228162514264337593543950335", "-10", "-1.5", "-1.4999999999999999999999999999", "-0.1", "0", "0.0000000000000000000000000001", "0.1", "0.11", "1", "1.5", "2", "10", "18446744073709551616", "7922816251426433759354395033.5", "79228162514264337593543950335"}
	for i, a := range ascending {
		for j, b := range ascending {
			x, _ := ParseNumber(a)
			y, _ := ParseNumber(b)
			if got := x.Cmp(y); got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("%s against %s is %d", a, b, got)
			}
		}
	}
}

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]string{
		"1.2": "1.2", "1.2.3.4": "1.2.3.4", "01.002": "1.2", " 1 . 2 ": "1.2", "+1.2": "1.2", "-0.1": "0.1", "2147483647.0": "2147483647.0",
		"1": "no", "1.2.3.4.5": "no", "1.x": "no", "-1.2": "no", "1..2": "no", "": "no", ".": "no", "1.": "no", "2147483648.0": "no", "1_0.2": "no", "1.2.": "no",
	} {
		v, ok := ParseVersion(text)
		got := "no"
		if ok {
			got = v.String()
		}
		if got != want {
			t.Errorf("version %q = %s, want %s", text, got, want)
		}
	}
}

func TestParseTime(t *testing.T) {
	for text, want := range map[string]string{
		"2026-01-31 04:05:06": "2026-01-31T04:05:06Z", "2026/1/31 4:5:6": "2026-01-31T04:05:06Z", " 2026-01-31T04:05:06Z ": "2026-01-31T04:05:06Z", "2026-01-31T04:05:06.1234567+02:00": "2026-01-31T02:05:06.1234567Z",
		"2026-01-31 04:05:06-5:30": "2026-01-31T09:35:06Z", "2026-01-31 04:05:06.5": "2026-01-31T04:05:06.5Z", "2026-01-31 04:05:06+14:00": "2026-01-30T14:05:06Z", "2026-01-31 04:05:06+1:75": "2026-01-31T01:50:06Z",
		"": "no", "x": "no", "2026-01-31": "no", "2026-01/31 04:05:06": "no", "26-01-31 04:05:06": "no", "2026-02-30 04:05:06": "no", "2026-01-31 24:00:00": "no", "2026-01-31 04:05:60": "no", "2026-01-31t04:05:06": "no",
		"2026-01-31 04:05:06 Z": "no", "2026-01-31 04:05:06z": "no", "2026-01-31 04:05:06.": "no", "2026-01-31 04:05:06.12345678": "no", "2026-01-31 04:05:06+14:01": "no", "2026-01-31 04:05:06+0200": "no",
		"2026-01-31 04:05:06Zx": "no", "0000-01-31 04:05:06": "no", "2026-001-31 04:05:06": "no", "2026-01-31  04:05:06": "no", "9999-12-31 23:59:59-01:00": "no", "2026-01-31 04-05-06": "no",
	} {
		at, ok := ParseTime(text)
		got := "no"
		if ok {
			got = at.UTC().Format(time.RFC3339Nano)
		}
		if got != want {
			t.Errorf("date %q = %s, want %s", text, got, want)
		}
	}
}

// TestFold is the narrow way of ignoring case.
func TestFold(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"abc", "ABC", true}, {"é", "É", true}, {"σ", "ς", true}, {"ǆ", "ǅ", true}, {"µ", "μ", true}, {"ÿ", "Ÿ", true}, {"я", "Я", true}, {"", "", true}, {"aé", "Aé", true},
		{"ß", "SS", false}, {"ß", "ẞ", false}, {"ı", "I", false}, {"İ", "i", false}, {"\u212a", "k", false}, {"ſ", "s", false}, {"a", "ab", false}, {"[", "{", false}, {"@", "`", false}, {"𐐀", "𐐨", false}, {"a", "é", false},
	} {
		if EqualFold(c.a, c.b) != c.same || EqualFold(c.b, c.a) != c.same || (foldText(c.a) == foldText(c.b)) != c.same {
			t.Errorf("%q and %q: not %v", c.a, c.b, c.same)
		}
	}
	for _, c := range []struct {
		f       string
		a, b    string
		want    bool
		holdsOn func(a, b string) bool
	}{
		{"contains", "xÀbc", "àB", true, containsFold}, {"contains", strings.Repeat("aé", 5000) + "Z", "éaÉz", true, containsFold}, {"contains", strings.Repeat("aé", 5000) + "Z", "ééz", false, containsFold}, {"contains", strings.Repeat("aé", 5000) + "Z", "Éz", true, containsFold},
		{"contains", "", "", true, containsFold}, {"contains", "a", "ab", false, containsFold}, {"startsWith", "Éa", "éA", true, hasPrefixFold}, {"startsWith", "a", "ab", false, hasPrefixFold}, {"startsWith", "a", "", true, hasPrefixFold},
		{"endsWith", "xÉ", "é", true, hasSuffixFold}, {"endsWith", "é", "xé", false, hasSuffixFold}, {"endsWith", "x", "", true, hasSuffixFold}, {"endsWith", "\u212a", "k", false, hasSuffixFold},
	} {
		if c.holdsOn(c.a, c.b) != c.want {
			t.Errorf("%s(%.10q, %q): not %v", c.f, c.a, c.b, c.want)
		}
	}
	for _, c := range []struct{ s, old, with, want string }{
		{"Hello", "L", "x", "Hexxo"}, {"ÀbÀ", "à", "-", "-b-"}, {"aıı", "I", "x", "aıı"}, {"ɐx", "Ɐ", "y", "yx"}, {"xɐx", "X", "", "ɐ"}, {"abc", "", "x", "abc"}, {"", "a", "b", ""}, {"aaa", "aa", "b", "ba"},
	} {
		if got, ok := replaceFold(c.s, c.old, c.with, 100); !ok || got != c.want {
			t.Errorf("replace(%q, %q, %q) = %q", c.s, c.old, c.with, got)
		}
	}
	if _, ok := replaceFold(strings.Repeat("a", 60), "a", "bb", 100); ok {
		t.Error("replace has no bound")
	}
	if upperText("ıßéɐ") != "ıßÉⱯ" || lowerText("İÉ") != "İé" {
		t.Error(upperText("ıßéɐ"), lowerText("İÉ"))
	}
	for _, ordered := range [][2]string{{"a", "B"}, {"A", "b"}, {"_", "A"}, {"", "a"}, {"a", "aa"}, {"😀", "\ue000"}, {"z", "é"}} {
		want := -1
		if ordered[0] == "_" { // after the capital letters that the others become
			want = 1
		}
		if got := compareFold(ordered[0], ordered[1]); got != want {
			t.Errorf("%q against %q is %d", ordered[0], ordered[1], got)
		}
	}
}

// TestEqualCells compares every type with every other.
func TestEqualCells(t *testing.T) {
	at := time.Date(2026, 1, 31, 4, 5, 6, 0, time.UTC)
	version, _ := ParseVersion("1.2")
	two, _ := ParseNumber("1.2")
	list, object := NewList(), NewMap()
	for _, c := range []struct {
		left, right Value
		same        bool
	}{
		{true, "false", true}, {true, nil, false}, {false, nil, true}, {false, "", true}, {true, list, true}, {true, version, true}, {false, Int(0), true},
		{Int(1), "1.0", true}, {Int(1), "x", false}, {Int(0), nil, true}, {Int(0), "", true}, {Int(0), " ", false}, {Int(1), true, true}, {Int(1), version, false}, {Int(1), list, false}, {Int(1), at, false}, {Int(1), "1,0", false}, {Int(10), "1,0", true},
		{"True", true, true}, {"1", Int(1), true}, {"1.0", Int(1), false}, {"", nil, true}, {"1.2", version, true}, {"2026-01-31 04:05:06+00:00", at, true}, {"Object", object, false},
		{version, "1.2", true}, {version, two, true}, {version, "1.2.0", false}, {version, "x", false}, {version, true, false}, {version, nil, false},
		{at, "2026-01-31T04:05:06Z", true}, {at, "2026-01-31T05:05:06+01:00", true}, {at, "x", false}, {at, Int(1), false}, {at, nil, false}, {at, at, true},
		{nil, nil, true}, {nil, "", true}, {nil, false, false}, {nil, Int(0), false}, {nil, list, false},
		{list, list, true}, {list, NewList(), false}, {object, object, true}, {object, list, false}, {list, "", false}, {list, true, false},
	} {
		if got := Equal(c.left, c.right); got != c.same {
			t.Errorf("%v (%T) and %v (%T): %v", c.left, c.left, c.right, c.right, got)
		}
	}
}

// TestOrderCells orders by the type of the left value; what has no order becomes
// a number first.
func TestOrderCells(t *testing.T) {
	at := time.Date(2026, 1, 31, 4, 5, 6, 0, time.UTC)
	version, _ := ParseVersion("1.2")
	for _, c := range []struct {
		left, right Value
		want        string
	}{
		{nil, Int(1), "-1"}, {nil, Int(-1), "1"}, {nil, "", "0"}, {nil, "x", "String to Number"}, {nil, true, "-1"}, {NewList(), Int(1), "Array to Number"}, {NewMap(), Int(1), "Object to Number"},
		{false, "x", "-1"}, {true, nil, "1"}, {true, NewList(), "0"}, {Int(2), "10", "-1"}, {Int(2), "x", "String to Number"}, {Int(2), version, "Version to Number"}, {Int(2), nil, "1"},
		{"a", "B", "-1"}, {"10", Int(9), "-1"}, {"a", NewMap(), "Object to String"}, {"", nil, "0"}, {version, "1.2.0", "-1"}, {version, "1.1.9", "1"}, {version, "x", "String to Version"}, {version, Int(1), "Number to Version"},
		{at, "2026-01-31 04:05:07", "-1"}, {at, "x", "String to DateTime"}, {at, nil, "Null to DateTime"},
	} {
		cmp, failure := order(c.left, c.right)
		got := fmt.Sprint(cmp)
		if failure != nil {
			got = kindName(failure.value) + " to " + failure.kind
		}
		if got != c.want {
			t.Errorf("%v against %v is %s, want %s", c.left, c.right, got, c.want)
		}
	}
}
