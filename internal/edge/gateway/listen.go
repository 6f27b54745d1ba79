package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
)

// listeners are the sockets of the gateway by the address they were asked for.
type listeners struct {
	host, port string // of the main listener; "" before Listen
	open       map[string]net.Listener
	failed     map[string]error
}

// Listen opens the main listener and the ones the tables ask for, and returns
// the main one's address. ctx bounds the opening only; Close ends the serving.
func (g *Gateway) Listen(ctx context.Context, addr string) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return "", errClosed()
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return "", fault.Wrap(err, fault.Unavailable, "gateway-listen", "the gateway cannot listen at %s", addr).
			Try("free the address or choose another: gateway.http")
	}
	actual := l.Addr().String()
	if g.listen.host == "" {
		g.listen.host, g.listen.port, _ = net.SplitHostPort(actual)
	}
	g.serve(l)
	g.reconcileListeners()
	return actual, nil
}

func (g *Gateway) serve(l net.Listener) {
	g.wg.Go(func() {
		if err := g.server.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			g.log.Error("a listener of the gateway ended", "address", l.Addr().String(), "error", err)
		}
	})
}

// FrontErrors returns why front and stream addresses are not open, by address.
func (g *Gateway) FrontErrors() map[string]error {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := map[string]error{}
	for address, err := range g.listen.failed {
		out[address] = err
	}
	return out
}

// frontHost is the address of a front without a port.
func frontHost(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return strings.Trim(address, "[]")
}

// reconcileListeners opens what the served and the prepared table ask for and
// closes what neither does. An address that cannot be opened is reported and
// tried again with the next table. The caller holds g.mu.
func (g *Gateway) reconcileListeners() {
	if g.closed {
		return
	}
	fronts, streams := g.wantedAddresses()
	for address, l := range g.listen.open {
		if !slices.Contains(fronts, address) && !slices.Contains(streams, address) {
			_ = l.Close() // connections that were accepted go on
			delete(g.listen.open, address)
		}
	}
	clear(g.listen.failed)
	for _, address := range fronts {
		if l := g.openListener(address); l != nil {
			g.serve(l)
		}
	}
	for _, address := range streams {
		if l := g.openListener(address); l != nil {
			g.serveStream(l, address)
		}
	}
}

// wantedAddresses lists the addresses to be open besides the main one. Fronts
// wait for Listen, because they share its port.
func (g *Gateway) wantedAddresses() (fronts, streams []string) {
	for _, gen := range []*generation{g.served.Load(), g.prepared} {
		if gen == nil {
			continue
		}
		for _, s := range gen.table.Streams {
			streams = append(streams, s.Listen)
		}
		if g.listen.host == "" {
			continue
		}
		for _, f := range gen.table.Fronts {
			host, port, err := net.SplitHostPort(f.Address)
			if err != nil {
				host, port = frontHost(f.Address), g.listen.port
			}
			if port == g.listen.port && g.mainCovers(host) {
				continue
			}
			fronts = append(fronts, net.JoinHostPort(host, port))
		}
	}
	return fronts, streams
}

// mainCovers reports whether the main listener takes a host's connections too.
func (g *Gateway) mainCovers(host string) bool {
	main := net.ParseIP(g.listen.host)
	return main != nil && (main.IsUnspecified() || main.Equal(net.ParseIP(host)))
}

// openListener opens an address that is not open yet; nil if there is nothing
// to serve.
func (g *Gateway) openListener(address string) net.Listener {
	if g.listen.open[address] != nil {
		return nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		g.listen.failed[address] = fault.Wrap(err, fault.Unavailable, "front-listen", "the gateway cannot listen at %s", address).
			Try("check that the address belongs to this machine and that nothing else uses it")
		g.log.Warn("gateway address is not open", "address", address, "error", err)
		return nil
	}
	g.listen.open[address] = l
	return l
}

// closeStreams stops to accept streams; the server closes the rest. The caller
// holds g.mu.
func (g *Gateway) closeStreams() {
	for _, l := range g.listen.open {
		_ = l.Close()
	}
}
