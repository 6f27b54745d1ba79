// Package detached runs programs that outlive the process that starts them, and
// finds them again: each in a session of its own, so that it can be ended with
// everything it started.
package detached

import "os"

// Spec is a program to run.
type Spec struct {
	Folder string   // holds its process id and console.log; identifies it
	Args   []string // the first is the program
	Env    []string // added to PATH, HOME and LANG
	Extra  []*os.File
}
