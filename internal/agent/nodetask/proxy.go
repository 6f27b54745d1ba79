package nodetask

import (
	"cmp"
	"encoding/json"
	"net/url"
	"regexp"
	"strings"

	"penstock.dev/penstock/internal/domain/run"
)

// Proxy is the web proxy through which a task reaches others.
type Proxy struct {
	URL                string // without user and password; "" = none
	Username, Password string
	Bypass             []string // regular expressions of addresses that are reached directly
}

// ProxyOf reads the proxy of an agent from its environment, from the variables of
// the service's agent first: VSTS_HTTP_PROXY and its _USERNAME and _PASSWORD, then
// http_proxy, also in capitals; no_proxy lists exceptions. What is no http or
// https address is none.
func ProxyOf(getenv func(string) string) Proxy {
	u, err := url.Parse(strings.TrimSpace(cmp.Or(getenv("VSTS_HTTP_PROXY"), getenv("http_proxy"), getenv("HTTP_PROXY"))))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return Proxy{}
	}
	p := Proxy{Username: cmp.Or(getenv("VSTS_HTTP_PROXY_USERNAME"), u.User.Username()), Password: getenv("VSTS_HTTP_PROXY_PASSWORD")}
	if password, ok := u.User.Password(); ok && p.Password == "" {
		p.Password = password
	}
	u.User = nil
	p.URL = u.String()
	// The server of this machine is never behind it.
	p.Bypass = []string{`//(localhost|127\.0\.0\.1|\[::1\])[:/]`}
	for host := range strings.FieldsFuncSeq(cmp.Or(getenv("no_proxy"), getenv("NO_PROXY")), func(r rune) bool { return r == ',' || r == ';' || r == ' ' }) {
		p.Bypass = append(p.Bypass, bypass(host))
	}
	return p
}

// bypass is an entry of no_proxy as a regular expression of addresses: a name
// stands for itself and what is below it, * for everything.
func bypass(host string) string {
	if host == "*" {
		return ".*"
	}
	name := strings.ToValidUTF8(strings.TrimPrefix(strings.TrimPrefix(host, "*"), "."), "")
	return `//([^/]*\.)?` + regexp.QuoteMeta(name) + `([:/]|$)`
}

// variables are what the library of tasks reads; the password is a secret.
func (p Proxy) variables() []run.Variable {
	if p.URL == "" {
		return nil
	}
	hosts, _ := json.Marshal(p.Bypass) // texts always can
	list := []run.Variable{{Name: "Agent.ProxyUrl", Value: p.URL}, {Name: "Agent.ProxyBypassList", Value: string(hosts)}}
	if p.Username != "" {
		list = append(list, run.Variable{Name: "Agent.ProxyUsername", Value: p.Username})
	}
	if p.Password != "" {
		list = append(list, run.Variable{Name: "Agent.ProxyPassword", Value: p.Password, Secret: true})
	}
	return list
}
