// Package routing holds the desired table of the gateway: which host and path
// lead to which pool of backends. A table is immutable and carries a
// generation; a gateway refuses a table older than the one it serves.
package routing

import "time"

// Table is everything a gateway serves at one generation.
type Table struct {
	Generation uint64  `json:"generation"`
	Routes     []Route `json:"routes"`
	Pools      []Pool  `json:"pools"`
	Fronts     []Front `json:"fronts,omitempty"`
	// Streams are TCP listeners that are copied to a pool byte by byte.
	Streams []Stream `json:"streams,omitempty"`
}

// Stream sends every connection that arrives at an address to a pool.
type Stream struct {
	Listen string `json:"listen"` // host:port of the gateway
	Pool   string `json:"pool"`   // Pool.Name
}

// Route sends requests for a host and a path prefix to a pool. The longest
// prefix wins; an empty PathPrefix is "/".
type Route struct {
	Host        string        `json:"host"` // lower case, without a port
	PathPrefix  string        `json:"pathPrefix"`
	Pool        string        `json:"pool"` // Pool.Name
	Application string        `json:"application"`
	Role        string        `json:"role"`    // production, staging, …
	Timeout     time.Duration `json:"timeout"` // until the response head; 0 = no limit
	Retry       bool          `json:"retry"`   // GET and HEAD that met no answer may try another backend
}

// Pool is the group of backends of one slot.
type Pool struct {
	Name        string    `json:"name"` // application/slot
	Application string    `json:"application"`
	Slot        string    `json:"slot"`
	Balance     string    `json:"balance"` // roundRobin or leastRequests
	Backends    []Backend `json:"backends"`
	Probe       Probe     `json:"probe"`
}

// Backend is one VM's service.
type Backend struct {
	Name    string `json:"name"`    // the VM
	Address string `json:"address"` // host:port
	Drained bool   `json:"drained"` // gets no new request
}

// Probe says how a backend's health is found out.
type Probe struct {
	Path     string        `json:"path"` // "" = TCP connect
	Interval time.Duration `json:"interval"`
	Timeout  time.Duration `json:"timeout"`
	Rise     int           `json:"rise"` // good answers until healthy
	Fall     int           `json:"fall"` // bad answers until unhealthy
	MinCode  int           `json:"minCode"`
	MaxCode  int           `json:"maxCode"`
}

// Front is an address of the gateway that DNS gives out for one slot. Requests
// are routed by host whatever front they come through, so an answer that a
// resolver still holds after a swap leads to the right slot.
type Front struct {
	Slot    string `json:"slot"` // application/slot
	Address string `json:"address"`
}

// BackendHealth is what a gateway found out about a backend.
type BackendHealth struct {
	Pool     string        `json:"pool"`
	Backend  string        `json:"backend"`
	Address  string        `json:"address"`
	State    string        `json:"state"` // unknown, healthy, unhealthy
	Detail   string        `json:"detail"`
	Latency  time.Duration `json:"latency"`
	Since    time.Time     `json:"since"`
	LastSeen time.Time     `json:"lastSeen"`
}

// Stats are a pool's counters since the gateway started.
type Stats struct {
	Pool          string    `json:"pool"`
	Requests      uint64    `json:"requests"`
	Errors        uint64    `json:"errors"`   // answers of 500 and above, and requests that met no backend
	Buckets       []uint64  `json:"buckets"`  // requests by latency; bounds are LatencyBounds, last is the rest
	Sum           float64   `json:"sum"`      // seconds
	InFlight      int64     `json:"inFlight"` // requests being answered now
	Upgraded      int64     `json:"upgraded"` // WebSocket and other upgraded connections open now
	OldestRequest time.Time `json:"oldest"`   // start of the longest running request; zero if none
	LastNew       time.Time `json:"lastNew"`  // when the last request was sent to this pool
	Cut           uint64    `json:"cut"`      // requests ended by a drain deadline
}

// LatencyBounds are the upper bounds of Stats.Buckets, in seconds.
var LatencyBounds = []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10}
