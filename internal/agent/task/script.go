package task

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
)

func init() {
	Register(&Task{Name: "CmdLine", Major: []string{"2"}, Run: cmdLine})
	Register(&Task{Name: "Bash", Major: []string{"3"}, Run: bash, Defaults: map[string]string{"targettype": "filePath"}})
	Register(&Task{Name: "PowerShell", Major: []string{"2"}, Run: powerShell, Defaults: map[string]string{"targettype": "filePath", "erroractionpreference": "stop", "progresspreference": "silentlyContinue"}})
	Register(&Task{Name: "PythonScript", Major: []string{"0"}, Run: pythonScript})
	Register(&Task{Name: "ShellScript", Major: []string{"2"}, Run: shellScript})
}

// ExitError says that a program failed.
func ExitError(tool string, code int) error {
	return fault.New(fault.Invalid, "exit-code", "%s exited with code '%d'.", tool, code)
}

// RunScript runs a program in the working directory of the step's inputs, which
// must exist; any exit code but 0 is an error.
func RunScript(ctx context.Context, c *Context, tool string, cmd Command) error {
	if cmd.Dir == "" {
		cmd.Dir = c.Path(c.Input("workingDirectory"))
	}
	if cmd.Dir == "" {
		cmd.Dir, _ = c.Lookup("System.DefaultWorkingDirectory")
	}
	if info, err := os.Stat(cmd.Dir); err != nil || !info.IsDir() {
		return fault.New(fault.Invalid, "no-folder", "Not found workingDirectory: %s", cmd.Dir)
	}
	said := &head{}
	if c.Bool("failOnStderr") {
		cmd.Errors = said
	}
	c.Print("[command]" + cmd.Path + " " + strings.Join(cmd.Args, " "))
	code, err := c.Exec(ctx, cmd)
	switch {
	case err != nil:
		return err
	case len(said.text) > 0:
		return said.failure(c, tool, code)
	case code != 0:
		return ExitError(tool, code)
	}
	return nil
}

// maxHead is how much of an error stream an error repeats, in bytes.
const maxHead = 64 << 10

// head keeps the begin of what is written to it.
type head struct{ text []byte }

func (h *head) Write(p []byte) (int, error) {
	h.text = append(h.text, p[:min(len(p), maxHead-len(h.text))]...)
	return len(p), nil
}

// failure is that of a program that wrote to its error stream: as on the service
// its exit code is said, that it wrote, and, last, what.
func (h *head) failure(c *Context, tool string, code int) error {
	if code != 0 {
		c.Issue("error", ExitError(tool, code).Error())
	}
	wrote := tool + " wrote one or more lines to the standard error stream."
	text := strings.TrimSpace(strings.ToValidUTF8(string(h.text), "\uFFFD"))
	if text == "" {
		text = wrote
	} else {
		c.Issue("error", wrote)
	}
	return fault.New(fault.Invalid, "wrote-stderr", "%s", text)
}

func cmdLine(ctx context.Context, c *Context) error {
	// Not trimmed: a script's own white space is its own business.
	script := c.Inputs["script"] // an empty one does nothing, as on the service
	c.Print("Generating script.")
	showScript(c, script)
	if runtime.GOOS == "windows" {
		file, err := c.TempFile("*.cmd", "@echo off\r\n"+strings.ReplaceAll(strings.ReplaceAll(script, "\r\n", "\n"), "\n", "\r\n"), 0o600)
		if err != nil {
			return err
		}
		shell := filepath.Join(os.Getenv("SystemRoot"), "System32", "cmd.exe")
		c.Print(startOutput)
		// The path is ours: it holds nothing that the shell reads.
		return RunScript(ctx, c, "Cmd.exe", Command{Path: shell, Args: []string{"/D", "/E:ON", "/V:OFF", "/S", "/C", "CALL " + file}})
	}
	file, err := c.TempFile("*.sh", script, 0o600)
	if err != nil {
		return err
	}
	shell, err := c.Program("bash", "install bash (package bash)")
	if err != nil {
		if shell, err = c.Program("sh", "install bash (package bash)"); err != nil {
			return err
		}
		c.Print(startOutput)
		return RunScript(ctx, c, "Sh", Command{Path: shell, Args: []string{file}})
	}
	c.Print(startOutput)
	return RunScript(ctx, c, "Bash", Command{Path: shell, Args: []string{"--noprofile", "--norc", file}})
}

