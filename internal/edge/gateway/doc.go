// Package gateway is the data plane that switches requests between the slots
// of an application. It serves from an immutable table behind one atomic
// pointer and asks no database and no server: what it needs after a restart is
// in its snapshot file.
//
// # The swap
//
// Prepare checks a table, opens its listeners and starts to probe its backends
// while the old table goes on serving. Publish exchanges one pointer. A request
// is bound to a table once, when it is routed: it registers with its pool, then
// looks whether the pointer is still the same, and starts over if it is not. So
// when Publish has returned, no request can still be on its way to a pool that
// the new table does not name, and Drain, which looks at the registered
// requests, cannot miss one. Client connections are never closed for a swap;
// each request on them is routed anew.
//
// # Nothing is sent twice
//
// A backend may close an idle connection at the very moment the gateway writes
// a request to it. Nobody can then tell whether the request was acted on. Go's
// transport repeats a GET in that case, which is harmless; it must not repeat a
// POST, so the client would see a failure that no one caused. The gateway
// therefore gives idle connections only to requests that may be repeated (GET,
// HEAD, OPTIONS, TRACE without a body). Every other request travels on a
// connection of its own, which no backend has a reason to close. That costs one
// TCP handshake for each POST and leaves no window, whatever idle time the
// backends use. Idle connections are dropped after four seconds as well, which
// is shorter than the common defaults, so that repeats are rare.
//
// A request of any method moves to another backend when no connection could be
// opened, because nothing was sent and nothing of its body was read. After the
// first byte was sent only a GET or HEAD without a body moves, and only if the
// route allows it.
//
// # Framing
//
// net/http refuses differing Content-Length fields, unknown and repeated
// transfer codings, and malformed chunks. A request with both Content-Length
// and chunked coding is read as chunked and sent on with chunked framing alone,
// so that gateway and backend can never disagree about where it ends.
package gateway
