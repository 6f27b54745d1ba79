package shop

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"storefront.example/checkout"
	"storefront.example/price"
)

func newShop(t *testing.T, key string) *Shop {
	t.Helper()
	s, err := New(Options{Web: "../web", Version: "1.2.3", PaymentKey: key})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func do(s http.Handler, method, path, contentType, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://127.0.0.1:8080"+path, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func TestPages(t *testing.T) {
	s := newShop(t, "key")
	for path, want := range map[string]string{
		"/": "1.2.3", "/products": "Teapot", "/checkout": "€86.38", "/healthz": "ok", "/version": "1.2.3", "/style.css": "body",
	} {
		w := do(s, http.MethodGet, path, "", "")
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("GET %s: %d, want 200 with %q", path, w.Code, want)
		}
		if got := w.Header().Get("X-Storefront-Version"); got != "1.2.3" {
			t.Errorf("GET %s: version %q", path, got)
		}
	}
	if w := do(s, http.MethodGet, "/nobody", "", ""); w.Code != http.StatusNotFound {
		t.Errorf("GET /nobody: %d", w.Code)
	}
}

func TestBuy(t *testing.T) {
	s := newShop(t, "key")
	w := do(s, http.MethodPost, "/checkout", "application/json", `{"items":[{"sku":"mug","quantity":2},{"sku":"tea","quantity":1}]}`)
	var got receipt
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusCreated {
		t.Fatalf("%d %s %v", w.Code, w.Body, err)
	}
	total, err := price.Parse(got.Total)
	if err != nil || got.Total != "29.99" || !checkout.Verify("key", got.Order, total, got.Signature) {
		t.Errorf("receipt %+v", got)
	}
	if w := do(s, http.MethodPost, "/checkout", "application/x-www-form-urlencoded", "sku=pot&quantity=1"); w.Code != http.StatusCreated {
		t.Errorf("form: %d %s", w.Code, w.Body)
	}
}

func TestBuyRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		key, body string
		code      int
	}{
		"no JSON":     {"key", "x", http.StatusBadRequest},
		"no items":    {"key", "{}", http.StatusBadRequest},
		"unknown":     {"key", `{"items":[{"sku":"car","quantity":1}]}`, http.StatusUnprocessableEntity},
		"no quantity": {"key", `{"items":[{"sku":"mug"}]}`, http.StatusUnprocessableEntity},
		"no key":      {"", `{"items":[{"sku":"mug","quantity":1}]}`, http.StatusServiceUnavailable},
	} {
		if w := do(newShop(t, tt.key), http.MethodPost, "/checkout", "application/json", tt.body); w.Code != tt.code {
			t.Errorf("%s: %d, want %d", name, w.Code, tt.code)
		}
	}
}

func TestNewNeedsItsPages(t *testing.T) {
	if _, err := New(Options{Web: t.TempDir()}); err == nil {
		t.Error("a shop without pages opened")
	}
}
