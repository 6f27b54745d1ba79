package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
)

// serveStream copies every connection of a TCP listener to the pool that its
// stream leads to at the moment it arrives. In the counters a connection is an
// upgraded one: it may live for ever, and a drain waits for it or cuts it.
func (g *Gateway) serveStream(l net.Listener, address string) {
	g.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				g.log.Warn("a connection could not be accepted", "address", address, "error", err)
				if g.life.Err() != nil {
					return
				}
				continue
			}
			g.wg.Go(func() { g.relay(conn, address) })
		}
	})
}

// streamPool returns the pool that a stream address leads to in a generation.
func (gen *generation) streamPool(address string) *view {
	if gen != nil {
		for _, s := range gen.table.Streams {
			if s.Listen == address {
				return gen.pools[s.Pool]
			}
		}
	}
	return nil
}

// relay binds a connection to a pool and copies until both sides have ended.
func (g *Gateway) relay(client net.Conn, address string) {
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithCancelCause(g.life)
	defer cancel(nil)
	var v *view
	var entry *request
	for {
		gen := g.served.Load()
		if v = gen.streamPool(address); v == nil {
			return
		}
		entry = v.begin(cancel, true)
		if g.served.Load() == gen {
			break
		}
		v.end(entry, unbound)
	}
	ended := failed
	defer func() { v.end(entry, ended) }()
	b, server := v.connect(ctx)
	if server == nil {
		return
	}
	defer func() { _ = server.Close(); b.inFlight.Add(-1) }()
	stop := context.AfterFunc(ctx, func() { _ = client.Close(); _ = server.Close() })
	defer stop()
	ended = answered
	var both sync.WaitGroup
	both.Go(func() { copyHalf(server, client) })
	both.Go(func() { copyHalf(client, server) })
	both.Wait()
}

// connect opens a connection to a backend of the pool, moving on from one that
// does not accept.
func (v *view) connect(ctx context.Context) (*backend, net.Conn) {
	dialer := net.Dialer{Timeout: dialTimeout}
	var tried []*backend
	for range maxAttempts {
		b := v.pick(tried)
		if b == nil {
			return nil, nil
		}
		b.inFlight.Add(1)
		v.sent()
		conn, err := dialer.DialContext(ctx, "tcp", b.address)
		if err == nil {
			return b, conn
		}
		b.inFlight.Add(-1)
		b.suspect()
		tried = append(tried, b)
	}
	return nil, nil
}

// copyHalf copies one direction and passes its end on, so that a side that has
// said everything can still be answered.
func copyHalf(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if half, ok := to.(*net.TCPConn); ok && err == nil {
		_ = half.CloseWrite()
		return
	}
	_ = to.Close()
	_ = from.Close()
}
