// Package trafficmanager holds the desired DNS answers. A snapshot is
// immutable and carries a generation; a DNS node refuses an older one.
package trafficmanager

import "time"

// Snapshot is everything the DNS server answers at one generation.
type Snapshot struct {
	Generation uint64   `json:"generation"`
	Zones      []Zone   `json:"zones"`
	Records    []Record `json:"records"`
}

// Zone is a name this installation answers for with authority.
type Zone struct {
	Name        string   `json:"name"` // lower case, without the final dot: localhost
	Nameservers []string `json:"nameservers,omitempty"`
}

// Record is the answer for one name. Addresses are IPv4 or IPv6 text.
type Record struct {
	Name      string        `json:"name"` // lower case, without the final dot
	Addresses []string      `json:"addresses"`
	TTL       time.Duration `json:"ttl"`    // whole seconds
	Target    string        `json:"target"` // what the answer stands for: application/slot
}

// Cached is an answer given out that a resolver may still hold.
type Cached struct {
	Name    string    `json:"name"`
	Target  string    `json:"target"`
	Expires time.Time `json:"expires"` // when the last copy runs out
	Answers uint64    `json:"answers"` // given out within the last TTL
}
