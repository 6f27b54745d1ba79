//go:build smoke

package smoke

import (
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"storefront.example/internal/reach"
)

var client = reach.Client()

// ask makes one request and returns its status and body.
func ask(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	url := strings.TrimSuffix(os.Getenv("STOREFRONT_URL"), "/")
	if url == "" {
		t.Fatal("STOREFRONT_URL is needed")
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func TestHomeAnswers(t *testing.T) {
	if code, _ := ask(t, http.MethodGet, "/", ""); code != http.StatusOK {
		t.Errorf("GET /: %d %s", code, http.StatusText(code))
	}
}

func TestHomeShowsVersion(t *testing.T) {
	want := os.Getenv("EXPECT_VERSION")
	if want == "" {
		t.Fatal("EXPECT_VERSION is needed")
	}
	if _, body := ask(t, http.MethodGet, "/", ""); !strings.Contains(body, "Version "+want+"<") {
		t.Errorf("GET /: not version %s", want)
	}
}

func TestProducts(t *testing.T) {
	if code, body := ask(t, http.MethodGet, "/products", ""); code != http.StatusOK || !strings.Contains(body, "Teapot") {
		t.Errorf("GET /products: %d %s", code, http.StatusText(code))
	}
}

func TestBuy(t *testing.T) {
	if code, body := ask(t, http.MethodPost, "/checkout", `{"items":[{"sku":"mug","quantity":1}]}`); code != http.StatusCreated {
		t.Errorf("POST /checkout: %d %s", code, body)
	}
}

func TestCheckoutPage(t *testing.T) {
	if code, _ := ask(t, http.MethodGet, "/checkout", ""); code != http.StatusOK {
		t.Errorf("GET /checkout: %d %s", code, http.StatusText(code))
	}
}
