// Package azure holds the tasks that work with Azure through the tools that are
// installed on the agent's machine.
package azure

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/serviceconnection"
)

func init() {
	task.Register(&task.Task{Name: "AzureCLI", Major: []string{"1", "2"}, Run: cli, Defaults: map[string]string{"scriptlocation": "scriptPath", "powershellerroractionpreference": "stop", "visibleazlogin": "true"}})
}

// session is az signed in for one step.
type session struct {
	*task.Context
	az     string
	env    []string
	signed bool
}

// cli runs a script with az signed in by a service connection.
func cli(ctx context.Context, c *task.Context) (err error) {
	conn, err := c.Connect("connectedServiceNameARM")
	if err != nil {
		return err
	}
	s := &session{Context: c}
	if s.az, err = c.Program("az", "install the Azure CLI: https://learn.microsoft.com/cli/azure/install-azure-cli"); err != nil {
		return err
	}
	run, done, err := s.script()
	if err != nil {
		return err
	}
	defer done()
	end, err := s.begin(ctx, conn)
	defer end()
	if err != nil {
		return err
	}
	if c.Bool("addSpnToEnvironment") && conn.Parameter("serviceprincipalid") != "" {
		run.Env = append(run.Env, "servicePrincipalId="+conn.Parameter("serviceprincipalid"), "servicePrincipalKey="+conn.Parameter("serviceprincipalkey"), "tenantId="+conn.Parameter("tenantid"))
	}
	run.Env = append(run.Env, s.env...)
	code, err := c.Exec(ctx, run)
	if err != nil {
		return err
	}
	if code != 0 {
		return fault.New(fault.Invalid, "exit-code", "Script failed with exit code: %d", code)
	}
	return nil
}

// begin signs az in, in a configuration of the step's own, and returns what ends
// that again. A connection that holds nothing stands for the session that the
// agent's user has.
func (s *session) begin(ctx context.Context, conn *serviceconnection.Opened) (end func(), err error) {
	end = func() {}
	scheme := strings.ToLower(conn.Scheme)
	if len(conn.Parameters) == 0 && scheme != "managedserviceidentity" {
		s.Printf("Service connection %s holds no service principal: az works with the session of the agent's user.", conn.Name)
		return end, s.subscription(ctx, conn)
	}
	if !s.Bool("useGlobalConfig") {
		dir, err := os.MkdirTemp(s.Temp, ".azclitask-")
		if err != nil {
			return end, err
		}
		s.env = append(s.env, "AZURE_CONFIG_DIR="+dir)
		end = func() { _ = os.RemoveAll(dir) }
	}
	tidy := end
	end = func() {
		if s.signed {
			_ = s.call(context.WithoutCancel(ctx), "account", "clear")
		}
		tidy()
	}
	if cloud := conn.Datum("environment"); cloud != "" {
		if err := s.call(ctx, "cloud", "set", "-n", cloud); err != nil {
			return end, err
		}
	}
	if err := s.login(ctx, conn, scheme); err != nil {
		return end, err
	}
	s.signed = true
	return end, s.subscription(ctx, conn)
}

func (s *session) subscription(ctx context.Context, conn *serviceconnection.Opened) error {
	if id := conn.Datum("subscriptionid"); id != "" {
		return s.call(ctx, "account", "set", "--subscription", id)
	}
	return nil
}

// login hands secrets over in files: arguments can be read by everybody.
func (s *session) login(ctx context.Context, conn *serviceconnection.Opened, scheme string) error {
	args := []string{"login"}
	if !s.Bool("visibleAzLogin") {
		args = append(args, "--output", "none")
	}
	switch scheme {
	case "managedserviceidentity":
		return s.call(ctx, append(args, "--identity")...)
	case "workloadidentityfederation":
		return fault.New(fault.Invalid, "azure-scheme", "service connection %s signs in by workload identity federation, which needs the service's own issuer", conn.Name).
			Want("a service principal: serviceprincipalid, serviceprincipalkey, tenantid")
	}
	who, tenant := conn.Parameter("serviceprincipalid"), conn.Parameter("tenantid")
	key, certificate := conn.Parameter("serviceprincipalkey"), conn.Parameter("serviceprincipalcertificate")
	switch {
	case who == "" || tenant == "" || key == "" && certificate == "":
		return fault.New(fault.Invalid, "azure-principal", "service connection %s holds no whole service principal", conn.Name).
			Want("the parameters serviceprincipalid and tenantid, and serviceprincipalkey or serviceprincipalcertificate")
	case certificate == "" && strings.HasPrefix(key, "-"):
		return fault.New(fault.Invalid, "azure-key", "az takes the key of service connection %s for an option: it begins with '-'", conn.Name).Try("make another key for the service principal")
	}
	option, content := "--password", key
	if certificate != "" {
		option, content = "--certificate", certificate
	}
	file, err := s.TempFile("*.az", content, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file) }()
	given := file
	if certificate == "" {
		given = "@" + file // az reads it
	}
	return s.call(ctx, append(args, "--service-principal", "--username", who, "--tenant", tenant, "--allow-no-subscriptions", option, given)...)
}

