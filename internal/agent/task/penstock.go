package task

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/application"
	"penstock.dev/penstock/internal/domain/artifact/webdeploy"
	"penstock.dev/penstock/internal/domain/routing"
)

func init() {
	Register(&Task{Name: "PenstockService", Major: []string{"1"}, Run: service, Defaults: map[string]string{"action": "restart", "lines": "200"}})
	Register(&Task{Name: "PenstockHealth", Major: []string{"1"}, Run: health, Defaults: map[string]string{"timeout": "1m"}})
	Register(&Task{Name: "PenstockSwap", Major: []string{"1"}, Run: swap, Defaults: map[string]string{"from": "staging", "to": "production", "waitfor": "published", "timeout": "15m"}})
	Register(&Task{Name: "PenstockRollback", Major: []string{"1"}, Run: rollback, Defaults: map[string]string{"onlythisrun": "true", "timeout": "5m"}})
	Register(&Task{Name: "PenstockDrain", Major: []string{"1"}, Run: drain, Defaults: map[string]string{"end": "false"}})
	Register(&Task{Name: "PenstockWebDeploy", Major: []string{"1"}, Run: webDeploy})
	Register(&Task{Name: "IISWebAppDeploymentOnMachineGroup", Major: []string{"0"}, Run: iisDeploy,
		Aliases: map[string]string{"websitename": "websitename", "virtualapplication": "virtualapplication"}})
	Register(&Task{Name: "AzureRmWebAppDeployment", Major: []string{"4", "5"}, Run: azureWebApp})
}

// appView is what the server tells of an application.
type appView struct {
	Application application.Application
	Health      []routing.BackendHealth
	Generation  uint64
}

func loadApp(ctx context.Context, c *Context) (*appView, error) {
	name, err := c.Need("application")
	if err != nil {
		return nil, err
	}
	v := &appView{}
	return v, c.Client.JSON(ctx, http.MethodGet, "/_apis/penstock/applications/"+url.PathEscape(name), nil, v)
}

func needVM(c *Context, task string) (Services, error) {
	if c.Service() == nil {
		return nil, fault.New(fault.Invalid, "not-on-a-vm", "%s works on the VM of its own deployment job only", task).
			Try("give the deployment job an environment with resourceType: VirtualMachine")
	}
	return c.Service(), nil
}

// siteFolder is where an application's content lies on this machine.
func siteFolder(vm Services, spec application.ServiceSpec) string {
	if filepath.IsAbs(spec.Folder) {
		return spec.Folder
	}
	return filepath.Join(vm.Data(), spec.Folder)
}

func service(ctx context.Context, c *Context) error {
	vm, err := needVM(c, "PenstockService")
	if err != nil {
		return err
	}
	app, err := loadApp(ctx, c)
	if err != nil {
		return err
	}
	spec := app.Application.Spec.Service
	s := ServiceSpec{Name: spec.Name, Command: spec.Command, Dir: siteFolder(vm, spec), User: spec.User, Signal: spec.Stop.Signal,
		GraceSec: int(time.Duration(spec.Stop.Grace).Seconds()), Env: map[string]string{"HOST": c.Job.VMAddress, "PORT": strconv.Itoa(spec.Port)}}
	for k, v := range spec.Settings {
		s.Env[k] = v
	}
	for line := range strings.Lines(c.Inputs["settings"]) {
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimLeft(line, " \t"), "=")
		if !ok {
			return fault.New(fault.Invalid, "invalid-settings", "settings holds a line that is not NAME=value")
		}
		s.Env[name] = value
	}
	action := strings.ToLower(c.Input("action"))
	st, err := vm.Apply(ctx, s, action)
	if action == "log" || err != nil {
		n, _ := strconv.Atoi(c.Input("lines"))
		for _, line := range st.Log[max(len(st.Log)-max(n, 1), 0):] {
			c.Print(line)
		}
	}
	if err != nil {
		return err
	}
	c.SetVariable("pid", strconv.Itoa(st.PID), false)
	c.SetVariable("state", st.State, false)
	c.Printf("Service %s: %s, process %d", spec.Name, st.State, st.PID)
	return nil
}

// health waits until the application answers as it should: on a VM that VM's
// service, elsewhere the slot that plays the role.
func health(ctx context.Context, c *Context) error {
	limit, err := time.ParseDuration(c.Input("timeout"))
	if err != nil {
		return fault.New(fault.Invalid, "invalid-duration", "timeout %q is not a duration such as 1m", c.Input("timeout"))
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	look := roleHealth
	if c.Service() != nil && c.Input("role") == "" {
		look = vmHealth
	}
	last := ""
	for {
		ok, text, err := look(ctx, c)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if text != last && text != "" {
			c.Print(text)
			last = text
		}
		if ok {
			return nil
		}
		timer := time.NewTimer(300 * time.Millisecond)
		select {
		case <-ctx.Done():
			timer.Stop()
			if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
				return fault.New(fault.Unavailable, "not-healthy", "not healthy within %s", limit).Got("%s", last)
			}
			return ctx.Err()
		case <-timer.C:
		}
	}
}

