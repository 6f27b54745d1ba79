package confine

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"penstock.dev/penstock/internal/base/fault"
)

// proxy is the only way out of a cell: HTTP, and CONNECT for everything else. It
// leads to the internet, not to this machine, its networks, or the addresses
// from which clouds give away the machine's credentials.
type proxy struct {
	folder string
	server *http.Server
	reach  []string
	dialer net.Dialer
}

func newProxy(reach []string) (*proxy, error) {
	folder, err := os.MkdirTemp("", "penstock-proxy-")
	if err != nil {
		return nil, err
	}
	p := &proxy{folder: folder, reach: reach, dialer: net.Dialer{Timeout: 30 * time.Second}}
	l, err := net.Listen("unix", p.path())
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	// Whoever has a way to the socket may use it: only the cell has.
	if err := errors.Join(os.Chmod(folder, 0o700), os.Chmod(p.path(), 0o666)); err != nil {
		return nil, errors.Join(err, l.Close(), os.RemoveAll(folder))
	}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: 30 * time.Second}
	go func() { _ = p.server.Serve(l) }()
	return p, nil
}

func (p *proxy) path() string { return filepath.Join(p.folder, "s") }

func (p *proxy) close() {
	_ = p.server.Close()
	_ = os.RemoveAll(p.folder)
}

// ServeHTTP implements http.Handler.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect {
		p.tunnel(w, r)
		return
	}
	if r.URL.Scheme != "http" || r.URL.Host == "" {
		http.Error(w, "this is a proxy", http.StatusBadRequest)
		return
	}
	out := r.Clone(r.Context())
	out.RequestURI = ""
	for _, name := range []string{"Proxy-Connection", "Proxy-Authorization", "Connection", "Keep-Alive", "Te", "Trailer", "Upgrade"} {
		out.Header.Del(name)
	}
	transport := &http.Transport{DialContext: p.dial, DisableKeepAlives: true, DisableCompression: true}
	res, err := transport.RoundTrip(out)
	if err != nil {
		refuse(w, err)
		return
	}
	defer func() { _ = res.Body.Close() }()
	for name, values := range res.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(res.StatusCode)
	flushing(w, res.Body)
}

// flushing passes on what comes when it comes: a poll waits for its answer.
func flushing(w http.ResponseWriter, r io.Reader) {
	c := http.NewResponseController(w)
	buffer := make([]byte, 32<<10)
	for {
		n, err := r.Read(buffer)
		if n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil {
				return
			}
			_ = c.Flush()
		}
		if err != nil {
			return
		}
	}
}

func refuse(w http.ResponseWriter, err error) {
	code := http.StatusBadGateway
	if fault.Is(err, fault.Denied) {
		code = http.StatusForbidden
	}
	http.Error(w, err.Error(), code)
}

func (p *proxy) tunnel(w http.ResponseWriter, r *http.Request) {
	outside, err := p.dial(r.Context(), "tcp", r.Host)
	if err != nil {
		refuse(w, err)
		return
	}
	inside, rest, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = outside.Close()
		return
	}
	if _, err := io.WriteString(inside, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		_, _ = inside.Close(), outside.Close()
		return
	}
	splice(&buffered{inside, rest.Reader}, outside)
}

// buffered is a connection of which some was read already.
type buffered struct {
	net.Conn
	r *bufio.Reader
}

func (b *buffered) Read(p []byte) (int, error) { return b.r.Read(p) }

// dial resolves a name once and reaches only addresses that may be reached.
func (p *proxy) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "confined", "no address %q", address)
	}
	if slices.Contains(p.reach, address) {
		return p.dialer.DialContext(ctx, network, address)
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	err = fault.New(fault.Denied, "confined", "untrusted code may not reach %s: it is not on the internet", address)
	for _, ip := range found {
		if !public(ip.Unmap()) {
			continue
		}
		var conn net.Conn
		if conn, err = p.dialer.DialContext(ctx, network, net.JoinHostPort(ip.Unmap().String(), port)); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// closed are networks that are neither private nor the internet: shared address
// space, where some clouds answer with credentials, tests, and translations of
// other addresses.
var closed = prefixes("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "fec0::/10", "::/96")

func prefixes(texts ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, t := range texts {
		list = append(list, netip.MustParsePrefix(t))
	}
	return list
}

func public(ip netip.Addr) bool {
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return false
	}
	return !slices.ContainsFunc(closed, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// splice copies both ways until both have ended.
func splice(a, b net.Conn) {
	var wg sync.WaitGroup
	half := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		if c, ok := to.(interface{ CloseWrite() error }); ok {
			_ = c.CloseWrite()
		} else if w, ok := to.(*buffered); ok {
			if c, ok := w.Conn.(interface{ CloseWrite() error }); ok {
				_ = c.CloseWrite()
			}
		}
	}
	wg.Go(func() { half(a, b) })
	wg.Go(func() { half(b, a) })
	wg.Wait()
	_, _ = a.Close(), b.Close()
}
