package azure_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "penstock.dev/penstock/internal/agent/task/azure"
	"penstock.dev/penstock/internal/agent/task/tasktest"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/serviceconnection"
)

// az writes down how it was called, and what the files hold that it was given.
const az = `echo "az $*" | sed 's|@.*/|@|; s|--certificate .*/|--certificate |' >> "$BOOK"
echo "config ${AZURE_CONFIG_DIR##*/}" | sed 's/-.*/-/' >> "$BOOK"
for a in "$@"; do case "$a" in @*) echo "file $(cat "${a#@}")" >> "$BOOK";; */*.az) echo "file $(cat "$a")" >> "$BOOK";; esac; done
[ "$1" != "$FAILS" ]`

func desk(t *testing.T) *tasktest.Desk {
	d := tasktest.New(t)
	d.Program("az", az)
	d.Env = append(d.Env, "BOOK="+filepath.Join(d.Dir, "book"))
	principal := map[string]string{"serviceprincipalid": "app", "serviceprincipalkey": "the-key", "tenantid": "tenant"}
	d.Connections = []*serviceconnection.Opened{
		{Name: "key", Type: "azurerm", Scheme: "ServicePrincipal", Parameters: principal, Data: map[string]string{"subscriptionId": "sub", "environment": "AzureCloud"}},
		{Name: "certificate", Type: "azurerm", Scheme: "ServicePrincipal", Parameters: map[string]string{"serviceprincipalid": "app", "serviceprincipalcertificate": "PEM", "tenantid": "tenant"}},
		{Name: "machine", Type: "azurerm", Scheme: "ManagedServiceIdentity"}, {Name: "empty", Type: "azurerm"},
		{Name: "federated", Type: "azurerm", Scheme: "WorkloadIdentityFederation", Parameters: map[string]string{"serviceprincipalid": "app", "tenantid": "tenant"}},
		{Name: "half", Type: "azurerm", Scheme: "ServicePrincipal", Parameters: map[string]string{"serviceprincipalid": "app"}},
		{Name: "dash", Type: "azurerm", Scheme: "ServicePrincipal", Parameters: map[string]string{"serviceprincipalid": "app", "serviceprincipalkey": "-k", "tenantid": "tenant"}},
	}
	return d
}

