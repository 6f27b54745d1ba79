package task

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline/reference"
	"penstock.dev/penstock/internal/domain/securefile"
	"penstock.dev/penstock/internal/domain/serviceconnection"
)

// Resources are what a job has beside its variables: what its plan names of the
// project, and ways to tell later steps.
type Resources interface {
	// Connection returns a service connection by name or id; nil if the job has
	// none.
	Connection(name string) *serviceconnection.Opened
	// SecureFile returns a secure file by name or id; nil if the job has none.
	SecureFile(name string) *securefile.Grant
	// Export sets a variable in the environment of later steps, its name as it is
	// written. It is no output of the step, so it may hold a secret that is
	// masked.
	Export(name, value string)
	// AddSecret masks a value from now on.
	AddSecret(value string)
	// Interpret prints a line, or carries out the logging command that it is.
	Interpret(line string)
}

// Connect returns the connection that an input names. Of several inputs the
// first that is given counts.
func (c *Context) Connect(inputs ...string) (*serviceconnection.Opened, error) {
	for _, input := range inputs {
		if c.Input(input) == "" {
			continue
		}
		all, err := c.ConnectAll(input)
		if err == nil && len(all) != 1 {
			err = fault.New(fault.Invalid, "one-connection", "input %s takes one service connection", input).Got("%s", c.Input(input))
		}
		if err != nil {
			return nil, err
		}
		return all[0], nil
	}
	return nil, fault.New(fault.Invalid, "input-missing", "Input required: %s", inputs[0])
}

// ConnectAll returns the connections that an input names, with commas between
// them.
func (c *Context) ConnectAll(input string) ([]*serviceconnection.Opened, error) {
	var list []*serviceconnection.Opened
	for _, name := range reference.SplitNames(c.Input(input)) {
		found := c.Connection(name)
		if found == nil {
			return nil, fault.New(fault.NotFound, "no-connection", "this job has no service connection %s", name).
				Want("a name that is known before the job starts").Try("penstock service-connection list")
		}
		list = append(list, found)
	}
	return list, nil
}

// Fetch downloads a secure file into a folder that goes with the job, readable
// by the agent's user alone, and returns its path.
func (c *Context) Fetch(ctx context.Context, input string) (string, error) {
	name, err := c.Need(input)
	if err != nil {
		return "", err
	}
	f := c.SecureFile(name)
	if f == nil {
		return "", fault.New(fault.NotFound, "no-secure-file", "this job has no secure file %s", name).
			Want("a name that is known before the job starts").Try("penstock secure-file list")
	}
	body, err := c.Client.Download(ctx, "/_apis/distributedtask/securefiles/"+f.ID+"?download=true&ticket="+url.QueryEscape(f.Ticket))
	if err != nil {
		return "", err
	}
	defer func() { _ = body.Close() }()
	root, err := os.OpenRoot(c.Temp)
	if err != nil {
		return "", err
	}
	defer func() { _ = root.Close() }()
	if err := root.Remove(f.Name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	out, err := root.OpenFile(f.Name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	n, err := io.Copy(out, io.LimitReader(body, securefile.MaxSize+1))
	if err = errors.Join(err, out.Close()); err == nil && n > securefile.MaxSize {
		err = fault.New(fault.Invalid, "secure-file-size", "secure file %s is too large", f.Name).Want("at most %d bytes", securefile.MaxSize)
	}
	return filepath.Join(c.Temp, f.Name), err
}

// Secret is a secret of a vault, or why it cannot be read.
type Secret struct{ Name, Value, Error string }

// Secrets reads secrets of a vault that the step names; none means all.
func (c *Context) Secrets(ctx context.Context, vault string, names string) ([]Secret, error) {
	var out struct{ Value []Secret }
	path := "/_apis/penstock/vaults/" + url.PathEscape(vault) + "/jobsecrets"
	if names != "" {
		path += "?names=" + url.QueryEscape(names)
	}
	err := c.Client.JSON(ctx, http.MethodGet, path, nil, &out)
	return out.Value, err
}
