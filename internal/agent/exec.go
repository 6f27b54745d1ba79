package agent

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"penstock.dev/penstock/internal/agent/cause"
	"penstock.dev/penstock/internal/agent/command"
	"penstock.dev/penstock/internal/agent/process"
	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/mask"
)

// How long a canceled program has to end by itself, one that said it is
// complete to do so, and its output to end after it; as on the service.
const (
	afterInterrupt = 7500 * time.Millisecond
	afterTerminate = 2500 * time.Millisecond
	afterComplete  = 5 * time.Second
	afterExit      = 5 * time.Second
)

// maxLine is the longest output line that is kept whole, in bytes; a longer one
// comes in pieces.
const maxLine = 1 << 20

// Exec implements task.Host. When ctx ends the program is interrupted, then
// asked to terminate, then killed, with everything it started.
func (s *step) Exec(ctx context.Context, c task.Command) (int, error) {
	if err := ctx.Err(); err != nil {
		return -1, err
	}
	inside, err := s.inside()
	if err != nil {
		return -1, err
	}
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Dir = c.Dir
	if inside != nil {
		cmd = s.within(inside, c, append(append(s.environmentOn(nil, s.spec.Env), s.privateEnvironment()...), c.Env...))
	} else {
		cmd.Env = append(append(s.environment(s.spec.Env), s.privateEnvironment()...), c.Env...)
	}
	if c.Input != nil {
		cmd.Stdin = c.Input
	}
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
	tree, err := process.Start(cmd)
	_, _ = outWriter.Close(), errWriter.Close()
	if err != nil {
		_, _ = stdout.Close(), stderr.Close()
		return -1, fault.Wrap(err, fault.Invalid, "cannot-start", "cannot start %s", filepath.Base(c.Path))
	}
	defer tree.Close()
	o := &output{step: s, command: c}
	var wg sync.WaitGroup
	wg.Go(func() { o.read(stdout, false) })
	wg.Go(func() { o.read(stderr, true) })
	code, err := s.await(ctx, cmd, tree, &wg)
	if o.close() && err == nil && code == 0 && c.FailOnStderr {
		err = fault.New(fault.Invalid, "wrote-stderr", "the program wrote to the error stream, and failOnStderr is set")
	}
	return code, err
}

// output is what a program writes to both of its streams. A line stays whole
// whatever the other stream does.
type output struct {
	step    *step
	command task.Command

	mu       sync.Mutex
	closed   bool // what comes later is nobody's
	wroteErr bool
}

// close ends the output and says whether anything was written to the error
// stream.
func (o *output) close() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	return o.wroteErr
}

func (o *output) read(r io.ReadCloser, isErr bool) {
	defer func() { _ = r.Close() }()
	long := &longLine{}
	lines(r, func(line string, more bool) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.closed {
			return
		}
		o.wroteErr = o.wroteErr || isErr
		if isErr && !more {
			o.step.noteAbsent(line)
		}
		if isErr && o.command.Errors != nil {
			_, _ = io.WriteString(o.command.Errors, line)
			if !more {
				_, _ = io.WriteString(o.command.Errors, "\n")
			}
		}
		switch {
		case o.command.Output != nil && !isErr:
			_, _ = io.WriteString(o.command.Output, line)
			if !more {
				_, _ = io.WriteString(o.command.Output, "\n")
			}
			if !o.command.Quiet {
				o.show(long, line, more, isErr)
			}
		case o.command.Quiet && !isErr:
		default:
			o.show(long, line, more, isErr)
		}
	})
}

// noteAbsent keeps which program a shell has not found. It goes into the record
// of the run: what is secret is masked before.
func (s *step) noteAbsent(line string) {
	if !strings.HasSuffix(line, "not found") {
		return
	}
	if program := cause.Absent(s.Mask(line)); program != "" {
		s.mu.Lock()
		s.absent = program
		s.mu.Unlock()
	}
}

// longLine is a line that comes in pieces.
type longLine struct {
	stream *mask.Stream // nil: no such line
	hidden bool         // it holds a command that is too long
}

