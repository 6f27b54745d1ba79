package devopsapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/project"
)

// call is one request on its way through the API.
type call struct {
	*api
	w       http.ResponseWriter
	r       *http.Request
	route   *Route
	params  map[string]string
	subject identity.Subject
	secret  string
	project *project.Project // nil at the organization's level
	started bool             // the handler has begun to answer by itself
}

// What a handler may return besides a value: an answer of its own, or a value
// that is new.
type done struct{}

type created struct{ value any }

// list is how every collection is answered.
type list[T any] struct {
	Count int `json:"count"`
	Value []T `json:"value"`
}

func listOf[T any](items []T) list[T] {
	if items == nil {
		items = []T{}
	}
	return list[T]{len(items), items}
}

// mapped turns a collection of documents into one of shapes.
func mapped[T, S any](items []T, shape func(T) S) list[S] {
	out := make([]S, 0, len(items))
	for _, x := range items {
		out = append(out, shape(x))
	}
	return listOf(out)
}

func (c *call) ctx() context.Context { return c.r.Context() }

func (c *call) query(name string) string { return c.r.URL.Query().Get(name) }

// top reads $top, which also arrives without its sign.
func (c *call) top(normal int) int {
	for _, name := range []string{"$top", "top"} {
		if n, err := strconv.Atoi(c.query(name)); err == nil && n > 0 {
			return min(n, 10_000)
		}
	}
	return normal
}

func (c *call) flag(name string) bool {
	b, err := strconv.ParseBool(strings.ToLower(c.query(name)))
	return err == nil && b
}

// base is the address of the organization as the client sees it.
func (c *call) base() string {
	scheme := "http"
	if c.r.TLS != nil || strings.EqualFold(c.r.Header.Get("X-Forwarded-Proto"), "https") {
		scheme = "https"
	}
	return scheme + "://" + c.r.Host + "/" + c.Organization
}

func (c *call) accepts(mediaType string) bool {
	for _, part := range strings.Split(c.r.Header.Get("Accept"), ",") {
		if t, _, err := mime.ParseMediaType(part); err == nil && t == mediaType {
			return true
		}
	}
	return false
}

// limitBody bounds the body and refuses what is no JSON: a form of another
// site cannot send that without asking first.
func (c *call) limitBody(route *Route) error {
	limit := int64(1 << 20)
	switch route.Body {
	case stream:
		return nil
	case largeJSON:
		limit = 64 << 20
	}
	c.r.Body = http.MaxBytesReader(c.w, c.r.Body, limit)
	if c.r.ContentLength == 0 || c.r.Method == http.MethodGet || c.r.Method == http.MethodHead {
		return nil
	}
	t, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || !strings.HasSuffix(t, "json") {
		return fault.New(fault.Invalid, "not-json", "the body must be JSON").Want("Content-Type: application/json").Got("%s", c.r.Header.Get("Content-Type"))
	}
	return nil
}

// read decodes the body. Unknown properties are passed over, because clients
// send whole objects back.
func (c *call) read(into any) error {
	err := json.NewDecoder(c.r.Body).Decode(into)
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF):
		return fault.New(fault.Invalid, "no-body", "the request has no body").Want("a JSON object")
	case errors.As(err, &tooLarge):
		return fault.New(fault.Invalid, "too-large", "the body is too large").Want("at most %d bytes", tooLarge.Limit)
	}
	return fault.New(fault.Invalid, "invalid-json", "the body cannot be read as JSON").Got("%s", err)
}

func (c *call) answer(value any) {
	status := http.StatusOK
	switch v := value.(type) {
	case done:
		return
	case nil:
		c.w.WriteHeader(http.StatusNoContent)
		return
	case created:
		status, value = http.StatusCreated, v.value
	}
	c.write(status, value)
}

func (c *call) write(status int, value any) {
	data, err := json.Marshal(value)
	if err != nil {
		c.fail(fmt.Errorf("encode the answer: %w", err))
		return
	}
	h := c.w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8; api-version=7.1")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-cache")
	}
	h.Set("X-Content-Type-Options", "nosniff")
	c.w.WriteHeader(status)
	_, _ = c.w.Write(data)
}

var statusOf = map[fault.Kind]int{fault.Invalid: 400, fault.Denied: 403, fault.NotFound: 404, fault.Conflict: 409, fault.Unavailable: 503, fault.Internal: 500}

// problem is the shape of every error.
type problem struct {
	ID        string `json:"$id"`
	Message   string `json:"message"`
	TypeName  string `json:"typeName"`
	TypeKey   string `json:"typeKey"`
	ErrorCode int    `json:"errorCode"`
	Code      string `json:"code"`
	Kind      string `json:"kind"`
	Expected  string `json:"expected,omitempty"`
	Found     string `json:"found,omitempty"`
	Do        string `json:"do,omitempty"`
	Where     string `json:"where,omitempty"`
	Trace     string `json:"trace,omitempty"`
}

var typeKeys = map[fault.Kind]string{fault.Invalid: "InvalidRequestException", fault.Denied: "AccessCheckException", fault.NotFound: "ObjectNotFoundException",
	fault.Conflict: "ObjectConflictException", fault.Unavailable: "ServiceUnavailableException", fault.Internal: "UnexpectedException"}