func vmHealth(ctx context.Context, c *Context) (bool, string, error) {
	app, err := loadApp(ctx, c)
	if err != nil {
		return false, "", err
	}
	spec := app.Application.Spec
	from, to, err := spec.ExpectRange()
	if err != nil {
		return false, "", err
	}
	address := fmt.Sprintf("http://%s:%d%s", c.Job.VMAddress, spec.Service.Port, spec.Health.Path)
	probe, cancel := context.WithTimeout(ctx, time.Duration(spec.Health.Timeout))
	defer cancel()
	req, err := http.NewRequestWithContext(probe, http.MethodGet, address, nil)
	if err != nil {
		return false, "", err
	}
	res, err := c.Client.HTTP.Do(req)
	if err != nil {
		return false, "GET " + address + ": no answer", nil
	}
	_ = res.Body.Close()
	if res.StatusCode < from || res.StatusCode > to {
		return false, "GET " + address + ": " + res.Status, nil
	}
	// The gateway must know it too: what follows comes through it.
	for _, h := range app.Health {
		if h.Backend == c.Job.VM && h.State != "healthy" {
			return false, "GET " + address + ": " + res.Status + "; the gateway has not seen it yet", nil
		}
	}
	return true, "GET " + address + ": " + res.Status, nil
}

func roleHealth(ctx context.Context, c *Context) (bool, string, error) {
	app, err := loadApp(ctx, c)
	if err != nil {
		return false, "", err
	}
	role := c.Input("role")
	if role == "" {
		role = application.Production
	}
	slot := app.Application.WithRole(role)
	if slot == nil {
		return false, fmt.Sprintf("no slot plays %s", role), nil
	}
	if want := c.Input("expectRelease"); want != "" && (slot.Release == nil || slot.Release.Number != want) {
		found := "none"
		if slot.Release != nil {
			found = slot.Release.Number
		}
		return false, "", fault.New(fault.Conflict, "other-release", "%s does not run the expected release", role).Want("%s", want).Got("%s on slot %s", found, slot.Name)
	}
	need, err := app.Application.Spec.MinimumOf(len(slot.VMs))
	if err != nil {
		return false, "", err
	}
	healthy, lines := 0, []string{}
	for _, h := range app.Health {
		if h.Pool != app.Application.Pool(slot.Name) {
			continue
		}
		if h.State == "healthy" {
			healthy++
		} else {
			lines = append(lines, fmt.Sprintf("%s %s: %s", h.Backend, h.State, h.Detail))
		}
	}
	c.SetVariable("healthy", strconv.Itoa(healthy), false)
	c.SetVariable("total", strconv.Itoa(len(slot.VMs)), false)
	return healthy >= need, fmt.Sprintf("%s is %s: %d of %d healthy %s", role, slot.Name, healthy, len(slot.VMs), strings.Join(lines, "; ")), nil
}

// moveKey lets a retried or resumed task find the swap it began.
func moveKey(c *Context) string {
	return fmt.Sprintf("%s/%s/%d", c.Job.RunID, c.Job.JobID, c.Job.Attempt)
}

func swap(ctx context.Context, c *Context) error {
	app, err := c.Need("application")
	if err != nil {
		return err
	}
	if c.Input("from") != "staging" || c.Input("to") != "production" {
		return fault.New(fault.Invalid, "unsupported-roles", "this version swaps staging with production only")
	}
	if v := c.Input("canary"); v != "" && v != "none" {
		return fault.New(fault.Invalid, "unsupported-canary", "canary steps are not supported by this version")
	}
	var w application.Swap
	in := map[string]any{"expectRelease": c.Input("expectRelease"), "key": moveKey(c), "waitFor": c.Input("waitFor")}
	if err := c.Client.JSON(ctx, http.MethodPost, "/_apis/penstock/applications/"+url.PathEscape(app)+"/swaps", in, &w); err != nil {
		return err
	}
	for _, e := range w.Journal {
		c.Printf("%-8s %s", e.What, e.Text)
	}
	c.Printf("Production is %s (%s), generation %d. Undo: penstock rollback %s", w.NewSlot, w.NewRelease, w.Generation, app)
	c.SetVariable("generation", strconv.FormatUint(w.Generation, 10), false)
	c.SetVariable("productionSlot", w.NewSlot, false)
	c.SetVariable("previousSlot", w.OldSlot, false)
	c.SetVariable("release", w.NewRelease, false)
	c.SetVariable("movedMs", strconv.FormatFloat(float64(w.Moved)/1e6, 'f', 1, 64), false)
	return nil
}

