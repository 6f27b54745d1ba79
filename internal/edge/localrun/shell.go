package localrun

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/mask"
	"penstock.dev/penstock/internal/domain/run"
)

// Shell stops a run at a step and gives a person a shell in its environment.
type Shell struct {
	When    string   // "failure", or the name of a step
	Tty     *os.File // where the person is
	Out     io.Writer
	Say     func(format string, args ...any)
	Folder  string // of the run; receives changes.patch
	InPlace bool   // the step works in the checkout itself
	Quit    func() // ends the run
	Only    *sync.Mutex

	bash, git string
}

// Check tells at once what would be missing later.
func (s *Shell) Check() error {
	if s.Tty == nil {
		return fault.New(fault.Invalid, "needs-terminal", "--break-on opens a shell, and stdin is not a terminal").
			Try("penstock run … --keep, and on a terminal: penstock rerun latest --step NAME --shell")
	}
	var err error
	if s.bash, err = exec.LookPath("bash"); err != nil || !terminals {
		return fault.New(fault.Unavailable, "no-shell", "--break-on needs bash and a terminal of Unix").Try("penstock run … --keep, and look into the work folder")
	}
	s.git, _ = exec.LookPath("git")
	return nil
}

func (s *Shell) wants(at *run.Stop) bool {
	if strings.EqualFold(s.When, "failure") {
		return at.Failed
	}
	return strings.EqualFold(s.When, at.Step) || strings.EqualFold(s.When, at.Title)
}

// Stop asks the person. One step at a time has the terminal.
func (s *Shell) Stop(ctx context.Context, at *run.Stop) run.Decision {
	if !s.wants(at) {
		return run.Continue
	}
	s.Only.Lock()
	defer s.Only.Unlock()
	if ctx.Err() != nil {
		return run.Continue
	}
	before := s.tree(at.Dir)
	said, err := s.session(ctx, at)
	if err != nil {
		s.Say("the shell could not be opened: %v", err)
		return run.Continue
	}
	s.changes(at.Dir, before)
	switch said {
	case "retry":
		return run.Retry
	case "abort":
		s.Quit()
		return run.Abort
	}
	return run.Continue
}

