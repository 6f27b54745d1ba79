//go:build acceptance

package acceptance

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"storefront.example/internal/reach"
)

var client = reach.Client()

// target is the shop under test and the version it must be.
func target(t *testing.T) (url, version string) {
	t.Helper()
	url, version = strings.TrimSuffix(os.Getenv("STOREFRONT_URL"), "/"), os.Getenv("EXPECT_VERSION")
	if url == "" || version == "" {
		t.Fatal("STOREFRONT_URL and EXPECT_VERSION are needed")
	}
	return url, version
}

func get(t *testing.T, path string) (*http.Response, string) {
	t.Helper()
	url, _ := target(t)
	res, err := client.Get(url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func post(t *testing.T, body string) (int, string) {
	t.Helper()
	url, _ := target(t)
	res, err := client.Post(url+"/checkout", "application/json", strings.NewReader(body))
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

// Every answer, from whichever machine, is of the expected release.
func TestVersionEverywhere(t *testing.T) {
	_, want := target(t)
	for range 10 {
		res, body := get(t, "/version")
		if got := strings.TrimSpace(body); got != want || res.Header.Get("X-Storefront-Version") != want {
			t.Fatalf("version %q, want %q", got, want)
		}
	}
}

func TestPages(t *testing.T) {
	for path, want := range map[string]string{
		"/": "Things for the kitchen", "/products": "Teapot", "/checkout": "of which tax", "/style.css": "font", "/healthz": "ok",
	} {
		t.Run(path, func(t *testing.T) {
			res, body := get(t, path)
			if res.StatusCode != http.StatusOK || !strings.Contains(body, want) {
				t.Errorf("GET %s: %s, want 200 with %q", path, res.Status, want)
			}
		})
	}
}

// The deployment filled in the title.
func TestTitleIsSet(t *testing.T) {
	if _, body := get(t, "/"); !strings.Contains(body, "<title>") || strings.Contains(body, "<title></title>") {
		t.Error("the home page has no title")
	}
}

func TestUnknownPage(t *testing.T) {
	if res, _ := get(t, "/nobody"); res.StatusCode != http.StatusNotFound {
		t.Errorf("GET /nobody: %s", res.Status)
	}
}

func TestOrder(t *testing.T) {
	code, body := post(t, `{"items":[{"sku":"mug","quantity":2},{"sku":"tea","quantity":1}]}`)
	var r struct{ Order, Total, Signature string }
	if err := json.Unmarshal([]byte(body), &r); err != nil || code != http.StatusCreated {
		t.Fatalf("POST /checkout: %d %s", code, body)
	}
	if r.Total != "29.99" || r.Order == "" || len(r.Signature) != 64 {
		t.Errorf("receipt %+v", r)
	}
}

func TestBadOrders(t *testing.T) {
	for body, want := range map[string]int{
		"{}":                                     http.StatusBadRequest,
		`{"items":[{"sku":"car","quantity":1}]}`: http.StatusUnprocessableEntity,
		`{"items":[{"sku":"mug","quantity":999}]}`: http.StatusUnprocessableEntity,
	} {
		if code, _ := post(t, body); code != want {
			t.Errorf("%s: %d, want %d", body, code, want)
		}
	}
}