const startOutput = "========================== Starting Command Output ==========================="

// showScript prints a script of one line, unless it has a logging command: a
// reader could take it for one that was carried out.
func showScript(c *Context, text string) {
	text = strings.TrimSpace(text)
	if !strings.Contains(text, "\n") && !strings.Contains(strings.ToLower(text), "##vso[") {
		c.Print("Script contents:")
		c.Print(text)
	}
}

// Program finds a program on the PATH of the step.
func (c *Context) Program(name, why string) (string, error) {
	p, err := c.Find(name)
	if err != nil {
		return "", fault.New(fault.Invalid, "tool-missing", "Unable to locate executable file: '%s'", name).Want("%s on the PATH of the agent's machine, or put there by an earlier step", name).
			Try("%s", why)
	}
	return p, nil
}

func bash(ctx context.Context, c *Context) error {
	shell, err := c.Program("bash", "install bash (package bash)")
	if err != nil {
		return err
	}
	args := []string{}
	if strings.EqualFold(c.Input("targetType"), "inline") {
		c.Print("Generating script.")
		text := strings.ReplaceAll(c.Inputs["script"], "\r\n", "\n")
		showScript(c, text)
		file, err := c.TempFile("*.sh", text, 0o600)
		if err != nil {
			return err
		}
		args = append(args, file)
	} else {
		p, err := c.Need("filePath")
		if err != nil {
			return err
		}
		p = c.Path(p)
		if info, err := os.Stat(p); err != nil || info.IsDir() {
			return fault.New(fault.Invalid, "no-file", "Invalid file path '%s'.", p)
		}
		if c.getenv("AZP_BASHV3_OLD_SOURCE_BEHAVIOR") != "" {
			args = append(args, "-c", `. "$@"`, "bash") // its permissions and first line do not count
		}
		args = append(args, p)
		more, err := words(c.Input("arguments"), c.getenv)
		if err != nil {
			return err
		}
		args = append(args, more...)
	}
	c.Print(startOutput)
	cmd := Command{Path: shell, Args: args}
	if c.Input("bashEnvValue") != "" {
		cmd.Env = append(cmd.Env, "BASH_ENV="+c.Input("bashEnvValue"))
	}
	return RunScript(ctx, c, "Bash", cmd)
}

func shellScript(ctx context.Context, c *Context) error {
	p, err := c.Need("scriptPath")
	if err != nil {
		return err
	}
	if info, err := os.Stat(c.Path(p)); err != nil || info.IsDir() {
		return fault.New(fault.Invalid, "no-file", "Not found scriptPath: %s", c.Path(p))
	}
	args, err := words(c.Input("args"), c.getenv)
	if err != nil {
		return err
	}
	shell, err := c.Program("bash", "install bash (package bash)")
	if err != nil {
		return err
	}
	dir := c.Input("cwd")
	if dir == "" {
		dir = filepath.Dir(c.Path(p))
	}
	return RunScript(ctx, c, "Bash", Command{Path: shell, Args: append([]string{c.Path(p)}, args...), Dir: c.Path(dir)})
}

// findPowerShell finds pwsh; Windows has powershell.exe too, and takes it unless
// pwsh is asked for.
func findPowerShell(c *Context) (string, error) {
	const install = "install PowerShell 7: https://learn.microsoft.com/powershell/scripting/install"
	if runtime.GOOS != "windows" || c.Bool("pwsh") {
		return c.Program("pwsh", install)
	}
	return c.Program("powershell", install)
}

// preferences of the task that become variables of the script.
var preferences = []string{"errorActionPreference", "warningPreference", "informationPreference", "verbosePreference", "debugPreference", "progressPreference"}

// powerShellInputs checks what a script of PowerShell gets before it is looked for.
func powerShellInputs(c *Context) error {
	for _, p := range preferences {
		if v := strings.ToLower(c.Input(p)); v != "" && !slices.Contains([]string{"default", "stop", "continue", "silentlycontinue"}, v) {
			return fault.New(fault.Invalid, "input-value", "input %s cannot be %q", p, c.Input(p)).Want("Default, Stop, Continue or SilentlyContinue")
		}
	}
	if kind := strings.ToLower(c.Input("targetType")); kind != "inline" && kind != "filepath" {
		return fault.New(fault.Invalid, "input-value", "input targetType cannot be %q", c.Input("targetType")).Want("filePath or inline")
	}
	return nil
}

