package dnsserver

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/trafficmanager"
)

func snapshot(generation uint64, address string) *trafficmanager.Snapshot {
	many := make([]string, 60)
	for i := range many {
		many[i] = fmt.Sprintf("192.0.2.%d", i+1)
	}
	return &trafficmanager.Snapshot{
		Generation: generation,
		Zones:      []trafficmanager.Zone{{Name: "localhost"}, {Name: "example.test", Nameservers: []string{"ns1.example.test"}}},
		Records: []trafficmanager.Record{
			{Name: "storefront.localhost", Addresses: []string{address, "::1"}, TTL: 10 * time.Second, Target: "storefront/" + address},
			{Name: "*.localhost", Addresses: []string{"127.0.0.9"}, TTL: 5 * time.Second, Target: "pages"},
			{Name: "example.test", Addresses: []string{"192.0.2.1"}, TTL: time.Second, Target: "apex"},
			{Name: "deep.empty.example.test", Addresses: []string{"2001:db8::1"}, TTL: time.Second, Target: "deep"},
			{Name: "many.example.test", Addresses: many, TTL: time.Second, Target: "many"},
		},
	}
}

func publish(t testing.TB, s *Server, snap *trafficmanager.Snapshot) {
	t.Helper()
	if err := s.Prepare(snap); err != nil {
		t.Fatal(err)
	}
	if err := s.Publish(snap.Generation); err != nil {
		t.Fatal(err)
	}
}

