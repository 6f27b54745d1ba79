package spool

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/run"
)

// Entry is what is kept of one job. It is used by one goroutine at a time.
type Entry struct {
	Job

	dir     string
	limit   int64
	scratch bool
	size    int64 // of all log pieces
	logs    map[int]*stepLog
	out     *os.File // the piece that is being written
	outStep int
	journal *os.File
	written int64 // bytes of the journal
	latest  map[int]Said
	shifts  map[int]int64
	order   []int
}

type stepLog struct {
	pieces []piece // in order; none is empty but the last
}

type piece struct{ from, size int64 }

func (p piece) end() int64 { return p.from + p.size }

// pieceSize is how long a piece of a log grows, in bytes: so much is kept at most
// of what the server has already.
const pieceSize = 4 << 20

// Begun notes that steps of the job may run from now on.
func (e *Entry) Begun() error { return e.keep("begun", nil) }

// HasBegun says whether steps of the job may have run.
func (e *Entry) HasBegun() bool {
	_, err := os.Stat(filepath.Join(e.dir, "begun"))
	return err == nil
}

// Append adds bytes to a step's log at an offset, which is the end of what was
// added before unless the bytes between went another way. More than the limit is
// an Unavailable error spool-full; then, and where the disk is full, nothing was
// added.
func (e *Entry) Append(step int, offset int64, data []byte) error {
	if e.size+int64(len(data)) > e.limit {
		return fault.New(fault.Unavailable, "spool-full", "more of a log waits for the server than may").Want("at most %d bytes of a job", e.limit)
	}
	l := e.logs[step]
	if l == nil {
		l = &stepLog{}
		e.logs[step] = l
	}
	p, err := e.writable(step, l, offset)
	if err != nil {
		e.dropEmpty(l)
		return err
	}
	if _, err := e.out.WriteAt(data, p.size); err != nil {
		_ = e.out.Truncate(p.size)
		e.dropEmpty(l)
		return err
	}
	p.size += int64(len(data))
	e.size += int64(len(data))
	return nil
}

// writable opens the piece of a log that goes on at an offset.
func (e *Entry) writable(step int, l *stepLog, offset int64) (*piece, error) {
	last := len(l.pieces) - 1
	goesOn := last >= 0 && l.pieces[last].end() == offset && l.pieces[last].size < pieceSize
	if goesOn && e.out != nil && e.outStep == step {
		return &l.pieces[last], nil
	}
	e.closeOut()
	e.outStep = step
	var err error
	if goesOn {
		e.out, err = os.OpenFile(e.file(step, l.pieces[last].from), os.O_RDWR, 0)
		if !errors.Is(err, fs.ErrNotExist) { // somebody has removed it: a new one begins
			return &l.pieces[last], err
		}
	}
	l.pieces = append(l.pieces, piece{from: offset})
	e.out, err = os.OpenFile(e.file(step, offset), os.O_CREATE|os.O_RDWR, 0o600)
	return &l.pieces[last+1], err
}

// dropEmpty takes back a piece that was begun for bytes that could not be written.
func (e *Entry) dropEmpty(l *stepLog) {
	if last := len(l.pieces) - 1; last >= 0 && l.pieces[last].size == 0 {
		e.closeOut()
		l.pieces = l.pieces[:last]
	}
}

func (e *Entry) file(step int, from int64) string {
	return filepath.Join(e.dir, fmt.Sprintf("log-%d-%d", step, from))
}

func (e *Entry) closeOut() {
	if e.out != nil {
		_ = e.out.Close()
	}
	e.out = nil
}

// Steps lists the steps with a log, in order.
func (e *Entry) Steps() []int {
	var list []int
	for step := range e.logs {
		list = append(list, step)
	}
	slices.Sort(list)
	return list
}

// Extent is which bytes of a step's log are here: from the first to before the
// end; both 0: none.
func (e *Entry) Extent(step int) (first, end int64) {
	l := e.logs[step]
	if l == nil || len(l.pieces) == 0 {
		return 0, 0
	}
	return l.pieces[0].from, l.pieces[len(l.pieces)-1].end()
}

// Next is where what is here goes on behind a piece that cannot be read: the begin
// of the next one, or the end.
func (e *Entry) Next(step int, offset int64) int64 {
	_, end := e.Extent(step)
	for _, p := range e.logs[step].pieces {
		if p.from > offset {
			return p.from
		}
	}
	return end
}

// Shift is by how much a log has other offsets on the server, because bytes went
// straight there or a remark was put in; 0: by nothing.
func (e *Entry) Shift(step int) int64 { return e.shifts[step] }

// SetShift keeps the shift of a log.
func (e *Entry) SetShift(step int, n int64) error {
	if e.shifts[step] == n {
		return nil
	}
	e.shifts[step] = n
	data, err := json.Marshal(e.shifts)
	if err != nil {
		return err
	}
	return e.keep("shifts.json", data)
}

// Read returns bytes of a step's log from an offset on, at most limit; none where
// that lies outside of what is here.
func (e *Entry) Read(step int, offset int64, limit int) ([]byte, error) {
	l := e.logs[step]
	if l == nil {
		return nil, nil
	}
	for _, p := range l.pieces {
		if offset < p.from || offset >= p.end() {
			continue
		}
		data := make([]byte, min(int64(limit), p.end()-offset))
		f, own := e.out, false
		if f == nil || e.outStep != step || p != l.pieces[len(l.pieces)-1] {
			var err error
			if f, err = os.Open(e.file(step, p.from)); err != nil {
				return nil, err
			}
			own = true
		}
		_, err := f.ReadAt(data, offset-p.from)
		if own {
			err = errors.Join(err, f.Close())
		}
		return data, err
	}
	return nil, nil
}

