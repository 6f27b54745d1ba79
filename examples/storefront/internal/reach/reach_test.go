package reach

import "testing"

func TestLoopback(t *testing.T) {
	for in, want := range map[string]string{
		"storefront.localhost:7480": "127.0.0.1:7480",
		"A.b.LOCALHOST.:80":         "127.0.0.1:80",
		"localhost:80":              "localhost:80",
		"notlocalhost:80":           "notlocalhost:80",
		"shop.example.test:443":     "shop.example.test:443",
	} {
		if got := loopback(in); got != want {
			t.Errorf("%s → %s, want %s", in, got, want)
		}
	}
}