// session opens the shell and returns the word with which the person left.
func (s *Shell) session(ctx context.Context, at *run.Stop) (string, error) {
	dir, err := os.MkdirTemp("", "penstock-stop-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var vars strings.Builder
	for _, v := range at.Variables {
		fmt.Fprintf(&vars, "%s=%s\n", v.Name, v.Value)
	}
	script := at.Script
	if script == "" {
		script = "this step is no script"
	}
	for name, text := range map[string]string{"log": at.Log, "variables": vars.String(), "script": strings.TrimRight(script, "\n") + "\n", "rc": commands(dir, place(at))} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	s.introduce(at)
	cmd := exec.CommandContext(ctx, s.bash, "--noprofile", "--rcfile", filepath.Join(dir, "rc"), "-i")
	cmd.Dir, cmd.Env = at.Dir, append(slices.Clone(at.Env), "HISTFILE=", "TERM="+os.Getenv("TERM"))
	if info, err := os.Stat(at.Dir); err != nil || !info.IsDir() {
		cmd.Dir = ""
	}
	if err := s.attach(cmd, &screen{out: s.Out, stream: at.Mask}); err != nil {
		return "", err
	}
	said, _ := os.ReadFile(filepath.Join(dir, "decision"))
	return strings.TrimSpace(string(said)), nil
}

func place(at *run.Stop) string {
	if at.Stage == "__default" {
		return at.Job
	}
	return at.Stage + "/" + at.Job
}

func (s *Shell) introduce(at *run.Stop) {
	state := "has not run yet"
	if at.Failed {
		state = "failed"
		if len(at.Errors) > 0 {
			state += ": " + at.Errors[len(at.Errors)-1]
		}
		s.Say("%s", strings.TrimRight(tail(at.Log, 10), "\n"))
	}
	s.Say("Stopped at %s › %s (%s). Its environment, folder and secrets are yours; output is still masked.", place(at), at.Title, state)
	if at.Failed {
		s.Say("  continue  take the failure and go on    retry  run the step again    abort  end the run    logs · vars · script · help")
	} else {
		s.Say("  continue  run the step    abort  end the run    logs · vars · script · help")
	}
}

func tail(text string, lines int) string {
	all := strings.SplitAfter(text, "\n")
	return strings.Join(all[max(0, len(all)-lines-1):], "")
}

// commands is what the shell reads first: the words that leave it, and those
// that show something.
func commands(dir, prompt string) string {
	quoted := "'" + strings.ReplaceAll(dir, "'", `'\''`) + "'"
	prompt = strings.NewReplacer("'", "", `\`, "", "$", "", "`", "").Replace(prompt)
	return `PS1='` + prompt + ` ▸ '
__stop=` + quoted + `
__leave() { printf %s "$1" >"$__stop/decision"; builtin exit 0; }
continue() { __leave continue; }
retry() { __leave retry; }
abort() { __leave abort; }
logs() { cat "$__stop/log"; }
vars() { cat "$__stop/variables"; }
script() { cat "$__stop/script"; }
help() {
  echo 'continue  go on                 retry  run the step (again)'
  echo 'abort     end the run           logs   the last lines of the step'
  echo 'vars      its variables         script its text'
  echo 'Anything else is a command of bash; leaving with exit or Ctrl-D is continue.'
}
`
}

// tree names what the files of a folder are, as git sees them; "" where git
// cannot say.
func (s *Shell) tree(dir string) string {
	if s.git == "" || s.InPlace {
		return ""
	}
	index := filepath.Join(s.Folder, "stop.index")
	defer func() { _ = os.Remove(index) }()
	if s.run(dir, index, "read-tree", "HEAD") != "" || s.run(dir, index, "add", "-A") != "" {
		return ""
	}
	return s.run(dir, index, "write-tree")
}

func (s *Shell) run(dir, index string, args ...string) string {
	cmd := exec.Command(s.git, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_INDEX_FILE="+index)
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// changes keeps what the person changed in the copy as a patch.
func (s *Shell) changes(dir, before string) {
	if before == "" {
		return
	}
	after := s.tree(dir)
	if after == "" || after == before {
		return
	}
	cmd := exec.Command(s.git, "diff", "--binary", before, after)
	cmd.Dir = dir
	patch, err := cmd.Output()
	if err != nil {
		return
	}
	name := filepath.Join(s.Folder, "changes.patch")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	_, err = f.Write(patch)
	if cerr := f.Close(); err != nil || cerr != nil {
		return
	}
	s.Say("  You changed %s in the copy. To take it home: git apply %s", strings.ReplaceAll(s.run(dir, "", "diff", "--name-only", before, after), "\n", ", "), name)
}

// hush is how long output rests before what is held back shows as far as it may.
const hush = 50 * time.Millisecond

// screen is the person's terminal behind the mask. What may begin a secret is
// held back, but for its first characters: typing must be seen.
type screen struct {
	mu     sync.Mutex
	out    io.Writer
	stream *mask.Stream
	shown  string // of what is held back
	timer  *time.Timer
}

// Write implements io.Writer.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.stream.Write(string(p))
	if s.timer != nil {
		s.timer.Stop()
	}
	s.timer = time.AfterFunc(hush, s.rest)
	return len(p), s.print(text)
}

func (s *screen) print(text string) error {
	if text == "" {
		return nil
	}
	_, err := io.WriteString(s.out, strings.TrimPrefix(text, s.shown))
	s.shown = ""
	return err
}

// rest shows the beginning of what is held back: fewer bytes than any secret has.
func (s *screen) rest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.stream.Held()
	if len(held) >= mask.MinLength || len(held) <= len(s.shown) {
		return
	}
	_, _ = io.WriteString(s.out, held[len(s.shown):])
	s.shown = held
}

// Close shows the rest.
func (s *screen) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
	}
	_ = s.print(s.stream.Close())
}
