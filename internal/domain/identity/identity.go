package identity

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/store"
)

// User is a person who can sign in.
type User struct {
	store.Revision
	ID           string    `col:"id" json:"id"`
	Name         string    `col:"name" json:"name"` // sign-in name, lower case
	DisplayName  string    `json:"displayName"`
	PasswordHash string    `json:"passwordHash"` // argon2id, PHC form
	Disabled     bool      `json:"disabled"`
	Created      time.Time `json:"created"`
}

// Group is a named set of users of a project; approvers name groups as
// [project]\Name.
type Group struct {
	store.Revision
	ID        string   `col:"id" json:"id"`
	ProjectID string   `col:"project_id" json:"projectId"` // "" = the organization
	Name      string   `json:"name"`
	Members   []string `json:"members"` // user ids
}

// Grant gives a user a role, on a project or on the server.
type Grant struct {
	store.Revision
	ID        string `col:"id" json:"id"`
	UserID    string `col:"user_id" json:"userId"`
	ProjectID string `col:"project_id" json:"projectId"` // "" = every project
	Role      Role   `json:"role"`
}

// TokenKind tells credentials apart.
type TokenKind string

// The kinds of token.
const (
	PersonalToken TokenKind = "personal" // a user's personal access token
	SessionToken  TokenKind = "session"  // a browser's sign-in
	AgentToken    TokenKind = "agent"    // an agent's own key
	JoinToken     TokenKind = "join"     // registers one agent, once
	JobToken      TokenKind = "job"      // System.AccessToken of one job
)

// Token is a credential; only its SHA-256 is stored.
type Token struct {
	store.Revision
	ID      string    `col:"id" json:"id"`
	Hash    string    `col:"hash" json:"hash"`
	Kind    TokenKind `col:"kind" json:"kind"`
	OwnerID string    `col:"owner_id" json:"ownerId"` // user, agent or job id
	Name    string    `json:"name"`
	Scopes  []string  `json:"scopes"` // personal: empty = everything the user may do
	Created time.Time `json:"created"`
	Expires time.Time `col:"expires" json:"expires"` // zero = never
	Used    time.Time `json:"used"`

	// A job token acts for its project only; a join token says what it makes.
	ProjectID   string   `json:"projectId,omitempty"`
	RunID       string   `json:"runId,omitempty"`
	Pool        string   `json:"pool,omitempty"`
	Environment string   `json:"environment,omitempty"` // id
	VM          string   `json:"vm,omitempty"`          // id of the VM the agent will serve
	Tags        []string `json:"tags,omitempty"`
}

// Subject is whoever makes a request.
type Subject struct {
	Kind    SubjectKind
	ID      string // user, agent or job id
	Name    string // for people and the audit log
	Project string // job: the only project it may act on
	Run     string // job: its run
	Scopes  []string
	grants  []Grant
	writes  bool // job: may push
}

// SubjectKind tells who is behind a request.
type SubjectKind string

// The kinds of subject. Nobody is the zero value.
const (
	Nobody     SubjectKind = ""
	UserKind   SubjectKind = "user"
	AgentKind  SubjectKind = "agent"
	JobKind    SubjectKind = "job"
	SystemKind SubjectKind = "system" // the server acting on its own
)

// System is the server itself, for what starts without a request.
func System() Subject { return Subject{Kind: SystemKind, ID: "system", Name: "system"} }

// NewUser checks the fields of a user to be created.
func NewUser(id, name, displayName string, now time.Time) (*User, error) {
	name = strings.ToLower(strings.TrimSpace(name))
	if err := CheckName("user name", name); err != nil {
		return nil, err
	}
	if displayName == "" {
		displayName = name
	}
	return &User{ID: id, Name: name, DisplayName: displayName, Created: now}, nil
}

// CheckTitle is CheckName for what people name more freely, such as service
// connections and variable groups: signs as in `me@host` or `Shop (prod)` are in
// order, those that paths, lists and patterns are made of are not.
func CheckTitle(what, name string) error {
	const longest = 128
	first, _ := utf8.DecodeRuneInString(name)
	if name == "" || utf8.RuneCountInString(name) > longest || !utf8.ValidString(name) || strings.HasSuffix(name, " ") || strings.Contains(name, "..") ||
		!unicode.IsLetter(first) && !unicode.IsDigit(first) && !strings.ContainsRune("([@_", first) ||
		strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || strings.ContainsRune(`/\<>"|*?#%$,;`, r) }) {
		return fault.New(fault.Invalid, "invalid-name", "%s %q is not usable", what, name).
			Want("1 to %d characters, none of / \\ < > \" | * ? # %% $ , ; and beginning with a letter or digit", longest)
	}
	return nil
}

// CheckName refuses names that could be mistaken for paths, options or API
// areas. It holds for every name a person gives to an object.
func CheckName(what, name string) error {
	bad := fault.New(fault.Invalid, "invalid-name", "%s %q is not usable", what, name).
		Want("1 to 64 letters, digits, spaces, '-', '_' or '.', beginning with a letter or digit")
	if name == "" || len(name) > 64 || strings.HasSuffix(name, ".") || strings.Contains(name, "..") {
		return bad
	}
	for i, r := range name {
		alnum := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r > 127
		if !alnum && (i == 0 || !strings.ContainsRune("-_. ", r)) {
			return bad
		}
	}
	return nil
}
