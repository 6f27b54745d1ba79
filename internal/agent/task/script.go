package task

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
)

func init() {
	Register(&Task{Name: "CmdLine", Major: []string{"2"}, Run: cmdLine})
	Register(&Task{Name: "Bash", Major: []string{"3"}, Run: bash, Defaults: map[string]string{"targettype": "filePath"}})
	Register(&Task{Name: "PowerShell", Major: []string{"2"}, Run: powerShell, Defaults: map[string]string{"targettype": "filePath", "erroractionpreference": "stop"}})
	Register(&Task{Name: "ShellScript", Major: []string{"2"}, Run: shellScript})
}

func exitError(tool string, code int) error {
	return fault.New(fault.Invalid, "exit-code", "%s exited with code '%d'.", tool, code)
}

func runScript(ctx context.Context, c *Context, tool string, cmd Command) error {
	if cmd.Dir == "" {
		cmd.Dir = c.Path(c.Input("workingDirectory"))
	}
	if cmd.Dir == "" {
		cmd.Dir, _ = c.Lookup("System.DefaultWorkingDirectory")
	}
	if info, err := os.Stat(cmd.Dir); err != nil || !info.IsDir() {
		return fault.New(fault.Invalid, "no-folder", "Not found workingDirectory: %s", cmd.Dir)
	}
	cmd.FailOnStderr = c.Bool("failOnStderr")
	code, err := c.Exec(ctx, cmd)
	if err != nil {
		return err
	}
	if code != 0 {
		return exitError(tool, code)
	}
	return nil
}

func cmdLine(ctx context.Context, c *Context) error {
	// Not trimmed: a script's own white space is its own business.
	script := c.Inputs["script"]
	c.Print("Generating script.")
	file, err := c.TempFile("*.sh", script, 0o600)
	if err != nil {
		return err
	}
	showScript(c, script)
	c.Print("========================== Starting Command Output ===========================")
	shell, err := find("bash", "bash (package bash) runs script: steps")
	if err != nil {
		if shell, err = find("sh", "a POSIX shell runs script: steps"); err != nil {
			return err
		}
	}
	return runScript(ctx, c, "Cmd.exe", Command{Path: shell, Args: []string{"--noprofile", "--norc", file}})
}

// showScript prints a script of one line.
func showScript(c *Context, text string) {
	text = strings.TrimSpace(text)
	if len(text) < 1024 && !strings.Contains(text, "\n") {
		c.Print("Script contents:")
		c.Print(text)
	}
}

func find(program, why string) (string, error) {
	p, err := exec.LookPath(program)
	if err != nil {
		return "", fault.New(fault.Invalid, "tool-missing", "Unable to locate executable file: '%s'", program).Try("install it on the agent's machine: %s", why)
	}
	return p, nil
}

func bash(ctx context.Context, c *Context) error {
	shell, err := find("bash", "package bash")
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
		args = append(args, "--noprofile", "--norc", file)
	} else {
		p, err := c.Need("filePath")
		if err != nil {
			return err
		}
		p = c.Path(p)
		if info, err := os.Stat(p); err != nil || info.IsDir() {
			return fault.New(fault.Invalid, "no-file", "Invalid file path '%s'.", p)
		}
		args = append(args, "--noprofile", "--norc", p)
		more, err := splitArgs(c.Input("arguments"))
		if err != nil {
			return err
		}
		args = append(args, more...)
	}
	c.Print("========================== Starting Command Output ===========================")
	cmd := Command{Path: shell, Args: args}
	if c.Input("bashEnvValue") != "" {
		cmd.Env = append(cmd.Env, "BASH_ENV="+c.Input("bashEnvValue"))
	}
	return runScript(ctx, c, "Bash", cmd)
}

func shellScript(ctx context.Context, c *Context) error {
	p, err := c.Need("scriptPath")
	if err != nil {
		return err
	}
	args, err := splitArgs(c.Input("args"))
	if err != nil {
		return err
	}
	shell, err := find("bash", "package bash")
	if err != nil {
		return err
	}
	dir := c.Input("cwd")
	if dir == "" {
		dir = filepath.Dir(c.Path(p))
	}
	return runScript(ctx, c, "Bash", Command{Path: shell, Args: append([]string{c.Path(p)}, args...), Dir: c.Path(dir)})
}

func powerShell(ctx context.Context, c *Context) error {
	program := "pwsh"
	shell, err := find(program, "PowerShell 7 (package powershell of Microsoft's repository)")
	if err != nil {
		return err
	}
	var lines []string
	lines = append(lines, fmt.Sprintf("$ErrorActionPreference = '%s'", strings.ReplaceAll(c.Input("errorActionPreference"), "'", "''")))
	if strings.EqualFold(c.Input("targetType"), "inline") {
		lines = append(lines, c.Inputs["script"])
	} else {
		p, err := c.Need("filePath")
		if err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf(". '%s' %s", strings.ReplaceAll(c.Path(p), "'", "''"), c.Input("arguments")))
	}
	if !c.Bool("ignoreLASTEXITCODE") {
		lines = append(lines, "if (!(Test-Path -LiteralPath variable:\\LASTEXITCODE)) { } else { exit $LASTEXITCODE }")
	}
	file, err := c.TempFile("*.ps1", strings.Join(lines, "\n"), 0o600)
	if err != nil {
		return err
	}
	c.Print("========================== Starting Command Output ===========================")
	return runScript(ctx, c, "PowerShell", Command{Path: shell, Args: []string{"-NoLogo", "-NoProfile", "-NonInteractive", "-Command", ". '" + strings.ReplaceAll(file, "'", "''") + "'"}})
}

// splitArgs cuts a line of arguments at white space; double quotes hold a part
// together and a backslash keeps the quote after it.
func splitArgs(line string) ([]string, error) {
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
