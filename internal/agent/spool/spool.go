// Package spool keeps on an agent's disk what it has to deliver of its jobs: the
// log and the reports of their steps, and their result. What the server has
// acknowledged goes; what it has not outlives the agent's process.
//
// A job has a folder:
//
//	job.json           what is to be delivered under which fencing number, and the mark of its processes
//	begun              steps may have run
//	log-<step>-<from>  a piece of a step's log, from its byte offset on
//	shifts.json        where the server has other offsets of a log
//	reports.jsonl      what was said of the steps, in order
//	result.json        how the job ended
package spool

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/base/rootfs"
	"penstock.dev/penstock/internal/domain/run"
)

// Limit is how much of a job's log may wait for the server on disk, in bytes.
const Limit = 1 << 30

// Job is what must be known of a job to deliver the rest of it. It holds no
// secrets.
type Job struct {
	JobID string    `json:"jobId"`
	Fence int       `json:"fence"`
	RunID string    `json:"runId"`
	Stage string    `json:"stage"`
	Name  string    `json:"name"`
	Mark  string    `json:"mark"` // in the environment of everything the job starts
	Boot  string    `json:"boot"` // of the machine, so that a restart of it is told apart
	Time  time.Time `json:"time"`
}

// Spool is the folder of an agent.
type Spool struct {
	Dir   string
	Limit int64 // per job, in bytes; 0 = Limit
	// Scratch says that nothing needs to outlive the machine: the disk is not waited
	// for.
	Scratch bool
}

// Begin makes the folder of a job. It is on disk when Begin returns.
func (s Spool) Begin(j Job) (*Entry, error) {
	dir := filepath.Join(s.Dir, fmt.Sprintf("%s.%d", id.From("spool", j.JobID), j.Fence))
	if err := os.RemoveAll(dir); err != nil { // of an attempt that was never answered
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	e := s.entry(dir, j)
	data, err := json.Marshal(j)
	if err == nil {
		err = e.keep("job.json", data)
	}
	if err == nil && !s.Scratch {
		err = sync(s.Dir)
	}
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	return e, nil
}

func (s Spool) entry(dir string, j Job) *Entry {
	limit := s.Limit
	if limit <= 0 {
		limit = Limit
	}
	return &Entry{Job: j, dir: dir, limit: limit, scratch: s.Scratch, logs: map[int]*stepLog{}, latest: map[int]Said{}, shifts: map[int]int64{}}
}

// Left opens what earlier processes of the agent left. A folder that cannot be
// read is renamed to *.unreadable and reported; the others are not kept from
// being delivered.
func (s Spool) Left() ([]*Entry, error) {
	folders, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []*Entry
	var problems []error
	for _, f := range folders {
		dir := filepath.Join(s.Dir, f.Name())
		if !f.IsDir() || strings.HasSuffix(f.Name(), unreadable) {
			continue
		}
		e, err := s.open(dir)
		if err != nil {
			problems = append(problems, fault.Wrap(err, fault.Invalid, "spool-unreadable", "what is left of a job cannot be read").At("%s", dir).
				Try("it was renamed to *%s; look at it, then remove it", unreadable), os.Rename(dir, dir+unreadable))
			continue
		}
		if e == nil { // it was not given a name yet, so nobody knows of it
			problems = append(problems, os.RemoveAll(dir))
			continue
		}
		list = append(list, e)
	}
	return list, errors.Join(problems...)
}

const unreadable = ".unreadable"

func (s Spool) open(dir string) (*Entry, error) {
	data, err := os.ReadFile(filepath.Join(dir, "job.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var j Job
	if err := json.Unmarshal(data, &j); err != nil {
		return nil, err
	}
	if j.JobID == "" || j.Fence < 1 {
		return nil, errors.New("job.json names no job")
	}
	e := s.entry(dir, j)
	if err := e.readLogs(); err != nil {
		return nil, err
	}
	if data, err = os.ReadFile(filepath.Join(dir, "shifts.json")); err == nil {
		err = json.Unmarshal(data, &e.shifts)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return e, e.readReports()
}

// Said is a report and when it was made.
type Said struct {
	Time   time.Time      `json:"time"`
	Report run.StepReport `json:"report"`
}

// keep writes a small file that must survive, or not be there at all.
func (e *Entry) keep(name string, data []byte) error {
	file := filepath.Join(e.dir, name)
	if e.scratch {
		return rootfs.ReplaceFile(file, data, 0o600)
	}
	if err := rootfs.WriteFile(file, data, 0o600); err != nil {
		return err
	}
	return sync(e.dir)
}

// sync makes the names in a folder survive.
func sync(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	_ = f.Sync() // not every system can; then there is no more to be done
	return f.Close()
}
