package task

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/artifact/webdeploy"
)

// webDeploy makes, shows or applies a package.
func webDeploy(ctx context.Context, c *Context) error {
	file, err := c.Need("package")
	if err != nil {
		return err
	}
	switch action := c.Input("action"); action {
	case "pack":
		return packSite(c, c.Path(file))
	case "show":
		p, err := webdeploy.Open(c.Path(file))
		if err != nil {
			return err
		}
		defer func() { _ = p.Close() }()
		c.Printf("%s: %d files, %d parameters, %s", file, len(p.Files()), len(p.Parameters()), p.Digest())
		return nil
	case "apply":
		vm, err := needVM(c, "PenstockWebDeploy (apply)")
		if err != nil {
			return err
		}
		c.Inputs["setparametersfile"] = c.Input("setParameters")
		return apply(ctx, c, file, filepath.Join(vm.Data(), "site"))
	default:
		return fault.New(fault.Invalid, "unknown-action", "no action %q", action).Want("pack, show or apply")
	}
}

func packSite(c *Context, file string) error {
	source, err := c.Need("source")
	if err != nil {
		return err
	}
	o := webdeploy.PackOptions{Source: c.Path(source), Site: c.Input("site")}
	if declared := c.Input("declareParameters"); declared != "" {
		f, err := os.Open(c.Path(declared))
		if err != nil {
			return fault.Wrap(err, fault.Invalid, "no-file", "declareParameters cannot be read")
		}
		defer func() { _ = f.Close() }()
		o.Parameters = f
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	digest, err := webdeploy.Pack(out, o)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	c.SetVariable("digest", digest, false)
	c.Printf("Package %s: %s", file, digest)
	return nil
}

// unsupported refuses inputs that would change what is deployed.
func unsupported(c *Context, inputs ...string) error {
	for _, name := range inputs {
		if v := c.Input(name); v != "" && !strings.EqualFold(v, "false") {
			return fault.New(fault.Invalid, "unsupported-input", "input %s is not supported by this version", name)
		}
	}
	return nil
}

// azureWebApp is AzureRmWebAppDeployment on a VM: it applies the Web Deploy
// package there, as IISWebAppDeploymentOnMachineGroup does.
func azureWebApp(ctx context.Context, c *Context) error {
	vm, err := needVM(c, "AzureRmWebAppDeployment")
	if err != nil {
		return err
	}
	if kind := c.Input("ConnectionType"); kind != "" && !strings.EqualFold(kind, "AzureRM") {
		return fault.New(fault.Invalid, "unsupported-input", "ConnectionType %s is not supported by this version", kind).Want("AzureRM")
	}
	if kind := strings.ToLower(c.Input("WebAppKind")); strings.Contains(kind, "container") || strings.Contains(kind, "linux") || strings.Contains(kind, "function") {
		return fault.New(fault.Invalid, "unsupported-input", "appType %s is not supported by this version", c.Input("WebAppKind")).Want("webApp: a Web Deploy package")
	}
	if err := unsupported(c, "XmlTransformation", "XmlVariableSubstitution", "JSONFiles", "ScriptType", "AppSettings", "ConfigurationSettings", "GenerateWebConfig", "VirtualApplication"); err != nil {
		return err
	}
	const usual = "-retryAttempts:6 -retryInterval:10000" // what is passed by default says nothing about the result
	if args := c.Input("AdditionalArguments"); args != "" && args != usual {
		return fault.New(fault.Invalid, "unsupported-input", "input AdditionalArguments is not supported by this version").Got("%s", args)
	}
	site, err := c.Need("WebAppName")
	if err != nil {
		return err
	}
	file, err := c.Need("Package")
	if err != nil {
		return err
	}
	if c.Bool("DeployToSlotOrASEFlag") {
		c.Printf("This VM belongs to the slot that the environment of the job means; slotName %s is not looked at.", c.Input("SlotName"))
	}
	if !c.Bool("UseWebDeploy") { // what the flag's default says counts with it only
		c.Inputs["takeappofflineflag"] = "false"
	}
	target, err := siteTarget(ctx, c, vm, site)
	if err != nil {
		return err
	}
	return apply(ctx, c, file, target)
}