func TestAzureCLI(t *testing.T) {
	inline := func(connection, script string, more ...string) map[string]string {
		in := map[string]string{"azureSubscription": connection, "scriptType": "bash", "scriptLocation": "inlineScript", "inlineScript": script}
		for i := 0; i < len(more); i += 2 {
			in[more[i]] = more[i+1]
		}
		return in
	}
	for name, k := range map[string]struct {
		task   string
		inputs map[string]string
		fails  string // the command of az that fails
		book   string // calls of az and what the script wrote, in order
		log    string
		code   string
	}{
		"key": {"AzureCLI@2", inline("key", "echo \"script [$servicePrincipalId] $1\" >> $BOOK; az group list", "arguments", `"a b"`), "",
			"az cloud set -n AzureCloud|config .azclitask-|az login --service-principal --username app --tenant tenant --allow-no-subscriptions --password @KEY|config .azclitask-|file the-key|" +
				"az account set --subscription sub|config .azclitask-|script [] a b|az group list|config .azclitask-|az account clear|config .azclitask-", "", ""},
		"principal in the environment": {"AzureCLI@2", inline("key", "echo \"script $servicePrincipalId $servicePrincipalKey $tenantId\" >> $BOOK", "addSpnToEnvironment", "true", "visibleAzLogin", "false", "useGlobalConfig", "true"), "",
			"az cloud set -n AzureCloud|config |az login --output none --service-principal --username app --tenant tenant --allow-no-subscriptions --password @KEY|config |file the-key|az account set --subscription sub|config |script app the-key tenant|az account clear|config ", "", ""},
		"certificate": {"AzureCLI@2", inline("certificate", "true"), "", "az login --service-principal --username app --tenant tenant --allow-no-subscriptions --certificate KEY|config .azclitask-|file PEM|az account clear|config .azclitask-", "", ""},
		"machine":     {"AzureCLI@2", inline("machine", "true"), "", "az login --identity|config .azclitask-|az account clear|config .azclitask-", "", ""},
		"empty":       {"AzureCLI@2", inline("empty", "az version"), "", "az version|config ", "holds no service principal: az works with the session of the agent's user", ""},
		"version 1":   {"AzureCLI@1", map[string]string{"azureSubscription": "empty", "scriptPath": "run.sh", "args": "x y"}, "", "ran y", "", ""},
		"login fails": {"AzureCLI@2", inline("key", "echo script >> $BOOK"), "login",
			"az cloud set -n AzureCloud|config .azclitask-|az login --service-principal --username app --tenant tenant --allow-no-subscriptions --password @KEY|config .azclitask-|file the-key", "", "azure-cli"},
		"script fails":       {"AzureCLI@2", inline("empty", "exit 3"), "", "", "", "exit-code"},
		"federated":          {"AzureCLI@2", inline("federated", "true"), "", "", "", "azure-scheme"},
		"half":               {"AzureCLI@2", inline("half", "true"), "", "", "", "azure-principal"},
		"dash":               {"AzureCLI@2", inline("dash", "true"), "", "", "", "azure-key"},
		"batch":              {"AzureCLI@2", inline("empty", "true", "scriptType", "batch"), "", "", "", "unsupported-input"},
		"no script":          {"AzureCLI@2", inline("empty", " "), "", "", "", "input-missing"},
		"no file":            {"AzureCLI@2", map[string]string{"azureSubscription": "empty", "scriptType": "bash", "scriptPath": "none.sh"}, "", "", "", "no-file"},
		"no such connection": {"AzureCLI@2", inline("other", "true"), "", "", "", "no-connection"},
	} {
		t.Run(name, func(t *testing.T) {
			d := desk(t)
			d.Env = append(d.Env, "FAILS="+k.fails)
			d.Write(map[string]string{"run.sh": "echo ran $2 >> $BOOK\n"})
			err := d.Run(k.task, k.inputs)
			if (err != nil) != (k.code != "") || err != nil && fault.CodeOf(err) != k.code {
				t.Fatalf("%v\n%s", err, d.Log())
			}
			var lines []string
			for line := range strings.Lines(d.Read("book")) {
				line = strings.TrimSuffix(line, "\n")
				for _, mark := range []string{"@", "--certificate "} {
					if before, _, ok := strings.Cut(line, mark); ok && strings.HasSuffix(line, ".az") {
						line = before + mark + "KEY"
					}
				}
				lines = append(lines, line)
			}
			if got := strings.Join(lines, "|"); got != k.book {
				t.Errorf("calls:\n%s\nwant\n%s", got, k.book)
			}
			if !strings.Contains(d.Log(), k.log) {
				t.Errorf("log:\n%s", d.Log())
			}
			left, _ := os.ReadDir(filepath.Join(d.Dir, "..", "_temp"))
			if len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
	d := tasktest.New(t)
	d.Connections = []*serviceconnection.Opened{{Name: "empty", Type: "azurerm"}}
	d.Env = append(d.Env, "PATH="+t.TempDir())
	if err := d.Run("AzureCLI@2", inline("empty", "true")); fault.CodeOf(err) != "tool-missing" {
		t.Errorf("without az: %v", err)
	}
}

func TestPowerShellScripts(t *testing.T) {
	for name, k := range map[string]struct {
		inputs map[string]string
		want   []string
	}{
		"inline": {map[string]string{"scriptLocation": "inlineScript", "inlineScript": "Get-Date"}, []string{"$ErrorActionPreference = 'continue'", "Get-Date", "exit $LASTEXITCODE"}},
		"file":   {map[string]string{"scriptPath": "it's.ps1", "arguments": "-A b"}, []string{"'", "it''s.ps1' -A b"}},
		"ignore": {map[string]string{"scriptLocation": "inlineScript", "inlineScript": "Get-Date", "powerShellIgnoreLASTEXITCODE": "true"}, []string{"Get-Date"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := desk(t)
			d.Program("pwsh", `for last; do :; done; f=${last#. \'}; cat "${f%\'}"`)
			d.Write(map[string]string{"it's.ps1": ""})
			in := map[string]string{"azureSubscription": "empty", "scriptType": "pscore", "powerShellErrorActionPreference": "continue"}
			for k, v := range k.inputs {
				in[k] = v
			}
			if err := d.Run("AzureCLI@2", in); err != nil {
				t.Fatal(err)
			}
			for _, want := range k.want {
				if !strings.Contains(d.Log(), want) {
					t.Errorf("no %q in\n%s", want, d.Log())
				}
			}
			if strings.Contains(d.Log(), "LASTEXITCODE") == (k.inputs["powerShellIgnoreLASTEXITCODE"] == "true") {
				t.Errorf("%s", d.Log())
			}
		})
	}
}
