package language

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/creachadair/jrpc2"
	"github.com/creachadair/jrpc2/channel"
	"github.com/creachadair/jrpc2/handler"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline/editor"
)

// Options of a language server.
type Options struct {
	Workspace Workspace
	Version   string
	Delay     time.Duration // between the last change and the check
}

// Delay is long enough to type a word and short enough to feel at once.
const Delay = 150 * time.Millisecond

// server is one session with one editor.
type server struct {
	opt     Options
	rpc     *jrpc2.Server
	hangUp  func()
	ctx     context.Context // ends with the session
	mu      sync.Mutex
	folders []string             // that the editor has open
	docs    map[string]*document // by path
	places  map[string]*checkout // by folder of a file
	checks  map[string]check     // by path of an open file, what compiling it as a pipeline gave
	edits   int                  // counts what may change the result of a check
	shown   map[string]string    // by URI, the findings that were sent last
	timer   *time.Timer
	utf32   bool
	ended   bool // by shutdown, as the protocol wants
	busy    sync.WaitGroup
	turn    sync.Mutex // one check at a time
}

// document is an open file.
type document struct {
	uri  string
	path string
	text []byte
}

// check is what compiling an open file gave.
type check struct {
	place  *checkout
	result editor.Checked
	stale  bool // a file changed since; until the next check it is the best there is
}

// Serve speaks the protocol until the client leaves.
func Serve(ctx context.Context, in io.Reader, out io.WriteCloser, opt Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &server{opt: opt, ctx: ctx, docs: map[string]*document{}, places: map[string]*checkout{}, checks: map[string]check{}, shown: map[string]string{}}
	s.rpc = jrpc2.NewServer(s.methods(), &jrpc2.ServerOptions{AllowPush: true, DisableBuiltin: true, NewContext: func() context.Context { return ctx }})
	// A read of stdin cannot be interrupted, so it has a goroutine that may stay
	// behind: editors wait for the end of the process, not for that of its input.
	pr, pw := io.Pipe()
	go func() {
		_, err := io.Copy(pw, in)
		_ = pw.CloseWithError(err)
	}()
	s.hangUp = func() {
		_ = pr.Close()
		s.rpc.Stop()
	}
	s.rpc.Start(channel.LSP(pr, out))
	stop := context.AfterFunc(ctx, s.hangUp)
	defer stop()
	err := s.rpc.Wait()
	interrupted := ctx.Err() != nil
	s.mu.Lock()
	if s.timer != nil && s.timer.Stop() {
		s.busy.Done()
	}
	ended := s.ended
	s.mu.Unlock()
	cancel()
	s.busy.Wait()
	s.forget()
	switch {
	case ended || interrupted:
		return nil
	case err != nil && !errors.Is(err, io.EOF):
		return fault.Wrap(err, fault.Unavailable, "editor-gone", "the connection to the editor broke off")
	default:
		return fault.New(fault.Unavailable, "editor-gone", "the editor left without saying so")
	}
}

func (s *server) methods() handler.Map {
	return handler.Map{
		"initialize":                       request(s.initialize),
		"initialized":                      ignore,
		"shutdown":                         request(s.shutdown),
		"exit":                             request(s.exit),
		"$/cancelRequest":                  request(s.cancel),
		"$/setTrace":                       ignore,
		"textDocument/didOpen":             request(s.didOpen),
		"textDocument/didChange":           request(s.didChange),
		"textDocument/didClose":            request(s.didClose),
		"textDocument/didSave":             request(s.didSave),
		"workspace/didChangeConfiguration": request(s.didConfigure),
		"workspace/didChangeWatchedFiles":  request(s.didSave),
		"textDocument/hover":               request(s.hover),
		"textDocument/completion":          request(s.complete),
		"textDocument/definition":          request(s.definition),
		"textDocument/prepareRename":       request(s.prepareRename),
		"textDocument/rename":              request(s.rename),
		"textDocument/documentSymbol":      request(s.symbols),
	}
}

// request reads the parameters of a message. An error of ours becomes one of
// the protocol's, in words.
func request[P any](f func(context.Context, P) (any, error)) jrpc2.Handler {
	return func(ctx context.Context, req *jrpc2.Request) (any, error) {
		var p P
		if req.HasParams() {
			if err := req.UnmarshalParams(&p); err != nil {
				return nil, err
			}
		}
		result, err := f(ctx, p)
		if err != nil {
			return nil, jrpc2.Errorf(requestFailed, "%s", err)
		}
		return result, nil
	}
}

