//go:build !unix

package gitcli

import "os/exec"

// endTogether does nothing: a cancelled git ends, and its helpers with their
// closed pipes.
func endTogether(*exec.Cmd) {}
