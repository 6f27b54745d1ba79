package checkout

import (
	"testing"

	"storefront.example/price"
)

func TestTotal(t *testing.T) {
	got, err := Total([]Line{{"Mug", 1250, 2}, {"Tea", 499, 1}})
	if err != nil || got != 2999 {
		t.Errorf("got %s, %v; want 29.99", got, err)
	}
	if got, err := Total(nil); err != nil || got != 0 {
		t.Errorf("an empty basket costs %s, %v", got, err)
	}
	if _, err := Total([]Line{{"Mug", 1250, 0}}); err == nil {
		t.Error("a line of nothing was accepted")
	}
}

func TestTax(t *testing.T) {
	for _, host := range []string{"127.0.0.1:8080", "[::1]:8080", "localhost", "staging.storefront.localhost"} {
		if got, err := Tax(host, 11900); err != nil || got != 1900 {
			t.Errorf("%s: %s, %v; want 19.00", host, got, err)
		}
	}
}

func TestTrialNames(t *testing.T) {
	for host, want := range map[string]bool{
		"storefront.localhost": false, "storefront.localhost:7480": false, "www.storefront.localhost": false,
		"Staging.storefront.localhost:7480": true, "10.0.0.1": true,
	} {
		if got := isTrial(host); got != want {
			t.Errorf("isTrial(%s) = %v", host, got)
		}
	}
}

func TestSignNeedsKeyAndAmount(t *testing.T) {
	for _, tt := range []struct {
		key   string
		total price.Cents
	}{{"", 100}, {"key", 0}, {"key", -1}} {
		if s, err := Sign(tt.key, "1", tt.total); err == nil {
			t.Errorf("Sign(%q, %s) = %s", tt.key, tt.total, s)
		}
	}
}

func TestVerify(t *testing.T) {
	s, err := Sign("key", "order-1", 1999)
	if err != nil {
		t.Fatal(err)
	}
	if !Verify("key", "order-1", 1999, s) {
		t.Error("its own signature is refused")
	}
	if Verify("other", "order-1", 1999, s) || Verify("key", "order-2", 1999, s) || Verify("key", "order-1", 1998, s) {
		t.Error("a signature holds for something else")
	}
}
