// Package cli is the command line: a client of the REST API with the words of
// the pages, and the doors to the roles that cmd/penstock gives it. It prints
// answers to stdout and everything else to stderr.
package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/edge/localrun"
)

// Deps is what the command line gets from its process.
type Deps struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Env            func(string) string
	Dir            string           // where relative files are; "" = the working folder
	Now            func() time.Time // nil = time.Now
	Version        string

	// The roles; the command line may not import the server. Nil: this build
	// has no such role.
	Up    func(ctx context.Context, o UpOptions) error
	Demo  func(ctx context.Context, o DemoOptions) error
	Down  func(ctx context.Context, o DownOptions) error
	Agent func(ctx context.Context, o AgentOptions) error
	// RunLocal runs a pipeline in this process, without a server.
	RunLocal func(ctx context.Context, r localrun.Request) (localrun.End, error)
	// TakeTree takes a working tree for a local run.
	TakeTree localrun.TakeTree
	// CheckTasks knows the tasks of this machine.
	CheckTasks localrun.CheckTasks
	// CheckEngine says why this machine cannot run containers; nil = it can.
	CheckEngine func(ctx context.Context) error
}

// UpOptions are what `penstock up` was called with.
type UpOptions struct {
	Data, Ports string
	Demo        bool
	Set         map[string]string // key=value of the configuration
}

// DemoOptions are what `penstock demo` was called with.
type DemoOptions struct {
	Data             string
	Exit, Fast, List bool
	Story            string
	Ports            string            // of the server, if one is started
	Set              map[string]string // key=value of its configuration
	// SignIn signs the command line in as the first administrator, with the
	// password if there is one, and returns the token.
	SignIn func(ctx context.Context, server, password string) (token string, err error)
}

// DownOptions are what `penstock down` was called with.
type DownOptions struct {
	Data  string
	Purge bool
}

// AgentOptions are what the bare `penstock agent` was called with.
type AgentOptions struct {
	Server, Organization string
	JoinTokenFile        string
	Name, Data           string
	Jobs                 int
	VMData               string // folder of the VM it serves; "" = none
	Supervise            bool   // run the VM's services itself, also where systemd runs
	Sandbox              bool   // close every job in
	RestrictCommands     bool   // of jobs that are closed in
}

// cli is one call of the command line.
type cli struct {
	Deps
	flags  globals
	known  *Client // once it was needed
	target target
}

// globals are the flags that every command has.
type globals struct {
	context, server, org, project string
	output                        string
	quiet, noHeader, yes, verbose bool
	timeout                       time.Duration
}

// New makes the command tree.
func New(deps Deps) *cobra.Command { return newCLI(deps).root() }

func newCLI(deps Deps) *cli {
	if deps.Env == nil {
		deps.Env = os.Getenv
	}
	if deps.Stdin == nil {
		deps.Stdin = os.Stdin
	}
	if deps.Stdout == nil {
		deps.Stdout = os.Stdout
	}
	if deps.Stderr == nil {
		deps.Stderr = os.Stderr
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	return &cli{Deps: deps}
}

// Execute runs one command line and returns the exit code.
func Execute(ctx context.Context, args []string, deps Deps) int {
	c := newCLI(deps)
	root := c.root()
	root.SetArgs(args)
	root.SetIn(c.Stdin)
	root.SetOut(c.Stdout)
	root.SetErr(c.Stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	return c.report(ctx, err)
}

// The groups of the help.
const (
	groupLocal  = "local"
	groupRoles  = "roles"
	groupAccess = "access"
	groupCode   = "code"
	groupRuns   = "runs"
	groupApps   = "apps"
)

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use: "penstock", Short: "Runs azure-pipelines.yml and releases to VMs by swapping slots.",
		Example:      "  penstock up\n  penstock run watch latest\n  penstock swap storefront",
		SilenceUsage: true, SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return c.checkGlobals(cmd) },
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Args:              noArgs,
	}
	root.SuggestionsMinimumDistance = 2
	f := root.PersistentFlags()
	f.StringVar(&c.flags.context, "context", "", "the named `context` of the configuration")
	f.StringVar(&c.flags.server, "server", "", "address of the server, with the organization or without")
	f.StringVar(&c.flags.org, "org", "", "organization")
	f.StringVarP(&c.flags.project, "project", "p", "", "project")
	f.StringVarP(&c.flags.output, "output", "o", "", "table, wide, json or yaml")
	f.BoolVarP(&c.flags.quiet, "quiet", "q", false, "identifiers only, one a line")
	f.BoolVar(&c.flags.noHeader, "no-header", false, "tables without their first line")
	f.BoolVarP(&c.flags.yes, "yes", "y", false, "answer the question whether you are sure")
	f.BoolVarP(&c.flags.verbose, "verbose", "v", false, "say which server is asked and why")
	f.DurationVar(&c.flags.timeout, "timeout", 0, "give up after this long")
	root.SetFlagErrorFunc(flagError)
	for _, g := range []cobra.Group{{ID: groupLocal, Title: "Local, without a server:"}, {ID: groupRoles, Title: "Roles:"}, {ID: groupAccess, Title: "Sign-in and access:"},
		{ID: groupCode, Title: "Projects and code:"}, {ID: groupRuns, Title: "Pipelines and runs:"}, {ID: groupApps, Title: "Applications and machines:"}} {
		root.AddGroup(&g)
	}
	c.add(root, groupLocal, c.validateCommand(), c.expandCommand(), c.evalCommand(), c.schemaCommand(), c.languageServerCommand(), c.webdeployCommand(), c.taskCommand(), c.explainCommand())
	c.add(root, groupRoles, c.upCommand(), c.demoCommand(), c.downCommand(), c.agentCommand(), c.versionCommand())
	c.add(root, groupAccess, c.loginCommand(), c.logoutCommand(), c.contextCommand(), c.tokenCommand(), c.userCommand(), c.groupCommand(),
		c.permissionCommand(), c.auditCommand(), c.credentialCommand())
	c.add(root, groupCode, c.projectCommand(), c.repoCommand(), c.prCommand(), c.policyCommand(), c.variableGroupCommand())
	c.add(root, groupRuns, c.pipelineCommand(), c.runCommand(), c.rerunCommand(), c.approveCommand(), c.rejectCommand(), c.whyCommand(), c.poolCommand())
	defer c.completeNames(root)
	c.add(root, groupApps, c.envCommand(), c.appCommand(), c.applyCommand(), c.swapCommand(), c.rollbackCommand(), c.drainCommand(), c.vmCommand(), c.vaultCommand(), c.serviceConnectionCommand(), c.secureFileCommand())
	return root
}