func (s *session) call(ctx context.Context, args ...string) error {
	code, err := s.Exec(ctx, task.Command{Path: s.az, Args: args, Env: s.env, Dir: s.Temp, Plain: true})
	if err == nil && code != 0 {
		err = fault.New(fault.Invalid, "azure-cli", "az %s failed with exit code %d; what it says stands above", args[0], code)
	}
	return err
}

// script is the step's program, and what removes its file.
func (s *session) script() (cmd task.Command, done func(), err error) {
	done = func() {}
	kind := strings.ToLower(s.Input("scriptType"))
	if s.Version == "1" { // knows the machine's own shell only
		kind = "bash"
		if runtime.GOOS == "windows" {
			kind = "batch"
		}
	}
	suffix := map[string]string{"bash": ".sh", "pscore": ".ps1", "ps": ".ps1"}[kind]
	if suffix == "" || kind == "ps" && runtime.GOOS != "windows" {
		return cmd, done, fault.New(fault.Invalid, "unsupported-input", "scriptType %q is not supported here", s.Input("scriptType")).Want("bash, pscore, or on Windows ps")
	}
	text := ""
	file := s.Path(s.Input("scriptPath"))
	if strings.EqualFold(s.Input("scriptLocation"), "inlineScript") {
		if text = s.Inputs["inlinescript"]; strings.TrimSpace(text) == "" {
			return cmd, done, fault.New(fault.Invalid, "input-missing", "Input required: inlineScript")
		}
	} else if info, err := os.Stat(file); err != nil || info.IsDir() || filepath.Ext(file) != suffix && kind != "bash" {
		return cmd, done, fault.New(fault.Invalid, "no-file", "Invalid script path '%s'", file).Want("a file, its name ending in %s", suffix)
	} else if kind != "bash" {
		text = ". '" + strings.ReplaceAll(file, "'", "''") + "' " + s.arguments()
	}
	if text != "" {
		if file, err = s.TempFile("azureclitaskscript*"+suffix, s.prepared(kind, text), 0o600); err != nil {
			return cmd, done, err
		}
		made := file
		done = func() { _ = os.Remove(made) }
	}
	cmd, err = s.program(kind, file)
	return cmd, done, err
}

func (s *session) arguments() string {
	return cmp.Or(s.Input("scriptArguments"), s.Input("args")) // the latter is version 1's
}

func (s *session) prepared(kind, text string) string {
	if kind == "bash" {
		return strings.ReplaceAll(text, "\r\n", "\n")
	}
	lines := "$ErrorActionPreference = '" + strings.ReplaceAll(s.Input("powerShellErrorActionPreference"), "'", "''") + "'\n" + text
	if !s.Bool("powerShellIgnoreLASTEXITCODE") {
		lines += "\nif (Test-Path -LiteralPath variable:\\LASTEXITCODE) { exit $LASTEXITCODE }"
	}
	return "\uFEFF" + lines // the mark tells older versions that this is UTF-8
}

func (s *session) program(kind, file string) (cmd task.Command, err error) {
	cmd.Dir = s.Path(s.Input("cwd"))
	if cmd.Dir == "" {
		cmd.Dir, _ = s.Lookup("System.DefaultWorkingDirectory")
	}
	if err := os.MkdirAll(cmd.Dir, 0o755); err != nil {
		return cmd, err
	}
	cmd.FailOnStderr = s.Bool("failOnStandardError")
	if kind == "bash" {
		args, err := task.SplitArgs(s.arguments())
		if err != nil {
			return cmd, err
		}
		cmd.Args = append([]string{file}, args...)
		cmd.Path, err = s.Program("bash", "install bash (package bash)")
		return cmd, err
	}
	shell := map[string]string{"ps": "powershell", "pscore": "pwsh"}[kind]
	cmd.Args = []string{"-NoLogo", "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Unrestricted", "-Command", ". '" + strings.ReplaceAll(file, "'", "''") + "'"}
	cmd.Path, err = s.Program(shell, "install PowerShell 7: https://learn.microsoft.com/powershell/scripting/install")
	return cmd, err
}