// Release forgets what lies before an offset, in whole pieces.
func (e *Entry) Release(step int, offset int64) {
	l := e.logs[step]
	for l != nil && len(l.pieces) > 0 {
		p := l.pieces[0]
		if p.end() > offset || len(l.pieces) == 1 && p.size < pieceSize {
			return
		}
		if len(l.pieces) == 1 && e.outStep == step {
			e.closeOut()
		}
		_ = os.Remove(e.file(step, p.from))
		e.size -= p.size
		l.pieces = l.pieces[1:]
	}
}

// maxJournal is how long the journal of reports grows before it is written anew,
// in bytes.
const maxJournal = 4 << 20

// Report keeps what was said of a step.
func (e *Entry) Report(s Said) error {
	e.remember(s)
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if e.journal == nil {
		if e.journal, err = os.OpenFile(filepath.Join(e.dir, "reports.jsonl"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
			return err
		}
	}
	n, err := e.journal.Write(append(data, '\n'))
	e.written += int64(n)
	if err == nil && e.written > maxJournal {
		err = e.compact()
	}
	return err
}

func (e *Entry) remember(s Said) {
	if _, known := e.latest[s.Report.Order]; !known {
		e.order = append(e.order, s.Report.Order)
	}
	e.latest[s.Report.Order] = s
}

// compact writes the journal anew, with the last word on each step.
func (e *Entry) compact() error {
	_ = e.journal.Close()
	e.journal = nil
	var b bytes.Buffer
	for _, order := range e.order {
		data, err := json.Marshal(e.latest[order])
		if err != nil {
			return err
		}
		b.Write(append(data, '\n'))
	}
	e.written = 0
	return e.keep("reports.jsonl", b.Bytes())
}

// Reports returns the last word on each step.
func (e *Entry) Reports() []Said {
	list := make([]Said, 0, len(e.order))
	for _, order := range e.order {
		list = append(list, e.latest[order])
	}
	return list
}

// Result is how a job ended.
type Result struct {
	Time   time.Time     `json:"time"`
	Report run.JobReport `json:"report"`
}

// Finish keeps how the job ended. The log is on disk before.
func (e *Entry) Finish(r Result) error {
	if e.out != nil && !e.scratch {
		_ = e.out.Sync()
	}
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return e.keep("result.json", data)
}

// Result returns how the job ended; nil: it did not come to that.
func (e *Entry) Result() (*Result, error) {
	data, err := os.ReadFile(filepath.Join(e.dir, "result.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := &Result{}
	return r, json.Unmarshal(data, r)
}

// Close lets go of the files; they stay.
func (e *Entry) Close() {
	e.closeOut()
	if e.journal != nil {
		_ = e.journal.Close()
		e.journal = nil
	}
}

// Remove forgets the job.
func (e *Entry) Remove() error {
	e.Close()
	return os.RemoveAll(e.dir)
}

// readLogs finds the pieces that are on disk. A machine that lost its power may
// have lost the end of one: what is left ends with a whole line.
func (e *Entry) readLogs() error {
	files, err := os.ReadDir(e.dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		rest, ok := strings.CutPrefix(f.Name(), "log-")
		if !ok {
			continue
		}
		a, b, _ := strings.Cut(rest, "-")
		step, err1 := strconv.Atoi(a)
		from, err2 := strconv.ParseInt(b, 10, 64)
		info, err3 := f.Info()
		if err := errors.Join(err1, err2, err3); err != nil || step < 0 || from < 0 {
			return fmt.Errorf("%s: %w", f.Name(), errors.Join(err, errors.New("no piece of a log is called so")))
		}
		l := e.logs[step]
		if l == nil {
			l = &stepLog{}
			e.logs[step] = l
		}
		l.pieces = append(l.pieces, piece{from, info.Size()})
	}
	for step, l := range e.logs {
		slices.SortFunc(l.pieces, func(a, b piece) int { return int(min(max(a.from-b.from, -1), 1)) })
		if err := e.mend(step, l); err != nil {
			return err
		}
		for _, p := range l.pieces {
			e.size += p.size
		}
	}
	return nil
}

// mend ends the last piece of a log after its last whole line, and drops what is
// empty.
func (e *Entry) mend(step int, l *stepLog) error {
	last := &l.pieces[len(l.pieces)-1]
	name := e.file(step, last.from)
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	kept := int64(bytes.LastIndexByte(bytes.TrimRight(data, "\x00"), '\n') + 1)
	if kept != last.size {
		if err := os.Truncate(name, kept); err != nil {
			return err
		}
		last.size = kept
	}
	l.pieces = slices.DeleteFunc(l.pieces, func(p piece) bool { return p.size == 0 })
	return nil
}

// readReports reads the journal. A last line that was not finished does not
// count.
func (e *Entry) readReports() error {
	f, err := os.Open(filepath.Join(e.dir, "reports.jsonl"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return err
		}
		var s Said
		if json.Unmarshal(line, &s) == nil && s.Report.State != "" {
			e.remember(s)
		}
	}
}
