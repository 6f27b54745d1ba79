package memstore

import (
	"bytes"
	"context"
	"os"
	"sort"
	"strings"
	"sync"

	"penstock.dev/penstock/internal/base/fault"
)

// Logs keeps the output of steps: the text in one file, since it may be large,
// and in memory where everything is.
type Logs struct {
	mu   sync.RWMutex
	file *os.File
	size int64
	logs map[string]*text
}

// text is one log: the pieces of the file that it consists of, and where its
// lines end.
type text struct {
	size   int64
	pieces []piece
	ends   []int64
}

// piece is a part of a log: n bytes from start on lie at a place in the file.
type piece struct {
	start, n, at int64
}

// OpenLogs keeps logs in a new file, which goes with Close.
func OpenLogs(name string) (*Logs, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return &Logs{file: f, logs: map[string]*text{}}, nil
}

// Close forgets the logs.
func (l *Logs) Close() error {
	err := l.file.Close()
	_ = os.Remove(l.file.Name())
	return err
}

// Append adds data at an offset in bytes, -1 = the end, and returns the new end
// and how many lines are complete. What is there already is left as it is; a gap
// is a Conflict error log-gap.
func (l *Logs) Append(_ context.Context, log string, offset int64, data []byte) (end int64, lines int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.logs[log]
	if t == nil {
		t = &text{}
		l.logs[log] = t
	}
	switch {
	case offset < 0:
	case offset > t.size:
		return t.size, len(t.ends), fault.New(fault.Conflict, "log-gap", "bytes of the log are missing").Want("offset %d", t.size).Got("%d", offset)
	case offset+int64(len(data)) <= t.size:
		return t.size, len(t.ends), nil
	default:
		data = data[t.size-offset:]
	}
	if _, err := l.file.WriteAt(data, l.size); err != nil {
		return t.size, len(t.ends), err
	}
	for i := 0; ; {
		n := bytes.IndexByte(data[i:], '\n')
		if n < 0 {
			break
		}
		i += n + 1
		t.ends = append(t.ends, t.size+int64(i))
	}
	t.pieces = append(t.pieces, piece{t.size, int64(len(data)), l.size})
	t.size += int64(len(data))
	l.size += int64(len(data))
	return t.size, len(t.ends), nil
}

// Lines returns lines from a number on, counted from 1, and how many are
// complete. A last line without its end counts when it is alone.
func (l *Logs) Lines(_ context.Context, log string, from, limit int) ([]string, int, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	t := l.logs[log]
	if t == nil {
		return nil, 0, nil
	}
	first := max(from, 1) - 1
	if first > len(t.ends) || limit <= 0 {
		return nil, len(t.ends), nil
	}
	begin, end := int64(0), t.size
	if first > 0 {
		begin = t.ends[first-1]
	}
	if limit <= len(t.ends)-first {
		end = t.ends[first+limit-1]
	}
	if begin == end {
		return nil, len(t.ends), nil
	}
	data, err := l.read(t, begin, end)
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n"), len(t.ends), err
}

func (l *Logs) read(t *text, begin, end int64) ([]byte, error) {
	out := make([]byte, 0, end-begin)
	i := sort.Search(len(t.pieces), func(i int) bool { return t.pieces[i].start+t.pieces[i].n > begin })
	for ; i < len(t.pieces) && t.pieces[i].start < end; i++ {
		p := t.pieces[i]
		from, to := max(begin-p.start, 0), min(end-p.start, p.n)
		at := len(out)
		out = out[:at+int(to-from)]
		if _, err := l.file.ReadAt(out[at:], p.at+from); err != nil {
			return nil, err
		}
	}
	return out, nil
}
