package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"penstock.dev/penstock/internal/base/detached"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/startstop"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/base/telemetry"
	"penstock.dev/penstock/internal/domain/identity"
)

func itoa(n int) string { return strconv.Itoa(n) }

// Options are what `penstock up` is called with.
type Options struct {
	Config  Config
	Version string
	Out     io.Writer
	Log     *slog.Logger
	// Ready is called once everything answers; password is the administrator's
	// first one, or "" if it exists already.
	Ready func(password string)
}

// Up runs everything in one process until ctx ends.
func Up(ctx context.Context, o Options) error {
	began := time.Now()
	cfg := o.Config
	if err := writable(cfg.Data); err != nil {
		return err
	}
	unlock, err := takeData(ctx, cfg.Data)
	if err != nil {
		return err
	}
	defer unlock()
	stopTrace, err := telemetry.ToFile(cfg.Trace.File)
	if err != nil {
		return err
	}
	defer stopTrace()
	s, err := open(ctx, cfg, onDisk, o.Version, o.Log)
	if err != nil {
		return err
	}
	defer func() { _ = s.close() }()
	// What was served last is served again before anything else is ready. A file
	// that cannot be read costs that moment only: the database has it all.
	if err := errors.Join(s.planes.gateway.LoadSnapshot(), s.planes.dns.LoadSnapshot()); err != nil {
		o.Log.Warn("the last snapshot cannot be served", "error", err)
	}
	notes, err := s.listen(ctx)
	if err != nil {
		return err
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	password, err := s.firstUser(identity.With(ctx, identity.System()))
	if err != nil {
		return err
	}
	group := startstop.New(ctx)
	s.loops(group)
	if err := s.writeUpFile(os.Getpid()); err != nil {
		return err
	}
	ready := time.Since(began)
	if err := s.startAgent(ctx); err != nil {
		return err
	}
	group.Go("embedded agent", s.lookAfterAgent)
	if err := s.machines.resume(ctx); err != nil {
		return err
	}
	s.banner(o.Out, ready, notes, password)
	if o.Ready != nil {
		o.Ready(password)
	}
	<-group.Context().Done()
	s.shutdown(cfg.Shutdown)
	group.Stop()
	return group.Wait()
}

// Running reports whether a server works on a data folder.
func Running(data string) bool {
	if _, err := os.Stat(data); err != nil {
		return false
	}
	unlock, err := lockData(data)
	if err != nil {
		return fault.CodeOf(err) == "already-up"
	}
	unlock()
	return false
}

// start brings the stored state and the data planes together.
func (s *Server) start(ctx context.Context) error {
	ctx = identity.With(ctx, identity.System())
	if err := s.machines.open(); err != nil {
		return err
	}
	if err := s.apps.Recover(ctx); err != nil {
		return err
	}
	if err := s.apps.Reconcile(ctx); err != nil {
		return err
	}
	if err := s.runs.ReleaseLeftovers(ctx); err != nil {
		return err
	}
	if err := s.repos.Reconcile(ctx); err != nil {
		return err
	}
	s.http = &http.Server{Handler: s.routes(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}
	return nil
}

// firstUser makes the administrator with a random password, once.
func (s *Server) firstUser(ctx context.Context) (string, error) {
	any, err := store.First(ctx, s.identity.Users, store.Query{})
	if err != nil || any != nil {
		return "", err
	}
	password := identity.RandomPassword()
	if _, err := s.identity.CreateUser(ctx, "admin", "Administrator", password); err != nil {
		return "", err
	}
	return password, s.identity.GrantRole(ctx, "admin", identity.ServerAdministrator, "")
}

func (s *Server) shutdown(limit time.Duration) {
	close(s.stopping)
	s.pools.Wake()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	s.haltAll(ctx) // while the API still answers: jobs report their end
	_ = s.http.Shutdown(ctx)
	_ = s.planes.gateway.Close(ctx)
	_ = s.planes.dns.Close(ctx)
}

func (s *Server) banner(w io.Writer, ready time.Duration, notes []string, password string) {
	fmt.Fprintf(w, "Penstock %s · data in %s · ready in %d ms\n\n", s.version, s.cfg.Data, ready.Milliseconds())
	fmt.Fprintf(w, "  Pages       %-36s API, git over HTTP: the same address\n", s.URL())
	fmt.Fprintf(w, "  Gateway     %s\n", "http://*.localhost"+portSuffix(s.ports.Gateway))
	fmt.Fprintf(w, "  DNS         %s\n", s.ports.DNS)
	fmt.Fprintf(w, "  Agent       embedded, pool default, %d jobs at a time\n", s.cfg.Agent.Jobs)
	for _, n := range notes {
		fmt.Fprintf(w, "  Note        %s\n", n)
	}
	if password != "" {
		fmt.Fprintf(w, "\n  Sign in as  admin\n  Password    %-36s shown this once; change it with: penstock user password\n", password)
	}
	fmt.Fprintf(w, "\n  Next        penstock demo                        the whole story\nCtrl-C stops everything; nothing is lost.\n")
}

// Down stops the server of a data folder with all it runs; purge deletes the
// data too.
func Down(ctx context.Context, data string, purge bool, out io.Writer) error {
	if _, err := os.Stat(data); os.IsNotExist(err) {
		fmt.Fprintf(out, "Nothing to stop: %s does not exist.\n", data)
		return nil
	}
	u, err := ReadUpFile(data)
	if err != nil && !purge {
		return err
	}
	if u != nil {
		if err := stopServer(ctx, u.PID, data); err != nil {
			return err
		}
	}
	// Machines and agents that a killed server left behind end here.
	folders, _ := filepath.Glob(filepath.Join(data, "vms", "*"))
	agents, _ := filepath.Glob(filepath.Join(data, "agents", "*"))
	for _, f := range append(folders, agents...) {
		detached.Stop(ctx, f, 5*time.Second)
	}
	if !purge {
		fmt.Fprintf(out, "Stopped. The data stays in %s.\n", data)
		return nil
	}
	if _, err := os.Stat(filepath.Join(data, "penstock.db")); err != nil {
		return fault.New(fault.Invalid, "not-a-data-folder", "%s is not a data folder of Penstock", data).Try("look at it; nothing was deleted")
	}
	if err := os.RemoveAll(data); err != nil {
		return fault.Wrap(err, fault.Unavailable, "data-not-writable", "the data cannot be deleted").At("%s", data)
	}
	fmt.Fprintf(out, "Stopped, and %s is deleted.\n", data)
	return nil
}

func stopServer(ctx context.Context, pid int, data string) error {
	if unlock, err := lockData(data); err == nil {
		unlock() // nobody holds it: the server ended by itself
		return nil
	}
	if err := terminate(pid); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fault.Wrap(err, fault.Denied, "cannot-stop", "process %d cannot be stopped", pid)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(60 * time.Second)
	defer limit.Stop()
	for {
		if unlock, err := lockData(data); err == nil {
			unlock()
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return fault.New(fault.Unavailable, "does-not-stop", "process %d does not stop", pid).Try("kill -9 %d, then penstock down again", pid)
		case <-tick.C:
		}
	}
}