func powerShell(ctx context.Context, c *Context) error {
	if err := powerShellInputs(c); err != nil {
		return err
	}
	shell, err := findPowerShell(c)
	if err != nil {
		return err
	}
	c.Print("Generating script.")
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	var lines []string
	for _, p := range preferences {
		if v := c.Input(p); v != "" && !strings.EqualFold(v, "default") {
			lines = append(lines, "$"+strings.ToUpper(p[:1])+p[1:]+" = "+quote(v))
		}
	}
	call := "."
	if c.Bool("runScriptInSeparateScope") {
		call = "&"
	}
	if strings.EqualFold(c.Input("targetType"), "inline") {
		lines = append(lines, c.Inputs["script"])
	} else {
		p, err := c.Need("filePath")
		if err != nil {
			return err
		}
		p = c.Path(p)
		if info, err := os.Stat(p); err != nil || info.IsDir() || !strings.EqualFold(filepath.Ext(p), ".ps1") {
			return fault.New(fault.Invalid, "no-file", "Invalid file path '%s'. A path to a .ps1 file is required.", p)
		}
		lines = append(lines, call+" "+quote(p)+" "+c.Input("arguments"))
	}
	if !c.Bool("ignoreLASTEXITCODE") {
		lines = append(lines, "if (!(Test-Path -LiteralPath variable:\\LASTEXITCODE)) { } else { exit $LASTEXITCODE }")
	}
	// The mark in front tells older versions that this is UTF-8.
	file, err := c.TempFile("*.ps1", "\uFEFF"+strings.Join(lines, "\n"), 0o600)
	if err != nil {
		return err
	}
	c.Print(startOutput)
	return RunScript(ctx, c, "PowerShell", Command{Path: shell, Args: []string{"-NoLogo", "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Unrestricted", "-Command", call + " " + quote(file)}})
}

func pythonScript(ctx context.Context, c *Context) error {
	file := ""
	if strings.EqualFold(c.Input("scriptSource"), "inline") {
		if strings.TrimSpace(c.Inputs["script"]) == "" {
			return fault.New(fault.Invalid, "input-missing", "Input required: script")
		}
		var err error
		if file, err = c.TempFile("*.py", c.Inputs["script"], 0o600); err != nil {
			return err
		}
	} else {
		p, err := c.Need("scriptPath")
		if err != nil {
			return err
		}
		file = c.Path(p)
		if info, err := os.Stat(file); err != nil || info.IsDir() {
			return fault.New(fault.Invalid, "no-file", "Not found scriptPath: %s", file)
		}
	}
	python, err := pythonProgram(c)
	if err != nil {
		return err
	}
	args, err := SplitArgs(c.Input("arguments"))
	if err != nil {
		return err
	}
	c.Print(startOutput)
	return RunScript(ctx, c, "Python", Command{Path: python, Args: append([]string{file}, args...)})
}

func pythonProgram(c *Context) (string, error) {
	if p := c.Input("pythonInterpreter"); p != "" {
		return c.Program(p, "check the input pythonInterpreter")
	}
	if p, err := c.Find("python"); err == nil {
		return p, nil
	}
	return c.Program("python3", "install Python (package python3), or use UsePythonVersion@0 before")
}

// SplitArgs cuts a line of arguments at white space; double quotes hold a part
// together and a backslash keeps the quote after it.
func SplitArgs(line string) ([]string, error) {
	var args []string
	var cur strings.Builder
	quoted, started := false, false
	for i := 0; i < len(line); i++ {
		switch ch := line[i]; {
		case ch == '\\' && i+1 < len(line) && line[i+1] == '"':
			cur.WriteByte('"')
			started = true
			i++
		case ch == '"':
			quoted, started = !quoted, true
		case (ch == ' ' || ch == '\t' || ch == '\n') && !quoted:
			if started {
				args = append(args, cur.String())
				cur.Reset()
				started = false
			}
		default:
			cur.WriteByte(ch)
			started = true
		}
	}
	if quoted {
		return nil, fault.New(fault.Invalid, "open-quote", "the arguments have a quote that is not closed").Got("%s", line)
	}
	if started {
		args = append(args, cur.String())
	}
	return args, nil
}
