package outbound

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/base/fault"
)

func TestAllowed(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:80": true, "10.1.2.3:443": true, "203.0.113.7:80": true, "[2001:db8::1]:443": true, "[::1]:80": true,
		"169.254.169.254:80": false, "[::ffff:169.254.169.254]:80": false, "[fe80::1%eth0]:80": false, "[fd00:ec2::254]:80": false, "100.100.100.200:80": false,
		"168.63.129.16:80": false, "0.0.0.0:80": false, "[::]:80": false, "224.0.0.1:80": false, "[64:ff9b::a9fe:a9fe]:80": false, "[2002:a9fe:a9fe::1]:80": false, "nothing": false,
	} {
		if err := allowed(address); (err == nil) != want {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestCall(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ok":
			w.WriteHeader(http.StatusTeapot)
			_, _ = w.Write([]byte("tea"))
		case "/there":
			http.Redirect(w, r, "/ok", http.StatusFound)
		case "/away":
			http.Redirect(w, r, strings.Replace(other.URL, "127.0.0.1", "localhost", 1), http.StatusFound)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		case "/large":
			_, _ = w.Write(make([]byte, MaxAnswer+1))
		case "/metadata":
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusFound)
		case "/broken":
			panic(http.ErrAbortHandler)
		}
	}))
	defer server.Close()
	for path, code := range map[string]string{"/ok": "", "/there": "", "/away": "redirect-refused", "/round": "redirect-refused", "/large": "too-large",
		"/metadata": "redirect-refused", "/broken": "call-failed"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := New().Call(r)
		if err == nil && (code != "" || a.Status != http.StatusTeapot || string(a.Body) != "tea") || err != nil && fault.CodeOf(err) != code {
			t.Errorf("%s: %+v, %v", path, a, err)
		}
	}
	for _, address := range []string{"http://169.254.169.254/latest/meta-data", "file:///etc/passwd", "gopher://127.0.0.1/"} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := New().Call((&http.Request{Method: http.MethodGet, URL: u}).WithContext(t.Context())); fault.CodeOf(err) != "address-refused" {
			t.Errorf("%s: %v", address, err)
		}
	}
}
