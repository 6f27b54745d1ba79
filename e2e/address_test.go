package e2e

import (
	"net"
	"strconv"
	"sync/atomic"
)

var lastPort atomic.Int32

// ownAddress returns an address for one server alone. Clients know a server by
// its address, so one that is killed and started again must find it free: the
// ports lie below those that systems hand out to connections, and no other
// server of these tests gets the same.
func ownAddress() string {
	for {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(20000+int(lastPort.Add(1))))
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
}
