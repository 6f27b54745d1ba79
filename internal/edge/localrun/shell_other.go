//go:build !unix

package localrun

import (
	"errors"
	"os/exec"
)

// terminals says whether a shell can be given a terminal here.
const terminals = false

func (s *Shell) attach(*exec.Cmd, *screen) error {
	return errors.New("this system has no such terminals")
}