func (c *cli) add(root *cobra.Command, group string, commands ...*cobra.Command) {
	for _, cmd := range commands {
		cmd.GroupID = group
		root.AddCommand(cmd)
	}
}

// outputs is the annotation of a command that prints in further forms.
const outputs = "outputs"

func (c *cli) checkGlobals(cmd *cobra.Command) error {
	if c.flags.output == "" {
		c.flags.output = c.Env("PENSTOCK_OUTPUT")
	}
	switch c.flags.output {
	case "":
		c.flags.output = "table"
	case "table", "wide", "json", "yaml":
	default:
		more := strings.Fields(cmd.Annotations[outputs])
		if !slices.Contains(more, c.flags.output) {
			return usage("there is no output %q", c.flags.output).Want("%s", strings.Join(append(more, "table", "wide", "json or yaml"), ", "))
		}
	}
	return nil
}

// command makes a leaf of the tree.
func command(use, short, example string, args cobra.PositionalArgs, run func(ctx context.Context, args []string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Example: indent(example), Args: args,
		RunE: func(cmd *cobra.Command, args []string) error { return run(cmd.Context(), args) }}
}

// noun makes a command that has only others below it.
func noun(use, short, example string, below ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Example: indent(example), RunE: func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		e := usage("%s has no command %s", cmd.CommandPath(), args[0])
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			return e.Try("did you mean %s %s?", cmd.CommandPath(), near[0])
		}
		return e.Try("%s --help", cmd.CommandPath())
	}}
	cmd.SuggestionsMinimumDistance = 2
	cmd.AddCommand(below...)
	return cmd
}

func indent(example string) string {
	return "  " + strings.ReplaceAll(example, "\n", "\n  ")
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	e := usage("%s does not know %s", cmd.CommandPath(), args[0])
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return e.Try("did you mean %s %s?", cmd.CommandPath(), near[0])
	}
	return e.Try("%s --help", cmd.CommandPath())
}

// exactly wants so many arguments, named as in the usage line.
func exactly(names ...string) cobra.PositionalArgs {
	return between(len(names), len(names), names...)
}

func between(low, high int, names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < low:
			return usage("%s needs %s", cmd.CommandPath(), strings.Join(names[len(args):low], " and ")).Try("%s", cmd.UseLine())
		case high >= 0 && len(args) > high:
			return usage("%s has one word too many: %s", cmd.CommandPath(), args[high]).Try("%s", cmd.UseLine())
		}
		return nil
	}
}

func usage(format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, "usage", format, args...)
}

// flagError explains a flag that does not exist; one that would carry a secret
// is refused with the way that is safe.
func flagError(cmd *cobra.Command, err error) error {
	if errors.Is(err, errHelp) {
		return err
	}
	if strings.Contains(err.Error(), "--value") && strings.Contains(cmd.CommandPath(), "secret") {
		return usage("there is no flag --value: it would stay in your shell's history and in the process list").
			Try(`printf %%s "$KEY" | penstock vault secret set VAULT/NAME`)
	}
	return usage("%s: %s", cmd.CommandPath(), err).Try("%s --help", cmd.CommandPath())
}

// path makes a file name relative to where the command was called.
func (c *cli) path(name string) string {
	if c.Dir == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(c.Dir, name)
}

func (c *cli) windows() bool { return runtime.GOOS == "windows" }