// query returns the packet of a question, changed by the edits.
func query(t testing.TB, name string, qtype uint16, edits ...func(*dns.Msg)) []byte {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	m.Id = 4711
	for _, e := range edits {
		e(m)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func reply(t testing.TB, s *Server, packet []byte, tcp bool) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(s.answer(packet, nil, tcp)); err != nil {
		t.Fatalf("the answer cannot be read: %v", err)
	}
	return m
}

// describe is an answer in one line: code, flags, answers, authority.
func describe(m *dns.Msg) string {
	parts := []string{dns.RcodeToString[m.Rcode]}
	if m.Rcode == dns.RcodeBadVers { // shares its number with BADSIG
		parts[0] = "BADVERS"
	}
	if m.Authoritative {
		parts = append(parts, "aa")
	}
	if m.Truncated {
		parts = append(parts, "tc")
	}
	for _, rr := range m.Answer {
		f := strings.Fields(rr.String())
		parts = append(parts, f[1]+" "+f[3]+" "+f[4])
	}
	for _, rr := range m.Ns {
		parts = append(parts, "auth "+dns.TypeToString[rr.Header().Rrtype])
	}
	return strings.Join(parts, " ")
}

func TestAnswers(t *testing.T) {
	s := New(Options{})
	publish(t, s, snapshot(3, "127.0.0.1"))
	edns := func(size uint16, do bool) func(*dns.Msg) { return func(m *dns.Msg) { m.SetEdns0(size, do) } }
	tests := []struct {
		name   string
		packet []byte
		want   string
	}{
		{"address", query(t, "storefront.localhost.", dns.TypeA), "NOERROR aa 10 A 127.0.0.1"},
		{"capitals", query(t, "StoreFront.LOCALHOST.", dns.TypeAAAA), "NOERROR aa 10 AAAA ::1"},
		{"no such type", query(t, "storefront.localhost.", dns.TypeMX), "NOERROR aa auth SOA"},
		{"HTTPS", query(t, "storefront.localhost.", dns.TypeHTTPS), "NOERROR aa auth SOA"},
		{"no IPv6", query(t, "example.test.", dns.TypeAAAA), "NOERROR aa auth SOA"},
		{"wildcard", query(t, "a.b.localhost.", dns.TypeA), "NOERROR aa 5 A 127.0.0.9"},
		{"below a name", query(t, "x.storefront.localhost.", dns.TypeA), "NXDOMAIN aa auth SOA"},
		{"apex", query(t, "example.test.", dns.TypeA), "NOERROR aa 1 A 192.0.2.1"},
		{"apex without record", query(t, "localhost.", dns.TypeA), "NOERROR aa auth SOA"},
		{"SOA", query(t, "example.test.", dns.TypeSOA), "NOERROR aa 60 SOA ns1.example.test."},
		{"NS", query(t, "example.test.", dns.TypeNS), "NOERROR aa 60 NS ns1.example.test."},
		{"no such name", query(t, "nobody.example.test.", dns.TypeA), "NXDOMAIN aa auth SOA"},
		{"empty non-terminal", query(t, "empty.example.test.", dns.TypeA), "NOERROR aa auth SOA"},
		{"ANY", query(t, "storefront.localhost.", dns.TypeANY), `NOERROR aa 60 HINFO "RFC8482"`},
		{"outside", query(t, "example.com.", dns.TypeA), "REFUSED"},
		{"root", query(t, ".", dns.TypeNS), "REFUSED"},
		{"transfer", query(t, "localhost.", dns.TypeAXFR), "REFUSED"},
		{"class", query(t, "storefront.localhost.", dns.TypeA, func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), "REFUSED"},
		{"opcode", query(t, "storefront.localhost.", dns.TypeA, func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }), "NOTIMP"},
		{"two questions", query(t, "storefront.localhost.", dns.TypeA, func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), "FORMERR"},
		{"two OPT", query(t, "storefront.localhost.", dns.TypeA, edns(1232, false), edns(1232, false)), "FORMERR"},
		{"EDNS 1", query(t, "storefront.localhost.", dns.TypeA, edns(1232, false), func(m *dns.Msg) { m.IsEdns0().SetVersion(1) }), "BADVERS"},
		{"EDNS", query(t, "storefront.localhost.", dns.TypeA, edns(4096, true)), "NOERROR aa 10 A 127.0.0.1"},
		{"odd name", query(t, "a+b.localhost.", dns.TypeA), "NOERROR aa 5 A 127.0.0.9"},
		{"too many", query(t, "many.example.test.", dns.TypeA), "NOERROR aa tc"},
		{"rubbish", append(query(t, "storefront.localhost.", dns.TypeA)[:12], 0xC0, 12, 0, 1, 0, 1), "FORMERR"},
	}
	for _, tt := range tests {
		m := reply(t, s, tt.packet, false)
		if got := describe(m); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
		if m.Id != binary.BigEndian.Uint16(tt.packet) || !m.Response || m.RecursionAvailable {
			t.Errorf("%s: header %+v", tt.name, m.MsgHdr)
		}
	}
	if a := s.answer(query(t, "localhost.", dns.TypeA, func(m *dns.Msg) { m.Response = true }), nil, false); a != nil {
		t.Error("a response was answered")
	}
}

// Both paths give the same answer, with the client's own capitals.
func TestFastPathEqualsSlowPath(t *testing.T) {
	s := New(Options{})
	publish(t, s, snapshot(1, "127.0.0.1"))
	for _, name := range []string{"sToReFront.LocalHost.", "x.y.localhost.", "many.example.test.", "DEEP.empty.example.test."} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			for _, opt := range []bool{false, true} {
				packet := query(t, name, qtype, func(m *dns.Msg) {
					if opt {
						m.SetEdns0(1400, true)
					}
				})
				slow := new(dns.Msg)
				if err := slow.Unpack(s.slow(s.served.Load(), packet, true)); err != nil {
					t.Fatal(err)
				}
				got := reply(t, s, packet, true)
				if diff := cmp.Diff(slow.String(), got.String()); diff != "" {
					t.Errorf("%s %d: (-slow +fast)\n%s", name, qtype, diff)
				}
				if got.Question[0].Name != name {
					t.Errorf("question %q came back as %q", name, got.Question[0].Name)
				}
			}
		}
	}
}

