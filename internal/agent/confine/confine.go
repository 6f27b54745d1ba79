// Package confine runs this program again, closed in: as an unprivileged user in
// namespaces of its own, with a file system that holds the system's programs and
// one work folder, and with a network that is nothing but a proxy. What is closed
// in runs code that nobody has read yet.
package confine

import (
	"io"
	"os"
)

// Spec is what a cell is made of.
type Spec struct {
	Role     string   // argument by which the program knows what to do inside; see Inside
	Work     string   // the folder that can be written; it keeps its path
	ReadOnly []string // folders beside the system's that can be read, at their paths
	Env      []string // the whole environment, but for the proxy
	Reach    []string // host:port that can be reached although they are private
	Limits   Limits
	Console  io.Writer // what the program says of itself; nil = nobody reads it
}

// Limits bound what a cell uses, where the kernel lets this process set them.
type Limits struct {
	Memory    int64 // bytes; 0 = three quarters of the machine's
	Processes int   // 0 = 4096
}

// Cell is a running program, closed in.
type Cell struct {
	In  io.WriteCloser // its stdin
	Out *os.File       // what it writes to Output
	// Unlimited says why its use of memory and processes is not bounded; "" = it
	// is.
	Unlimited string

	wait func() error
	kill func()
}

// Wait returns when the program, and with it everything it started, has ended.
func (c *Cell) Wait() error { return c.wait() }

// Kill ends it and everything it started.
func (c *Cell) Kill() { c.kill() }

// argument makes the program a confined one; the next argument is its role.
const argument = "penstock-confined"

// outputFile is the descriptor that Output returns.
const outputFile = 3