// requestFailed is the protocol's code for a request that cannot be met.
const requestFailed jrpc2.Code = -32803

func ignore(context.Context, *jrpc2.Request) (any, error) { return nil, nil }

type nothing struct{}

func (s *server) initialize(_ context.Context, p initializeParams) (any, error) {
	encoding := "utf-16"
	if slices.Contains(p.Capabilities.General.PositionEncodings, "utf-32") {
		encoding = "utf-32"
	}
	s.mu.Lock()
	s.utf32 = encoding == "utf-32"
	for _, f := range p.WorkspaceFolders {
		if path, ok := pathOf(f.URI); ok {
			s.folders = append(s.folders, path)
		}
	}
	if path, ok := pathOf(p.RootURI); ok && len(s.folders) == 0 {
		s.folders = []string{path}
	}
	s.mu.Unlock()
	s.configure(p.InitializationOptions)
	return map[string]any{
		"capabilities": capabilities(encoding),
		"serverInfo":   map[string]string{"name": "penstock", "version": s.opt.Version},
	}, nil
}

func (s *server) shutdown(context.Context, nothing) (any, error) {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	return nil, nil
}

func (s *server) exit(context.Context, nothing) (any, error) {
	go s.hangUp() // it waits for this very call
	return nil, nil
}

func (s *server) cancel(_ context.Context, p struct {
	ID json.RawMessage `json:"id"`
}) (any, error) {
	s.rpc.CancelRequest(string(p.ID))
	return nil, nil
}

// configure takes over what the client set; flags of the command stay.
func (s *server) configure(c *settings) {
	if c == nil {
		return
	}
	s.mu.Lock()
	w := &s.opt.Workspace
	w.Repos = merged(w.Repos, c.Repositories)
	w.Parameters = merged(w.Parameters, c.Parameters)
	w.Variables = merged(w.Variables, c.Variables)
	s.mu.Unlock()
	s.forget()
}

func merged(a, b map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range a {
		out[k] = v
	}
	for k, v := range b {
		out[k] = v
	}
	return out
}

// forget closes all folders and drops what was found in them.
func (s *server) forget() {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.places {
		if c.disk != nil {
			c.disk.Close()
		}
	}
	s.edits++
	s.places, s.checks = map[string]*checkout{}, map[string]check{}
}

func (s *server) didConfigure(_ context.Context, p configurationParams) (any, error) {
	s.configure(p.Settings.Penstock)
	s.later()
	return nil, nil
}

func (s *server) didOpen(_ context.Context, p documentParams) (any, error) {
	s.change(p.TextDocument.URI, []byte(p.TextDocument.Text))
	return nil, nil
}

func (s *server) didChange(_ context.Context, p changeParams) (any, error) {
	if n := len(p.ContentChanges); n > 0 {
		s.change(p.TextDocument.URI, []byte(p.ContentChanges[n-1].Text))
	}
	return nil, nil
}

func (s *server) change(uri string, text []byte) {
	path, ok := pathOf(uri)
	if !ok {
		return
	}
	s.mu.Lock()
	s.docs[path] = &document{uri: uri, path: path, text: text}
	s.outdate(path)
	s.mu.Unlock()
	s.later()
}

// outdate marks every check that read a file, or could not find one.
func (s *server) outdate(path string) {
	s.edits++
	for root, c := range s.checks {
		stale := root == path
		for id, diags := range c.result.Diagnostics {
			stale = stale || c.place.path(id) == path
			for _, d := range diags {
				stale = stale || d.Code == "file-not-found"
			}
		}
		c.stale = c.stale || stale
		s.checks[root] = c
	}
}

func (s *server) didClose(_ context.Context, p documentParams) (any, error) {
	if path, ok := pathOf(p.TextDocument.URI); ok {
		s.mu.Lock()
		delete(s.docs, path)
		delete(s.checks, path)
		s.outdate(path)
		s.mu.Unlock()
		s.later()
	}
	return nil, nil
}

// didSave also hears of files that changed beside the editor.
func (s *server) didSave(context.Context, nothing) (any, error) {
	s.mu.Lock()
	s.edits++
	for root, c := range s.checks {
		c.stale = true
		s.checks[root] = c
	}
	s.mu.Unlock()
	s.later()
	return nil, nil
}

// later checks once nothing has changed for a while.
func (s *server) later() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil && s.timer.Stop() {
		s.busy.Done()
	}
	s.busy.Add(1)
	s.timer = time.AfterFunc(s.opt.Delay, func() {
		defer s.busy.Done()
		s.publish(s.ctx)
	})
}
