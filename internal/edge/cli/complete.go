package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// named says where the names come from that a command's first argument takes.
var named = map[string]string{
	"pipeline show": "/_apis/pipelines", "pipeline run": "/_apis/pipelines",
	"repo show": "/_apis/git/repositories", "repo clone": "/_apis/git/repositories",
	"app show": apiApps, "app history": apiApps, "swap": apiApps, "rollback": apiApps,
	"env show": apiEnvs, "env history": apiEnvs, "env check list": apiEnvs, "env check add": apiEnvs, "env check remove": apiEnvs,
	"vm show": apiVMs, "vm start": apiVMs, "vm stop": apiVMs, "vm restart": apiVMs, "vm kill": apiVMs, "vm reimage": apiVMs, "drain": apiVMs,
	"vault secret list": "/_apis/penstock/vaults", "variable-group show": "/_apis/distributedtask/variablegroups",
}

const (
	apiApps = "/_apis/penstock/applications"
	apiEnvs = "/_apis/distributedtask/environments"
	apiVMs  = "/_apis/penstock/vms"
)

// patience is how long a completion waits for the server; then it is silent.
const patience = 300 * time.Millisecond

func (c *cli) completeNames(root *cobra.Command) {
	for path, address := range named {
		cmd, _, err := root.Find(strings.Fields(path))
		if err != nil {
			continue
		}
		cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			ctx := cmd.Context()
			if ctx == nil {
				ctx = context.Background()
			}
			c.flags.timeout = patience
			list, err := all[struct {
				Name        string
				Application struct{ Name string }
			}](ctx, c, address)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, d := range list {
				names = append(names, d.V.Name+d.V.Application.Name)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		}
	}
}
