package process

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// proc is one process of the machine.
type proc struct{ id, parent, group int }

func processes() []proc {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var list []proc
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		// The name stands in parentheses and may hold anything.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) < 3 {
			continue
		}
		parent, _ := strconv.Atoi(fields[1])
		group, _ := strconv.Atoi(fields[2])
		list = append(list, proc{pid, parent, group})
	}
	return list
}

// marked says whether a process carries the mark of a job in its environment.
func (p proc) marked(mark string) bool {
	env, err := os.ReadFile("/proc/" + strconv.Itoa(p.id) + "/environ")
	return err == nil && bytes.Contains(append([]byte{0}, env...), []byte("\x00"+Marker+"="+mark+"\x00"))
}

// signal reaches a process, if it still carries the mark: its number may belong to
// another one by now. A descriptor holds on to the process between the look and
// the signal; a kernel without them leaves a moment.
func (p proc) signal(mark string, sig unix.Signal) bool {
	fd, err := unix.PidfdOpen(p.id, 0)
	if errors.Is(err, unix.ENOSYS) {
		return p.marked(mark) && unix.Kill(p.id, sig) == nil
	}
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	return p.marked(mark) && unix.PidfdSendSignal(fd, sig, nil, 0) == nil
}
