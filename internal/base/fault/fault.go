// Package fault holds the one error shape that people meet: a kind that every
// edge maps once (to an exit code, an HTTP status), a stable code, and the four
// answers an error owes its reader: where, expected, found, what to do.
package fault

import (
	"errors"
	"fmt"
)

// Kind says whose move it is. Kinds are append-only because they cross the wire.
type Kind int

// The six kinds. Internal is the zero value on purpose: an error nobody
// classified is ours.
const (
	Internal    Kind = iota // our fault
	Invalid                 // the input cannot be accepted as it is
	Denied                  // not signed in, or not permitted
	NotFound                // no such object
	Conflict                // someone else changed or holds it; look, then try again
	Unavailable             // something did not answer; trying again may help
)

var kindNames = [...]string{"internal", "invalid", "denied", "notFound", "conflict", "unavailable"}

// String returns the kind's wire name.
func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return "internal"
	}
	return kindNames[k]
}

// ParseKind is the inverse of String; an unknown name is Internal.
func ParseKind(name string) Kind {
	for i, n := range kindNames {
		if n == name {
			return Kind(i)
		}
	}
	return Internal
}

// Error is an error for people. Code is a lower-case word that is never reused.
type Error struct {
	Kind     Kind   `json:"-"`
	Code     string `json:"code"`
	Message  string `json:"message"`
	Where    string `json:"where,omitempty"`
	Expected string `json:"expected,omitempty"`
	Found    string `json:"found,omitempty"`
	Do       string `json:"do,omitempty"`
	Err      error  `json:"-"`
}

// Error returns the message, followed by its cause.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New makes an error of a kind with a stable code.
func New(kind Kind, code, format string, args ...any) *Error {
	return &Error{Kind: kind, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Wrap makes an error of a kind that keeps its cause.
func Wrap(err error, kind Kind, code, format string, args ...any) *Error {
	e := New(kind, code, format, args...)
	e.Err = err
	return e
}

// At says where. It returns the error, as the next three do, so that an error
// reads as a sentence where it is made.
func (e *Error) At(format string, args ...any) *Error {
	e.Where = fmt.Sprintf(format, args...)
	return e
}

// Want says what was expected.
func (e *Error) Want(format string, args ...any) *Error {
	e.Expected = fmt.Sprintf(format, args...)
	return e
}

// Got says what was found.
func (e *Error) Got(format string, args ...any) *Error {
	e.Found = fmt.Sprintf(format, args...)
	return e
}

// Try says what to do.
func (e *Error) Try(format string, args ...any) *Error {
	e.Do = fmt.Sprintf(format, args...)
	return e
}

// KindOf returns the kind of the first Error in err's chain, else Internal.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// CodeOf returns the code of the first Error in err's chain, else "internal".
func CodeOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return "internal"
}

// Is reports whether err is of the kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }
