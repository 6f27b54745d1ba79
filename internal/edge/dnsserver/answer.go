package dnsserver

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

// plain are the bytes a name's label may have on the fast path, in lower case.
var plain = func() (t [256]bool) {
	for c := 'a'; c <= 'z'; c++ {
		t[c] = true
	}
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	t['-'], t['_'], t['*'] = true, true, true
	return t
}()

const (
	headerSize = 12
	flagQR     = 1 << 15
	flagAA     = 1 << 10
	flagRD     = 1 << 8
)

// answer returns the response to a packet, in out's memory if it fits, or nil
// for what must not be answered: rubbish, and responses (answering those would
// let two servers talk for ever).
func (s *Server) answer(query, out []byte, tcp bool) []byte {
	if len(query) < headerSize || binary.BigEndian.Uint16(query[2:])&flagQR != 0 {
		return nil
	}
	d := s.served.Load()
	if a := s.fast(d, query, out, tcp); a != nil {
		return a
	}
	return s.slow(d, query, tcp)
}

// question is a plain question found by parsePlain.
type question struct {
	name  string
	wire  []byte // as it came: name, type, class
	qtype uint16
	opt   bool
	size  int // what the client can take in a UDP packet
}

// fast answers a plain question for the addresses of a name, else returns nil.
func (s *Server) fast(d *zoneData, query, out []byte, tcp bool) []byte {
	var names [255]byte
	q, ok := parsePlain(query, names[:0])
	if !ok {
		return nil
	}
	_, apex := d.zoneOf(q.name)
	if apex == "" {
		return nil
	}
	e, _ := d.find(q.name, apex)
	if e == nil {
		return nil
	}
	section := e.a
	if q.qtype == dns.TypeAAAA {
		section = e.aaaa
	}
	if section.count == 0 {
		return nil
	}
	size := headerSize + len(q.wire) + len(section.wire)
	if q.opt {
		size += 11
	}
	if !tcp && size > q.size {
		return nil // the slow path truncates
	}
	flags := binary.BigEndian.Uint16(query[2:])&flagRD | flagQR | flagAA
	out = append(out[:0], query[0], query[1], byte(flags>>8), byte(flags))
	out = append(out, 0, 1, byte(section.count>>8), byte(section.count), 0, 0, 0, 0)
	if q.opt {
		out[11] = 1
	}
	out = append(out, q.wire...)
	out = append(out, section.wire...)
	if q.opt { // root name, OPT, our size, no error, version 0, flags, no data; DO comes back
		do := query[len(query)-4] & 0x80
		out = append(out, 0, 0, byte(dns.TypeOPT), maxUDP>>8, maxUDP&0xff, 0, 0, do, 0, 0, 0)
	}
	e.track.answered(s.now(), e.ttl)
	return out
}

// parsePlain reads a query with one question of class IN for A or AAAA, and at
// most an empty OPT record. The name it returns is in lower case and lives in
// the buffer's copy.
func parsePlain(query, buffer []byte) (question, bool) {
	var q question
	const unusual = ^uint16(flagRD | 1<<5 | 1<<4) // AD and CD mean nothing to us
	be := binary.BigEndian
	extra := be.Uint16(query[10:])
	if be.Uint16(query[2:])&unusual != 0 || be.Uint16(query[4:]) != 1 || be.Uint32(query[6:]) != 0 || extra > 1 {
		return q, false
	}
	at := headerSize
	for {
		if at >= len(query) {
			return q, false
		}
		n := int(query[at])
		at++
		if n == 0 {
			break
		}
		if n > 63 || at+n > len(query) || len(buffer)+n+1 > 254 {
			return q, false
		}
		if len(buffer) > 0 {
			buffer = append(buffer, '.')
		}
		for _, c := range query[at : at+n] {
			if c >= 'A' && c <= 'Z' {
				c += 'a' - 'A'
			}
			if !plain[c] {
				return q, false
			}
			buffer = append(buffer, c)
		}
		at += n
	}
	if at+4 > len(query) || len(buffer) == 0 {
		return q, false
	}
	q.qtype = be.Uint16(query[at:])
	if be.Uint16(query[at+2:]) != dns.ClassINET || q.qtype != dns.TypeA && q.qtype != dns.TypeAAAA {
		return q, false
	}
	at += 4
	q.name, q.wire, q.size = string(buffer), query[headerSize:at], dns.MinMsgSize
	rest := query[at:]
	if extra == 0 {
		return q, len(rest) == 0
	}
	// name 0, type 41, size, extended code 0, version 0, flags with only DO, length 0
	if len(rest) != 11 || rest[0] != 0 || be.Uint16(rest[1:]) != dns.TypeOPT || be.Uint16(rest[5:]) != 0 || be.Uint16(rest[9:]) != 0 {
		return q, false
	}
	q.opt = true
	q.size = min(max(int(be.Uint16(rest[3:])), dns.MinMsgSize), maxUDP)
	return q, true
}

