package agent

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
)

// How long a canceled program has to end by itself, as on the service.
const (
	afterInterrupt = 7500 * time.Millisecond
	afterTerminate = 2500 * time.Millisecond
)

// maxLine is the longest output line that is kept whole, in bytes; a longer one
// is cut into several.
const maxLine = 1 << 20

// Exec implements task.Host. When ctx ends the program is interrupted, then
// asked to terminate, then killed, with everything it started.
func (s *step) Exec(ctx context.Context, c task.Command) (int, error) {
	if err := ctx.Err(); err != nil {
		return -1, err
	}
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Dir, cmd.Env = c.Dir, append(s.environment(s.spec.Env), c.Env...)
	ownGroup(cmd)
	stdout, outWriter, err := os.Pipe()
	if err != nil {
		return -1, err
	}
	stderr, errWriter, err := os.Pipe()
	if err != nil {
		_, _ = stdout.Close(), outWriter.Close()
		return -1, err
	}
	cmd.Stdout, cmd.Stderr = outWriter, errWriter
	err = cmd.Start()
	_, _ = outWriter.Close(), errWriter.Close()
	if err != nil {
		_, _ = stdout.Close(), stderr.Close()
		return -1, fault.Wrap(err, fault.Invalid, "cannot-start", "cannot start %s", filepath.Base(c.Path))
	}
	var wg sync.WaitGroup
	wroteErr := false
	sink := s.Print
	if c.Quiet && c.Output != nil {
		sink = func(line string) { _, _ = io.WriteString(c.Output, line+"\n") }
	}
	var serial sync.Mutex // lines of both streams stay whole
	read := func(r io.ReadCloser, isErr bool) {
		defer wg.Done()
		defer func() { _ = r.Close() }()
		lines(r, func(line string) {
			serial.Lock()
			defer serial.Unlock()
			wroteErr = wroteErr || isErr
			sink(line)
		})
	}
	wg.Add(2)
	go read(stdout, false)
	go read(stderr, true)
	code, err := s.await(ctx, cmd, &wg)
	if err == nil && code == 0 && c.FailOnStderr && wroteErr {
		err = fault.New(fault.Invalid, "wrote-stderr", "the program wrote to the error stream, and failOnStderr is set")
	}
	return code, err
}

// await waits for the program and for its output. A grandchild that keeps the
// output open after the program has ended is given a moment and then killed.
func (s *step) await(ctx context.Context, cmd *exec.Cmd, readers *sync.WaitGroup) (int, error) {
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		err = stopGroup(cmd.Process.Pid, ended)
	}
	drained := make(chan struct{})
	go func() {
		readers.Wait()
		close(drained)
	}()
	timer := time.NewTimer(5 * time.Second)
	select {
	case <-drained:
	case <-timer.C:
		s.Print("##[warning]a process the step left behind was ended")
	}
	timer.Stop()
	signalGroup(cmd.Process.Pid, sigKill)
	<-drained
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return -1, ctx.Err()
	case errors.As(err, &exit):
		return exit.ExitCode(), nil
	case err != nil:
		return -1, err
	}
	return 0, nil
}

func stopGroup(pid int, ended <-chan error) error {
	signalGroup(pid, sigInterrupt)
	for _, next := range []struct {
		wait time.Duration
		then func()
	}{
		{afterInterrupt, func() { signalGroup(pid, sigTerminate) }},
		{afterTerminate, func() { signalGroup(pid, sigKill) }},
	} {
		timer := time.NewTimer(next.wait)
		select {
		case err := <-ended:
			timer.Stop()
			return err
		case <-timer.C:
			next.then()
		}
	}
	return <-ended
}

// lines calls fn for each line of a stream, without its end.
func lines(r io.Reader, fn func(string)) {
	br := bufio.NewReaderSize(r, 64<<10)
	var long []byte
	for {
		part, err := br.ReadSlice('\n')
		long = append(long, part...)
		if errors.Is(err, bufio.ErrBufferFull) && len(long) < maxLine {
			continue
		}
		if len(long) > 0 && (err == nil || !errors.Is(err, bufio.ErrBufferFull) || len(long) >= maxLine) {
			fn(string(bytes.TrimRight(long, "\r\n")))
			long = long[:0]
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}
