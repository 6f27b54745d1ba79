package localrun

import (
	"os"
	"os/signal"
	"syscall"
)

// Alone ends a run when nobody follows it any more: quit is called when its
// terminal is closed. That whoever reads its output has gone is left to whoever
// writes: left alone the signal ends the process, and its steps would go on. stop
// puts things back.
func Alone(quit func()) (stop func()) {
	deaf, closed, done := make(chan os.Signal, 1), make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(deaf, syscall.SIGPIPE) // any socket may cause it: only that it is caught matters
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		signal.Notify(closed, syscall.SIGHUP)
	}
	go func() {
		select {
		case <-closed:
			quit()
		case <-done:
		}
	}()
	return func() {
		signal.Stop(deaf)
		signal.Stop(closed)
		close(done)
	}
}
