// Package library holds the tasks that fetch what a project keeps in its
// library: secrets of vaults, and secure files.
package library

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
)

func init() {
	task.Register(&task.Task{Name: "DownloadSecureFile", Major: []string{"1"}, Before: download, Run: downloaded, After: remove})
	task.Register(&task.Task{Name: "AzureKeyVault", Major: []string{"1", "2"}, Before: early, Run: now})
}

const pathState = "path"

// download fetches the file before the first step of the job.
func download(ctx context.Context, c *task.Context) error {
	file, err := c.Fetch(ctx, "secureFile")
	if err != nil {
		return err
	}
	c.State[pathState] = file
	c.Output("secureFilePath", file, false)
	c.Printf("Downloaded the secure file to %s", file)
	return nil
}

func downloaded(_ context.Context, c *task.Context) error {
	file := c.State[pathState]
	if file == "" {
		return fault.New(fault.Invalid, "no-secure-file", "the secure file was not downloaded before the job; what its log says above is why")
	}
	c.Printf("The secure file is at %s until the job ends.", file)
	return nil
}

func remove(_ context.Context, c *task.Context) error {
	file := c.State[pathState]
	if file == "" || filepath.Dir(file) != filepath.Clean(c.Temp) {
		return nil
	}
	if err := os.Remove(file); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

const doneState = "done"

// early runs before the first step, if the step asks for that.
func early(ctx context.Context, c *task.Context) error {
	if !c.Bool("RunAsPreJob") {
		return nil
	}
	c.State[doneState] = "true"
	return secrets(ctx, c)
}

func now(ctx context.Context, c *task.Context) error {
	if c.State[doneState] != "" {
		c.Print("The secrets were fetched before the first step.")
		return nil
	}
	return secrets(ctx, c)
}

// secrets sets a secret variable for every secret that the filter names. All are
// tried; one that cannot be read fails the step at the end.
func secrets(ctx context.Context, c *task.Context) error {
	vault, err := c.Need("KeyVaultName")
	if err != nil {
		return err
	}
	filter := c.Input("SecretsFilter")
	if filter == "*" {
		filter = ""
	}
	list, err := c.Secrets(ctx, vault, filter)
	if err != nil {
		return err
	}
	var failed []string
	for _, s := range list {
		if s.Error != "" {
			c.Issue("error", s.Name+": "+s.Error)
			failed = append(failed, s.Name)
			continue
		}
		set(c, s.Name, s.Value)
	}
	c.Printf("%d secrets of vault %s are variables of the job now.", len(list)-len(failed), vault)
	if len(failed) > 0 {
		return fault.New(fault.NotFound, "secret-not-found", "secrets of vault %s cannot be read: %s", vault, strings.Join(failed, ", ")).Try("penstock vault secret list %s", vault)
	}
	return nil
}

// set sets the variable of a secret; NAME/VERSION sets NAME too. The lines of
// one with several are masked one by one, or it becomes one line where it is a
// JSON object, as on the service.
func set(c *task.Context, name, value string) {
	if whole, _ := c.Lookup("SYSTEM_DONOTMASKMULTILINESECRETS"); strings.Contains(value, "\n") && !strings.EqualFold(whole, "true") {
		if line, ok := oneLine(value); ok {
			value = line
		} else {
			for line := range strings.Lines(value) {
				if line = strings.TrimSpace(line); line != "" {
					c.AddSecret(line)
				}
			}
		}
	}
	c.SetVariable(name, value, true)
	if base, _, versioned := strings.Cut(name, "/"); versioned {
		c.SetVariable(base, value, true)
	}
}

func oneLine(text string) (string, bool) {
	var b bytes.Buffer
	if !strings.HasPrefix(strings.TrimSpace(text), "{") || json.Compact(&b, []byte(text)) != nil {
		return "", false
	}
	return b.String(), true
}
