package task_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/agent/task/tasktest"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/artifact/webdeploy"
)

// vm is a machine whose data lies in a folder.
type vm string

func (v vm) Data() string { return string(v) }
func (vm) Apply(context.Context, task.ServiceSpec, string) (task.ServiceState, error) {
	return task.ServiceState{}, nil
}

func TestAzureWebAppOnAVM(t *testing.T) {
	for name, k := range map[string]struct {
		inputs map[string]string
		code   string
	}{
		"applied":      {map[string]string{"azureSubscription": "prod", "WebAppName": "shop", "Package": "out/**/*.zip", "RemoveAdditionalFilesFlag": "true"}, ""},
		"to a slot":    {map[string]string{"WebAppName": "shop", "Package": "out/shop.zip", "deployToSlotOrASE": "true", "SlotName": "staging"}, ""},
		"no package":   {map[string]string{"WebAppName": "shop", "Package": "none/*.zip"}, "no-package"},
		"two packages": {map[string]string{"WebAppName": "shop", "Package": "**/*.zip"}, "no-package"},
		"no name":      {map[string]string{"Package": "out/*.zip"}, "input-missing"},
		"elsewhere":    {map[string]string{"WebAppName": "../shop", "Package": "out/*.zip"}, "invalid-name"},
		"Linux":        {map[string]string{"appType": "webAppLinux", "WebAppName": "shop", "Package": "out/*.zip"}, "unsupported-input"},
		"profile":      {map[string]string{"ConnectionType": "PublishProfile", "WebAppName": "shop"}, "unsupported-input"},
		"settings":     {map[string]string{"WebAppName": "shop", "Package": "out/*.zip", "AppSettings": "-A b"}, "unsupported-input"},
		"no VM":        {map[string]string{"WebAppName": "shop", "Package": "out/*.zip"}, "not-on-a-vm"},
	} {
		for _, version := range []string{"4", "5"} {
			t.Run(name+version, func(t *testing.T) {
				d := tasktest.New(t)
				data := t.TempDir()
				if name != "no VM" {
					d.VM = vm(data)
				}
				d.Write(map[string]string{"site/index.html": "hello", "out/.keep": "", "other/b.zip": ""})
				pack(t, filepath.Join(d.Dir, "site"), filepath.Join(d.Dir, "out", "shop.zip"))
				err := d.Run("AzureRmWebAppDeployment@"+version, k.inputs)
				if (err == nil) != (k.code == "") || err != nil && fault.CodeOf(err) != k.code {
					t.Errorf("%v, want %q\n%s", err, k.code, d.Log())
				}
				if got, _ := os.ReadFile(filepath.Join(data, "sites", "shop", "index.html")); (string(got) == "hello") != (k.code == "") {
					t.Errorf("index.html holds %q", got)
				}
			})
		}
	}
}

func pack(t *testing.T, folder, file string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := webdeploy.Pack(f, webdeploy.PackOptions{Source: folder, Site: "shop"}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
