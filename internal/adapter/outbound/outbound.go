// Package outbound calls addresses that people wrote: with a limit of time, of
// size and of redirects, and never one by which a machine tells secrets of its
// own, as clouds have them.
package outbound

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"penstock.dev/penstock/internal/base/fault"
)

// Bounds of a call.
const (
	Timeout      = 20 * time.Second
	MaxAnswer    = 1 << 20 // bytes
	maxRedirects = 5
)

// Client is safe for use by several goroutines.
type Client struct{ http *http.Client }

// New makes a client. It heeds no proxy of the environment: a proxy would
// resolve names where the rules below are not known.
func New() *Client {
	dialer := &net.Dialer{Timeout: Timeout, ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error { return allowed(address) }}
	return &Client{&http.Client{Timeout: Timeout, CheckRedirect: redirect,
		Transport: &http.Transport{DialContext: dialer.DialContext, TLSHandshakeTimeout: Timeout, MaxIdleConnsPerHost: 1, MaxResponseHeaderBytes: MaxAnswer, DisableKeepAlives: true}}}
}

// told are addresses beside the link-local ones by which clouds tell a machine
// its credentials.
var told = []netip.Addr{netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("fd20:ce::254"), netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("168.63.129.16")}

// allowed is asked for the address that a name led to, just before it is used.
func allowed(address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ip := at.Addr().Unmap().WithZone("")
	if embedded, ok := inside(ip); ok {
		ip = embedded
	}
	bad := ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified()
	for _, t := range told {
		bad = bad || ip == t
	}
	if bad {
		return fault.New(fault.Denied, "address-refused", "the server does not call %s", ip).Want("an address that is not link-local, multicast or of a metadata service")
	}
	return nil
}

// inside finds the address that one of IPv6 carries (NAT64, 6to4).
func inside(ip netip.Addr) (netip.Addr, bool) {
	b := ip.As16()
	switch {
	case !ip.Is6():
	case netip.MustParsePrefix("64:ff9b::/96").Contains(ip):
		return netip.AddrFrom4([4]byte(b[12:])), true
	case netip.MustParsePrefix("2002::/16").Contains(ip):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return ip, false
}

// redirect follows within one host: headers and bodies may hold secrets that
// are meant for it.
func redirect(r *http.Request, via []*http.Request) error {
	if first := via[0].URL; r.URL.Host != first.Host || r.URL.Scheme != first.Scheme {
		return fault.New(fault.Denied, "redirect-refused", "the answer leads to another host").Got("%s", r.URL.Host).Want("%s", first.Host)
	}
	if len(via) > maxRedirects {
		return fault.New(fault.Invalid, "redirect-refused", "the answer leads on and on").Want("at most %d redirects", maxRedirects)
	}
	return nil
}

// Answer is what came back.
type Answer struct {
	Status int
	Body   []byte
}

// Call sends a request and reads the answer.
func (c *Client) Call(r *http.Request) (*Answer, error) {
	if r.URL.Scheme != "http" && r.URL.Scheme != "https" || r.URL.Host == "" {
		return nil, fault.New(fault.Invalid, "address-refused", "the address cannot be called").Want("http:// or https://")
	}
	res, err := c.http.Do(r)
	if err != nil {
		return nil, reason(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, MaxAnswer+1))
	if err != nil {
		return nil, reason(err)
	}
	if len(body) > MaxAnswer {
		return nil, fault.New(fault.Invalid, "too-large", "the answer is too large").Want("at most %d bytes", MaxAnswer)
	}
	return &Answer{res.StatusCode, body}, nil
}

// reason leaves the address out: it may hold a secret.
func reason(err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		return known
	}
	var inner *url.Error
	if errors.As(err, &inner) {
		if inner.Timeout() {
			return fault.New(fault.Unavailable, "call-failed", "there was no answer within %s", Timeout)
		}
		err = inner.Err
	}
	return fault.New(fault.Unavailable, "call-failed", "the address cannot be called").Got("%s", err)
}
