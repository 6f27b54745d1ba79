// Package gitserver serves Git over HTTP, the smart protocol, at
// /{organization}/{project}/_git/{repository}. A push is looked at before Git
// gets it, and is recorded before its client gets an answer.
package gitserver

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/telemetry"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/project"
	"penstock.dev/penstock/internal/domain/repos"
)

// Packs runs Git's own side of a request.
type Packs interface {
	ServePack(ctx context.Context, repoID, service, protocol string, advertise bool, in io.Reader, out io.Writer) error
}

// Bounds of request bodies, after decompression.
const (
	maxPush   = 8 << 30
	maxFetch  = 64 << 20
	maxAnswer = 16 << 20 // of receive-pack
)

type server struct {
	projects     *project.Service
	repos        *repos.Service
	identity     *identity.Service
	packs        Packs
	organization string
	log          *slog.Logger
}

// New makes the handler of every address that has /_git/ in it.
func New(projects *project.Service, repos *repos.Service, id *identity.Service, packs Packs, organization string, log *slog.Logger) http.Handler {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &server{projects, repos, id, packs, organization, log}
}

// request is one request that was understood.
type request struct {
	project, repository string
	service             string // upload-pack or receive-pack
	advertise           bool
}

// parse reads /{org}/{project}/_git/{repo}/info/refs?service=… and its
// siblings; /{org}/_git/{repo} is the repository of a project of its name.
func parse(r *http.Request, organization string) (request, error) {
	var path []string
	for part := range strings.SplitSeq(r.URL.EscapedPath(), "/") {
		if part == "" {
			continue
		}
		text, err := url.PathUnescape(part)
		if err != nil {
			return request{}, fault.New(fault.Invalid, "invalid-address", "the address cannot be read")
		}
		path = append(path, text)
	}
	nothing := fault.New(fault.NotFound, "no-route", "no such address: %s", r.URL.Path).Want("/%s/{project}/_git/{repository}", organization)
	if len(path) < 4 || !strings.EqualFold(path[0], organization) {
		return request{}, nothing
	}
	var q request
	rest := path[1:]
	switch {
	case rest[0] == "_git":
		q.project, q.repository, rest = strings.TrimSuffix(rest[1], ".git"), rest[1], rest[2:]
	case rest[1] == "_git" && len(rest) > 3:
		q.project, q.repository, rest = rest[0], rest[2], rest[3:]
	default:
		return request{}, nothing
	}
	switch verb := strings.Join(rest, "/"); {
	case verb == "info/refs" && r.Method == http.MethodGet:
		q.service, q.advertise = strings.TrimPrefix(r.URL.Query().Get("service"), "git-"), true
		if q.service != "upload-pack" && q.service != "receive-pack" {
			return q, fault.New(fault.Invalid, "dumb-protocol", "this server speaks the smart protocol only").Try("use Git 1.6.6 or newer")
		}
	case (verb == "git-upload-pack" || verb == "git-receive-pack") && r.Method == http.MethodPost:
		q.service = strings.TrimPrefix(verb, "git-")
		if got := r.Header.Get("Content-Type"); got != "application/x-"+verb+"-request" {
			return q, fault.New(fault.Invalid, "invalid-content-type", "that is no Git request").Got("%s", got)
		}
	default:
		return q, nothing
	}
	return q, nil
}

// ServeHTTP implements http.Handler.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-cache, max-age=0, must-revalidate")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if err := s.serve(w, r); err != nil {
		s.fail(w, r, err)
	}
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) error {
	q, err := parse(r, s.organization)
	if err != nil {
		return err
	}
	repo, by, err := s.admit(r, q)
	if err != nil {
		return err
	}
	r = r.WithContext(identity.With(r.Context(), by))
	// A large repository takes longer than ordinary requests may.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{})
	_ = control.SetWriteDeadline(time.Time{})
	if q.advertise {
		return s.advertise(w, r, q, repo)
	}
	limit := int64(maxFetch)
	if q.service == "receive-pack" {
		limit = maxPush
	}
	body, err := body(w, r, limit)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/x-git-"+q.service+"-result")
	if q.service == "receive-pack" {
		return s.receive(w, r, repo, by, body)
	}
	_ = control.EnableFullDuplex() // Git may answer while it still reads
	out := &counted{Writer: w}
	err = s.packs.ServePack(r.Context(), repo.ID, q.service, r.Header.Get("Git-Protocol"), false, body, out)
	if err != nil && out.n > 0 {
		s.log.Warn("fetch broken off", "repository", repo.Name, "error", err)
		panic(http.ErrAbortHandler)
	}
	return err
}

// admit finds the subject, the project and the repository, and checks that the
// subject may do what it asks for.
func (s *server) admit(r *http.Request, q request) (*repos.Repository, identity.Subject, error) {
	by, err := s.subject(r)
	if err != nil {
		return nil, by, err
	}
	if by.Kind == identity.Nobody {
		return nil, by, identity.Check(by, identity.ProjectView, "")
	}
	p, err := s.projects.Find(r.Context(), q.project)
	if err != nil {
		return nil, by, err
	}
	if !identity.Can(by, identity.ProjectView, p.ID) {
		return nil, by, fault.New(fault.NotFound, "not-found", "no project %s", q.project)
	}
	if q.service == "receive-pack" {
		if err := identity.Check(by, identity.CodeWrite, p.ID); err != nil {
			return nil, by, err
		}
	}
	repo, err := s.repos.Find(r.Context(), p.ID, q.repository)
	return repo, by, err
}

