// Package pages holds the templates of the web pages and the shapes they draw.
// It decides nothing: what is shown, and what may be done, is handed to it.
package pages

import (
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
)

// Frame is what surrounds every page: where the reader is, who the reader is,
// and the status line.
type Frame struct {
	Organization string
	Project      string // name, "" outside of projects
	Area         string // board, code, pulls, runs, apps, monitor, approvals, environments, agents, admin
	Title        string
	User         string
	Admin        bool // reads the audit log
	Theme        string
	Version      string
	Now          time.Time
	Keys         []string // what the page listens to
	Poll         int      // milliseconds between looks of its own, 0 = only when told
	Scripts      []string
	Charts       bool
	Live         bool // asked for by the script of an open page
	Flash        *Flash
	Status       Status
	Permalink    string
}

// Flash is the answer to the reader's own last action.
type Flash struct {
	Text string
	Bad  bool
}

// Status is the status line.
type Status struct {
	Running  int
	Pulls    int
	ForYou   int
	Swaps    []string
	Healthy  int
	Machines int
}

// P is the address of the project.
func (f *Frame) P() string { return "/" + f.Organization + "/" + Seg(f.Project) }

// At is an address below the project.
func (f *Frame) At(parts ...string) string {
	list := []string{f.P()}
	for _, p := range parts {
		list = append(list, Seg(p))
	}
	return strings.Join(list, "/")
}

// PageTitle is what the browser's tab says.
func (f *Frame) PageTitle() string {
	parts := []string{}
	for _, p := range []string{f.Title, f.Project, "Penstock"} {
		if p != "" && (len(parts) == 0 || parts[len(parts)-1] != p) {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, " · ")
}

// ErrorView is an error as a page.
type ErrorView struct {
	Status int
	Title  string
	Kind   string
	Fault  *fault.Error
	Trace  string // ours to look for
	SignIn string // address, where signing in is the next step
}

// Item is one line of the command palette.
type Item struct {
	Text string `json:"text"`
	Kind string `json:"kind"`
	URL  string `json:"url"`
	Post bool   `json:"post,omitempty"`
	Why  string `json:"why,omitempty"` // why it cannot be done now
}