// slow answers everything by the library.
func (s *Server) slow(d *zoneData, query []byte, tcp bool) []byte {
	in := new(dns.Msg)
	if err := in.Unpack(query); err != nil {
		return refusal(query, dns.RcodeFormatError)
	}
	if in.Opcode != dns.OpcodeQuery {
		return refusal(query, dns.RcodeNotImplemented)
	}
	if len(in.Question) != 1 || len(in.Answer) != 0 || options(in) > 1 {
		return refusal(query, dns.RcodeFormatError)
	}
	out := new(dns.Msg)
	out.SetReply(in)
	out.RecursionAvailable, out.CheckingDisabled = false, false
	out.Compress = true
	size := dns.MinMsgSize
	if opt := in.IsEdns0(); opt != nil {
		size = min(max(int(opt.UDPSize()), dns.MinMsgSize), maxUDP)
		out.SetEdns0(maxUDP, opt.Do())
		if opt.Version() != 0 {
			out.Rcode = dns.RcodeBadVers
			return wire(out, query, size, tcp)
		}
	}
	s.resolve(d, out)
	return wire(out, query, size, tcp)
}

// options counts the OPT records of a message.
func options(m *dns.Msg) int {
	n := 0
	for _, rr := range m.Extra {
		if rr.Header().Rrtype == dns.TypeOPT {
			n++
		}
	}
	return n
}

// resolve fills the sections for the one question of out.
func (s *Server) resolve(d *zoneData, out *dns.Msg) {
	q := out.Question[0]
	name := canonical(q.Name)
	z, apex := d.zoneOf(name)
	if z == nil || q.Qclass != dns.ClassINET || q.Qtype == dns.TypeAXFR || q.Qtype == dns.TypeIXFR {
		out.Rcode = dns.RcodeRefused
		return
	}
	out.Authoritative = true
	e, exists := d.find(name, apex)
	switch {
	case !exists:
		out.Rcode = dns.RcodeNameError
	case q.Qtype == dns.TypeANY: // the smallest truth: RFC 8482
		out.Answer = append(out.Answer, &dns.HINFO{
			Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeHINFO, Class: dns.ClassINET, Ttl: soaTTL}, Cpu: "RFC8482",
		})
	case q.Qtype == dns.TypeSOA && name == apex:
		out.Answer = append(out.Answer, z.soa)
	case q.Qtype == dns.TypeNS && name == apex:
		out.Answer = append(out.Answer, z.ns...)
	case e != nil && q.Qtype == dns.TypeA:
		out.Answer = e.a.records(q.Name)
	case e != nil && q.Qtype == dns.TypeAAAA:
		out.Answer = e.aaaa.records(q.Name)
	}
	if len(out.Answer) == 0 { // resolvers learn from the SOA how long to remember "nothing"
		soa := *z.soa
		soa.Hdr.Ttl = negativeTTL
		out.Ns = append(out.Ns, &soa)
	} else if e != nil && (q.Qtype == dns.TypeA || q.Qtype == dns.TypeAAAA) {
		e.track.answered(s.now(), e.ttl)
	}
}

// wire packs a response. What does not fit into the client's packet is left out
// and marked, so that the client comes back over TCP.
func wire(out *dns.Msg, query []byte, size int, tcp bool) []byte {
	packed, err := out.Pack()
	if err == nil && (tcp || len(packed) <= size) {
		return packed
	}
	out.Answer, out.Ns, out.Truncated = nil, nil, true
	if packed, err = out.Pack(); err != nil {
		return refusal(query, dns.RcodeServerFailure)
	}
	return packed
}

// refusal is an answer of a header alone, for what cannot be read or done.
func refusal(query []byte, code int) []byte {
	opcodeAndRD := query[2] & 0x79
	return []byte{query[0], query[1], 0x80 | opcodeAndRD, byte(code), 0, 0, 0, 0, 0, 0, 0, 0}
}