func (s *server) subject(r *http.Request) (identity.Subject, error) {
	secret := ""
	if _, password, ok := r.BasicAuth(); ok {
		secret = password
	} else if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		secret = strings.TrimSpace(token)
	}
	if secret == "" {
		return identity.Subject{}, nil
	}
	return s.identity.SubjectOf(r.Context(), secret)
}

// body bounds the request's body and opens it.
func body(w http.ResponseWriter, r *http.Request, limit int64) (io.Reader, error) {
	in := http.MaxBytesReader(w, r.Body, limit)
	switch encoding := strings.ToLower(r.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
		return in, nil
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, fault.New(fault.Invalid, "invalid-body", "the body is no gzip").Got("%s", err)
		}
		return &bounded{z, limit}, nil
	default:
		return nil, fault.New(fault.Invalid, "invalid-body", "unknown encoding %q", encoding).Want("gzip")
	}
}

// bounded fails where io.LimitReader would pretend an end.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, &http.MaxBytesError{}
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

type counted struct {
	io.Writer
	n int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n += int64(n)
	return n, err
}

func (s *server) advertise(w http.ResponseWriter, r *http.Request, q request, repo *repos.Repository) error {
	protocol := r.Header.Get("Git-Protocol")
	if q.service == "receive-pack" {
		protocol = "" // there is no push in version 2
	}
	var out bytes.Buffer
	if protocol != "version=2" {
		out.WriteString(encode("# service=git-"+q.service+"\n") + flushPacket)
	}
	if err := s.packs.ServePack(r.Context(), repo.ID, q.service, protocol, true, http.NoBody, &out); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/x-git-"+q.service+"-advertisement")
	_, _ = w.Write(out.Bytes())
	return nil
}

// receive takes a push: checked before Git sees it, recorded before its client
// hears of it.
func (s *server) receive(w http.ResponseWriter, r *http.Request, repo *repos.Repository, by identity.Subject, body io.Reader) error {
	ctx, span := telemetry.Start(r.Context(), "gitserver.ReceivePack", "repository", repo.Name)
	defer span.End()
	in := bufio.NewReaderSize(body, 64<<10)
	head, err := readHead(in)
	if err != nil {
		return err
	}
	if len(head.updates) == 0 {
		return nil // a client asks whether it may send a large body
	}
	if refused := s.repos.CheckPush(ctx, repo, head.updates); refused != nil {
		// Whoever has not sent everything yet would not listen.
		if _, err := io.Copy(io.Discard, in); err != nil {
			return tooLarge(err)
		}
		_, _ = w.Write(head.refusal(refused))
		return nil
	}
	answer := &capped{}
	ran := s.packs.ServePack(ctx, repo.ID, "receive-pack", "", false, io.MultiReader(bytes.NewReader(head.raw), in), answer)
	// Refs may have moved even if Git failed or the client went away.
	if err := s.accept(context.WithoutCancel(ctx), repo, by, head, answer.Bytes()); err != nil {
		return err
	}
	if ran != nil {
		return tooLarge(ran)
	}
	_, _ = w.Write(answer.Bytes())
	return nil
}

func tooLarge(err error) error {
	var limit *http.MaxBytesError
	if errors.As(err, &limit) {
		return fault.New(fault.Invalid, "push-too-large", "the push is too large").Want("at most %d GiB", maxPush>>30).Try("push in several steps")
	}
	return err
}

// capped keeps what Git answers; remarks beyond the bound are lost, not the push.
type capped struct{ bytes.Buffer }

func (c *capped) Write(p []byte) (int, error) {
	if c.Len() < maxAnswer {
		c.Buffer.Write(p)
	}
	return len(p), nil
}

// accept records the updates that happened. A conflict with another push is
// tried again.
func (s *server) accept(ctx context.Context, repo *repos.Repository, by identity.Subject, head *pushHead, answer []byte) error {
	refs, err := s.repos.Git.Refs(ctx, repo.ID)
	if err != nil {
		return err
	}
	said := head.reported(answer)
	var happened []repos.RefUpdate
	for _, u := range head.updates {
		now := refs[u.Ref]
		if now == u.New || now == "" && u.New == repos.Zero || said[u.Ref] {
			happened = append(happened, u)
		}
	}
	if len(happened) == 0 {
		return nil
	}
	for attempt := 0; ; attempt++ {
		err = s.repos.AcceptPush(ctx, repo.ID, by, happened)
		if !fault.Is(err, fault.Conflict) || attempt == 10 {
			return err
		}
	}
}

var statusOf = map[fault.Kind]int{fault.Invalid: 400, fault.Denied: 403, fault.NotFound: 404, fault.Conflict: 409, fault.Unavailable: 503, fault.Internal: 500}

// fail answers in plain text, which Git shows to its user.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	kind := fault.KindOf(err)
	status, text := statusOf[kind], "something went wrong on the server"
	var e *fault.Error
	switch {
	case kind == fault.Internal || !errors.As(err, &e):
		s.log.Error("git request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	default:
		text = e.Message
		if e.Do != "" {
			text += "\n" + e.Do
		}
	}
	if fault.CodeOf(err) == "not-signed-in" {
		status = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", `Basic realm="Penstock"`)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n")
}
