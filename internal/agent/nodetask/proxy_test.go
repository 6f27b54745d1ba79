package nodetask

import (
	"encoding/json"
	"regexp"
	"slices"
	"testing"

	"penstock.dev/penstock/internal/domain/run"
)

func TestProxyOf(t *testing.T) {
	for _, c := range []struct {
		env            map[string]string
		url, user, pwd string
	}{
		{map[string]string{}, "", "", ""},
		{map[string]string{"http_proxy": "http://p.example.test:3128/"}, "http://p.example.test:3128/", "", ""},
		{map[string]string{"HTTP_PROXY": "http://ada:secret@p.example.test:3128"}, "http://p.example.test:3128", "ada", "secret"},
		{map[string]string{"http_proxy": "http://a:b@other", "VSTS_HTTP_PROXY": "https://p", "VSTS_HTTP_PROXY_USERNAME": "u", "VSTS_HTTP_PROXY_PASSWORD": "w"}, "https://p", "u", "w"},
		{map[string]string{"http_proxy": "socks5://p:1"}, "", "", ""}, {map[string]string{"http_proxy": "p:3128"}, "", "", ""}, {map[string]string{"http_proxy": "%zz"}, "", "", ""},
	} {
		p := ProxyOf(func(name string) string { return c.env[name] })
		if p.URL != c.url || p.Username != c.user || p.Password != c.pwd {
			t.Errorf("%v: %+v", c.env, p)
		}
		for _, v := range p.variables() {
			if v.Secret != (v.Name == "Agent.ProxyPassword") {
				t.Errorf("%s: secret %v", v.Name, v.Secret)
			}
		}
	}
}

// The client of the service looks for each expression in the whole address.
func TestProxyIsBypassed(t *testing.T) {
	env := map[string]string{"http_proxy": "http://p:1", "no_proxy": "intra.example.test,.corp.test, 10.0.0.7"}
	list := ProxyOf(func(name string) string { return env[name] }).variables()
	i := slices.IndexFunc(list, func(v run.Variable) bool { return v.Name == "Agent.ProxyBypassList" })
	var patterns []string
	if i < 0 || json.Unmarshal([]byte(list[i].Value), &patterns) != nil {
		t.Fatalf("%v", list)
	}
	for address, want := range map[string]bool{"http://localhost:8480/default": true, "http://127.0.0.1/x": true, "https://intra.example.test": true, "https://a.intra.example.test:8/x": true,
		"https://x.corp.test/": true, "http://10.0.0.7/": true, "https://example.test/": false, "https://notcorp.test/": false, "https://elsewhere.test/?u=//corp.test.x": false} {
		got := slices.ContainsFunc(patterns, func(p string) bool { return regexp.MustCompile("(?i)" + p).MatchString(address) })
		if got != want {
			t.Errorf("%s: bypassed %v", address, got)
		}
	}
}

func FuzzProxyOf(f *testing.F) {
	f.Add("http://a:b@c:1/", "*.x,.y,*")
	f.Fuzz(func(t *testing.T, proxy, exceptions string) {
		p := ProxyOf(func(name string) string { return map[string]string{"http_proxy": proxy, "no_proxy": exceptions}[name] })
		for _, pattern := range p.Bypass {
			if _, err := regexp.Compile(pattern); err != nil {
				t.Errorf("%q: %v", exceptions, err)
			}
		}
	})
}
