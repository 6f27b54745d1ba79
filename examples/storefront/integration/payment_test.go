//go:build integration

package integration

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"storefront.example/checkout"
	"storefront.example/price"
	"storefront.example/shop"
)

// newShop starts the whole application with the real key.
func newShop(t *testing.T) (url, key string) {
	t.Helper()
	key = os.Getenv("PAYMENT_KEY")
	if key == "" {
		t.Fatal("PAYMENT_KEY is not set: link the variable group with the vault")
	}
	s, err := shop.New(shop.Options{Web: "../web", Version: "test", PaymentKey: key})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return server.URL, key
}

type receipt struct{ Order, Total, Signature string }

func buy(t *testing.T, url, body string) (receipt, int) {
	t.Helper()
	res, err := http.Post(url+"/checkout", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var r receipt
	if res.StatusCode == http.StatusCreated {
		if err := json.NewDecoder(res.Body).Decode(&r); err != nil {
			t.Fatal(err)
		}
	}
	return r, res.StatusCode
}

func TestPayment(t *testing.T) {
	url, key := newShop(t)
	r, code := buy(t, url, `{"items":[{"sku":"pot","quantity":1}]}`)
	if code != http.StatusCreated {
		t.Fatalf("POST /checkout: %d", code)
	}
	total, err := price.Parse(r.Total)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("accepted", func(t *testing.T) {
		if !checkout.Verify(key, r.Order, total, r.Signature) {
			t.Error("the payment service would refuse the signature")
		}
	})
	t.Run("declined", func(t *testing.T) {
		if checkout.Verify(key+"x", r.Order, total, r.Signature) || checkout.Verify(key, r.Order, total-1, r.Signature) {
			t.Error("a wrong key or amount is accepted")
		}
	})
	t.Run("not repeated", func(t *testing.T) {
		again, _ := buy(t, url, `{"items":[{"sku":"pot","quantity":1}]}`)
		if again.Order == r.Order || again.Signature == r.Signature {
			t.Error("two orders look the same")
		}
	})
}

func TestKeyStaysInside(t *testing.T) {
	url, key := newShop(t)
	r, _ := buy(t, url, `{"items":[{"sku":"mug","quantity":1}]}`)
	if strings.Contains(r.Order+r.Signature, key) {
		t.Error("the receipt holds the key")
	}
}
