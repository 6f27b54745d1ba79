package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/routing"
)

// What a drain's deadline cuts is counted; a pool in use is not drained.
func TestDrainCutsAtTheDeadline(t *testing.T) {
	entered := make(chan struct{}, 1)
	blue := newVM(t, "blue", func(w http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-r.Context().Done()
	})
	green := newVM(t, "green", nil)
	g, address := newGateway(t, Options{})
	serve(t, g, tableOf(1, "blue", poolOf("blue", blue), poolOf("green", green)))
	code := make(chan int, 1)
	go func() {
		res, _ := ask(t, http.DefaultClient, address, http.MethodGet, "/", nil)
		code <- res.StatusCode
	}()
	<-entered
	if _, err := g.Drain(t.Context(), "shop/blue", 0); fault.CodeOf(err) != "pool-in-use" {
		t.Errorf("drain of the pool in use: %v", err)
	}
	if _, err := g.Drain(t.Context(), "shop/red", 0); !fault.Is(err, fault.NotFound) {
		t.Errorf("drain of no pool: %v", err)
	}
	serve(t, g, tableOf(2, "green", poolOf("green", green)))
	cut, err := g.Drain(t.Context(), "shop/blue", 10*time.Millisecond)
	if cut != 1 || err != nil {
		t.Errorf("cut %d, %v", cut, err)
	}
	if got := <-code; got != http.StatusGatewayTimeout {
		t.Errorf("the cut request got %d", got)
	}
	if s := statsOf(g, "shop/blue"); s.Cut != 1 || s.InFlight != 0 {
		t.Errorf("stats: %+v", s)
	}
}

// A swap back while a pool drains ends the drain and cuts nothing.
func TestDrainStopsWhenThePoolIsUsedAgain(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	blue := newVM(t, "blue", func(w http.ResponseWriter, r *http.Request) { close(entered); <-release })
	green := newVM(t, "green", nil)
	g, address := newGateway(t, Options{})
	serve(t, g, tableOf(1, "blue", poolOf("blue", blue), poolOf("green", green)))
	code := make(chan int, 1)
	go func() {
		res, _ := ask(t, http.DefaultClient, address, http.MethodGet, "/", nil)
		code <- res.StatusCode
	}()
	<-entered
	serve(t, g, tableOf(2, "green", poolOf("blue", blue), poolOf("green", green)))
	drained := make(chan error, 1)
	go func() { _, err := g.Drain(t.Context(), "shop/blue", time.Minute); drained <- err }()
	serve(t, g, tableOf(3, "blue", poolOf("blue", blue), poolOf("green", green)))
	if err := <-drained; fault.CodeOf(err) != "pool-in-use" {
		t.Errorf("drain: %v", err)
	}
	close(release)
	if got := <-code; got != http.StatusOK {
		t.Errorf("got %d", got)
	}
}

func TestWebSocketStaysUntilCut(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(conn, rw)
	}
	blue, green := newVM(t, "blue", echo), newVM(t, "green", nil)
	g, address := newGateway(t, Options{})
	serve(t, g, tableOf(1, "blue", poolOf("blue", blue), poolOf("green", green)))
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: shop.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v %v", res, err)
	}
	say := func() error {
		_, _ = io.WriteString(conn, "hello\n")
		text, err := in.ReadString('\n')
		if err == nil && text != "hello\n" {
			err = fmt.Errorf("got %q", text)
		}
		return err
	}
	if err := say(); err != nil {
		t.Fatal(err)
	}
	serve(t, g, tableOf(2, "green", poolOf("blue", blue), poolOf("green", green)))
	if err := say(); err != nil {
		t.Errorf("after the swap: %v", err)
	}
	if s := statsOf(g, "shop/blue"); s.Upgraded != 1 || s.InFlight != 0 {
		t.Errorf("stats: %+v", s)
	}
	if cut, err := g.Drain(t.Context(), "shop/blue", 10*time.Millisecond); cut != 1 || err != nil {
		t.Errorf("cut %d, %v", cut, err)
	}
	if _, err := in.ReadByte(); err == nil {
		t.Error("the connection is still open")
	}
}

func TestStreamIsCopiedAndDrained(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				text, _ := io.ReadAll(c) // answers only after the client's half is closed
				_, _ = io.WriteString(c, "echo "+string(text))
				_ = c.Close()
			}()
		}
	}()
	free, _ := net.Listen("tcp", "127.0.0.1:0")
	address := free.Addr().String()
	_ = free.Close()
	table := &routing.Table{
		Generation: 1,
		Pools:      []routing.Pool{{Name: "db/a", Backends: []routing.Backend{{Name: "a", Address: l.Addr().String()}}}},
		Streams:    []routing.Stream{{Listen: address, Pool: "db/a"}},
	}
	g, _ := newGateway(t, Options{})
	serve(t, g, table)
	dial := func() *net.TCPConn {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, "hello")
		return c.(*net.TCPConn)
	}
	c := dial()
	_ = c.CloseWrite()
	if text, err := io.ReadAll(c); err != nil || string(text) != "echo hello" {
		t.Errorf("%q, %v", text, err)
	}
	open := dial()
	waitFor(t, "the stream is open", func() bool { return statsOf(g, "db/a").Upgraded == 1 })
	table.Generation, table.Streams = 2, nil
	serve(t, g, table)
	if cut, err := g.Drain(t.Context(), "db/a", 5*time.Millisecond); cut != 1 || err != nil {
		t.Errorf("cut %d, %v", cut, err)
	}
	if _, err := io.ReadAll(open); err == nil {
		t.Log("the client saw a plain end") // FIN or RST, both end it
	}
}

func TestCloseWaitsForRequests(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	v := newVM(t, "blue", func(w http.ResponseWriter, r *http.Request) { close(entered); <-release })
	g := New(Options{})
	address, err := g.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, g, tableOf(1, "blue", poolOf("blue", v)))
	code := make(chan int, 1)
	go func() {
		res, _ := ask(t, http.DefaultClient, address, http.MethodGet, "/", nil)
		code <- res.StatusCode
	}()
	<-entered
	closed := make(chan error, 1)
	go func() { closed <- g.Close(context.Background()) }()
	waitFor(t, "it accepts nothing new", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	close(release)
	if got := <-code; got != http.StatusOK {
		t.Errorf("got %d", got)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := g.Prepare(tableOf(2, "blue")); err == nil {
		t.Error("a closed gateway accepts tables")
	}
}
