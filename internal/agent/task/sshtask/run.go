package sshtask

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
)

func init() {
	task.Register(&task.Task{Name: "SSH", Major: []string{"0"}, Run: remote})
	task.Register(&task.Task{Name: "CopyFilesOverSSH", Major: []string{"0"}, Run: copyFiles})
	task.Register(&task.Task{Name: "InstallSSHKey", Major: []string{"0"}, Before: install, Run: installed, After: uninstall})
}

// remote is SSH: commands, a script file, or a script of the step, on another
// machine.
func remote(ctx context.Context, c *task.Context) error {
	run, err := prepare(c)
	if err != nil {
		return err
	}
	client, err := dial(ctx, c)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	return run(ctx, &session{c: c, client: client})
}

// prepare reads what is to be run before anything is connected.
func prepare(c *task.Context) (func(context.Context, *session) error, error) {
	switch option := strings.ToLower(c.Input("runOptions")); option {
	case "commands", "":
		commands := strings.FieldsFunc(c.Inputs["commands"], func(r rune) bool { return r == '\n' || r == ';' || r == '\r' })
		return func(ctx context.Context, s *session) error { return s.commands(ctx, commands) }, nil
	case "inline":
		if strings.TrimSpace(c.Inputs["inline"]) == "" {
			return nil, fault.New(fault.Invalid, "input-missing", "Input required: inline")
		}
		text := strings.ReplaceAll(c.Inputs["inline"], "\r", "")
		if !strings.HasPrefix(text, "#!") {
			text = "#!" + c.Input("interpreterCommand") + "\n" + text
		}
		name := "penstock-" + id.New() + ".sh"
		return func(ctx context.Context, s *session) error { return s.script(ctx, name, []byte(text), "") }, nil
	case "script":
		file, err := c.Need("scriptPath")
		if err != nil {
			return nil, err
		}
		text, err := os.ReadFile(c.Path(file))
		if err != nil {
			return nil, fault.New(fault.Invalid, "no-file", "the script cannot be read").At("%s", file)
		}
		return func(ctx context.Context, s *session) error {
			return s.script(ctx, filepath.Base(c.Path(file)), []byte(strings.ReplaceAll(string(text), "\r\n", "\n")), c.Input("args"))
		}, nil
	default:
		return nil, fault.New(fault.Invalid, "input-value", "there is no runOptions %s", option).Want("commands, inline or script")
	}
}

// session runs programs on another machine.
type session struct {
	c      *task.Context
	client *ssh.Client
}

// commands runs one after the other, each in a shell of its own, and stops at
// the first that fails.
func (s *session) commands(ctx context.Context, list []string) error {
	ran := false
	for _, command := range list {
		if command = strings.TrimSpace(command); command == "" {
			continue
		}
		ran = true
		s.c.Print("##[command]" + command)
		if err := s.run(ctx, command); err != nil {
			return err
		}
	}
	if !ran {
		return fault.New(fault.Invalid, "input-missing", "Input required: commands")
	}
	return nil
}

// script brings a file into the home folder, runs it there and removes it,
// whatever became of it.
func (s *session) script(ctx context.Context, name string, text []byte, args string) error {
	files, err := sftp.NewClient(s.client)
	if err != nil {
		return noFiles(err)
	}
	defer func() { _ = files.Close() }()
	f, err := files.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC)
	if err != nil {
		return fault.New(fault.Invalid, "ssh-copy", "the script cannot be written on the other machine").At("%s", name).Got("%s", err)
	}
	defer func() { _ = files.Remove(name) }()
	_, err = f.Write(text)
	if err = errors.Join(err, f.Chmod(0o700), f.Close()); err != nil {
		return fault.New(fault.Invalid, "ssh-copy", "the script cannot be written on the other machine").At("%s", name).Got("%s", err)
	}
	command := "./" + quote(name)
	if args != "" {
		command += " " + args // a part of a command line, as on the service
	}
	s.c.Print("##[command]" + command)
	return s.run(ctx, command)
}

func noFiles(err error) error {
	return fault.New(fault.Invalid, "ssh-no-sftp", "the other machine takes no files by SFTP").Got("%s", err).Try("enable the sftp subsystem of its SSH server")
}

func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// maxErrors is how much of an error stream is kept for the message, in bytes.
const maxErrors = 500

// run runs one command; its lines go to the log as they come.
func (s *session) run(ctx context.Context, command string) error {
	remote, err := s.client.NewSession()
	if err != nil {
		return fault.New(fault.Unavailable, "ssh-unreachable", "the SSH connection broke off").Got("%s", err)
	}
	defer func() { _ = remote.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = remote.Signal(ssh.SIGTERM); _ = s.client.Close() })
	defer stop()
	if s.c.Bool("interactiveSession") {
		if err := remote.RequestPty("xterm", 24, 200, ssh.TerminalModes{ssh.ECHO: 0}); err != nil {
			return fault.New(fault.Invalid, "ssh-no-terminal", "the other machine gives no terminal (interactiveSession)").Got("%s", err)
		}
	}
	stdout, err := remote.StdoutPipe()
	if err != nil {
		return err
	}
	stderr, err := remote.StderrPipe()
	if err != nil {
		return err
	}
	if err := remote.Start(command); err != nil {
		return fault.New(fault.Invalid, "ssh-command", "the command cannot be started").Got("%s", err)
	}
	var wg sync.WaitGroup
	said := ""
	wg.Go(func() { lines(stdout, s.show) })
	wg.Go(func() {
		lines(stderr, func(line string) {
			if len(said) < maxErrors && strings.TrimSpace(line) != "" {
				said += line + "\n"
			}
			s.show(line)
		})
	})
	wg.Wait()
	return s.ended(ctx, remote.Wait(), strings.TrimSpace(said))
}

func (s *session) ended(ctx context.Context, err error, said string) error {
	var exit *ssh.ExitError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &exit) && exit.Signal() != "":
		return fault.New(fault.Invalid, "exit-code", "the command was ended by signal %s", exit.Signal())
	case errors.As(err, &exit):
		return fault.New(fault.Invalid, "exit-code", "Command failed with errors on remote machine: exit code %d.", exit.ExitStatus()).Got("%s", said)
	case err != nil:
		return fault.New(fault.Unavailable, "ssh-unreachable", "the SSH connection broke off").Got("%s", err)
	case said != "" && !strings.EqualFold(s.c.Input("failOnStdErr"), "false"):
		return fault.New(fault.Invalid, "wrote-stderr", "the command wrote to the error stream, and failOnStdErr is set").Got("%s", said)
	}
	return nil
}

// show logs a line of the other machine. Its logging commands are text, unless
// the step trusts them.
func (s *session) show(line string) {
	if s.c.Bool("enableRemoteVsoCommands") {
		s.c.Interpret(line)
		return
	}
	s.c.Print(line)
}

// lines calls fn for every line, a long one in pieces.
func lines(r io.Reader, fn func(string)) {
	br := bufio.NewReaderSize(r, 64<<10)
	for {
		part, _, err := br.ReadLine()
		if err != nil {
			return
		}
		fn(string(part))
	}
}