func (o *output) show(l *longLine, line string, more, isErr bool) {
	s := o.step
	switch {
	case l.stream == nil && !more:
		switch {
		case o.command.Plain:
			s.Print(line)
		case isErr && o.command.FailOnStderr && !command.Suspect(line):
			s.Issue("error", line)
		default:
			s.output(line)
		}
		return
	case l.stream == nil:
		*l = longLine{stream: s.masker.Stream(), hidden: command.Suspect(line) && !o.command.Plain}
		if l.hidden {
			s.Issue("error", "a line with a logging command is longer than 1 MiB; it is neither carried out nor shown")
			s.mu.Lock()
			s.broken = true
			s.mu.Unlock()
		}
	}
	// A piece may end in the middle of a secret: the stream knows.
	text := l.stream.Write(line)
	if !more {
		text += l.stream.Close()
	}
	if !l.hidden && text != "" {
		s.write(text)
	}
	if !more {
		*l = longLine{}
	}
}

// await waits for the program and for its output. Something that keeps the
// output open after the program has ended is not waited for; it goes on until
// the job ends.
func (s *step) await(ctx context.Context, cmd *exec.Cmd, tree *process.Tree, readers *sync.WaitGroup) (int, error) {
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var err error
	s.mu.Lock()
	done := s.done
	s.mu.Unlock()
	stopped := false
	for waiting := true; waiting; {
		select {
		case err = <-ended:
			waiting = false
		case <-ctx.Done():
			err, waiting, stopped = s.stopTree(tree, ended), false, true
		case <-done:
			done = nil
			select {
			case err = <-ended:
				waiting = false
			case <-ctx.Done():
			case <-s.machine.After(afterComplete):
				err, waiting, stopped = s.stopTree(tree, ended), false, true
			}
		}
	}
	drained := make(chan struct{})
	go func() {
		readers.Wait()
		close(drained)
	}()
	select {
	case <-drained:
	case <-s.machine.After(afterExit):
		s.Print("The program has ended, but something it started keeps its output open; this is not waited for.")
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return -1, ctx.Err()
	case stopped:
		return 0, nil // it said how it ended
	case errors.As(err, &exit):
		code := process.ExitCode(exit.ProcessState)
		s.noteExit(code, process.SignalOf(exit.ProcessState))
		return code, nil
	case err != nil:
		return -1, err
	}
	return 0, nil
}

// patience is how long a program has after a signal: what the pipeline says, in
// milliseconds, and no longer than all that comes after a cancel.
func (s *step) patience(variable string, otherwise time.Duration) time.Duration {
	text, _ := s.lookupOrOS(variable)
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 31)
	if err != nil {
		return otherwise
	}
	return min(time.Duration(n)*time.Millisecond, s.grace())
}

// stopTree ends a program and what it started, politely first.
func (s *step) stopTree(tree *process.Tree, ended <-chan error) error {
	tree.Signal(process.Interrupt)
	s.signalInside(process.Interrupt)
	for _, next := range []struct {
		wait time.Duration
		then func()
	}{
		{s.patience("PROCESS_SIGINT_TIMEOUT", afterInterrupt), func() { tree.Signal(process.Terminate); s.signalInside(process.Terminate) }},
		{s.patience("PROCESS_SIGTERM_TIMEOUT", afterTerminate), func() { tree.Signal(process.Kill); s.signalInside(process.Kill) }},
	} {
		select {
		case err := <-ended:
			tree.EndRest(s.mark)
			return err
		case <-s.machine.After(next.wait):
		}
		select {
		case err := <-ended: // both came: what has ended is not signalled again
			tree.EndRest(s.mark)
			return err
		default:
			next.then()
		}
	}
	err := <-ended
	tree.EndRest(s.mark)
	return err
}

// lines calls fn for each line of a stream, without its end. more says that the
// line goes on.
func lines(r io.Reader, fn func(line string, more bool)) {
	br := bufio.NewReaderSize(r, 64<<10)
	var b strings.Builder
	going := false // pieces of this line were given already
	for {
		part, err := br.ReadSlice('\n')
		b.Write(part)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			if b.Len() >= maxLine {
				fn(b.String(), true)
				b.Reset()
				going = true
			}
			continue
		case b.Len() > 0 || going:
			text := strings.TrimSuffix(strings.TrimSuffix(b.String(), "\n"), "\r")
			for line := range strings.SplitSeq(text, "\r") { // a lone CR ends a line too, as on the service
				fn(line, false)
			}
			b.Reset()
			going = false
		}
		if err != nil {
			return
		}
	}
}
