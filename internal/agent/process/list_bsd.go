//go:build unix && !linux

package process

import (
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// proc is one process of the machine.
type proc struct {
	id, parent, group int
	text              string // command and environment, of one's own processes
}

func processes() []proc {
	out, err := exec.Command("ps", "-axEww", "-o", "pid=,ppid=,pgid=,command=").Output()
	if err != nil {
		return nil
	}
	var list []proc
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			continue
		}
		pid, err1 := strconv.Atoi(fields[0])
		parent, err2 := strconv.Atoi(fields[1])
		group, err3 := strconv.Atoi(fields[2])
		if errors.Join(err1, err2, err3) == nil {
			list = append(list, proc{pid, parent, group, line})
		}
	}
	return list
}

// marked says whether a process carries the mark of a job in its environment.
func (p proc) marked(mark string) bool { return strings.Contains(p.text, Marker+"="+mark) }

// signal reaches a process that was just seen with the mark.
func (p proc) signal(_ string, sig syscall.Signal) bool { return syscall.Kill(p.id, sig) == nil }
