//go:build unix

package localrun

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// terminals says whether a shell can be given a terminal here.
const terminals = true

// attach runs a program on a terminal of its own, which the person's terminal
// follows until the program ends.
func (s *Shell) attach(cmd *exec.Cmd, view *screen) error {
	master, err := pty.Start(cmd)
	if err != nil {
		return err
	}
	defer func() { _ = master.Close() }()
	old, err := term.MakeRaw(int(s.Tty.Fd()))
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return err
	}
	defer func() { _ = term.Restore(int(s.Tty.Fd()), old) }()
	defer s.follow(master)()
	stop, err := s.typed(master)
	if err != nil {
		return err
	}
	_, _ = io.Copy(view, master) // ends with an error when the last program on the terminal has gone
	stop()
	view.Close()
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

// follow keeps the size of a terminal that of the person's, until the function
// that it returns is called.
func (s *Shell) follow(master *os.File) (stop func()) {
	resized, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(resized, syscall.SIGWINCH)
	resized <- syscall.SIGWINCH
	go func() {
		defer close(done)
		for range resized {
			_ = pty.InheritSize(s.Tty, master)
		}
	}()
	return func() {
		signal.Stop(resized)
		close(resized)
		<-done // before the terminal is closed
	}
}

// typed hands what the person types to the program, and only while it runs: a
// read that is still waiting would take what is meant for others.
func (s *Shell) typed(to io.Writer) (stop func(), err error) {
	wake, ring, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buffer := make([]byte, 4096)
		for {
			fds := []unix.PollFd{{Fd: int32(s.Tty.Fd()), Events: unix.POLLIN}, {Fd: int32(wake.Fd()), Events: unix.POLLIN}}
			if _, err := unix.Poll(fds, -1); errors.Is(err, unix.EINTR) {
				continue
			} else if err != nil || fds[1].Revents != 0 {
				return
			}
			n, err := unix.Read(int(s.Tty.Fd()), buffer)
			if err != nil || n <= 0 {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
	}()
	return func() {
		_ = ring.Close()
		<-done
		_ = wake.Close()
	}, nil
}