// specialKeys are the names that clients look for, by resource and kind.
var specialKeys = map[string]string{"repositories/notFound": "GitRepositoryNotFoundException", "repositories/conflict": "GitRepositoryNameAlreadyExistsException",
	"projects/notFound": "ProjectDoesNotExistWithNameException", "pullRequests/notFound": "GitPullRequestNotFoundException", "artifacts/notFound": "ArtifactNotFoundException",
	"builds/notFound": "BuildNotFoundException", "configurations/notFound": "PolicyConfigurationNotFoundException", "pipelines/notFound": "PipelineNotFoundException"}

func (c *call) fail(err error) {
	if c.started {
		c.Log.Warn("answer broken off", "path", c.r.URL.Path, "error", err)
		panic(http.ErrAbortHandler)
	}
	kind := fault.KindOf(err)
	p := problem{ID: "1", Code: fault.CodeOf(err), Kind: kind.String(), TypeKey: typeKeys[kind]}
	if c.route != nil && specialKeys[c.route.Resource+"/"+p.Kind] != "" {
		p.TypeKey = specialKeys[c.route.Resource+"/"+p.Kind]
	}
	p.TypeName = "Penstock." + p.TypeKey
	var e *fault.Error
	switch {
	case kind == fault.Internal || !errors.As(err, &e):
		p.Trace = id.New()
		p.Message = "something went wrong on the server; the log has it under " + p.Trace
		c.Log.Error("request failed", "trace", p.Trace, "method", c.r.Method, "path", c.r.URL.Path, "subject", c.subject.Name, "error", err)
	default:
		p.Message, p.Where, p.Expected, p.Found, p.Do = e.Message, e.Where, e.Expected, e.Found, e.Do
	}
	status := statusOf[kind]
	switch p.Code {
	case "not-signed-in", "sign-in-refused":
		status = http.StatusUnauthorized
		c.w.Header().Add("WWW-Authenticate", `Basic realm="Penstock"`)
		c.w.Header().Add("WWW-Authenticate", "Bearer")
	case "method-not-allowed":
		status = http.StatusMethodNotAllowed
	case "too-many-attempts":
		status = http.StatusTooManyRequests
		c.w.Header().Set("Retry-After", "60")
	case "too-large":
		status = http.StatusRequestEntityTooLarge
	}
	c.write(status, p)
}

func (c *call) recovered() {
	v := recover()
	switch {
	case v == nil:
	case v == any(http.ErrAbortHandler):
		panic(http.ErrAbortHandler)
	default:
		// An answer that has begun is broken off by fail.
		c.fail(fmt.Errorf("panic: %v\n%s", v, debug.Stack()))
	}
}

// limiter bounds attempts by key: a handful at once, then one every ten seconds.
type limiter struct {
	clock store.Clock
	mu    sync.Mutex
	until map[string]time.Time
}

const (
	attemptCost  = 10 * time.Second
	attemptBurst = 10 * attemptCost
	limiterSize  = 10_000
)

func newLimiter(clock store.Clock) *limiter {
	return &limiter{clock: clock, until: map[string]time.Time{}}
}

func (l *limiter) allow(key string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock.Now()
	if len(l.until) >= limiterSize {
		for k, t := range l.until {
			if t.Before(now) {
				delete(l.until, k)
			}
		}
	}
	next := l.until[key]
	if next.Before(now) {
		next = now
	}
	if next = next.Add(attemptCost); next.Sub(now) > attemptBurst || len(l.until) >= limiterSize {
		return fault.New(fault.Unavailable, "too-many-attempts", "too many attempts").Try("wait a minute")
	}
	l.until[key] = next
	return nil
}

// forgive takes an attempt back that succeeded.
func (l *limiter) forgive(keys ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range keys {
		l.until[key] = l.until[key].Add(-attemptCost)
	}
}

func (c *call) peer() string {
	host, _, err := net.SplitHostPort(c.r.RemoteAddr)
	if err != nil {
		return c.r.RemoteAddr
	}
	return host
}

// person is how a user, agent or job appears in other objects.
type person struct {
	ID          string `json:"id"`
	DisplayName string `json:"displayName"`
	UniqueName  string `json:"uniqueName"`
}

func personOf(id, name string) person { return person{ID: id, DisplayName: name, UniqueName: name} }

// link is {"href"}.
type link struct {
	Href string `json:"href"`
}

func links(self, web string) map[string]link {
	return map[string]link{"self": {self}, "web": {web}}
}

// skip reads $skip; a client that asks until a page is empty relies on it.
func (c *call) skip() int {
	for _, name := range []string{"$skip", "skip"} {
		if n, err := strconv.Atoi(c.query(name)); err == nil && n > 0 {
			return min(n, 1_000_000)
		}
	}
	return 0
}

// number turns an id of digits into a number, as clients expect it.
func number(id string) int {
	n, err := strconv.Atoi(id)
	if err != nil {
		return 0
	}
	return n
}

// text reads a value that arrives as text or as a number.
func text(v any) string {
	switch x := v.(type) {
	case string:
		return x
	case float64:
		return strconv.FormatFloat(x, 'f', -1, 64)
	case nil:
		return ""
	}
	return fmt.Sprint(v)
}

// noDeadline lets a request take longer than the server grants ordinary ones.
func (c *call) noDeadline() {
	control := http.NewResponseController(c.w)
	_ = control.SetReadDeadline(time.Time{})
	_ = control.SetWriteDeadline(time.Time{})
}
