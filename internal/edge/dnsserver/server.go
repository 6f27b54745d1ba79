// Package dnsserver answers DNS queries with authority from an immutable
// snapshot behind one atomic pointer. It asks no database: what it needs after
// a restart is in its snapshot file.
//
// A packet is answered by one function from bytes to bytes (answer). A plain
// question for an address takes the fast path: its answer section was packed
// when the snapshot was prepared, and only the identifier, the flags and the
// question's own bytes (so that the client's capitals come back as they were)
// are put in front. Everything else is parsed and packed by the DNS library.
// Neither path knows sockets, so the UDP loop can change to batches alone.
package dnsserver

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/trafficmanager"
)

// Options are what a Server needs from outside. The zero value works.
type Options struct {
	Logger *slog.Logger
	// SnapshotFile keeps the published snapshot across restarts; "" keeps nothing.
	SnapshotFile string
	// Now is the clock of Cached; nil is time.Now.
	Now func() time.Time
}

// Server answers by the snapshot it serves. All methods may be called from any
// goroutine.
type Server struct {
	opt      Options
	log      *slog.Logger
	now      func() time.Time
	served   atomic.Pointer[zoneData]
	trackers trackers

	mu       sync.Mutex
	prepared *zoneData
	closers  []io.Closer
	conns    map[net.Conn]struct{}
	closed   bool
	wg       sync.WaitGroup
}

// New returns a server that refuses every question until a snapshot is published.
func New(o Options) *Server {
	s := &Server{opt: o, log: o.Logger, now: o.Now, conns: map[net.Conn]struct{}{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.served.Store(emptyZoneData())
	return s
}

// Prepare checks a snapshot, packs its answers and holds it. A later Prepare
// replaces it.
func (s *Server) Prepare(snap *trafficmanager.Snapshot) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, err := pack(snap, &s.trackers) // under the lock, or Publish could prune its trackers
	if err != nil {
		return err
	}
	if now := s.served.Load().snapshot; now != nil && snap.Generation <= now.Generation {
		return fault.New(fault.Conflict, "stale-generation", "the DNS server already serves generation %d", now.Generation).
			Want("a generation above %d", now.Generation).Got("%d", snap.Generation).
			Try("load the current state and make a newer generation of it")
	}
	if err := s.stageSnapshot(data.snapshot); err != nil {
		return err
	}
	s.prepared = data
	return nil
}

// Publish answers by the prepared snapshot from now on. It is safe to repeat.
func (s *Server) Publish(generation uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.served.Load().snapshot; now != nil && now.Generation == generation {
		return nil
	}
	if s.prepared == nil || s.prepared.snapshot.Generation != generation {
		return fault.New(fault.Conflict, "not-prepared", "generation %d is not prepared", generation).
			Try("prepare generation %d again, then publish it", generation)
	}
	if err := s.commitSnapshot(); err != nil {
		return err
	}
	before := s.served.Swap(s.prepared)
	s.trackers.prune(s.now(), before, s.prepared)
	s.prepared = nil
	s.log.Info("DNS server serves a new snapshot", "generation", generation)
	return nil
}

// Snapshot returns what is served now, or nil. It must not be changed.
func (s *Server) Snapshot() *trafficmanager.Snapshot { return s.served.Load().snapshot }

// Cached returns the answers a resolver may still hold for a record's name; ""
// stands for every name. Answers of earlier snapshots are among them until they
// run out.
func (s *Server) Cached(name string) []trafficmanager.Cached {
	return s.trackers.list(canonical(name), s.now())
}

const (
	tcpIdle        = 10 * time.Second
	maxConnections = 1024
	maxUDP         = 1232 // bytes that travel unfragmented everywhere
)

// Listen opens UDP and TCP at the same port and returns the address. ctx bounds
// the opening only; Close ends the serving.
func (s *Server) Listen(ctx context.Context, addr string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return "", fault.New(fault.Unavailable, "dns-closed", "the DNS server is shutting down")
	}
	packets, stream, err := openBoth(ctx, addr)
	if err != nil {
		return "", fault.Wrap(err, fault.Unavailable, "dns-listen", "the DNS server cannot listen at %s", addr).
			Try("free the address for UDP and TCP or choose another: dns.listen")
	}
	s.closers = append(s.closers, packets, stream)
	for range runtime.GOMAXPROCS(0) {
		s.wg.Go(func() { s.serveUDP(packets) })
	}
	s.wg.Go(func() { s.serveTCP(stream) })
	return packets.LocalAddr().String(), nil
}

// openBoth opens one port for both protocols. A port the system chose for one
// may be taken for the other, so it is tried a few times.
func openBoth(ctx context.Context, addr string) (*net.UDPConn, net.Listener, error) {
	var lc net.ListenConfig
	for attempt := 0; ; attempt++ {
		p, err := lc.ListenPacket(ctx, "udp", addr)
		if err != nil {
			return nil, nil, err
		}
		l, err := lc.Listen(ctx, "tcp", p.LocalAddr().String())
		if err == nil {
			return p.(*net.UDPConn), l, nil
		}
		_ = p.Close()
		if _, port, _ := net.SplitHostPort(addr); port != "0" || attempt == 10 {
			return nil, nil, err
		}
	}
}

func (s *Server) serveUDP(c *net.UDPConn) {
	in, out := make([]byte, 65535), make([]byte, 0, 4096)
	for {
		n, from, err := c.ReadFromUDPAddrPort(in)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error of an earlier answer
		}
		if answer := s.answer(in[:n], out, false); answer != nil {
			_, _ = c.WriteToUDPAddrPort(answer, from)
		}
	}
}

func (s *Server) serveTCP(l net.Listener) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.log.Warn("a DNS connection could not be accepted", "error", err)
			continue
		}
		s.mu.Lock()
		if s.closed || len(s.conns) >= maxConnections {
			s.mu.Unlock()
			_ = c.Close()
			continue
		}
		s.conns[c] = struct{}{}
		s.wg.Go(func() { s.serveConn(c) })
		s.mu.Unlock()
	}
}

// serveConn answers the queries of one connection in the order they come.
func (s *Server) serveConn(c net.Conn) {
	defer func() {
		_ = c.Close()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
	var size [2]byte
	in, out := make([]byte, 65535), make([]byte, 0, 4096)
	for {
		_ = c.SetDeadline(time.Now().Add(tcpIdle))
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		query := in[:binary.BigEndian.Uint16(size[:])]
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		answer := s.answer(query, out, true)
		if answer == nil {
			return
		}
		// Length and message leave in one write, or resolvers see two segments.
		message := binary.BigEndian.AppendUint16(make([]byte, 0, len(answer)+2), uint16(len(answer)))
		if _, err := c.Write(append(message, answer...)); err != nil {
			return
		}
	}
}

// Close ends the server.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	for _, c := range s.closers {
		_ = c.Close()
	}
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fault.Wrap(ctx.Err(), fault.Unavailable, "dns-close", "the DNS server did not end in time")
	}
}
