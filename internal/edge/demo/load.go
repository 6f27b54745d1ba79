package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"penstock.dev/penstock/internal/base/id"
)

// load sends requests to production as users do: through the name server, with
// connections that are kept and connections that are new, reading and writing,
// fast pages and slow ones.
type load struct {
	name    string
	sent    atomic.Int64
	failed  atomic.Int64
	mu      sync.Mutex
	first   string // the first failure, for people
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	resolve *resolver
	base    string
}

// resolver asks the name server and keeps its answers as long as they allow.
type resolver struct {
	server string
	client dns.Client
	mu     sync.Mutex
	cache  map[string]cached
}

type cached struct {
	address string
	until   time.Time
}

func (r *resolver) lookup(ctx context.Context, host string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c, ok := r.cache[host]; ok && time.Now().Before(c.until) {
		return c.address, nil
	}
	q := new(dns.Msg)
	q.SetQuestion(dns.Fqdn(host), dns.TypeA)
	res, _, err := r.client.ExchangeContext(ctx, q, r.server)
	if err != nil {
		return "", err
	}
	for _, rr := range res.Answer {
		if a, ok := rr.(*dns.A); ok {
			r.cache[host] = cached{a.A.String(), time.Now().Add(time.Duration(a.Hdr.Ttl) * time.Second)}
			return a.A.String(), nil
		}
	}
	return "", fmt.Errorf("no address for %s", host)
}

func (r *resolver) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	ip, err := r.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	return d.DialContext(ctx, network, net.JoinHostPort(ip, port))
}

// startLoad begins; stopLoad ends it.
func (s *story) startLoad(host string) *load {
	_, port, _ := net.SplitHostPort(s.Gateway)
	ctx, cancel := context.WithCancel(s.ctx)
	l := &load{name: id.New(), cancel: cancel, base: "http://" + host + ":" + port, resolve: &resolver{server: s.DNS, cache: map[string]cached{}}}
	transport := func(keep bool) *http.Client {
		return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DialContext: l.resolve.dial, DisableKeepAlives: !keep, MaxIdleConnsPerHost: 64}}
	}
	kept, fresh := transport(true), transport(false)
	order := `{"items":[{"sku":"mug","quantity":2}]}`
	kinds := []func() *http.Request{
		func() *http.Request { return l.request(http.MethodGet, "/", "") },
		func() *http.Request { return l.request(http.MethodPost, "/checkout", order) },
		func() *http.Request { return l.request(http.MethodGet, "/products", "") },
		func() *http.Request { return l.request(http.MethodGet, "/slow?ms=250", "") },
	}
	const workers = 40
	pause := time.Second * workers / time.Duration(s.Rate)
	for w := range workers {
		client := kept
		if w%4 == 3 {
			client = fresh
		}
		l.wg.Add(1)
		go func() {
			defer l.wg.Done()
			tick := time.NewTicker(pause)
			defer tick.Stop()
			for n := w; ; n++ {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				l.send(client, kinds[n%len(kinds)]())
			}
		}()
	}
	return l
}

func (l *load) request(method, path, body string) *http.Request {
	req, err := http.NewRequest(method, l.base+path, strings.NewReader(body))
	if err != nil {
		panic(err) // the path is ours
	}
	if body == "" {
		req.Body = nil
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Load", l.name)
	req.Header.Set("X-Request-Id", id.New())
	return req
}

func (l *load) send(c *http.Client, req *http.Request) {
	l.sent.Add(1)
	res, err := c.Do(req)
	if err == nil {
		_, err = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if err == nil && res.StatusCode >= 400 {
			err = fmt.Errorf("%s", res.Status)
		}
	}
	if err != nil {
		l.failed.Add(1)
		l.mu.Lock()
		if l.first == "" {
			l.first = fmt.Sprintf("%s %s: %v", req.Method, req.URL.Path, err)
		}
		l.mu.Unlock()
	}
}

// stopLoad waits for the requests under way and compares both ends: what was
// sent, and what the backends say they served.
func (s *story) stopLoad(l *load) (sent, served int, err error) {
	l.cancel()
	l.wg.Wait()
	sent = int(l.sent.Load())
	if n := l.failed.Load(); n > 0 {
		return sent, 0, fmt.Errorf("expected 0 failed requests, got %d of %d; the first: %s", n, sent, l.first)
	}
	a, err := s.app()
	if err != nil {
		return sent, 0, err
	}
	repeated := 0
	for _, address := range a.addresses() {
		var r struct{ Served, Repeated int }
		res, err := s.http.Get("http://" + address + "/load?name=" + l.name)
		if err != nil {
			continue // a slot that was never deployed to
		}
		err = json.NewDecoder(res.Body).Decode(&r)
		_ = res.Body.Close()
		if err != nil {
			return sent, served, err
		}
		served, repeated = served+r.Served, repeated+r.Repeated
	}
	if served != sent || repeated != 0 {
		return sent, served, fmt.Errorf("%d requests were sent and %d served, %d of them more than once", sent, served, repeated)
	}
	return sent, served, nil
}
