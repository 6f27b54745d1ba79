// Package demo tells the story of a release as a person would live it: with
// git over HTTP and the REST API, under the accounts of four people. It has no
// private door.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rest"
	"penstock.dev/penstock/internal/base/rootfs"
)

// Options are what the demo needs from whoever starts it.
type Options struct {
	Server       string // http://localhost:7420
	Organization string
	Token        string // of a server administrator
	DNS          string // host:port of the name server
	Gateway      string // host:port of the gateway
	Folder       string // for work trees and the report
	Out          io.Writer
	Fast         bool // no pauses for a reader
	Rate         int  // requests per second of the load generator; 0 = 400
	Color        bool
}

// Names of the story.
const (
	projectName = "shop"
	repoName    = "storefront"
	appName     = "storefront"
	vaultName   = "storefront-kv"
)

// story is the demo while it is told.
type story struct {
	Options
	ctx     context.Context
	began   time.Time
	chapter int
	step    int
	good    int
	report  []Entry

	http   *http.Client
	people map[string]*person
	ci     int // the last integration run before the merge of the story
}

// person is one account.
type person struct {
	name  string
	token string
	work  string // the person's work tree
}

// Entry is one line of the report.
type Entry struct {
	Step    string  `json:"step"`
	OK      bool    `json:"ok"`
	Text    string  `json:"text"`
	Command string  `json:"command,omitempty"`
	Second  float64 `json:"second"`
}

// Run tells the story from its beginning; what is there already is used. It
// returns an error with code demo-step-failed at the first step that does not
// do what it should.
func Run(ctx context.Context, o Options) error {
	if o.Rate == 0 {
		o.Rate = 400
	}
	s := &story{Options: o, ctx: ctx, began: time.Now(), people: map[string]*person{}, http: &http.Client{Timeout: 3 * time.Minute}}
	if err := os.MkdirAll(o.Folder, 0o700); err != nil {
		return err
	}
	fmt.Fprintf(o.Out, "Penstock demo · story “main” · server %s\n", o.Server)
	err := s.tell()
	file := filepath.Join(o.Folder, "report.json")
	if data, mErr := json.MarshalIndent(s.report, "", "  "); mErr == nil {
		_ = rootfs.WriteFile(file, data, 0o600)
	}
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.line("✗", err.Error(), "")
		e := fault.Wrap(err, fault.Invalid, "demo-step-failed", "step %d.%d did not do what it should", s.chapter, s.step)
		return e.Try("look at the last lines, and at the report: %s", file)
	}
	s.finish()
	return nil
}

func (s *story) tell() error {
	for _, chapter := range []struct {
		title string
		act   func() error
	}{
		{"Set up", s.setUp},
		{"The first release", s.firstRelease},
		{"A pull request that must not pass", s.pullRequest},
		{"Continuous integration and delivery", s.delivery},
		{"A faulty release goes out and comes back by itself", s.faulty},
		{"A good release, taken back by hand", s.byHand},
	} {
		s.chapter++
		s.step = 0
		s.title(chapter.title)
		if err := chapter.act(); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) elapsed() string {
	d := time.Since(s.began)
	return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}

func (s *story) title(text string) {
	fmt.Fprintf(s.Out, "\n %d %-76s %s\n", s.chapter, text, s.elapsed())
}

// done reports a step that did what it should; command repeats it by hand.
func (s *story) done(command, format string, args ...any) {
	s.step++
	s.good++
	text := fmt.Sprintf(format, args...)
	s.report = append(s.report, Entry{Step: fmt.Sprintf("%d.%d", s.chapter, s.step), OK: true, Text: text, Command: command, Second: time.Since(s.began).Seconds()})
	s.line("✓", text, command)
	s.rest()
}

// note tells something on the way that is no step of its own.
func (s *story) note(mark, format string, args ...any) {
	s.line(mark, fmt.Sprintf(format, args...), "")
}

func (s *story) line(mark, text, command string) {
	if s.Color {
		mark = map[string]string{"✓": "\x1b[32m✓\x1b[0m", "✗": "\x1b[31m✗\x1b[0m", "⏸": "\x1b[35m⏸\x1b[0m"}[mark]
	}
	if command != "" {
		pad := max(2, 78-len([]rune(text)))
		text += strings.Repeat(" ", pad) + command
	}
	fmt.Fprintf(s.Out, "   %s %s\n", mark, text)
}

func (s *story) rest() {
	if s.Fast {
		return
	}
	timer := time.NewTimer(700 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-s.ctx.Done():
	case <-timer.C:
	}
}

func (s *story) finish() {
	fmt.Fprintf(s.Out, "\nStory told in %s: %d steps as expected, 0 not.\n\n", s.elapsed(), s.good)
	_, port, _ := strings.Cut(s.Gateway, ":")
	base := s.Server + "/" + s.Organization + "/" + projectName
	fmt.Fprintf(s.Out, " Board       %s\n Application %s\n Charts      %s\n Production  http://storefront.localhost:%s\n Staging     http://staging.storefront.localhost:%s\n",
		base, base+"/apps/"+appName, base+"/monitor/"+appName, port, port)
	fmt.Fprintf(s.Out, " Signed in as ada, grace or lin?  penstock user password ada\n Everything keeps running. Your turn: penstock swap %s     End: penstock down --purge\n", appName)
}

// as returns the API as a person sees it.
func (s *story) as(name string) *rest.Client {
	token := s.Token
	if p := s.people[name]; p != nil {
		token = p.token
	}
	return &rest.Client{Base: s.Server + "/" + s.Organization, Token: token, HTTP: s.http}
}

// call sends a request as a person; the path begins at the organization.
func (s *story) call(who, method, path string, in, out any) error {
	return s.as(who).JSON(s.ctx, method, path, in, out)
}

// inProject prefixes a path with the project.
func inProject(path string) string { return "/" + projectName + path }

// fails expects an error with a kind; anything else is the error.
func fails(err error, kind fault.Kind, what string) error {
	if err == nil {
		return errors.New(what + " was accepted; it must be refused")
	}
	if !fault.Is(err, kind) {
		return fmt.Errorf("%s: refused for another reason: %w", what, err)
	}
	return nil
}

// until asks again and again until ok says so.
func (s *story) until(what string, limit time.Duration, ok func() (bool, error)) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(150 * time.Millisecond)
	defer tick.Stop()
	for {
		yes, err := ok()
		if err != nil || yes {
			return err
		}
		select {
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-deadline.C:
			return fmt.Errorf("%s: not within %s", what, limit)
		case <-tick.C:
		}
	}
}
