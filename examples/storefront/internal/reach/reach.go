// Package reach is the HTTP client of the tests that talk to a running shop.
package reach

import (
	"context"
	"net"
	"net/http"
	"strings"
	"time"
)

// Client returns a client that finds names below localhost on this machine.
// They mean the loopback address everywhere, but not every resolver knows that.
// Each request uses a connection of its own, as a new visitor would.
func Client() *http.Client {
	var d net.Dialer
	return &http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				return d.DialContext(ctx, network, loopback(address))
			},
		},
	}
}

// loopback replaces a host below localhost by the loopback address.
func loopback(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil || !strings.HasSuffix(strings.ToLower(strings.TrimSuffix(host, ".")), ".localhost") {
		return address
	}
	return net.JoinHostPort("127.0.0.1", port)
}
