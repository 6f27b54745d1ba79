package price

import "testing"

func TestEuroRounding(t *testing.T) {
	for in, want := range map[string]string{
		"19.994": "19.99", "19.995": "20.00", "19.999": "20.00", "19.9949": "19.99", "0.004": "0.00", "0.005": "0.01",
	} {
		got, err := Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		if got.String() != want {
			t.Errorf("%s → want %s, got %s", in, want, got)
		}
	}
}

func TestParseWholeAmounts(t *testing.T) {
	for in, want := range map[string]Cents{"0": 0, "7": 700, "7.5": 750, "7.50": 750, " 12.34 ": 1234, "1000000": 100_000_000} {
		if got, err := Parse(in); err != nil || got != want {
			t.Errorf("Parse(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
}

func TestParseRefusesOtherText(t *testing.T) {
	for _, in := range []string{"", ".", "-1", "1,50", "1.2.3", "ten", "1e3", "99999999999"} {
		if got, err := Parse(in); err == nil {
			t.Errorf("Parse(%q) = %s, want an error", in, got)
		}
	}
}

func TestString(t *testing.T) {
	for in, want := range map[Cents]string{0: "0.00", 5: "0.05", 1999: "19.99", -105: "-1.05"} {
		if got := in.String(); got != want {
			t.Errorf("Cents(%d) = %s, want %s", in, got, want)
		}
	}
}

func TestEuro(t *testing.T) {
	for in, want := range map[Cents]string{1999: "€19.99", -1: "-€0.01"} {
		if got := in.Euro(); got != want {
			t.Errorf("Cents(%d) = %s, want %s", in, got, want)
		}
	}
}

func TestTimes(t *testing.T) {
	if got, err := Cents(1999).Times(3); err != nil || got != 5997 {
		t.Errorf("3 × 19.99 = %s, %v", got, err)
	}
	for _, n := range []int{0, -1, 101} {
		if _, err := Cents(1).Times(n); err == nil {
			t.Errorf("quantity %d was accepted", n)
		}
	}
}

func TestDiscountFavoursTheBuyer(t *testing.T) {
	for _, tt := range []struct {
		in   Cents
		off  int
		want Cents
	}{{1000, 10, 900}, {999, 10, 899}, {1, 50, 0}, {1999, 0, 1999}, {1999, 100, 0}} {
		if got := tt.in.Discount(tt.off); got != tt.want {
			t.Errorf("%s less %d %% = %s, want %s", tt.in, tt.off, got, tt.want)
		}
	}
}

func TestVATIncluded(t *testing.T) {
	for _, tt := range []struct {
		in      Cents
		percent int
		want    Cents
	}{{11900, 19, 1900}, {1999, 19, 319}, {10700, 7, 700}, {0, 19, 0}} {
		if got := tt.in.VATIncluded(tt.percent); got != tt.want {
			t.Errorf("VAT of %d %% in %s = %s, want %s", tt.percent, tt.in, got, tt.want)
		}
	}
}
