package dnsserver

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/trafficmanager"
)

const (
	soaTTL      = 60 // seconds
	negativeTTL = 10 // how long "no such name" may be remembered
	maxTTL      = 7 * 24 * time.Hour
)

// zoneData is a snapshot with everything packed. It never changes.
type zoneData struct {
	snapshot *trafficmanager.Snapshot
	names    map[string]*entry // by canonical name; wildcards as "*.zone"
	exists   map[string]bool   // names with something at or below them
	zones    map[string]*zone  // by canonical name
}

// zone is a name with authority, and its own records.
type zone struct {
	soa *dns.SOA
	ns  []dns.RR
}

// entry is the answer for one name. The packed sections begin with a pointer to
// the question's name, so they serve any name the question was asked by.
type entry struct {
	a, aaaa packed
	track   *tracker
	ttl     time.Duration
}

// packed is an answer section and how many records it has.
type packed struct {
	count int
	wire  []byte
}

func emptyZoneData() *zoneData {
	return &zoneData{names: map[string]*entry{}, exists: map[string]bool{}, zones: map[string]*zone{}}
}

// canonical is the form names are compared in.
func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// pack checks a snapshot and packs its answers.
func pack(from *trafficmanager.Snapshot, t *trackers) (*zoneData, error) {
	if from == nil {
		return nil, fault.New(fault.Invalid, "invalid-snapshot", "there is no snapshot")
	}
	d := emptyZoneData()
	d.snapshot = cloneSnapshot(from)
	for _, z := range d.snapshot.Zones {
		if err := d.addZone(z); err != nil {
			return nil, err
		}
	}
	for _, r := range d.snapshot.Records {
		if err := d.addRecord(r, t); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func cloneSnapshot(from *trafficmanager.Snapshot) *trafficmanager.Snapshot {
	c := *from
	c.Zones = slices.Clone(from.Zones)
	for i := range c.Zones {
		c.Zones[i].Nameservers = slices.Clone(c.Zones[i].Nameservers)
	}
	c.Records = slices.Clone(from.Records)
	for i := range c.Records {
		c.Records[i].Addresses = slices.Clone(c.Records[i].Addresses)
	}
	return &c
}

func (d *zoneData) addZone(z trafficmanager.Zone) error {
	name := canonical(z.Name)
	if !validName(name) || d.zones[name] != nil {
		return badSnapshot("zone "+z.Name, "a host name that no other zone has", z.Name)
	}
	servers := z.Nameservers
	if len(servers) == 0 {
		servers = []string{"ns." + name}
	}
	out := &zone{}
	for _, ns := range servers {
		if !validName(canonical(ns)) {
			return badSnapshot("zone "+z.Name, "host names as name servers", ns)
		}
		out.ns = append(out.ns, &dns.NS{
			Hdr: dns.RR_Header{Name: dns.Fqdn(name), Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: soaTTL},
			Ns:  dns.Fqdn(canonical(ns)),
		})
	}
	out.soa = &dns.SOA{
		Hdr: dns.RR_Header{Name: dns.Fqdn(name), Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: soaTTL},
		Ns:  dns.Fqdn(canonical(servers[0])), Mbox: dns.Fqdn("hostmaster." + name),
		Serial:  uint32(d.snapshot.Generation), // serial arithmetic: only the order counts
		Refresh: 60, Retry: 30, Expire: 86400, Minttl: negativeTTL,
	}
	d.zones[name] = out
	d.exists[name] = true
	return nil
}

func (d *zoneData) addRecord(r trafficmanager.Record, t *trackers) error {
	name, where := canonical(r.Name), "record "+r.Name
	if !validName(strings.TrimPrefix(name, "*.")) || d.names[name] != nil {
		return badSnapshot(where, "a host name that no other record has", r.Name)
	}
	_, apex := d.zoneOf(name)
	if apex == "" {
		return badSnapshot(where, "a name inside a zone of the snapshot", r.Name)
	}
	if r.TTL < 0 || r.TTL > maxTTL || r.TTL%time.Second != 0 {
		return badSnapshot(where, "a TTL of whole seconds, at most seven days", r.TTL.String())
	}
	e := &entry{ttl: r.TTL, track: t.of(name, r.Target)}
	ttl := uint32(r.TTL / time.Second)
	for _, text := range r.Addresses {
		ip, err := netip.ParseAddr(text)
		if err != nil || ip.Zone() != "" {
			return badSnapshot(where, "IPv4 or IPv6 addresses", text)
		}
		if ip = ip.Unmap(); ip.Is4() {
			e.a.add(dns.TypeA, ttl, ip)
		} else {
			e.aaaa.add(dns.TypeAAAA, ttl, ip)
		}
	}
	if e.a.count+e.aaaa.count > 64 {
		return badSnapshot(where, "at most 64 addresses", "more")
	}
	d.names[name] = e
	// Every name between the record and the apex exists, if only as a parent.
	for at := strings.TrimPrefix(name, "*."); at != apex && at != ""; at = parent(at) {
		d.exists[at] = true
	}
	return nil
}

// add packs one address record whose owner is the question's name.
func (p *packed) add(rrtype uint16, ttl uint32, ip netip.Addr) {
	raw := ip.AsSlice()
	p.count++
	p.wire = append(p.wire, 0xC0, 12, byte(rrtype>>8), byte(rrtype), 0, 1,
		byte(ttl>>24), byte(ttl>>16), byte(ttl>>8), byte(ttl), 0, byte(len(raw)))
	p.wire = append(p.wire, raw...)
}

// records returns the packed addresses as the library's records.
func (p packed) records(owner string) []dns.RR {
	var out []dns.RR
	for w := p.wire; len(w) >= 12; {
		n := int(w[11])
		hdr := dns.RR_Header{Name: owner, Rrtype: uint16(w[2])<<8 | uint16(w[3]), Class: dns.ClassINET,
			Ttl: uint32(w[6])<<24 | uint32(w[7])<<16 | uint32(w[8])<<8 | uint32(w[9])}
		if hdr.Rrtype == dns.TypeA {
			out = append(out, &dns.A{Hdr: hdr, A: w[12 : 12+n]})
		} else {
			out = append(out, &dns.AAAA{Hdr: hdr, AAAA: w[12 : 12+n]})
		}
		w = w[12+n:]
	}
	return out
}

// zoneOf returns the closest zone at or above a name, and its name.
func (d *zoneData) zoneOf(name string) (*zone, string) {
	for at := name; at != ""; at = parent(at) {
		if z := d.zones[at]; z != nil {
			return z, at
		}
	}
	return nil, ""
}

// find returns the entry for a name, and whether the name exists. A wildcard
// answers for what is below its parent, unless a name that exists is closer.
func (d *zoneData) find(name, apex string) (*entry, bool) {
	if e := d.names[name]; e != nil {
		return e, true
	}
	if d.exists[name] {
		return nil, true
	}
	for at := name; at != apex && at != ""; {
		at = parent(at)
		if e := d.names["*."+at]; e != nil {
			return e, true
		}
		if d.exists[at] {
			break
		}
	}
	return nil, false
}

// parent strips the first label.
func parent(name string) string {
	_, rest, _ := strings.Cut(name, ".")
	return rest
}

// validName accepts lower-case host names, with underscores.
func validName(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for i := range len(label) {
			if !plain[label[i]] || label[i] == '*' {
				return false
			}
		}
	}
	return true
}

func badSnapshot(where, expected, found string) error {
	return fault.New(fault.Invalid, "invalid-snapshot", "the snapshot cannot be answered from").
		At("%s", where).Want("%s", expected).Got("%q", found).Try("correct the application or the profile and apply it again")
}