func rollback(ctx context.Context, c *Context) error {
	app, err := c.Need("application")
	if err != nil {
		return err
	}
	var out struct {
		application.Swap
		RolledBack *bool `json:"rolledBack"`
	}
	in := map[string]any{"key": moveKey(c), "onlyThisRun": c.Bool("onlyThisRun")}
	if g, err := strconv.ParseUint(c.Input("expectGeneration"), 10, 64); err == nil {
		in["expectGeneration"] = g
	}
	if err := c.Client.JSON(ctx, http.MethodPost, "/_apis/penstock/applications/"+url.PathEscape(app)+"/rollbacks", in, &out); err != nil {
		return err
	}
	did := out.RolledBack == nil || *out.RolledBack
	c.SetVariable("rolledBack", strconv.FormatBool(did), false)
	if !did {
		c.Print("Nothing to roll back: this run made no swap, or it is undone already.")
		return nil
	}
	for _, e := range out.Journal {
		c.Printf("%-8s %s", e.What, e.Text)
	}
	c.Printf("Production is %s (%s) again, generation %d", out.NewSlot, out.NewRelease, out.Generation)
	c.SetVariable("generation", strconv.FormatUint(out.Generation, 10), false)
	c.SetVariable("release", out.NewRelease, false)
	return nil
}

func drain(ctx context.Context, c *Context) error {
	app, err := c.Need("application")
	if err != nil {
		return err
	}
	vm := c.Input("vm")
	if vm == "" {
		vm = c.Job.VM
	}
	if vm == "" {
		return fault.New(fault.Invalid, "input-missing", "Input required: vm")
	}
	return c.Client.JSON(ctx, http.MethodPut, "/_apis/penstock/applications/"+url.PathEscape(app)+"/vms/"+url.PathEscape(vm)+"/drain",
		map[string]bool{"out": !c.Bool("end")}, nil)
}

// iisDeploy applies a Web Deploy package to this VM, as existing pipelines name
// it.
func iisDeploy(ctx context.Context, c *Context) error {
	vm, err := needVM(c, "IISWebAppDeploymentOnMachineGroup")
	if err != nil {
		return err
	}
	site, err := c.Need("WebSiteName")
	if err != nil {
		return err
	}
	file, err := c.Need("Package")
	if err != nil {
		return err
	}
	for _, unsupported := range []string{"XmlTransformation", "XmlVariableSubstitution"} {
		if c.Bool(unsupported) {
			return fault.New(fault.Invalid, "unsupported-input", "input %s is not supported by this version", unsupported)
		}
	}
	target, err := siteTarget(ctx, c, vm, site)
	if err != nil {
		return err
	}
	return apply(ctx, c, file, target)
}

// siteTarget is the folder of a site on this VM: that of the application if it
// has the name of it, else one below the VM's data.
func siteTarget(ctx context.Context, c *Context, vm Services, site string) (string, error) {
	if c.Job.Application != "" && strings.EqualFold(site, c.Job.Application) {
		v := &appView{}
		if err := c.Client.JSON(ctx, http.MethodGet, "/_apis/penstock/applications/"+url.PathEscape(site), nil, v); err != nil {
			return "", err
		}
		return siteFolder(vm, v.Application.Spec.Service), nil
	}
	if !filepath.IsLocal(site) {
		return "", fault.New(fault.Invalid, "invalid-name", "the name of the site, %q, is not usable", site)
	}
	return filepath.Join(vm.Data(), "sites", site), nil
}

func apply(ctx context.Context, c *Context, file, target string) error {
	base, _ := c.Lookup("System.DefaultWorkingDirectory")
	found, err := FindFiles(base, c.Path(file))
	if err != nil || len(found) != 1 {
		return fault.New(fault.Invalid, "no-package", "no package, or more than one, matches %s", file).Got("%d", len(found))
	}
	p, err := webdeploy.Open(found[0])
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	o := webdeploy.ApplyOptions{Target: target, RemoveAdditionalFiles: c.Bool("RemoveAdditionalFilesFlag"), TakeAppOffline: c.Bool("TakeAppOfflineFlag")}
	if set := c.Input("SetParametersFile"); set != "" {
		o.SetParametersFile = c.Path(set)
	}
	if c.Bool("ExcludeFilesFromAppDataFlag") {
		o.Skip = append(o.Skip, "App_Data", "App_Data/*")
	}
	rep, err := webdeploy.Apply(ctx, p, o)
	if err != nil {
		return err
	}
	c.Printf("Package %s applied to %s: %d added, %d updated, %d deleted, %d unchanged", p.Digest(), target, rep.Added, rep.Updated, rep.Deleted, rep.Unchanged)
	return nil
}