func TestGenerations(t *testing.T) {
	s := New(Options{})
	if s.Snapshot() != nil {
		t.Error("a new server has a snapshot")
	}
	publish(t, s, snapshot(2, "127.0.0.1"))
	if err := s.Publish(2); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := s.Prepare(snapshot(2, "127.0.0.2")); fault.CodeOf(err) != "stale-generation" {
		t.Errorf("stale: %v", err)
	}
	if err := s.Publish(3); fault.CodeOf(err) != "not-prepared" {
		t.Errorf("not prepared: %v", err)
	}
	for name, spoil := range map[string]func(*trafficmanager.Snapshot){
		"outside": func(s *trafficmanager.Snapshot) { s.Records[0].Name = "storefront.example.com" },
		"address": func(s *trafficmanager.Snapshot) { s.Records[0].Addresses[0] = "127.0.0.256" },
		"ttl":     func(s *trafficmanager.Snapshot) { s.Records[0].TTL = time.Millisecond },
		"twice":   func(s *trafficmanager.Snapshot) { s.Records[1] = s.Records[0] },
		"zone":    func(s *trafficmanager.Snapshot) { s.Zones[0].Name = "local..host" },
	} {
		snap := snapshot(9, "127.0.0.1")
		spoil(snap)
		if err := s.Prepare(snap); fault.CodeOf(err) != "invalid-snapshot" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCachedCountsDown(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	start := now
	s := New(Options{Now: func() time.Time { return now }})
	publish(t, s, snapshot(1, "127.0.0.1"))
	packet := query(t, "storefront.localhost.", dns.TypeA)
	for range 4 {
		s.answer(packet, nil, false)
		now = now.Add(4 * time.Second) // asked at 0, 4, 8 and 12 s
	}
	now = start.Add(12 * time.Second)
	publish(t, s, snapshot(2, "127.0.0.2"))
	s.answer(packet, nil, false)
	now = start.Add(13 * time.Second)
	want := []trafficmanager.Cached{
		{Name: "storefront.localhost", Target: "storefront/127.0.0.1", Expires: start.Add(22 * time.Second), Answers: 3},
		{Name: "storefront.localhost", Target: "storefront/127.0.0.2", Expires: start.Add(22 * time.Second), Answers: 1},
	}
	if diff := cmp.Diff(want, s.Cached("Storefront.localhost.")); diff != "" {
		t.Error(diff)
	}
	now = start.Add(22 * time.Second)
	if got := s.Cached(""); len(got) != 0 {
		t.Errorf("after the TTL: %v", got)
	}
	publish(t, s, snapshot(3, "127.0.0.3"))
	publish(t, s, snapshot(4, "127.0.0.4"))
	if s.trackers.all[trackerKey{"storefront.localhost", "storefront/127.0.0.1"}] != nil {
		t.Error("what ran out long ago is still remembered")
	}
	s.answer(packet, nil, false)
	if got := s.Cached("storefront.localhost"); len(got) != 1 || got[0].Target != "storefront/127.0.0.4" {
		t.Errorf("after pruning: %v", got)
	}
}

func TestSockets(t *testing.T) {
	s := New(Options{})
	publish(t, s, snapshot(1, "127.0.0.1"))
	address, err := s.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	for _, network := range []string{"udp", "tcp"} {
		c := dns.Client{Net: network, Timeout: 5 * time.Second}
		m := new(dns.Msg)
		m.SetQuestion("storefront.localhost.", dns.TypeA)
		res, _, err := c.Exchange(m, address)
		if err != nil || describe(res) != "NOERROR aa 10 A 127.0.0.1" {
			t.Errorf("%s: %v %v", network, res, err)
		}
	}
	m := new(dns.Msg)
	m.SetQuestion("many.example.test.", dns.TypeA)
	udp, _, err := (&dns.Client{Timeout: 5 * time.Second}).Exchange(m, address)
	if err != nil || !udp.Truncated {
		t.Errorf("udp: %v %v", udp, err)
	}
	tcp, _, err := (&dns.Client{Net: "tcp", Timeout: 5 * time.Second}).Exchange(m, address)
	if err != nil || len(tcp.Answer) != 60 {
		t.Errorf("tcp: %v %v", tcp, err)
	}
	pipelined(t, address)
}

// pipelined sends several queries before it reads the first answer.
func pipelined(t *testing.T, address string) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	c := &dns.Conn{Conn: conn}
	defer func() { _ = c.Close() }()
	for i := range 5 {
		m := new(dns.Msg)
		m.SetQuestion("storefront.localhost.", dns.TypeA)
		m.Id = uint16(i)
		if err := c.WriteMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		if m, err := c.ReadMsg(); err != nil || m.Id != uint16(i) {
			t.Fatalf("answer %d: %v %v", i, m, err)
		}
	}
}

func TestSnapshotComesBack(t *testing.T) {
	file := filepath.Join(t.TempDir(), "dns", "snapshot.json")
	s := New(Options{SnapshotFile: file})
	if err := s.LoadSnapshot(); err != nil {
		t.Fatal(err)
	}
	publish(t, s, snapshot(4, "127.0.0.1"))
	again := New(Options{SnapshotFile: file})
	if err := again.LoadSnapshot(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s.Snapshot(), again.Snapshot()); diff != "" {
		t.Error(diff)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := New(Options{SnapshotFile: file}).LoadSnapshot(); fault.CodeOf(err) != "snapshot-unreadable" {
		t.Errorf("broken file: %v", err)
	}
}

// Whatever arrives, the server neither fails nor says something unreadable, and
// never says more to a stranger than fits into an unfragmented packet.
func FuzzAnswer(f *testing.F) {
	s := New(Options{})
	publish(f, s, snapshot(1, "127.0.0.1"))
	for _, name := range []string{"storefront.localhost.", "A.b.localhost.", "many.example.test.", "."} {
		f.Add(query(f, name, dns.TypeA), false)
		f.Add(query(f, name, dns.TypeANY, func(m *dns.Msg) { m.SetEdns0(4096, true) }), true)
	}
	f.Fuzz(func(t *testing.T, packet []byte, tcp bool) {
		a := s.answer(packet, nil, tcp)
		if a == nil {
			return
		}
		if !tcp && len(a) > maxUDP {
			t.Errorf("%d bytes over UDP", len(a))
		}
		m := new(dns.Msg)
		if err := m.Unpack(a); err != nil || !m.Response || m.Id != binary.BigEndian.Uint16(packet) {
			t.Errorf("unreadable: %v %+v", err, m)
		}
		if s.fast(s.served.Load(), packet, nil, tcp) != nil {
			slow := new(dns.Msg)
			if err := slow.Unpack(s.slow(s.served.Load(), packet, tcp)); err != nil || slow.String() != m.String() {
				t.Errorf("the paths differ: %v\n%s\n%s", err, slow, m)
			}
		}
	})
}

func BenchmarkAnswer(b *testing.B) {
	s := New(Options{})
	publish(b, s, snapshot(1, "127.0.0.1"))
	for name, packet := range map[string][]byte{
		"fast":     query(b, "storefront.localhost.", dns.TypeA, func(m *dns.Msg) { m.SetEdns0(1232, false) }),
		"wildcard": query(b, "other.localhost.", dns.TypeA),
		"slow":     query(b, "storefront.localhost.", dns.TypeTXT),
	} {
		b.Run(name, func(b *testing.B) {
			out := make([]byte, 0, 4096)
			b.ReportAllocs()
			for b.Loop() {
				s.answer(packet, out, false)
			}
		})
	}
}

// BenchmarkUDP asks through sockets; the clients share the cores.
func BenchmarkUDP(b *testing.B) {
	s := New(Options{})
	publish(b, s, snapshot(1, "127.0.0.1"))
	address, err := s.Listen(b.Context(), "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close(context.Background()) }()
	packet := query(b, "storefront.localhost.", dns.TypeA)
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		c, err := net.Dial("udp", address)
		if err != nil {
			b.Error(err)
			return
		}
		defer func() { _ = c.Close() }()
		in := make([]byte, 512)
		for pb.Next() {
			_, _ = c.Write(packet)
			_ = c.SetReadDeadline(time.Now().Add(time.Second))
			if _, err := c.Read(in); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
